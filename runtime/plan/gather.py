"""Gather: the terms of one layer as the arrays that the kernels read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converter.errors import SimulationError
from ...converter.ir import Array
from .terms import Term
from .views import WORD, Ints, Sites, n_words

WIDTHS = (16, 32, 64)
"""Channels of a block: one, two or four vectors of AVX-512."""
LINE = 64
"""Bytes of a cache line; a row across two lines costs twice."""
CACHED = 700_000
"""Bytes of weight rows that are hoped to stay in the second-level cache."""


@dataclass(frozen=True, eq=False)
class Gather:
    """Taps and weight rows; the arrays are described in `kernels.events.fire`.

    Attributes:
        lanes: Its length is the number of channels in a block.
        n_channels: C_out, filled up to whole blocks.
        chunks: [chunks, 3].
        tap_starts: [sets, positions + 1].
        sites: [taps].
        bases: [taps].
        rows: Flat, aligned.
        block_size: Entries of one block of `rows`.
        max_events: The most events that can reach one output position in one step.
    """

    lanes: tuple[int, ...]
    n_channels: int
    chunks: Ints
    tap_starts: Ints
    sites: npt.NDArray[np.int32]
    bases: npt.NDArray[np.int32]
    rows: Array
    block_size: int
    max_events: int


def make_gather(
    terms: tuple[Term, ...],
    n_positions: int,
    n_channels: int,
    place: Callable[[Sites], int],
    stride: int,
) -> Gather:
    """Compile the terms of a layer.

    Args:
        terms: What adds to its currents.
        n_positions: Output positions.
        n_channels: Output channels.
        place: Number of the first site.
        stride: Entries of the offsets per site.

    Raises:
        SimulationError: A block of weights is larger than 2 GiB.
    """
    width = next((width for width in WIDTHS if n_channels <= width), WIDTHS[-1])
    n_blocks = -(-n_channels // width)
    sets: dict[tuple[bytes, ...], int] = {}
    taps: list[tuple[Ints, Ints, Ints]] = []
    blocks: list[Array] = []
    set_of_block = []
    for block in range(n_blocks):
        low, high = block * width, min(n_channels, (block + 1) * width)
        weights = [term.rows(low, high) for term in terms]
        used = [_used_words(rows) for rows in weights]
        key = tuple(words.tobytes() for words in used)
        if key not in sets:
            sets[key] = len(sets)
            taps.append(_make_taps(terms, used, n_positions, place, stride))
        set_of_block.append(sets[key])
        rows = [_pack(part, words, width) for part, words in zip(weights, used, strict=True)]
        blocks.append(np.concatenate([np.zeros((1, width), np.float32), *rows]))
    block_rows = max(map(len, blocks))
    if block_rows * width * 4 > 2**31 - 1:
        raise SimulationError(
            f"weights of {block_rows} rows of {width} channels: more than 2 GiB in one block",
            hint="use --engine reference",
        )
    packed = aligned((n_blocks, block_rows, width), np.float32)
    for block, block_weights in enumerate(blocks):
        packed[block, : len(block_weights)] = block_weights
    starts, first = [], 0
    for counts, _, _ in taps:
        starts.append(first + np.concatenate([[0], np.cumsum(counts)]))
        first = int(starts[-1][-1])
    per_chunk = max(1, CACHED // (block_rows * width * 4))
    sites = np.concatenate([found[1] for found in taps])
    bases = np.concatenate([found[2] for found in taps]) * (width * 4)
    return Gather(
        (0,) * width,
        n_blocks * width,
        _make_chunks(set_of_block, per_chunk),
        np.array(starts, np.int64).reshape(len(taps), n_positions + 1),
        sites.astype(np.int32),
        bases.astype(np.int32),
        packed.reshape(-1),
        block_rows * width,
        _max_events(terms),
    )


def aligned(shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """Return zeros that begin at a cache line."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    result: npt.NDArray[Any] = raw[start : start + size].view(dtype).reshape(shape)
    return result


def _used_words(rows: Array) -> npt.NDArray[np.bool_]:
    """Which words of channels [K, C_in, width] have a weight that is not zero."""
    active = (rows != 0).any(axis=(0, 2))
    filled = np.pad(active, (0, -len(active) % WORD))
    return np.asarray(filled.reshape(-1, WORD).any(axis=1))


def _channels_of(words: npt.NDArray[np.bool_], n_channels: int) -> Ints:
    return np.flatnonzero(np.repeat(words, WORD)[:n_channels])


def _pack(rows: Array, words: npt.NDArray[np.bool_], width: int) -> Array:
    """Return the rows of the words in use, kernel by kernel, filled up to `width` columns."""
    chosen = rows[:, _channels_of(words, rows.shape[1])].reshape(-1, rows.shape[2])
    return np.pad(chosen, ((0, 0), (0, width - rows.shape[2])))


def _make_taps(
    terms: tuple[Term, ...],
    used: list[npt.NDArray[np.bool_]],
    n_positions: int,
    place: Callable[[Sites], int],
    stride: int,
) -> tuple[Ints, Ints, Ints]:
    """Return the number of taps per output position, and site and first row of every tap."""
    outputs, sites, bases = [], [], []
    first_row = 1  # behind the row of zeros
    for term, words in zip(terms, used, strict=True):
        n_rows = len(_channels_of(words, term.sites.n_channels))
        width = n_words(term.sites.n_channels)
        for rank, word in enumerate(np.flatnonzero(words)):
            outputs.append(term.outputs)
            sites.append((place(term.sites) + term.positions * width + word) * stride)
            bases.append(first_row + term.kernels * n_rows + rank * WORD)
        first_row += n_rows * term.n_kernels
    empty = np.empty(0, np.int64)
    flat_outputs = np.concatenate([*outputs, empty])
    order = np.argsort(flat_outputs, kind="stable")
    counts = np.bincount(flat_outputs, minlength=n_positions)
    return counts, np.concatenate([*sites, empty])[order], np.concatenate([*bases, empty])[order]


def _make_chunks(set_of_block: list[int], per_chunk: int) -> Ints:
    """Group neighboring blocks that share taps and whose weights fit into the cache together."""
    chunks: list[list[int]] = []
    for block, tap_set in enumerate(set_of_block):
        last = chunks[-1] if chunks else None
        if last and last[0] == tap_set and last[2] == block and block - last[1] < per_chunk:
            last[2] = block + 1
        else:
            chunks.append([tap_set, block, block + 1])
    return np.array(chunks, np.int64)


def _max_events(terms: tuple[Term, ...]) -> int:
    """The most events that can reach one output position in one step."""
    total = 0
    for term in terms:
        if len(term.outputs):
            per_position = np.diff(term.sites.first_source)[term.positions]
            most = np.bincount(term.outputs, weights=per_position).max()
            total += int(most) * term.sites.n_channels
    return total
