"""Kernels of the event engine: from spike masks to lists of events, and from lists to spikes.

A layer's spikes are masks [lines, steps, positions of a line, words]: bit c of word w stands for
channel 64 w + c. A *line* is what the last spatial axis runs along. For every line of outputs, the
spikes that reach it are listed column by column, see `sweep`: an event is the number of the weights
that it adds, uint16, and where spikes have been added up by a pooling also a level, how many of
them it stands for. What a column lists is said by *taps*: words of masks, each with the number of
its first channel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from .lists import add_masks, append_events, count_bits
from .neurons import fire_steps, fire_steps_here
from .sweep import add_line, fire_line


def _byte_places() -> npt.NDArray[np.uint16]:
    """Places of the set bits of every byte, lowest first, [256 * 8]."""
    places = np.zeros((256, 8), np.uint16)
    for byte in range(256):
        found = [bit for bit in range(8) if byte >> bit & 1]
        places[byte, : len(found)] = found
    return places.reshape(-1)


BYTE_PLACES = _byte_places()
AHEAD = (0,) * 8
"""As many cache lines of the weights of the next line are fetched per step."""


@njit(cache=True, nogil=True, boundscheck=False)
def _list_line(
    masks, source_levels, taps, tap_starts, first_column, n_columns, n_steps, table, ids, levels,
    offsets, room, counted,
):  # fmt: skip
    """List the events of a line: those of column x and step s are offsets[x:x + 2, s] of ids."""
    for step in range(n_steps):
        offsets[step] = step * room
    for number in range(n_columns):
        end = (number + 1) * n_steps
        for step in range(n_steps):
            offsets[end + step] = offsets[end - n_steps + step]
        column = first_column + number
        for tap in range(tap_starts[column], tap_starts[column + 1]):
            append_events(
                table, masks, taps[tap, 0], taps[tap, 1], taps[tap, 2], taps[tap, 3], taps[tap, 4],
                n_steps, ids, offsets, source_levels, levels, end, counted,
            )  # fmt: skip


@njit(cache=True, nogil=True, boundscheck=False)
def _fire_sample(
    masks, source_levels, taps, tap_starts, lines, sets, table, values, n_steps, ids, levels,
    offsets, room, rows, block_size, bias, first_bias, bias_stride, bias_step_stride, potential,
    threshold, threshold_stride, out, first_out, line_length, n_steps_stored, n_words, reset,
    uniform, lanes, reach, counted,
):  # fmt: skip
    """Do what `fire` does, for one sample; within its loop the same takes 8 % longer."""
    width = len(lanes)
    n_channels = potential.shape[1]
    state = potential.reshape(-1)
    step_bytes = 8 * line_length * n_words
    n_fired = 0
    for part in range(len(sets)):
        for line in range(sets[part, 0], sets[part, 1]):
            n_columns = lines[line, 2]
            _list_line(
                masks, source_levels, taps, tap_starts, lines[line, 1], n_columns, n_steps, table,
                ids, levels, offsets, room, counted,
            )  # fmt: skip
            position = lines[line, 0] * line_length
            place = first_out + lines[line, 0] * n_steps_stored * step_bytes
            current = first_bias + position * bias_stride
            for block in range(sets[part, 2], sets[part, 3]):
                channel = block * width
                for step in range(n_steps):
                    n_fired += fire_line(
                        ids, levels, values, offsets, step, n_steps, n_steps, n_columns,
                        rows, block * block_size + lines[line, 3],
                        bias, channel + step * bias_step_stride + current, bias_stride,
                        state, channel + position * n_channels, n_channels,
                        threshold, channel + position * threshold_stride, threshold_stride,
                        out, channel // 8 + place + step * step_bytes, 8 * n_words,
                        reset, uniform, lanes, reach, counted,
                    )  # fmt: skip
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def fire(
    masks, source_levels, taps, tap_starts, lines, sets, table, values, n_samples, n_steps, ids,
    levels, offsets, room, rows, block_size, bias, bias_stride, bias_step_stride,
    bias_sample_stride, potential, threshold, threshold_stride, out, first_out, line_length,
    n_steps_stored, n_words, reset, uniform, lanes, reach, counted,
):  # fmt: skip
    """Integrate and fire all neurons of one layer for `n_steps` steps of some samples.

    Args:
        masks: uint64 [samples, words]: spikes, of all layers or of all poolings.
        source_levels: uint8 [samples, 64 per word of masks]: how many spikes a bit stands for.
        taps: int64 [taps, 5]: place of a word at step 0, words from one step to the next, number
            of its first channel's weights, bytes of the word in use, and its channels in use.
        tap_starts: int64 [columns + 1]: where the taps of a column begin.
        lines: int64 [lines, 4]: number of the line among the outputs, first column, number of
            columns, first entry in a block of rows.
        sets: int64 [sets, 4]: range of lines, range of channel blocks that use these.
        table: BYTE_PLACES.
        values: float32 [256]: what an event of each level is worth.
        n_samples: Samples to do, the first ones.
        n_steps: Steps to do.
        ids: uint16 scratch for the events of a line, like the next two.
        levels: uint8 scratch.
        offsets: int32 scratch.
        room: Entries of `ids` for a step.
        rows: float32 [blocks, rows, reach, lanes], flat.
        block_size: Entries of one block of `rows`.
        bias: float32: current that does not come from events, [channels] or more.
        bias_stride: Its entries from one position to the next, or 0.
        bias_step_stride: Its entries from one step to the next, or 0.
        bias_sample_stride: Its entries from one sample to the next, or 0.
        potential: float32 [samples, positions, channels], updated.
        threshold: float32, [positions or 1, channels], flat.
        threshold_stride: As bias_stride.
        out: uint8 [samples, bytes]: the masks of all layers.
        first_out: Byte at which those to write begin.
        line_length: Positions of a line.
        n_steps_stored: Steps that `out` has room for.
        n_words: Words per position and step.
        reset: Tuple; its length is the kind of reset, see `neurons.emit_fire`.
        uniform: Tuple; empty if biases or thresholds differ from position to position.
        lanes: Tuple; its length is the number of channels in a block.
        reach: Tuple; its length is how many outputs a column reaches.
        counted: Tuple; not empty if events have levels.

    Returns:
        Number of spikes.
    """
    n_fired = 0
    for sample in range(n_samples):
        n_fired += _fire_sample(
            masks[sample], source_levels[sample], taps, tap_starts, lines, sets, table, values,
            n_steps, ids, levels, offsets, room, rows, block_size, bias,
            sample * bias_sample_stride, bias_stride, bias_step_stride, potential[sample],
            threshold, threshold_stride, out[sample], first_out, line_length, n_steps_stored,
            n_words, reset, uniform, lanes, reach, counted,
        )  # fmt: skip
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def add_currents(
    masks, source_levels, taps, tap_starts, lines, sets, table, values, n_samples, n_steps, ids,
    levels, offsets, room, rows, block_size, out, line_length, lanes, reach, counted,
):  # fmt: skip
    """Add the currents of a layer to out, float32 [samples, steps, positions, channels].

    The rest is as in `fire`, but samples take turns line by line: the weights of a pass through a
    dense layer come from the outer caches once for all of them.
    """
    width = len(lanes)
    n_channels = out.shape[3]
    step_size = out.shape[2] * n_channels
    for part in range(len(sets)):
        for line in range(sets[part, 0], sets[part, 1]):
            n_columns = lines[line, 2]
            first = lines[line, 0] * line_length * n_channels
            for sample in range(n_samples):
                _list_line(
                    masks[sample], source_levels[sample], taps, tap_starts, lines[line, 1],
                    n_columns, n_steps, table, ids, levels, offsets, room, counted,
                )  # fmt: skip
                flat = out[sample].reshape(-1)
                for block in range(sets[part, 2], sets[part, 3]):
                    first_row = block * block_size + lines[line, 3]
                    channel = first + block * width
                    if n_columns == 1:  # all steps at once, as if they were columns
                        following = first_row
                        if line + 1 < sets[part, 1]:
                            following += lines[line + 1, 3] - lines[line, 3]
                        add_line(
                            ids, levels, values, offsets, 0, 1, n_steps, n_steps, rows, first_row,
                            flat, channel, step_size, following, AHEAD, lanes, reach, counted,
                        )  # fmt: skip
                        continue
                    for step in range(n_steps):
                        add_line(
                            ids, levels, values, offsets, step, n_steps, n_steps, n_columns,
                            rows, first_row, flat, channel + step * step_size, n_channels,
                            0, (), lanes, reach, counted,
                        )  # fmt: skip


@njit(cache=True, nogil=True, boundscheck=False)
def fire_given(
    n_samples, n_steps, bias, bias_stride, bias_step_stride, bias_sample_stride, potential,
    threshold, threshold_stride, out, first_out, line_length, n_steps_stored, n_words, reset, lanes,
):  # fmt: skip
    """Do what `fire` does for a layer whose currents are known; its arguments are among those."""
    width = len(lanes)
    together = max(1, 128 // width)  # as n_side_by_side
    _, n_positions, n_channels = potential.shape
    step_bytes = line_length * n_words * 8
    n_fired = 0
    for sample in range(n_samples):
        state, sent = potential[sample].reshape(-1), out[sample]
        for line in range(n_positions // line_length):
            line_masks = first_out + line * n_steps_stored * step_bytes
            for channel in range(0, n_channels, width):
                number = 0
                while number < line_length:
                    position = line * line_length + number
                    place = position * n_channels + channel
                    current = sample * bias_sample_stride + position * bias_stride + channel
                    limit = position * threshold_stride + channel
                    mask = line_masks + number * n_words * 8 + channel // 8
                    if number + together <= line_length:
                        n_fired += fire_steps(
                            bias, current, bias_stride, bias_step_stride, state, place, n_channels,
                            threshold, limit, threshold_stride, sent, mask, n_words * 8,
                            step_bytes, n_steps, reset, lanes,
                        )  # fmt: skip
                        number += together
                    else:
                        n_fired += fire_steps_here(
                            bias, current, bias_stride, bias_step_stride, state, place, n_channels,
                            threshold, limit, threshold_stride, sent, mask, n_words * 8,
                            step_bytes, n_steps, reset, lanes,
                        )  # fmt: skip
                        number += 1
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def add_up_spikes(
    masks, step_words, sources, first_source, n_samples, n_steps, n_steps_stored, n_sites, unions,
    levels, first_word,
):  # fmt: skip
    """Add up the spikes of several positions, as average pooling does.

    Args:
        masks: uint64 [samples, words]: spikes of all layers.
        step_words: Words between two steps of the layer that is pooled.
        sources: int64: places of words, at step 0, that are added up.
        first_source: int64 [lines * sites + 1]: where the sources of a site, a word of a position,
            begin.
        n_samples: Samples to do, the first ones.
        n_steps: Steps to do.
        n_steps_stored: Steps that there is room for.
        n_sites: Sites of a line.
        unions: uint64 [samples, words]: written as [lines, steps, sites], which sums are not zero.
        levels: uint8 [samples, 64 per word of unions]: the sums.
        first_word: Of `unions`.
    """
    for sample in range(n_samples):
        spikes, sums = masks[sample], levels[sample]
        for line in range((len(first_source) - 1) // n_sites):
            for step in range(n_steps):
                place = first_word + (line * n_steps_stored + step) * n_sites
                for number in range(n_sites):
                    site = line * n_sites + number
                    unions[sample, place + number] = add_masks(
                        spikes, sources, first_source[site], first_source[site + 1],
                        step * step_words, sums, 64 * (place + number),
                    )  # fmt: skip


@njit(cache=True, nogil=True, boundscheck=False)
def count_operations(
    masks, unions, counted, fan_outs, n_samples, n_steps, n_steps_stored, operations
):
    """Add synaptic operations to operations, int64 [nodes, steps].

    Args:
        masks: uint64 [samples, words]: spikes of all layers.
        unions: uint64 [samples, words]: which sums of spikes are not zero.
        counted: int64 [rows, 6]: whether to look at `unions`, the first word, lines, words of a
            line, the first entry of `fan_outs`, the node.
        fan_outs: int64: connections that leave an entry of a word.
        n_samples: Samples to do, the first ones.
        n_steps: Steps to do.
        n_steps_stored: Steps that there is room for.
        operations: Updated.
    """
    for sample in range(n_samples):
        for row in range(len(counted)):
            first, n_lines, n_sites = counted[row, 1], counted[row, 2], counted[row, 3]
            words = unions[sample] if counted[row, 0] else masks[sample]
            for line in range(n_lines):
                fan_out = counted[row, 4] + line * n_sites
                weights = fan_outs[fan_out : fan_out + n_sites]
                for step in range(n_steps):
                    place = first + (line * n_steps_stored + step) * n_sites
                    here = words[place : place + n_sites]
                    total = 0
                    for number in range(n_sites):
                        total += count_bits(here[number]) * weights[number]
                    operations[counted[row, 5], step] += total
