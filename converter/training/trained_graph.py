"""From the trained Keras model back to a graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..exports.keras import read_weights
from ..ir import Graph, Node, Op
from ..ir.ops import Conv, Dense, QuantizedRelu, Relu, Scale
from ..passes import PASSES
from .binary_weights import binarize
from .student import Student


def trained_graph(student: Student, source: Graph) -> Graph:
    """Return the source's graph with the trained weights and activations.

    Leaks of neurons are no part of an analog graph: they are in `metadata["leaks"]`, by ReLU.

    Args:
        student: After training.
        source: The graph that it was built from, as read.
    """
    trained = read_weights(student.graph, student.inner)
    ops = {}
    for node in trained.nodes:
        op = node.op
        if node.name in student.binary and isinstance(op, Conv | Dense):
            op = dataclasses.replace(op, weight=binarize(op.weight, student.scheme))
        ops[node.name] = op
    result: list[Node] = []
    leaks: dict[str, float] = {}
    for node in PASSES["remove_no_ops"](source).nodes:
        layer = student.activations.get(node.name)
        if layer is None or not student.constraint:
            result.append(dataclasses.replace(node, op=ops.get(node.name, node.op)))
        else:
            rank = len(student.graph.types[node.name].shape)
            trained_layer = student.inner.get_layer(layer)
            result += _trained_activation(student, node, trained_layer, rank)
            if student.constraint == "surrogate":
                leaks[node.name] = float(_numpy(trained_layer.leak)[0])
    plain = PASSES["remove_no_ops"](source)
    metadata = {**plain.metadata, "trained": dict(student.options) | {"as": student.constraint}}
    if student.constraint:  # what the source was trained for before is over
        metadata.pop("leaks", None)
    if any(leaks.values()):
        metadata["leaks"] = {name: leak for name, leak in leaks.items() if leak}
    return plain.replace(nodes=tuple(result), metadata=metadata)


def _trained_activation(student: Student, node: Node, layer: Any, rank: int) -> list[Node]:
    """Return the nodes that compute what an activation is once it is trained."""
    options = student.options
    if student.constraint == "sign":
        one = np.ones((1,) * rank, np.float32)
        step = Node(f"{node.name}/step", QuantizedRelu(one, 1, 1.0), node.inputs, node.source)
        return [step, dataclasses.replace(node, op=Scale(2 * one, -one), inputs=(step.name,))]
    threshold = np.asarray(_numpy(layer.threshold), np.float32)
    threshold = threshold.reshape(-1, *(1,) * (rank - 1))
    op: Op = Relu(threshold)
    if student.constraint in {"qcfs", "slip_relu"}:
        op = QuantizedRelu(threshold, int(options["n_levels"]))
    elif student.constraint in {"step", "whetstone"}:
        op = QuantizedRelu(threshold, 1)
    return [dataclasses.replace(node, op=op)]


def _numpy(variable: Any) -> Any:
    import keras

    return keras.ops.convert_to_numpy(variable)
