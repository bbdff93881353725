"""Operations that move entries and compute nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .. import windows
from ..types import MAX_AXES, Array, TensorType
from .base import Op, Pairs, expect


@dataclass(frozen=True, eq=False)
class Input(Op):
    """What the network is fed, [N, *shape], in the layout of the source model."""

    shape: tuple[int, ...]
    n_inputs: ClassVar[int | None] = 0

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(self.shape)


@dataclass(frozen=True, eq=False)
class Identity(Op):
    """y = x: what dropout and other layers are at inference."""

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def apply(self, *arrays: Array) -> Array:
        return arrays[0]


@dataclass(frozen=True, eq=False)
class Flatten(Op):
    """[A, B, ...] -> [A B ...], last axis fastest."""

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType((types[0].size,), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        return arrays[0].reshape(len(arrays[0]), math.prod(arrays[0].shape[1:]))


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """Same entries in the same order, another shape."""

    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        expect(
            len(self.shape) <= MAX_AXES and types[0].size == math.prod(self.shape),
            f"operand {types[0]} has {types[0].size} entries, expected {math.prod(self.shape)} "
            f"for shape {self.shape}",
        )
        return TensorType(self.shape, types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        return arrays[0].reshape(len(arrays[0]), *self.shape)


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """Axis i of the result is axis permutation[i] of the operand, the batch axis not counted."""

    permutation: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        expect(
            sorted(self.permutation) == list(range(len(shape))),
            f"permutation {self.permutation} does not fit an operand of {len(shape)} axes",
        )
        return TensorType(tuple(shape[axis] for axis in self.permutation), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        axes = (0, *(axis + 1 for axis in self.permutation))
        return np.ascontiguousarray(arrays[0].transpose(axes))


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """Zeros before and after, a pair per axis of a sample."""

    padding: Pairs

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        expect(
            len(self.padding) == len(shape),
            f"padding {self.padding} has {len(self.padding)} pairs, expected {len(shape)}",
        )
        expect(all(size >= 0 for pair in self.padding for size in pair), "padding is negative")
        padded = tuple(a + sum(pair) for a, pair in zip(shape, self.padding, strict=True))
        return TensorType(padded, types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        return np.pad(arrays[0], ((0, 0), *self.padding))


@dataclass(frozen=True, eq=False)
class Select(Op):
    """Entries of the operand, by place: crop, slice, gather, and nearest upsampling by repeating.

    Attributes:
        indices: Per axis of a sample, places of the operand from 0 on, in the order of the result;
            a place may come more than once. None keeps an axis as it is.
    """

    indices: tuple[tuple[int, ...] | None, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        expect(
            len(self.indices) == len(shape),
            f"indices are given for {len(self.indices)} axes, expected {len(shape)}",
        )
        sizes = []
        for axis, (places, size) in enumerate(zip(self.indices, shape, strict=True)):
            if places is None:
                sizes.append(size)
                continue
            expect(bool(places), f"indices of axis {axis} are empty, expected at least one")
            expect(
                min(places) >= 0 and max(places) < size,
                f"indices of axis {axis} lie in {min(places)}..{max(places)}, "
                f"expected 0..{size - 1}",
            )
            sizes.append(len(places))
        return TensorType(tuple(sizes), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        result = arrays[0]
        for axis, places in enumerate(self.indices, start=1):
            if places is not None:
                result = result.take(np.asarray(places), axis=axis)
        return np.ascontiguousarray(result)


@dataclass(frozen=True, eq=False)
class InsertZeros(Op):
    """strides - 1 zeros between neighbors along every spatial axis: [C, n] -> [C, (n - 1) s + 1].

    With a convolution behind it, this is a transposed convolution.

    Attributes:
        strides: One per spatial axis.
    """

    strides: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        expect(
            len(shape) == len(self.strides) + 1,
            f"operand has shape {shape}, expected channels and {len(self.strides)} spatial axes",
        )
        expect(
            all(1 <= step <= windows.MAX_STEP for step in self.strides),
            f"strides {self.strides}: expected steps from 1 to {windows.MAX_STEP}",
        )
        sizes = ((n - 1) * step + 1 for n, step in zip(shape[1:], self.strides, strict=True))
        return TensorType((shape[0], *sizes), types[0].spiking)

    def apply(self, *arrays: Array) -> Array:
        x = arrays[0]
        sizes = ((n - 1) * step + 1 for n, step in zip(x.shape[2:], self.strides, strict=True))
        result = np.zeros((*x.shape[:2], *sizes), x.dtype)
        result[(slice(None), slice(None), *(slice(None, None, step) for step in self.strides))] = x
        return result


@dataclass(frozen=True, eq=False)
class Concatenate(Op):
    """Operands one after the other along `axis` of a sample."""

    axis: int
    n_inputs: ClassVar[int | None] = None

    def infer(self, *types: TensorType) -> TensorType:
        first, axis = types[0].shape, self.axis
        expect(
            0 <= axis < len(first),
            f"axis {axis} does not exist in an operand of shape {first}",
        )
        for type_ in types:
            shape = type_.shape
            expect(
                len(shape) == len(first)
                and (*shape[:axis], *shape[axis + 1 :]) == (*first[:axis], *first[axis + 1 :]),
                f"operands have shapes {first} and {shape}, "
                f"expected the same sizes but for axis {axis}",
            )
        total = sum(type_.shape[axis] for type_ in types)
        shape = (*first[:axis], total, *first[axis + 1 :])
        return TensorType(shape, all(type_.spiking for type_ in types))

    def apply(self, *arrays: Array) -> Array:
        return np.concatenate(arrays, axis=self.axis + 1)
