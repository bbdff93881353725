"""Keras layers that crop, repeat or spread entries: upsampling, transposed convolution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...ir.ops import MaxPool, Reshape, Select
from ...ir.windows import MAX_KERNEL
from .. import lowering
from .activations import activate, linear_name
from .calls import shorten
from .draft import Site, UnsupportedLayerError, Value
from .model import Layer
from .settings import get_flag, get_integer, get_sizes, get_text
from .spatial import (
    check_bias,
    count_axes,
    get_pairs,
    refuse_groups,
    split,
    to_channels_first,
)

MAX_PLACES = 2**20
"""Along one axis, in a list of them; spikeport's own files hold as many."""


def emit_cropping(site: Site, x: Value) -> Value:
    """Cropping1D, Cropping2D, Cropping3D."""
    n_axes = count_axes(site)
    cropped = get_pairs(site, "cropping", n_axes)
    x = to_channels_first(site, x, n_axes)
    _, sizes = split(x)
    check_length(max(sizes))
    places = tuple(
        tuple(range(before, size - after))
        for size, (before, after) in zip(sizes, cropped, strict=True)
    )
    return site.add(Select((None, *places)), x, moved=x.moved)


def emit_upsampling(site: Site, x: Value) -> Value:
    """UpSampling1D, UpSampling2D, UpSampling3D: every entry is repeated."""
    n_axes = count_axes(site)
    factors = get_sizes(site.layer, "size", n_axes, 2)
    x = to_channels_first(site, x, n_axes)
    _, sizes = split(x)
    places = tuple(repeat(size, factor) for size, factor in zip(sizes, factors, strict=True))
    return site.add(Select((None, *places)), x, moved=x.moved)


def refuse_interpolation(layer: Layer) -> Iterator[str]:
    """Yield that another interpolation than to the nearest entry is asked for."""
    mode = layer.settings.get("interpolation", "nearest")
    if mode != "nearest":
        yield f"interpolation is {shorten(mode)}, expected 'nearest'"


def emit_repeat_vector(site: Site, x: Value) -> Value:
    """RepeatVector: [C] -> [n, C]."""
    n = get_integer(site.layer, "n")
    check_length(n)
    row = site.add(Reshape((1, *x.shape)), site.keras_order(x), inner="row")
    return site.add(Select(((0,) * n, *(None,) * len(x.shape))), row)


def emit_global_max_pool(site: Site, x: Value) -> Value:
    """GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D."""
    n_axes = count_axes(site)
    x = to_channels_first(site, x, n_axes)
    if not get_flag(site.layer, "keepdims", default=False):
        return pool_max(site, x, "")
    shape = (split(x)[0], *(1,) * n_axes)
    return site.add(Reshape(shape), pool_max(site, x), moved=x.moved)


def pool_max(site: Site, x: Value, inner: str = "pooled") -> Value:
    """Emit the maximum over all axes but the first of `x`'s node: [C, ...] -> [C].

    Raises:
        UnsupportedLayerError: One of them is longer than a window may be.
    """
    n_channels, *sizes = site.draft.types[x.node].shape
    if max(sizes) > MAX_KERNEL:
        raise UnsupportedLayerError(
            f"takes the maximum of {max(sizes)} entries along an axis, expected at most "
            f"{MAX_KERNEL}"
        )
    kernel = tuple(sizes)
    op = MaxPool(kernel, kernel, (1,) * len(kernel), ((0, 0),) * len(kernel))
    windows = site.add(op, x, inner="windows", moved=x.moved)
    return site.add(Reshape((n_channels,)), windows, inner=inner)


def emit_conv_transpose(site: Site, x: Value) -> Value:
    """Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, as TensorFlow aligns them."""
    n_axes = count_axes(site)
    x = to_channels_first(site, x, n_axes)
    n_in, sizes = split(x)
    n_out = get_integer(site.layer, "filters")
    kernel = get_sizes(site.layer, "kernel_size", n_axes)
    strides = get_sizes(site.layer, "strides", n_axes, 1)
    check_length(max((size - 1) * step + 1 for size, step in zip(sizes, strides, strict=True)))
    extra = site.layer.settings.get("output_padding")
    extras = None if extra is None else get_sizes(site.layer, "output_padding", n_axes, least=0)
    has_bias = get_flag(site.layer, "use_bias", default=True)
    shapes = {"kernel": (*kernel, n_out, n_in), "bias": (n_out,)}
    weights = site.weights(shapes if has_bias else {"kernel": shapes["kernel"]})
    is_same = get_text(site.layer, "padding", "valid") == "same"
    crop = tuple(
        _crop(size, k, step, is_same, None if extras is None else extras[axis])
        for axis, (size, k, step) in enumerate(zip(sizes, kernel, strides, strict=True))
    )
    inner = linear_name(site)
    node = lowering.conv_transpose(
        lambda name, op, operands: site.emit(name or inner, op, operands),
        x.node,
        sizes,
        weight=np.transpose(weights["kernel"], (n_axes + 1, n_axes, *range(n_axes))),
        bias=weights.get("bias", np.zeros(n_out, np.float32)),
        strides=strides,
        dilation=(1,) * n_axes,
        crop=crop,
    )
    result = site.value(node, moved=x.moved)
    check_bias(result, weights.get("bias"))
    return activate(site, result)


def refuse_transposed(layer: Layer) -> Iterator[str]:
    """Yield that a transposed convolution is dilated, which TensorFlow does not compute."""
    yield from refuse_groups(layer)
    value = layer.settings.get("dilation_rate", 1)
    if any(each != 1 for each in (value if isinstance(value, list) else [value])):
        yield f"dilation_rate is {shorten(value)}, expected 1"


def check_length(n_places: int) -> None:
    """Refuse a selection whose list of places alone would fill the memory.

    Raises:
        UnsupportedLayerError: It is too long.
    """
    if n_places > MAX_PLACES:
        raise UnsupportedLayerError(
            f"makes {n_places} entries along an axis, expected at most {MAX_PLACES}"
        )


def repeat(size: int, factor: int) -> tuple[int, ...]:
    """Return the places that repeat each of `size` entries `factor` times."""
    check_length(size * factor)
    return tuple(place for place in range(size) for _ in range(factor))


def _crop(size: int, k: int, step: int, is_same: bool, extra: int | None) -> tuple[int, int]:
    """Return what is cut before and after the full result of (size - 1) step + k entries.

    It is the gradient of the convolution that takes the result's size to `size`: the crop is that
    one's padding.
    """
    full = (size - 1) * step + k
    if not is_same:
        wanted = full + (max(k, step) - k if extra is None else extra)
        return 0, full - wanted
    wanted = size * step if extra is None else (size - 1) * step + k % 2 + extra
    if -(-wanted // step) != size:
        raise UnsupportedLayerError(
            f"output_padding {extra} with a kernel of {k} gives {wanted} entries for {size}, "
            "which TensorFlow refuses, expected another output_padding"
        )
    before = max((size - 1) * step + k - wanted, 0) // 2
    return before, full - wanted - before
