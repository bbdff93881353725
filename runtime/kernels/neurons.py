"""Intrinsics for neurons: LLVM vectors of `len(lanes)` float32 numbers.

`lanes` is a tuple whose length alone matters: the width of a vector travels in a type, so that the
kernels stay at module level, where numba can cache them on disk. Offsets count entries of an
array. Nothing here checks bounds.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .emit import F32, I64, as_pointer, emit_loop, load, number, pointer, zeros


def n_side_by_side(n_lanes: int) -> int:
    """Return at how many positions `fire_steps` computes neurons, to hide the latency."""
    return max(1, 128 // n_lanes)


def emit_fire(
    builder: Any, potential: Any, current: Any, limit: Any, reset: int, target: Any
) -> tuple[Any, Any]:
    """Emit one step of neurons; return potentials behind it and the number of spikes.

    `reset` is how many entries the tuple has that says so: none if the threshold is subtracted, one
    if potentials become zero, two if they become what they were, because every step is a sample.
    """
    n = potential.type.count
    before = builder.fadd(potential, current)
    fired = builder.fcmp_ordered(">=", before, limit)
    nothing = zeros(potential.type)
    if reset == 2:
        after = potential
    elif reset:
        after = builder.select(fired, nothing, before)
    else:
        after = builder.fsub(before, builder.select(fired, limit, nothing))
    bits = builder.bitcast(fired, ir.IntType(n))
    builder.store(bits, as_pointer(builder, target, ir.IntType(n)), align=1)
    counted = builder.ctpop(bits)
    return after, counted if n == 64 else builder.zext(counted, I64)


def _steps(n_places: int) -> Any:
    """Return the code of `fire_steps` at so many positions side by side."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        reset = len(signature.args[-2])
        vector = ir.VectorType(F32, len(signature.args[-1]))

        def at(array: int, place: int) -> Any:
            far = builder.mul(args[array + 2], number(place))
            offset = builder.add(args[array + 1], far)
            return pointer(context, builder, signature, args, array, offset)

        places = range(n_places)
        currents = [at(0, place) for place in places]
        states = [as_pointer(builder, at(4, place), vector) for place in places]
        limits = [load(builder, at(7, place), vector) for place in places]
        targets = [at(10, place) for place in places]

        def one_step(step: Any, state: list[Any]) -> list[Any]:
            counted, *potentials = state
            far, along = builder.mul(step, args[13]), builder.mul(step, args[3])
            behind = []
            for place in places:
                after, n_now = emit_fire(
                    builder,
                    potentials[place],
                    load(builder, builder.gep(currents[place], [along]), vector),
                    limits[place],
                    reset,
                    builder.gep(targets[place], [far]),
                )
                counted = builder.add(counted, n_now)
                behind.append(after)
            return [counted, *behind]

        state = [number(0), *[builder.load(place, align=4) for place in states]]
        counted, *behind = emit_loop(builder, number(0), args[14], 1, state, one_step)
        for place, value in zip(states, behind, strict=True):
            builder.store(value, place, align=4)
        return counted

    return codegen


def _steps_signature(*arguments: Any) -> Any:
    bias, potential, threshold, masks, reset, lanes = arguments
    return types.intp(
        bias, types.intp, types.intp, types.intp, potential, types.intp, types.intp,
        threshold, types.intp, types.intp, masks, types.intp, types.intp, types.intp, types.intp,
        reset, lanes,
    )  # fmt: skip


@intrinsic
def fire_steps(
    typing: Any, bias: Any, b: Any, stride: Any, step_stride: Any, potential: Any, p: Any,
    p_stride: Any, threshold: Any, t: Any, t_stride: Any, masks: Any, m: Any, m_stride: Any,
    step_bytes: Any, n_steps: Any, reset: Any, lanes: Any,
) -> Any:  # fmt: skip
    """All steps of neurons whose currents are given, at `n_side_by_side` positions.

    The strides lead from one position to the next, `step_stride` and `step_bytes` from one step to
    the next. Bit c of masks[m:] says whether neuron c fired; `reset` is as `emit_fire` says.

    Returns:
        How many fired.
    """
    signature = _steps_signature(bias, potential, threshold, masks, reset, lanes)
    return signature, _steps(n_side_by_side(len(lanes)))


@intrinsic
def fire_steps_here(
    typing: Any, bias: Any, b: Any, stride: Any, step_stride: Any, potential: Any, p: Any,
    p_stride: Any, threshold: Any, t: Any, t_stride: Any, masks: Any, m: Any, m_stride: Any,
    step_bytes: Any, n_steps: Any, reset: Any, lanes: Any,
) -> Any:  # fmt: skip
    """As `fire_steps`, at one position."""
    return _steps_signature(bias, potential, threshold, masks, reset, lanes), _steps(1)
