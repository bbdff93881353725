"""Layers that are a few operations of the IR; what every front-end builds from them.

`emit(inner, op, operands)` appends a node to the front-end's graph and returns its name; `inner` is
what the node is called within its layer, "" for the layer's result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..errors import GraphError
from ..ir import Array, Op
from ..ir.ops import (
    Add,
    Concatenate,
    Conv,
    InsertZeros,
    MaxPool,
    Pairs,
    Relu,
    Reshape,
    Scale,
    Select,
    Transpose,
)

MAX_PLACES = 2**20
"""Along one axis, in a list of them; spikeport's own files hold as many."""

Emit = Callable[[str, Op, tuple[str, ...]], str]


def leaky_relu(emit: Emit, x: str, slope: Array, max_value: Array | None = None) -> str:
    """Emit max(x, 0) - slope max(-x, 0) as two ReLUs, which become two neurons per unit.

    Each half of the signed value has a neuron of its own, so that no sign is lost.

    Args:
        emit: See above.
        x: The operand.
        slope: For x < 0; has the rank of a sample and broadcasts to it.
        max_value: Upper bound likewise, or None.
    """
    zero = np.zeros_like(slope)
    positive = emit("positive", Relu(max_value), (x,))
    mirrored = emit("mirrored", Scale(np.full_like(slope, -1), zero), (x,))
    negative = emit("negative", Relu(), (mirrored,))
    weighted = emit("weighted", Scale(-slope, zero), (negative,))
    return emit("", Add(), (positive, weighted))


def subtract(emit: Emit, a: str, b: str, rank: int) -> str:
    """Emit a - b for samples of `rank` axes."""
    return emit("", Add(), (a, emit("mirrored", _factor(-1, rank), (b,))))


def average(emit: Emit, operands: Sequence[str], rank: int) -> str:
    """Emit the mean of operands of one shape, of `rank` axes."""
    total = emit("sum", Add(), tuple(operands))
    return emit("", _factor(1 / len(operands), rank), (total,))


def maximum(emit: Emit, operands: Sequence[str], shape: tuple[int, ...]) -> str:
    """Emit the largest of operands of one shape, entry by entry: a max-pooling across them."""
    n_operands, size = len(operands), math.prod(shape)
    rows = tuple(emit("row", Reshape((1, size)), (operand,)) for operand in operands)
    stacked = emit("stacked", Concatenate(0), rows)
    columns = emit("columns", Transpose((1, 0)), (stacked,))
    pool = MaxPool((n_operands,), (n_operands,), (1,), ((0, 0),))
    return emit("", Reshape(shape), (emit("largest", pool, (columns,)),))


def minimum(emit: Emit, operands: Sequence[str], shape: tuple[int, ...]) -> str:
    """Emit the smallest of operands of one shape, entry by entry: -max(-x)."""
    rank = len(shape)
    mirrored = [emit("mirrored", _factor(-1, rank), (operand,)) for operand in operands]

    def inside(inner: str, op: Op, names: tuple[str, ...]) -> str:
        return emit(inner or "maximum", op, names)

    return emit("", _factor(-1, rank), (maximum(inside, mirrored, shape),))


def conv_transpose(
    emit: Emit,
    x: str,
    sizes: tuple[int, ...],
    *,
    weight: Array,
    bias: Array,
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
    crop: Pairs,
    groups: int = 1,
) -> str:
    """Emit a transposed convolution: zeros between the entries, then a convolution.

    Args:
        emit: See above.
        x: The operand, [C_in, *sizes].
        sizes: Its spatial sizes.
        weight: [C_in, C_out / groups, K...], as Keras (moved in front) and ONNX keep it.
        bias: [C_out].
        strides: Of the result's positions, per spatial axis.
        dilation: Per spatial axis.
        crop: What is cut from the full result of (n - 1) stride + (K - 1) dilation + 1 entries,
            before and after, per spatial axis; negative: entries that hold the bias alone.
        groups: Of channels.
    """
    n_axes = len(sizes)
    n_in, per_group, *kernel = weight.shape
    grouped = weight.reshape(groups, n_in // groups, per_group, *kernel).swapaxes(1, 2)
    flipped = np.flip(grouped, axis=tuple(range(3, 3 + n_axes)))
    turned = flipped.reshape(groups * per_group, n_in // groups, *kernel)
    if any(step > 1 for step in strides):
        x = emit("spread", InsertZeros(strides), (x,))
    padding: list[tuple[int, int]] = []
    kept: list[tuple[int, ...] | None] = []
    for size, step, k, d, (before, after) in zip(
        sizes, strides, kernel, dilation, crop, strict=True
    ):
        reach = (k - 1) * d
        first, last = reach - before, reach - after
        spread = (size - 1) * step + 1
        padding.append((max(first, 0), max(last, 0)))
        is_whole = first >= 0 and last >= 0
        kept.append(None if is_whole else places(max(-first, 0), spread - max(-last, 0)))
    if any(each is not None for each in kept):
        x = emit("cropped", Select((None, *kept)), (x,))
    op = Conv(turned, bias, (1,) * n_axes, dilation, tuple(padding), groups)
    return emit("", op, (x,))


def places(*bounds: int) -> tuple[int, ...]:
    """Return range(*bounds) as places for a Select.

    Raises:
        GraphError: They are more than MAX_PLACES.
    """
    found = range(*bounds)
    if len(found) > MAX_PLACES:
        raise GraphError(f"takes {len(found)} places of an axis, expected at most {MAX_PLACES}")
    return tuple(found)


def _factor(value: float, rank: int) -> Scale:
    ones = np.ones((1,) * rank, np.float32)
    return Scale(ones * np.float32(value), 0 * ones)
