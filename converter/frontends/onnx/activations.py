"""ONNX operators that are activations: ReLU in its spellings, softmax, sigmoid."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ...errors import GraphError
from ...ir import Activation, Op
from ...ir.ops import Identity, LocalResponseNorm, LogSoftmax, Relu, Sigmoid, Softmax
from ..lowering import leaky_relu, maximum, minimum
from .draft import Tensor
from .operands import constant_like, read_operands, scaled
from .reasons import UnsupportedNodeError
from .site import Site, fit
from .tensors import Numbers

PER_AXIS_SOFTMAX = 13
"""Opset since which Softmax is over one axis; before, over all axes from the given one on."""


def emit_relu(site: Site) -> Tensor:
    """max(x, 0)."""
    return site.map(Relu(), site.tensor(0, rows=True))


def emit_clip(site: Site) -> Tensor:
    """min(max(x, low), high): a ReLU with a shift before and behind it."""
    x = site.tensor(0, rows=True)
    if site.has("min") or site.has("max") or site.n_operands < 2:
        low, high = site.number("min", -3.5e38), site.number("max", 3.5e38)
    else:
        low_given, high_given = site.scalar(1, "min"), site.scalar(2, "max")
        low = -math.inf if low_given is None else low_given
        high = math.inf if high_given is None else high_given
    largest = float(np.finfo(np.float32).max)
    if not low < high:
        raise UnsupportedNodeError(f"has the bounds {low:g} and {high:g}, expected min < max")
    has_low = low > -largest and not (low <= 0 and x.node in site.draft.non_negative)
    if not has_low and high >= largest:
        return site.map(Identity(), x)
    if not has_low and x.node not in site.draft.non_negative:
        return _at_most(site, x, constant_like(x, high))
    if not has_low and high <= 0:
        raise UnsupportedNodeError(f"max is {high:g} behind a ReLU, expected more than 0")
    shift = low if has_low else 0.0
    return _at_least(site, x, shift, None if high >= largest else high - shift)


def _at_least(site: Site, x: Tensor, low: float, height: float | None) -> Tensor:
    """max(x, low), at most low + height."""
    relu = Relu(None if height is None else constant_like(x, height))
    if low == 0:
        return site.map(relu, x)
    shifted = scaled(site, x, 1.0, constant_like(x, -low), inner="shifted")
    return scaled(site, site.map(relu, shifted, inner="relu"), 1.0, constant_like(x, low))


def _at_most(site: Site, x: Tensor, high: Numbers) -> Tensor:
    """min(x, high) = high - max(high - x, 0)."""
    below = scaled(site, x, -1.0, high, inner="below")
    return scaled(site, site.map(Relu(), below, inner="relu"), -1.0, high)


def emit_max(site: Site) -> Tensor:
    """Maximum of tensors and constants; with 0 it is a ReLU as Keras' exporter writes it."""
    tensors, low = read_operands(site, np.maximum)
    x = tensors[0]
    if len(tensors) > 1:
        names = [tensor.node for tensor in tensors]
        emit = site.lower if low is None else partial(_inside, site)
        x = site.value(maximum(emit, names, x.shape), x)
    elif low is None:
        return site.map(Identity(), x)
    if low is None:
        return x
    if (low <= 0).all() and x.node in site.draft.non_negative:
        return site.map(Identity(), x)
    if (low == 0).all():
        return site.map(Relu(), x)
    shifted = scaled(site, x, 1.0, -low, inner="shifted")
    return scaled(site, site.map(Relu(), shifted, inner="relu"), 1.0, low)


def emit_min(site: Site) -> Tensor:
    """Minimum of tensors and constants; behind a ReLU it is an upper bound."""
    tensors, high = read_operands(site, np.minimum)
    x = tensors[0]
    if len(tensors) > 1:
        names = [tensor.node for tensor in tensors]
        emit = site.lower if high is None else partial(_inside, site)
        x = site.value(minimum(emit, names, x.shape), x)
    elif high is None:
        return site.map(Identity(), x)
    if high is None:
        return x
    if (high > 0).all() and x.node in site.draft.non_negative:
        return site.map(Relu(high), x)
    return _at_most(site, x, high)


def _inside(site: Site, inner: str, op: Op, names: tuple[str, ...]) -> str:
    return site.lower(inner or "all", op, names)


def emit_leaky_relu(site: Site) -> Tensor:
    """x, or alpha x where x < 0."""
    x = site.tensor(0, rows=True)
    slope = constant_like(x, site.number("alpha", 0.01))
    return site.value(leaky_relu(site.lower, x.node, slope), x)


def emit_prelu(site: Site) -> Tensor:
    """x, or slope x where x < 0, with a constant slope per channel or entry."""
    x = site.tensor(0, rows=True)
    slope = fit(site.weights(1, "slope"), x)
    return site.value(leaky_relu(site.lower, x.node, slope), x)


def emit_abs(site: Site) -> Tensor:
    """max(x, 0) + max(-x, 0)."""
    x = site.tensor(0, rows=True)
    return site.value(leaky_relu(site.lower, x.node, constant_like(x, -1)), x)


def emit_hard_sigmoid(site: Site) -> Tensor:
    """min(max(alpha x + beta, 0), 1): a capped ReLU."""
    x = site.tensor(0, rows=True)
    alpha, beta = site.number("alpha", 0.2), site.number("beta", 0.5)
    line = scaled(site, x, alpha, constant_like(x, beta), inner="line")
    return site.map(Relu(constant_like(x, 1)), line)


def emit_thresholded_relu(site: Site) -> Tensor:
    """Of x, what is above alpha; 0 elsewhere."""
    x = site.tensor(0, rows=True)
    threshold = site.number("alpha", 1.0)
    if threshold == 0:
        return site.map(Relu(), x)
    return site.map(Activation("thresholded_relu", (threshold, 0.0, 0.0)), x)


def emit_gelu(site: Site) -> Tensor:
    """Gelu, exact or by tanh."""
    approximate = site.text("approximate", "none")
    if approximate not in {"none", "tanh"}:
        raise GraphError(f"approximate is {approximate!r}, expected none or tanh")
    function = "gelu_tanh" if approximate == "tanh" else "gelu"
    return site.map(Activation(function), site.tensor(0, rows=True))


def emit_activation(function: str, **defaults: float) -> Callable[[Site], Tensor]:
    """Return what reads an operator as an Activation, with the attributes that it has."""

    def emit(site: Site) -> Tensor:
        x = site.tensor(0, rows=True)
        parameters = tuple(site.number(name, value) for name, value in defaults.items())
        return site.map(Activation(function, parameters), x)

    return emit


def emit_hard_swish(site: Site) -> Tensor:
    """Product of x and min(max(x / 6 + 1 / 2, 0), 1)."""
    return site.map(Activation("hard_silu", (1 / 6, 0.5)), site.tensor(0, rows=True))


def emit_swish(site: Site) -> Tensor:
    """Product of x and sigmoid(alpha x)."""
    x = site.tensor(0, rows=True)
    alpha = site.number("alpha", 1.0)
    if alpha != 1:
        raise UnsupportedNodeError(f"alpha is {alpha:g}, expected 1")
    return site.map(Activation("silu"), x)


def emit_local_response_norm(site: Site) -> Tensor:
    """LRN over neighboring channels."""
    size = site.integer("size", 0)
    numbers = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    op = LocalResponseNorm(size, *(site.number(name, value) for name, value in numbers))
    return site.add(op, site.tensor(0))


def emit_log_softmax(site: Site) -> Tensor:
    """LogSoftmax over one axis, or over all from one on."""
    return _over_axis(site, LogSoftmax)


def emit_softmax(site: Site) -> Tensor:
    """Softmax over one axis, or over all from one on."""
    return _over_axis(site, Softmax)


def _over_axis(site: Site, op: type[Softmax]) -> Tensor:
    x = site.tensor(0)
    rank = len(x.shape) + 1
    is_per_axis = site.opset >= PER_AXIS_SOFTMAX
    axis = site.integer("axis", -1 if is_per_axis else 1)
    if not -rank <= axis < rank:
        raise GraphError(f"axis {axis} does not exist in an operand of {rank} axes")
    axis %= rank
    if axis == 0:
        raise UnsupportedNodeError("is taken over the batch, expected an axis behind it")
    if is_per_axis or math.prod(x.shape[axis:]) == 1:
        return site.add(op(axis - 1), x)
    joined = site.reshape(x, (*x.shape[: axis - 1], math.prod(x.shape[axis - 1 :])), inner="joined")
    return site.reshape(site.add(op(axis - 1), joined, inner="softmax"), x.shape)


def emit_sigmoid(site: Site) -> Tensor:
    """1 / (1 + exp(-x))."""
    return site.map(Sigmoid(), site.tensor(0, rows=True))
