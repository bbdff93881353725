"""Run a graph without time: the meaning of an analog graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..errors import GraphError
from .graph import Graph, Node
from .neurons import StatefulOp
from .ops import Input
from .types import Array


def run_nodes(graph: Graph, inputs: tuple[Array, ...]) -> Iterator[tuple[Node, Array]]:
    """Yield every node with its result, in order; results are freed after their last use.

    Args:
        graph: Without neurons.
        inputs: One [N, ...] array per graph input, in order.

    Raises:
        GraphError: The graph has a neuron, or an array does not fit its input.
    """
    fed = dict(zip(graph.inputs, check_inputs(graph, inputs), strict=True))
    uses = Counter(operand for node in graph.nodes for operand in node.inputs)
    values: dict[str, Array] = {}
    for node in graph.nodes:
        if isinstance(node.op, StatefulOp):
            raise GraphError(f"{node}: changes over time steps, expected an analog graph")
        if isinstance(node.op, Input):
            value = fed[node.name]
        else:
            value = node.op.apply(*(values[operand] for operand in node.inputs))
        if uses[node.name]:
            values[node.name] = value
        for operand in node.inputs:
            uses[operand] -= 1
            if not uses[operand]:
                values.pop(operand, None)
        yield node, value


def run(graph: Graph, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return the graph's outputs, [N, ...] each, in order. Arguments and errors as `run_nodes`."""
    wanted = set(graph.outputs)
    found = {node.name: value for node, value in run_nodes(graph, inputs) if node.name in wanted}
    return tuple(found[name] for name in graph.outputs)


def check_inputs(graph: Graph, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return `inputs` as float32 arrays that fit the graph.

    Raises:
        GraphError: Their number, shapes or batch sizes differ from what the graph takes.
    """
    if len(inputs) != len(graph.inputs):
        raise GraphError(f"got {len(inputs)} input arrays, expected {len(graph.inputs)}")
    arrays = tuple(np.asarray(array, np.float32) for array in inputs)
    for name, array in zip(graph.inputs, arrays, strict=True):
        expected = graph.types[name].shape
        if array.shape[1:] != expected or len(array) != len(arrays[0]):
            raise GraphError(
                f"{graph.by_name[name]}: got an array of shape {array.shape}, "
                f"expected ({len(arrays[0])}, {', '.join(map(str, expected))})"
            )
    return arrays
