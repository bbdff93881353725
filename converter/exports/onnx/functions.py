"""FUNCTIONS: what every function of an Activation is in ONNX, in float32.

The numpy meaning computes them in float64 and rounds once: results differ in the last bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .draft import Draft


def _operator(operator: str, *names: str) -> Callable[..., str]:
    """Return the translation to one operator, the parameters being its attributes."""

    def write(draft: Draft, name: str, x: str, *values: float) -> str:
        return draft.add(operator, x, name=name, **dict(zip(names, values, strict=True)))

    return write


def _gelu(draft: Draft, name: str, x: str) -> str:
    small = _times(draft, f"{name}.small", x, 1 / math.sqrt(2))
    erf = draft.add("Erf", small, name=f"{name}.erf")
    return _half_of(draft, name, x, erf)


def _gelu_tanh(draft: Draft, name: str, x: str) -> str:
    square = draft.add("Mul", x, x, name=f"{name}.square")
    cube = draft.add("Mul", square, x, name=f"{name}.cube")
    total = draft.add("Add", x, _times(draft, f"{name}.small", cube, 0.044715), name=f"{name}.sum")
    inner = _times(draft, f"{name}.inner", total, math.sqrt(2 / math.pi))
    return _half_of(draft, name, x, draft.add("Tanh", inner, name=f"{name}.tanh"))


def _half_of(draft: Draft, name: str, x: str, y: str) -> str:
    """X (1 + y) / 2."""
    one = draft.constant(np.float32(1), name=f"{name}.one")
    more = draft.add("Add", y, one, name=f"{name}.more")
    product = draft.add("Mul", x, more, name=f"{name}.product")
    return _times(draft, name, product, 0.5)


def _hard_silu(draft: Draft, name: str, x: str, slope: float, shift: float) -> str:
    gate = draft.add("HardSigmoid", x, name=f"{name}.gate", alpha=slope, beta=shift)
    return draft.add("Mul", x, gate, name=name)


def _silu(draft: Draft, name: str, x: str) -> str:
    return draft.add("Mul", x, draft.add("Sigmoid", x, name=f"{name}.gate"), name=name)


def _mish(draft: Draft, name: str, x: str) -> str:
    inner = draft.add("Softplus", x, name=f"{name}.inner")
    return draft.add("Mul", x, draft.add("Tanh", inner, name=f"{name}.gate"), name=name)


def _log_sigmoid(draft: Draft, name: str, x: str) -> str:
    inner = draft.add("Neg", x, name=f"{name}.negative")
    return draft.add("Neg", draft.add("Softplus", inner, name=f"{name}.inner"), name=name)


def _thresholded_relu(
    draft: Draft, name: str, x: str, threshold: float, slope: float, max_value: float
) -> str:
    least = draft.constant(np.float32(threshold), name=f"{name}.threshold")
    is_above = draft.add("Greater", x, least, name=f"{name}.is_above")
    below = draft.add("Sub", x, least, name=f"{name}.below")
    above = x
    if max_value:
        cap = draft.constant(np.float32(max_value), name=f"{name}.max_value")
        above = draft.add("Min", x, cap, name=f"{name}.capped")
    sloped = _times(draft, f"{name}.sloped", below, slope)
    return draft.add("Where", is_above, above, sloped, name=name)


def _times(draft: Draft, name: str, x: str, factor: float) -> str:
    return draft.add("Mul", x, draft.constant(np.float32(factor), name=f"{name}.factor"), name=name)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "celu": _operator("Celu", "alpha"),
    "elu": _operator("Elu", "alpha"),
    "exponential": _operator("Exp"),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hard_sigmoid": _operator("HardSigmoid", "alpha", "beta"),
    "hard_silu": _hard_silu,
    "log_sigmoid": _log_sigmoid,
    "mish": _mish,
    "selu": _operator("Selu", "alpha", "gamma"),
    "silu": _silu,
    "softplus": _operator("Softplus"),
    "softsign": _operator("Softsign"),
    "tanh": _operator("Tanh"),
    "thresholded_relu": _thresholded_relu,
}
"""By name: (draft, name, operand, parameters) -> name of the result."""
