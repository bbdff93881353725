"""The error of a layer of neurons, split into what it adds and what comes from before."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..converter.ir import (
    Array,
    BinaryWeighted,
    Burst,
    IntegrateFire,
    Op,
    Reset,
    SignedFire,
    WaitFire,
)
from ..converter.ir.scheduled import FirstSpikeFire
from .simulation import Counts

CAUSES = ("code", "clipping", "quantisation", "reset", "unevenness")
"""What a layer adds to the error; `code` is what the code of the input adds to first layers."""


@dataclass(frozen=True)
class LayerReport:
    """How far the rates of one layer of neurons are from the ANN's activations, and why.

    Errors are root mean squares over neurons and samples, as shares of the root mean square of the
    ANN's activations.

    Attributes:
        node: Name of the neurons.
        firing_rate: Mean, in spikes per step; under a schedule, per step of the window.
        saturated: Share of the neurons (times samples) that fire all they can.
        silent: Share of the neurons that never fire though the ANN's are active.
        correlation: Of the rates with the ANN's activations.
        error: The whole difference.
        inherited: The part that comes with the mean current: from earlier layers, and from
            corrections on purpose.
        causes: What the layer adds, by key of CAUSES.
    """

    node: str
    firing_rate: float
    saturated: float
    silent: float
    correlation: float
    error: float
    inherited: float
    causes: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Levels:
    """The quantised ReLU that a neuron would be.

    Attributes:
        n_steps: T: what a count is divided by to be a rate.
        most: The largest count.
        threshold: Of a spike or level.
        start: Initial potential.
        extra: What was put into the initial potential beside it: the bias of T steps.
        loses: It resets to zero.
    """

    n_steps: int
    most: int
    threshold: Array
    start: Array
    extra: Array | float = 0.0
    loses: bool = False


def levels_of(op: Op, n_steps: int) -> Levels:
    """Return the quantised ReLU that a neuron is in a run of so many steps."""
    if isinstance(op, IntegrateFire):
        is_zero = op.reset is Reset.ZERO
        return Levels(n_steps, n_steps, op.threshold, op.initial_potential, loses=is_zero)
    if isinstance(op, Burst):
        return Levels(n_steps, n_steps * op.n_levels, op.threshold, op.initial_potential)
    if isinstance(op, BinaryWeighted):
        most = n_steps * (2**op.n_bits - 1)
        return Levels(n_steps, most, op.threshold, op.initial_potential)
    if not isinstance(op, WaitFire | FirstSpikeFire | SignedFire):
        raise TypeError(f"{type(op).__name__}: expected one of EXPLAINED")
    window = op.n_levels if isinstance(op, SignedFire) else op.n_steps
    half = op.threshold / np.float32(2)
    return Levels(window, window, op.threshold, half, op.initial_potential - half)


class Sums:
    """Sums over batches for one layer."""

    def __init__(self) -> None:
        self.n = 0
        self.squares = dict.fromkeys(("error", "inherited", *CAUSES), 0.0)
        self.n_saturated = 0
        self.most_spikes: Counts | int = 0
        self.most_active: Array | int = 0
        self.moments = np.zeros(5)  # of a, r: sums of a, r, a a, r r, a r
        self.n_steps = 1

    def add(
        self,
        activation: Array,
        current: Array,
        counts: Counts,
        gain: Array | np.float32,
        levels: Levels,
        uncoded: Array | None = None,
    ) -> None:
        """Add one batch; arrays are [N, ...].

        Args:
            activation: Of the ANN, in units of a spike per step.
            current: Its mean.
            counts: Of spikes.
            gain: The ideal rate per current.
            levels: The quantised ReLU that each neuron would be.
            uncoded: What the current would be without a code of the input; None where it is none.
        """
        n_steps = levels.n_steps
        rate = counts / n_steps
        extra = levels.extra / np.float32(n_steps)
        current = current + extra
        exact = current if uncoded is None else uncoded + extra
        ideal = np.maximum(current * gain, 0)
        clipped = np.clip(current / levels.threshold, 0, levels.most / n_steps)
        start = levels.start / levels.threshold
        found = np.floor(current.astype(np.float64) / levels.threshold * n_steps + start)
        quantised = np.clip(found, 0, levels.most) / n_steps
        behind_reset = rate if levels.loses else quantised
        stages = (
            activation,
            np.maximum(exact * gain, 0),
            ideal,
            clipped,
            quantised,
            behind_reset,
            rate,
        )
        parts = [after - before for before, after in itertools.pairwise(stages)]
        for name, part in zip(("inherited", *CAUSES), parts, strict=True):
            self.squares[name] += float(np.square(part, dtype=np.float64).sum())
        self.squares["error"] += float(np.square(rate - activation, dtype=np.float64).sum())
        self.n += rate.size
        self.n_steps = n_steps
        self.n_saturated += int((counts == levels.most).sum())
        self.most_spikes = np.maximum(self.most_spikes, counts.max(axis=0))
        self.most_active = np.maximum(self.most_active, activation.max(axis=0))
        a, r = activation.astype(np.float64).reshape(-1), rate.reshape(-1)
        self.moments += (a.sum(), r.sum(), a @ a, r @ r, a @ r)

    def report(self, node: str) -> LayerReport:
        """Return what the sums say."""
        a, r, aa, rr, ar = self.moments / self.n
        scale = float(np.sqrt(aa)) or 1.0
        errors = {
            key: float(np.sqrt(value / self.n)) / scale for key, value in self.squares.items()
        }
        spread = float(np.sqrt(max(aa - a * a, 0) * max(rr - r * r, 0)))
        is_silent = (np.asarray(self.most_spikes) == 0) & (
            np.asarray(self.most_active) > 1 / self.n_steps
        )
        return LayerReport(
            node=node,
            firing_rate=float(r),
            saturated=self.n_saturated / self.n,
            silent=float(is_silent.mean()),
            correlation=float((ar - a * r) / spread) if spread else 0.0,
            error=errors["error"],
            inherited=errors["inherited"],
            causes={cause: errors[cause] for cause in CAUSES},
        )
