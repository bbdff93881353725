"""Keras layers with spatial axes: convolutions, poolings, zero padding.

Keras stores kernels as [K..., C_in, C_out], the IR as [C_out, C_in, K...].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import FormatError
from ...ir import Array, Op
from ...ir.ops import AveragePool, Conv, GlobalAveragePool, MaxPool, Pad, Pairs, Reshape
from .activations import emit_activated
from .draft import Site, UnsupportedLayerError, Value
from .hdf5 import DAMAGED
from .settings import get_flag, get_integer, get_sizes, get_text


def emit_conv(site: Site, x: Value) -> Value:
    """Conv1D, Conv2D, Conv3D."""
    n_axes = _count_axes(site)
    x = _to_channels_first(site, x, n_axes)
    n_in, sizes = _split(x)
    kernel = get_sizes(site.layer, "kernel_size", n_axes)
    strides = get_sizes(site.layer, "strides", n_axes, 1)
    dilation = get_sizes(site.layer, "dilation_rate", n_axes, 1)
    n_out = get_integer(site.layer, "filters")
    groups = get_integer(site.layer, "groups", 1)
    if n_in % groups or n_out % groups:
        raise FormatError(
            f"{site.layer}: has {groups} groups for {n_in} channels in and {n_out} out, "
            "expected a divisor of both",
            hint=DAMAGED,
        )
    has_bias = get_flag(site.layer, "use_bias", default=True)
    shapes = {"kernel": (*kernel, n_in // groups, n_out), "bias": (n_out,)}
    weights = site.weights(shapes if has_bias else {"kernel": shapes["kernel"]})
    op = Conv(
        np.transpose(weights["kernel"], (n_axes + 1, n_axes, *range(n_axes))),
        weights.get("bias", _zeros(n_out)),
        strides,
        dilation,
        _padding(site, sizes, kernel, strides, dilation),
        groups,
    )
    return _emit_conv(site, op, x)


def emit_depthwise_conv(site: Site, x: Value) -> Value:
    """DepthwiseConv1D, DepthwiseConv2D."""
    x = _to_channels_first(site, x, _count_axes(site))
    n_in, _ = _split(x)
    multiplier = get_integer(site.layer, "depth_multiplier", 1)
    kernel = get_sizes(site.layer, "kernel_size", _count_axes(site))
    has_bias = get_flag(site.layer, "use_bias", default=True)
    shapes = {"kernel": (*kernel, n_in, multiplier), "bias": (n_in * multiplier,)}
    weights = site.weights(shapes if has_bias else {"kernel": shapes["kernel"]})
    bias = weights.get("bias", _zeros(n_in * multiplier))
    return _emit_conv(site, _depthwise(site, x, weights["kernel"], bias), x)


def emit_separable_conv(site: Site, x: Value) -> Value:
    """SeparableConv1D, SeparableConv2D: depthwise, then 1x1."""
    n_axes = _count_axes(site)
    x = _to_channels_first(site, x, n_axes)
    n_in, _ = _split(x)
    multiplier = get_integer(site.layer, "depth_multiplier", 1)
    n_out = get_integer(site.layer, "filters")
    kernel = get_sizes(site.layer, "kernel_size", n_axes)
    ones = (1,) * n_axes
    shapes = {
        "depthwise_kernel": (*kernel, n_in, multiplier),
        "pointwise_kernel": (*ones, n_in * multiplier, n_out),
    }
    if get_flag(site.layer, "use_bias", default=True):
        shapes["bias"] = (n_out,)
    weights = site.weights(shapes)
    depthwise = _depthwise(site, x, weights["depthwise_kernel"], _zeros(n_in * multiplier))
    inner = site.add(depthwise, x, inner="depthwise", moved=x.moved)
    pointwise = Conv(
        np.transpose(weights["pointwise_kernel"], (n_axes + 1, n_axes, *range(n_axes))),
        weights.get("bias", _zeros(n_out)),
        ones,
        ones,
        ((0, 0),) * n_axes,
    )
    return _emit_conv(site, pointwise, inner)


def emit_max_pool(site: Site, x: Value) -> Value:
    """MaxPooling1D, MaxPooling2D, MaxPooling3D."""
    x, kernel, strides, padding = _pooling(site, x)
    op = MaxPool(kernel, strides, (1,) * len(kernel), padding)
    return site.add(op, x, moved=x.moved)


def emit_average_pool(site: Site, x: Value) -> Value:
    """AveragePooling1D, AveragePooling2D, AveragePooling3D; padding is not averaged over."""
    x, kernel, strides, padding = _pooling(site, x)
    return site.add(AveragePool(kernel, strides, padding), x, moved=x.moved)


def emit_global_average_pool(site: Site, x: Value) -> Value:
    """GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D."""
    n_axes = _count_axes(site)
    x = _to_channels_first(site, x, n_axes)
    if not get_flag(site.layer, "keepdims", default=False):
        return site.add(GlobalAveragePool(), x)
    n_channels, _ = _split(x)
    pooled = site.add(GlobalAveragePool(), x, inner="pooled")
    return site.add(Reshape((n_channels, *(1,) * n_axes)), pooled, moved=x.moved)


def emit_zero_padding(site: Site, x: Value) -> Value:
    """ZeroPadding1D, ZeroPadding2D, ZeroPadding3D."""
    n_axes = _count_axes(site)
    padding = _explicit_padding(site, n_axes)
    x = _to_channels_first(site, x, n_axes)
    op: Op = Pad(((0, 0), *padding))
    return site.add(op, x, moved=x.moved)


def _count_axes(site: Site) -> int:
    """Keras' class names end in 1D, 2D or 3D."""
    return int(site.layer.class_name[-2])


def _to_channels_first(site: Site, x: Value, n_axes: int) -> Value:
    if len(x.shape) != n_axes + 1:
        raise FormatError(
            f"{site.layer}: takes samples of shape {x.shape}, expected {n_axes + 1} axes",
            hint=DAMAGED,
        )
    is_first = site.layer.settings.get("data_format") == "channels_first"
    return site.keras_order(x) if is_first else site.channels_first(x)


def _split(x: Value) -> tuple[int, tuple[int, ...]]:
    """Return the number of channels and the spatial sizes."""
    return (x.shape[-1], x.shape[:-1]) if x.moved else (x.shape[0], x.shape[1:])


def _emit_conv(site: Site, op: Conv, x: Value) -> Value:
    """Emit a convolution and the layer's activation."""
    sizes = op.infer(site.draft.types[x.node]).shape
    if not x.moved and 1 < sizes[0] == sizes[-1] and op.bias.any():
        # keras.ops.add takes such a bias for a channels-last one (seen in Keras 3.15, TensorFlow
        # 2.21), but not in every way of running a model: which result was trained is not known.
        raise UnsupportedLayerError(
            f"is channels_first with {sizes[0]} channels and as many entries of the last axis, "
            "expected different numbers: Keras then adds the bias along either axis"
        )
    return emit_activated(site, op, x)


def _depthwise(site: Site, x: Value, kernel: Array, bias: Array) -> Conv:
    """Kernel [K..., C_in, M]; output channel c M + m has entry [..., c, m]."""
    n_axes = kernel.ndim - 2
    n_in, sizes = _split(x)
    strides = get_sizes(site.layer, "strides", n_axes, 1)
    dilation = get_sizes(site.layer, "dilation_rate", n_axes, 1)
    weight = np.transpose(kernel, (n_axes, n_axes + 1, *range(n_axes)))
    padding = _padding(site, sizes, kernel.shape[:n_axes], strides, dilation)
    weight = weight.reshape(len(bias), 1, *kernel.shape[:n_axes])
    return Conv(weight, bias, strides, dilation, padding, groups=n_in)


def _pooling(site: Site, x: Value) -> tuple[Value, tuple[int, ...], tuple[int, ...], Pairs]:
    n_axes = _count_axes(site)
    x = _to_channels_first(site, x, n_axes)
    kernel = get_sizes(site.layer, "pool_size", n_axes)
    has_strides = site.layer.settings.get("strides") is not None
    strides = get_sizes(site.layer, "strides", n_axes) if has_strides else kernel
    return x, kernel, strides, _padding(site, _split(x)[1], kernel, strides, (1,) * n_axes)


def _padding(
    site: Site,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> Pairs:
    """Return the zeros before and after, per axis.

    'same' is TensorFlow's: ceil(size / stride) windows, the odd zero comes after.
    """
    mode = get_text(site.layer, "padding", "valid")
    pairs = []
    for size, entries, stride, step in zip(sizes, kernel, strides, dilation, strict=True):
        extent = (entries - 1) * step + 1
        total = max((-(-size // stride) - 1) * stride + extent - size, 0)
        same = (total // 2, total - total // 2)
        pairs.append({"same": same, "causal": (extent - 1, 0)}.get(mode, (0, 0)))
    return tuple(pairs)


def _explicit_padding(site: Site, n_axes: int) -> Pairs:
    """One number, one per axis, or a pair per axis; for a single axis also one pair."""
    value = site.layer.settings.get("padding", 1)
    entries = value if isinstance(value, list) else [value] * n_axes
    if n_axes == 1 and len(entries) == 2:
        entries = [entries]
    pairs = [entry if isinstance(entry, list) else [entry, entry] for entry in entries]
    numbers = [number for pair in pairs for number in pair]
    is_valid = all(type(number) is int and 0 <= number < 2**31 for number in numbers)
    if len(pairs) != n_axes or not all(len(pair) == 2 for pair in pairs) or not is_valid:
        raise FormatError(
            f"{site.layer}: padding is {value}, expected {n_axes} pairs of sizes", hint=DAMAGED
        )
    return tuple((before, after) for before, after in pairs)


def _zeros(size: int) -> Array:
    return np.zeros(size, np.float32)
