"""Weights of layers: from an op to the arrays that Keras keeps, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...ir import Array, Graph, Op
from ...ir.ops import BatchNorm, Conv, Dense
from .draft import layer_names


def to_keras(op: Op, n_in: int = 0) -> list[Array]:
    """Return the arrays of an op's layer, in Keras' order.

    Args:
        op: Dense, Conv or BatchNorm.
        n_in: Channels of a depthwise convolution, whose layer has a kernel of its own kind; else 0.
    """
    match op:
        case Dense():
            return [op.weight.T, op.bias]
        case Conv() if n_in:
            by_channel = op.weight.reshape(n_in, -1, *op.weight.shape[2:])
            return [np.moveaxis(by_channel, (0, 1), (-2, -1)), op.bias]
        case Conv():
            return [np.moveaxis(op.weight, (1, 0), (-2, -1)), op.bias]
        case BatchNorm():
            return [op.scale, op.shift, op.mean, op.variance]
    raise TypeError(type(op).__name__)


def from_keras(op: Op, arrays: list[Array]) -> Op:
    """Return the op with the weights of its layer: the reverse of `to_keras`."""
    match op:
        case Dense():
            return dataclasses.replace(op, weight=arrays[0].T, bias=arrays[1])
        case Conv():
            first, last = arrays[0].shape[-2:]
            depthwise = first * last == len(op.weight) and op.groups == first
            order = (0, 1) if depthwise and op.groups > 1 else (1, 0)
            weight = np.moveaxis(arrays[0], (-2, -1), order).reshape(op.weight.shape)
            return dataclasses.replace(op, weight=weight, bias=arrays[1])
        case BatchNorm():
            scale, shift, mean, variance = arrays
            return dataclasses.replace(op, scale=scale, shift=shift, mean=mean, variance=variance)
    raise TypeError(type(op).__name__)


def read_weights(graph: Graph, model: Any) -> Graph:
    """Return the graph with the weights that a model of `build_keras` has now.

    Args:
        graph: The one that the model was built from.
        model: keras.Model; its layers still have their names.

    Keeps: the structure; the numbers are the model's.
    """
    names = layer_names(graph)
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Dense | Conv | BatchNorm):
            arrays = [
                np.asarray(array) for array in model.get_layer(names[node.name]).get_weights()
            ]
            node = dataclasses.replace(node, op=from_keras(node.op, arrays))
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))
