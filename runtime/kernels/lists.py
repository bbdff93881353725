"""Intrinsics between spike masks and lists of events. Nothing here checks bounds."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import I1, I8, I16, I32, I64, as_pointer, emit_loop, load, number, pointer, splat, zeros

HALF = 32
"""Channels whose events AVX-512 writes at once."""
WORD = 64


def _append_by_table(builder: Any, at: Any, mask: Any, args: Any, end: Any, levels: Any) -> Any:
    """Emit how to append events on any machine: one byte of the mask after the other."""
    eight = ir.VectorType(I16, 8)

    def append_byte(byte: Any, state: list[Any]) -> list[Any]:
        end, rest, shift = state
        bits = builder.and_(rest, number(255))
        row = at(0, builder.shl(bits, number(3)))
        places = builder.add(load(builder, row, eight, 2), shift)
        builder.store(places, as_pointer(builder, at(8, end), eight), align=2)
        return [
            builder.add(end, builder.ctpop(bits)),
            builder.lshr(rest, number(8)),
            builder.add(shift, ir.Constant(eight, [8] * 8)),
        ]

    base = builder.trunc(args[4], I16)
    state = [end, mask, splat(builder, base, 8)]
    behind = emit_loop(builder, number(0), args[5], 1, state, append_byte)[0]

    def append_level(place: Any, state: list[Any]) -> list[Any]:
        channel = builder.sub(builder.load(at(8, place)), base)
        level = builder.load(builder.gep(levels, [builder.zext(channel, I64)]))
        builder.store(level, at(11, place))
        return []

    if levels is not None:
        emit_loop(builder, end, behind, 1, [], append_level)
    return behind


def _append_by_compress(builder: Any, at: Any, mask: Any, args: Any, end: Any, levels: Any) -> Any:
    """Emit how to append events with AVX-512 VBMI2: 32 channels at a time."""
    bits = ir.VectorType(I1, HALF)

    def compress(values: Any, mask: Any, target: Any) -> None:
        type_ = values.type
        name = f"llvm.x86.avx512.mask.compress.v{HALF}i{type_.element.width}"
        function_type = ir.FunctionType(type_, [type_, type_, bits])
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        packed = builder.call(function, [values, zeros(type_), builder.bitcast(mask, bits)])
        builder.store(packed, as_pointer(builder, target, type_), align=type_.element.width // 8)

    base = splat(builder, builder.trunc(args[4], I16), HALF)

    def append(first: int, end: Any) -> Any:
        half = ir.IntType(HALF)
        part = builder.trunc(builder.lshr(mask, number(first)), half)
        channels = ir.Constant(ir.VectorType(I16, HALF), list(range(first, first + HALF)))
        compress(builder.add(base, channels), part, at(8, end))
        if levels is not None:
            source = builder.gep(levels, [number(first)])
            compress(load(builder, source, ir.VectorType(I8, HALF), 1), part, at(11, end))
        return builder.add(end, builder.zext(builder.ctpop(part), I64))

    low_end = append(0, end)
    before = builder.block
    upper, done = (builder.append_basic_block(name) for name in ("upper", "upper.end"))
    builder.cbranch(builder.icmp_signed(">", args[5], number(HALF // 8)), upper, done)
    builder.position_at_end(upper)
    high_end = append(HALF, low_end)
    upper = builder.block
    builder.branch(done)
    builder.position_at_end(done)
    end = builder.phi(I64)
    end.add_incoming(low_end, before)
    end.add_incoming(high_end, upper)
    return end


@intrinsic
def append_events(
    typing: Any, table: Any, masks: Any, place: Any, stride: Any, first: Any, n_bytes: Any,
    channels: Any, n_steps: Any, ids: Any, ends: Any, source_levels: Any, levels: Any, e: Any,
    counted: Any,
) -> Any:  # fmt: skip
    """Append the events of a word of spikes at every step to that step's list.

    At step s, for the bits of masks[place + s * stride] that are in `channels`, write
    first + bit to ids[ends[e + s]:], and if `counted` source_levels[64 * (same place) + bit] to
    levels; then move ends[e + s] on. Up to HALF entries behind the end are overwritten. `table` has
    the places of the bits of every byte; only the lowest bytes of the word are looked at.
    """
    signature = types.void(
        table, masks, types.intp, types.intp, types.intp, types.intp, types.int64, types.intp, ids,
        ends, source_levels, levels, types.intp, counted,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def at(array: int, offset: Any) -> Any:
            return pointer(context, builder, signature, args, array, offset)

        features = context.codegen().magic_tuple()[2]
        has_compress = "+avx512vbmi2" in features and "+avx512bw" in features
        append = _append_by_compress if has_compress else _append_by_table

        def one_step(step: Any, state: list[Any]) -> list[Any]:
            source = builder.add(args[2], builder.mul(step, args[3]))
            mask = builder.and_(builder.load(at(1, source)), args[6])
            target = at(9, builder.add(args[12], step))
            end = builder.sext(builder.load(target), I64)
            found = at(10, builder.shl(source, number(6))) if len(counted) else None
            behind = append(builder, at, mask, args, end, found)
            builder.store(builder.trunc(behind, I32), target)
            return []

        emit_loop(builder, number(0), args[7], 1, [], one_step)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def add_masks(
    typing: Any, masks: Any, sources: Any, first: Any, last: Any, shift: Any, levels: Any,
    place: Any,
) -> Any:  # fmt: skip
    """Count bits of masks[sources[first:last] + shift] one by one into levels[place:], 64 uint8.

    Returns:
        The union of the masks.
    """
    signature = types.uint64(masks, sources, types.intp, types.intp, types.intp, levels, types.intp)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(I8, WORD)

        def add_mask(number_: Any, state: list[Any]) -> list[Any]:
            union, counts = state
            source = builder.load(pointer(context, builder, signature, args, 1, number_))
            place = builder.add(source, args[4])
            mask = builder.load(pointer(context, builder, signature, args, 0, place))
            bits = builder.bitcast(mask, ir.VectorType(I1, WORD))
            return [builder.or_(union, mask), builder.add(counts, builder.zext(bits, vector))]

        state = [number(0), zeros(vector)]
        union, counts = emit_loop(builder, args[2], args[3], 1, state, add_mask)
        target = pointer(context, builder, signature, args, 5, args[6])
        builder.store(counts, as_pointer(builder, target, vector), align=1)
        return union

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
