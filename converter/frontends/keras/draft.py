"""The graph while it is being built from Keras layers: names, and where the channels are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...errors import FormatError
from ...ir import Array, Node, Op, TensorType
from ...ir.ops import Transpose
from .hdf5 import DAMAGED, Numbers
from .model import Layer
from .weights import Weights

MAX_NODES = 200_000
MAX_WEIGHT_BYTES = 2**32


@dataclass(frozen=True)
class Value:
    """One tensor of the Keras model, as a node of the graph.

    Attributes:
        node: Name of the node.
        shape: Of one sample, in Keras' order of axes.
        moved: The node's axes are Keras' with the last one, the channels, moved to the front.
    """

    node: str
    shape: tuple[int, ...]
    moved: bool = False

    def axis(self, axis: int) -> int:
        """Return which axis of the node is Keras' axis `axis` of a sample."""
        if not self.moved:
            return axis
        return 0 if axis == len(self.shape) - 1 else axis + 1


class UnsupportedLayerError(Exception):
    """A layer has no translation for what it is called with; the text says why.

    Attributes:
        result: Something of the result's shape, so that the reasons behind it are found, too;
            None where the shape is not known.
    """

    def __init__(self, message: str, result: Value | None = None) -> None:
        super().__init__(message)
        self.result = result


@dataclass
class Draft:
    """A graph that is being built.

    Attributes:
        weights: Where the layers' weights are.
        data_formats: Of the layers that have spatial axes.
        nodes: In topological order.
        types: Of the nodes' results, by name.
        moves: By node, the same value with the channels moved to the front or back.
        n_weight_bytes: Of all weights read.
        leaks: By ReLU: of the neurons that were trained in its place.
    """

    weights: Weights
    data_formats: frozenset[str]
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    moves: dict[str, Value] = field(default_factory=dict)
    n_weight_bytes: int = 0
    leaks: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, op: Op, operands: tuple[str, ...], source: str) -> str:
        """Append a node and return its name, `name` or the first free one like it."""
        name = self.fresh_name(name)
        if len(self.nodes) == MAX_NODES:
            raise FormatError(f"{name}: more than {MAX_NODES} nodes, expected at most as many")
        self.types[name] = op.infer(*(self.types[operand] for operand in operands))
        self.nodes.append(Node(name, op, operands, source))
        return name

    def fresh_name(self, wanted: str) -> str:
        """Return `wanted`, or `wanted` with the first number that makes it unique."""
        name, number = wanted, 2
        while name in self.types:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def move_channels(self, value: Value, *, moved: bool, name: str, source: str = "") -> Value:
        """Return the value with the channels in front (`moved`) or in Keras' order."""
        if value.moved == moved:
            return value
        if len(value.shape) < 2:
            return Value(value.node, value.shape, moved)
        if value.node not in self.moves:
            last = len(value.shape) - 1
            order = (last, *range(last)) if moved else (*range(1, last + 1), 0)
            node = self.add(name, Transpose(order), (value.node,), source)
            self.moves[value.node] = Value(node, value.shape, moved)
            self.moves[node] = value
        return self.moves[value.node]


@dataclass(frozen=True)
class Site:
    """One call of one layer: what its translation needs.

    Attributes:
        draft: The graph so far.
        layer: The layer.
        name: Name of the node that stands for the call's result.
    """

    draft: Draft
    layer: Layer
    name: str

    def add(self, op: Op, *operands: Value, inner: str = "", moved: bool = False) -> Value:
        """Append a node.

        Args:
            op: What it computes.
            operands: Of what.
            inner: What it is called within the layer; "" is the layer's result.
            moved: Whether the axes of the result are Keras' with the channels moved in front.
        """
        node = self.emit(inner, op, tuple(each.node for each in operands))
        return self.value(node, moved=moved)

    def emit(self, inner: str, op: Op, operands: tuple[str, ...]) -> str:
        """Append a node for the functions of `lowering`; see there."""
        name = f"{self.name}/{inner}" if inner else self.name
        return self.draft.add(name, op, operands, self.layer.name)

    def value(self, node: str, *, moved: bool = False) -> Value:
        """Return a node as a value; `moved` as in Value."""
        shape = self.draft.types[node].shape
        return Value(node, (*shape[1:], *shape[:1]) if moved else shape, moved)

    def channels_first(self, value: Value) -> Value:
        """Return a channels-last value with the channels moved in front."""
        return self.draft.move_channels(
            value, moved=True, name=f"{self.name}/channels_first", source=self.layer.name
        )

    def keras_order(self, value: Value) -> Value:
        """Return the value with the axes in Keras' order."""
        return self.draft.move_channels(
            value, moved=False, name=f"{self.name}/channels_last", source=self.layer.name
        )

    def weights(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
        """Return the layer's weights, read only if all are as expected.

        Args:
            shapes: What the layer has, in the order in which it creates them.

        Raises:
            FormatError: The layer has others.
        """
        stored = self.draft.weights.find(self.layer, tuple(shapes))
        for (name, expected), found in zip(shapes.items(), stored, strict=True):
            if found.shape != expected:
                raise FormatError(
                    f"{self.layer}: {name} has shape {found.shape}, expected {expected}",
                    hint=DAMAGED,
                )
        self.draft.n_weight_bytes += sum(4 * math.prod(shape) for shape in shapes.values())
        if self.draft.n_weight_bytes > MAX_WEIGHT_BYTES:
            raise FormatError(
                f"{self.layer}: the graph has more than {MAX_WEIGHT_BYTES} bytes of weights, "
                "expected at most as many"
            )
        return {
            name: self._to_float32(name, found.read())
            for name, found in zip(shapes, stored, strict=True)
        }

    def _to_float32(self, name: str, values: Numbers) -> Array:
        if values.dtype.kind != "f" and name != "count":
            raise FormatError(
                f"{self.layer}: {name} has dtype {values.dtype}, expected floating point numbers",
                hint="integers are a quantized model's, whose scales are not read",
            )
        with np.errstate(over="ignore"):  # infinity is refused where it becomes a parameter
            return values.astype(np.float32, copy=False)
