"""Threshold rules: which activation becomes a rate of one spike per step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import PassError
from ..ir import Array, Graph, run_nodes
from ..ir.ops import Relu

N_BINS = 2048
BATCH_SIZE = 32


@dataclass(frozen=True)
class _Histogram:
    """Positive activations of a layer, per channel in N_BINS bins from 0 to its maximum."""

    maxima: npt.NDArray[np.float64]  # [C]
    counts: npt.NDArray[np.int64]  # [C, N_BINS]


def find_activation_percentiles(
    graph: Graph, calibration: tuple[Array, ...], *, percentile: float, per_channel: bool
) -> dict[str, Array]:
    """Return for every ReLU a percentile of its positive activations.

    Two passes over the calibration inputs, the second into histograms; memory depends on the number
    of channels, not of samples. The maximum is exact, other percentiles within 1/2048 of it.

    Args:
        graph: Analog.
        calibration: One array [N, ...] per graph input.
        percentile: In percent, 0 < percentile <= 100.
        per_channel: One value per channel, [C, 1, ...]; else one per layer, [1, ...].

    Raises:
        PassError: A layer is never active, no samples, or the percentile is outside its range.
    """
    if not 0 < percentile <= 100:
        raise PassError(f"percentile {percentile}, expected 0 < percentile <= 100")
    if not len(calibration[0]):
        raise PassError("calibration: has no samples, expected at least one")
    histograms = _collect(graph, calibration)
    silent = [name for name, found in histograms.items() if not found.maxima.any()]
    if silent:
        raise PassError(
            f"{', '.join(str(graph.by_name[name]) for name in silent)}: never active on the "
            f"{len(calibration[0])} calibration samples, expected activations above zero",
            hint="calibrate with samples like those the network was trained on, scaled alike",
        )
    result = {}
    for name, histogram in histograms.items():
        values = np.array([_layer_percentile(histogram, percentile)])
        if per_channel:
            values = _channel_percentiles(histogram, percentile, fallback=values[0])
        rank = len(graph.types[name].shape)
        result[name] = values.astype(np.float32).reshape(-1, *(1,) * (rank - 1))
    return result


def _collect(graph: Graph, calibration: tuple[Array, ...]) -> dict[str, _Histogram]:
    maxima: dict[str, npt.NDArray[np.float64]] = {}
    for name, values in _activations(graph, calibration):
        largest = values.max(axis=1).astype(np.float64)
        maxima[name] = np.maximum(maxima.get(name, 0.0), largest)
    counts = {name: np.zeros(len(largest) * N_BINS, np.int64) for name, largest in maxima.items()}
    for name, values in _activations(graph, calibration):
        n_channels = len(values)
        width = np.where(maxima[name] > 0, maxima[name], 1.0)[:, None] / N_BINS
        bins = np.minimum((values / width).astype(np.int64), N_BINS - 1)
        places = bins + np.arange(n_channels)[:, None] * N_BINS
        counts[name] += np.bincount(places[values > 0], minlength=n_channels * N_BINS)
    return {name: _Histogram(maxima[name], counts[name].reshape(-1, N_BINS)) for name in maxima}


def _activations(graph: Graph, calibration: tuple[Array, ...]) -> Iterator[tuple[str, Array]]:
    """Yield for every batch and ReLU its name and its activations [C, entries]."""
    for start in range(0, len(calibration[0]), BATCH_SIZE):
        batch = tuple(array[start : start + BATCH_SIZE] for array in calibration)
        for node, value in run_nodes(graph, batch):
            if isinstance(node.op, Relu):
                yield node.name, np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)


def _channel_percentiles(
    histogram: _Histogram, percentile: float, *, fallback: float
) -> npt.NDArray[np.float64]:
    """Interpolate inside the bin that the percentile falls into; silent channels get `fallback`."""
    totals = histogram.counts.sum(axis=1)
    wanted = totals * (percentile / 100)
    cumulative = np.cumsum(histogram.counts, axis=1)
    bins = (cumulative < wanted[:, None]).sum(axis=1).clip(max=N_BINS - 1)
    channels = np.arange(len(bins))
    inside = histogram.counts[channels, bins]
    below = cumulative[channels, bins] - inside
    fraction = np.divide(wanted - below, inside, out=np.ones(len(bins)), where=inside > 0)
    values = (bins + fraction) * histogram.maxima / N_BINS
    return np.where(histogram.maxima > 0, np.minimum(values, histogram.maxima), fallback)


def _layer_percentile(histogram: _Histogram, percentile: float) -> float:
    """The percentile over all channels: the upper edge of the bin in which it falls."""
    edges = (np.arange(1, N_BINS + 1) / N_BINS) * histogram.maxima[:, None]
    order = np.argsort(edges, axis=None)
    cumulative = np.cumsum(histogram.counts.reshape(-1)[order])
    place = np.searchsorted(cumulative, cumulative[-1] * (percentile / 100))
    return float(edges.reshape(-1)[order[min(place, len(order) - 1)]])
