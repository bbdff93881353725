"""Keras layers without spatial axes: dense, normalization, shapes, merging."""

from __future__ import annotations

import math

import numpy as np

from ...errors import FormatError
from ...ir import Array
from ...ir.ops import (
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Reshape,
    Scale,
    Transpose,
)
from .activations import emit_activated
from .calls import shorten
from .constants import as_in, parse_numbers
from .draft import Site, UnsupportedLayerError, Value
from .hdf5 import DAMAGED, Numbers
from .settings import (
    get_axis,
    get_flag,
    get_integer,
    get_integers,
    get_number,
    to_sample_axis,
)

EPSILON = 1e-7
"""keras.config.epsilon(), the least standard deviation that Normalization divides by."""


def emit_dense(site: Site, x: Value) -> Value:
    """Dense; over several positions it is a 1x1 convolution, the last axis being the channels."""
    n_out = get_integer(site.layer, "units")
    if not 1 <= len(x.shape) <= 4:
        raise UnsupportedLayerError(f"takes samples of shape {x.shape}, expected 1 to 4 axes")
    shapes = {"kernel": (x.shape[-1], n_out), "bias": (n_out,)}
    has_bias = get_flag(site.layer, "use_bias", default=True)
    weights = site.weights(shapes if has_bias else {"kernel": shapes["kernel"]})
    weight = weights["kernel"].T
    bias = weights.get("bias", np.zeros(n_out, np.float32))
    n_axes = len(x.shape) - 1
    if n_axes == 0:
        return emit_activated(site, Dense(weight, bias), x)
    ones = (1,) * n_axes
    op = Conv(weight.reshape(*weight.shape, *ones), bias, ones, ones, ((0, 0),) * n_axes)
    return emit_activated(site, op, site.channels_first(x))


def emit_batch_norm(site: Site, x: Value) -> Value:
    """BatchNormalization."""
    axis = get_axis(site.layer, x.shape)
    if axis == len(x.shape) - 1:
        x = site.channels_first(x)
    elif axis == 0:
        x = site.keras_order(x)
    else:
        raise UnsupportedLayerError(
            f"normalizes axis {axis + 1} of {len(x.shape) + 1}, expected the channels: "
            f"1 or {len(x.shape)}"
        )
    shape = (x.shape[axis],)
    names = ["moving_mean", "moving_variance"]
    if get_flag(site.layer, "center", default=True):
        names.insert(0, "beta")
    if get_flag(site.layer, "scale", default=True):
        names.insert(0, "gamma")
    if get_flag(site.layer, "renorm", default=False):
        names += ["moving_stddev", "renorm_mean", "renorm_stddev"]
    weights = site.weights(dict.fromkeys(names, shape))
    op = BatchNorm(
        weights["moving_mean"],
        weights["moving_variance"],
        weights.get("gamma", np.ones(shape, np.float32)),
        weights.get("beta", np.zeros(shape, np.float32)),
        get_number(site.layer, "epsilon", 1e-3),
    )
    return site.add(op, x, moved=x.moved)


def emit_rescaling(site: Site, x: Value) -> Value:
    """Rescaling."""
    x = _prefer_channels_first(site, x)
    scale = _get_array(site, "scale", x)
    offset = _get_array(site, "offset", x, default=0.0)
    return site.add(Scale(scale, offset), x, moved=x.moved)


def emit_normalization(site: Site, x: Value) -> Value:
    """Normalization with fixed or adapted mean and variance."""
    x = _prefer_channels_first(site, x)
    axes = () if site.layer.settings.get("axis") is None else get_integers(site.layer, "axis")
    kept = sorted({to_sample_axis(site.layer, axis, x.shape) for axis in axes})
    shape = tuple(size if axis in kept else 1 for axis, size in enumerate(x.shape))
    if site.layer.settings.get("mean") is None:
        kept_shape = tuple(x.shape[axis] for axis in kept)
        weights = site.weights({"mean": kept_shape, "variance": kept_shape, "count": ()})
        mean, variance = (weights[key].reshape(shape) for key in ("mean", "variance"))
    else:
        mean, variance = (_spread(site, key, kept, shape) for key in ("mean", "variance"))
    if (variance < 0).any():
        raise FormatError(f"{site.layer}: a variance is negative, expected none", hint=DAMAGED)
    deviation = np.maximum(np.sqrt(variance, dtype=np.float64), EPSILON)
    if get_flag(site.layer, "invert", default=False):
        op = Scale(as_in(x, deviation), as_in(x, mean))
    else:
        op = Scale(as_in(x, 1 / deviation), as_in(x, -mean / deviation))
    return site.add(op, x, moved=x.moved)


def emit_flatten(site: Site, x: Value) -> Value:
    """Flatten; Keras puts the channels last first."""
    x = site.keras_order(x)
    if site.layer.settings.get("data_format") == "channels_first" and len(x.shape) > 1:
        order = (*range(1, len(x.shape)), 0)
        x = site.add(Transpose(order), x, inner="channels_last")
    return site.add(Flatten(), x)


def emit_reshape(site: Site, x: Value) -> Value:
    """Reshape, in Keras' order of axes."""
    target = get_integers(site.layer, "target_shape")
    size = math.prod(x.shape)
    known = math.prod(each for each in target if each != -1)
    if target.count(-1) == 1 and known > 0 and size % known == 0:
        target = tuple(size // known if each == -1 else each for each in target)
    return site.add(Reshape(target), site.keras_order(x))


def emit_permute(site: Site, x: Value) -> Value:
    """Permute, in Keras' order of axes, which counts from 1."""
    order = tuple(axis - 1 for axis in get_integers(site.layer, "dims"))
    return site.add(Transpose(order), site.keras_order(x))


def _prefer_channels_first(site: Site, x: Value) -> Value:
    """Scaling in front of a convolution is best done behind the transpose that this one needs."""
    if "channels_last" in site.draft.data_formats:
        return site.channels_first(x)
    return x


def _get_array(site: Site, key: str, x: Value, default: float | None = None) -> Array:
    """Return a number or array of the settings with the axes of `x`'s node."""
    values = _parse_array(site, key, default)
    if values.ndim > len(x.shape):
        raise _wrong_shape(site, key, values, x.shape)
    if values.ndim and "channels_first" in site.draft.data_formats:
        raise UnsupportedLayerError(
            f"{key} is an array in a channels_first model, expected a number: which axis is "
            "meant depends on a setting outside of the file"
        )
    return as_in(x, values.reshape((1,) * (len(x.shape) - values.ndim) + values.shape))


def _spread(site: Site, key: str, kept: list[int], shape: tuple[int, ...]) -> Numbers:
    """Return an array of the settings, its last axes being the last of the kept ones."""
    values = _parse_array(site, key)
    if values.ndim > len(kept):
        raise _wrong_shape(site, key, values, shape)
    expanded = [1] * len(shape)
    for axis, size in zip(reversed(kept), reversed(values.shape), strict=False):
        expanded[axis] = size
    if any(size not in {1, whole} for size, whole in zip(expanded, shape, strict=True)):
        raise _wrong_shape(site, key, values, shape)
    return values.reshape(expanded)


def _parse_array(site: Site, key: str, default: float | None = None) -> Numbers:
    value = site.layer.settings.get(key, default)
    values = parse_numbers(value)
    if values is None:
        raise FormatError(
            f"{site.layer}: {key} is {shorten(value)}, expected numbers", hint=DAMAGED
        )
    return values


def _wrong_shape(site: Site, key: str, values: Numbers, shape: tuple[int, ...]) -> FormatError:
    return FormatError(
        f"{site.layer}: {key} has shape {values.shape}, expected one that broadcasts to {shape}",
        hint=DAMAGED,
    )
