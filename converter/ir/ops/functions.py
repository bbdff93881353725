"""ReLUs, the functions of read-outs, and a normalization over channels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..types import Array, TensorType
from .base import Op, expect
from .linear import Scale


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """y = min(max(x, 0), max_value).

    Attributes:
        max_value: None for no upper bound; else has the rank of a sample and broadcasts to it.
    """

    max_value: Array | None = None

    def infer(self, *types: TensorType) -> TensorType:
        if self.max_value is not None:
            Scale(self.max_value, self.max_value).infer(*types)
            expect(bool((self.max_value > 0).all()), "max_value is not positive")
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        positive = np.maximum(arrays[0], np.float32(0))
        return positive if self.max_value is None else np.minimum(positive, self.max_value)


@dataclass(frozen=True, eq=False)
class QuantizedRelu(Op):
    """y = threshold / n clip(floor(n x / threshold + shift), 0, n), n levels besides zero.

    What a neuron of this threshold and the initial potential shift x threshold sends in n steps
    under the constant current x, in units of the threshold per step. With one level and a shift
    of 1/2 it is threshold x [x >= threshold / 2], with a shift of 1 it is threshold x [x >= 0].

    Source: Bu et al. 2022 (QCFS).

    Attributes:
        threshold: Positive; has the rank of a sample and broadcasts to it.
        n_levels: At least 1.
        shift: 0 to 1.
    """

    threshold: Array
    n_levels: int
    shift: float = 0.5

    def infer(self, *types: TensorType) -> TensorType:
        Scale(self.threshold, self.threshold).infer(*types)
        expect(bool((self.threshold > 0).all()), "threshold is not positive")
        expect(1 <= self.n_levels < 2**24, f"n_levels is {self.n_levels}, expected at least 1")
        expect(0 <= self.shift <= 1, f"shift is {self.shift}, expected 0 to 1")
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        n = np.float32(self.n_levels)
        levels = np.floor(arrays[0] / self.threshold * n + np.float32(self.shift % 1))
        if self.shift == 1:  # added behind: x >= 0 is decided exactly, however small x is
            levels = levels + np.float32(1)
        return np.asarray(np.clip(levels, 0, n) * (self.threshold / n), np.float32)


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """exp(x) / sum exp(x) over `axis` of a sample."""

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        expect(
            0 <= self.axis < len(types[0].shape),
            f"axis {self.axis} does not exist in an operand of shape {types[0].shape}",
        )
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        powers = np.exp(x - x.max(axis=self.axis + 1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=self.axis + 1, keepdims=True), np.float32)


@dataclass(frozen=True, eq=False)
class LogSoftmax(Softmax):
    """x - log sum exp(x) over `axis` of a sample."""

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0] - arrays[0].max(axis=self.axis + 1, keepdims=True)
        total = np.log(np.exp(x).sum(axis=self.axis + 1, keepdims=True))
        return np.asarray(x - total, np.float32)


@dataclass(frozen=True, eq=False)
class Sigmoid(Op):
    """1 / (1 + exp(-x))."""

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        return np.asarray(0.5 * (1 + np.tanh(0.5 * arrays[0])), np.float32)


@dataclass(frozen=True, eq=False)
class LocalResponseNorm(Op):
    """y = x / (bias + alpha / size sum x^2)^beta, the sum over `size` channels around x's own.

    No rate of spikes stands for it. Of an even number, one channel more lies behind x's own.

    Attributes:
        size: Channels.
        alpha: See above.
        beta: See above.
        bias: See above.
    """

    size: int
    alpha: float
    beta: float
    bias: float

    def infer(self, *types: TensorType) -> TensorType:
        expect(bool(types[0].shape), "operand is a scalar, expected [C, ...]")
        expect(1 <= self.size < 2**31, f"size {self.size}, expected at least one channel")
        numbers = (self.alpha, self.beta, self.bias)
        expect(all(map(math.isfinite, numbers)), f"{numbers}: expected finite numbers")
        expect(
            self.alpha >= 0 and self.bias > 0,
            f"alpha {self.alpha:g} and bias {self.bias:g} may divide by zero, expected alpha >= 0 "
            "and bias > 0",
        )
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        n_channels = x.shape[1]
        before = min((self.size - 1) // 2, n_channels)
        behind = min(self.size - 1 - (self.size - 1) // 2, n_channels)
        squares = np.square(x.astype(np.float64))
        total = np.zeros_like(squares)
        for shift in range(-before, behind + 1):
            first, last = max(-shift, 0), n_channels - max(shift, 0)
            if first < last:
                total[:, first:last] += squares[:, first + shift : last + shift]
        return np.asarray(x / (self.bias + self.alpha / self.size * total) ** self.beta, np.float32)
