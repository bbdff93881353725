"""Neurons and currents of exact schedules: when what flows and fires is part of the op.

Time is one line for the whole graph; an op that needs to know the step keeps a clock in its state.
The counts that these ops give are those of a network with quantised activations, see
docs/exactness.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GraphError
from .neurons import Neuron, StatefulOp
from .ops import (
    OPS,
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    InsertZeros,
    Pad,
    Reshape,
    Scale,
    Select,
    Transpose,
)
from .types import MAX_N_STEPS, Array, TensorType

MAX_LEVELS = 2**16

AFFINE = (
    Add, AveragePool, Concatenate, Conv, Dense, Flatten, GlobalAveragePool, Identity, InsertZeros,
    Pad, Reshape, Scale, Select, Transpose,
)  # fmt: skip
"""What schedules may have between neurons: the sum of results is the result of the sum."""


@dataclass(frozen=True, eq=False)
class Pulse(StatefulOp):
    """A current that flows during the first steps only.

        y(t) = gain current(t)   for t < n_steps,   0 after

    Attributes:
        n_steps: At least 1.
        gain: What a current that flows once is multiplied with, to be the sum over a window.
    """

    n_steps: int
    gain: float

    def infer(self, *types: TensorType) -> TensorType:
        _expect_steps("n_steps", self.n_steps, 1)
        if not np.isfinite(np.float32(self.gain)) or self.gain <= 0:
            raise GraphError(f"gain is {self.gain}, expected a positive number")
        return TensorType(types[0].shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((), np.float32)

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        if state >= self.n_steps:
            return np.zeros_like(current, np.float32), state
        state += 1
        return np.asarray(current * np.float32(self.gain), np.float32), state


@dataclass(frozen=True, eq=False)
class AddOnce(StatefulOp):
    """A charge that is there from the first step on: y(0) = current + charge, y(t) = current.

    Attributes:
        charge: The bias of a whole window; has the rank of a sample and broadcasts to it.
    """

    charge: Array

    def infer(self, *types: TensorType) -> TensorType:
        return Scale(self.charge, self.charge).infer(*types)

    def start(self, shape: tuple[int, ...]) -> Array:
        return np.zeros((), np.float32)

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        if state > 0:
            return current, state
        state += 1
        return np.asarray(current + self.charge, np.float32), state


@dataclass(frozen=True, eq=False)
class WaitFire(Neuron):
    """Integrate-and-fire neuron that fires in a window of its own, and integrates always.

        u    = potential + current
        s(t) = 1 if u >= threshold and first_step <= t < first_step + n_steps else 0
        potential = u - threshold s

    Once all currents have come before the window, or flow evenly through it and the initial
    potential is in [0, threshold), the count is that of a quantised ReLU:
    clip(floor((sum of currents + initial_potential) / threshold), 0, n_steps). If they came before,
    the spikes are the window's first steps (thermometer code).

    Source: the accumulate-then-fire schedule of Hao et al. 2025 and others; Bu et al. 2022
    (quantised ReLU, initial potential).

    Attributes:
        first_step: Of the window.
        n_steps: Of the window: levels of the quantised ReLU.
    """

    first_step: int
    n_steps: int

    def infer(self, *types: TensorType) -> TensorType:
        _expect_steps("first_step", self.first_step, 0)
        _expect_steps("n_steps", self.n_steps, 1)
        return super().infer(*types)

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return the potentials, and one row more, which counts the steps."""
        state = np.zeros((shape[0] + 1, *shape[1:]), np.float32)
        state[:-1] = self.initial_potential
        return state

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        potential, clock = state[:-1], state[-1]
        potential += current
        step = int(clock.flat[0])
        clock += 1
        if not self.first_step <= step < self.first_step + self.n_steps:
            return np.zeros_like(potential), state
        spikes = (potential >= self.threshold).astype(np.float32)
        potential -= spikes * self.threshold
        return spikes, state

    def potential(self, state: Array) -> Array:
        return np.asarray(state[:-1])


@dataclass(frozen=True, eq=False)
class FirstSpikeFire(Neuron):
    """Neuron that fires once in a window of its own, the earlier the larger its value is.

        u    = potential + current
        s(t) = k if u >= k threshold and it has not fired yet, with k = first_step + n_steps - t
               the steps that are left of the window;  else 0
        potential = u - threshold s

    The spike at a time stands for the charge k, which whoever gets it knows from the time. Once all
    currents have come before the window, the charge is that of a quantised ReLU:
    clip(floor((sum of currents + initial_potential) / threshold), 0, n_steps).

    Source: a threshold that falls over a window, as in the TTFS networks of Rueckauer and Liu 2018
    and Stanojevic et al. 2024; the window of its own makes it exact.

    Attributes:
        first_step: Of the window.
        n_steps: Of the window: levels of the quantised ReLU.
    """

    first_step: int
    n_steps: int

    def infer(self, *types: TensorType) -> TensorType:
        _expect_steps("first_step", self.first_step, 0)
        _expect_steps("n_steps", self.n_steps, 1)
        return TensorType(super().infer(*types).shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return potentials, whether a neuron has fired, and steps, [3, N, ...]."""
        state = np.zeros((3, *shape), np.float32)
        state[0] = self.initial_potential
        return state

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        potential, fired, clock = state
        potential += current
        left = self.first_step + self.n_steps - clock
        clock += 1
        fires = (potential >= left * self.threshold) & (fired == 0)
        fires &= (left >= 1) & (left <= self.n_steps)
        fired += fires
        charges = np.asarray(fires * left, np.float32)
        potential -= charges * self.threshold
        return charges, state

    def potential(self, state: Array) -> Array:
        return np.asarray(state[0])


@dataclass(frozen=True, eq=False)
class SignedFire(Neuron):
    """Signed integrate-and-fire neuron that remembers what it has sent, and takes back too much.

        u    = potential + current
        s    = +1 if u >= threshold and sent < n_levels;  -1 if u < 0 and sent > 0;  else 0
        potential = u - threshold s;   sent = sent + s

    When no neuron fires any more, `sent` is clip(floor((sum of currents + initial_potential) /
    threshold), 0, n_levels) in every neuron, whatever the order in which spikes came.

    Source: the ST-BIF neuron of You et al. 2024 (SpikeZIP-TF).

    Attributes:
        n_levels: The most that is sent in total.
    """

    n_levels: int

    def infer(self, *types: TensorType) -> TensorType:
        if not 1 <= self.n_levels <= MAX_LEVELS:
            raise GraphError(f"n_levels is {self.n_levels}, expected 1 to {MAX_LEVELS}")
        return TensorType(super().infer(*types).shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return potentials and what was sent, [2, N, ...]."""
        state = np.zeros((2, *shape), np.float32)
        state[0] = self.initial_potential
        return state

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        potential, sent = state
        potential += current
        up = (potential >= self.threshold) & (sent < self.n_levels)
        down = (potential < 0) & (sent > 0)
        spikes = up.astype(np.float32) - down
        potential -= spikes * self.threshold
        sent += spikes
        return spikes, state

    def potential(self, state: Array) -> Array:
        return np.asarray(state[0])


def _expect_steps(name: str, value: int, least: int) -> None:
    if not least <= value <= MAX_N_STEPS:
        raise GraphError(f"{name} is {value}, expected {least} to {MAX_N_STEPS}")


OPS.update({op.__name__: op for op in (Pulse, AddOnce, WaitFire, FirstSpikeFire, SignedFire)})
