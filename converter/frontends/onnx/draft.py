"""The graph while it is being built from ONNX nodes: values and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...ir import Node, Op, TensorType
from ...ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Flatten,
    GlobalAveragePool,
    Identity,
    Input,
    InsertZeros,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)
from .folding import Constant
from .structure import OnnxNode

MAX_NAME_LENGTH = 200

_NON_NEGATIVE = {Relu, Sigmoid, Softmax}
_KEEPS_SIGN = (
    Add, AveragePool, Concatenate, Flatten, GlobalAveragePool, Identity, InsertZeros, MaxPool, Pad,
    Reshape, Select, Transpose,
)  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A value that depends on the input, as a node of the graph.

    Attributes:
        node: Name of the node.
        shape: Of one sample.
        has_rows: In the file the first axis of the sample is merged with the batch: [N P, ...]
            where the graph has [N, P, ...].
    """

    node: str
    shape: tuple[int, ...]
    has_rows: bool = False

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape in the file, without the first axis."""
        return self.shape[1:] if self.has_rows else self.shape


@dataclass(frozen=True)
class Mask:
    """Where a tensor is beyond a bound: the factor there, 0 elsewhere.

    Attributes:
        x: What is compared.
        bound: With what.
        is_above: Beyond is above; else it is below.
        with_bound: The bound itself is beyond as well.
        factor: 1 for what was not multiplied.
    """

    x: Tensor
    bound: float
    is_above: bool
    with_bound: bool
    factor: float = 1.0


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of one value that has no translation of its own; see curves.

    Attributes:
        tensor: A value that it depends on, entry by entry; of its shape.
        samples: The function at curves.PLACES, by the node that it is a function of, nearest first.
        origin: Why it is refused unless it becomes a function that has a name.
        inner: Nodes that it depends on.
    """

    tensor: Tensor
    samples: Mapping[str, npt.NDArray[np.float64]]
    origin: str
    inner: frozenset[str]


Value = Tensor | Mask | Curve | Constant | None
"""None stands for what has no translation, or for what follows on it."""


@dataclass
class Draft:
    """A graph that is being built.

    Attributes:
        values: What the tensors of the file are, by name.
        consumers: The nodes that take a tensor, by its name; an output of the file counts as None.
        static_batch: The batch size that the file is made for; None for any.
    """

    values: dict[str, Value]
    consumers: Mapping[str, list[OnnxNode | None]]
    static_batch: int | None = None
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    non_negative: set[str] = field(default_factory=set)

    def add(self, name: str, op: Op, operands: tuple[str, ...], source: str) -> Tensor:
        """Append a node, called `name` or the first free name like it."""
        name = self._fresh_name(name)
        self.types[name] = op.infer(*(self.types[operand] for operand in operands))
        self.nodes.append(Node(name, op, operands, source))
        keeps_sign = isinstance(op, _KEEPS_SIGN) and self.non_negative.issuperset(operands)
        if keeps_sign or type(op) in _NON_NEGATIVE:  # a LogSoftmax is a Softmax, but negative
            self.non_negative.add(name)
        return Tensor(name, self.types[name].shape)

    def find(self, name: str) -> Node:
        """Return a node by its name."""
        return next(node for node in reversed(self.nodes) if node.name == name)

    def remove_unused(self, outputs: tuple[str, ...]) -> None:
        """Drop what no output needs: operands of what was read as something else as a whole."""
        needed = set(outputs)
        for node in reversed(self.nodes):
            if node.name in needed or isinstance(node.op, Input):
                needed.update((node.name, *node.inputs))
        self.nodes = [node for node in self.nodes if node.name in needed]

    def tensors(self) -> dict[str, str]:
        """Return by node the file's tensor that it stands for, entry by entry."""
        kept = {node.name for node in self.nodes}
        return {
            value.node: name
            for name, value in reversed(self.values.items())
            if isinstance(value, Tensor) and not value.has_rows and value.node in kept
        }

    def _fresh_name(self, wanted: str) -> str:
        readable = "".join(char if char.isprintable() and char != " " else "_" for char in wanted)
        wanted = readable[:MAX_NAME_LENGTH] or "node"
        name, number = wanted, 2
        while name in self.types:
            name, number = f"{wanted}_{number}", number + 1
        return name
