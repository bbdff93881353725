"""Numbers that a Keras model holds in its configuration instead of its weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Array
from .calls import Constant, shorten
from .draft import Site, UnsupportedLayerError, Value
from .hdf5 import Numbers

_ARRAYS = ("__numpy__", "__tensor__")


def parse_numbers(value: Any) -> Numbers | None:
    """Return a serialized number, list of numbers or array, None if it is none or not finite."""
    if isinstance(value, dict) and value.get("class_name") in _ARRAYS:
        inner = value.get("config")
        value = inner.get("value") if isinstance(inner, dict) else None
    if isinstance(value, str | bool | dict):
        return None
    try:
        values = np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError):
        return None
    return values if np.isfinite(values).all() else None


def as_in(x: Value, values: Numbers) -> Array:
    """Return an array with Keras' axes of a sample with those of `x`'s node."""
    moved = np.moveaxis(values, -1, 0) if x.moved and values.ndim > 1 else values
    with np.errstate(over="ignore"):  # infinity is refused where it becomes a parameter
        return moved.astype(np.float32)


def spread_constant(site: Site, constant: Constant, x: Value) -> Array:
    """Return what a function is called with, with the rank of a sample of `x`, in its node's axes.

    Raises:
        UnsupportedLayerError: It holds no numbers, or does not broadcast to `x`.
    """
    values = parse_numbers(constant.value)
    if values is None:
        raise UnsupportedLayerError(
            f"takes the constant {shorten(constant.value)}, expected numbers", result=x
        )
    if values.ndim == len(x.shape) + 1 and values.shape[0] == 1:
        values = values[0]
    shape = (1,) * (len(x.shape) - values.ndim) + values.shape
    fits = len(shape) == len(x.shape) and all(
        a in {1, b} for a, b in zip(shape, x.shape, strict=True)
    )
    if not fits:
        raise UnsupportedLayerError(
            f"takes a constant of shape {values.shape}, expected one that broadcasts to samples "
            f"of shape {x.shape}",
            result=x,
        )
    return as_in(x, values.reshape(shape))
