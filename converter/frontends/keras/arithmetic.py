"""Functions of keras.ops that work entry by entry, on tensors and on constants."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np

from ...ir import Array
from ...ir.ops import Relu, Scale
from .activations import emit_clipped, emit_leaky, fill
from .calls import Constant, Ref, shorten
from .constants import spread_constant
from .draft import Site, UnsupportedLayerError, Value
from .merging import PRODUCT, emit_add, emit_maximum, emit_minimum, emit_subtract
from .model import Layer
from .settings import get_number

_Operand = Value | Constant


def emit_sum(site: Site, a: _Operand, b: _Operand) -> Value:
    """keras.ops.add, x + y."""
    if isinstance(a, Value) and isinstance(b, Value):
        return emit_add(site, a, b)
    x, constant = _sort(site, a, b)
    return _scale(site, x, np.ones_like(constant), constant)


def emit_difference(site: Site, a: _Operand, b: _Operand) -> Value:
    """keras.ops.subtract, x - y."""
    if isinstance(a, Value) and isinstance(b, Value):
        return emit_subtract(site, a, b)
    x, constant = _sort(site, a, b)
    sign = np.ones_like(constant)
    if isinstance(a, Value):
        return _scale(site, x, sign, -constant)
    return _scale(site, x, -sign, constant)


def emit_multiple(site: Site, a: _Operand, b: _Operand) -> Value:
    """keras.ops.multiply, x * y, by a constant."""
    if isinstance(a, Value) and isinstance(b, Value):
        raise UnsupportedLayerError(PRODUCT, result=max(a, b, key=lambda each: len(each.shape)))
    x, constant = _sort(site, a, b)
    return _scale(site, x, constant, np.zeros_like(constant))


def emit_quotient(site: Site, a: _Operand, b: _Operand) -> Value:
    """keras.ops.divide and true_divide, x / y, by a constant."""
    if isinstance(b, Value):
        raise UnsupportedLayerError("divides by a tensor, expected a constant", result=b)
    x, constant = _sort(site, a, b)
    if not constant.all():
        raise UnsupportedLayerError("divides by zero, expected another constant", result=x)
    return _scale(site, x, np.float32(1) / constant, np.zeros_like(constant))


def emit_larger(site: Site, a: _Operand, b: _Operand) -> Value:
    """keras.ops.maximum; with a constant it is a ReLU between two shifts."""
    if isinstance(a, Value) and isinstance(b, Value):
        return emit_maximum(site, a, b)
    x, constant = _sort(site, a, b)
    return emit_clipped(site, x, constant, None)


def emit_smaller(site: Site, a: _Operand, b: _Operand) -> Value:
    """keras.ops.minimum; with a constant c it is c - relu(c - x)."""
    if isinstance(a, Value) and isinstance(b, Value):
        return emit_minimum(site, a, b)
    x, constant = _sort(site, a, b)
    sign = np.ones_like(constant)
    mirrored = site.add(Scale(-sign, constant), x, inner="mirrored", moved=x.moved)
    room = site.add(Relu(), mirrored, inner="room", moved=x.moved)
    return _scale(site, room, -sign, constant)


def emit_clip(site: Site, x: Value) -> Value:
    """keras.ops.clip."""
    bounds = [fill(x, get_number(site.layer, key, 0.0)) for key in ("x_min", "x_max")]
    return emit_clipped(site, x, *bounds)


def emit_negative(site: Site, x: Value) -> Value:
    """keras.ops.negative, -x."""
    return _scale(site, x, fill(x, -1), fill(x, 0))


def emit_absolute(site: Site, x: Value) -> Value:
    """keras.ops.absolute: relu(x) + relu(-x)."""
    return emit_leaky(site, x, fill(x, -1))


def refuse_factors(layer: Layer) -> Iterator[str]:
    """Yield that tensors are multiplied with one another."""
    if any(sum(isinstance(each, Ref) for each in call) > 1 for call in layer.calls):
        yield PRODUCT


def refuse_cast(layer: Layer) -> Iterator[str]:
    """Yield that a tensor is cast to something else than float32."""
    dtype = layer.settings.get("dtype")
    if dtype != "float32":
        yield f"casts to {shorten(dtype)}, expected 'float32'"


def _sort(site: Site, a: _Operand, b: _Operand) -> tuple[Value, Array]:
    """Return the tensor and the constant of two operands."""
    x, constant = (a, b) if isinstance(a, Value) else (b, a)
    tensor = cast(Value, x)  # no call is translated that has none
    return tensor, spread_constant(site, cast(Constant, constant), tensor)


def _scale(site: Site, x: Value, scale: Array, shift: Array) -> Value:
    return site.add(Scale(scale, shift), x, moved=x.moved)
