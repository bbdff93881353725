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
MAX_BLOCK = 2**31 - 1
"""Bytes of a block of weight rows, which a signed 32-bit offset must reach."""
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
        taps: [taps * 4].
        rows: Flat, aligned.
        block_size: Entries of one block of `rows`.
        max_events: The most events that can reach one output position in one step.
    """

    lanes: tuple[int, ...]
    n_channels: int
    chunks: Ints
    tap_starts: Ints
    taps: npt.NDArray[np.int32]
    rows: Array
    block_size: int
    max_events: int


def make_gather(
    terms: tuple[Term, ...],
    n_positions: int,
    n_channels: int,
    place: Callable[[Sites], int],
    n_steps: int,
) -> Gather:
    """Compile the terms of a layer.

    Args:
        terms: What adds to its currents.
        n_positions: Output positions.
        n_channels: Output channels.
        place: Place of the first offset of sites.
        n_steps: Steps of a block.

    Raises:
        SimulationError: A block of weights is larger than MAX_BLOCK.
    """
    width = next((width for width in WIDTHS if n_channels <= width), WIDTHS[-1])
    n_blocks = -(-n_channels // width)
    sets: dict[tuple[bytes, ...], int] = {}
    taps: list[tuple[Ints, Ints]] = []
    blocks: list[Array] = []
    set_of_block = []
    for block in range(n_blocks):
        low, high = block * width, min(n_channels, (block + 1) * width)
        weights = [term.rows(low, high) for term in terms]
        used = [_used_words(rows) for rows in weights]
        key = tuple(words.tobytes() for words in used)
        if key not in sets:
            sets[key] = len(sets)
            taps.append(_make_taps(terms, used, n_positions, place, n_steps))
        set_of_block.append(sets[key])
        rows = [_pack(part, words, width) for part, words in zip(weights, used, strict=True)]
        blocks.append(np.concatenate([np.zeros((1, width), np.float32), *rows]))
    block_rows = max(map(len, blocks))
    if block_rows * width * 4 > MAX_BLOCK:
        raise SimulationError(
            f"weights: {block_rows} rows of {width} channels: more than {MAX_BLOCK} bytes in one "
            "block",
            hint="use --engine reference",
        )
    packed = aligned((n_blocks, block_rows, width), np.float32)
    for block, block_weights in enumerate(blocks):
        packed[block, : len(block_weights)] = block_weights
    starts, first = [], 0
    for counts, _ in taps:
        starts.append(first + np.concatenate([[0], np.cumsum(counts)]))
        first = int(starts[-1][-1])
    per_chunk = max(1, CACHED // (block_rows * width * 4))
    all_taps = np.concatenate([found[1] for found in taps])
    all_taps[:, 3] *= width * 4
    return Gather(
        (0,) * width,
        n_blocks * width,
        _make_chunks(set_of_block, per_chunk),
        np.array(starts, np.int64).reshape(len(taps), n_positions + 1),
        all_taps.astype(np.int32).reshape(-1),
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
    n_steps: int,
) -> tuple[Ints, Ints]:
    """Return the number of taps per output position, and the taps [taps, 4], bases in rows."""
    found = [np.empty((0, 5), np.int64)]
    first_row = 1  # behind the row of zeros
    for term, words in zip(terms, used, strict=True):
        sites, n_rows = term.sites, len(_channels_of(words, term.sites.n_channels))
        n_site_words = n_words(sites.n_channels)
        line, position = np.divmod(term.positions, sites.line_length)
        stride = sites.line_length * n_site_words
        first = place(sites) + line * n_steps * stride + position * n_site_words
        for rank, word in enumerate(np.flatnonzero(words)):
            base = first_row + term.kernels * n_rows + rank * WORD
            number = position * sites.n_channels + word * WORD
            one = np.ones_like(first)
            found.append(
                np.stack([term.outputs, first + word, one, stride * one, base - number], axis=1)
            )
        first_row += n_rows * term.n_kernels
    return _merge_runs(np.concatenate(found), n_positions)


def _merge_runs(taps: Ints, n_positions: int) -> tuple[Ints, Ints]:
    """Join the taps of an output position that follow one another in a line and in the rows.

    Args:
        taps: [taps, 5]: output position, and the four entries of a tap.
        n_positions: Output positions.

    Returns:
        As `_make_taps`.
    """
    taps = taps[np.lexsort((taps[:, 1], taps[:, 0]))]
    before, after = taps[:-1], taps[1:]
    follows = (before[:, 1] + 1 == after[:, 1]) & (before[:, [0, 3, 4]] == after[:, [0, 3, 4]]).all(
        axis=1
    )
    starts = np.flatnonzero(np.concatenate([[True], ~follows])[: len(taps)])
    merged = taps[starts]
    merged[:, 2] = np.diff(np.concatenate([starts, [len(taps)]]))
    return np.bincount(merged[:, 0], minlength=n_positions), merged[:, 1:]


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
