"""A Keras layer's settings, each checked when it is read."""

from __future__ import annotations

from typing import Any

from ...errors import FormatError
from .calls import shorten
from .hdf5 import DAMAGED
from .model import Layer

MAX_SIZE = 2**31

TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")


def get_integer(layer: Layer, key: str, default: int | None = None) -> int:
    """Return a positive whole number.

    Raises:
        FormatError: It is none.
    """
    value = layer.settings.get(key, default)
    if type(value) is not int or not 0 < value < MAX_SIZE:
        raise _wrong(layer, key, "a positive whole number")
    return value


def get_sizes(
    layer: Layer, key: str, n_axes: int, default: int | None = None, *, least: int = 1
) -> tuple[int, ...]:
    """Return one whole number of at least `least` per axis; the file may hold one for all."""
    value = layer.settings.get(key, default)
    values = value if isinstance(value, list) else [value] * n_axes
    is_valid = all(type(each) is int and least <= each < MAX_SIZE for each in values)
    if len(values) != n_axes or not is_valid:
        raise _wrong(layer, key, f"{n_axes} {'positive ' if least else ''}whole numbers")
    return tuple(values)


def get_integers(layer: Layer, key: str) -> tuple[int, ...]:
    """Return whole numbers, negative ones included; the file may hold a single one."""
    value = layer.settings.get(key)
    values = value if isinstance(value, list) else [value]
    if not all(type(each) is int and -MAX_SIZE < each < MAX_SIZE for each in values):
        raise _wrong(layer, key, "whole numbers")
    return tuple(values)


def get_axis(layer: Layer, shape: tuple[int, ...], default: int = -1) -> int:
    """Return the setting `axis` as an axis of one sample; Keras counts the batch axis."""
    axes = get_integers(layer, "axis") if "axis" in layer.settings else (default,)
    if len(axes) != 1:
        raise _wrong(layer, "axis", "one axis")
    return to_sample_axis(layer, axes[0], shape)


def to_sample_axis(layer: Layer, axis: int, shape: tuple[int, ...]) -> int:
    """Return Keras' axis `axis` as an axis of one sample of `shape`."""
    own = axis - 1 if axis > 0 else axis + len(shape)
    if axis == 0 or not 0 <= own < len(shape):
        raise FormatError(
            f"{layer}: axis is {axis}, expected an axis of samples of shape {shape}", hint=DAMAGED
        )
    return own


def get_flag(layer: Layer, key: str, *, default: bool) -> bool:
    """Return True or False."""
    value = layer.settings.get(key, default)
    if not isinstance(value, bool):
        raise _wrong(layer, key, "true or false")
    return value


def get_text(layer: Layer, key: str, default: str) -> str:
    """Return a text."""
    value = layer.settings.get(key, default)
    if not isinstance(value, str):
        raise _wrong(layer, key, "a text")
    return value


def get_number(layer: Layer, key: str, default: float) -> float:
    """Return a number."""
    value = layer.settings.get(key, default)
    if not is_number(value):
        raise _wrong(layer, key, "a number")
    return float(value)


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number within the range of float32."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 3e38


def _wrong(layer: Layer, key: str, expected: str) -> FormatError:
    found = shorten(layer.settings.get(key))
    return FormatError(f"{layer}: {key} is {found}, expected {expected}", hint=DAMAGED)
