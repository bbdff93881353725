"""What the intrinsics share: emitting LLVM instructions for vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.np import arrayobj

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F32 = ir.FloatType()


def number(value: int) -> Any:
    """Return a constant int64."""
    return ir.Constant(I64, value)


def pointer(context: Any, builder: Any, signature: Any, args: Any, array: int, offset: Any) -> Any:
    """Emit the address of array[offset], `array` being the place of an argument."""
    struct = arrayobj.make_array(signature.args[array])(context, builder, args[array])
    return builder.gep(struct.data, [offset])


def as_pointer(builder: Any, pointer: Any, type_: Any) -> Any:
    """Emit a pointer to another type."""
    return builder.bitcast(pointer, type_.as_pointer())


def load(builder: Any, pointer: Any, type_: Any, align: int = 4) -> Any:
    """Emit a load of `type_`; `align` is in bytes."""
    return builder.load(as_pointer(builder, pointer, type_), align=align)


def splat(builder: Any, value: Any, n: int) -> Any:
    """Emit a vector of n times the same value."""
    vector = ir.VectorType(value.type, n)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, n), [0] * n)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def zeros(type_: Any) -> Any:
    """Return a constant vector of zeros."""
    return ir.Constant(type_, [0] * type_.count)


def emit_loop(
    builder: Any,
    first: Any,
    stop: Any,
    step: int,
    state: list[Any],
    body: Callable[[Any, list[Any]], list[Any]],
    *,
    is_short: bool = False,
) -> list[Any]:
    """Emit `for index in range(first, stop, step): state = body(index, state)`.

    A short loop stays as it is: LLVM would unroll it, which costs more mispredicted branches than
    it saves. The empty assembly is what it cannot see through.

    Returns:
        The state behind the loop.
    """
    entry = builder.block
    head, done = (builder.append_basic_block(name) for name in ("loop", "loop.end"))
    builder.cbranch(builder.icmp_signed("<", first, stop), head, done)
    builder.position_at_end(head)
    index = builder.phi(I64)
    index.add_incoming(first, entry)
    phis = [builder.phi(value.type) for value in state]
    for phi, value in zip(phis, state, strict=True):
        phi.add_incoming(value, entry)
    behind = body(index, phis)
    here = index
    if is_short:
        here = builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [index], False)
    following = builder.add(here, number(step))
    latch = builder.block
    index.add_incoming(following, latch)
    for phi, value in zip(phis, behind, strict=True):
        phi.add_incoming(value, latch)
    builder.cbranch(builder.icmp_signed("<", following, stop), head, done)
    builder.position_at_end(done)
    results = [builder.phi(value.type) for value in state]
    for result, before, after in zip(results, state, behind, strict=True):
        result.add_incoming(before, entry)
        result.add_incoming(after, latch)
    return results
