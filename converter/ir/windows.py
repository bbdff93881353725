"""Geometry of sliding windows: what convolutions and poolings share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import GraphError
from .types import Array, TensorType

MAX_KERNEL = 4096
MAX_STEP = 2**20
"""Of strides and dilation: far above any network's, and offsets in bytes stay below 2^63."""
MAX_ENTRIES = 64
"""Of a window that is reduced entry by entry."""


@dataclass(frozen=True)
class Window:
    """A window that slides over the spatial axes.

    Attributes:
        kernel: Entries per axis.
        strides: Step from one window to the next, per axis.
        dilation: Step from one entry of a window to the next, per axis.
        padding: Entries added before and after, per axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        n_axes = len(self.kernel)
        if not n_axes:
            raise GraphError("kernel (): has no axes, expected at least one")
        for name in ("strides", "dilation", "padding"):
            value = getattr(self, name)
            if len(value) != n_axes:
                raise GraphError(f"{name} {value}: has {len(value)} entries, expected {n_axes}")
        if not all(1 <= size <= MAX_KERNEL for size in self.kernel):
            raise GraphError(f"kernel {self.kernel}: expected sizes from 1 to {MAX_KERNEL}")
        if not all(1 <= step <= MAX_STEP for step in (*self.strides, *self.dilation)):
            raise GraphError(
                f"strides {self.strides}, dilation {self.dilation}: "
                f"expected steps from 1 to {MAX_STEP}"
            )
        if any(len(pair) != 2 or min(pair) < 0 for pair in self.padding):
            raise GraphError(f"padding {self.padding}: expected pairs of sizes >= 0")

    def output_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Return how many windows fit, per axis.

        Raises:
            GraphError: No window fits, or the padding makes the operand too large.
        """
        # A file may pad by 2^40 and stride over it: few windows, but the padded operand is built.
        TensorType(tuple(size + sum(pair) for size, pair in zip(sizes, self.padding, strict=True)))
        result = tuple(
            (size + sum(pair) - (kernel - 1) * dilation - 1) // stride + 1
            for size, kernel, stride, dilation, pair in zip(
                sizes, self.kernel, self.strides, self.dilation, self.padding, strict=True
            )
        )
        if min(result) < 1:
            raise GraphError(f"window {self.kernel} does not fit into spatial sizes {sizes}")
        return result

    def patches(self, x: Array, *, fill: float) -> Array:
        """Return the windows of x [N, C, spatial...] as a view [N, C, kernel..., windows...].

        Args:
            x: Channels first.
            fill: Value of the padding.
        """
        n_axes = len(self.kernel)
        padded = x
        if any(map(any, self.padding)):
            padded = np.pad(x, ((0, 0), (0, 0), *self.padding), constant_values=fill)
        sizes = self.output_sizes(x.shape[2:])
        spatial = padded.strides[2:]
        within = tuple(s * d for s, d in zip(spatial, self.dilation, strict=True))
        between = tuple(s * d for s, d in zip(spatial, self.strides, strict=True))
        view: Array = np.lib.stride_tricks.as_strided(
            padded,
            (*padded.shape[: padded.ndim - n_axes], *self.kernel, *sizes),
            (*padded.strides[: padded.ndim - n_axes], *within, *between),
            writeable=False,
        )
        return view

    def reduce(self, ufunc: np.ufunc, x: Array, *, fill: float) -> Array:
        """Return the sum (np.add) or maximum (np.maximum) of every window, [N, C, windows...].

        Small windows are taken entry by entry, several times as fast as over axes far apart.
        """
        patches = self.patches(x, fill=fill)
        if math.prod(self.kernel) > MAX_ENTRIES:
            return np.asarray(ufunc.reduce(patches, axis=tuple(range(2, 2 + len(self.kernel)))))
        first, *others = np.ndindex(*self.kernel)
        total = patches[(slice(None), slice(None), *first)].copy()
        for entry in others:
            ufunc(total, patches[(slice(None), slice(None), *entry)], out=total)
        return total

    def coverage(self, sizes: tuple[int, ...]) -> Array:
        """Return for every position of [spatial...] how many window entries lie on it."""
        result = np.ones((), np.float32)
        for axis, n_windows in enumerate(self.output_sizes(sizes)):
            starts = np.arange(n_windows)[:, None] * self.strides[axis] - self.padding[axis][0]
            entries = starts + np.arange(self.kernel[axis]) * self.dilation[axis]
            inside = entries[(entries >= 0) & (entries < sizes[axis])]
            counts = np.bincount(inside, minlength=sizes[axis]).astype(np.float32)
            result = result[..., None] * counts
        return result
