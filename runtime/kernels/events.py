"""Kernels of the event engine: from spike masks to lists of events, and from lists to spikes.

A layer's spikes are masks [lines, steps, sites of a line]. A *line* is what the last spatial axis
runs along; its *sites* are its positions, each with one word per 64 channels: bit c of word w
stands for channel 64 w + c. The events of a site at one step are its set bits, as the numbers
position in the line * channels + channel, uint16. All events of a line and step lie one after the
other, and `offsets` [lines, steps, sites] says where those of a site begin, so that one pair of
offsets cuts out the events of a whole run of sites. Such a run is a *tap* of an output position:
an event e adds row `base + e` of the weights to the currents of `len(lanes)` output channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from .lists import append_places, count_bits, list_rows
from .neurons import add_rows, fire_steps, integrate_fire


def _byte_places() -> npt.NDArray[np.uint16]:
    """Places of the set bits of every byte, lowest first, [256 * 8]."""
    places = np.zeros((256, 8), np.uint16)
    for byte in range(256):
        found = [bit for bit in range(8) if byte >> bit & 1]
        places[byte, : len(found)] = found
    return places.reshape(-1)


BYTE_PLACES = _byte_places()


@njit(cache=True, nogil=True, boundscheck=False)
def list_events(
    masks, step_words, sources, first_source, n_bytes, numbers, table, n_steps, n_steps_stored,
    data, first_event, offsets, fan_outs, operations, active,
):  # fmt: skip
    """Write the events of all sites of one layer, and count synaptic operations.

    Args:
        masks: uint64, flat.
        step_words: Words between two steps.
        sources: int64: places of the masks, at step 0, that a site adds up.
        first_source: int64 [sites + 1]: where a site's sources begin.
        n_bytes: int64 [sites of a line]: bytes of a mask that can hold spikes.
        numbers: uint16 [sites of a line]: number of a site's first channel.
        table: BYTE_PLACES.
        n_steps: Steps to do.
        n_steps_stored: Steps that the offsets have room for.
        data: uint16, for the events of all layers.
        first_event: Where those of this layer begin.
        offsets: int32 [lines * n_steps_stored * sites of a line + 1].
        fan_outs: int64 [consumers, sites]: connections that leave an entry of the site.
        operations: int64 [consumers, steps]; synaptic operations are added.
        active: int64 [sites of a line] scratch.
    """
    n_sites = len(n_bytes)
    n_consumers = len(fan_outs)
    end = first_event
    for line in range((len(first_source) - 1) // n_sites):
        for step in range(n_steps):
            place = (line * n_steps_stored + step) * n_sites
            shift = step * step_words
            for number in range(n_sites):
                site = line * n_sites + number
                offsets[place + number] = end
                union = np.uint64(0)
                for source in range(first_source[site], first_source[site + 1]):
                    mask = masks[sources[source] + shift]
                    union |= mask
                    end = append_places(table, mask, n_bytes[number], numbers[number], data, end)
                active[number] = count_bits(union)
            offsets[place + n_sites] = end
            for consumer in range(n_consumers):
                fan_out = fan_outs[consumer]
                first = line * n_sites
                total = 0
                for number in range(n_sites):
                    total += active[number] * fan_out[first + number]
                operations[consumer, step] += total


@njit(cache=True, nogil=True, boundscheck=False, inline="always")
def _list_rows(first, last, taps, data, offsets, row_size, n_steps, index, starts):
    """List the byte offsets of the rows to add, step by step."""
    end = 0
    for step in range(n_steps):
        starts[step] = end
        end = list_rows(taps, first, last, offsets, step, data, np.int32(row_size), index, end)
    starts[n_steps] = end


@njit(cache=True, nogil=True, boundscheck=False)
def fire(
    chunks, tap_starts, taps, data, offsets, rows, block_size, bias, bias_stride,
    bias_step_stride, n_steps, index, starts, potential, threshold, threshold_stride, to_zero,
    masks, n_steps_stored, n_words, line_length, lanes,
):  # fmt: skip
    """Integrate and fire all neurons of one layer for `n_steps` steps.

    Args:
        chunks: int64 [chunks, 3]: a set of taps and the range of channel blocks that use it.
        tap_starts: int64 [sets, positions + 1]: where the taps of an output position begin.
        taps: int32 [taps * 4]: place of the first site's offset, number of sites, offsets between
            two steps, and the byte offset in a block of rows that events are counted from.
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
        line_length: Positions of a line.
        lanes: Tuple; its length is the number of channels in a block.

    Returns:
        Number of spikes.
    """
    width = len(lanes)
    n_positions = tap_starts.shape[1] - 1
    n_channels = len(potential) // n_positions
    n_fired = 0
    step_bytes = line_length * n_words * 8
    for chunk in range(len(chunks)):
        of_position = tap_starts[chunks[chunk, 0]]
        for position in range(n_positions):
            first, last = of_position[position], of_position[position + 1]
            _list_rows(first, last, taps, data, offsets, 4 * width, n_steps, index, starts)
            for block in range(chunks[chunk, 1], chunks[chunk, 2]):
                channel = block * width
                place = position * n_channels + channel
                current = position * bias_stride + channel
                limit = position * threshold_stride + channel
                line, place_in_line = divmod(position, line_length)
                mask = line * n_steps_stored * line_length + place_in_line
                mask = mask * n_words * 8 + channel // 8
                block_rows = block * block_size
                for step in range(n_steps):
                    start = starts[step]
                    n_rows = starts[step + 1] - start
                    n_fired += integrate_fire(
                        bias, current + step * bias_step_stride, rows, block_rows, index, start,
                        n_rows, potential, place, threshold, limit, to_zero,
                        masks, mask + step * step_bytes, lanes,
                    )  # fmt: skip
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def fire_constant(
    n_positions, bias, bias_stride, n_steps, potential, threshold, threshold_stride, to_zero,
    masks, n_steps_stored, n_words, line_length, rows, index, lanes,
):  # fmt: skip
    """As `fire`, for a layer that no events reach and whose current is the same at every step.

    The arguments are those of `fire`; nothing is read from `rows` and `index`.
    """
    width = len(lanes)
    together = max(1, 128 // width)  # as n_side_by_side
    n_channels = len(potential) // n_positions
    step_bytes = line_length * n_words * 8
    n_fired = 0
    for line in range(n_positions // line_length):
        line_masks = line * n_steps_stored * step_bytes
        for channel in range(0, n_channels, width):
            number = 0
            while number < line_length:
                position = line * line_length + number
                place = position * n_channels + channel
                current = position * bias_stride + channel
                limit = position * threshold_stride + channel
                mask = line_masks + number * n_words * 8 + channel // 8
                if number + together <= line_length:
                    n_fired += fire_steps(
                        bias, current, bias_stride, potential, place, n_channels, threshold, limit,
                        threshold_stride, to_zero, masks, mask, n_words * 8, step_bytes, n_steps,
                        lanes,
                    )  # fmt: skip
                    number += together
                    continue
                for step in range(n_steps):
                    n_fired += integrate_fire(
                        bias, current, rows, 0, index, 0, 0, potential, place, threshold, limit,
                        to_zero, masks, mask + step * step_bytes, lanes,
                    )  # fmt: skip
                number += 1
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def add_currents(
    chunks, tap_starts, taps, data, offsets, rows, block_size, bias, bias_stride,
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
        of_position = tap_starts[chunks[chunk, 0]]
        for position in range(n_positions):
            first, last = of_position[position], of_position[position + 1]
            _list_rows(first, last, taps, data, offsets, 4 * width, n_steps, index, starts)
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
