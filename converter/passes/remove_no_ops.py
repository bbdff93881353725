"""Remove what does nothing at inference."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..ir import Graph, Node
from ..ir.ops import Flatten, Identity, Pad, Reshape, Scale, Transpose


def remove_no_ops(graph: Graph) -> Graph:
    """Remove dropout and other identities, and transpositions that cancel each other.

    Before:  dense1 (Dense) -> dropout1 (Identity) -> dense2 (Dense)
    After:   dense1 (Dense) -> dense2 (Dense)

    Keeps: the function.
    """
    renamed: dict[str, str] = {}
    kept: dict[str, Node] = {}
    for node in graph.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        twin = _undone(node, inputs, kept)
        if twin is not None:
            renamed[node.name] = twin
        elif _does_nothing(node, graph):
            renamed[node.name] = inputs[0]
        else:
            kept[node.name] = dataclasses.replace(node, inputs=inputs)
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    return graph.replace(nodes=_without_unused(tuple(kept.values()), outputs), outputs=outputs)


def _does_nothing(node: Node, graph: Graph) -> bool:
    match node.op:
        case Identity():
            return True
        case Transpose(permutation=permutation):
            return permutation == tuple(range(len(permutation)))
        case Reshape() | Flatten():
            return graph.types[node.name].shape == graph.types[node.inputs[0]].shape
        case Pad(padding=padding):
            return not any(map(any, padding))
        case Scale(scale=scale, shift=shift):
            return bool(np.all(scale == 1) and np.all(shift == 0))
    return False


def _undone(node: Node, inputs: tuple[str, ...], kept: dict[str, Node]) -> str | None:
    """Return the value before the transposition that `node` reverts, or None."""
    if not isinstance(node.op, Transpose):
        return None
    first = kept[inputs[0]]
    if not isinstance(first.op, Transpose):
        return None
    combined = tuple(first.op.permutation[axis] for axis in node.op.permutation)
    return first.inputs[0] if combined == tuple(range(len(combined))) else None


def _without_unused(nodes: tuple[Node, ...], outputs: tuple[str, ...]) -> tuple[Node, ...]:
    """Drop transpositions that nobody takes any more."""
    wanted = set(outputs)
    result = []
    for node in reversed(nodes):
        if node.name in wanted or not isinstance(node.op, Transpose):
            wanted.update(node.inputs)
            result.append(node)
    return tuple(reversed(result))
