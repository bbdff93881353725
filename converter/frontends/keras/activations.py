"""Activations, as layers of their own and as the `activation` of another layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...ir import Activation, Array, Op
from ...ir.ops import Identity, LogSoftmax, Relu, Scale, Sigmoid, Softmax
from ..lowering import leaky_relu
from .calls import shorten
from .draft import Site, UnsupportedLayerError, Value
from .model import Layer
from .settings import get_axis, get_integers, get_number, is_number


def emit_activated(site: Site, op: Op, x: Value) -> Value:
    """Emit `op` and the layer's activation; the result has the layout of `x`.

    The layer's name stands for what comes out of the activation, `name/linear` for what goes in.
    """
    return activate(site, site.add(op, x, inner=linear_name(site), moved=x.moved))


def linear_name(site: Site) -> str:
    """Return what the value before the layer's activation is called within the layer."""
    return "" if site.layer.settings.get("activation") in (None, "linear") else "linear"


def activate(site: Site, x: Value) -> Value:
    """Emit the layer's activation for a value of the name `linear_name`."""
    return emit_activation(site, x) if linear_name(site) else x


def emit_activation(site: Site, x: Value) -> Value:
    """Activation; the setting is a name, or an activation layer as an object."""
    activation = site.layer.settings.get("activation") or "linear"
    if isinstance(activation, dict):
        class_name, settings = activation["class_name"], activation["config"]
        layer = dataclasses.replace(site.layer, class_name=class_name, settings=settings)
        return ACTIVATION_LAYERS[class_name](dataclasses.replace(site, layer=layer), x)
    return NAMED_ACTIVATIONS[activation](site, x)


def emit_relu(site: Site, x: Value) -> Value:
    """ReLU with an upper bound, a slope for negative values and a threshold."""
    slope = get_number(site.layer, "negative_slope", 0.0)
    threshold = get_number(site.layer, "threshold", 0.0)
    has_cap = site.layer.settings.get("max_value") is not None
    cap = get_number(site.layer, "max_value", 0.0) if has_cap else None
    if threshold:
        # It jumps from slope * 0 to the threshold, which no rate of spikes does.
        return _emit_analog(site, x, "thresholded_relu", threshold, slope, cap or 0.0)
    return emit_leaky(site, x, fill(x, slope), None if cap is None else fill(x, cap))


def refuse_relu(layer: Layer) -> Iterator[str]:
    """Yield what of a ReLU has no translation."""
    cap = layer.settings.get("max_value")
    if cap is not None and not (is_number(cap) and cap > 0):
        yield f"max_value is {shorten(cap)}, expected a positive number or none"
    threshold = layer.settings.get("threshold")
    if threshold is not None and not (is_number(threshold) and threshold >= 0):
        yield f"threshold is {shorten(threshold)}, expected a number >= 0"


def emit_leaky_relu(site: Site, x: Value) -> Value:
    """LeakyReLU; Keras 2 called its slope alpha."""
    key = "alpha" if "alpha" in site.layer.settings else "negative_slope"
    return emit_leaky(site, x, fill(x, get_number(site.layer, key, 0.3)))


def emit_prelu(site: Site, x: Value) -> Value:
    """PReLU: a slope per entry, or one for all entries along the shared axes."""
    value = site.layer.settings.get("shared_axes")
    shared = () if value is None else get_integers(site.layer, "shared_axes")
    shape = tuple(1 if axis in shared else size for axis, size in enumerate(x.shape, start=1))
    slope = site.weights({"alpha": shape})["alpha"]
    return emit_leaky(site, x, np.moveaxis(slope, -1, 0) if x.moved and slope.ndim else slope)


def emit_elu(site: Site, x: Value) -> Value:
    """ELU."""
    return _emit_analog(site, x, "elu", get_number(site.layer, "alpha", 1.0))


def emit_gelu(site: Site, x: Value) -> Value:
    """keras.ops.gelu."""
    is_approximate = site.layer.settings.get("approximate", True)
    return _emit_analog(site, x, "gelu_tanh" if is_approximate else "gelu")


def emit_celu(site: Site, x: Value) -> Value:
    """keras.ops.celu."""
    return _emit_analog(site, x, "celu", get_number(site.layer, "alpha", 1.0))


def emit_softmax(site: Site, x: Value) -> Value:
    """Softmax."""
    return site.add(Softmax(x.axis(get_axis(site.layer, x.shape))), x, moved=x.moved)


def emit_log_softmax(site: Site, x: Value) -> Value:
    """keras.ops.log_softmax."""
    return site.add(LogSoftmax(x.axis(get_axis(site.layer, x.shape))), x, moved=x.moved)


def refuse_softmax(layer: Layer) -> Iterator[str]:
    """Yield what of a Softmax has no translation."""
    axis = layer.settings.get("axis")
    if isinstance(axis, list) and len(axis) != 1:
        yield f"axis is {shorten(axis)}, expected one axis"


def emit_identity(site: Site, x: Value) -> Value:
    """What does nothing at inference."""
    return site.add(Identity(), x, moved=x.moved)


def emit_leaky(site: Site, x: Value, slope: Array, cap: Array | None = None) -> Value:
    """Emit a ReLU with a slope for negative values, whose arrays have the rank of a sample."""
    if not slope.any():
        return site.add(Relu(cap), x, moved=x.moved)
    return site.value(leaky_relu(site.emit, x.node, slope, cap), moved=x.moved)


def emit_clipped(site: Site, x: Value, low: Array, high: Array | None) -> Value:
    """Emit min(max(x, low), high) as a ReLU between two shifts.

    Args:
        site: Of the call.
        x: The operand.
        low: Has the rank of a sample and broadcasts to it.
        high: Likewise, above `low` everywhere; None for no upper bound.

    Raises:
        UnsupportedLayerError: `high` is not above `low`.
    """
    width = None if high is None else high - low
    if width is not None and not (width > 0).all():
        raise UnsupportedLayerError("clips to an empty range, expected low < high", result=x)
    if not low.any():
        return site.add(Relu(width), x, moved=x.moved)
    ones = np.ones_like(low)
    raised = site.add(Scale(ones, -low), x, inner="raised", moved=x.moved)
    clipped = site.add(Relu(width), raised, inner="clipped", moved=x.moved)
    return site.add(Scale(ones, low), clipped, moved=x.moved)


def fill(x: Value, value: float) -> Array:
    """Return a number as an array that broadcasts to the samples of `x`."""
    return np.full((1,) * len(x.shape), value, np.float32)


def analog(function: str, *parameters: float) -> Callable[[Site, Value], Value]:
    """Return what emits a function that is read, but has no spiking translation."""
    return lambda site, x: _emit_analog(site, x, function, *parameters)


def _emit_analog(site: Site, x: Value, function: str, *parameters: float) -> Value:
    return site.add(Activation(function, parameters), x, moved=x.moved)


def _emit_hard_sigmoid(site: Site, x: Value) -> Value:
    """relu6(x + 3) / 6."""
    raised = site.add(Scale(fill(x, 1), fill(x, 3)), x, inner="raised", moved=x.moved)
    clipped = site.add(Relu(fill(x, 6)), raised, inner="clipped", moved=x.moved)
    return site.add(Scale(fill(x, 1 / 6), fill(x, 0)), clipped, moved=x.moved)


ANALOG_ACTIVATIONS: dict[str, tuple[Any, ...]] = {
    "celu": ("celu", 1.0),
    "elu": ("elu", 1.0),
    "exponential": ("exponential",),
    "gelu": ("gelu",),
    "hard_silu": ("hard_silu", 1 / 6, 0.5),
    "hard_swish": ("hard_silu", 1 / 6, 0.5),
    "log_sigmoid": ("log_sigmoid",),
    "mish": ("mish",),
    "selu": ("selu", 1.6732632423543772, 1.0507009873554805),
    "silu": ("silu",),
    "softplus": ("softplus",),
    "softsign": ("softsign",),
    "swish": ("silu",),
    "tanh": ("tanh",),
}
"""Names of functions without a spiking translation: what the IR calls them, their parameters."""

NAMED_ACTIVATIONS: dict[str, Callable[[Site, Value], Value]] = {
    "linear": emit_identity,
    "relu": lambda site, x: site.add(Relu(), x, moved=x.moved),
    "relu6": lambda site, x: site.add(Relu(fill(x, 6)), x, moved=x.moved),
    "leaky_relu": lambda site, x: emit_leaky(site, x, fill(x, 0.2)),
    "hard_sigmoid": _emit_hard_sigmoid,
    "hard_tanh": lambda site, x: emit_clipped(site, x, fill(x, -1), fill(x, 1)),
    "sigmoid": lambda site, x: site.add(Sigmoid(), x, moved=x.moved),
    "softmax": lambda site, x: site.add(Softmax(x.axis(len(x.shape) - 1)), x, moved=x.moved),
    "log_softmax": lambda site, x: site.add(LogSoftmax(x.axis(len(x.shape) - 1)), x, moved=x.moved),
    **{name: analog(*call) for name, call in ANALOG_ACTIVATIONS.items()},
}
"""What the setting `activation` may say."""

ACTIVATION_LAYERS: dict[str, Callable[[Site, Value], Value]] = {
    "ReLU": emit_relu,
    "LeakyReLU": emit_leaky_relu,
    "ELU": emit_elu,
    "Softmax": emit_softmax,
}
"""Layers that may be the `activation` of another layer, as an object."""
