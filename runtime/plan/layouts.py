"""From the graph's arrays, channels first, to those of the kernels, channels last, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from .gather import aligned
from .views import line_length, n_words, split_shape


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
    """Return a sample [1, C, ...] as [positions, C]."""
    n_positions, n_channels = split_shape(value.shape[1:])
    return value.reshape(n_channels, n_positions).T


def channels_first(values: Array, shape: tuple[int, ...]) -> Array:
    """Return [steps, positions, channels] as [steps, *shape]."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(len(values), *shape)


def make_masks(shape: tuple[int, ...], n_steps: int) -> npt.NDArray[np.uint64]:
    """Return no spikes, [lines, steps, positions of a line, words]."""
    n_positions, n_channels = split_shape(shape)
    length = line_length(shape)
    return np.zeros((n_positions // length, n_steps, length, n_words(n_channels)), np.uint64)


def mask_places(shape: tuple[int, ...], n_steps: int) -> npt.NDArray[np.int64]:
    """Return where the masks of every position begin at step 0, in what `make_masks` returns."""
    n_positions, n_channels = split_shape(shape)
    length = line_length(shape)
    line, position = np.divmod(np.arange(n_positions), length)
    return (line * n_steps * length + position) * n_words(n_channels)


def unpack(masks: npt.NDArray[np.uint64], n_channels: int) -> npt.NDArray[np.uint8]:
    """Return masks as bits [steps, positions, channels]."""
    bytes_ = np.ascontiguousarray(masks.transpose(1, 0, 2, 3)).view(np.uint8)
    bits = np.unpackbits(bytes_, axis=3, count=n_channels, bitorder="little")
    return bits.reshape(len(bits), -1, n_channels)
