"""Intrinsics for neurons: LLVM vectors of `len(lanes)` float32 numbers.

`lanes` is a tuple whose length alone matters: the width of a vector travels in a type, so that the
kernels stay at module level, where numba can cache them on disk. Offsets count entries of an
array, row indices count bytes. Nothing here checks bounds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .emit import F32, I1, I8, I64, as_pointer, load, number, pointer


def n_sums(n_lanes: int) -> int:
    """Return how many partial sums run side by side, to hide the latency of an addition."""
    return max(1, min(4, 128 // n_lanes))


def n_side_by_side(n_lanes: int) -> int:
    """Return at how many positions `fire_steps` computes neurons, for the same reason."""
    return max(1, 128 // n_lanes)


def _sum_rows(builder: Any, rows: Any, index: Any, count: Any, start: Any) -> Any:
    """Emit start + rows[index[0]] + ... in `n_sums` partial sums; count is a multiple of them."""
    vector = start.type
    sums = n_sums(vector.count)
    base = as_pointer(builder, rows, I8)
    entry = builder.block
    body, done = (builder.append_basic_block(name) for name in ("rows", "rows.done"))
    first = [start, *[ir.Constant(vector, [0.0] * vector.count)] * (sums - 1)]
    builder.cbranch(builder.icmp_signed(">", count, number(0)), body, done)
    builder.position_at_end(body)
    place = builder.phi(I64)
    place.add_incoming(number(0), entry)
    totals = [builder.phi(vector) for _ in range(sums)]
    added = []
    for part, total in enumerate(totals):
        total.add_incoming(first[part], entry)
        entry_place = builder.add(place, number(part))
        offset = builder.load(builder.gep(index, [entry_place]), align=4)
        row = builder.gep(base, [builder.sext(offset, I64)])
        added.append(builder.fadd(total, load(builder, row, vector)))
    behind = builder.add(place, number(sums))
    place.add_incoming(behind, body)
    for total, value in zip(totals, added, strict=True):
        total.add_incoming(value, body)
    builder.cbranch(builder.icmp_signed("<", behind, count), body, done)
    builder.position_at_end(done)
    results = []
    for part in range(sums):
        result = builder.phi(vector)
        result.add_incoming(first[part], entry)
        result.add_incoming(added[part], body)
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
            return pointer(context, builder, signature, args, array, args[array + 1])

        start = load(builder, at(0), vector)
        total = _sum_rows(builder, at(2), at(4), args[6], start)
        builder.store(total, as_pointer(builder, at(7), vector), align=4)
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
    builder.store(bits, as_pointer(builder, target, ir.IntType(n)), align=1)
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
            return pointer(context, builder, signature, args, array, args[array + 1])

        start = load(builder, at(0), vector)
        current = _sum_rows(builder, at(2), at(4), args[6], start)
        place = as_pointer(builder, at(7), vector)
        limit = load(builder, at(9), vector)
        is_zero = builder.trunc(args[11], I1) if args[11].type != I1 else args[11]
        potential = builder.load(place, align=4)
        after, counted = _fire(builder, potential, current, limit, is_zero, at(12))
        builder.store(after, place, align=4)
        return counted

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
        def at(array: int, place: int) -> Any:
            far = builder.mul(args[array + 2], number(place))
            offset = builder.add(args[array + 1], far)
            return pointer(context, builder, signature, args, array, offset)

        places = range(n_side_by_side(n))
        currents = [load(builder, at(0, place), vector) for place in places]
        states = [as_pointer(builder, at(3, place), vector) for place in places]
        limits = [load(builder, at(6, place), vector) for place in places]
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
        next_step = builder.add(step, number(1))
        step.add_incoming(number(0), entry)
        step.add_incoming(next_step, body)
        fired.add_incoming(number(0), entry)
        fired.add_incoming(counted, body)
        builder.cbranch(builder.icmp_signed("<", next_step, args[14]), body, done)
        builder.position_at_end(done)
        for state, value in zip(states, behind, strict=True):
            builder.store(value, state, align=4)
        return counted

    return signature, codegen
