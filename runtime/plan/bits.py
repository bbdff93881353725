"""Layers whose weights are bits: a scale per output channel times +1, -1 or 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from .layouts import aligned, mask_places
from .memory import Arena
from .terms import Term
from .views import WORD, Ints, n_words, split_shape

WIDTHS = (16, 32)
"""Channels of a block."""
MIN_FAN_IN = 64
"""Connections of a neuron below which additions are as fast."""
MAX_SOURCES = 4
"""Positions that a pooling may add up; each is looked at by itself."""
MAX_WORDS = 2**12
"""Words that a neuron may see."""
CHUNK = 64
"""Channels whose weights are unpacked at a time."""

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Bits:
    """Taps and weights as `kernels.bits.fire_bits` takes them.

    Attributes:
        lanes: Its length is the number of channels in a block.
        planes: Its length is 1 if no weight is zero, else 2.
        n_channels: C_out, filled up to whole blocks.
        step_words: Words from one step to the next of the layer that is seen.
        taps: [taps, 3].
        tap_starts: [positions + 1].
        n_words: Of a patch.
        weights: Flat, aligned.
        scale: [channels].
    """

    lanes: tuple[int, ...]
    planes: tuple[int, ...]
    n_channels: int
    step_words: int
    taps: Ints
    tap_starts: Ints
    n_words: int
    weights: Words
    scale: Array
    is_split: bool = False


def make_bits(terms: tuple[Term, ...], shape: tuple[int, ...], arena: Arena) -> Bits | None:
    """Compile the terms of a layer of `shape` if their weights are bits; else return None."""
    if len(terms) != 1:
        return None
    (term,) = terms
    sites = term.sites
    if sites.are_levels:
        return None
    n_sources = int(np.diff(sites.first_source).max(initial=0))
    n_slots = term.n_kernels * n_sources
    per_word = max(1, WORD // sites.n_channels)
    words = n_words(sites.n_channels)
    n_seen = -(-n_slots // per_word) * words
    if not 1 <= n_sources <= MAX_SOURCES or n_seen > MAX_WORDS:
        return None
    _, n_channels = split_shape(shape)
    scale, planes, n_used = [], [], 0
    for low in range(0, n_channels, CHUNK):
        rows = term.rows(low, min(n_channels, low + CHUNK))  # [K, C_in, channels]
        magnitudes = np.abs(rows)
        scale.append(magnitudes.max(axis=(0, 1)))
        if not ((magnitudes == scale[-1]) | (rows == 0)).all():
            return None
        n_used += int(np.count_nonzero(rows))
        signs = np.stack([rows > 0, rows < 0])
        planes.append(_pack(np.repeat(signs, n_sources, axis=1), per_word, words))
    fan_in = term.n_kernels * sites.n_channels
    if fan_in < MIN_FAN_IN or 2 * n_used < fan_in * n_channels:
        return None
    bits = np.concatenate(planes, axis=2)  # [planes, words, channels]
    n_planes = 1 if n_used == fan_in * n_channels else 2
    width = WIDTHS[0] if n_channels <= WIDTHS[0] else WIDTHS[-1]
    n_blocks = -(-n_channels // width)
    weights = aligned((n_blocks, n_seen, n_planes, width), np.uint64)
    factors = aligned((n_blocks * width,), np.float32)
    factors[:n_channels] = np.concatenate(scale) / np.float32(term.divisor)
    for block in range(n_blocks):
        chosen = bits[:n_planes, :, block * width : (block + 1) * width]
        weights[block, :, :, : chosen.shape[2]] = chosen.transpose(1, 0, 2)
    taps, starts = _make_taps(term, n_sources, per_word, words, split_shape(shape)[0], arena)
    arena.n_patch_words = max(arena.n_patch_words, (n_seen + 1) * arena.n_steps)
    return Bits(
        (0,) * width,
        (0,) * n_planes,
        n_blocks * width,
        _layer_length(term) * words,
        taps,
        starts,
        n_seen,
        weights.reshape(-1),
        factors,
    )


def _layer_length(term: Term) -> int:
    shape = term.sites.layer_shape
    return shape[-1] if len(shape) > 1 else 1


def _pack(signs: npt.NDArray[np.bool_], per_word: int, words: int) -> Words:
    """Return [planes, slots, C_in, channels] as words [planes, words of a patch, channels]."""
    n_planes, n_slots, n_in, n_channels = signs.shape
    slots = np.pad(signs, ((0, 0), (0, -n_slots % per_word), (0, 0), (0, 0)))
    together = slots.reshape(n_planes, -1, per_word * n_in, n_channels)
    filled = np.pad(together, ((0, 0), (0, 0), (0, words * WORD - per_word * n_in), (0, 0)))
    by_word = filled.reshape(n_planes, -1, WORD, n_channels).transpose(0, 1, 3, 2)
    packed = np.packbits(by_word, axis=3, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8")[..., 0].astype(np.uint64)


def _make_taps(
    term: Term, n_sources: int, per_word: int, words: int, n_positions: int, arena: Arena
) -> tuple[Ints, Ints]:
    """Return taps by output position, and where those of each begin."""
    sites = term.sites
    counts = np.diff(sites.first_source)[term.positions]
    link = np.repeat(np.arange(len(counts)), counts)
    rank = np.arange(len(link)) - np.repeat(np.cumsum(counts) - counts, counts)
    source = sites.sources[sites.first_source[term.positions][link] + rank]
    slot = term.kernels[link] * n_sources + rank
    place = arena.layers[sites.layer] + mask_places(sites.layer_shape, arena.n_steps)[source]
    word = np.arange(words)
    shift = slot % per_word * sites.n_channels
    columns = (
        place[:, None] + word,
        (slot // per_word * words)[:, None] + word,
        shift[:, None] + 0 * word,
    )
    taps = np.stack([column.reshape(-1) for column in columns], axis=1)
    output = np.repeat(term.outputs[link], words)
    order = np.lexsort((taps[:, 1], output))
    starts = np.concatenate([[0], np.cumsum(np.bincount(output, minlength=n_positions))])
    return np.ascontiguousarray(taps[order]), starts.astype(np.int64)
