"""Poolings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .. import windows
from ..types import Array, TensorType
from .base import Op, Pairs, expect


@dataclass(frozen=True, eq=False)
class MaxPool(Op):
    """Maximum over windows; padding never wins. Of spikes: whether one of a window fires (OR).

    Attributes:
        kernel: One size per spatial axis.
        strides: One per spatial axis.
        dilation: One per spatial axis.
        padding: A pair per spatial axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Pairs

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(pooled_shape(self.window, types[0].shape), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        return np.ascontiguousarray(self.window.reduce(np.maximum, arrays[0], fill=-np.inf))

    @property
    def window(self) -> windows.Window:
        """Geometry of the windows."""
        return windows.Window(self.kernel, self.strides, self.dilation, self.padding)


@dataclass(frozen=True, eq=False)
class AveragePool(Op):
    """Mean over windows.

    Attributes:
        kernel: One size per spatial axis.
        strides: One per spatial axis.
        padding: A pair per spatial axis.
        count_padding: Divide by the kernel's size everywhere; else by the entries that are not
            padding.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pairs
    count_padding: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(pooled_shape(self.window, types[0].shape))

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        total = self.window.reduce(np.add, x, fill=0.0)
        if self.count_padding or not any(map(any, self.padding)):
            return np.asarray(total / np.float32(math.prod(self.kernel)), np.float32)
        ones = np.ones((1, 1, *x.shape[2:]), np.float32)
        return np.asarray(total / self.window.reduce(np.add, ones, fill=0.0), np.float32)

    @property
    def window(self) -> windows.Window:
        """Geometry of the windows."""
        return windows.Window(self.kernel, self.strides, (1,) * len(self.kernel), self.padding)


@dataclass(frozen=True, eq=False)
class GlobalAveragePool(Op):
    """Mean over all spatial axes: [C, ...] -> [C]."""

    def infer(self, *types: TensorType) -> TensorType:
        expect(len(types[0].shape) >= 2, f"operand has shape {types[0].shape}, expected [C, ...]")
        return TensorType(types[0].shape[:1])

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        pixels = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        return np.asarray(pixels.mean(axis=2, dtype=np.float32), np.float32)


def pooled_shape(window: windows.Window, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a sample behind a pooling.

    Raises:
        GraphError: The operand does not fit, or a window would lie on padding alone.
    """
    n_axes = len(window.kernel)
    expect(
        1 <= n_axes <= 3 and len(shape) == n_axes + 1,
        f"operand has shape {shape}, expected channels and {n_axes} spatial axes",
    )
    for (before, after), size, step in zip(
        window.padding, window.kernel, window.dilation, strict=True
    ):
        extent = (size - 1) * step + 1
        expect(max(before, after) < extent, f"padding {window.padding} makes empty windows")
    for pair, dilation, n in zip(window.padding, window.dilation, shape[1:], strict=True):
        # Entries further apart than the operand is long may all lie on padding.
        expect(
            not any(pair) or dilation <= n,
            f"dilation {window.dilation} with padding {window.padding} makes empty windows",
        )
    return (shape[0], *window.output_sizes(shape[1:]))
