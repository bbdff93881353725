"""Comparisons with a number: how exporters spell ReLU, leaky and thresholded ReLU.

A comparison has no translation of its own; it is kept as a Mask until what multiplies by it or
selects with it shows which function it stands for.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...ir import Activation
from ...ir.ops import Relu, Scale
from ..lowering import leaky_relu
from .draft import Mask, Tensor, Value
from .folding import Constant
from .operands import constant_like, is_constant, scaled
from .reasons import UnsupportedNodeError
from .site import Site
from .tensors import Numbers


def emit_greater(site: Site) -> Mask:
    """Whether x > c or c > x."""
    return _compare(site, is_above=True, with_bound=False)


def emit_greater_or_equal(site: Site) -> Mask:
    """Whether x >= c or c >= x."""
    return _compare(site, is_above=True, with_bound=True)


def emit_less(site: Site) -> Mask:
    """Whether x < c or c < x."""
    return _compare(site, is_above=False, with_bound=False)


def emit_less_or_equal(site: Site) -> Mask:
    """Whether x <= c or c <= x."""
    return _compare(site, is_above=False, with_bound=True)


def _compare(site: Site, *, is_above: bool, with_bound: bool) -> Mask:
    is_first = is_constant(site, 0)
    x = site.tensor(1 if is_first else 0, rows=True)
    bound = site.scalar(0 if is_first else 1, "the bound")
    if bound is None:
        raise UnsupportedNodeError("compares with nothing, expected a number")
    return Mask(x, bound, is_above != is_first, with_bound)


def emit_not(site: Site) -> Mask:
    """The opposite of a comparison."""
    mask = site.operand(0)
    if not isinstance(mask, Mask):
        raise UnsupportedNodeError("negates what is no comparison, expected one")
    return dataclasses.replace(mask, is_above=not mask.is_above, with_bound=not mask.with_bound)


def multiply_mask(site: Site) -> Tensor | Mask:
    """Mul with a comparison: by a number, or by what is compared."""
    a, b = site.operand(0), site.operand(1)
    mask, other = (a, b) if isinstance(a, Mask) else (b, a)
    if isinstance(other, Constant) and isinstance(mask, Mask):
        number = site.scalar(0 if other is a else 1, "the factor") or 0.0
        return dataclasses.replace(mask, factor=mask.factor * number)
    if not isinstance(mask, Mask) or other != mask.x:
        raise UnsupportedNodeError(
            "multiplies a comparison of one value by another, expected what is compared"
        )
    return _select(site, mask, mask.x, None)


def emit_where(site: Site) -> Tensor:
    """Selection by a comparison between what is compared and zero, or a multiple of it."""
    mask = site.operand(0)
    if not isinstance(mask, Mask) or mask.factor != 1:
        raise UnsupportedNodeError("selects by what is no comparison, expected one with a number")
    return _select(site, mask, *(site.operand(1), site.operand(2)))


def _select(site: Site, mask: Mask, inside: Value, outside: Value) -> Tensor:
    """One value where the mask holds and another elsewhere; None is zero."""
    x, factor = mask.x, mask.factor
    above, below = (inside, outside) if mask.is_above else (outside, inside)
    high, low = _slope(site, x, above), _slope(site, x, below)
    if high is None or low is None:
        raise UnsupportedNodeError(
            "selects between other values than the one that is compared, expected that or zero"
        )
    is_relu = bool((high == 1).all()) and not low.any()
    if mask.bound == 0 and is_relu:
        return _times(site, site.map(Relu(), x, inner="" if factor == 1 else "relu"), factor)
    if mask.bound == 0 and bool((high == 1).all()) and factor == 1:
        return site.value(leaky_relu(site.lower, x.node, low), x)
    if mask.bound == 0 and not high.any() and factor == 1:
        mirrored = scaled(site, x, -1.0, constant_like(x, 0), inner="mirrored")
        negative = site.map(Relu(), mirrored, inner="negative")
        return site.map(Scale(-low, 0 * low), negative)
    takes_bound = mask.with_bound == mask.is_above
    if takes_bound or factor != 1 or not is_relu:
        raise UnsupportedNodeError(
            f"jumps at {mask.bound:g} between two functions, expected a ReLU with that threshold"
        )
    return site.map(Activation("thresholded_relu", (mask.bound, 0.0, 0.0)), x)


def _times(site: Site, x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else scaled(site, x, factor, constant_like(x, 0))


def _slope(site: Site, x: Tensor, value: Value) -> Numbers | None:
    """Return the number by which `x` is multiplied to give the value; None if it is none."""
    if value is None or (isinstance(value, Constant) and not any(map(np.any, value.values))):
        return constant_like(x, 0)
    if value == x:
        return constant_like(x, 1)
    if isinstance(value, Tensor):
        node = site.draft.find(value.node)
        if isinstance(node.op, Scale) and node.inputs == (x.node,) and not node.op.shift.any():
            return node.op.scale
    return None
