"""What corrections of biases share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..ir import Array, Graph, Node, Op
from ..ir.ops import Add, Conv, Dense, Scale

BATCH_SIZE = 25


def add_biases(graph: Graph, shifts: Mapping[str, Array]) -> Graph:
    """Add a shift in front of every named node, behind it if it is a layer.

    A shift per channel goes into the bias of the layer in front, if it reaches nothing else; other
    shifts become nodes of their own.

    Args:
        graph: Any.
        shifts: By node; have the rank of a sample and broadcast to it.
    """
    by_layer: dict[str, Array] = {}
    inserted: dict[str, Array] = {}
    for name, shift in shifts.items():
        is_layer = isinstance(graph.by_name[name].op, Conv | Dense)
        layer = name if is_layer else _find_layer(graph, graph.by_name[name].inputs[0])
        if layer is None or shift.size != len(shift):
            inserted[name] = shift
        else:
            by_layer[layer] = shift
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in by_layer:
            node = dataclasses.replace(node, op=_shifted(node.op, by_layer[node.name]))
        elif node.name in inserted:
            shift = inserted[node.name]
            name = graph.fresh_name(f"{node.name}/bias")
            unit = graph.by_name[node.inputs[0]].unit
            nodes.append(Node(name, Scale(np.ones_like(shift), shift), node.inputs, unit=unit))
            node = dataclasses.replace(node, inputs=(name,))
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


def _find_layer(graph: Graph, name: str) -> str | None:
    """Return the layer whose bias reaches this value and nothing else, if there is one."""
    node = graph.by_name[name]
    if not graph.is_only_use(name):
        return None
    if isinstance(node.op, Conv | Dense):
        return name
    found = (_find_layer(graph, operand) for operand in node.inputs)
    return next(filter(None, found), None) if isinstance(node.op, Add) else None


def _shifted(op: Op, shift: Array) -> Op:
    if not isinstance(op, Conv | Dense):
        raise TypeError(f"{type(op).__name__}: expected Conv or Dense")
    return dataclasses.replace(op, bias=op.bias + shift.reshape(-1))


def apply_in_parts(op: Op, operands: Sequence[Array], result: Array | None = None) -> Array:
    """Apply an op to many samples, a few at a time; return the result, filled if it is given."""
    for start in range(0, len(operands[0]), BATCH_SIZE):
        part = op.apply(*(operand[start : start + BATCH_SIZE] for operand in operands))
        if result is None:
            result = np.empty((len(operands[0]), *part.shape[1:]), part.dtype)
        result[start : start + BATCH_SIZE] = part
    if result is None:
        raise ValueError("no samples")
    return result


def channel_means(values: Array) -> Array:
    """Return the mean per channel of [N, C, ...], as [C, 1, ...]."""
    axes = (0, *range(2, values.ndim))
    means = values.mean(axis=axes, dtype=np.float64)
    return np.asarray(means, np.float32).reshape(-1, *(1,) * (values.ndim - 2))
