"""The equality gate: a graph is compared numerically with what it was made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .errors import ConversionError
from .ir import Array, Graph, run_nodes
from .ir.ops import QuantizedRelu

TOLERANCE = 1e-4
"""Relative: max |a - b| < TOLERANCE max |a|, per tensor; for half of the samples at least where
activations jump."""

N_SAMPLES = 4

Inner = Callable[[tuple[Array, ...]], Mapping[str, Array]]
"""As `Source.inner`."""


@dataclass(frozen=True)
class Reference:
    """What every later graph must reproduce.

    Attributes:
        inputs: Samples, one array [N, ...] per graph input.
        values: Result times unit of every node of the graph as it was read, by name.
    """

    inputs: tuple[Array, ...]
    values: Mapping[str, Array]


def choose_inputs(calibration: tuple[Array, ...], seed: int = 0) -> tuple[Array, ...]:
    """Return the first N_SAMPLES calibration samples and as many random ones of the same range."""
    random = np.random.default_rng(seed)
    result = []
    for array in calibration:
        first = np.asarray(array[:N_SAMPLES], np.float32)
        low, high = float(first.min()), float(first.max())
        noise = random.uniform(low, high, first.shape).astype(np.float32)
        result.append(np.concatenate((first, noise)))
    return tuple(result)


def compare_with_source(
    graph: Graph,
    inputs: tuple[Array, ...],
    outputs: tuple[Array, ...],
    inner: Inner | None = None,
) -> tuple[Reference, float]:
    """Compare a graph as read with its source's own outputs.

    Args:
        graph: As read.
        inputs: Samples, one array [N, ...] per graph input.
        outputs: What the source's own framework gives for them.
        inner: As `Source.inner`; called if an output differs, to find where that begins.

    Returns:
        The graph's values as the reference for later graphs, and the largest relative error.

    Raises:
        ConversionError: An output differs; the first node that does is named with both values.
    """
    values = dict(_scaled_values(graph, inputs))
    if len(outputs) != len(graph.outputs):
        raise ConversionError(
            f"reading: the source gave {len(outputs)} outputs, the graph has {len(graph.outputs)}"
        )
    worst = 0.0
    try:
        for name, expected in zip(graph.outputs, outputs, strict=True):
            found = values[name]
            where = f"{graph.by_name[name]}"
            worst = max(worst, _compare(where, expected, found, "reading", _has_steps(graph)))
    except ConversionError:
        if inner is not None:
            _compare_inside(graph, values, inner, inputs)
        raise
    return Reference(inputs, values), worst


def _compare_inside(
    graph: Graph, values: Mapping[str, Array], inner: Inner, inputs: tuple[Array, ...]
) -> None:
    """Raise for the first node that differs from what the source has inside, if it says so."""
    try:
        sources = inner(inputs)
    except ConversionError:
        return  # what differs is an output; where it begins stays unknown
    for node in graph.nodes:
        expected, found = sources.get(node.name), values[node.name]
        if expected is None or expected.size != found.size:
            continue
        orders = [expected, np.moveaxis(expected, -1, 1)] if expected.ndim > 2 else [expected]
        same = [order for order in orders if order.shape == found.shape]
        if same:
            best = min(same, key=lambda order: relative_error(order, found))
            _compare(f"{node}", best, found, "reading", _has_steps(graph))


def compare_with_reference(graph: Graph, reference: Reference, step: str) -> float:
    """Compare every node that the graph shares with the reference, in topological order.

    Returns:
        The largest relative error.

    Raises:
        ConversionError: A node differs; the first one is named with both values.
    """
    worst = 0.0
    for name, value in _scaled_values(graph, reference.inputs):
        expected = reference.values.get(name)
        if expected is not None:
            where = str(graph.by_name[name])
            worst = max(worst, _compare(where, expected, value, step, _has_steps(graph)))
    return worst


def _scaled_values(graph: Graph, inputs: tuple[Array, ...]) -> list[tuple[str, Array]]:
    return [
        (node.name, value if node.unit is None else value * node.unit)
        for node, value in run_nodes(graph, inputs)
    ]


def relative_error(expected: Array, found: Array) -> float:
    """Return max |expected - found| / max |expected|; infinity for other shapes or NaN."""
    if expected.shape != found.shape:
        return float("inf")
    largest = float(np.abs(expected).max(initial=0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = float(np.abs(expected - found).max(initial=0.0))
    if difference == 0:
        return 0.0
    return difference / largest if np.isfinite(difference) and largest > 0 else float("inf")


def _has_steps(graph: Graph) -> bool:
    """Return whether there are activations that jump."""
    return any(isinstance(node.op, QuantizedRelu) for node in graph.nodes)


def _median_error(expected: Array, found: Array) -> float:
    """Return the relative error that half of the samples keep within.

    A sum within a rounding error of a step may fall on either side of it: a few samples then differ
    from there on. A network that was misread differs in all of them.
    """
    if expected.shape != found.shape or not len(expected):
        return relative_error(expected, found)
    largest = float(np.abs(expected).max())
    with np.errstate(invalid="ignore", over="ignore"):
        differences = np.abs(expected - found).reshape(len(expected), -1).max(axis=1)
    median = float(np.sort(differences)[(len(differences) - 1) // 2])
    if median == 0:
        return 0.0
    return median / largest if np.isfinite(median) and largest > 0 else float("inf")


def _compare(where: str, expected: Array, found: Array, step: str, has_steps: bool) -> float:
    error = _median_error(expected, found) if has_steps else relative_error(expected, found)
    if error < TOLERANCE:
        return error
    if expected.shape != found.shape:
        detail = f"shape {found.shape}, expected {expected.shape}"
    else:
        place = np.unravel_index(np.argmax(np.abs(expected - found)), expected.shape)
        detail = (
            f"{found[place]:.6g} at {tuple(map(int, place))}, expected {expected[place]:.6g} "
            f"(relative error {error:.2g}, allowed {TOLERANCE:g})"
        )
    raise ConversionError(
        f"{where}: differs from the source after {step}: {detail}",
        hint="the network was not converted: huge terms may cancel in float32; if there are none, "
        "this is a defect of spikeport, please report it",
    )
