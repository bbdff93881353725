"""Vector instructions for the kernels: LLVM vectors of `len(lanes)` float32 numbers.

`lanes` is a tuple whose length alone matters: the width of a vector travels in a type, so that the
kernels stay at module level, where numba can cache them on disk. Offsets count entries of an
array, row indices count bytes. Nothing here checks bounds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
F32 = ir.FloatType()
COPIED = 16
"""Events that `list_rows` moves at a time."""


def n_sums(n_lanes: int) -> int:
    """Return how many partial sums run side by side, to hide the latency of an addition."""
    return max(1, min(4, 128 // n_lanes))


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
        before = builder.fadd(builder.load(place, align=4), current)
        fired = builder.fcmp_ordered(">=", before, limit)
        is_zero = builder.trunc(args[11], I1) if args[11].type != I1 else args[11]
        lost = builder.select(is_zero, before, limit)
        nothing = ir.Constant(vector, [0.0] * n)
        builder.store(builder.fsub(before, builder.select(fired, lost, nothing)), place, align=4)
        bits = builder.bitcast(fired, ir.IntType(n))
        builder.store(bits, _as(builder, at(12), ir.IntType(n)), align=1)
        counted = builder.ctpop(bits)
        return counted if n == 64 else builder.zext(counted, I64)

    return signature, codegen


@intrinsic
def list_rows(
    typing: Any, sites: Any, bases: Any, first: Any, last: Any, offsets: Any, step: Any,
    data: Any, size: Any, index: Any, end: Any,
) -> Any:  # fmt: skip
    """Append base + size * event to index[end:] for all events of the taps; return the new end.

    The events of a tap are data[offsets[o] : offsets[o + 1]] with o = sites[tap] + step. Up to
    COPIED entries behind the end are overwritten; the list is filled up with zeros to a multiple
    of 4, which every `n_sums` divides.
    """
    signature = types.intp(
        sites, bases, types.intp, types.intp, offsets, types.intp, data, types.int32, index,
        types.intp,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(array: int, offset: Any) -> Any:
            return _pointer(context, builder, signature, args, array, offset)

        def number(value: int) -> Any:
            return ir.Constant(I64, value)

        wide = ir.VectorType(I32, COPIED)
        size = _splat(builder, args[7], COPIED)

        def copy(source: Any, target: Any, base: Any) -> None:
            events = builder.zext(_load(builder, source, ir.VectorType(I8, COPIED), 1), wide)
            moved = builder.add(builder.mul(events, size), base)
            builder.store(moved, _as(builder, target, wide), align=4)

        entry = builder.block
        body, more, behind, done = (
            builder.append_basic_block(name) for name in ("tap", "tap.more", "tap.end", "taps.end")
        )
        builder.cbranch(builder.icmp_signed("<", args[2], args[3]), body, done)
        builder.position_at_end(body)
        tap, end = builder.phi(I64), builder.phi(I64)
        tap.add_incoming(args[2], entry)
        end.add_incoming(args[9], entry)
        site = builder.sext(builder.load(at(0, tap), align=4), I64)
        place = at(4, builder.add(site, args[5]))
        start = builder.load(place, align=8)
        n_events = builder.sub(builder.load(builder.gep(place, [number(1)]), align=8), start)
        base = _splat(builder, builder.load(at(1, tap), align=4), COPIED)
        source, target = at(6, start), at(8, end)
        copy(source, target, base)
        builder.cbranch(builder.icmp_signed(">", n_events, number(COPIED)), more, behind)
        builder.position_at_end(more)
        copied = builder.phi(I64)
        copied.add_incoming(number(COPIED), body)
        copy(builder.gep(source, [copied]), builder.gep(target, [copied]), base)
        next_copied = builder.add(copied, number(COPIED))
        copied.add_incoming(next_copied, more)
        builder.cbranch(builder.icmp_signed("<", next_copied, n_events), more, behind)
        builder.position_at_end(behind)
        next_tap, next_end = builder.add(tap, number(1)), builder.add(end, n_events)
        tap.add_incoming(next_tap, behind)
        end.add_incoming(next_end, behind)
        builder.cbranch(builder.icmp_signed("<", next_tap, args[3]), body, done)
        builder.position_at_end(done)
        total = builder.phi(I64)
        total.add_incoming(args[9], entry)
        total.add_incoming(next_end, behind)
        four = ir.VectorType(I32, 4)
        filler = _as(builder, at(8, total), four)
        builder.store(ir.Constant(four, [0] * 4), filler, align=4)
        return builder.and_(builder.add(total, number(3)), number(-4))

    return signature, codegen


@intrinsic
def append_places(typing: Any, table: Any, mask: Any, n_bytes: Any, data: Any, end: Any) -> Any:
    """Write the places of the set bits of the lowest bytes of a mask to data[end:], a byte each.

    Up to 8 bytes behind them are overwritten; `table` has the places of the bits of every byte.

    Returns:
        The new end.
    """
    signature = types.intp(table, types.uint64, types.intp, data, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def number(value: int) -> Any:
            return ir.Constant(I64, value)

        entry = builder.block
        body, done = (builder.append_basic_block(name) for name in ("byte", "bytes.end"))
        builder.branch(body)
        builder.position_at_end(body)
        byte, end, rest, shift = (builder.phi(I64) for _ in range(4))
        bits = builder.and_(rest, number(255))
        places = builder.load(_pointer(context, builder, signature, args, 0, bits), align=8)
        target = _pointer(context, builder, signature, args, 3, end)
        builder.store(builder.add(places, shift), _as(builder, target, I64), align=1)
        next_byte = builder.add(byte, number(1))
        next_end = builder.add(end, builder.ctpop(bits))
        following = (
            (byte, number(0), next_byte),
            (end, args[4], next_end),
            (rest, args[1], builder.lshr(rest, number(8))),
            (shift, number(0), builder.add(shift, number(0x0808080808080808))),
        )
        for phi, first, later in following:
            phi.add_incoming(first, entry)
            phi.add_incoming(later, body)
        builder.cbranch(builder.icmp_signed("<", next_byte, args[2]), body, done)
        builder.position_at_end(done)
        return next_end

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
    "integrate_fire",
    "list_rows",
    "n_sums",
]
