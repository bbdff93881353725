"""Functions that jump, with the gradients of functions that do not (straight-through estimators).

Everything is keras.ops, so that it runs under every backend of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops


def straight_through(value: Any, proxy: Any) -> Any:
    """Return `value`, exactly, with the gradient of `proxy`."""
    return ops.stop_gradient(value) + (proxy - ops.stop_gradient(proxy))


def quantize(x: Any, threshold: Any, n_levels: int, shift: float = 0.5) -> Any:
    """Return threshold / n clip(floor(n x / threshold + shift), 0, n).

    The gradient is that of threshold x clip(x / threshold, 0, 1), with the levels themselves in
    place of it for the threshold: dh/dx = 1 for 0 < x < threshold, else 0; dh/dthreshold =
    (h - x) / threshold there, 1 above, 0 below.

    Source: Bu et al. 2022 (QCFS), with the estimator's window centred on the steps.
    """
    scaled = x / threshold * n_levels
    levels = ops.clip(ops.floor(scaled + shift), 0, n_levels)
    return straight_through(levels, ops.clip(scaled, 0, n_levels)) * (threshold / n_levels)


def hard_tanh(x: Any) -> Any:
    """Return clip(x, -1, 1), the estimator of Courbariaux et al. 2016."""
    return ops.clip(x, -1, 1)


def approx_sign(x: Any) -> Any:
    """Return 2 x - x |x| within -1..1 and the sign outside, the estimator of Liu et al. 2018."""
    inside = ops.clip(x, -1, 1)
    return inside * (2 - ops.abs(inside))


ESTIMATORS: dict[str, Callable[[Any], Any]] = {"hard_tanh": hard_tanh, "approx_sign": approx_sign}
"""Whose gradient sign gets, by name."""


def sign(x: Any, estimator: str = "hard_tanh") -> Any:
    """Return 1 where x >= 0 and -1 elsewhere."""
    signs = ops.where(x >= 0, ops.ones_like(x), -ops.ones_like(x))
    return straight_through(signs, ESTIMATORS[estimator](x))


def fire(distance: Any, surrogate: str, width: float) -> Any:
    """Return 1 where distance >= 0 and 0 elsewhere, with the gradient of a surrogate.

    Args:
        distance: (potential - threshold) / threshold.
        surrogate: A key of SURROGATES.
        width: Of the surrogate, in thresholds.
    """
    spikes = ops.cast(distance >= 0, distance.dtype)
    return straight_through(spikes, SURROGATES[surrogate](distance / width))


def _linear(x: Any) -> Any:
    """The integral of max(0, 1 - |x|): 0 below -1, 1 above 1."""
    inside = ops.clip(x, -1, 1)
    return 0.5 + inside - 0.5 * inside * ops.abs(inside)


SURROGATES: dict[str, Callable[[Any], Any]] = {
    "linear": _linear,
    "sigmoid": lambda x: ops.sigmoid(4 * x),
}
"""Functions from 0 to 1 of slope 1 at 0, by name. Sources: Bellec et al. 2018 (linear, a triangle),
Zenke and Ganguli 2018 (the sigmoid's derivative)."""
