"""Neurons that reset to zero, leak, rest or take back, simulated channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from ..ir import Array, IntegrateFire, LeakyFire, Op, Reset, SignedFire
from .spiking_fit import fire, measure_errors

Rules = tuple[np.float32, np.float32, np.float32, np.float32, bool, np.float32]


@dataclass(frozen=True)
class Dynamics:
    """How neurons fire.

    Attributes:
        leak: As in LeakyFire, like the next three.
        refractory: See leak.
        relative: See leak.
        decay: See leak.
        to_zero: Reset to zero.
        most: Of signed neurons, what they send in all at most; 0 for the others.
    """

    leak: float = 0.0
    refractory: int = 0
    relative: float = 0.0
    decay: float = 0.5
    to_zero: bool = False
    most: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether they integrate and reset by subtraction, and nothing else."""
        return not (self.leak or self.refractory or self.relative or self.to_zero or self.most)

    @property
    def slowness(self) -> int:
        """Steps from one spike to the next at least: what a spike stands for more."""
        return self.refractory + 1

    def measure_errors(
        self, currents: Array, activations: Array, thresholds: Array, potentials: Array,
        biases: Array,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:  # fmt: skip
        """Do what `spiking_fit.measure_errors` does, for these neurons."""
        given = (activations, thresholds, potentials, biases)
        if self.is_plain:
            square, mean = measure_errors(currents, *given)
        else:
            square, mean = _measure(np.ascontiguousarray(currents.T), *given, self._rules())
        return square, mean

    def fire(
        self, currents: Array, thresholds: Array, potentials: Array, biases: Array,
        spikes: npt.NDArray[np.int8],
    ) -> npt.NDArray[np.int64]:  # fmt: skip
        """Do what `spiking_fit.fire` does, for these neurons; spikes may be negative."""
        given = (currents, thresholds, potentials, biases)
        if self.is_plain:
            counts: npt.NDArray[np.int64] = fire(*given, spikes.view(np.uint8))
            return counts
        found: npt.NDArray[np.int64] = _fire(*given, spikes, self._rules())
        return found

    def _rules(self) -> Rules:
        one = np.float32
        rests = (one(self.refractory), one(self.relative), one(self.decay))
        return one(1 - self.leak), *rests, self.to_zero, one(self.most)


def dynamics_of(op: Op) -> Dynamics:
    """Return how neurons of `passes.neuron_options` fire."""
    if isinstance(op, SignedFire):
        return Dynamics(most=op.n_levels)
    if isinstance(op, LeakyFire):
        to_zero = op.reset is Reset.ZERO
        return Dynamics(op.leak, op.refractory, op.relative, op.decay, to_zero)
    if isinstance(op, IntegrateFire):
        return Dynamics(to_zero=op.reset is Reset.ZERO)
    raise TypeError(f"{type(op).__name__}: expected neurons of insert_neurons")


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _advance(
    potential: Any, rise: Any, rest: Any, total: Any, current: Any, threshold: Any, rules: Rules
) -> Any:
    """Return one step: the spike, then the state behind it; as LeakyFire and SignedFire do."""
    keep, refractory, relative, decay, to_zero, most = rules
    one, nothing = np.float32(1), np.float32(0)
    potential = potential * keep + current
    if most > nothing:
        spike = nothing
        if potential >= threshold and total < most:
            spike = one
        elif potential < nothing and total > nothing:
            spike = -one
        return spike, potential - spike * threshold, rise, rest, total + spike
    fires = potential >= threshold * (one + rise) and rest <= nothing
    rest = max(rest - one, nothing)
    rise *= decay
    if fires:
        potential = nothing if to_zero else potential - threshold
        rest = refractory
        rise += relative
    return one if fires else nothing, potential, rise, rest, total


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _measure(
    currents: Array, activations: Array, thresholds: Array, potentials: Array, biases: Array,
    rules: Rules,
) -> Any:  # fmt: skip
    n_entries, n_steps = currents.shape
    square = np.zeros(len(thresholds))
    mean = np.zeros(len(thresholds))
    for k in range(len(thresholds)):
        for m in range(n_entries):
            potential, count = potentials[k], np.float32(0)
            rise = rest = total = np.float32(0)
            for t in range(n_steps):
                current = currents[m, t] + biases[k]
                spike, potential, rise, rest, total = _advance(
                    potential, rise, rest, total, current, thresholds[k], rules
                )
                count += spike
            error = count * thresholds[k] / n_steps - activations[m]
            square[k] += error * error
            mean[k] += error
    return square / n_entries, mean / n_entries


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _fire(
    currents: Array, thresholds: Array, potentials: Array, biases: Array,
    spikes: npt.NDArray[np.int8], rules: Rules,
) -> Any:  # fmt: skip
    n_steps, n_samples, n_channels, n_places = spikes.shape
    counts = np.zeros(n_channels, np.int64)
    for n in range(n_samples):
        for c in range(n_channels):
            for m in range(n_places):
                potential = potentials[c]
                rise = rest = total = np.float32(0)
                for t in range(n_steps):
                    current = currents[min(t, len(currents) - 1), n, c, m] + biases[c]
                    spike, potential, rise, rest, total = _advance(
                        potential, rise, rest, total, current, thresholds[c], rules
                    )
                    spikes[t, n, c, m] = np.int8(spike)
                    counts[c] += np.int64(spike)
    return counts
