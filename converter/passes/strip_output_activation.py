"""Take the activation off the outputs; a spiking network reads the potential out instead."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..ir import Graph, Node, Op
from ..ir.ops import Flatten, LogSoftmax, Relu, Reshape, Sigmoid, Softmax, Transpose

READOUTS = {
    Softmax: "softmax",
    LogSoftmax: "log_softmax",
    Sigmoid: "sigmoid",
    Relu: "relu",
}
LINEAR = {"function": "linear"}


def strip_output_activation(graph: Graph) -> Graph:
    """Remove softmax, sigmoid or ReLU from the outputs and note it in `metadata["readout"]`.

    The potential that an output without neuron accumulates is exact at every step. Transpositions
    behind the activation stay, reshapes too where the activation is entry by entry. The decision is
    the source's once the noted function is applied to the potential.

    Before:  logits (Dense) -> softmax (Softmax), the output
    After:   logits (Dense), the output; metadata["readout"] = [{"function": "softmax", "axis": 0}]

    Keeps: the decision.
    """
    readout: list[dict[str, Any]] = list(
        graph.metadata.get("readout", [LINEAR] * len(graph.outputs))
    )
    outputs = list(graph.outputs)
    for place, name in enumerate(graph.outputs):
        found = _find_head(graph, name)
        if readout[place] != LINEAR or found is None or graph.outputs.count(name) > 1:
            continue
        head, behind, axis = found
        readout[place] = {"function": READOUTS[type(head.op)]}
        if axis is not None:
            readout[place]["axis"] = axis
        operand = head.inputs[0]
        renamed = {head.name: operand}
        nodes = []
        for node in graph.nodes:
            if node.name == head.name:
                continue
            if node in behind:
                # The value behind the activation had this name; without it, it is another value.
                fresh = graph.fresh_name(f"{node.name}/potential")
                inputs = tuple(renamed[each] for each in node.inputs)
                renamed[node.name] = fresh
                node = dataclasses.replace(node, name=fresh, inputs=inputs)
            nodes.append(node)
        outputs[place] = renamed[name]
        graph = graph.replace(nodes=tuple(nodes), outputs=tuple(outputs))
    return graph.replace(metadata={**graph.metadata, "readout": readout})


def _find_head(graph: Graph, output: str) -> tuple[Node, list[Node], int | None] | None:
    """Return the activation of an output, what rearranges its result, and the axis of a softmax."""
    behind: list[Node] = []
    node = graph.by_name[output]
    while isinstance(node.op, Transpose | Reshape | Flatten):
        if len(graph.consumers[node.name]) != (1 if behind else 0):
            return None
        behind.append(node)
        node = graph.by_name[node.inputs[0]]
    is_head = type(node.op) in READOUTS and not _is_capped(node.op)
    if not is_head or len(graph.consumers[node.name]) != (1 if behind else 0):
        return None
    if node.name in graph.outputs and node.name != output:
        return None
    axis = node.op.axis if isinstance(node.op, Softmax) else None
    for each in reversed(behind):
        if axis is not None:
            if not isinstance(each.op, Transpose):
                return None
            axis = each.op.permutation.index(axis)
    return node, behind, axis


def _is_capped(op: Op) -> bool:
    return isinstance(op, Relu) and op.max_value is not None
