"""ONNX operators that are activations: ReLU in its spellings, softmax, sigmoid."""

from __future__ import annotations

import math

import numpy as np

from ...errors import GraphError
from ...ir.ops import Identity, Relu, Sigmoid, Softmax
from .draft import Tensor, UnsupportedNodeError
from .folding import Constant
from .site import Site, fit
from .tensors import Numbers

PER_AXIS_SOFTMAX = 13
"""Opset since which Softmax is over one axis; before, over all axes from the given one on."""


def emit_relu(site: Site) -> Tensor:
    """max(x, 0)."""
    return site.map(Relu(), site.tensor(0, rows=True))


def emit_clip(site: Site) -> Tensor:
    """min(max(x, low), high) with low = 0; another low only where it has no effect."""
    x = site.tensor(0, rows=True)
    if site.has("min") or site.has("max") or site.n_operands < 2:
        low, high = site.number("min", -3.5e38), site.number("max", 3.5e38)
    else:
        low_given, high_given = site.scalar(1, "min"), site.scalar(2, "max")
        low = -math.inf if low_given is None else low_given
        high = math.inf if high_given is None else high_given
    largest = float(np.finfo(np.float32).max)
    if low <= -largest and high >= largest:
        return site.map(Identity(), x)
    if low != 0 and not (low < 0 and x.node in site.draft.non_negative):
        raise UnsupportedNodeError(f"min is {low:g}, expected 0")
    if high >= largest:
        return site.map(Relu(), x)
    if not high > 0:
        raise UnsupportedNodeError(f"max is {high:g}, expected more than 0")
    return site.map(Relu(np.full((1,) * len(x.shape), high, np.float32)), x)


def emit_max(site: Site) -> Tensor:
    """max(x, 0): a ReLU as Keras' exporter writes it."""
    x, bound = _with_bound(site)
    if x.node in site.draft.non_negative and (bound <= 0).all():
        return site.map(Identity(), x)
    if (bound != 0).any():
        raise UnsupportedNodeError(
            f"takes the maximum with {float(bound.max()):g}, expected 0, which is a ReLU"
        )
    return site.map(Relu(), x)


def emit_min(site: Site) -> Tensor:
    """min(x, high) behind a ReLU: its upper bound."""
    x, bound = _with_bound(site)
    if x.node not in site.draft.non_negative:
        raise UnsupportedNodeError("bounds a value that may be negative, expected that of a ReLU")
    if not (bound > 0).all():
        raise UnsupportedNodeError(f"has the bound {float(bound.min()):g}, expected more than 0")
    return site.map(Relu(bound), x)


def emit_softmax(site: Site) -> Tensor:
    """Softmax over one axis, or over all from one on."""
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
        return site.add(Softmax(axis - 1), x)
    joined = site.reshape(x, (*x.shape[: axis - 1], math.prod(x.shape[axis - 1 :])), inner="joined")
    return site.reshape(site.add(Softmax(axis - 1), joined, inner="softmax"), x.shape)


def emit_sigmoid(site: Site) -> Tensor:
    """1 / (1 + exp(-x))."""
    return site.map(Sigmoid(), site.tensor(0, rows=True))


def _with_bound(site: Site) -> tuple[Tensor, Numbers]:
    if site.n_operands != 2:
        raise UnsupportedNodeError(f"takes {site.n_operands} operands, expected 2")
    place = 0 if isinstance(site.operand(0), Constant) else 1
    x = site.tensor(1 - place, rows=True)
    return x, fit(site.weights(place, "the bound"), x)
