"""search: which recipe, which options and which T reach a target, found on held-back samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...converter.errors import DataError
from ...converter.ir import Graph
from ...converter.ir.ops import Relu
from .halving import LADDER, Halving
from .measuring import Ann, Convert, Measuring, Samples
from .points import METHODS, Method, Point, find_front
from .targets import Targets

MAX_SEARCH = 2000
"""Samples to search on; the rest of what is held back is for the promise."""
MIN_SAMPLES = 60


@dataclass(frozen=True, eq=False)
class Found:
    """What a search gives.

    Attributes:
        targets: That were asked for.
        is_met: The chosen point is known to meet them, with 95 % confidence.
        chosen: The best point, measured on samples that the search has not seen.
        graph: The chosen point's.
        points: Everything that was tried; finalists as measured on unseen samples.
        ann_accuracy: On the unseen samples; None without labels.
        failures: Why methods could not be tried, by method.
    """

    targets: Targets
    is_met: bool
    chosen: Point
    graph: Graph
    points: tuple[Point, ...]
    ann_accuracy: float | None
    failures: Mapping[str, str]

    @property
    def front(self) -> tuple[Point, ...]:
        """The points that no other beats in drop, steps and operations, and the chosen one.

        What was measured on a part of the search's samples only is left out.
        """
        enough = max((p.n_samples for p in self.points if not p.is_held_out), default=0)
        measured = [p for p in self.points if p.n_samples >= enough or p.is_held_out]
        front = find_front(measured)
        more = () if self.chosen in front else (self.chosen,)
        return tuple(sorted((*front, *more), key=lambda p: (p.latency, p.operations)))

    @property
    def sentence(self) -> str:
        """What is promised, or why nothing can be."""
        point = self.chosen
        lost = "right decisions lost" if self.ann_accuracy is not None else "other decisions"
        measured = (
            f"{100 * point.drop:.2f} points of {lost} against the ANN on {point.n_samples} samples "
            f"that the search has not seen, at most {100 * point.drop_at_most:.2f} with 95 % "
            "confidence"
        )
        if self.is_met:
            steps = f"{point.latency} step{'s' * (point.latency > 1)}"
            return f"{point}, {steps}: {measured}; target {self.targets} is met"
        return f"target {self.targets} was not reached; best found: {point}, {measured}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and rows of the front for people; the chosen point has a star.

        Shares are in percent, operations per sample in thousands: lines fit into 80 columns.
        """
        headings = ["recipe", "steps", "accuracy", "95 % interval", "lost", "at most"]
        headings += ["synaptic ops, k", "samples"]
        rows = []
        for p in self.front:
            low, high = p.interval
            rows.append([
                ("* " if p is self.chosen else "") + p.short,
                str(p.latency),
                f"{100 * p.accuracy:.2f}",
                f"{100 * low:.1f}..{100 * high:.1f}",
                f"{100 * p.drop:.2f}",
                f"{100 * p.drop_at_most:.2f}",
                f"{p.operations / 1e3:,.1f}",
                "unseen" if p.is_held_out else "searched",
            ])
        return headings, rows

    def to_json(self) -> dict[str, Any]:
        """Return what `convert --recipe auto --json` prints (docs/auto.md)."""
        drop = self.targets.accuracy_drop
        return {
            "format": "spikeport-search",
            "version": 1,
            "targets": {
                "accuracy_drop": None if drop is None else 100 * drop,
                "n_steps": self.targets.n_steps,
            },
            "met": self.is_met,
            "has_labels": self.ann_accuracy is not None,
            "ann_accuracy": self.ann_accuracy,
            "chosen": self.chosen.to_json(),
            "front": [point.to_json() for point in self.front],
            "points": [point.to_json() for point in self.points],
            "failures": dict(self.failures),
        }


def split(samples: Samples, n_calibration: int) -> tuple[Samples, Samples, Samples]:
    """Return three parts in random order, always the same: to calibrate, search, and promise on.

    Args:
        samples: All of them.
        n_calibration: For the first part, at most a third of all.

    Raises:
        DataError: They are fewer than MIN_SAMPLES.
    """
    if len(samples) < MIN_SAMPLES:
        raise DataError(
            f"calibration: has {len(samples)} samples, expected at least {MIN_SAMPLES} to search",
            hint="a search calibrates on a part and measures on the rest: give some thousands",
        )
    order = np.random.default_rng(0).permutation(len(samples))
    first = min(n_calibration, len(samples) // 3)
    second = first + min(MAX_SEARCH, (len(samples) - first) // 3)
    bounds = ((0, first), (first, second), (second, len(samples)))
    calibration, searched, unseen = (samples.take(order[a:b]) for a, b in bounds)
    return calibration, searched, unseen


def count_layers(graph: Graph) -> int:
    """Return the most ReLUs on a path of an analog graph: layers of neurons, one at least."""
    depths: dict[str, int] = {}
    for node in graph.nodes:
        before = max((depths[operand] for operand in node.inputs), default=0)
        depths[node.name] = before + isinstance(node.op, Relu)
    return max(1, *depths.values())


def search(
    convert: Convert,
    ann: Ann,
    searched: Samples,
    unseen: Samples,
    targets: Targets,
    *,
    n_layers: int,
    methods: Sequence[Method] = METHODS,
    n_threads: int | None = None,
    progress: Callable[[int, str], None] = lambda n_runs, text: None,
) -> Found:
    """Look for the fewest steps that keep the accuracy, or for the best accuracy of some steps.

    With `accuracy_drop`: the smallest T of the first method is found by bisection; then all
    methods try to do with fewer steps, and half of them go on as long as one succeeds. A point is
    taken for good if the target would lie above its confidence limit on the unseen samples. At most
    four finalists are measured on those; the one with the fewest steps whose limit meets the
    target is chosen. Else: every method is measured at the largest T allowed, on a quarter of the
    samples, then the better half on all of them, then the best three on the unseen samples.

    Limits of finalists hold for four of them together (Bonferroni), so choosing among them does not
    spoil them; the unseen samples choose nothing else.

    Args:
        convert: Gives the graph of a method for T; it may raise ConversionError.
        ann: The source's own framework.
        searched: Samples to search on.
        unseen: Samples of the same kind that take no part in the search.
        targets: What is to be reached.
        n_layers: Of neurons, for the steps of schedules.
        methods: To be tried; the first is the one to beat.
        n_threads: Of simulation; None takes every core. Does not change the result.
        progress: Called with the number of runs so far and what comes next.

    Raises:
        ConversionError: No method can be converted.
        SimulationError: No method has so few steps.

    Source: the testing of finalists is that of Angelopoulos et al. 2021 (Learn then Test,
    arXiv:2110.01052) with Bonferroni's correction; successive halving after Jamieson and Talwalkar
    2016.
    """
    measuring = Measuring(convert, ann, searched, unseen, n_threads, progress)
    state = Halving(measuring, targets, n_layers)
    if targets.accuracy_drop is None:
        allowed = LADDER[-1] if targets.n_steps is None else targets.n_steps
        chosen, is_met = state.most_accurate(methods, allowed), True
    else:
        chosen, is_met = state.fewest_steps(methods)
    return Found(
        targets,
        is_met,
        chosen,
        measuring.graph(chosen),
        tuple(measuring.points.values()),
        measuring.ann_accuracy(),
        measuring.failures,
    )
