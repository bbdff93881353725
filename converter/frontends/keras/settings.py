"""A Keras layer's settings, each checked when it is read, and why a layer has no translation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from .calls import shorten
from .config import Layer
from .draft import Value
from .hdf5 import DAMAGED

ACTIVATIONS = ("linear", "relu", "relu6", "sigmoid", "softmax")
MAX_SIZE = 2**31

_WITHOUT_MEANING = frozenset({
    "name", "trainable", "dtype", "autocast", "batch_input_shape", "batch_shape", "input_shape",
})  # fmt: skip
TRAINING_ONLY = ("_initializer", "_regularizer", "_constraint")


@dataclass(frozen=True)
class LayerRule:
    """How layers of one class become nodes.

    Attributes:
        emit: (site, *operands) -> the result of one call.
        settings: Whose meaning `emit` knows, or which have none at inference.
        n_operands: Of one call; None for one or more.
        reasons: Says why settings have no translation.
    """

    emit: Callable[..., Value]
    settings: frozenset[str] = frozenset()
    n_operands: int | None = 1
    reasons: Callable[[Mapping[str, Any]], Iterator[str]] = lambda settings: iter(())


def refuse(
    rules: Mapping[str, LayerRule], class_name: str, settings: Mapping[str, Any]
) -> Iterator[str]:
    """Yield why a layer has no translation, from its settings alone."""
    rule = rules.get(class_name)
    if class_name == "Lambda":
        yield "holds Python code, which is never run, expected layers of keras.layers"
    elif rule is None:
        yield "has no translation, expected a layer that ReLU networks are made of"
    if rule is None:
        return
    policy = settings.get("dtype")
    if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
        policy = policy["config"].get("name")
    if policy not in (None, "float32"):
        yield f"computes in {shorten(policy)}, expected float32"
    activation = settings.get("activation")
    if activation is not None and not isinstance(activation, str):
        yield f"the activation is an object, expected one of {', '.join(ACTIVATIONS)}"
    elif activation is not None and activation not in ACTIVATIONS:
        yield f"activation {activation!r} has no translation, expected {', '.join(ACTIVATIONS)}"
    paddings = ("same", "valid", "causal") if class_name == "Conv1D" else ("same", "valid")
    padding = settings.get("padding")
    if isinstance(padding, str) and padding not in paddings:
        yield f"padding {padding!r} has no translation, expected {', '.join(paddings)}"
    data_format = settings.get("data_format")
    if data_format not in (None, "channels_first", "channels_last"):
        yield f"data_format is {shorten(data_format)}, expected channels_first or channels_last"
    for key, value in settings.items():
        known = key in rule.settings or key in _WITHOUT_MEANING or key.endswith(TRAINING_ONLY)
        if not known and value is not None and value is not False:
            yield f"the setting {key}={shorten(value)} is not known, expected none of this name"
    yield from rule.reasons(settings)


def get_integer(layer: Layer, key: str, default: int | None = None) -> int:
    """Return a positive whole number.

    Raises:
        FormatError: It is none.
    """
    value = layer.settings.get(key, default)
    if type(value) is not int or not 0 < value < MAX_SIZE:
        raise _wrong(layer, key, "a positive whole number")
    return value


def get_sizes(layer: Layer, key: str, n_axes: int, default: int | None = None) -> tuple[int, ...]:
    """Return one positive whole number per axis; the file may hold one for all."""
    value = layer.settings.get(key, default)
    values = value if isinstance(value, list) else [value] * n_axes
    is_valid = all(type(each) is int and 0 < each < MAX_SIZE for each in values)
    if len(values) != n_axes or not is_valid:
        raise _wrong(layer, key, f"{n_axes} positive whole numbers")
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
