"""Gather: the terms of one layer as the arrays that the kernels read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from ..kernels.shape import n_together
from .layouts import aligned, mask_places
from .memory import Arena
from .terms import Columns, Term
from .views import MAX_LEVEL, MAX_SIGNED, WORD, Ints, line_length, n_words, split_shape

WIDTHS = (16, 32, 64)
"""Channels of a block: one, two or four vectors of AVX-512."""
MAX_SWEPT_WIDTH = 32
"""Likewise where a line is swept: three blocks of sums are then held in registers."""
MAX_SWEPT = 320
"""Sums that are held at once; a larger reach is not swept."""
MAX_WASTE = 1.6
"""How many additions a sweep may cost for one that is needed."""
CACHED = 2**16
"""Bytes of weight rows that are hoped to stay in the first-level cache."""
CROSSOVERS = ((2**17, 0.38), (3 * 2**14, 0.6), (0, 2.0))
"""Bytes of a block of rows, and the part of them above which all are added rather than events: the
farther away rows lie, the less pays to pick some. Measured on Zen 5; no spike depends on it."""
MAX_ROWS = 2**16 - WORD
"""Rows that events of one pass can tell apart."""


@dataclass(frozen=True, eq=False)
class Gather:
    """Taps and weight rows; the arrays are described in `kernels.events.fire`.

    Attributes:
        lanes: Its length is the number of channels in a block.
        reach: Its length is how many outputs a column reaches.
        counted: Not empty if events stand for several spikes.
        n_channels: C_out, filled up to whole blocks.
        taps: [taps, 5].
        tap_starts: [columns + 1].
        lines: [lines, 4].
        sets: [sets, 4].
        values: [256].
        rows: Flat, aligned.
        block_size: Entries of one block of `rows`.
        is_split: Lines complete an output several times: currents have to be added up.
        together: Its length is the number of steps that the kernel for many spikes does at a time;
            empty if it would add up in another order, or has no room for sums.
        n_rows: Rows of a block.
        sources: Layers whose spikes are seen, each with the most positions that are added up.
    """

    lanes: tuple[int, ...]
    reach: tuple[int, ...]
    counted: tuple[int, ...]
    n_channels: int
    taps: Ints
    tap_starts: Ints
    lines: Ints
    sets: Ints
    values: Array
    rows: Array
    block_size: int
    is_split: bool
    together: tuple[int, ...]
    n_rows: int
    sources: tuple[tuple[str, int], ...]

    @property
    def crossover(self) -> float:
        """Return from which density on it is faster to add all rows."""
        return next(part for size, part in CROSSOVERS if 4 * self.block_size >= size)

    def density(self, rates: Mapping[str, float]) -> float:
        """Return which part of the rows has a spike, about, from the layers' firing rates."""
        found = [1 - (1 - rates.get(name, 0.0)) ** n for name, n in self.sources]
        return min(found, default=0.0)


@dataclass(frozen=True)
class _Block:
    """The channels of every term that one block of outputs listens to, and its weight rows."""

    active: tuple[npt.NDArray[np.bool_], ...]
    rows: tuple[Array, ...]

    @property
    def key(self) -> bytes:
        return b"".join(part.tobytes() for part in self.active)


def make_gather(terms: tuple[Term, ...], shape: tuple[int, ...], arena: Arena) -> Gather:
    """Compile the terms of a layer; `shape` is its own. Makes room in `arena` for lists."""
    n_positions, n_channels = split_shape(shape)
    length = line_length(shape)
    reach = _choose_reach(terms, length)
    if reach == 1:
        terms = tuple(replace(term, columns=_one_column(term.n_kernels)) for term in terms)
    widths = [width for width in WIDTHS if reach == 1 or width <= MAX_SWEPT_WIDTH]
    width = next((width for width in widths if n_channels <= width), widths[-1])
    n_blocks = -(-n_channels // width)
    divisors = {term.divisor for term in terms} or {1}
    bytes_ = np.arange(MAX_LEVEL + 1).astype(np.uint8)
    is_signed = arena.max_level == MAX_SIGNED
    values = (bytes_.view(np.int8) if is_signed else bytes_).astype(np.float32)
    factors = [np.float32(1 / term.divisor) for term in terms]
    if len(divisors) == 1:  # dividing the level rounds as the definition of the mean does
        values /= np.float32(divisors.pop())
        factors = [np.float32(1)] * len(terms)
    parts: dict[bytes, int] = {}
    tables: list[_Taps] = []
    sets: list[list[int]] = []
    blocks: list[Array] = []
    n_columns = n_lines = 0
    for number in range(n_blocks):
        high = min(n_channels, (number + 1) * width)
        block = _make_block(terms, factors, number * width, high)
        if block.key not in parts:
            parts[block.key] = len(tables)
            tables.append(_make_taps(terms, block, n_positions, length, reach, width, arena))
        table = parts[block.key]
        blocks.append(_pack(terms, block, reach, width))
        if sets and sets[-1][0] == table:
            sets[-1][2] = number + 1
        else:
            sets.append([table, number, number + 1])
    first_line, found_lines, starts = [], [], [np.zeros(1, np.int64)]
    for taps in tables:
        first_line.append(n_lines)
        found_lines.append(taps.lines + np.array([0, n_columns, 0, 0]))
        starts.append(starts[-1][-1] + np.cumsum(taps.counts))
        n_columns += len(taps.counts)
        n_lines += len(taps.lines)
    first_line.append(n_lines)
    n_rows = max(map(len, blocks))
    packed = aligned((n_blocks, n_rows, reach * width), np.float32)
    for number, rows in enumerate(blocks):
        packed[number, : len(rows)] = rows
    is_split = any(taps.is_split for taps in tables)
    n_group = 0 if is_split else n_together(width, reach)
    n_spread = n_group * (length + reach - 1) * n_rows
    arena.n_spread = max(arena.n_spread, n_spread)
    sources = {
        term.sites.layer: int(np.diff(term.sites.first_source).max(initial=1)) for term in terms
    }
    return Gather(
        (0,) * width,
        (0,) * reach,
        (0,) * any(term.sites in arena.poolings for term in terms),
        n_blocks * width,
        np.concatenate([taps.taps for taps in tables]),
        np.concatenate(starts),
        np.concatenate(found_lines),
        np.array([[first_line[t], first_line[t + 1], low, high] for t, low, high in sets]),
        values,
        packed.reshape(-1),
        n_rows * reach * width,
        is_split,
        (0,) * n_group,
        n_rows,
        tuple(sources.items()),
    )


def _one_column(n_kernels: int) -> Columns:
    return Columns(np.zeros(n_kernels, np.int64), np.arange(n_kernels))


def _columns(term: Term) -> Columns:
    return term.columns or _one_column(term.n_kernels)


def _choose_reach(terms: tuple[Term, ...], length: int) -> int:
    """Return how many outputs a column is to reach; 1 if sweeping would cost more than it saves."""
    reach, swept, gathered = 1, 0, 0
    for term in terms:
        if term.columns is None:
            return 1
        reach = max(reach, int(term.columns.shifts.max()) + 1)
        swept += term.columns.n_rows * term.sites.n_channels
        gathered += term.n_kernels * term.sites.n_channels
    waste = swept * reach * (length + reach - 1) / max(1, gathered * length)
    return reach if reach * MAX_SWEPT_WIDTH <= MAX_SWEPT and waste <= MAX_WASTE else 1


def _make_block(terms: tuple[Term, ...], factors: list[np.float32], low: int, high: int) -> _Block:
    rows = tuple(term.rows(low, high) * factor for term, factor in zip(terms, factors, strict=True))
    active = tuple((weights != 0).any(axis=(0, 2)) for weights in rows)
    if all(2 * np.count_nonzero(part) >= len(part) for part in active):
        active = tuple(np.ones_like(part) for part in active)
    return _Block(active, rows)


def _words(active: npt.NDArray[np.bool_]) -> tuple[Ints, npt.NDArray[np.uint64]]:
    """Return the words that have an active channel, and a mask of these channels for each."""
    filled = np.pad(active, (0, -len(active) % WORD)).reshape(-1, WORD)
    used = np.flatnonzero(filled.any(axis=1))
    bytes_ = np.packbits(filled[used], axis=1, bitorder="little")
    return used, np.ascontiguousarray(bytes_).view("<u8").reshape(-1).astype(np.uint64)


def _chosen_channels(active: npt.NDArray[np.bool_]) -> Ints:
    """Return the channels of the words in use."""
    used, _ = _words(active)
    channels: Ints = (used[:, None] * WORD + np.arange(WORD)).reshape(-1)
    return channels[channels < len(active)]


def _pack(terms: tuple[Term, ...], block: _Block, reach: int, width: int) -> Array:
    """Return the rows of the words in use, [rows, reach * width], term by term, row by row."""
    packed = [np.zeros((0, reach * width), np.float32)]
    for term, weights, active in zip(terms, block.rows, block.active, strict=True):
        channels = _chosen_channels(active)
        columns = _columns(term)
        n_rows = columns.n_rows
        filled = np.zeros((n_rows, len(channels), reach, width), np.float32)
        for kernel, (row, shift) in enumerate(zip(columns.rows, columns.shifts, strict=True)):
            slot = filled[row, :, reach - 1 - shift]
            slot[:, : weights.shape[2]] = weights[kernel, channels]
        packed.append(filled.reshape(-1, reach * width))
    return np.concatenate(packed)


@dataclass(frozen=True, eq=False)
class _Taps:
    """Taps of the blocks that listen to the same channels.

    Attributes:
        taps: As Gather has them.
        counts: Taps per column.
        lines: As Gather has them, columns counted from the first of these.
        is_split: Whether there are several passes.
    """

    taps: Ints
    counts: Ints
    lines: Ints
    is_split: bool


def _make_taps(
    terms: tuple[Term, ...],
    block: _Block,
    n_positions: int,
    length: int,
    reach: int,
    width: int,
    arena: Arena,
) -> _Taps:
    """Return the taps; rows are split into passes where they would leave the cache."""
    line_columns = length + reach - 1
    n_columns = n_positions // length * line_columns
    found, sizes = [np.empty((0, 6), np.int64)], []
    first_row = 0
    for term, active in zip(terms, block.active, strict=True):
        columns = _columns(term)
        used, masks = _words(active)
        n_channels = len(_chosen_channels(active))
        n_rows = columns.n_rows
        line, place = np.divmod(term.outputs, length)
        column = line * line_columns + place + columns.shifts[term.kernels]
        row = columns.rows[term.kernels]
        once = np.unique(np.stack([column, row, term.positions], axis=1), axis=0)
        words = n_words(term.sites.n_channels)
        stride = term.sites.line_length * words
        shape = (1, term.sites.n_positions // term.sites.line_length, term.sites.line_length)
        places = arena.first_word(term.sites) + mask_places(shape, arena.n_steps) * words
        for rank, (word, mask) in enumerate(zip(used, masks, strict=True)):
            first = first_row + once[:, 1] * n_channels + rank * WORD
            one = np.ones_like(first)
            n_bytes = -(-int(mask).bit_length() // 8)
            entries = [places[once[:, 2]] + word, stride * one, first, n_bytes * one]
            bits = one * np.array(mask, np.uint64).view(np.int64)
            found.append(np.stack([once[:, 0], *entries, bits], axis=1))
        last = n_channels - WORD * (len(used) - 1)
        sizes += ([WORD] * (len(used) - 1) + [last]) * n_rows if len(used) else []
        first_row += n_rows * n_channels
    taps = np.concatenate(found)
    first_rows = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)
    is_large = n_positions == 1 and first_row * width * 4 > CACHED
    limit = max(WORD, CACHED // 2 // (4 * width)) if is_large else MAX_ROWS
    pass_rows = _split(first_rows, sizes, limit)
    number = np.searchsorted(pass_rows, taps[:, 3], side="right") - 1
    taps[:, 3] -= pass_rows[number]
    taps[:, 0] += number * n_columns
    taps = taps[np.lexsort((taps[:, 3], taps[:, 0]))]
    counts = np.bincount(taps[:, 0], minlength=len(pass_rows) * n_columns)
    n_lines = n_columns // line_columns
    first_column = np.arange(0, len(counts), line_columns)
    lines = np.stack(
        [
            np.tile(np.arange(n_lines), len(pass_rows)),
            first_column,
            np.full_like(first_column, line_columns),
            np.repeat(pass_rows, n_lines) * reach * width,
        ],
        axis=1,
    )
    per_line = counts.reshape(-1, line_columns).sum(axis=1)
    arena.n_ids = max(arena.n_ids, int(per_line.max()) * WORD)
    arena.n_offsets = max(arena.n_offsets, (line_columns + 1) * arena.n_steps)
    if len(pass_rows) > 1:
        lines = lines[per_line > 0]
    return _Taps(taps[:, 1:], counts, lines, len(pass_rows) > 1)


def _split(first_rows: Ints, sizes: list[int], limit: int) -> Ints:
    """Return the first row of every pass, of at most `limit` rows if no word has more."""
    passes = [0]
    for first, size in zip(first_rows, sizes, strict=True):
        if first + size - passes[-1] > limit:
            passes.append(int(first))
    return np.array(passes, np.int64)
