"""Threshold rules: which activation becomes a rate of one spike per step."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import PassError
from ..ir import Array, Graph, run_nodes
from ..ir.ops import Relu, Scale

N_OCTAVES, N_PER_OCTAVE = 24, 128
N_BINS = N_OCTAVES * N_PER_OCTAVE + 1
POINTS = np.concatenate([[0.0], np.exp2(np.arange(1 - N_BINS, 1) / N_PER_OCTAVE)])
"""Of a histogram, in maxima: 0, and from 2^-24 to 1 by steps of half a percent."""
BATCH_SIZE = 32

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """Positive activations of a layer, per channel, at POINTS times its maximum.

    The points lie as close together at small values as at large ones, in proportion: an outlier
    costs no precision. Every activation is shared out between the two points around it, so that the
    percentiles are continuous in the activations: rounding errors in the network do not move them
    by a whole bin.

    Attributes:
        maxima: [C].
        weights: [C, N_BINS + 1].
        n_entries: Of a channel, those that are not positive included.
    """

    maxima: Values
    weights: Values
    n_entries: int

    @property
    def points(self) -> Values:
        """Where the weights are, [C, N_BINS + 1]; 0 for a channel that is never active."""
        return np.asarray(POINTS * self.maxima[:, None])


def find_activation_percentiles(
    graph: Graph, calibration: tuple[Array, ...], *, percentile: float, per_channel: bool
) -> dict[str, Array]:
    """Return for every ReLU a percentile of its positive activations.

    Two passes over the calibration inputs, the second into histograms; memory depends on the number
    of channels, not of samples. The maximum is exact, other percentiles within half a percent.

    Args:
        graph: Analog.
        calibration: One array [N, ...] per graph input.
        percentile: In percent, 0 < percentile <= 100.
        per_channel: One value per channel, [C, 1, ...]; else one per layer, [1, ...].

    Raises:
        PassError: A layer is never active, no samples, or the percentile is outside its range.
    """
    if not 0 < percentile <= 100:
        raise PassError(
            f"percentile {percentile}, expected 0 < percentile <= 100",
            hint="99.9 is the default, 100 the maximum",
        )
    histograms = collect_histograms(graph, calibration)
    result = {}
    for name, histogram in histograms.items():
        values = np.array([_layer_percentile(histogram, percentile)])
        if per_channel:
            values = _channel_percentiles(histogram, percentile, fallback=values[0])
        if not (values > 0).all():
            raise PassError(
                f"{graph.by_name[name]}: the percentile {percentile:g} is less than 2^-{N_OCTAVES} "
                "of the largest activation, expected calibration samples without such outliers",
                hint="look for samples of another scale, or raise the percentile",
            )
        rank = len(graph.types[name].shape)
        result[name] = values.astype(np.float32).reshape(-1, *(1,) * (rank - 1))
    return result


def collect_histograms(graph: Graph, calibration: tuple[Array, ...]) -> dict[str, Histogram]:
    """Return the positive activations of every ReLU, in two passes over the calibration inputs.

    Of the two ReLUs that stand for the two signs of one value, one may be never active: then it
    gets the activations of the other one, which are of the same scale.

    Raises:
        PassError: A layer is never active on the calibration inputs, or no samples.
    """
    if not len(calibration[0]):
        raise PassError("calibration: has no samples, expected at least one", hint="add data")
    key = _digest(graph, calibration)
    if key not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[key] = _collect(graph, calibration)
    histograms = dict(_KNOWN[key])
    for name, other in find_halves(graph).items():
        if not histograms[name].maxima.any():
            histograms[name] = histograms[other]
    silent = [name for name, found in histograms.items() if not found.maxima.any()]
    if silent:
        raise PassError(
            f"{', '.join(str(graph.by_name[name]) for name in silent)}: never active on the "
            f"{len(calibration[0])} calibration samples, expected activations above zero",
            hint="calibrate with samples like those the network was trained on, scaled alike",
        )
    return histograms


def find_halves(graph: Graph) -> dict[str, str]:
    """Return by ReLU the one that takes the same values with the other sign, where there is one."""
    places: dict[tuple[str, int], str] = {}
    for node in graph.nodes:
        if isinstance(node.op, Relu):
            before = graph.by_name[node.inputs[0]]
            is_mirrored = (
                isinstance(before.op, Scale)
                and bool((before.op.scale == -1).all())
                and not before.op.shift.any()
            )
            places[(before.inputs[0], -1) if is_mirrored else (before.name, 1)] = node.name
    return {
        name: places[operand, -sign]
        for (operand, sign), name in places.items()
        if (operand, -sign) in places
    }


_KNOWN: dict[str, dict[str, Histogram]] = {}
"""The last histograms: many conversions of one network, for other T, need the same ones."""


def _digest(graph: Graph, calibration: tuple[Array, ...]) -> str:
    """Return a hash of everything that activations depend on."""
    digest = hashlib.sha256()
    for array in calibration:
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    for node in graph.nodes:
        digest.update(f"{node.name} {type(node.op).__name__} {node.inputs}".encode())
        for field in dataclasses.fields(node.op):
            value = getattr(node.op, field.name)
            if isinstance(value, np.ndarray):
                digest.update(f"{field.name} {value.shape} {value.dtype}".encode())
                digest.update(np.ascontiguousarray(value).data)
            else:
                digest.update(f"{field.name} {value!r}".encode())
    return digest.hexdigest()


def _collect(graph: Graph, calibration: tuple[Array, ...]) -> dict[str, Histogram]:
    maxima: dict[str, Values] = {}
    n_entries: Counter[str] = Counter()
    for name, values in _activations(graph, calibration):
        largest = values.max(axis=1).astype(np.float64)
        maxima[name] = np.maximum(maxima.get(name, 0.0), largest)
        n_entries[name] += values.shape[1]
    weights = {name: np.zeros(len(largest) * (N_BINS + 1)) for name, largest in maxima.items()}
    for name, values in _activations(graph, calibration):
        channels, _ = is_positive = np.nonzero(values > 0)
        shares = values[is_positive] / maxima[name][channels]
        below = np.log2(shares) * N_PER_OCTAVE + (N_BINS - 1e-6)
        below = np.clip(below.astype(np.int64), 0, N_BINS - 1)
        share = np.clip((shares - POINTS[below]) / np.diff(POINTS)[below], 0, 1)
        places = below + channels * (N_BINS + 1)
        size = len(weights[name])
        weights[name] += np.bincount(places, 1 - share, size)
        weights[name] += np.bincount(places + 1, share, size)
    return {
        name: Histogram(maxima[name], weights[name].reshape(-1, N_BINS + 1), n_entries[name])
        for name in maxima
    }


def _activations(graph: Graph, calibration: tuple[Array, ...]) -> Iterator[tuple[str, Array]]:
    """Yield for every batch and ReLU its name and its activations [C, entries]."""
    for start in range(0, len(calibration[0]), BATCH_SIZE):
        batch = tuple(array[start : start + BATCH_SIZE] for array in calibration)
        for node, value in run_nodes(graph, batch):
            if isinstance(node.op, Relu):
                yield node.name, np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)


def _channel_percentiles(histogram: Histogram, percentile: float, *, fallback: float) -> Values:
    """Interpolate between the points around the percentile; silent channels get `fallback`."""
    values = [
        maximum * _interpolate(POINTS, weights, percentile) if maximum > 0 else fallback
        for maximum, weights in zip(histogram.maxima, histogram.weights, strict=True)
    ]
    return np.array(values)


def _layer_percentile(histogram: Histogram, percentile: float) -> float:
    """The percentile over all channels."""
    points = histogram.points.reshape(-1)
    order = np.argsort(points)
    return _interpolate(points[order], histogram.weights.reshape(-1)[order], percentile)


def _interpolate(points: Values, weights: Values, percentile: float) -> float:
    """Return where the cumulated weight of sorted points reaches a percentile; 100: the last."""
    cumulative = np.cumsum(weights)
    if not cumulative[-1] * (percentile / 100) > cumulative[0]:
        return 0.0
    return float(np.interp(cumulative[-1] * (percentile / 100), cumulative, points))
