"""Thresholds of least squared error for activations that are normally distributed before ReLU."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..errors import PassError
from ..ir import Array, Graph, run_nodes
from ..ir.ops import Relu
from .thresholds import BATCH_SIZE, Values

BRACKET, N_BRACKETS = 1.05, 200
N_HALVINGS = 20
"""To 5 % / 2^20."""
LEAST_SHARE = 1e-12
"""Of the currents above zero: with fewer, nothing ever is."""
_erfc = np.vectorize(math.erfc, otypes=[float])


def find_gaussian_thresholds(
    graph: Graph, calibration: tuple[Array, ...], *, n_levels: int, per_channel: bool
) -> dict[str, Array]:
    """Return for every ReLU the threshold of least squared error under a normal distribution.

    Mean and variance of the currents are measured in one pass over the samples, nothing else.

    Source: Huang et al. 2025 (differential coding), the condition of `solve`.

    Args:
        graph: Analog.
        calibration: One array [N, ...] per graph input.
        n_levels: Levels besides 0, at least 1.
        per_channel: One value per channel, [C, 1, ...]; else one per layer, [1, ...].

    Raises:
        PassError: No samples, n_levels < 1, or a layer whose currents are never positive.
    """
    if n_levels < 1:
        raise PassError(f"n_levels {n_levels}, expected at least 1", hint="one level per time step")
    if not len(calibration[0]):
        raise PassError("calibration: has no samples, expected at least one", hint="add data")
    result = {}
    for name, (mean, deviation) in _measure(graph, calibration, per_channel=per_channel).items():
        values = solve(mean, deviation, n_levels)
        if not (values > 0).any():
            raise PassError(
                f"{graph.by_name[name]}: its currents are far below zero, expected positive ones",
                hint="calibrate with samples like those the network was trained on, scaled alike",
            )
        values = np.where(values > 0, values, values.max())
        rank = len(graph.types[name].shape)
        result[name] = values.astype(np.float32).reshape(-1, *(1,) * (rank - 1))
    return result


def solve(mean: Values, deviation: Values, n_levels: int) -> Values:
    """Return the threshold theta at which  k(theta) = 1, near  mean + 3 deviation.

        c_i = (2 i - 1) theta / (2 n),   E_i = erf((c_i - mean) / (sqrt(2) deviation))
        G_i = exp(-(c_i - mean)^2 / (2 deviation^2)),   i = 1..n
        k = [mean (n - sum E_i) + deviation sqrt(2 / pi) sum G_i] n / theta
            / [n^2 - sum (2 i - 1) E_i]

    which is the condition for the least mean squared error of rounding to theta / n {0, ..., n}:
    where k > 1 a larger threshold errs less. The source iterates  theta <- k(theta) theta,  which
    takes thousands of steps for many levels; here the root is bracketed and halved, which is the
    same root.

    Args:
        mean: Of the currents, [K].
        deviation: Likewise.
        n_levels: n.

    Returns:
        [K]; 0 where nothing is ever above zero.
    """
    deviation = np.maximum(deviation, 1e-6 * np.abs(mean).max(initial=1e-30))
    theta = np.maximum(mean + 3 * deviation, 0.05 * deviation)
    is_rising = _is_too_small(theta, mean, deviation, n_levels)
    other = theta
    for _ in range(N_BRACKETS):
        theta = other
        other = np.where(is_rising, theta * BRACKET, theta / BRACKET)
        is_inside = _is_too_small(other, mean, deviation, n_levels) != is_rising
        other = np.where(is_inside, theta, other)
        if is_inside.all():
            break
    low = np.where(is_rising, theta, theta / BRACKET)
    high = low * BRACKET
    for _ in range(N_HALVINGS):
        middle = np.sqrt(low * high)
        is_low = _is_too_small(middle, mean, deviation, n_levels)
        low, high = np.where(is_low, middle, low), np.where(is_low, high, middle)
    share = _erfc(-mean / deviation / math.sqrt(2)) / 2
    return np.where(share > LEAST_SHARE, np.sqrt(low * high), 0.0)


def _is_too_small(
    theta: Values, mean: Values, deviation: Values, n_levels: int
) -> npt.NDArray[np.bool_]:
    """Return where k(theta) > 1; n - sum E_i is sum erfc, which loses no digits."""
    odd = 2 * np.arange(1, n_levels + 1) - 1
    scaled = (odd * (theta / (2 * n_levels))[:, None] - mean[:, None]) / deviation[:, None]
    rests = _erfc(scaled / math.sqrt(2))
    bells = np.exp(-np.square(scaled) / 2).sum(axis=1)
    above = mean * rests.sum(axis=1) + deviation * math.sqrt(2 / math.pi) * bells
    return np.asarray(above * n_levels > theta * (odd * rests).sum(axis=1))


def _measure(
    graph: Graph, calibration: tuple[Array, ...], *, per_channel: bool
) -> dict[str, tuple[Values, Values]]:
    """Return mean and standard deviation of what every ReLU gets, batch by batch (Welford)."""
    counts: dict[str, int] = {}
    means: dict[str, Values] = {}
    squares: dict[str, Values] = {}
    currents = {node.inputs[0] for node in graph.nodes if isinstance(node.op, Relu)}
    for start in range(0, len(calibration[0]), BATCH_SIZE):
        batch = tuple(array[start : start + BATCH_SIZE] for array in calibration)
        values: dict[str, Array] = {}
        for node, value in run_nodes(graph, batch):
            if node.name in currents:
                values[node.name] = value
            if not isinstance(node.op, Relu):
                continue
            seen = np.moveaxis(values[node.inputs[0]], 1, 0).astype(np.float64)
            seen = seen.reshape(len(seen) if per_channel else 1, -1)
            n_before, n_new = counts.get(node.name, 0), seen.shape[1]
            mean = seen.mean(axis=1)
            delta = mean - means.get(node.name, 0.0)
            total = n_before + n_new
            means[node.name] = means.get(node.name, 0.0) + delta * n_new / total
            squares[node.name] = (
                squares.get(node.name, 0.0)
                + np.square(seen - mean[:, None]).sum(axis=1)
                + np.square(delta) * n_before * n_new / total
            )
            counts[node.name] = total
    return {name: (mean, np.sqrt(squares[name] / counts[name])) for name, mean in means.items()}
