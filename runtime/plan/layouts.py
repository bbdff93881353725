"""From the graph's arrays, channels first, to those of the kernels, channels last, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from .memory import Memory
from .views import Ints, line_length, n_words, split_shape

LINE = 64
"""Bytes of a cache line; a row across two lines costs twice."""


def aligned(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Return zeros that begin at a cache line."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    result: npt.NDArray[Any] = raw[start : start + size].view(dtype).reshape(shape)
    return result


def by_position(values: Array, shape: tuple[int, ...]) -> Array:
    """Return values that broadcast to a sample as [positions or 1, channels]."""
    n_positions, n_channels = split_shape(shape)
    if all(size == 1 for size in values.shape[1:]):
        return np.broadcast_to(values.reshape(1, -1), (1, n_channels))
    return np.broadcast_to(values, shape).reshape(n_channels, n_positions).T


def fill_up(values: Array, n_channels: int, filler: np.float32) -> Array:
    """Return [positions, channels] with more channels, at the start of a cache line."""
    result = aligned((len(values), n_channels), np.float32)
    result[:] = filler
    result[:, : values.shape[1]] = values
    return result


def channels_last(value: Array) -> Array:
    """Return samples [N, C, ...] as [N, positions, C]."""
    n_positions, n_channels = split_shape(value.shape[1:])
    return value.reshape(len(value), n_channels, n_positions).transpose(0, 2, 1)


def channels_first(values: Array, shape: tuple[int, ...]) -> Array:
    """Return [steps, positions, channels] as [steps, *shape]."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(len(values), *shape)


def layer_masks(
    memory: Memory, first_word: int, shape: tuple[int, ...], n_steps: int
) -> npt.NDArray[np.uint64]:
    """Return where a layer's spikes lie, [samples, lines, steps, positions of a line, words]."""
    n_positions, n_channels = split_shape(shape)
    length, words = line_length(shape), n_words(n_channels)
    flat = memory.masks[:, first_word : first_word + n_positions * n_steps * words]
    strides = (
        flat.strides[0],
        *(8 * n for n in (n_steps * length * words, length * words, words, 1)),
    )
    shape = (len(flat), n_positions // length, n_steps, length, words)
    return np.lib.stride_tricks.as_strided(flat, shape, strides)


def mask_places(shape: tuple[int, ...], n_steps: int) -> Ints:
    """Return where the masks of every position begin at step 0, counted in words from the first."""
    n_positions, n_channels = split_shape(shape)
    length = line_length(shape)
    line, position = np.divmod(np.arange(n_positions), length)
    return (line * n_steps * length + position) * n_words(n_channels)


def unpack(masks: npt.NDArray[np.uint64], n_channels: int) -> npt.NDArray[np.uint8]:
    """Return masks as bits [samples, steps, positions, channels]."""
    bytes_ = np.ascontiguousarray(masks.swapaxes(1, 2)).view(np.uint8)
    bits = np.unpackbits(bytes_, axis=4, count=n_channels, bitorder="little")
    return bits.reshape(*bits.shape[:2], -1, n_channels)
