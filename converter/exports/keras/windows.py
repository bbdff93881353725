"""Convolutions and poolings as Keras layers: channels last, padding as Keras has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ir import IntegrateFire, Node
from ...ir.ops import AveragePool, Conv, MaxPool, Relu
from ...ir.windows import Window
from .draft import Draft, Value, channels_last, refuse
from .weights import to_keras

LOWEST = float(np.finfo(np.float32).min)
"""What pads a maximum: a finite number, because JSON has no infinity."""


def _conv(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    n = op.weight.ndim - 2
    x = draft.channels_last(value, node.name)
    window = Window(op.weight.shape[2:], op.strides, op.dilation, op.padding)
    strides = op.strides
    if any(s > 1 for s in strides) and any(d > 1 for d in op.dilation):
        strides = (1,) * n  # Keras has one of them at a time: the rest is left out behind
    same = _is_same(window, x.shape[1:-1]) and strides == op.strides
    if not same:
        x = _pad(draft, node, x, op.padding)
    settings: dict[str, Any] = {
        "kernel_size": window.kernel,
        "strides": strides,
        "dilation_rate": op.dilation,
        "padding": "same" if same and any(map(any, op.padding)) else "valid",
    }
    n_in = x.shape[-1]
    # TensorFlow's depthwise convolutions take the same stride along both axes.
    is_depthwise = op.groups == n_in > 1 and n < 3 and len(set(strides)) == 1
    if is_depthwise:
        settings["depth_multiplier"] = len(op.weight) // n_in
        layer = draft.layer(f"DepthwiseConv{n}D", node.name, **settings)
    else:
        settings |= {"filters": len(op.weight), "groups": op.groups}
        layer = draft.layer(f"Conv{n}D", node.name, **settings)
    result = layer(x)
    layer.set_weights(to_keras(op, n_in if is_depthwise else 0))
    if strides != op.strides:
        every = draft.layer(
            f"MaxPooling{n}D", node.name, part="strides", pool_size=1, strides=op.strides
        )
        result = every(result)
    return Value(result, channels_last(n + 1))


def _max_pool(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    if any(d > 1 for d in op.dilation):
        raise refuse(f"has the dilation {op.dilation}, Keras' pooling has none")
    x = draft.channels_last(value, node.name)
    same = _is_same(op.window, x.shape[1:-1])
    if not same and isinstance(draft.graph.by_name[node.inputs[0]].op, Relu | IntegrateFire):
        x = _pad(draft, node, x, op.padding)
    elif not same:
        import keras

        pairs = ((0, 0), *op.padding, (0, 0))
        x = keras.ops.pad(x, pairs, constant_values=LOWEST)
    return _pool(draft, node, op, "MaxPooling", x, same)


def _average_pool(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    x = draft.channels_last(value, node.name)
    sizes = x.shape[1:-1]
    if not any(map(any, op.padding)):
        return _pool(draft, node, op, "AveragePooling", x, same=False)
    if not op.count_padding and _is_same(op.window, sizes):
        return _pool(draft, node, op, "AveragePooling", x, same=True)
    result = _pool(draft, node, op, "AveragePooling", _pad(draft, node, x, op.padding), same=False)
    if op.count_padding:
        return result
    ones = np.ones((1, 1, *sizes), np.float32)
    counts = op.window.patches(ones, fill=0.0).sum(axis=tuple(range(2, 2 + len(op.kernel))))
    factors = (math.prod(op.kernel) / counts[0, 0])[..., None]
    layer = draft.layer("Rescaling", node.name, part="border", scale=factors.tolist())
    return Value(layer(result.tensor), result.axes)


def _sum_pool(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    mean = AveragePool(op.kernel, op.strides, op.padding, count_padding=True)
    result = _average_pool(draft, Node(node.name, mean, node.inputs), value)
    factor = float(math.prod(op.kernel))
    layer = draft.layer("Rescaling", node.name, part="sum", scale=factor)
    return Value(layer(result.tensor), result.axes)


def _global_average_pool(draft: Draft, node: Node, value: Value) -> Value:
    x = draft.channels_last(value, node.name)
    n = len(x.shape) - 2
    if n > 3:
        shape = (math.prod(x.shape[1:-1]), x.shape[-1])
        x, n = draft.layer("Reshape", node.name, part="axes", target_shape=shape)(x), 1
    return Value(draft.layer(f"GlobalAveragePooling{n}D", node.name)(x), (0,))


def _pool(draft: Draft, node: Node, op: Any, kind: str, x: Any, same: bool) -> Value:
    n = len(op.kernel)
    layer = draft.layer(
        f"{kind}{n}D", node.name, pool_size=op.kernel, strides=op.strides,
        padding="same" if same and any(map(any, op.padding)) else "valid",
    )  # fmt: skip
    return Value(layer(x), channels_last(n + 1))


def _is_same(window: Window, sizes: tuple[int, ...]) -> bool:
    """Whether the padding is what Keras calls "same", or none."""
    if not any(map(any, window.padding)):
        return True
    for pair, size, kernel, stride, dilation in zip(
        window.padding, sizes, window.kernel, window.strides, window.dilation, strict=True
    ):
        total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        if tuple(pair) != (total // 2, total - total // 2):
            return False
    return True


def _pad(draft: Draft, node: Node, x: Any, padding: Any) -> Any:
    """Return the tensor with zeros around it."""
    if not any(map(any, padding)):
        return x
    n = len(padding)
    pairs = tuple(map(tuple, padding))
    layer = draft.layer(
        f"ZeroPadding{n}D", node.name, part="padding", padding=pairs[0] if n == 1 else pairs
    )
    return layer(x)


WINDOWS = {
    Conv.__name__: _conv,
    MaxPool.__name__: _max_pool,
    AveragePool.__name__: _average_pool,
    "SumPool": _sum_pool,
    "GlobalAveragePool": _global_average_pool,
}
