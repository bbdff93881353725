"""Kernel of small dense products: what is the same at every step needs no matrix library."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .emit import F32, as_pointer, emit_loop, load, number, pointer, splat


@njit(cache=True, nogil=True, boundscheck=False)
def add_products(padded, index, weight, bias, out, lanes):
    """Add windows times weights, and the bias, to `out`; entry after entry of a window.

    Args:
        padded: float32 [samples, entries].
        index: int64 [positions, K]: the entries of each window.
        weight: float32 [K, channels], filled up to whole vectors.
        bias: float32 [channels], likewise.
        out: float32 [samples, positions, channels or more], updated.
        lanes: Tuple; its length is the number of channels in a vector.
    """
    n_samples, n_positions, n_channels = out.shape
    n_entries, n_used = weight.shape
    values, places = padded.reshape(-1), index.reshape(-1)
    rows, flat = weight.reshape(-1), out.reshape(-1)
    for sample in range(n_samples):
        first = sample * padded.shape[1]
        for position in range(n_positions):
            target = (sample * n_positions + position) * n_channels
            for channel in range(0, n_used, len(lanes)):
                add_window(
                    values, first, places, position * n_entries, n_entries, rows, channel, n_used,
                    bias, channel, flat, target + channel, lanes,
                )  # fmt: skip


@intrinsic
def add_window(
    typing: Any, values: Any, v: Any, places: Any, p: Any, n: Any, rows: Any, r: Any, stride: Any,
    bias: Any, b: Any, out: Any, o: Any, lanes: Any,
) -> Any:  # fmt: skip
    """Add bias[b:] and values[v + places[p + i]] * rows[r + i * stride :] for i < n to out[o:]."""
    signature = types.void(
        values, types.intp, places, types.intp, types.intp, rows, types.intp, types.intp,
        bias, types.intp, out, types.intp, lanes,
    )  # fmt: skip
    n_lanes = len(lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(F32, n_lanes)
        fma = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector, vector, vector]),
            f"llvm.fma.v{n_lanes}f32",
        )

        def at(array: int, offset: Any) -> Any:
            return pointer(context, builder, signature, args, array, offset)

        def add_entry(entry: Any, state: list[Any]) -> list[Any]:
            place = builder.load(at(2, builder.add(args[3], entry)))
            value = builder.load(at(0, builder.add(args[1], place)))
            offset = builder.add(args[6], builder.mul(entry, args[7]))
            row = load(builder, at(5, offset), vector)
            return [builder.call(fma, [splat(builder, value, n_lanes), row, state[0]])]

        target = at(10, args[11])
        before = builder.fadd(load(builder, target, vector), load(builder, at(8, args[9]), vector))
        (total,) = emit_loop(builder, number(0), args[4], 1, [before], add_entry)
        builder.store(total, as_pointer(builder, target, vector), align=4)
        return context.get_dummy_value()

    return signature, codegen
