"""Activations, as layers of their own and as the `activation` of another layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...ir import Op
from ...ir.ops import Identity, Relu, Sigmoid, Softmax
from .calls import shorten
from .draft import Site, Value
from .settings import get_axis, get_number, is_number


def emit_activated(site: Site, op: Op, x: Value) -> Value:
    """Emit `op` and the layer's activation; the result has the layout of `x`.

    The layer's name stands for what comes out of the activation, `name/linear` for what goes in.
    """
    activation = site.layer.settings.get("activation") or "linear"
    if activation == "linear":
        return site.add(op, x, moved=x.moved)
    linear = site.add(op, x, inner="linear", moved=x.moved)
    return _emit_named(site, activation, linear)


def emit_activation(site: Site, x: Value) -> Value:
    """Activation."""
    return _emit_named(site, site.layer.settings.get("activation") or "linear", x)


def emit_relu(site: Site, x: Value) -> Value:
    """ReLU without slope and threshold."""
    if site.layer.settings.get("max_value") is None:
        return site.add(Relu(), x, moved=x.moved)
    return _emit_capped(site, get_number(site.layer, "max_value", 0.0), x)


def refuse_relu(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a ReLU has no translation."""
    for key in ("negative_slope", "threshold"):
        value = settings.get(key, 0)
        if not (is_number(value) and value == 0):
            yield f"{key} is {shorten(value)}, expected 0"
    cap = settings.get("max_value")
    if cap is not None and not (is_number(cap) and cap > 0):
        yield f"max_value is {shorten(cap)}, expected a positive number or none"


def emit_softmax(site: Site, x: Value) -> Value:
    """Softmax."""
    return site.add(Softmax(x.axis(get_axis(site.layer, x.shape))), x, moved=x.moved)


def refuse_softmax(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a Softmax has no translation."""
    axis = settings.get("axis")
    if isinstance(axis, list) and len(axis) != 1:
        yield f"axis is {shorten(axis)}, expected one axis"


def emit_identity(site: Site, x: Value) -> Value:
    """What does nothing at inference."""
    return site.add(Identity(), x, moved=x.moved)


def _emit_named(site: Site, activation: str, x: Value) -> Value:
    if activation == "relu6":
        return _emit_capped(site, 6.0, x)
    ops: dict[str, Op] = {"linear": Identity(), "relu": Relu(), "sigmoid": Sigmoid()}
    op = ops.get(activation) or Softmax(x.axis(len(x.shape) - 1))
    return site.add(op, x, moved=x.moved)


def _emit_capped(site: Site, max_value: float, x: Value) -> Value:
    cap = np.full((1,) * len(x.shape), max_value, np.float32)
    return site.add(Relu(cap), x, moved=x.moved)
