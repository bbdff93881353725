"""Measuring: convert and evaluate the points of a search, each once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from ...converter.errors import ConversionError
from ...converter.ir import Array, Graph
from ..checks import Labels
from ..decoding import decide, read_readouts
from ..engines.counts import find_obstacle
from ..evaluate import evaluate
from ..metrics import Z_95
from ..samples import batches
from .points import Method, Point

CONFIDENCE = 0.95
N_FINALISTS = 4
"""Points that are measured on samples that the search has not seen, at most."""
MAX_RUNS = 30
"""About the most conversions and evaluations of a search: its progress is measured against it."""
BATCH_SIZE = 100

Convert = Callable[[Method, int], Graph]
Ann = Callable[[tuple[Array, ...]], tuple[Array, ...]]


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs, one array [N, ...] each, and labels [N]; None: to be decided as the ANN does."""

    inputs: tuple[Array, ...]
    labels: Labels | None = None

    def take(self, places: npt.NDArray[np.int64] | slice) -> Samples:
        """Return some of them."""
        labels = None if self.labels is None else self.labels[places]
        return Samples(tuple(array[places] for array in self.inputs), labels)

    def __len__(self) -> int:
        return len(self.inputs[0])


class Measuring:
    """Graphs and points so far.

    Args:
        convert: Gives the graph of a method for T; it may raise ConversionError.
        ann: The source's own framework.
        searched: Samples to search on.
        unseen: Samples for finalists alone.
        n_threads: Of simulation; None takes every core.
        progress: Called with the number of runs so far and what comes next.
    """

    def __init__(
        self,
        convert: Convert,
        ann: Ann,
        searched: Samples,
        unseen: Samples,
        n_threads: int | None,
        progress: Callable[[int, str], None],
    ) -> None:
        self._convert = convert
        self._ann = ann
        self._parts = {False: searched, True: unseen}
        self._n_threads = n_threads
        self._progress = progress
        self._n_runs = 0
        self._graphs: dict[str, Graph] = {}
        self._decisions: dict[bool, Labels] = {}
        self._error: ConversionError | None = None
        self.points: dict[str, Point] = {}
        self.failures: dict[str, str] = {}

    @property
    def n_searched(self) -> int:
        """Samples to search on."""
        return len(self._parts[False])

    @property
    def n_unseen(self) -> int:
        """Samples for finalists."""
        return len(self._parts[True])

    def measure(self, method: Method, n_steps: int, n_samples: int | None = None) -> Point | None:
        """Convert for T and measure on the first so many samples of the search, None for all.

        A point that was measured on as many is not measured again; None if the method fails.
        """
        wanted = self.n_searched if n_samples is None else n_samples
        known = self.points.get(_name(method, n_steps))
        if known is not None and known.n_samples >= wanted:
            return known
        name = _name(method, n_steps)
        self._report(name)
        try:
            if name not in self._graphs:
                self._graphs[name] = self._convert(method, n_steps)
        except ConversionError as error:
            self.failures[name] = str(error)
            self._error = self._error or error
            return None
        self.points[name] = self._run(method, n_steps, is_held_out=False, n_samples=wanted)
        return self.points[name]

    def confirm(self, point: Point) -> Point:
        """Measure a finalist on the unseen samples."""
        name = str(point)
        self._report(f"{name} on unseen samples")
        self.points[name] = self._run(
            point.method, point.n_steps, is_held_out=True, n_samples=self.n_unseen
        )
        return self.points[name]

    def graph(self, point: Point) -> Graph:
        """Return the graph of a point."""
        return self._graphs[str(point)]

    def ann_accuracy(self) -> float | None:
        """Return the ANN's accuracy on the unseen samples; None without labels."""
        labels = self._parts[True].labels
        return None if labels is None else float((self._decide(is_held_out=True) == labels).mean())

    def raise_first(self) -> None:
        """Raise the first error of a conversion, if there was one."""
        if self._error is not None:
            raise self._error

    def _report(self, text: str) -> None:
        self._progress(self._n_runs, text)
        self._n_runs += 1

    def _run(self, method: Method, n_steps: int, *, is_held_out: bool, n_samples: int) -> Point:
        graph = self._graphs[_name(method, n_steps)]
        part = self._parts[is_held_out].take(slice(n_samples))
        found = evaluate(
            graph,
            part.inputs,
            engine="event" if find_obstacle(graph) else "counts",
            n_threads=self._n_threads,
            batch_size=BATCH_SIZE,
        )
        ann = self._decide(is_held_out=is_held_out)[:n_samples]
        labels = ann if part.labels is None else part.labels
        is_right, ann_is_right = found.decisions[-1] == labels, ann == labels
        share = (1 - CONFIDENCE) / (N_FINALISTS if is_held_out else 1)
        return Point(
            method,
            n_steps,
            latency=found.latency.n_steps,
            operations=found.synaptic_operations_per_sample,
            n_samples=n_samples,
            n_right=int(is_right.sum()),
            n_lost=int((ann_is_right & ~is_right).sum()),
            n_won=int((is_right & ~ann_is_right).sum()),
            z=NormalDist().inv_cdf(1 - share / 2) if is_held_out else Z_95,
            z_drop=NormalDist().inv_cdf(1 - share),
            is_held_out=is_held_out,
        )

    def _decide(self, *, is_held_out: bool) -> Labels:
        """Return what the ANN decides on all samples of a part."""
        if is_held_out not in self._decisions:
            readout = read_readouts(next(iter(self._graphs.values())))[0]
            inputs = self._parts[is_held_out].inputs
            decided = [
                decide(self._ann(batch)[0], readout) for _, batch in batches(inputs, BATCH_SIZE)
            ]
            self._decisions[is_held_out] = np.concatenate(decided)
        return self._decisions[is_held_out]


def _name(method: Method, n_steps: int) -> str:
    return f"{method} T={n_steps}"
