"""Operations of graphs in integers: what quantises the input, and sums instead of means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import GraphError
from .ops import OPS, Op
from .ops.base import Pairs
from .ops.pooling import pooled_shape
from .types import Array, TensorType
from .windows import Window

MAX_INTEGER = 2**24
"""Integers below are exact in float32, and so are their sums, in any order."""


@dataclass(frozen=True, eq=False)
class Quantize(Op):
    """y = clip(round(x / step), low, high): integers; halves are rounded to even ones.

    Attributes:
        step: Positive.
        low: The least integer.
        high: The largest.
    """

    step: float
    low: int
    high: int

    def infer(self, *types: TensorType) -> TensorType:
        if not (np.isfinite(np.float32(self.step)) and np.float32(self.step) > 0):
            raise GraphError(f"step is {self.step}, expected a positive number")
        if not -MAX_INTEGER < self.low < self.high < MAX_INTEGER:
            raise GraphError(f"low is {self.low} and high {self.high}, expected low < high")
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        levels = np.rint(arrays[0] / np.float32(self.step))
        return np.asarray(np.clip(levels, self.low, self.high), np.float32)


@dataclass(frozen=True, eq=False)
class SumPool(Op):
    """Sum over windows; padding adds nothing.

    Attributes:
        kernel: One size per spatial axis.
        strides: One per spatial axis.
        padding: A pair per spatial axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pairs

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(pooled_shape(self.window, types[0].shape))

    def apply(self, *arrays: Array) -> Array:
        return np.asarray(self.window.reduce(np.add, arrays[0], fill=0.0), np.float32)

    @property
    def window(self) -> Window:
        """Geometry of the windows."""
        return Window(self.kernel, self.strides, (1,) * len(self.kernel), self.padding)


OPS.update({op.__name__: op for op in (Quantize, SumPool)})
