"""Kernels between bytes, one per neuron, and words: spikes, or spikes with levels.

Bytes are [steps, positions, channels], channels filled up to whole blocks. Words lie as those of
layers in `events`, [lines, steps, positions of a line, words]; levels are bytes, 64 to a word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .emit import I8, I64, as_pointer, emit_loop, load, number, pointer, zeros
from .lists import WORD, count_bits


@njit(cache=True, nogil=True, boundscheck=False)
def pack_bytes(
    sent, words, first_word, line_length, n_steps_stored, n_words, levels, active, lanes, counted
):  # fmt: skip
    """Write which bytes are not zero as bits, and if `counted` the bytes themselves as levels.

    Args:
        sent: uint8 [steps, positions, channels].
        words: uint64, flat.
        first_word: Of the layer.
        line_length: Positions of a line.
        n_steps_stored: Steps that there is room for.
        n_words: Words per position and step.
        levels: uint8, [words, 64], flat.
        active: int64 [steps]: written, how many bytes are not zero.
        lanes: Tuple; its length is the number of channels in a block.
        counted: Tuple; not empty if levels are wanted.
    """
    n_steps, n_positions, n_channels = sent.shape
    width = len(lanes)
    flat = sent.reshape(-1)
    for step in range(n_steps):
        total = 0
        for position in range(n_positions):
            line, index = divmod(position, line_length)
            place = (line * n_steps_stored + step) * line_length + index
            place = first_word + place * n_words
            source = (step * n_positions + position) * n_channels
            for word in range(n_words):
                bits = np.uint64(0)
                for channel in range(64 * word, min(64 * word + 64, n_channels), width):
                    found = nonzero_bits(flat, source + channel, lanes)
                    bits |= found << np.uint64(channel - 64 * word)
                    if len(counted):
                        copy_bytes(flat, source + channel, levels, 64 * place + channel, lanes)
                words[place + word] = bits
                total += count_bits(bits)
        active[step] = total


@njit(cache=True, nogil=True, boundscheck=False)
def add_bytes(sent):
    """Return the sum of bytes, uint8 [n]."""
    total = 0
    for place in range(len(sent)):
        total += int(sent[place])
    return total


@njit(cache=True, nogil=True, boundscheck=False)
def add_bits(words):
    """Return the number of bits in words, uint64 [n]."""
    total = 0
    for place in range(len(words)):
        total += count_bits(words[place])
    return total


@njit(cache=True, nogil=True, boundscheck=False)
def pack_values(values, words, first_word, line_length, n_steps_stored, n_words):
    """Write which values, [samples, steps, channels, positions], are not zero, as bits.

    Words are uint64 [samples, words]; for the others see pack_bytes.
    """
    n_samples, n_steps, n_channels, n_positions = values.shape
    for sample in range(n_samples):
        for step in range(n_steps):
            for line in range(n_positions // line_length):
                place = first_word + (line * n_steps_stored + step) * line_length * n_words
                for entry in range(place, place + line_length * n_words):
                    words[sample, entry] = 0
                for channel in range(n_channels):
                    shift = np.uint64(channel % 64)
                    target = place + channel // 64
                    for index in range(line_length):
                        fired = values[sample, step, channel, line * line_length + index] != 0
                        words[sample, target + index * n_words] |= np.uint64(fired) << shift


@njit(cache=True, nogil=True, boundscheck=False)
def add_up_levels(
    levels, step_words, sources, first_source, n_samples, n_steps, n_steps_stored, n_sites, unions,
    first_word,
):  # fmt: skip
    """Add up the levels of several positions; arguments as in `events.add_up_spikes`."""
    for sample in range(n_samples):
        sums = levels[sample]
        for line in range((len(first_source) - 1) // n_sites):
            for step in range(n_steps):
                place = first_word + (line * n_steps_stored + step) * n_sites
                for index in range(n_sites):
                    site = line * n_sites + index
                    unions[sample, place + index] = add_words(
                        sums, sources, first_source[site], first_source[site + 1],
                        step * step_words, 64 * (place + index),
                    )  # fmt: skip


@intrinsic
def nonzero_bits(typing: Any, values: Any, place: Any, lanes: Any) -> Any:
    """Return which of the bytes values[place:], as many as lanes, are not zero, as bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = pointer(context, builder, signature, args, 0, args[1])
        found = load(builder, source, ir.VectorType(I8, len(lanes)), 1)
        return _nonzero(builder, found)

    return types.uint64(values, types.intp, lanes), codegen


@intrinsic
def copy_bytes(typing: Any, values: Any, place: Any, out: Any, target: Any, lanes: Any) -> Any:
    """Copy the bytes values[place:], as many as lanes, to out[target:]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(I8, len(lanes))
        found = load(builder, pointer(context, builder, signature, args, 0, args[1]), vector, 1)
        place = pointer(context, builder, signature, args, 2, args[3])
        builder.store(found, as_pointer(builder, place, vector), align=1)
        return context.get_dummy_value()

    return types.void(values, types.intp, out, types.intp, lanes), codegen


@intrinsic
def add_words(
    typing: Any, levels: Any, sources: Any, first: Any, last: Any, shift: Any, place: Any
) -> Any:
    """Add the 64 levels of the words sources[first:last] + shift into levels[place:].

    Returns:
        Which sums are not zero, as bits.
    """
    signature = types.uint64(levels, sources, types.intp, types.intp, types.intp, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(I8, WORD)

        def add(index: Any, state: list[Any]) -> list[Any]:
            source = builder.load(pointer(context, builder, signature, args, 1, index))
            place = builder.shl(builder.add(source, args[4]), number(6))
            here = pointer(context, builder, signature, args, 0, place)
            return [builder.add(state[0], load(builder, here, vector, 1))]

        (total,) = emit_loop(builder, args[2], args[3], 1, [zeros(vector)], add)
        target = pointer(context, builder, signature, args, 0, args[5])
        builder.store(total, as_pointer(builder, target, vector), align=1)
        return _nonzero(builder, total)

    return signature, codegen


def _nonzero(builder: Any, values: Any) -> Any:
    bits = builder.icmp_signed("!=", values, zeros(values.type))
    n = values.type.count
    found = builder.bitcast(bits, ir.IntType(n))
    return found if n == WORD else builder.zext(found, I64)
