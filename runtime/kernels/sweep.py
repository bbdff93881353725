"""Intrinsics that sweep along a line: events are added to the outputs that their column reaches.

A line is a row of *columns*, each with a list of events. With a reach of R, column x adds to the
outputs x - R + 1 to x of the line: the weights of an event are R * `len(lanes)` numbers, and the
sums of R outputs are held in registers and move on by one output with every column. When a column
is done, its oldest output is complete. `lanes` and `reach` are tuples whose lengths alone matter,
and `counted` one that is not empty where an event stands for several spikes: what they are worth is
then looked up, see `neurons` for why. Nothing here checks bounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import F32, I8, I32, I64, as_pointer, emit_loop, load, number, pointer, splat, zeros
from .neurons import emit_fire
from .shape import n_sums

CACHE_LINE = 16
"""Entries of rows in a cache line."""


def _sweep(
    context: Any,
    builder: Any,
    signature: Any,
    args: Any,
    finish: Callable[[Any, Any], Any],
) -> Any:
    """Emit the columns of a line.

    Args:
        context: As numba gives it, like the next three.
        builder: See context.
        signature: See context.
        args: ids, levels, values, offsets, o, o_stride, o_end, n_columns, rows, r, ..., lanes,
            reach, counted, see `fire_line`.
        finish: Emits what is done with an output: (number of the output, sum) -> spikes.

    Returns:
        The sum of what `finish` gave.
    """
    n_lanes, reach, counted = (len(type_) for type_ in signature.args[-3:])
    vector = ir.VectorType(F32, n_lanes)
    sums = n_sums(n_lanes, reach)

    def at(array: int, offset: Any) -> Any:
        return pointer(context, builder, signature, args, array, offset)

    base = as_pointer(builder, at(8, args[9]), I8)
    row_bytes = number(4 * n_lanes * reach)
    fma = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector, vector, vector]),
        f"llvm.fma.v{n_lanes}f32",
    )

    def add_event(place: Any, totals: list[Any]) -> list[Any]:
        entry = builder.zext(builder.load(at(0, place)), I64)
        row = builder.gep(base, [builder.mul(entry, row_bytes)])
        parts = [
            load(builder, builder.gep(row, [number(4 * n_lanes * slot)]), vector)
            for slot in range(reach)
        ]
        if not counted:
            return [builder.fadd(total, part) for total, part in zip(totals, parts, strict=True)]
        level = builder.zext(builder.load(at(1, place)), I64)
        worth = splat(builder, builder.load(at(2, level)), n_lanes)
        return [
            builder.call(fma, [part, worth, total])
            for total, part in zip(totals, parts, strict=True)
        ]

    def add_events(first: Any, stop: Any, totals: list[Any]) -> list[Any]:
        if sums == 1:
            return emit_loop(builder, first, stop, 1, totals, add_event, is_short=True)

        def add_group(place: Any, totals: list[Any]) -> list[Any]:
            behind = []
            for part in range(sums):
                chosen = totals[part * reach : (part + 1) * reach]
                behind += add_event(builder.add(place, number(part)), chosen)
            return behind

        grouped = builder.and_(builder.sub(stop, first), number(-sums)) if sums != 3 else None
        if grouped is None:
            whole = builder.udiv(builder.sub(stop, first), number(3))
            grouped = builder.mul(whole, number(3))
        middle = builder.add(first, grouped)
        start = totals + [zeros(vector)] * (reach * (sums - 1))
        found = emit_loop(builder, first, middle, sums, start, add_group, is_short=True)
        parts = [found[part * reach : (part + 1) * reach] for part in range(sums)]
        while len(parts) > 1:
            joined = [
                [builder.fadd(a, b) for a, b in zip(*pair, strict=True)]
                for pair in zip(parts[::2], parts[1::2], strict=False)
            ]
            parts = joined + ([parts[-1]] if len(parts) % 2 else [])
        return emit_loop(builder, middle, stop, 1, parts[0], add_event, is_short=True)

    def list_column(column: Any, totals: list[Any]) -> list[Any]:
        place = builder.add(args[4], builder.mul(column, args[5]))
        first, stop = (
            builder.sext(builder.load(at(3, offset)), I64)
            for offset in (place, builder.add(place, args[6]))
        )
        return add_events(first, stop, totals)

    def begin(column: Any, totals: list[Any]) -> list[Any]:
        return [*list_column(column, totals)[1:], zeros(vector)]

    def complete(column: Any, state: list[Any]) -> list[Any]:
        fired, *totals = state
        oldest, *others = list_column(column, totals)
        n_now = finish(builder.sub(column, number(reach - 1)), oldest)
        return [builder.add(fired, n_now), *others, zeros(vector)]

    totals = [zeros(vector)] * reach
    if reach > 1:
        totals = emit_loop(builder, number(0), number(reach - 1), 1, totals, begin)
    state = [number(0), *totals]
    return emit_loop(builder, number(reach - 1), args[7], 1, state, complete)[0]


@intrinsic
def fire_line(
    typing: Any, ids: Any, levels: Any, values: Any, offsets: Any, o: Any, o_stride: Any,
    o_end: Any, n_columns: Any, rows: Any, r: Any, bias: Any, b: Any, b_stride: Any, potential: Any,
    p: Any, p_stride: Any, threshold: Any, t: Any, t_stride: Any, masks: Any, m: Any, m_stride: Any,
    reset: Any, uniform: Any, lanes: Any, reach: Any, counted: Any,
) -> Any:  # fmt: skip
    """One step of the neurons of a line, `len(lanes)` channels; return how many fired.

    The events of column x are ids[first:stop] with first = offsets[o + x * o_stride] and
    stop = offsets[o + x * o_stride + o_end]; an event adds the weights at
    rows[r + reach * lanes * id :], times values[levels[same place]] if `counted`. The other current
    of output n of the line is bias[b + n * b_stride :], and likewise for potentials and thresholds.
    Bit i of masks[m + n * m_stride :] says whether its neuron i fired. `reset`, if not empty, is
    the kind of reset; `uniform`, if not empty, says that the strides of bias and threshold are 0.
    """
    arguments = types.intp(
        ids, levels, values, offsets, types.intp, types.intp, types.intp, types.intp, rows,
        types.intp, bias, types.intp, types.intp, potential, types.intp, types.intp, threshold,
        types.intp, types.intp, masks, types.intp, types.intp, reset, uniform, lanes, reach,
        counted,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(F32, len(lanes))

        def at(array: int, output: Any) -> Any:
            far = builder.mul(output, args[array + 2])
            offset = builder.add(args[array + 1], far)
            return pointer(context, builder, signature, args, array, offset)

        same = [load(builder, at(array, number(0)), vector) for array in (10, 16)]

        def finish(output: Any, total: Any) -> Any:
            bias, limit = same
            if not len(uniform):
                bias, limit = (load(builder, at(array, output), vector) for array in (10, 16))
            place = at(13, output)
            current = builder.fadd(total, bias)
            before = load(builder, place, vector)
            after, n_fired = emit_fire(builder, before, current, limit, len(reset), at(19, output))
            builder.store(after, as_pointer(builder, place, vector), align=4)
            return n_fired

        return _sweep(context, builder, signature, args, finish)

    return arguments, codegen


@intrinsic
def add_line(
    typing: Any, ids: Any, levels: Any, values: Any, offsets: Any, o: Any, o_stride: Any,
    o_end: Any, n_columns: Any, rows: Any, r: Any, out: Any, q: Any, q_stride: Any, f: Any,
    ahead: Any, lanes: Any, reach: Any, counted: Any,
) -> Any:  # fmt: skip
    """Add the current of output n of a line to out[q + n * q_stride :], see `fire_line`.

    Meanwhile, fetch the cache lines that begin at rows[f:], `len(ahead)` of them per output.
    """
    arguments = types.intp(
        ids, levels, values, offsets, types.intp, types.intp, types.intp, types.intp, rows,
        types.intp, out, types.intp, types.intp, types.intp, ahead, lanes, reach, counted,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(F32, len(lanes))
        fetch = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32]),
            "llvm.prefetch.p0",
        )

        def finish(output: Any, total: Any) -> Any:
            offset = builder.add(args[11], builder.mul(output, args[12]))
            place = pointer(context, builder, signature, args, 10, offset)
            behind = builder.fadd(load(builder, place, vector), total)
            builder.store(behind, as_pointer(builder, place, vector), align=4)
            first = builder.add(args[13], builder.mul(output, number(CACHE_LINE * len(ahead))))
            for line in range(len(ahead)):
                offset = builder.add(first, number(CACHE_LINE * line))
                address = pointer(context, builder, signature, args, 8, offset)
                flags = [ir.Constant(I32, flag) for flag in (0, 2, 1)]  # read, second level, data
                builder.call(fetch, [as_pointer(builder, address, I8), *flags])
            return number(0)

        return _sweep(context, builder, signature, args, finish)

    return arguments, codegen
