"""Keras layers with spatial axes: convolutions, poolings, zero padding.

Keras stores kernels as [K..., C_in, C_out], the IR as [C_out, C_in, K...].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...errors import FormatError
from ...ir import Array, Op
from ...ir.ops import AveragePool, Conv, GlobalAveragePool, MaxPool, Pad, Pairs, Reshape
from .activations import activate, linear_name
from .calls import shorten
from .draft import Site, UnsupportedLayerError, Value
from .hdf5 import DAMAGED
from .model import Layer
from .settings import get_flag, get_integer, get_sizes, get_text


def emit_conv(site: Site, x: Value) -> Value:
    """Conv1D, Conv2D, Conv3D."""
    n_axes = count_axes(site)
    x = to_channels_first(site, x, n_axes)
    n_in, sizes = split(x)
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
    x = to_channels_first(site, x, count_axes(site))
    n_in, _ = split(x)
    multiplier = get_integer(site.layer, "depth_multiplier", 1)
    kernel = get_sizes(site.layer, "kernel_size", count_axes(site))
    has_bias = get_flag(site.layer, "use_bias", default=True)
    shapes = {"kernel": (*kernel, n_in, multiplier), "bias": (n_in * multiplier,)}
    weights = site.weights(shapes if has_bias else {"kernel": shapes["kernel"]})
    bias = weights.get("bias", _zeros(n_in * multiplier))
    return _emit_conv(site, _depthwise(site, x, weights["kernel"], bias), x)


def emit_separable_conv(site: Site, x: Value) -> Value:
    """SeparableConv1D, SeparableConv2D: depthwise, then 1x1."""
    n_axes = count_axes(site)
    x = to_channels_first(site, x, n_axes)
    n_in, _ = split(x)
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
    n_axes = count_axes(site)
    x = to_channels_first(site, x, n_axes)
    if not get_flag(site.layer, "keepdims", default=False):
        return site.add(GlobalAveragePool(), x)
    n_channels, _ = split(x)
    pooled = site.add(GlobalAveragePool(), x, inner="pooled")
    return site.add(Reshape((n_channels, *(1,) * n_axes)), pooled, moved=x.moved)


def emit_zero_padding(site: Site, x: Value) -> Value:
    """ZeroPadding1D, ZeroPadding2D, ZeroPadding3D."""
    n_axes = count_axes(site)
    padding = get_pairs(site, "padding", n_axes)
    x = to_channels_first(site, x, n_axes)
    op: Op = Pad(((0, 0), *padding))
    return site.add(op, x, moved=x.moved)


def count_axes(site: Site) -> int:
    """Return the number of spatial axes: Keras' class names have 1D, 2D or 3D in them."""
    return next(n for n in (1, 2, 3) if f"{n}D" in site.layer.class_name)


def to_channels_first(site: Site, x: Value, n_axes: int) -> Value:
    """Return a value with the channels in front, wherever the layer's data_format says they are."""
    if len(x.shape) != n_axes + 1:
        raise FormatError(
            f"{site.layer}: takes samples of shape {x.shape}, expected {n_axes + 1} axes",
            hint=DAMAGED,
        )
    is_first = site.layer.settings.get("data_format") == "channels_first"
    return site.keras_order(x) if is_first else site.channels_first(x)


def split(x: Value) -> tuple[int, tuple[int, ...]]:
    """Return the number of channels and the spatial sizes."""
    return (x.shape[-1], x.shape[:-1]) if x.moved else (x.shape[0], x.shape[1:])


def check_bias(result: Value, bias: Array | None) -> None:
    """Refuse a bias that Keras adds along one of two axes.

    Raises:
        UnsupportedLayerError: It is ambiguous.
    """
    shape = result.shape
    if not result.moved and 1 < shape[0] == shape[-1] and bias is not None and bias.any():
        # keras.ops.add takes such a bias for a channels-last one (seen in Keras 3.15, TensorFlow
        # 2.21), but not in every way of running a model: which result was trained is not known.
        raise UnsupportedLayerError(
            f"is channels_first with {shape[0]} channels and as many entries of the last axis, "
            "expected different numbers: Keras then adds the bias along either axis",
            result=result,
        )


def refuse_groups(layer: Layer) -> Iterator[str]:
    """Yield that there are groups, where Keras knows none; Keras 2 wrote the key, with 1."""
    groups = layer.settings.get("groups", 1)
    if groups != 1:
        yield f"groups is {shorten(groups)}, expected 1"


def _emit_conv(site: Site, op: Conv, x: Value) -> Value:
    """Emit a convolution and the layer's activation."""
    result = site.add(op, x, inner=linear_name(site), moved=x.moved)
    check_bias(result, op.bias)
    return activate(site, result)


def _depthwise(site: Site, x: Value, kernel: Array, bias: Array) -> Conv:
    """Kernel [K..., C_in, M]; output channel c M + m has entry [..., c, m]."""
    n_axes = kernel.ndim - 2
    n_in, sizes = split(x)
    strides = get_sizes(site.layer, "strides", n_axes, 1)
    dilation = get_sizes(site.layer, "dilation_rate", n_axes, 1)
    weight = np.transpose(kernel, (n_axes, n_axes + 1, *range(n_axes)))
    padding = _padding(site, sizes, kernel.shape[:n_axes], strides, dilation)
    weight = weight.reshape(len(bias), 1, *kernel.shape[:n_axes])
    return Conv(weight, bias, strides, dilation, padding, groups=n_in)


def _pooling(site: Site, x: Value) -> tuple[Value, tuple[int, ...], tuple[int, ...], Pairs]:
    n_axes = count_axes(site)
    x = to_channels_first(site, x, n_axes)
    kernel = get_sizes(site.layer, "pool_size", n_axes)
    has_strides = site.layer.settings.get("strides") is not None
    strides = get_sizes(site.layer, "strides", n_axes) if has_strides else kernel
    return x, kernel, strides, _padding(site, split(x)[1], kernel, strides, (1,) * n_axes)


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


def get_pairs(site: Site, key: str, n_axes: int) -> Pairs:
    """One number, one per axis, or a pair per axis; for a single axis also one pair."""
    value = site.layer.settings.get(key, 1)
    entries = value if isinstance(value, list) else [value] * n_axes
    if n_axes == 1 and len(entries) == 2:
        entries = [entries]
    pairs = [entry if isinstance(entry, list) else [entry, entry] for entry in entries]
    numbers = [number for pair in pairs for number in pair]
    is_valid = all(type(number) is int and 0 <= number < 2**31 for number in numbers)
    if len(pairs) != n_axes or not all(len(pair) == 2 for pair in pairs) or not is_valid:
        raise FormatError(
            f"{site.layer}: {key} is {shorten(value)}, expected {n_axes} pairs of sizes",
            hint=DAMAGED,
        )
    return tuple((before, after) for before, after in pairs)


def _zeros(size: int) -> Array:
    return np.zeros(size, np.float32)
