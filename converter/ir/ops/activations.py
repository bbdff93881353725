"""Activation: functions that no rate of spikes stands for, and ACTIVATIONS, the table of them.

They are read so that they can be refused with their reason, or kept analog where the user asks for
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import GraphError
from ..types import Array, TensorType
from .base import Op

erf = np.vectorize(math.erf, otypes=[np.float64])
"""The error function, entry by entry."""


def _sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _selu(x: Array, alpha: float, scale: float) -> Array:
    return scale * _elu(x, alpha)


def _celu(x: Array, alpha: float) -> Array:
    return np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(np.minimum(x, 0) / alpha))


def _hard_sigmoid(x: Array, slope: float, shift: float) -> Array:
    return np.asarray(np.clip(slope * x + shift, 0, 1))


def _thresholded_relu(x: Array, threshold: float, slope: float, max_value: float) -> Array:
    above = np.minimum(x, max_value) if max_value else x
    return np.where(x > threshold, above, slope * (x - threshold))


ACTIVATIONS: dict[str, tuple[tuple[str, ...], Callable[..., Array]]] = {
    "celu": (("alpha",), _celu),
    "elu": (("alpha",), _elu),
    "exponential": ((), np.exp),
    "gelu": ((), lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))),
    "gelu_tanh": (
        (),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    "hard_sigmoid": (("slope", "shift"), _hard_sigmoid),
    "hard_silu": (("slope", "shift"), lambda x, slope, shift: x * _hard_sigmoid(x, slope, shift)),
    "log_sigmoid": ((), lambda x: -_softplus(-x)),
    "mish": ((), lambda x: x * np.tanh(_softplus(x))),
    "selu": (("alpha", "scale"), _selu),
    "silu": ((), lambda x: x * _sigmoid(x)),
    "softplus": ((), _softplus),
    "softsign": ((), lambda x: x / (1 + np.abs(x))),
    "tanh": ((), np.tanh),
    "thresholded_relu": (("threshold", "slope", "max_value"), _thresholded_relu),
}
"""By name: the names of the parameters, and the function of a float64 array and them.

A `thresholded_relu` is x where x > threshold, at most max_value (0: no bound), and
slope (x - threshold) elsewhere: it jumps.
"""


@dataclass(frozen=True, eq=False)
class Activation(Op):
    """y = f(x), entry by entry.

    Attributes:
        function: A key of ACTIVATIONS.
        parameters: The function's, in the table's order.
    """

    function: str
    parameters: tuple[float, ...] = ()

    def infer(self, *types: TensorType) -> TensorType:
        if self.function not in ACTIVATIONS:
            raise GraphError(
                f"function {self.function!r} is unknown, expected one of {', '.join(ACTIVATIONS)}"
            )
        names, _ = ACTIVATIONS[self.function]
        if len(self.parameters) != len(names) or not all(map(math.isfinite, self.parameters)):
            wanted = f"finite {', '.join(names)}" if names else "none"
            raise GraphError(
                f"{self.function} has the parameters {self.parameters}, expected {wanted}"
            )
        return TensorType(types[0].shape)

    def apply(self, *arrays: Array) -> Array:
        _, function = ACTIVATIONS[self.function]
        with np.errstate(over="ignore"):
            result = function(arrays[0].astype(np.float64), *self.parameters)
            return np.asarray(result, np.float32)
