"""Differential coding: spikes say how the mean so far changes, silence that it stays.

A value sent as y(1), ..., y(t) has the mean  r(t) = r(t-1) + (y(t) - r(t-1)) / t.  What is sent
instead is the difference  d(t) = y(t) - r(t-1),  so that  r(t) = sum of d(k) / k,  and linear
operations apply to differences as they do to values. Constants are no differences: biases are
where the means begin.

Source: Huang et al. 2025 (differential coding with graded units and spikes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GraphError
from .neurons import Neuron, StatefulOp
from .ops import OPS, MaxPool, Scale
from .types import Array, TensorType

MAX_THRESHOLDS = 16
FIRES_AT = np.float32(0.75)
"""Of a spike's size: potentials are rounded to sizes 1, 1/2, 1/4, ... up from here."""


@dataclass(frozen=True, eq=False)
class DifferentialFire(Neuron):
    """Neuron with several thresholds that takes and sends differences.

        u    = potential + d(t) + mean(t-1) - threshold sent(t-1);  total = total + sent(t-1)
        s    = the largest of 1, 1/2, ..., 2^(1 - n) with u >= 0.75 threshold s; or -1, -1/2, ...
               likewise; of those that leave the total in 0 .. t limit;  else 0
        potential = u - threshold s;   total = total + s
        mean(t) = mean(t-1) + d(t) / t;   sent(t) = sent(t-1) + s / t

    `sent` is the neuron's rate, a ReLU of the mean current within the size of the smallest spike
    divided by t; the total, which is t times the rate, keeps it from becoming negative, and from
    more than the limit of a clipped ReLU.

    Source: as the module's, there with all thresholds in one unit and without a limit.

    Attributes:
        bias: Where the mean of the current begins; has the rank of a sample and broadcasts to it.
        n_thresholds: n, 1 to 16. `threshold` is that of the largest spike.
        limit: Largest rate, broadcasts as the bias; None is none.
    """

    bias: Array
    n_thresholds: int
    limit: Array | None = None

    def infer(self, *types: TensorType) -> TensorType:
        if not 1 <= self.n_thresholds <= MAX_THRESHOLDS:
            raise GraphError(f"n_thresholds is {self.n_thresholds}, expected 1 to {MAX_THRESHOLDS}")
        Scale(self.bias, self.bias if self.limit is None else self.limit).infer(*types)
        if self.limit is not None and not (self.limit > 0).all():
            raise GraphError("limit is not positive")
        return TensorType(super().infer(*types).shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return potentials, totals, means, what was sent, and steps, [5, N, ...]."""
        state = np.zeros((5, *shape), np.float32)
        state[0], state[2] = self.initial_potential, self.bias
        return state

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        potential, total, mean, sent, clock = state
        clock += 1
        potential += current + (mean - self.threshold * sent)
        total += sent
        most = np.float32(np.inf) if self.limit is None else clock * self.limit
        spikes = np.zeros_like(potential)
        for exponent in reversed(range(self.n_thresholds)):
            size = np.float32(2.0**-exponent)
            enough = FIRES_AT * size * self.threshold
            spikes[(potential >= enough) & (total + size <= most)] = size
            spikes[(potential <= -enough) & (total >= size)] = -size
        potential -= self.threshold * spikes
        total += spikes
        mean += current / clock
        sent += spikes / clock
        return spikes, state

    def sent(self, result: Array) -> Array:
        """Return 1 for every spike: their sizes are fractions."""
        return np.asarray(result != 0, np.float32)

    def potential(self, state: Array) -> Array:
        return np.asarray(state[0])


@dataclass(frozen=True, eq=False)
class DifferentialMaxPool(StatefulOp, MaxPool):
    """Maximum over windows of the means so far, sent on as differences.

        mean(t) = mean(t-1) + d(t) / t
        y(t)    = t (maxpool(mean(t)) - maxpool(mean(t-1))),   with  maxpool(mean(0)) = 0

    Attributes:
        bias: Where the mean begins; has the rank of a sample and broadcasts to it.
    """

    bias: Array

    def infer(self, *types: TensorType) -> TensorType:
        Scale(self.bias, self.bias).infer(*types)
        return TensorType(super().infer(*types).shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return means and steps, [2, N, ...]."""
        state = np.zeros((2, *shape), np.float32)
        state[0] = self.bias
        return state

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        mean, clock = state
        is_first = not clock.any()
        before = self.apply(mean)
        clock += 1
        mean += current / clock
        sent = self.apply(mean)
        return (sent if is_first else (sent - before) * clock.flat[0]), state


@dataclass(frozen=True, eq=False)
class FromDifferences(StatefulOp):
    """Values of which differences say how their mean changes; for outputs.

        y(t)    = d(t) + mean(t-1)
        mean(t) = mean(t-1) + d(t) / t

    The mean of y(1), ..., y(t) is mean(t).

    Attributes:
        bias: Where the mean begins; has the rank of a sample and broadcasts to it.
    """

    bias: Array

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(Scale(self.bias, self.bias).infer(*types).shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        """Return means and steps, [2, N, ...]."""
        state = np.zeros((2, *shape), np.float32)
        state[0] = self.bias
        return state

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        mean, clock = state
        clock += 1
        value = current + mean
        mean += current / clock
        return value, state


OPS.update({op.__name__: op for op in (DifferentialFire, DifferentialMaxPool, FromDifferences)})
