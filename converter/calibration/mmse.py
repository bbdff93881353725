"""Thresholds that make the squared error of quantised activations as small as can be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import PassError
from ..ir import Array, Graph
from .thresholds import collect_histograms

N_CANDIDATES = 200


def find_mmse_thresholds(
    graph: Graph, calibration: tuple[Array, ...], *, n_levels: int, per_channel: bool
) -> dict[str, Array]:
    """Return for every ReLU the threshold with the least mean squared quantisation error.

        argmin_theta  E (x - theta / n clip(floor(x n / theta + 1/2), 0, n))^2

    over N_CANDIDATES thresholds up to the largest activation. Two passes over the calibration
    inputs, the second into histograms; memory depends on the number of channels, not of samples.

    Source: Li et al. 2021 (MMSE threshold, here with rounding to the nearest level).

    Args:
        graph: Analog.
        calibration: One array [N, ...] per graph input.
        n_levels: n above: levels besides 0, at least 1.
        per_channel: One value per channel, [C, 1, ...]; else one per layer, [1, ...].

    Raises:
        PassError: A layer is never active on the calibration inputs, no samples, or n_levels < 1.
    """
    if n_levels < 1:
        raise PassError(f"n_levels {n_levels}, expected at least 1", hint="one level per time step")
    result = {}
    for name, histogram in collect_histograms(graph, calibration).items():
        points = histogram.points
        if per_channel and (histogram.maxima > 0).all():
            values = _best(points, histogram.weights, n_levels)
        else:  # a channel that is never active gets the layer's threshold
            values = _best(points.reshape(1, -1), histogram.weights.reshape(1, -1), n_levels)
            if per_channel:
                channels = _best(points, histogram.weights, n_levels)
                values = np.where(histogram.maxima > 0, channels, values)
        rank = len(graph.types[name].shape)
        result[name] = values.astype(np.float32).reshape(-1, *(1,) * (rank - 1))
    return result


def _best(
    points: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], n_levels: int
) -> npt.NDArray[np.float64]:
    """Return per row the threshold with the least error; the largest point if all are equal."""
    largest = points.max(axis=1)
    best, least = largest.copy(), np.full(len(points), np.inf)
    for candidate in range(N_CANDIDATES, 0, -1):
        thresholds = np.where(largest > 0, largest, 1.0) * candidate / N_CANDIDATES
        step = thresholds[:, None] / n_levels
        quantised = step * np.clip(np.floor(points / step + 0.5), 0, n_levels)
        errors = (weights * (points - quantised) ** 2).sum(axis=1)
        is_better = errors < least
        best = np.where(is_better, thresholds, best)
        least = np.where(is_better, errors, least)
    return np.asarray(best, np.float64)
