"""Neurons that forget and rest: leak, absolute and relative refractory period."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GraphError
from .neurons import Neuron, Reset
from .ops import OPS
from .types import MAX_N_STEPS, Array, TensorType


@dataclass(frozen=True, eq=False)
class LeakyFire(Neuron):
    """Integrate-and-fire neuron with leak and refractory periods, at most one spike per step.

        u    = (1 - leak) potential + current
        s    = 1 if u >= (1 + rise) threshold, and none was sent in the last `refractory` steps
        potential = u - threshold s  (Reset.SUBTRACT)   or   u (1 - s)  (Reset.ZERO)
        rise = decay rise + relative s

    A neuron that rests still integrates, so that reset by subtraction loses no charge. With the
    defaults it is IntegrateFire.

    Source: the leaky integrate-and-fire and spike response models as in Gerstner and Kistler 2002,
    in time steps; the reset by subtraction is that of Rueckauer et al. 2017.

    Attributes:
        leak: Share of the potential that is lost in a step, 0 <= leak < 1.
        refractory: Steps after a spike in which there is none, the absolute refractory period.
        relative: By how much the threshold is higher in the step after a spike, in thresholds.
        decay: What is left of that a step later, 0 <= decay < 1.
        reset: Reset by subtraction or to zero.
    """

    leak: float = 0.0
    refractory: int = 0
    relative: float = 0.0
    decay: float = 0.5
    reset: Reset = Reset.SUBTRACT

    def infer(self, *types: TensorType) -> TensorType:
        type_ = super().infer(*types)
        for name in ("leak", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise GraphError(f"{name} is {getattr(self, name)}, expected 0 <= value < 1")
        if not 0 <= self.relative < np.inf:
            raise GraphError(f"relative is {self.relative}, expected a number >= 0")
        if not 0 <= self.refractory <= MAX_N_STEPS:
            raise GraphError(f"refractory is {self.refractory}, expected 0 to {MAX_N_STEPS}")
        if not isinstance(self.reset, Reset):
            raise GraphError(f"reset is {self.reset!r}, expected a member of Reset")
        return type_

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return potentials, rises and steps to rest, [3, N, ...]."""
        state = np.zeros((3, *shape), np.float32)
        state[0] = self.initial_potential
        return state

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        potential, rise, rest = state
        if self.leak:
            potential *= np.float32(1 - self.leak)
        potential += current
        fires = potential >= (self.threshold * (1 + rise) if self.relative else self.threshold)
        if self.refractory:
            fires &= rest <= 0
            rest -= rest > 0
            rest[fires] = self.refractory
        spikes = fires.astype(np.float32)
        if self.reset is Reset.SUBTRACT:
            potential -= spikes * self.threshold
        else:
            potential *= 1 - spikes
        if self.relative:
            rise *= np.float32(self.decay)
            rise += spikes * np.float32(self.relative)
        return spikes, state

    def potential(self, state: Array) -> Array:
        return np.asarray(state[0])


OPS.update({op.__name__: op for op in (LeakyFire,)})
