"""OPERATORS: what every op without a state is in ONNX, opset 17.

A batch axis stands in front of every sample, as in the IR. Where numpy and ONNX could differ by the
order of float32 operations (thresholds, scales), the operations are written one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import Graph, Node, Quantize, SumPool
from ...ir.ops import (
    AveragePool,
    BatchNorm,
    Concatenate,
    Conv,
    Dense,
    MaxPool,
    Pad,
    QuantizedRelu,
    Relu,
    Scale,
    Softmax,
    Transpose,
)
from .draft import Draft
from .functions import FUNCTIONS

Translation = Callable[..., str]
"""(draft, graph, node, names of the operands) -> name of the result; appends to the draft."""


def _copy(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    return draft.add("Identity", *operands, name=node.name)


def _dense(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    weight = draft.constant(op.weight, name=f"{node.name}.weight")
    bias = draft.constant(op.bias, name=f"{node.name}.bias")
    return draft.add("Gemm", *operands, weight, bias, name=node.name, transB=1)


def _conv(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    weight = draft.constant(op.weight, name=f"{node.name}.weight")
    bias = draft.constant(op.bias, name=f"{node.name}.bias")
    return draft.add(
        "Conv", *operands, weight, bias, name=node.name, strides=op.strides, dilations=op.dilation,
        pads=_pads(op.padding), group=op.groups, kernel_shape=op.weight.shape[2:],
    )  # fmt: skip


def _batch_norm(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return _scaled(draft, node, op.as_scale(len(graph.types[node.name].shape)), *operands)


def _scale(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return _scaled(draft, node, op, *operands)


def _scaled(draft: Draft, node: Node, op: Scale, *operands: str) -> str:
    scale = draft.constant(op.scale, name=f"{node.name}.scale")
    shift = draft.constant(op.shift, name=f"{node.name}.shift")
    product = draft.add("Mul", *operands, scale, name=f"{node.name}.product")
    return draft.add("Add", product, shift, name=node.name)


def _relu(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    if op.max_value is None:
        return draft.add("Relu", *operands, name=node.name)
    positive = draft.add("Relu", *operands, name=f"{node.name}.positive")
    cap = draft.constant(op.max_value, name=f"{node.name}.max_value")
    return draft.add("Min", positive, cap, name=node.name)


def _quantized_relu(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    n = np.float32(op.n_levels)

    def with_constant(operator: str, x: str, value: Any, part: str, name: str = "") -> str:
        constant = draft.constant(np.float32(value), name=f"{node.name}.{part}")
        return draft.add(operator, x, constant, name=name or f"{node.name}.{operator.lower()}")

    quotient = with_constant("Div", operands[0], op.threshold, "threshold")
    scaled = with_constant("Mul", quotient, n, "n_levels")
    shifted = with_constant("Add", scaled, op.shift % 1, "shift")
    levels = draft.add("Floor", shifted, name=f"{node.name}.floor")
    if op.shift == 1:
        levels = with_constant("Add", levels, 1, "one")
    positive = with_constant("Max", levels, 0, "least")
    capped = with_constant("Min", positive, n, "most")
    return with_constant("Mul", capped, op.threshold / n, "unit", node.name)


def _max_pool(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("MaxPool", *operands, name=node.name, **window_attributes(op))


def window_attributes(op: Any) -> dict[str, Any]:
    """Return the attributes of a pooling."""
    return {
        "kernel_shape": op.kernel,
        "strides": op.strides,
        "dilations": op.dilation,
        "pads": _pads(op.padding),
    }


def _average_pool(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add(
        "AveragePool", *operands, name=node.name, kernel_shape=op.kernel, strides=op.strides,
        pads=_pads(op.padding), count_include_pad=int(op.count_padding),
    )  # fmt: skip


def _global_average_pool(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    axes = range(2, len(graph.types[node.inputs[0]].shape) + 1)
    return draft.add("ReduceMean", *operands, name=node.name, axes=axes, keepdims=0)


def _reshape(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    shape = (-1, *graph.types[node.name].shape)
    sizes = draft.constant(shape, name=f"{node.name}.shape", dtype=np.int64)
    return draft.add("Reshape", *operands, sizes, name=node.name)


def _transpose(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    axes = (0, *(axis + 1 for axis in op.permutation))
    return draft.add("Transpose", *operands, name=node.name, perm=axes)


def _pad(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    pads = _pads(((0, 0), *op.padding))
    sizes = draft.constant(pads, name=f"{node.name}.pads", dtype=np.int64)
    return draft.add("Pad", *operands, sizes, name=node.name)


def _add(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    if len(operands) == 1:
        return _copy(draft, graph, node, *operands)
    total = operands[0]
    for place, operand in enumerate(operands[1:], 2):
        name = node.name if place == len(operands) else f"{node.name}.sum"
        total = draft.add("Add", total, operand, name=name)
    return total


def _concatenate(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("Concat", *operands, name=node.name, axis=op.axis + 1)


def _softmax(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("Softmax", *operands, name=node.name, axis=op.axis + 1)


def _log_softmax(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    return draft.add("LogSoftmax", *operands, name=node.name, axis=op.axis + 1)


def _local_response_norm(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    numbers = {"alpha": op.alpha, "beta": op.beta, "bias": op.bias}
    return draft.add("LRN", *operands, name=node.name, size=op.size, **numbers)


def _sigmoid(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    return draft.add("Sigmoid", *operands, name=node.name)


def _select(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    chosen = [axis for axis, places in enumerate(op.indices) if places is not None]
    (result,) = operands
    for axis in chosen:
        places = draft.constant(op.indices[axis], name=f"{node.name}.places", dtype=np.int64)
        name = node.name if axis == chosen[-1] else f"{node.name}.selected"
        result = draft.add("Gather", result, places, name=name, axis=axis + 1)
    return result if chosen else _copy(draft, graph, node, *operands)


def _insert_zeros(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    """Give every entry an axis of its own, pad this one, and cut what follows the last entry."""
    op: Any = node.op
    channels, *sizes = graph.types[node.inputs[0]].shape
    apart = [size for n in sizes for size in (n, 1)]
    joined = [n * step for n, step in zip(sizes, op.strides, strict=True)]
    zeros = [0, 0] + [size for step in op.strides for size in (0, step - 1)]

    def numbers(values: Any, name: str) -> str:
        return draft.constant(values, name=f"{node.name}.{name}", dtype=np.int64)

    result = draft.add(
        "Reshape", *operands, numbers([-1, channels, *apart], "apart"), name=f"{node.name}.entries"
    )
    pads = numbers([0] * len(zeros) + zeros, "pads")
    result = draft.add("Pad", result, pads, name=f"{node.name}.padded")
    shape = numbers([-1, channels, *joined], "joined")
    result = draft.add("Reshape", result, shape, name=f"{node.name}.long")
    ends = graph.types[node.name].shape[1:]
    axes = range(2, 2 + len(ends))
    bounds = (
        numbers(values, name)
        for values, name in (([0] * len(ends), "starts"), (ends, "ends"), (list(axes), "axes"))
    )
    return draft.add("Slice", result, *bounds, name=node.name)


def _quantize(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    step = draft.constant(np.float32(op.step), name=f"{node.name}.step")
    low, high = (
        draft.constant(np.float32(value), name=f"{node.name}.{name}")
        for name, value in (("low", op.low), ("high", op.high))
    )
    quotient = draft.add("Div", *operands, step, name=f"{node.name}.quotient")
    levels = draft.add("Round", quotient, name=f"{node.name}.levels")
    return draft.add("Clip", levels, low, high, name=node.name)


def _sum_pool(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    """A convolution with ones: a mean times its divisor would not be the sum of integers."""
    op: Any = node.op
    n_channels = graph.types[node.name].shape[0]
    ones = draft.constant(np.ones((n_channels, 1, *op.kernel)), name=f"{node.name}.ones")
    return draft.add(
        "Conv", *operands, ones, name=node.name, strides=op.strides, pads=_pads(op.padding),
        group=n_channels, kernel_shape=op.kernel,
    )  # fmt: skip


def _activation(draft: Draft, graph: Graph, node: Node, *operands: str) -> str:
    op: Any = node.op
    write: Translation = FUNCTIONS[op.function]
    return write(draft, node.name, *operands, *op.parameters)


def _pads(padding: Any) -> list[int]:
    return [before for before, _ in padding] + [after for _, after in padding]


OPERATORS: dict[str, Translation] = {
    "Identity": _copy,
    Dense.__name__: _dense,
    Conv.__name__: _conv,
    BatchNorm.__name__: _batch_norm,
    Scale.__name__: _scale,
    Relu.__name__: _relu,
    QuantizedRelu.__name__: _quantized_relu,
    MaxPool.__name__: _max_pool,
    AveragePool.__name__: _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "Flatten": _reshape,
    "Reshape": _reshape,
    Transpose.__name__: _transpose,
    Pad.__name__: _pad,
    "Add": _add,
    Concatenate.__name__: _concatenate,
    Softmax.__name__: _softmax,
    "LogSoftmax": _log_softmax,
    "Sigmoid": _sigmoid,
    "LocalResponseNorm": _local_response_norm,
    "Activation": _activation,
    "Select": _select,
    "InsertZeros": _insert_zeros,
    Quantize.__name__: _quantize,
    SumPool.__name__: _sum_pool,
}
