"""Intrinsics for lists of events and of weight rows. Nothing here checks bounds."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I1, I16, I32, I64, as_pointer, load, number, pointer, splat

HALF = 32
"""Channels whose events AVX-512 writes at once."""
COPIED = 16
"""Events that `list_rows` moves at a time."""


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
            return pointer(context, builder, signature, args, array, offset)

        wide = ir.VectorType(I32, COPIED)
        size = splat(builder, args[6], COPIED)

        def copy(source: Any, target: Any, base: Any) -> None:
            events = builder.zext(load(builder, source, ir.VectorType(I16, COPIED), 2), wide)
            moved = builder.add(builder.mul(events, size), base)
            builder.store(moved, as_pointer(builder, target, wide), align=4)

        entry = builder.block
        body, more, behind, done = (
            builder.append_basic_block(name) for name in ("tap", "tap.more", "tap.end", "taps.end")
        )
        builder.cbranch(builder.icmp_signed("<", args[1], args[2]), body, done)
        builder.position_at_end(body)
        tap, end = builder.phi(I64), builder.phi(I64)
        tap.add_incoming(args[1], entry)
        end.add_incoming(args[8], entry)
        entries = at(0, builder.shl(tap, number(2)))
        offset, length, stride, base = (
            builder.load(builder.gep(entries, [number(n)]), align=4) for n in range(4)
        )
        far = builder.mul(builder.sext(stride, I64), args[4])
        place = at(3, builder.add(builder.sext(offset, I64), far))
        start = builder.load(place, align=4)
        stop = builder.load(builder.gep(place, [builder.sext(length, I64)]), align=4)
        n_events = builder.sext(builder.sub(stop, start), I64)
        base = splat(builder, base, COPIED)
        source, target = at(5, builder.sext(start, I64)), at(7, end)
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
        builder.cbranch(builder.icmp_signed("<", next_tap, args[2]), body, done)
        builder.position_at_end(done)
        total = builder.phi(I64)
        total.add_incoming(args[8], entry)
        total.add_incoming(next_end, behind)
        four = ir.VectorType(I32, 4)
        filler = as_pointer(builder, at(7, total), four)
        builder.store(ir.Constant(four, [0] * 4), filler, align=4)
        return builder.and_(builder.add(total, number(3)), number(-4))

    return signature, codegen


def _append_by_table(builder: Any, at: Any, args: Any) -> Any:
    """Emit `append_places` for any machine: one byte of the mask after the other."""
    eight = ir.VectorType(I16, 8)
    entry = builder.block
    body, done = (builder.append_basic_block(name) for name in ("byte", "bytes.end"))
    base = splat(builder, args[3], 8)
    builder.branch(body)
    builder.position_at_end(body)
    byte, end, rest, shift = (builder.phi(type_) for type_ in (I64, I64, I64, eight))
    bits = builder.and_(rest, number(255))
    row = at(0, builder.shl(bits, number(3)))
    places = builder.add(load(builder, row, eight, 2), shift)
    target = at(4, end)
    builder.store(places, as_pointer(builder, target, eight), align=2)
    next_byte = builder.add(byte, number(1))
    next_end = builder.add(end, builder.ctpop(bits))
    following = (
        (byte, number(0), next_byte),
        (end, args[5], next_end),
        (rest, args[1], builder.lshr(rest, number(8))),
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
    places = builder.add(splat(builder, args[3], HALF), ir.Constant(vector, list(range(HALF))))

    def append(mask: Any, places: Any, end: Any) -> Any:
        chosen = builder.bitcast(mask, bits)
        packed = builder.call(compress, [places, ir.Constant(vector, [0] * HALF), chosen])
        builder.store(packed, as_pointer(builder, at(4, end), vector), align=2)
        return builder.add(end, builder.zext(builder.ctpop(mask), I64))

    half = ir.IntType(HALF)
    low_end = append(builder.trunc(args[1], half), places, args[5])
    before = builder.block
    upper, done = (builder.append_basic_block(name) for name in ("upper", "upper.end"))
    builder.cbranch(builder.icmp_signed(">", args[2], number(HALF // 8)), upper, done)
    builder.position_at_end(upper)
    high_places = builder.add(places, ir.Constant(vector, [HALF] * HALF))
    high_mask = builder.trunc(builder.lshr(args[1], number(HALF)), half)
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
            return pointer(context, builder, signature, args, array, offset)

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


@intrinsic
def lowest_bit(typing: Any, value: Any) -> Any:
    """Return the place of the lowest set bit of a uint64 that is not zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(I1, 1))

    return types.int64(types.uint64), codegen
