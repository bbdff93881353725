"""Local threshold balancing: thresholds that grow by what they clip."""

from __future__ import annotations

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph
from .thresholds import POINTS, Histogram, Values, collect_histograms

N_ITERATIONS = 1000


def find_balanced_thresholds(
    graph: Graph, calibration: tuple[Array, ...], *, n_iterations: int = N_ITERATIONS
) -> dict[str, Array]:
    """Return for every ReLU and channel the threshold of local threshold balancing, [C, 1, ...].

        theta <- theta + 2 mean[(x - theta)_+],   from theta = 0,  n_iterations times

    with the mean over samples and positions. Its limit is the maximum; the number of iterations
    decides how much is clipped. Here x are the ANN's activations, in a histogram, so that an
    iteration costs nothing; the source clips the layers in front at their thresholds of the moment.

    Source: Bu et al. 2025 (local threshold balancing).

    Args:
        graph: Analog.
        calibration: One array [N, ...] per graph input.
        n_iterations: At least 1.

    Raises:
        PassError: A layer is never active on the calibration inputs, or n_iterations < 1.
    """
    if n_iterations < 1:
        raise PassError(
            f"n_iterations {n_iterations}, expected at least 1", hint=f"{N_ITERATIONS} is usual"
        )
    result = {}
    for name, histogram in collect_histograms(graph, calibration).items():
        values = _balance(histogram, n_iterations)
        values = np.where(values > 0, values, values.max())
        rank = len(graph.types[name].shape)
        result[name] = values.astype(np.float32).reshape(-1, *(1,) * (rank - 1))
    return result


def _balance(histogram: Histogram, n_iterations: int) -> Values:
    """Iterate for every channel, in maxima."""
    shares = histogram.weights / histogram.n_entries
    mass = np.cumsum(shares[:, ::-1], axis=1)[:, ::-1]
    moment = np.cumsum((shares * POINTS)[:, ::-1], axis=1)[:, ::-1]
    channels = np.arange(len(shares))
    thetas = np.zeros(len(shares))
    for _ in range(n_iterations):
        first = np.searchsorted(POINTS, thetas, side="right")  # points above theta begin here
        at = np.minimum(first, len(POINTS) - 1)
        excess = moment[channels, at] - thetas * mass[channels, at]
        excess = np.where(first < len(POINTS), excess, 0.0)
        thetas += 2 * np.maximum(excess, 0)
    return np.asarray(thetas * histogram.maxima)
