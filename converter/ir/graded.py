"""Multi-level neurons: more than one spike, or spikes of more than one size, per step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GraphError
from .neurons import Neuron
from .ops import OPS
from .types import Array, TensorType

MAX_BITS = 16


@dataclass(frozen=True, eq=False)
class Burst(Neuron):
    """Integrate-and-fire neuron that sends up to n_levels spikes in one step.

        u = potential + current
        s = clip(floor(u / threshold), 0, n_levels)
        potential = u - threshold s

    In one step from initial_potential = threshold / 2 it is a quantised ReLU of n_levels + 1
    values; under a constant current one step equals n_levels steps of IntegrateFire.

    Source: Hao et al. 2024 (LM-HT, lemma 4.1).

    Attributes:
        n_levels: At least 1.
    """

    n_levels: int

    def infer(self, *types: TensorType) -> TensorType:
        if not 1 <= self.n_levels < 2**MAX_BITS:
            raise GraphError(f"n_levels is {self.n_levels}, expected 1 to {2**MAX_BITS - 1}")
        return TensorType(super().infer(*types).shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(self.initial_potential, shape).copy()

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        state += current
        levels = np.clip(np.floor(state / self.threshold), 0, self.n_levels)
        state -= levels * self.threshold
        return levels, state

    def count_spikes(self, result: Array) -> int:
        return int(result.sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class BinaryWeighted(Neuron):
    """Integrate-and-fire neuron whose spikes in one step are the bits of a number.

        u = potential + current
        for k = n_bits - 1, ..., 0:   s_k = 1 if u >= 2^k threshold else 0
                                      u = u - 2^k threshold s_k
        potential = u;   result: sum of 2^k s_k

    The same numbers as Burst with n_levels = 2^n_bits - 1, in at most n_bits spikes.

    Source: successive approximation within a step, as in the hybrid multi-threshold neuron (H-MT,
    AAAI 2026).

    Attributes:
        n_bits: 1 to 16. `threshold` is that of the smallest spike.
    """

    n_bits: int

    def infer(self, *types: TensorType) -> TensorType:
        if not 1 <= self.n_bits <= MAX_BITS:
            raise GraphError(f"n_bits is {self.n_bits}, expected 1 to {MAX_BITS}")
        return TensorType(super().infer(*types).shape)

    def start(self, shape: tuple[int, ...]) -> Array:
        return np.broadcast_to(self.initial_potential, shape).copy()

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        state += current
        result = np.zeros_like(state)
        for bit in reversed(range(self.n_bits)):
            size = self.threshold * np.float32(2**bit)
            spikes = (state >= size).astype(np.float32)
            state -= spikes * size
            result += spikes * np.float32(2**bit)
        return result, state

    def count_spikes(self, result: Array) -> int:
        numbers = result.astype(np.int64)
        return sum(int(np.count_nonzero(numbers >> bit & 1)) for bit in range(self.n_bits))


OPS.update({op.__name__: op for op in (Burst, BinaryWeighted)})
