"""The largest activations that weights allow, without data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph, Op
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
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Transpose,
)

MONOTONE = (
    Add, AveragePool, Concatenate, Flatten, GlobalAveragePool, Identity, InsertZeros, MaxPool, Pad,
    Relu, Reshape, Select, Sigmoid, Transpose,
)  # fmt: skip
"""What grows with each of its operands: bounds are mapped like values."""


def find_largest_activations(
    graph: Graph, ranges: Mapping[str, tuple[float, float]], *, per_channel: bool
) -> dict[str, Array]:
    """Return for every ReLU the largest activation that inputs within their ranges can cause.

    Intervals through the layers: positive weights take the upper ends, negative ones the lower. The
    true maximum is lower, the more so the deeper the layer.

    Source: Diehl et al. 2015 (model-based normalisation, there with one bound per layer).

    Args:
        graph: Analog, without batch norm.
        ranges: Lowest and highest value of every graph input.
        per_channel: One value per channel, [C, 1, ...]; else one per layer, [1, ...].

    Raises:
        PassError: A ReLU cannot become active, or lies behind an op of which no bound is known.
    """
    low: dict[str, Array] = {}
    high: dict[str, Array] = {}
    found: dict[str, Array] = {}
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Input):
            shape = (1, *graph.types[node.name].shape)
            ends = ranges[node.name]
            low[node.name], high[node.name] = (np.full(shape, end, np.float32) for end in ends)
            continue
        if any(name not in low for name in node.inputs) or not isinstance(
            op, (*MONOTONE, Conv, Dense, Scale)
        ):
            if isinstance(op, Relu):
                raise PassError(
                    f"{node}: lies behind an operation without bounds, expected linear layers",
                    hint="normalise by activations: --set normalize_weights.rule=activations",
                )
            continue
        below, above = ([ends[name] for name in node.inputs] for ends in (low, high))
        if isinstance(op, MONOTONE):
            low[node.name], high[node.name] = op.apply(*below), op.apply(*above)
        else:
            rising, falling = _split(op)
            low[node.name] = rising.apply(*below) + falling.apply(*above)
            high[node.name] = rising.apply(*above) + falling.apply(*below)
        if isinstance(op, Relu):
            found[node.name] = _largest(high[node.name][0], per_channel=per_channel)
            if not (found[node.name] > 0).all():
                raise PassError(
                    f"{node}: no input can make it active, expected a positive bound",
                    hint="remove the layer",
                )
    return found


def _split(op: Op) -> tuple[Op, Op]:
    """Return the parts with positive weights (and the bias) and with negative ones."""
    if isinstance(op, Scale):
        falling = Scale(np.minimum(op.scale, 0), np.zeros_like(op.shift))
        return Scale(np.maximum(op.scale, 0), op.shift), falling
    if not isinstance(op, Conv | Dense):
        raise TypeError(f"{type(op).__name__}: expected Conv, Dense or Scale")
    rising = dataclasses.replace(op, weight=np.maximum(op.weight, 0))
    none = np.zeros_like(op.bias)
    return rising, dataclasses.replace(op, weight=np.minimum(op.weight, 0), bias=none)


def _largest(high: Array, *, per_channel: bool) -> Array:
    """Return the largest bound; a channel that cannot be active gets its layer's."""
    per = high.reshape(len(high), -1).max(axis=1)
    values = np.where(per > 0, per, per.max()) if per_channel else per.max(keepdims=True)
    return np.asarray(values, np.float32).reshape(-1, *(1,) * (high.ndim - 1))
