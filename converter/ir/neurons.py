"""Operations with a state over time steps: neurons, and pooling over what has arrived so far.

`start` gives the state before the first step, `step` one time step. States are plain arrays that
`step` may update in place; parameters stay in the op.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ..errors import GraphError
from .ops import OPS, Input, MaxPool, Op, Scale
from .types import Array, TensorType


class Reset(StrEnum):
    """What the membrane potential becomes after a spike."""

    SUBTRACT = "subtract"
    """Potential minus threshold ("soft reset")."""
    ZERO = "zero"
    """Zero ("hard reset")."""


@dataclass(frozen=True, eq=False)
class StatefulOp(Op):
    """An operation whose result depends on all steps so far."""

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return the state before the first step, for operands of `shape` [N, ...]."""
        raise NotImplementedError

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        """Return the result of one step and the state after it."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class StepInput(Input):
    """What the network is fed at every step anew; engines put it in place of Input.

    No file holds it: how samples are coded is a matter of the run, not of the network.

    Attributes:
        spiking: Every value is 0 or 1.
    """

    spiking: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(self.shape, self.spiking)


@dataclass(frozen=True, eq=False)
class Neuron(StatefulOp):
    """What fires: a potential that is compared with a threshold.

    Attributes:
        threshold: Positive; has the rank of a sample and broadcasts to it.
        initial_potential: Likewise, any sign.
    """

    threshold: Array
    initial_potential: Array

    def infer(self, *types: TensorType) -> TensorType:
        Scale(self.threshold, self.initial_potential).infer(*types)
        if not (self.threshold > 0).all():
            raise GraphError("threshold is not positive")
        return TensorType(types[0].shape, spiking=True)

    def count_spikes(self, result: Array) -> int:
        """Return how many spikes the result of one step is."""
        return int(np.count_nonzero(result))

    def sent(self, result: Array) -> Array:
        """Return what the result of one step adds to the counts of its neurons, whole numbers."""
        return result

    def potential(self, state: Array) -> Array:
        """Return the membrane potentials in a state, [N, ...]."""
        return state


@dataclass(frozen=True, eq=False)
class IntegrateFire(Neuron):
    """Integrate-and-fire neuron, at most one spike per step.

        u    = potential + current
        s    = 1 if u >= threshold else 0
        potential = u - threshold s  (Reset.SUBTRACT)   or   u (1 - s)  (Reset.ZERO)

    Under a constant current c, reset by subtraction and initial_potential = threshold / 2, the
    spike count after T steps is clip(floor(c T / threshold + 1/2), 0, T).

    Source: Rueckauer et al. 2017 (reset by subtraction), Bu et al. 2022 (initial potential).

    Attributes:
        reset: Reset by subtraction or to zero.
    """

    reset: Reset = Reset.SUBTRACT

    def infer(self, *types: TensorType) -> TensorType:
        type_ = super().infer(*types)
        if not isinstance(self.reset, Reset):  # plain text would compare as the other reset
            raise GraphError(f"reset is {self.reset!r}, expected a member of Reset")
        return type_

    def start(self, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(self.initial_potential, shape).copy()

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        state += current
        spikes = (state >= self.threshold).astype(np.float32)
        if self.reset is Reset.SUBTRACT:
            state -= spikes * self.threshold
        else:
            state *= 1 - spikes
        return spikes, state


@dataclass(frozen=True, eq=False)
class SpikingMaxPool(StatefulOp, MaxPool):
    """Maximum over windows of what has arrived so far, sent on as its increments.

        total(t) = total(t-1) + current(t)
        y(t)     = maxpool(total(t)) - maxpool(total(t-1))

    The increments of t steps add up to the maximum of the accumulated operands exactly, at every
    t: rates are pooled as activations are, causally and without a bias that stays. Spikes in,
    spikes out, because the largest count of a window grows by at most one per step: the spikes
    that pass are those by which a neuron takes the lead (gating by accumulated counts).
    """

    def start(self, shape: tuple[int, ...]) -> Array:
        return np.zeros(shape, np.float32)

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        before = self.apply(state)
        state += current
        return self.apply(state) - before, state


OPS.update({op.__name__: op for op in (IntegrateFire, SpikingMaxPool)})
