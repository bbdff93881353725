"""Kernel of layers whose weights are bits, too: AND and population count instead of additions.

A neuron's weights are scale times +1, -1 or 0. The spikes that it sees are gathered into words, the
*patch*, once for all output channels; the sum is then

    scale * (2 popcount(positive & patch) - popcount(patch))                      weights +1, -1
    scale * (popcount(positive & patch) - popcount(negative & patch))             weights +1, -1, 0

Integers until the end, so that no order of additions exists.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import F32, I32, I64, as_pointer, emit_loop, load, number, pointer, splat, zeros
from .lists import count_bits
from .neurons import emit_fire


@njit(cache=True, nogil=True, boundscheck=False)
def _fire_sample(
    masks, step_words, taps, tap_starts, n_words_seen, n_steps, patches, weights, scale, bias,
    first_bias, bias_stride, bias_step_stride, potential, threshold, threshold_stride, out,
    first_out, line_length, n_steps_stored, n_words, reset, lanes, planes,
):  # fmt: skip
    """Do what `fire_bits` does, for one sample."""
    width = len(lanes)
    n_positions, n_channels = potential.shape
    state = potential.reshape(-1)
    step_bytes = 8 * line_length * n_words
    counts = n_words_seen * n_steps
    n_fired = 0
    for position in range(n_positions):
        for entry in range(counts + n_steps):
            patches[entry] = 0
        for tap in range(tap_starts[position], tap_starts[position + 1]):
            place, first, shift = taps[tap, 0], taps[tap, 1] * n_steps, taps[tap, 2]
            for step in range(n_steps):
                patches[first + step] |= masks[place + step * step_words] << shift
        for word in range(n_words_seen):
            for step in range(n_steps):
                patches[counts + step] += count_bits(patches[word * n_steps + step])
        line, column = divmod(position, line_length)
        place = first_out + (line * n_steps_stored * line_length + column) * n_words * 8
        current = first_bias + position * bias_stride
        for channel in range(0, n_channels, width):
            rows = channel * n_words_seen * len(planes)
            for step in range(n_steps):
                n_fired += fire_patch(
                    patches, step, n_steps, n_words_seen, weights, rows, scale, channel,
                    bias, channel + step * bias_step_stride + current,
                    state, channel + position * n_channels,
                    threshold, channel + position * threshold_stride,
                    out, channel // 8 + place + step * step_bytes, reset, lanes, planes,
                )  # fmt: skip
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def fire_bits(
    masks, step_words, taps, tap_starts, n_words_seen, n_samples, n_steps, patches, weights, scale,
    bias, bias_stride, bias_step_stride, bias_sample_stride, potential, threshold, threshold_stride,
    out, first_out, line_length, n_steps_stored, n_words, reset, lanes, planes,
):  # fmt: skip
    """Integrate and fire all neurons of a layer whose weights are bits; the rest as in `fire`.

    Args:
        masks: uint64 [samples, words]: spikes of all layers.
        step_words: Words from one step to the next of the layer that is seen.
        taps: int64 [taps, 3]: place of a word at step 0, word of the patch, shift.
        tap_starts: int64 [positions + 1]: where the taps of a position begin.
        n_words_seen: Words of a patch.
        n_samples: Samples to do, the first ones.
        n_steps: Steps to do.
        patches: uint64 scratch, [words of a patch + 1, n_steps], flat.
        weights: uint64, [blocks, words of a patch, planes, lanes], flat.
        scale: float32 [channels].
        bias: See `fire`, as those that follow.
        bias_stride: See bias.
        bias_step_stride: See bias.
        bias_sample_stride: See bias.
        potential: See bias.
        threshold: See bias.
        threshold_stride: See bias.
        out: See bias.
        first_out: See bias.
        line_length: See bias.
        n_steps_stored: See bias.
        n_words: See bias.
        reset: See bias.
        lanes: See bias.
        planes: Tuple; its length is 1 if no weight is zero, else 2.

    Returns:
        Number of spikes.
    """
    n_fired = 0
    for sample in range(n_samples):
        n_fired += _fire_sample(
            masks[sample], step_words, taps, tap_starts, n_words_seen, n_steps, patches, weights,
            scale, bias, sample * bias_sample_stride, bias_stride, bias_step_stride,
            potential[sample], threshold, threshold_stride, out[sample], first_out, line_length,
            n_steps_stored, n_words, reset, lanes, planes,
        )  # fmt: skip
    return n_fired


@intrinsic
def fire_patch(
    typing: Any, patches: Any, q: Any, q_stride: Any, n_words: Any, weights: Any, w: Any,
    scale: Any, s: Any, bias: Any, b: Any, potential: Any, p: Any, threshold: Any, t: Any,
    masks: Any, m: Any, reset: Any, lanes: Any, planes: Any,
) -> Any:  # fmt: skip
    """One step of `len(lanes)` neurons of one position; return how many fired.

    Word i of the patch is patches[q + i * q_stride], and behind the words stands how many of their
    bits are set. Weights begin at weights[w:], and so on. Nothing here checks bounds.
    """
    signature = types.intp(
        patches, types.intp, types.intp, types.intp, weights, types.intp, scale, types.intp, bias,
        types.intp, potential, types.intp, threshold, types.intp, masks, types.intp, reset, lanes,
        planes,
    )  # fmt: skip
    n_lanes, n_planes = len(lanes), len(planes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words, vector = ir.VectorType(I64, n_lanes), ir.VectorType(F32, n_lanes)
        count = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(words, [words]), f"llvm.ctpop.v{n_lanes}i64"
        )

        def at(array: int, offset: Any) -> Any:
            return pointer(context, builder, signature, args, array, offset)

        def seen(word: Any) -> Any:
            offset = builder.add(args[1], builder.mul(word, args[2]))
            return splat(builder, builder.load(at(0, offset)), n_lanes)

        def add_word(word: Any, sums: list[Any]) -> list[Any]:
            spikes = seen(word)
            row = builder.add(args[5], builder.mul(word, number(n_lanes * n_planes)))
            behind = []
            for plane, total in enumerate(sums):
                place = at(4, builder.add(row, number(plane * n_lanes)))
                hit = builder.and_(load(builder, place, words, 8), spikes)
                behind.append(builder.add(total, builder.call(count, [hit])))
            return behind

        start = [zeros(words)] * n_planes
        sums = emit_loop(builder, number(0), args[3], 1, start, add_word)
        positive = sums[0]
        if n_planes > 1:
            total = builder.sub(positive, sums[1])
        else:
            total = builder.sub(builder.add(positive, positive), seen(args[3]))
        narrow = builder.trunc(total, ir.VectorType(I32, n_lanes))
        factor, other, before, limit = (
            load(builder, at(array, args[array + 1]), vector) for array in (6, 8, 10, 12)
        )
        current = builder.fadd(builder.fmul(builder.sitofp(narrow, vector), factor), other)
        place = at(10, args[11])
        after, n_fired = emit_fire(builder, before, current, limit, len(reset), at(14, args[15]))
        builder.store(after, as_pointer(builder, place, vector), align=4)
        return n_fired

    return signature, codegen
