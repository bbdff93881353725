"""Give activations other units without changing the function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from ..errors import PassError
from ..ir import Activation, Array, Graph, Node, Op
from ..ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    Input,
    InsertZeros,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Pad,
    QuantizedRelu,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)

AnyArray = TypeVar("AnyArray", bound=np.ndarray[Any, Any])


def rescale(graph: Graph, units: Mapping[str, Array]) -> Graph:
    """Divide the result of every named ReLU by its unit, and make up for it in the weights behind.

    A layer with weight W, bias b between units u (in front) and s (behind) becomes
    W u / s, b / s. Linear layers take the unit of the ReLU that follows them, through additions
    too. Where two units meet (a shortcut without weights, an output) a Scale is inserted: a
    connection of weight u / s.

    Args:
        graph: Analog, without batch norm.
        units: By ReLU; positive, with the rank of a sample, broadcast to it.

    Returns:
        The graph with `Node.unit` set; outputs are in the source's units.

    Raises:
        PassError: The graph has an op that no unit can pass.
    """
    state = _Rescaling(graph, units)
    for node in graph.nodes:
        rule = _RULES.get(type(node.op))
        if rule is None:
            raise PassError(f"{node}: no rule how units pass it, expected an analog graph")
        rule(state, node)
    outputs = tuple(state.in_unit(name, state.one(name)) for name in graph.outputs)
    return graph.replace(nodes=tuple(state.nodes), outputs=outputs)


def limit_to_caps(graph: Graph, units: Mapping[str, Array]) -> dict[str, Array]:
    """Return units that are at most the cap of their ReLU.

    A neuron knows no cap but its threshold: with a larger one it would send what the ReLU cuts off.
    """
    limited = dict(units)
    for name, unit in units.items():
        op = graph.by_name[name].op
        if isinstance(op, Relu) and op.max_value is not None:
            limited[name] = compact(np.minimum(unit, op.max_value))
    return limited


def multiply_units(graph: Graph, before: Graph) -> Graph:
    """Put the units that nodes had before rescaling behind those that they have got."""
    nodes = []
    for node in graph.nodes:
        old = before.by_name[node.name].unit if node.name in before.by_name else None
        if old is not None:
            node = dataclasses.replace(node, unit=old if node.unit is None else node.unit * old)
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


class _Rescaling:
    """The nodes made so far and the unit of each."""

    def __init__(self, graph: Graph, relu_units: Mapping[str, Array]) -> None:
        self.graph = graph
        self.relu_units = relu_units
        self.nodes: list[Node] = []
        self.units: dict[str, Array] = {}
        self.names = set(graph.types)
        self.demanded = _find_demanded(graph, relu_units)

    def one(self, name: str) -> Array:
        """The unit 1 for the result `name`."""
        return np.ones((1,) * len(self.graph.types[name].shape), np.float32)

    def add(self, node: Node, op: Op, inputs: tuple[str, ...], unit: Array) -> None:
        unit = compact(unit)
        self.units[node.name] = unit
        noted = None if (unit == 1).all() else unit
        self.nodes.append(dataclasses.replace(node, op=op, inputs=inputs, unit=noted))

    def in_unit(self, name: str, unit: Array) -> str:
        """Return the name of the result `name` in another unit; a Scale is inserted if needed."""
        have = self.units[name]
        shape = self.graph.types[name].shape
        if np.array_equal(np.broadcast_to(have, shape), np.broadcast_to(unit, shape)):
            return name
        ratio = compact(have / unit)
        fresh = f"{name}/rescaled"
        while fresh in self.names:
            fresh += "_"
        self.names.add(fresh)
        noted = None if (unit == 1).all() else unit
        op = Scale(ratio, np.zeros_like(ratio))
        self.nodes.append(Node(fresh, op, (name,), unit=noted))
        return fresh

    def uniform(self, name: str, axes: range) -> tuple[str, Array]:
        """Return the result `name` in a unit that is the same all along `axes` of a sample."""
        unit = self.units[name]
        if all(unit.shape[axis] == 1 for axis in axes):
            return name, unit
        one = self.one(name)
        return self.in_unit(name, one), one


def _find_demanded(graph: Graph, relu_units: Mapping[str, Array]) -> dict[str, Array]:
    """Return by result the unit that its only consumer wants: a ReLU, perhaps behind sums."""
    demanded: dict[str, Array] = {}
    for node in reversed(graph.nodes):
        unit = relu_units.get(node.name)
        if isinstance(node.op, Add | Scale):
            unit = demanded.get(node.name)
        if unit is not None:
            demanded.update({name: unit for name in node.inputs if graph.is_only_use(name)})
    return demanded


def _input(state: _Rescaling, node: Node) -> None:
    state.add(node, node.op, (), state.one(node.name))


def _relu(state: _Rescaling, node: Node) -> None:
    (operand,) = node.inputs
    unit = state.relu_units.get(node.name, state.units[operand])
    op = node.op
    if isinstance(op, QuantizedRelu):
        op = dataclasses.replace(op, threshold=op.threshold / unit)
    elif isinstance(op, Relu) and op.max_value is not None:
        op = Relu(op.max_value / unit)
    state.add(node, op, (state.in_unit(operand, unit),), unit)


def _conv(state: _Rescaling, node: Node) -> None:
    op = node.op
    if not isinstance(op, Conv | Dense):
        raise PassError(f"{node}: expected Conv or Dense")
    groups = op.groups if isinstance(op, Conv) else 1
    operand, before = state.uniform(node.inputs[0], range(1, op.weight.ndim - 1))
    behind = state.demanded.get(node.name, state.one(node.name))
    if behind.size != len(behind):  # an addition wants other units at other positions
        behind = state.one(node.name)
    n_axes = op.weight.ndim - 2
    n_in = op.weight.shape[1] * groups
    before_in = np.broadcast_to(before.reshape(-1), (n_in,)).reshape(groups, 1, -1, *(1,) * n_axes)
    scaled = op.weight.reshape(groups, -1, *op.weight.shape[1:]) * before_in
    behind_out = np.broadcast_to(behind.reshape(-1), op.bias.shape)
    weight = scaled.reshape(op.weight.shape) / behind_out.reshape(-1, *(1,) * (n_axes + 1))
    new = dataclasses.replace(op, weight=weight, bias=op.bias / behind_out)
    state.add(node, new, (operand,), behind)


def _scale(state: _Rescaling, node: Node) -> None:
    op = node.op
    if not isinstance(op, Scale):
        raise PassError(f"{node}: expected Scale")
    (operand,) = node.inputs
    behind = state.demanded.get(node.name, state.one(node.name))
    scaled = Scale(op.scale * state.units[operand] / behind, op.shift / behind)
    state.add(node, scaled, (operand,), behind)


def _rearrange(state: _Rescaling, node: Node) -> None:
    """Units move as the entries do."""
    (operand,) = node.inputs
    full = np.broadcast_to(state.units[operand], state.graph.types[operand].shape)
    state.add(node, node.op, (operand,), node.op.apply(full[None])[0])


def _same(state: _Rescaling, node: Node) -> None:
    state.add(node, node.op, node.inputs, state.units[node.inputs[0]])


def _pool(state: _Rescaling, node: Node) -> None:
    rank = len(state.graph.types[node.inputs[0]].shape)
    operand, unit = state.uniform(node.inputs[0], range(1, rank))
    kept = unit.reshape(unit.shape[: len(state.graph.types[node.name].shape)])
    state.add(node, node.op, (operand,), kept)


def _pad(state: _Rescaling, node: Node) -> None:
    rank = len(state.graph.types[node.name].shape)
    operand, unit = state.uniform(node.inputs[0], range(rank))
    state.add(node, node.op, (operand,), unit)


def _pad_space(state: _Rescaling, node: Node) -> None:
    padding = node.op.padding if isinstance(node.op, Pad) else ()
    if padding and any(padding[0]):
        _pad(state, node)
        return
    operand, unit = state.uniform(node.inputs[0], range(1, len(padding)))
    state.add(node, node.op, (operand,), unit)


def _add(state: _Rescaling, node: Node) -> None:
    shape = state.graph.types[node.name].shape
    units = [np.broadcast_to(state.units[name], shape) for name in node.inputs]
    unit = state.demanded.get(node.name)
    if unit is None:
        is_shared = all(np.array_equal(units[0], other) for other in units)
        unit = units[0] if is_shared else state.one(node.name)
    state.add(node, node.op, tuple(state.in_unit(name, unit) for name in node.inputs), unit)


def _concatenate(state: _Rescaling, node: Node) -> None:
    types = state.graph.types
    full = [np.broadcast_to(state.units[name], types[name].shape)[None] for name in node.inputs]
    state.add(node, node.op, node.inputs, node.op.apply(*full)[0])


def _back_to_one(state: _Rescaling, node: Node) -> None:
    (operand,) = node.inputs
    state.add(node, node.op, (state.in_unit(operand, state.one(operand)),), state.one(node.name))


def compact(unit: AnyArray) -> AnyArray:
    """Return `unit` with size 1 along every axis along which it does not change."""
    for axis in range(unit.ndim):
        first = unit.take([0], axis=axis)
        if unit.shape[axis] > 1 and (unit == first).all():
            unit = first  # type: ignore[assignment]
    return unit


_RULES: dict[type[Op], Callable[[_Rescaling, Node], None]] = {
    Input: _input,
    Identity: _same,
    Relu: _relu,
    QuantizedRelu: _relu,
    Conv: _conv,
    Dense: _conv,
    Scale: _scale,
    Flatten: _rearrange,
    Reshape: _rearrange,
    Transpose: _rearrange,
    MaxPool: _pool,
    AveragePool: _pool,
    GlobalAveragePool: _pool,
    Pad: _pad_space,
    Select: _rearrange,
    InsertZeros: _pool,
    Add: _add,
    Concatenate: _concatenate,
    Softmax: _back_to_one,
    LogSoftmax: _back_to_one,
    Sigmoid: _back_to_one,
    Activation: _back_to_one,
    LocalResponseNorm: _back_to_one,
}
