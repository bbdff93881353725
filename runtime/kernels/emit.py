"""What the intrinsics share: emitting LLVM instructions for vectors."""

from __future__ import annotations

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
