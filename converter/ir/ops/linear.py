"""Operations with weights, and sums."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import windows
from ..types import Array, TensorType
from .base import Op, Pairs, expect, per_channel


@dataclass(frozen=True, eq=False)
class Dense(Op):
    """y = weight x + bias; weight [C_out, C_in], bias [C_out]."""

    weight: Array
    bias: Array

    def infer(self, *types: TensorType) -> TensorType:
        expect(self.weight.ndim == 2, f"weight has shape {self.weight.shape}, expected [out, in]")
        n_out, n_in = self.weight.shape
        expect(
            self.bias.shape == (n_out,), f"bias has shape {self.bias.shape}, expected ({n_out},)"
        )
        expect(types[0].shape == (n_in,), f"operand has shape {types[0].shape}, expected ({n_in},)")
        return TensorType((n_out,))

    def apply(self, *arrays: Array) -> Array:
        product = np.matmul(self.weight, arrays[0][:, :, None])[:, :, 0]
        return np.asarray(product + self.bias, np.float32)

    def fan_out(self, type_: TensorType) -> Array:
        return np.full(type_.shape, self.weight.shape[0], np.float32)


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """Cross-correlation over 1 to 3 spatial axes.

    Attributes:
        weight: [C_out, C_in / groups, K...].
        bias: [C_out].
        strides: One per spatial axis.
        dilation: One per spatial axis.
        padding: Zeros before and after, a pair per spatial axis.
        groups: C_in for depthwise.
    """

    weight: Array
    bias: Array
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Pairs
    groups: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        n_axes = self.weight.ndim - 2
        expect(1 <= n_axes <= 3, f"weight has shape {self.weight.shape}, expected [out, in, K...]")
        n_out, n_in = self.weight.shape[0], self.weight.shape[1] * self.groups
        expect(
            self.bias.shape == (n_out,), f"bias has shape {self.bias.shape}, expected ({n_out},)"
        )
        expect(
            self.groups >= 1 and n_out % self.groups == 0,
            f"groups = {self.groups} does not divide the {n_out} output channels",
        )
        shape = types[0].shape
        expect(
            len(shape) == n_axes + 1 and shape[0] == n_in,
            f"operand has shape {shape}, expected {n_in} channels and {n_axes} spatial axes",
        )
        window = windows.Window(self.weight.shape[2:], self.strides, self.dilation, self.padding)
        return TensorType((n_out, *window.output_sizes(shape[1:])))

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        window = windows.Window(self.weight.shape[2:], self.strides, self.dilation, self.padding)
        sizes = window.output_sizes(x.shape[2:])
        patches = window.patches(x, fill=0.0)  # [N, C_in, K..., out...]
        n_products = self.weight[0].size
        columns = patches.reshape(len(x), self.groups, n_products, math.prod(sizes))
        weight = self.weight.reshape(self.groups, -1, n_products)
        result = np.matmul(weight, columns).reshape(len(x), len(self.weight), *sizes)
        return np.asarray(result + per_channel(self.bias, len(sizes)), np.float32)

    def fan_out(self, type_: TensorType) -> Array:
        window = windows.Window(self.weight.shape[2:], self.strides, self.dilation, self.padding)
        coverage = window.coverage(type_.shape[1:]) * (len(self.weight) // self.groups)
        return np.broadcast_to(coverage, type_.shape).astype(np.float32)


@dataclass(frozen=True, eq=False)
class BatchNorm(Op):
    """y = scale (x - mean) / sqrt(variance + epsilon) + shift, all per channel [C]."""

    mean: Array
    variance: Array
    scale: Array
    shift: Array
    epsilon: float

    def infer(self, *types: TensorType) -> TensorType:
        expect(bool(types[0].shape), "operand is a scalar, expected [C, ...]")
        n_channels = types[0].shape[0]
        for name in ("mean", "variance", "scale", "shift"):
            shape = getattr(self, name).shape
            expect(shape == (n_channels,), f"{name} has shape {shape}, expected ({n_channels},)")
        expect(
            bool((self.variance.astype(np.float64) + self.epsilon > 0).all()),
            "variance + epsilon is not positive",
        )
        with np.errstate(over="ignore"):
            self.as_scale(len(types[0].shape))  # refuses a quotient that overflows float32
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        return self.as_scale(arrays[0].ndim - 1).apply(arrays[0])

    def as_scale(self, rank: int) -> Scale:
        """Return the same function as a Scale, for samples of `rank` axes."""
        # float32 after every step, in the order in which exporters fold it: most weights of a
        # Keras file and of its exported ONNX file then agree bit for bit.
        variance = (self.variance + np.float32(self.epsilon)).astype(np.float64)
        scale = (1 / np.sqrt(variance)).astype(np.float32) * self.scale
        shift = self.shift - self.mean * scale
        return Scale(per_channel(scale, rank - 1), per_channel(shift, rank - 1))


@dataclass(frozen=True, eq=False)
class Scale(Op):
    """y = scale x + shift, entry by entry.

    Attributes:
        scale: Has the rank of a sample and broadcasts to its shape: [C, 1, 1] is per channel.
        shift: Likewise.
    """

    scale: Array
    shift: Array

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        for name in ("scale", "shift"):
            sizes = getattr(self, name).shape
            fits = len(sizes) == len(shape) and all(
                a in {1, b} for a, b in zip(sizes, shape, strict=True)
            )
            expect(fits, f"{name} has shape {sizes}, expected one that broadcasts to {shape}")
        return TensorType(shape)

    def apply(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0] * self.scale + self.shift, np.float32)

    def fan_out(self, type_: TensorType) -> Array | None:
        is_bias = bool((self.scale == 1).all())
        return None if is_bias else np.ones(type_.shape, np.float32)


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Sum of operands of one shape, left to right."""

    n_inputs: ClassVar[int | None] = None

    def infer(self, *types: TensorType) -> TensorType:
        for type_ in types:
            expect(
                type_.shape == types[0].shape,
                f"operands have shapes {types[0].shape} and {type_.shape}, expected one shape",
            )
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
        return total

    def fan_out(self, type_: TensorType) -> Array | None:
        # A spike that reaches an Add without passing a weight is a connection of weight 1.
        return np.ones(type_.shape, np.float32) if type_.spiking else None
