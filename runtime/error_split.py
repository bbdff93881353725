"""The error of a layer of neurons, split into what it adds and what comes from before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.ir import (
    Array,
    BinaryWeighted,
    Burst,
    IntegrateFire,
    LeakyFire,
    Op,
    Reset,
    SignedFire,
    WaitFire,
)
from ..converter.ir.scheduled import FirstSpikeFire
from .simulation import Counts

CAUSES = (
    "weights", "code", "threshold", "clipping", "quantisation", "reset", "leak", "unevenness",
)  # fmt: skip
"""What a layer adds to the error; `code` is what the code of the input adds to first layers."""
STAGES = ("correction", "inherited", *CAUSES[1:])
"""What the difference of a rate from the ANN's activation is the sum of, in this order."""


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
        correction: What other weights and biases than the ANN's change on its activations.
        inherited: What the rates of earlier layers change, which are not the ANN's activations.
        causes: What the layer adds, by key of CAUSES. `weights` is by how much the correction makes
            worse what is inherited: 0 where it brings the currents closer to the ANN's.
        threshold: What a threshold is worth, in units of activation that a spike stands for: 1
            where nothing is wrong.
        busiest: Largest share of all that it can fire that a neuron does fire on a sample.
        is_output: A layer of outputs: without neurons, of which only the currents are looked at.
    """

    node: str
    firing_rate: float
    saturated: float
    silent: float
    correlation: float
    error: float
    correction: float
    inherited: float
    causes: Mapping[str, float]
    threshold: float
    busiest: float
    is_output: bool = False


@dataclass(frozen=True, eq=False)
class Levels:
    """The quantised ReLU that a neuron would be.

    Attributes:
        n_steps: T: what a count is divided by to be a rate.
        most: The largest count.
        threshold: Of a spike or level.
        start: Initial potential.
        extra: What was put into the initial potential beside it: the bias of T steps.
        loses: Why the neuron sends less than its current says: `reset`, `leak`, or empty.
    """

    n_steps: int
    most: int
    threshold: Array
    start: Array
    extra: Array | float = 0.0
    loses: str = ""


def levels_of(
    op: Op, n_steps: int, gain: Array | np.float32, *, holds_back: bool = False
) -> Levels:
    """Return the quantised ReLU that a neuron is in a run of so many steps.

    Args:
        op: One of EXPLAINED.
        n_steps: Of the run.
        gain: The ideal rate per current: 1 / threshold, unless the threshold is wrong.
        holds_back: What the initial potential has more or less than half a threshold is a charge
            that the bias takes or gives back until step T, no other way of rounding.
    """
    half = np.asarray(np.float32(0.5) / gain, np.float32)
    if isinstance(op, SignedFire | WaitFire | FirstSpikeFire):
        window = op.n_levels if isinstance(op, SignedFire) else op.n_steps
        return Levels(window, window, op.threshold, half, op.initial_potential - half)
    loses = ""
    if isinstance(op, IntegrateFire | LeakyFire):
        most = n_steps
        loses = "reset" if op.reset is Reset.ZERO else ""
        if isinstance(op, LeakyFire) and (op.leak or op.refractory or op.relative):
            most = -(-n_steps // (1 + op.refractory))
            loses = "leak"
    elif isinstance(op, Burst):
        most = n_steps * op.n_levels
    elif isinstance(op, BinaryWeighted):
        most = n_steps * (2**op.n_bits - 1)
    else:
        raise TypeError(f"{type(op).__name__}: expected one of EXPLAINED")
    start, extra = (half, op.initial_potential - half) if holds_back else (op.initial_potential, 0)
    return Levels(n_steps, most, op.threshold, start, extra, loses)


@dataclass(frozen=True, eq=False)
class Currents:
    """Mean currents of a layer, [N, ...].

    Attributes:
        exact: That the ANN's activations in front would give.
        uncoded: That the rates of earlier layers give, and samples without a code.
        real: That there are.
    """

    exact: Array
    uncoded: Array
    real: Array


class Sums:
    """Sums over batches for one layer."""

    def __init__(self, *, is_output: bool = False) -> None:
        self.is_output = is_output
        self.n = 0
        self.squares = dict.fromkeys(("error", "arrived", *STAGES), 0.0)
        self.n_saturated = 0
        self.most_spikes: Counts | int = 0
        self.most_active: Array | int = 0
        self.moments = np.zeros(5)  # of a, r: sums of a, r, a a, r r, a r
        self.n_steps = self.most = 1
        self.threshold = 1.0

    def add(
        self,
        activation: Array,
        currents: Currents,
        counts: Counts,
        gain: Array | np.float32,
        levels: Levels,
        activate: Callable[[Array], Array],
    ) -> None:
        """Add one batch of neurons; arrays are [N, ...].

        Args:
            activation: Of the ANN, in units of a spike per step.
            currents: Of the neurons.
            counts: Of spikes.
            gain: The ideal rate per current.
            levels: The quantised ReLU that each neuron would be.
            activate: The ANN's function, of and in units of a spike per step.
        """
        n_steps = levels.n_steps
        extra = levels.extra / np.float32(n_steps)
        exact, uncoded, ideal = (
            activate((each + extra) * gain)
            for each in (currents.exact, currents.uncoded, currents.real)
        )
        current = np.asarray((currents.real + extra) / levels.threshold, np.float32)
        fired = activate(current)
        start = levels.start / levels.threshold
        found = np.floor(current.astype(np.float64) * n_steps + start)
        quantised = np.clip(found, 0, levels.most) / n_steps
        rate = counts / n_steps
        self._add_stages(
            activation,
            exact,
            uncoded,
            ideal,
            np.minimum(ideal, fired),
            np.clip(fired, 0, levels.most / n_steps),
            quantised,
            rate if levels.loses == "reset" else quantised,
            rate if levels.loses else quantised,
            rate,
        )
        self.n_steps, self.most = n_steps, levels.most
        self.threshold = float(np.mean(levels.threshold * gain))
        self.n_saturated += int((counts == levels.most).sum())
        self.most_spikes = np.maximum(self.most_spikes, counts.max(axis=0))
        self.most_active = np.maximum(self.most_active, activation.max(axis=0))

    def add_output(self, activation: Array, exact: Array, real: Array) -> None:
        """Add one batch of outputs: the ANN's, and currents as in `Currents`, [N, ...]."""
        self._add_stages(activation, exact, real)

    def _add_stages(self, activation: Array, *stages: npt.NDArray[Any]) -> None:
        """Add the parts from one stage to the next, and the whole."""
        parts = [after - before for before, after in itertools.pairwise((activation, *stages))]
        named = dict(zip(STAGES, parts, strict=False))
        last = stages[-1]
        named |= {"error": last - activation, "arrived": stages[1] - activation}
        for name, part in named.items():
            self.squares[name] += float(np.square(part, dtype=np.float64).sum())
        self.n += last.size
        a, r = activation.astype(np.float64).reshape(-1), last.astype(np.float64).reshape(-1)
        self.moments += (a.sum(), r.sum(), a @ a, r @ r, a @ r)

    def report(self, node: str) -> LayerReport:
        """Return what the sums say."""
        a, r, aa, rr, ar = self.moments / self.n
        scale = float(np.sqrt(aa)) or 1.0
        worse = max(0.0, self.squares["arrived"] - self.squares["inherited"])
        squares = self.squares | {"weights": worse}
        errors = {key: float(np.sqrt(value / self.n)) / scale for key, value in squares.items()}
        spread = float(np.sqrt(max(aa - a * a, 0) * max(rr - r * r, 0)))
        is_silent = (np.asarray(self.most_spikes) == 0) & (
            np.asarray(self.most_active) > 1 / self.n_steps
        )
        return LayerReport(
            node=node,
            firing_rate=0.0 if self.is_output else float(r),
            saturated=self.n_saturated / self.n,
            silent=float(is_silent.mean()),
            correlation=float((ar - a * r) / spread) if spread else 0.0,
            error=errors["error"],
            correction=errors["correction"],
            inherited=errors["inherited"],
            causes={cause: errors[cause] for cause in CAUSES},
            threshold=self.threshold,
            busiest=float(np.max(self.most_spikes)) / self.most,
            is_output=self.is_output,
        )
