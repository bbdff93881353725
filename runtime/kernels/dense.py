"""Kernel of swept layers whose neurons see so many spikes that skipping the others costs more.

Every row of weights is multiplied by what it is worth at `len(together)` steps, 0 where there is no
spike, and read once for all of them. Products with 0 and 1 and additions of 0 are exact, and the
order is that of `events.fire`: so are the sums, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import F32, I64, as_pointer, emit_loop, load, number, pointer, splat, zeros
from .neurons import emit_fire


@njit(cache=True, nogil=True, boundscheck=False)
def _spread(
    masks, source_levels, taps, tap_starts, first_column, n_columns, n_rows, values, first_step,
    n_now, n_together, spread, counted,
):  # fmt: skip
    """Write spread [columns, n_together, n_rows]: what each row of weights is worth."""
    for entry in range(n_columns * n_together * n_rows):
        spread[entry] = 0
    for index in range(n_columns):
        column = first_column + index
        for tap in range(tap_starts[column], tap_starts[column + 1]):
            for step in range(n_now):
                place = taps[tap, 0] + (first_step + step) * taps[tap, 1]
                mask = masks[place] & np.uint64(taps[tap, 4])
                target = (index * n_together + step) * n_rows + taps[tap, 2]
                n_bits = min(8 * taps[tap, 3], n_rows - taps[tap, 2])
                if len(counted):
                    for bit in range(n_bits):
                        if mask >> np.uint64(bit) & np.uint64(1):
                            spread[target + bit] = values[source_levels[64 * place + bit]]
                else:
                    for bit in range(n_bits):
                        spread[target + bit] = np.float32(mask >> np.uint64(bit) & np.uint64(1))


@njit(cache=True, nogil=True, boundscheck=False)
def _fire_sample(
    masks, source_levels, taps, tap_starts, lines, sets, values, n_steps, spread, n_rows, rows,
    block_size, bias, first_bias, bias_stride, bias_step_stride, potential, threshold,
    threshold_stride, out, first_out, line_length, n_steps_stored, n_words, reset, together, lanes,
    reach, counted,
):  # fmt: skip
    """Do what `fire_dense` does, for one sample."""
    width, n_group = len(lanes), len(together)
    n_channels = potential.shape[1]
    state = potential.reshape(-1)
    step_bytes = 8 * line_length * n_words
    n_fired = 0
    for part in range(len(sets)):
        for line in range(sets[part, 0], sets[part, 1]):
            position = lines[line, 0] * line_length
            place = first_out + lines[line, 0] * n_steps_stored * step_bytes
            current = first_bias + position * bias_stride
            for first in range(0, n_steps, n_group):
                n_now = min(n_group, n_steps - first)
                _spread(
                    masks, source_levels, taps, tap_starts, lines[line, 1], lines[line, 2], n_rows,
                    values, first, n_now, n_group, spread, counted,
                )  # fmt: skip
                for block in range(sets[part, 2], sets[part, 3]):
                    channel = block * width
                    n_fired += fire_spread(
                        spread, n_rows, lines[line, 2], rows, block * block_size,
                        bias, channel + first * bias_step_stride + current,
                        bias_stride, bias_step_stride,
                        state, channel + position * n_channels, n_channels,
                        threshold, channel + position * threshold_stride, threshold_stride,
                        out, channel // 8 + place + first * step_bytes, 8 * n_words, step_bytes,
                        n_now, reset, together, lanes, reach,
                    )  # fmt: skip
    return n_fired


@njit(cache=True, nogil=True, boundscheck=False)
def fire_dense(
    masks, source_levels, taps, tap_starts, lines, sets, values, n_samples, n_steps, spread, n_rows,
    rows, block_size, bias, bias_stride, bias_step_stride, bias_sample_stride, potential, threshold,
    threshold_stride, out, first_out, line_length, n_steps_stored, n_words, reset, together, lanes,
    reach, counted,
):  # fmt: skip
    """Do what `events.fire` does; arguments that are not named here are as there.

    Args:
        masks: See `events.fire`.
        source_levels: See masks.
        taps: See masks.
        tap_starts: See masks.
        lines: See masks.
        sets: See masks.
        values: See masks.
        n_samples: See masks.
        n_steps: See masks.
        spread: float32 scratch, [columns of a line, len(together), n_rows].
        n_rows: Rows of weights of a block.
        rows: See masks.
        block_size: See masks.
        bias: See masks.
        bias_stride: See masks.
        bias_step_stride: See masks.
        bias_sample_stride: See masks.
        potential: See masks.
        threshold: See masks.
        threshold_stride: See masks.
        out: See masks.
        first_out: See masks.
        line_length: See masks.
        n_steps_stored: See masks.
        n_words: See masks.
        reset: See masks.
        together: Tuple; its length is the number of steps at a time.
        lanes: See masks.
        reach: See masks.
        counted: See masks.

    Returns:
        Number of spikes.
    """
    n_fired = 0
    for sample in range(n_samples):
        n_fired += _fire_sample(
            masks[sample], source_levels[sample], taps, tap_starts, lines, sets, values, n_steps,
            spread, n_rows, rows, block_size, bias, sample * bias_sample_stride, bias_stride,
            bias_step_stride, potential[sample], threshold, threshold_stride, out[sample],
            first_out, line_length, n_steps_stored, n_words, reset, together, lanes, reach, counted,
        )  # fmt: skip
    return n_fired


@intrinsic
def fire_spread(
    typing: Any, spread: Any, n_rows: Any, n_columns: Any, rows: Any, r: Any, bias: Any, b: Any,
    b_stride: Any, b_step: Any, potential: Any, p: Any, p_stride: Any, threshold: Any, t: Any,
    t_stride: Any, masks: Any, m: Any, m_stride: Any, m_step: Any, n_now: Any, reset: Any,
    together: Any, lanes: Any, reach: Any,
) -> Any:  # fmt: skip
    """Do `n_now` steps of the neurons of a line, `len(lanes)` channels; return how many fired.

    Offsets and strides are as in `sweep.fire_line`; b_step and m_step lead to the next step.
    """
    signature = types.intp(
        spread, types.intp, types.intp, rows, types.intp, bias, types.intp, types.intp, types.intp,
        potential, types.intp, types.intp, threshold, types.intp, types.intp, masks, types.intp,
        types.intp, types.intp, types.intp, reset, together, lanes, reach,
    )  # fmt: skip
    n_group, n_lanes, n_reach = len(together), len(lanes), len(reach)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(F32, n_lanes)
        fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector, vector, vector]),
            f"llvm.fma.v{n_lanes}f32",
        )

        def at(array: int, offset: Any) -> Any:
            return pointer(context, builder, signature, args, array, offset)

        def moved(first: Any, index: Any, stride: Any) -> Any:
            return builder.add(first, builder.mul(index, stride))

        def add_column(column: Any, totals: list[Any]) -> list[Any]:
            first = builder.mul(column, number(n_group))
            starts = [
                builder.mul(builder.add(first, number(step)), args[1]) for step in range(n_group)
            ]

            def add_row(row: Any, totals: list[Any]) -> list[Any]:
                worths = [
                    splat(builder, builder.load(at(0, builder.add(start, row))), n_lanes)
                    for start in starts
                ]
                behind = list(totals)
                for slot in range(n_reach):
                    offset = moved(args[4], row, number(n_lanes * n_reach))
                    place = at(3, builder.add(offset, number(n_lanes * slot)))
                    part = load(builder, place, vector)
                    for step, worth in enumerate(worths):
                        index = step * n_reach + slot
                        behind[index] = builder.call(fma, [part, worth, behind[index]])
                return behind

            return emit_loop(builder, number(0), args[1], 1, totals, add_row, is_short=True)

        def move_on(totals: list[Any]) -> list[Any]:
            kept = []
            for step in range(n_group):
                kept += [*totals[step * n_reach + 1 : (step + 1) * n_reach], zeros(vector)]
            return kept

        def begin(column: Any, totals: list[Any]) -> list[Any]:
            return move_on(add_column(column, totals))

        def complete(column: Any, state: list[Any]) -> list[Any]:
            n_fired, *totals = state
            totals = add_column(column, totals)
            output = builder.sub(column, number(n_reach - 1))
            place = at(9, moved(args[10], output, args[11]))
            limit = load(builder, at(12, moved(args[13], output, args[14])), vector)
            before = load(builder, place, vector)
            current_first = moved(args[6], output, args[7])
            mask_first = moved(args[16], output, args[17])
            for step in range(n_group):  # the last group may have fewer
                skipped = builder.block
                done = builder.append_basic_block("step.end")
                here = builder.append_basic_block("step")
                builder.cbranch(builder.icmp_signed("<", number(step), args[19]), here, done)
                builder.position_at_end(here)
                other = load(builder, at(5, moved(current_first, number(step), args[8])), vector)
                current = builder.fadd(totals[step * n_reach], other)
                target = at(15, moved(mask_first, number(step), args[18]))
                after, n_now = emit_fire(builder, before, current, limit, len(reset), target)
                counted = builder.add(n_fired, n_now)
                here = builder.block
                builder.branch(done)
                builder.position_at_end(done)
                results = []
                for value, other_value in ((after, before), (counted, n_fired)):
                    phi = builder.phi(value.type)
                    phi.add_incoming(value, here)
                    phi.add_incoming(other_value, skipped)
                    results.append(phi)
                before, n_fired = results
            builder.store(before, as_pointer(builder, place, vector), align=4)
            return [n_fired, *move_on(totals)]

        totals = [zeros(vector)] * (n_group * n_reach)
        if n_reach > 1:
            totals = emit_loop(builder, number(0), number(n_reach - 1), 1, totals, begin)
        start = [ir.Constant(I64, 0), *totals]
        return emit_loop(builder, number(n_reach - 1), args[2], 1, start, complete)[0]

    return signature, codegen
