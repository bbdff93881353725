"""Vector instructions for the kernels: LLVM vectors of `len(lanes)` float32 numbers.

`lanes` is a tuple whose length alone matters: the width of a vector travels in a type, so that the
kernels stay at module level, where numba can cache them on disk. Offsets count entries of an
array, row indices count bytes. Nothing here checks bounds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32 = ir.FloatType()
HALF = 32
"""Channels whose events AVX-512 writes at once."""
COPIED = 16
"""Events that `list_rows` moves at a time."""


def n_sums(n_lanes: int) -> int:
    """Return how many partial sums run side by side, to hide the latency of an addition."""
    return max(1, min(4, 128 // n_lanes))


def n_side_by_side(n_lanes: int) -> int:
    """Return at how many positions `fire_steps` computes neurons, for the same reason."""
    return max(1, 128 // n_lanes)


def _number(value: int) -> Any:
    return ir.Constant(I64, value)


def _pointer(context: Any, builder: Any, signature: Any, args: Any, array: int, offset: Any) -> Any:
    struct = arrayobj.make_array(signature.args[array])(context, builder, args[array])
    return builder.gep(struct.data, [offset])


def _as(builder: Any, pointer: Any, type_: Any) -> Any:
    return builder.bitcast(pointer, type_.as_pointer())


def _load(builder: Any, pointer: Any, type_: Any, align: int = 4) -> Any:
    return builder.load(_as(builder, pointer, type_), align=align)


def _splat(builder: Any, value: Any, n: int) -> Any:
    vector = ir.VectorType(value.type, n)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, n), [0] * n)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _sum_rows(builder: Any, rows: Any, index: Any, count: Any, start: Any) -> Any:
    """Emit start + rows[index[0]] + ... in `n_sums` partial sums; count is a multiple of them."""
    vector = start.type
    sums = n_sums(vector.count)
    base = _as(builder, rows, I8)
    zero = ir.Constant(I64, 0)
    entry = builder.block
    body, done = (builder.append_basic_block(name) for name in ("rows", "rows.done"))
    first = [start, *[ir.Constant(vector, [0.0] * vector.count)] * (sums - 1)]
    builder.cbranch(builder.icmp_signed(">", count, zero), body, done)
    builder.position_at_end(body)
    place = builder.phi(I64)
    place.add_incoming(zero, entry)
    totals = [builder.phi(vector) for _ in range(sums)]
    added = []
    for number, total in enumerate(totals):
        total.add_incoming(first[number], entry)
        entry_place = builder.add(place, ir.Constant(I64, number))
        offset = builder.load(builder.gep(index, [entry_place]), align=4)
        row = builder.gep(base, [builder.sext(offset, I64)])
        added.append(builder.fadd(total, _load(builder, row, vector)))
    behind = builder.add(place, ir.Constant(I64, sums))
    place.add_incoming(behind, body)
    for total, value in zip(totals, added, strict=True):
        total.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", behind, count), body, done)
    builder.position_at_end(done)
    results = []
    for number in range(sums):
        result = builder.phi(vector)
        result.add_incoming(first[number], entry)
        result.add_incoming(added[number], body)
        results.append(result)
    while len(results) > 1:
        results = [builder.fadd(a, b) for a, b in zip(results[::2], results[1::2], strict=True)]
    return results[0]


@intrinsic
def add_rows(
    typing: Any, bias: Any, b: Any, rows: Any, r: Any, index: Any, i: Any, count: Any,
    out: Any, o: Any, lanes: Any,
) -> Any:  # fmt: skip
    """out[o:] = bias[b:] + the sum of `count` rows of rows[r:] at the offsets index[i:]."""
    vector = ir.VectorType(F32, len(lanes))
    signature = types.void(
        bias, types.intp, rows, types.intp, index, types.intp, types.intp, out, types.intp, lanes
    )

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(array: int) -> Any:
            return _pointer(context, builder, signature, args, array, args[array + 1])

        start = _load(builder, at(0), vector)
        total = _sum_rows(builder, at(2), at(4), args[6], start)
        builder.store(total, _as(builder, at(7), vector), align=4)
        return context.get_dummy_value()

    return signature, codegen


def _fire(
    builder: Any, potential: Any, current: Any, limit: Any, is_zero: Any, target: Any
) -> tuple[Any, Any]:
    """Emit one step of neurons; return potentials behind it and the number of spikes."""
    n = potential.type.count
    before = builder.fadd(potential, current)
    fired = builder.fcmp_ordered(">=", before, limit)
    lost = builder.select(is_zero, before, limit)
    nothing = ir.Constant(potential.type, [0.0] * n)
    after = builder.fsub(before, builder.select(fired, lost, nothing))
    bits = builder.bitcast(fired, ir.IntType(n))
    builder.store(bits, _as(builder, target, ir.IntType(n)), align=1)
    counted = builder.ctpop(bits)
    return after, counted if n == 64 else builder.zext(counted, I64)


@intrinsic
def integrate_fire(
    typing: Any, bias: Any, b: Any, rows: Any, r: Any, index: Any, i: Any, count: Any,
    potential: Any, p: Any, threshold: Any, t: Any, to_zero: Any, masks: Any, m: Any, lanes: Any,
) -> Any:  # fmt: skip
    """One step of `len(lanes)` neurons; return how many fired: bit c of masks[m:] if neuron c did.

    The current is bias[b:] plus `count` rows, as in `add_rows`; `to_zero` is the kind of reset.
    """
    n = len(lanes)
    vector = ir.VectorType(F32, n)
    signature = types.intp(
        bias, types.intp, rows, types.intp, index, types.intp, types.intp, potential, types.intp,
        threshold, types.intp, types.boolean, masks, types.intp, lanes,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(array: int) -> Any:
            return _pointer(context, builder, signature, args, array, args[array + 1])

        start = _load(builder, at(0), vector)
        current = _sum_rows(builder, at(2), at(4), args[6], start)
        place = _as(builder, at(7), vector)
        limit = _load(builder, at(9), vector)
        is_zero = builder.trunc(args[11], I1) if args[11].type != I1 else args[11]
        potential = builder.load(place, align=4)
        after, counted = _fire(builder, potential, current, limit, is_zero, at(12))
        builder.store(after, place, align=4)
        return counted

    return signature, codegen


@intrinsic
def list_rows(
    typing: Any, taps: Any, first: Any, last: Any, offsets: Any, step: Any, data: Any, size: Any,
    index: Any, end: Any,
) -> Any:  # fmt: skip
    """Append base + size * event to index[end:] for all events of the taps; return the new end.

    A tap is (offset, length, stride, base); its events are data[offsets[o] : offsets[o + length]]
    with o = offset + step * stride. Up to COPIED entries behind the end are overwritten; the list
    is filled up with zeros to a multiple of 4, which every `n_sums` divides.
    """
    signature = types.intp(
        taps, types.intp, types.intp, offsets, types.intp, data, types.int32, index, types.intp
    )

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(array: int, offset: Any) -> Any:
            return _pointer(context, builder, signature, args, array, offset)

        wide = ir.VectorType(I32, COPIED)
        size = _splat(builder, args[6], COPIED)

        def copy(source: Any, target: Any, base: Any) -> None:
            events = builder.zext(_load(builder, source, ir.VectorType(I16, COPIED), 2), wide)
            moved = builder.add(builder.mul(events, size), base)
            builder.store(moved, _as(builder, target, wide), align=4)

        entry = builder.block
        body, more, behind, done = (
            builder.append_basic_block(name) for name in ("tap", "tap.more", "tap.end", "taps.end")
        )
        builder.cbranch(builder.icmp_signed("<", args[1], args[2]), body, done)
        builder.position_at_end(body)
        tap, end = builder.phi(I64), builder.phi(I64)
        tap.add_incoming(args[1], entry)
        end.add_incoming(args[8], entry)
        entries = at(0, builder.shl(tap, _number(2)))
        offset, length, stride, base = (
            builder.load(builder.gep(entries, [_number(n)]), align=4) for n in range(4)
        )
        far = builder.mul(builder.sext(stride, I64), args[4])
        place = at(3, builder.add(builder.sext(offset, I64), far))
        start = builder.load(place, align=4)
        stop = builder.load(builder.gep(place, [builder.sext(length, I64)]), align=4)
        n_events = builder.sext(builder.sub(stop, start), I64)
        base = _splat(builder, base, COPIED)
        source, target = at(5, builder.sext(start, I64)), at(7, end)
        copy(source, target, base)
        builder.cbranch(builder.icmp_signed(">", n_events, _number(COPIED)), more, behind)
        builder.position_at_end(more)
        copied = builder.phi(I64)
        copied.add_incoming(_number(COPIED), body)
        copy(builder.gep(source, [copied]), builder.gep(target, [copied]), base)
        next_copied = builder.add(copied, _number(COPIED))
        copied.add_incoming(next_copied, more)
        builder.cbranch(builder.icmp_signed("<", next_copied, n_events), more, behind)
        builder.position_at_end(behind)
        next_tap, next_end = builder.add(tap, _number(1)), builder.add(end, n_events)
        tap.add_incoming(next_tap, behind)
        end.add_incoming(next_end, behind)
        builder.cbranch(builder.icmp_signed("<", next_tap, args[2]), body, done)
        builder.position_at_end(done)
        total = builder.phi(I64)
        total.add_incoming(args[8], entry)
        total.add_incoming(next_end, behind)
        four = ir.VectorType(I32, 4)
        filler = _as(builder, at(7, total), four)
        builder.store(ir.Constant(four, [0] * 4), filler, align=4)
        return builder.and_(builder.add(total, _number(3)), _number(-4))

    return signature, codegen


@intrinsic
def fire_steps(
    typing: Any, bias: Any, b: Any, bias_stride: Any, potential: Any, p: Any, stride: Any,
    threshold: Any, t: Any, threshold_stride: Any, to_zero: Any, masks: Any, m: Any,
    mask_stride: Any, step_bytes: Any, n_steps: Any, lanes: Any,
) -> Any:  # fmt: skip
    """All steps of neurons with a constant current, at `n_side_by_side` positions; as above.

    The strides lead from one position to the next, `step_bytes` from one step to the next.
    """
    n = len(lanes)
    vector = ir.VectorType(F32, n)
    signature = types.intp(
        bias, types.intp, types.intp, potential, types.intp, types.intp, threshold, types.intp,
        types.intp, types.boolean, masks, types.intp, types.intp, types.intp, types.intp, lanes,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(array: int, number: int) -> Any:
            far = builder.mul(args[array + 2], _number(number))
            offset = builder.add(args[array + 1], far)
            return _pointer(context, builder, signature, args, array, offset)

        places = range(n_side_by_side(n))
        currents = [_load(builder, at(0, place), vector) for place in places]
        states = [_as(builder, at(3, place), vector) for place in places]
        limits = [_load(builder, at(6, place), vector) for place in places]
        targets = [at(10, place) for place in places]
        is_zero = builder.trunc(args[9], I1) if args[9].type != I1 else args[9]
        first = [builder.load(state, align=4) for state in states]
        entry = builder.block
        body, done = (builder.append_basic_block(name) for name in ("step", "steps.end"))
        builder.branch(body)
        builder.position_at_end(body)
        step, fired = builder.phi(I64), builder.phi(I64)
        potentials = [builder.phi(vector) for _ in places]
        far = builder.mul(step, args[13])
        counted, behind = fired, []
        for place in places:
            potential = potentials[place]
            potential.add_incoming(first[place], entry)
            target = builder.gep(targets[place], [far])
            after, n_now = _fire(
                builder, potential, currents[place], limits[place], is_zero, target
            )
            counted = builder.add(counted, n_now)
            behind.append(after)
        for place in places:
            potentials[place].add_incoming(behind[place], body)
        next_step = builder.add(step, _number(1))
        step.add_incoming(_number(0), entry)
        step.add_incoming(next_step, body)
        fired.add_incoming(_number(0), entry)
        fired.add_incoming(counted, body)
        builder.cbranch(builder.icmp_signed("<", next_step, args[14]), body, done)
        builder.position_at_end(done)
        for state, value in zip(states, behind, strict=True):
            builder.store(value, state, align=4)
        return counted

    return signature, codegen


def _append_by_table(builder: Any, at: Any, args: Any) -> Any:
    """Emit `append_places` for any machine: one byte of the mask after the other."""
    eight = ir.VectorType(I16, 8)
    entry = builder.block
    body, done = (builder.append_basic_block(name) for name in ("byte", "bytes.end"))
    base = _splat(builder, args[3], 8)
    builder.branch(body)
    builder.position_at_end(body)
    byte, end, rest, shift = (builder.phi(type_) for type_ in (I64, I64, I64, eight))
    bits = builder.and_(rest, _number(255))
    row = at(0, builder.shl(bits, _number(3)))
    places = builder.add(_load(builder, row, eight, 2), shift)
    target = at(4, end)
    builder.store(places, _as(builder, target, eight), align=2)
    next_byte = builder.add(byte, _number(1))
    next_end = builder.add(end, builder.ctpop(bits))
    following = (
        (byte, _number(0), next_byte),
        (end, args[5], next_end),
        (rest, args[1], builder.lshr(rest, _number(8))),
        (shift, base, builder.add(shift, ir.Constant(eight, [8] * 8))),
    )
    for phi, first, later in following:
        phi.add_incoming(first, entry)
        phi.add_incoming(later, body)
    builder.cbranch(builder.icmp_signed("<", next_byte, args[2]), body, done)
    builder.position_at_end(done)
    return next_end


def _append_by_compress(builder: Any, at: Any, args: Any) -> Any:
    """Emit `append_places` with AVX-512 VBMI2: 32 channels at a time."""
    vector, bits = ir.VectorType(I16, HALF), ir.VectorType(I1, HALF)
    type_ = ir.FunctionType(vector, [vector, vector, bits])
    name = f"llvm.x86.avx512.mask.compress.v{HALF}i16"
    compress = cgutils.get_or_insert_function(builder.module, type_, name)
    places = builder.add(_splat(builder, args[3], HALF), ir.Constant(vector, list(range(HALF))))

    def append(mask: Any, places: Any, end: Any) -> Any:
        chosen = builder.bitcast(mask, bits)
        packed = builder.call(compress, [places, ir.Constant(vector, [0] * HALF), chosen])
        builder.store(packed, _as(builder, at(4, end), vector), align=2)
        return builder.add(end, builder.zext(builder.ctpop(mask), I64))

    half = ir.IntType(HALF)
    low_end = append(builder.trunc(args[1], half), places, args[5])
    before = builder.block
    upper, done = (builder.append_basic_block(name) for name in ("upper", "upper.end"))
    builder.cbranch(builder.icmp_signed(">", args[2], _number(HALF // 8)), upper, done)
    builder.position_at_end(upper)
    high_places = builder.add(places, ir.Constant(vector, [HALF] * HALF))
    high_mask = builder.trunc(builder.lshr(args[1], _number(HALF)), half)
    high_end = append(high_mask, high_places, low_end)
    upper = builder.block
    builder.branch(done)
    builder.position_at_end(done)
    end = builder.phi(I64)
    end.add_incoming(low_end, before)
    end.add_incoming(high_end, upper)
    return end


@intrinsic
def append_places(
    typing: Any, table: Any, mask: Any, n_bytes: Any, first: Any, data: Any, end: Any
) -> Any:
    """Write first + place for the set bits of the lowest bytes of a mask to data[end:], as uint16.

    Up to HALF entries behind them are overwritten; `table` has the places of the bits of every
    byte.

    Returns:
        The new end.
    """
    signature = types.intp(table, types.uint64, types.intp, types.uint16, data, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(array: int, offset: Any) -> Any:
            return _pointer(context, builder, signature, args, array, offset)

        features = context.codegen().magic_tuple()[2]
        has_compress = "+avx512vbmi2" in features and "+avx512bw" in features
        append = _append_by_compress if has_compress else _append_by_table
        return append(builder, at, args)

    return signature, codegen


@intrinsic
def count_bits(typing: Any, value: Any) -> Any:
    """Return the number of set bits of a uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


__all__ = [
    "COPIED",
    "add_rows",
    "append_places",
    "count_bits",
    "fire_steps",
    "integrate_fire",
    "list_rows",
    "n_side_by_side",
    "n_sums",
]
