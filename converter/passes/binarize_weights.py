"""Binary weights without training."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph, Op
from ..ir.ops import Conv, Dense, Input
from ..training.binary_weights import SCHEMES, binarize, find_binarizable
from .biases import apply_in_parts, channel_means


class Correction(StrEnum):
    """What is made up for behind a binary layer, channel by channel."""

    NONE = "none"
    """Nothing: needs no data."""
    BIAS = "bias"
    """The mean of what the layer gives."""
    MOMENTS = "moments"
    """Its mean and its standard deviation: the value a of the weights, too."""


def binarize_weights(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    scheme: str = "scaled",
    all_layers: bool = False,
    correct: str = Correction.MOMENTS,
    n_samples: int = 300,
) -> Graph:
    """Replace weights by -a, a per output channel, and correct what that does to the channel.

    Layer by layer, in order, behind the binarized and corrected layers before it. The first and the
    last layers keep their weights unless `all_layers`, and so does everything in a graph that has
    no other layers.

    Before:  conv2 (Conv, weight w, bias b)
    After:   conv2 (Conv, weight a sign(w), bias b + shift)

    Args:
        graph: Analog, without batch norm.
        calibration: Inputs, one array [N, ...] per graph input.
        scheme: scaled, connect or ternary.
        all_layers: The first and the last layers, too.
        correct: none, bias or moments.
        n_samples: The first so many calibration samples, which must fit into memory layer by layer.

    Raises:
        PassError: No such scheme or correction, or n_samples is below 1.

    Keeps: the inputs and the shapes of the outputs.
    Source: Rastegari et al. 2016 (a = mean |w|), Li et al. 2021 (bias correction).
    """
    for option, value, table in (("scheme", scheme, SCHEMES), ("correct", correct, Correction)):
        if value not in set(table):
            raise PassError(
                f"binarize_weights: {option} {value!r}, expected one of {', '.join(table)}",
                hint="leave the option out for its default",
            )
    if n_samples < 1:
        raise PassError(
            f"binarize_weights: n_samples {n_samples}, expected at least 1",
            hint="leave the option out for its default",
        )
    names = set(find_binarizable(graph, all_layers=all_layers))
    changed = {node.name: _binary(node.op, scheme) for node in graph.nodes if node.name in names}
    if correct != Correction.NONE:
        inputs = tuple(array[:n_samples] for array in calibration)
        _correct(graph, changed, inputs, scales=correct == Correction.MOMENTS)
    nodes = tuple(
        dataclasses.replace(node, op=changed.get(node.name, node.op)) for node in graph.nodes
    )
    return graph.replace(nodes=nodes)


def _binary(op: Op, scheme: str) -> Op:
    if not isinstance(op, Conv | Dense):
        raise TypeError(f"{type(op).__name__}: expected Conv or Dense")
    return dataclasses.replace(op, weight=binarize(op.weight, scheme))


def _correct(
    graph: Graph, changed: dict[str, Op], inputs: tuple[Array, ...], *, scales: bool
) -> None:
    """Give the changed layers the moments that they had, in order, in place."""
    exact: dict[str, Array] = dict(zip(graph.inputs, inputs, strict=True))
    rough = dict(exact)
    last_use = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, Input):
            continue
        expected = apply_in_parts(node.op, [exact[name] for name in node.inputs])
        op = changed.get(node.name, node.op)
        found = apply_in_parts(op, [rough[name] for name in node.inputs])
        if node.name in changed and isinstance(op, Conv | Dense):
            factor = np.ones_like(channel_means(found))
            if scales:
                wanted, have = _deviations(expected), _deviations(found)
                usable = (wanted > 0) & (have > 0)
                factor = np.where(usable, wanted / np.where(usable, have, 1), 1)
                factor = factor.astype(np.float32)
            shift = channel_means(expected) - factor * channel_means(found)
            per_row = factor.reshape(-1, *(1,) * (op.weight.ndim - 1))
            bias = op.bias * factor.reshape(-1) + shift.reshape(-1)
            changed[node.name] = dataclasses.replace(op, weight=op.weight * per_row, bias=bias)
            found = found * factor + shift
        exact[node.name], rough[node.name] = expected, found
        for name in node.inputs:
            if last_use[name] == place:
                exact.pop(name, None)
                rough.pop(name, None)


def _deviations(values: Array) -> Array:
    """Return the standard deviation per channel of [N, C, ...], as [C, 1, ...]."""
    squares = channel_means((values - channel_means(values)) ** 2)
    return np.sqrt(squares)
