"""One ONNX node, as its translation sees it: attributes, operands, and where the result goes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import GraphError
from ...ir import Op
from ...ir.ops import Flatten, Identity, Reshape
from .draft import Draft, Mask, Tensor, Value
from .folding import BATCH_SIZES, Constant
from .reasons import UnsupportedNodeError
from .structure import OnnxNode
from .tensors import Numbers, check_tensor, decode


@dataclass
class Site:
    """One node of the file: what its translation needs.

    Every attribute and operand that a translation does not ask for is refused afterwards.

    Attributes:
        draft: The graph so far.
        node: The node.
        opset: Of the file.
        name: Name of the graph's node that stands for the result.
        result: Name of the tensor that the translation gives.
        further: What other results of the node are, by name.
    """

    draft: Draft
    node: OnnxNode
    opset: int
    name: str = ""
    result: str = ""
    further: dict[str, Tensor] = field(default_factory=dict)
    _attributes: dict[str, Any] = field(default_factory=dict)
    _n_operands_read: int = 0

    def __post_init__(self) -> None:
        self.name = self.node.name
        self.result = self.node.outputs[0]
        for attribute in self.node.proto.attribute:
            if attribute.name in self._attributes or attribute.ref_attr_name:
                raise GraphError(f"attribute {attribute.name!r} is given twice or by reference")
            self._attributes[attribute.name] = attribute

    def add(self, op: Op, *operands: Tensor, inner: str = "") -> Tensor:
        """Append a node to the graph.

        Args:
            op: What it computes.
            operands: Of what.
            inner: What it is called within the ONNX node; "" is the node's result.
        """
        return self.value(self.lower(inner, op, tuple(operand.node for operand in operands)))

    def lower(self, inner: str, op: Op, nodes: tuple[str, ...]) -> str:
        """Append a node and return its name: `lowering.Emit`."""
        name = f"{self.name}/{inner}" if inner else self.name
        return self.draft.add(name, op, nodes, self.node.proto.name or self.node.name).node

    def value(self, node: str, like: Tensor | None = None) -> Tensor:
        """Return a node's result; it has rows if `like` has."""
        return Tensor(node, self.draft.types[node].shape, like is not None and like.has_rows)

    def map(self, op: Op, tensor: Tensor, *, inner: str = "") -> Tensor:
        """Append an op that works entry by entry: rows stay rows."""
        return dataclasses.replace(self.add(op, tensor, inner=inner), has_rows=tensor.has_rows)

    def reshape(self, tensor: Tensor, shape: tuple[int, ...], *, inner: str = "") -> Tensor:
        """Append what gives the sample another shape; nothing for an inner node without effect."""
        if inner and tensor.shape == shape:
            return tensor
        if tensor.shape == shape:
            op: Op = Identity()
        else:
            op = Flatten() if len(shape) == 1 else Reshape(shape)
        return self.add(op, tensor, inner=inner)

    @property
    def n_operands(self) -> int:
        """How many operands the node lists, left-out ones in between included."""
        return len(self.node.inputs)

    def operand(self, place: int) -> Value:
        """Return an operand, or None if it is left out."""
        self._n_operands_read = max(self._n_operands_read, place + 1)
        if place >= self.n_operands or not self.node.inputs[place]:
            return None
        return self.draft.values[self.node.inputs[place]]

    def tensor(self, place: int, *, rows: bool = False) -> Tensor:
        """Return an operand that depends on the input.

        Args:
            place: Of the operand.
            rows: The translation also holds for every row of a tensor with rows.
        """
        operand = self.operand(place)
        if isinstance(operand, Constant):
            raise UnsupportedNodeError(
                f"operand {place + 1} is a constant, expected a value that depends on the input"
            )
        if isinstance(operand, Mask):
            raise UnsupportedNodeError(
                f"operand {place + 1} is a comparison of {operand.x.node} with {operand.bound:g}, "
                "expected a value"
            )
        if not isinstance(operand, Tensor):  # no translation is asked about curves
            raise GraphError(f"operand {place + 1} is missing")
        if operand.has_rows and not rows:
            sizes = ", ".join(map(str, operand.row_shape))
            raise UnsupportedNodeError(
                f"operand {place + 1} has the shape [N {operand.shape[0]}, {sizes}], which mixes "
                "the batch with other axes, expected the batch alone in front"
            )
        return operand

    def constant(self, place: int, what: str) -> Numbers | None:
        """Return an operand that does not depend on the input; None if it is left out."""
        operand = self.operand(place)
        if operand is None:
            return None
        if not isinstance(operand, Constant):
            raise UnsupportedNodeError(f"{what} depends on the input, expected a constant")
        if not operand.is_fixed:
            raise UnsupportedNodeError(
                f"{what} depends on the batch size, expected it to be the same for all"
            )
        return operand.at(0)

    def weights(self, place: int, what: str) -> Numbers:
        """Return a constant operand of float32 numbers."""
        array = self.constant(place, what)
        if array is None:
            raise GraphError(f"{what} is missing")
        return check_floats(array, what)

    def scalar(self, place: int, what: str) -> float | None:
        """Return a constant operand of one number; None if it is left out."""
        array = self.constant(place, what)
        if array is None:
            return None
        if array.size != 1:
            raise GraphError(f"{what} has shape {array.shape}, expected one number")
        return float(array.reshape(()).item())

    def following_bias(self, n_channels: int, *, rank: int, axis: int) -> Numbers:
        """Return the bias [n_channels] of a node that has none of its own.

        If all that takes the result is an Add of one constant per channel, then that is the bias,
        and the translation gives the result of the Add.

        Args:
            n_channels: Of the result.
            rank: Of a sample of the result.
            axis: Of a sample, where the channels are.
        """
        bias = np.zeros(n_channels, np.float32)
        match self.draft.consumers.get(self.result, []):
            case [OnnxNode(op_type="Add") as add]:
                pass
            case _:
                return bias
        other = [self.draft.values.get(name) for name in add.inputs if name != self.result]
        if len(other) != 1 or not isinstance(other[0], Constant) or not other[0].is_fixed:
            return bias
        array = other[0].at(0)
        sizes = array.shape[1:] if array.ndim == rank + 1 and len(array) == 1 else array.shape
        wanted = [1] * rank
        wanted[axis] = n_channels
        if array.size != n_channels or list(sizes) != wanted[rank - len(sizes) :]:
            return bias
        self.name, self.result = add.name, add.outputs[0]
        return bias + check_floats(array, "bias").reshape(-1)

    def integers(self, name: str, place: int | None = None) -> tuple[int, ...] | None:
        """Return a list of integers: attribute `name`, or the constant operand at `place`.

        Newer opsets have many a list as an operand that older ones have as an attribute.
        """
        attribute = self._take(name, "INTS")
        if attribute is not None:
            return tuple(attribute.ints)
        array = None if place is None else self.constant(place, name)
        if array is None:
            return None
        if array.ndim > 1 or array.dtype.kind not in "iu":
            raise GraphError(f"{name} is {array.dtype}{list(array.shape)}, expected integers")
        return tuple(int(each) for each in array.reshape(-1).tolist())

    def sizes(self, place: int, what: str) -> list[tuple[int, list[int]]]:
        """Return a constant list of sizes, batch in front, for each of BATCH_SIZES."""
        operand = self.operand(place)
        if not isinstance(operand, Constant):
            raise UnsupportedNodeError(f"{what} depends on the input's values, expected a constant")
        fixed = self.draft.static_batch
        result = []
        for at, n_samples in enumerate(BATCH_SIZES):
            array = operand.at(at)
            if array.ndim != 1 or array.dtype.kind != "i" or not array.size:
                raise GraphError(
                    f"{what} is {array.dtype}{list(array.shape)}, expected a list of integers"
                )
            sizes = [int(size) for size in array.tolist()]
            if fixed and operand.is_fixed and sizes[0] > 0 and sizes[0] % fixed == 0:
                # An exporter that was given a fixed batch size writes it as a number.
                sizes[0] = sizes[0] // fixed * n_samples
            result.append((n_samples, sizes))
        return result

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        attribute = self._take(name, "INT")
        return default if attribute is None else int(attribute.i)

    def number(self, name: str, default: float) -> float:
        """Return an attribute that is a float."""
        attribute = self._take(name, "FLOAT")
        value = default if attribute is None else float(attribute.f)
        if not math.isfinite(value):
            raise GraphError(f"{name} is {value}, expected a finite number")
        return value

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a string."""
        attribute = self._take(name, "STRING")
        return default if attribute is None else str(attribute.s.decode("utf-8", "replace"))

    def array(self, name: str) -> Numbers | None:
        """Return an attribute that is an array."""
        attribute = self._take(name, "TENSOR")
        if attribute is None:
            return None
        check_tensor(attribute.t)
        return decode(attribute.t)

    def floats(self, name: str) -> tuple[float, ...] | None:
        """Return an attribute that is a list of floats."""
        attribute = self._take(name, "FLOATS")
        return None if attribute is None else tuple(attribute.floats)

    def has(self, name: str) -> bool:
        """Whether an attribute is given that was not read yet."""
        return name in self._attributes

    def ignore(self, *names: str) -> None:
        """Leave attributes out that mean nothing at inference."""
        for name in names:
            self._attributes.pop(name, None)

    def _take(self, name: str, kind: str) -> Any:
        import onnx

        attribute = self._attributes.pop(name, None)
        if attribute is not None and attribute.type != getattr(onnx.AttributeProto, kind):
            raise GraphError(f"attribute {name!r} is not of the type {kind}")
        return attribute

    def check_finished(self) -> None:
        """Refuse what the translation did not ask for: attributes, operands, further results."""
        if self._attributes:
            names = ", ".join(sorted(self._attributes))
            raise UnsupportedNodeError(f"attribute {names} has no translation, expected none")
        if any(self.node.inputs[self._n_operands_read :]):
            raise UnsupportedNodeError(
                f"takes {self.n_operands} operands, expected at most {self._n_operands_read}"
            )
        for name in self.node.outputs[1:]:
            if name and name not in self.further and self.draft.consumers.get(name):
                raise UnsupportedNodeError(
                    f"its further result {name!r} is used, expected only the first one to be"
                )


def check_floats(array: Numbers, what: str) -> Numbers:
    """Return `array` if it holds float32 numbers."""
    if array.dtype != np.float32:
        raise GraphError(f"{what} holds {array.dtype} numbers, expected float32")
    return array


def fit(array: Numbers, tensor: Tensor) -> Numbers:
    """Return a constant with the rank of a sample, as numpy would broadcast it in the file.

    Raises:
        UnsupportedNodeError: It would enlarge the sample, or has an entry for every sample of a
            batch.
    """
    shape = tensor.row_shape
    rank = len(shape)
    sizes = array.shape
    if len(sizes) == rank + 1 and sizes[0] == 1:
        sizes = sizes[1:]
    sizes = (1,) * (rank - len(sizes)) + sizes
    if len(sizes) != rank or any(a not in {1, b} for a, b in zip(sizes, shape, strict=True)):
        raise UnsupportedNodeError(
            f"a constant of shape {list(array.shape)} does not broadcast to "
            f"[N, {', '.join(map(str, shape))}], expected one that does, without the batch"
        )
    return array.reshape((1, *sizes) if tensor.has_rows else sizes)
