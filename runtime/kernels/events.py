"""Kernels of the event engine: from spike masks to lists of events, and from lists to spikes.

A layer's spikes are masks [positions, steps, words]: bit c of word w stands for channel 64 w + c.
A *site* is one word of one position, or of the positions that a pooling adds up; its events at
step t are the places of the set bits, a byte each: data[offsets[site, t] : offsets[site, t + 1]].
A *tap* connects a site to an output position: bit c adds row `base + c` of the weights to the
currents of a block of `len(lanes)` output channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from .vectors import add_rows, append_places, count_bits, integrate_fire, list_rows


def _byte_places() -> npt.NDArray[np.uint64]:
    """Places of the set bits of every byte, one per byte of a word, lowest first."""
    places = [[bit for bit in range(8) if byte >> bit & 1] for byte in range(256)]
    return np.array([sum(b << (8 * n) for n, b in enumerate(found)) for found in places], np.uint64)


BYTE_PLACES = _byte_places()


@njit(cache=True, nogil=True, boundscheck=False)
def list_events(
    masks, n_words, sources, first_source, n_bytes, table, n_steps, data, first_byte, offsets,
    fan_outs, operations, active,
):  # fmt: skip
    """Write the events of all sites of one layer, and count synaptic operations.

    Args:
        masks: uint64 [positions * steps * words], flat.
        n_words: Words between two steps.
        sources: int64: offsets of the masks, at step 0, that a site adds up.
        first_source: int64 [sites + 1]: where a site's sources begin.
        n_bytes: int64 [sites]: bytes of a mask that can hold spikes.
        table: BYTE_PLACES.
        n_steps: Steps to do.
        data: uint8, for the events of all layers.
        first_byte: Where those of this layer begin.
        offsets: int64 [sites, steps + 1].
        fan_outs: int64 [consumers, sites]: connections that leave an entry of the site.
        operations: int64 [consumers, steps]; synaptic operations are added.
        active: int64 [steps] scratch.
    """
    end = first_byte
    for site in range(len(n_bytes)):
        first, last, used = first_source[site], first_source[site + 1], n_bytes[site]
        for step in range(n_steps):
            offsets[site, step] = end
            union = np.uint64(0)
            for source in range(first, last):
                mask = masks[sources[source] + step * n_words]
                union |= mask
                end = append_places(table, mask, used, data, end)
            active[step] = count_bits(union)
        offsets[site, n_steps] = end
        for consumer in range(len(fan_outs)):
            fan_out = fan_outs[consumer, site]
            for step in range(n_steps):
                operations[consumer, step] += active[step] * fan_out


@njit(cache=True, nogil=True, boundscheck=False, inline="always")
def _list_rows(first, last, sites, bases, data, offsets, row_size, n_steps, index, starts):
    """List the byte offsets of the rows to add, step by step."""
    end = 0
    for step in range(n_steps):
        starts[step] = end
        end = list_rows(
            sites, bases, first, last, offsets, step, data, np.int32(row_size), index, end
        )
    starts[n_steps] = end


@njit(cache=True, nogil=True, boundscheck=False)
def fire(
    chunks, tap_starts, sites, bases, data, offsets, rows, block_size, bias, bias_stride,
    bias_step_stride, n_steps, index, starts, potential, threshold, threshold_stride, to_zero,
    masks, n_steps_stored, n_words, lanes,
):  # fmt: skip
    """Integrate and fire all neurons of one layer for `n_steps` steps.

    Args:
        chunks: int64 [chunks, 3]: a set of taps and the range of channel blocks that use it.
        tap_starts: int64 [sets, positions + 1]: where the taps of an output position begin.
        sites: int32: entry of the offsets where a tap's site begins.
        bases: int32: byte offset of a tap's first row within a block of rows.
        data: As `list_events` wrote it.
        offsets: Likewise, of all layers, flat.
        rows: float32 [blocks, rows, lanes], flat; the first row of every block is zero.
        block_size: Entries of one block of `rows`.
        bias: float32: current that does not come from events, [channels] or more.
        bias_stride: Its entries from one position to the next, or 0.
        bias_step_stride: Its entries from one step to the next, or 0.
        n_steps: Steps to do.
        index: int32 scratch.
        starts: int64 [steps + 1] scratch.
        potential: float32 [positions, channels], flat, updated.
        threshold: float32, [positions or 1, channels], flat.
        threshold_stride: As bias_stride.
        to_zero: Reset to zero instead of by subtraction.
        masks: uint8 view of the uint64 masks to write.
        n_steps_stored: Steps that the masks have room for.
        n_words: Words per position and step.
        lanes: Tuple; its length is the number of channels in a block.

    Returns:
        Number of spikes.
    """
    width = len(lanes)
    n_positions = tap_starts.shape[1] - 1
    n_channels = len(potential) // n_positions
    n_fired = 0
    for chunk in range(len(chunks)):
        taps = tap_starts[chunks[chunk, 0]]
        for position in range(n_positions):
            first, last = taps[position], taps[position + 1]
            _list_rows(first, last, sites, bases, data, offsets, 4 * width, n_steps, index, starts)
            for block in range(chunks[chunk, 1], chunks[chunk, 2]):
                channel = block * width
                place = position * n_channels + channel
                current = position * bias_stride + channel
                limit = position * threshold_stride + channel
                mask = position * n_steps_stored * n_words * 8 + channel // 8
                block_rows = block * block_size
                for step in range(n_steps):
                    start = starts[step]
                    n_rows = starts[step + 1] - start
                    n_fired += integrate_fire(
                        bias, current + step * bias_step_stride, rows, block_rows, index, start,
                        n_rows, potential, place, threshold, limit, to_zero,
                        masks, mask + step * n_words * 8, lanes,
                    )  # fmt: skip
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def add_currents(
    chunks, tap_starts, sites, bases, data, offsets, rows, block_size, bias, bias_stride,
    bias_step_stride, n_steps, index, starts, out, lanes,
):  # fmt: skip
    """Write the currents of a layer without neurons to out, float32 [steps, positions * channels].

    The other arguments are those of `fire`.
    """
    width = len(lanes)
    n_positions = tap_starts.shape[1] - 1
    n_channels = out.shape[1] // n_positions
    flat = out.reshape(-1)
    for chunk in range(len(chunks)):
        taps = tap_starts[chunks[chunk, 0]]
        for position in range(n_positions):
            first, last = taps[position], taps[position + 1]
            _list_rows(first, last, sites, bases, data, offsets, 4 * width, n_steps, index, starts)
            for block in range(chunks[chunk, 1], chunks[chunk, 2]):
                channel = block * width
                place = position * n_channels + channel
                current = position * bias_stride + channel
                for step in range(n_steps):
                    start = starts[step]
                    n_rows = starts[step + 1] - start
                    add_rows(
                        bias, current + step * bias_step_stride, rows, block * block_size, index,
                        start, n_rows, flat, place + step * out.shape[1], lanes,
                    )  # fmt: skip
