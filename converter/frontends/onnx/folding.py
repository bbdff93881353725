"""Evaluating what does not depend on the input: weights that are computed, arithmetic of shapes.

Exporters compute the target of a reshape from the shape of a tensor, batch size included. So a
constant that depends on the batch size is evaluated for several batch sizes at once; what differs
between them shows where the batch went.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import GraphError
from .reasons import UnsupportedNodeError
from .tensors import Numbers

if TYPE_CHECKING:
    from .structure import OnnxNode

BATCH_SIZES = (1, 2, 101)

SLACK_ELEMENTS = 2**24
"""What constants may grow to in any case, all together."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that does not depend on the input.

    Attributes:
        values: One array, or one for each of BATCH_SIZES if it depends on the batch size.
    """

    values: tuple[Numbers, ...]

    @property
    def is_fixed(self) -> bool:
        """Whether it is the same for every batch size."""
        return len(self.values) == 1

    def at(self, place: int) -> Numbers:
        """Return the array for BATCH_SIZES[place]."""
        return self.values[0 if self.is_fixed else place]


@dataclass
class Folder:
    """Evaluates nodes of one file.

    Attributes:
        opset: Of the file.
        n_left: How many elements all further results may have.
    """

    opset: int
    n_left: int

    def fold(self, node: OnnxNode, operands: tuple[Constant | None, ...]) -> tuple[Constant, ...]:
        """Return the results of a node whose op type is in FOLDABLE.

        Raises:
            GraphError: The operands do not fit.
            UnsupportedNodeError: The results would be too large.
        """
        n_runs = 1 if all(each is None or each.is_fixed for each in operands) else len(BATCH_SIZES)
        runs = [
            self._evaluate(node, [None if each is None else each.at(place) for each in operands])
            for place in range(n_runs)
        ]
        return tuple(Constant(_merge(values)) for values in zip(*runs, strict=True))

    def _evaluate(self, node: OnnxNode, operands: list[Numbers | None]) -> list[Numbers]:
        present = [each for each in operands if each is not None]
        try:
            size = FOLDABLE[node.op_type](node, present)
        except (ValueError, TypeError, IndexError) as error:
            raise GraphError(f"takes constants that do not fit ({error})") from error
        if size > self.n_left:
            raise UnsupportedNodeError(
                f"gives a constant of {size} elements, expected at most {self.n_left} more in "
                "this file"
            )
        self.n_left -= size
        return _run(node, operands, self.opset)


def _merge(values: tuple[Numbers, ...]) -> tuple[Numbers, ...]:
    """Return one array where all batch sizes give the same."""
    first, *others = values
    is_same = all(
        first.dtype == other.dtype and np.array_equal(first, other, equal_nan=False)
        for other in others
    )
    return (first,) if is_same else values


def _run(node: OnnxNode, operands: list[Numbers | None], opset: int) -> list[Numbers]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    feeds = {
        name: array for name, array in zip(node.inputs, operands, strict=True) if array is not None
    }
    helper = onnx.helper
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    ]
    names = [name for name in node.outputs if name]
    outputs = [helper.make_value_info(name, onnx.TypeProto()) for name in names]
    if node.op_type in _QUANTIZATION:
        opset = max(opset, 19)
    graph = helper.make_graph([node.proto], "constant", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        with np.errstate(divide="raise", invalid="raise", over="ignore", under="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:
        # The evaluator raises whatever numpy raises on operands that do not fit.
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise GraphError(f"cannot be evaluated ({detail})") from error
    arrays = {name: np.asarray(array) for name, array in zip(names, results, strict=True)}
    return [arrays.get(name, np.zeros(0)) for name in node.outputs]


_QUANTIZATION = {"DequantizeLinear", "QuantizeLinear"}
"""Op types that the evaluator knows from opset 19 on; they mean the same before."""

_Size = Callable[["OnnxNode", list[Numbers]], int]
"""(node, operands that are present) -> elements of the results, or a bound of it."""


def _all_operands(node: OnnxNode, operands: list[Numbers]) -> int:
    return sum(each.size for each in operands)


def _broadcast(node: OnnxNode, operands: list[Numbers]) -> int:
    return math.prod(np.broadcast_shapes(*(each.shape for each in operands)))


def _quotient(node: OnnxNode, operands: list[Numbers]) -> int:
    dividend, divisor = operands
    # ONNX leaves open how negative integers are rounded.
    if dividend.dtype.kind in "iu" and ((dividend < 0).any() or (divisor <= 0).any()):
        raise ValueError("a division of negative integers or by zero")
    return _broadcast(node, operands)


def _sizes(operand: Numbers) -> list[int]:
    if operand.dtype.kind not in "iu" or operand.ndim != 1 or (operand < 0).any():
        raise ValueError(f"sizes {operand.tolist()!s:.60}")
    return [int(size) for size in operand.tolist()]


def _constant_of_shape(node: OnnxNode, operands: list[Numbers]) -> int:
    return math.prod(_sizes(operands[0]))


def _expand(node: OnnxNode, operands: list[Numbers]) -> int:
    return math.prod(np.broadcast_shapes(operands[0].shape, tuple(_sizes(operands[1]))))


def _tile(node: OnnxNode, operands: list[Numbers]) -> int:
    return operands[0].size * math.prod(_sizes(operands[1]))


def _range(node: OnnxNode, operands: list[Numbers]) -> int:
    start, limit, delta = (float(each.reshape(()).item()) for each in operands)
    if delta == 0 or not all(map(math.isfinite, (start, limit, delta))):
        raise ValueError(f"range {start} {limit} {delta}")
    return max(math.ceil((limit - start) / delta), 0)


def _shape(node: OnnxNode, operands: list[Numbers]) -> int:
    return operands[0].ndim + 1


def _gather(node: OnnxNode, operands: list[Numbers]) -> int:
    data, indices = operands
    axis = next((each.i for each in node.proto.attribute if each.name == "axis"), 0)
    return int(indices.size * (data.size // max(data.shape[axis], 1)))


FOLDABLE: dict[str, _Size] = {
    **dict.fromkeys(
        (
            "Abs", "Cast", "Ceil", "Concat", "DequantizeLinear", "Flatten", "Floor", "Identity",
            "Neg", "Not", "QuantizeLinear", "Reciprocal", "ReduceMax", "ReduceMin", "ReduceProd",
            "ReduceSum", "Reshape", "Slice", "Split", "Sqrt", "Squeeze", "Transpose", "Unsqueeze",
        ),
        _all_operands,
    ),
    **dict.fromkeys(
        (
            "Add", "And", "Equal", "Greater", "Less", "Max", "Min", "Mul", "Or",
            "Pow", "Sub", "Where",
        ),
        _broadcast,
    ),
    **dict.fromkeys(("Div", "Mod"), _quotient),
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Gather": _gather,
    "Range": _range,
    "Shape": _shape,
    "Size": _shape,
    "Tile": _tile,
}  # fmt: skip
"""Op types that are evaluated on constants, each with a bound on the size of its result."""
