"""Functions entry by entry, and what moves entries, as Keras layers and functions of keras.ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import Node
from ...ir.ops import BatchNorm, Dense, QuantizedRelu, Relu, Scale, Select
from .draft import Draft, Value, channels_last, refuse, spread
from .weights import to_keras


def _copy(draft: Draft, node: Node, value: Value) -> Value:
    return Value(draft.layer("Identity", node.name)(value.tensor), value.axes)


def _dense(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    layer = draft.layer("Dense", node.name, units=len(op.weight))
    result = layer(value.tensor)
    layer.set_weights(to_keras(op))
    return Value(result, (0,))


def _batch_norm(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    x = draft.channels_last(value, node.name)
    layer = draft.layer("BatchNormalization", node.name, epsilon=op.epsilon)
    result = layer(x)
    layer.set_weights(to_keras(op))
    return Value(result, channels_last(len(value.axes)))


def _scale(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    settings: dict[str, Any] = {}
    for name, values in (("scale", op.scale), ("offset", op.shift)):
        uniform = (values == values.flat[0]).all()
        settings[name] = float(values.flat[0]) if uniform else spread(values, value.axes).tolist()
    return Value(draft.layer("Rescaling", node.name, **settings)(value.tensor), value.axes)


def _relu(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    largest = op.max_value
    if largest is None:
        return Value(draft.layer("ReLU", node.name)(value.tensor), value.axes)
    if (largest == largest.flat[0]).all():
        layer = draft.layer("ReLU", node.name, max_value=float(largest.flat[0]))
        return Value(layer(value.tensor), value.axes)
    import keras

    positive = draft.layer("ReLU", node.name)(value.tensor)
    return Value(keras.ops.minimum(positive, spread(largest, value.axes)[None]), value.axes)


def _quantized_relu(draft: Draft, node: Node, value: Value) -> Value:
    """A layer of spikeport's own: none of Keras' has a gradient that is of use."""
    op: Any = node.op
    axes, x = value.axes, value.tensor
    if op.threshold.size > 1:
        if op.threshold.size != len(op.threshold):
            raise refuse("has a threshold per position, the layer has one per channel")
        axes = channels_last(len(axes))
        x = draft.channels_last(value, node.name)
    if op.shift == 1:
        half = (op.threshold.reshape(-1) / 2).tolist()
        if op.n_levels > 1:
            raise refuse("has a shift of 1 and several levels, expected a shift below 1")
        signs = draft.layer("BinarySign", node.name, part="sign")(x)
        layer = draft.layer("Rescaling", node.name, scale=half, offset=half)
        return Value(layer(signs), axes)
    layer = draft.layer(
        "QuantizedReLU", node.name, n_levels=op.n_levels, shift=op.shift,
        per_channel=op.threshold.size > 1,
    )  # fmt: skip
    result = layer(x)
    layer.set_weights([op.threshold.reshape(-1)])
    return Value(result, axes)


def _flatten(draft: Draft, node: Node, value: Value) -> Value:
    x = draft.plain(value, node.name)
    if not value.axes:
        return Value(draft.layer("Reshape", node.name, target_shape=(1,))(x), (0,))
    return Value(draft.layer("Flatten", node.name)(x), (0,))


def _reshape(draft: Draft, node: Node, value: Value) -> Value:
    shape = draft.graph.types[node.name].shape
    axes = tuple(range(len(shape)))
    order = _same_order(value, shape)
    if order is not None:
        return Value(value.tensor, order)
    x = draft.plain(value, node.name)
    return Value(draft.layer("Reshape", node.name, target_shape=shape)(x), axes)


def _same_order(value: Value, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return axes under which the tensor, as it is, has this shape: only axes of size 1 differ."""
    real = [axis for axis, size in enumerate(shape) if size > 1]
    places = [axis for axis, size in zip(value.axes, value.shape, strict=True) if size > 1]
    sizes = [size for size in value.shape if size > 1]
    if len(shape) != len(value.shape) or sizes != [shape[axis] for axis in real]:
        return None
    if places != sorted(places):
        return None
    left = iter([axis for axis, size in enumerate(shape) if size == 1])
    found = iter(real)
    return tuple(next(found if size > 1 else left) for size in value.shape)


def _transpose(draft: Draft, node: Node, value: Value) -> Value:
    """The tensor stays as it is, its axes are another's: only what needs an order asks for it."""
    op: Any = node.op
    return Value(value.tensor, tuple(op.permutation.index(axis) for axis in value.axes))


def _pad(draft: Draft, node: Node, value: Value) -> Value:
    import keras

    op: Any = node.op
    n = len(op.padding) - 1
    if 1 <= n <= 3 and not any(op.padding[0]):
        x = draft.channels_last(value, node.name)
        pairs = tuple(map(tuple, op.padding[1:]))
        layer = draft.layer(f"ZeroPadding{n}D", node.name, padding=pairs[0] if n == 1 else pairs)
        return Value(layer(x), channels_last(n + 1))
    pairs = ((0, 0), *(tuple(op.padding[axis]) for axis in value.axes))
    return Value(keras.ops.pad(value.tensor, pairs), value.axes)


def _select(draft: Draft, node: Node, value: Value) -> Value:
    """Crop where a range is cut off, take where it is anything else."""
    import keras

    op: Any = node.op
    if (crops := _crops(op, draft.graph.types[node.inputs[0]].shape)) is not None:
        x = draft.channels_last(value, node.name)
        n = len(crops)
        layer = draft.layer(f"Cropping{n}D", node.name, cropping=crops[0] if n == 1 else crops)
        return Value(layer(x), channels_last(n + 1))
    x = value.tensor
    for place, axis in enumerate(value.axes, start=1):
        if op.indices[axis] is not None:
            x = keras.ops.take(x, np.array(op.indices[axis], np.int32), axis=place)
    return Value(x, value.axes)


def _crops(op: Select, shape: tuple[int, ...]) -> tuple[tuple[int, int], ...] | None:
    if op.indices[0] is not None or not 2 <= len(shape) <= 4:
        return None
    found = []
    for places, size in zip(op.indices[1:], shape[1:], strict=True):
        first, last = (places[0], places[-1]) if places else (0, size - 1)
        if places is not None and places != tuple(range(first, last + 1)):
            return None
        found.append((first, size - 1 - last))
    return tuple(found)


def _insert_zeros(draft: Draft, node: Node, value: Value) -> Value:
    """Repeat every entry, keep the first of them, and cut what follows the last one."""
    op: Any = node.op
    n = len(op.strides)
    x = draft.channels_last(value, node.name)
    size, crop = (op.strides[0], (0, op.strides[0] - 1)) if n == 1 else (
        op.strides, tuple((0, step - 1) for step in op.strides)
    )  # fmt: skip
    x = draft.layer(f"UpSampling{n}D", node.name, part="repeat", size=size)(x)
    mask = np.ones((), np.float32)
    for length, step in zip(x.shape[1:-1], op.strides, strict=True):
        mask = mask[..., None] * (np.arange(length) % step == 0)
    x = draft.layer("Rescaling", node.name, part="mask", scale=mask[..., None].tolist())(x)
    return Value(draft.layer(f"Cropping{n}D", node.name, cropping=crop)(x), channels_last(n + 1))


def _add(draft: Draft, node: Node, *values: Value) -> Value:
    axes = values[0].axes
    tensors = [draft.arrange(value, axes, node.name) for value in values]
    if len(tensors) == 1:
        return _copy(draft, node, values[0])
    return Value(draft.layer("Add", node.name)(tensors), axes)


def _concatenate(draft: Draft, node: Node, *values: Value) -> Value:
    op: Any = node.op
    axes = values[0].axes
    tensors = [draft.arrange(value, axes, node.name) for value in values]
    if len(tensors) == 1:
        return _copy(draft, node, values[0])
    layer = draft.layer("Concatenate", node.name, axis=axes.index(op.axis) + 1)
    return Value(layer(tensors), axes)


def _softmax(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    layer = draft.layer("Softmax", node.name, axis=value.axes.index(op.axis) + 1)
    return Value(layer(value.tensor), value.axes)


def _log_softmax(draft: Draft, node: Node, value: Value) -> Value:
    import keras

    op: Any = node.op
    place = value.axes.index(op.axis) + 1
    if place == len(value.axes):
        layer = draft.layer("Activation", node.name, activation="log_softmax")
        return Value(layer(value.tensor), value.axes)
    return Value(keras.ops.log_softmax(value.tensor, axis=place), value.axes)


def _sigmoid(draft: Draft, node: Node, value: Value) -> Value:
    layer = draft.layer("Activation", node.name, activation="sigmoid")
    return Value(layer(value.tensor), value.axes)


def _quantize(draft: Draft, node: Node, value: Value) -> Value:
    from keras import ops

    op: Any = node.op
    levels = ops.round(ops.divide(value.tensor, float(np.float32(op.step))))
    return Value(ops.clip(levels, op.low, op.high), value.axes)


def _activation(draft: Draft, node: Node, value: Value) -> Value:
    op: Any = node.op
    return Value(ACTIVATIONS[op.function](draft, node, value.tensor, *op.parameters), value.axes)


def _named(draft: Draft, node: Node, x: Any) -> Any:
    op: Any = node.op
    return draft.layer("Activation", node.name, activation=op.function)(x)


def _gelu_tanh(draft: Draft, node: Node, x: Any) -> Any:
    import keras

    return keras.ops.gelu(x, approximate=True)


def _celu(draft: Draft, node: Node, x: Any, alpha: float) -> Any:
    import keras

    return keras.ops.celu(x, alpha=alpha)


def _elu(draft: Draft, node: Node, x: Any, alpha: float) -> Any:
    return draft.layer("ELU", node.name, alpha=alpha)(x)


def _selu(draft: Draft, node: Node, x: Any, alpha: float, factor: float) -> Any:
    curve = draft.layer("ELU", node.name, part="elu", alpha=alpha)(x)
    return draft.layer("Rescaling", node.name, scale=factor)(curve)


def _hard_sigmoid(draft: Draft, node: Node, x: Any, slope: float, shift: float) -> Any:
    line = draft.layer("Rescaling", node.name, part="line", scale=slope, offset=shift)(x)
    return draft.layer("ReLU", node.name, max_value=1.0)(line)


def _hard_silu(draft: Draft, node: Node, x: Any, slope: float, shift: float) -> Any:
    line = draft.layer("Rescaling", node.name, part="line", scale=slope, offset=shift)(x)
    gate = draft.layer("ReLU", node.name, part="gate", max_value=1.0)(line)
    return draft.layer("Multiply", node.name)([x, gate])


def _thresholded_relu(
    draft: Draft, node: Node, x: Any, threshold: float, slope: float, max_value: float
) -> Any:
    layer = draft.layer(
        "ReLU", node.name, threshold=threshold, negative_slope=slope, max_value=max_value or None
    )
    return layer(x)


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        ("exponential", "gelu", "log_sigmoid", "mish", "silu", "softplus", "softsign", "tanh"),
        _named,
    ),
    "gelu_tanh": _gelu_tanh,
    "celu": _celu,
    "elu": _elu,
    "selu": _selu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _hard_silu,
    "thresholded_relu": _thresholded_relu,
}

FUNCTIONS: dict[str, Callable[..., Value]] = {
    "Identity": _copy,
    Dense.__name__: _dense,
    BatchNorm.__name__: _batch_norm,
    Scale.__name__: _scale,
    Relu.__name__: _relu,
    QuantizedRelu.__name__: _quantized_relu,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Pad": _pad,
    Select.__name__: _select,
    "InsertZeros": _insert_zeros,
    "Add": _add,
    "Concatenate": _concatenate,
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "Sigmoid": _sigmoid,
    "Activation": _activation,
    "Quantize": _quantize,
}
