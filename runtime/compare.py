"""Compare two simulations of the same samples neuron by neuron."""

from __future__ import annotations

import numpy as np

from .simulation import Counts, Simulation


class CountRecorder:
    """Keeps the spike counts of every batch; pass it to `evaluate` as `observe`."""

    def __init__(self) -> None:
        self._batches: list[tuple[Counts, ...]] = []

    def __call__(self, simulation: Simulation) -> None:
        """Keep the counts of one batch."""
        self._batches.append(tuple(simulation.spike_counts.values()))

    @property
    def counts(self) -> tuple[Counts, ...]:
        """Per layer of neurons, in topological order, [N, ...]."""
        return tuple(np.concatenate(layer) for layer in zip(*self._batches, strict=True))


def compare_counts(first: CountRecorder, second: CountRecorder) -> list[float]:
    """Return per layer the share of neurons (times samples) whose spike counts differ.

    Layers are matched by their order and neurons by their place.
    """
    return [float((a != b).mean()) for a, b in zip(first.counts, second.counts, strict=True)]
