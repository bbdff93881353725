"""ONNX operators that multiply and add: products with weights, scales, shifts, sums, batch norm."""

from __future__ import annotations

import numpy as np

from ...errors import GraphError
from ...ir.ops import Add, BatchNorm, Conv, Dense, Identity, Scale, Transpose
from ..lowering import subtract
from .comparisons import multiply_mask
from .draft import Mask, Tensor
from .folding import Constant
from .operands import broadcast, constant_like, is_constant, read_operands, scaled, with_constant
from .reasons import UnsupportedNodeError
from .site import Site, fit
from .tensors import Numbers


def emit_gemm(site: Site) -> Tensor:
    """Gemm: alpha x B + beta C with constant B and C."""
    x = site.tensor(0, rows=True)
    weight = site.weights(1, "B")
    if weight.ndim != 2:
        raise GraphError(f"B has shape {list(weight.shape)}, expected two axes")
    if site.integer("transA", 0):
        raise UnsupportedNodeError("transA is set and moves the batch, expected 0")
    if not site.integer("transB", 0):
        weight = weight.T
    alpha, beta = site.number("alpha", 1.0), site.number("beta", 1.0)
    if alpha != 1:
        weight = weight * np.float32(alpha)
    if len(x.row_shape) != 1:
        raise GraphError(f"operand 1 has {len(x.row_shape) + 1} axes, expected 2")
    bias = None
    if site.operand(2) is not None:
        c = site.weights(2, "C") * np.float32(beta)
        row = Tensor("", (len(weight),))
        bias = np.broadcast_to(fit(c, row), row.shape)
    return _dense(site, x, weight, bias)


def emit_mat_mul(site: Site) -> Tensor:
    """MatMul: x W with a constant W [C_in, C_out]."""
    if isinstance(site.operand(0), Constant):
        raise UnsupportedNodeError("has its constant in front, expected it behind")
    x = site.tensor(0, rows=True)
    weight = site.weights(1, "operand 2")
    if weight.ndim != 2:
        raise UnsupportedNodeError(
            f"operand 2 has the shape {list(weight.shape)}, expected two axes"
        )
    return _dense(site, x, weight.T, None)


def _dense(site: Site, x: Tensor, weight: Numbers, bias: Numbers | None) -> Tensor:
    """A Dense, or for samples of several axes a 1x1 convolution over all but the last one."""
    n_out, n_in = weight.shape
    if not x.row_shape or x.shape[-1] != n_in:
        raise GraphError(
            f"operand 1 has samples of shape {list(x.row_shape)}, expected {n_in} last"
        )
    if bias is None:
        rank = len(x.row_shape)
        bias = site.following_bias(n_out, rank=rank, axis=rank - 1)
    if len(x.shape) == 1:
        return site.add(Dense(weight, bias), x)
    n_rows = int(np.prod(x.shape[:-1]))
    joined = site.reshape(x, (n_rows, n_in), inner="joined")
    turned = site.add(Transpose((1, 0)), joined, inner="transposed")
    conv = Conv(weight[:, :, None], bias, (1,), (1,), ((0, 0),))
    product = site.add(conv, turned, inner="product")
    shape = (*x.shape[:-1], n_out)
    if len(shape) == 2:
        result = site.add(Transpose((1, 0)), product)
    else:
        back = site.add(Transpose((1, 0)), product, inner="rows")
        result = site.reshape(back, shape)
    return Tensor(result.node, result.shape, x.has_rows)


def emit_add(site: Site) -> Tensor:
    """Sum of tensors and constants."""
    masks = [place for place in range(site.n_operands) if isinstance(site.operand(place), Mask)]
    if masks:
        return _add_nothing(site, masks)
    tensors, constant = read_operands(site, np.add)
    if constant is None:
        return _sum(site, tensors)
    total = _sum(site, tensors, inner="sum") if len(tensors) > 1 else tensors[0]
    return scaled(site, total, 1.0, constant)


def emit_mean(site: Site) -> Tensor:
    """Mean of tensors and constants."""
    tensors, constant = read_operands(site, np.add)
    total = _sum(site, tensors, inner="sum") if len(tensors) > 1 else tensors[0]
    share = 1 / site.n_operands
    shift = constant_like(total, 0) if constant is None else constant * np.float32(share)
    return scaled(site, total, share, shift)


def emit_sub(site: Site) -> Tensor:
    """Difference: x - c, c - x or x - y."""
    if is_constant(site, 0) or is_constant(site, 1):
        x, constant, is_first = with_constant(site)
        return scaled(site, x, -1.0 if is_first else 1.0, constant if is_first else -constant)
    a, b = broadcast(site, [site.tensor(0, rows=True), site.tensor(1, rows=True)])
    return site.value(subtract(site.lower, a.node, b.node, len(a.shape)), a)


def emit_mul(site: Site) -> Tensor | Mask:
    """Product of a tensor and a constant; products of functions of one tensor are curves."""
    if any(isinstance(site.operand(place), Mask) for place in range(2)):
        return multiply_mask(site)
    x, constant, _ = with_constant(site)
    return site.map(Scale(constant, np.zeros_like(constant)), x)


def emit_div(site: Site) -> Tensor:
    """Division of a tensor by a constant."""
    x, constant, is_first = with_constant(site)
    if is_first:
        raise UnsupportedNodeError(
            "divides by a value that depends on the input, expected it first"
        )
    if (constant == 0).any():
        raise UnsupportedNodeError("divides by zero, expected other numbers")
    return site.map(Scale(np.reciprocal(constant), np.zeros_like(constant)), x)


def emit_neg(site: Site) -> Tensor:
    """-x."""
    x = site.tensor(0, rows=True)
    return scaled(site, x, -1.0, constant_like(x, 0))


def emit_batch_norm(site: Site) -> Tensor:
    """BatchNormalization as at inference."""
    x = site.tensor(0)
    scale, shift, mean, variance = (
        site.weights(place, what)
        for place, what in enumerate(("scale", "B", "mean", "variance"), start=1)
    )
    epsilon = site.number("epsilon", 1e-5)
    site.ignore("momentum")
    if site.integer("training_mode", 0):
        raise UnsupportedNodeError("training_mode is set, expected inference")
    if not site.integer("spatial", 1):
        raise UnsupportedNodeError("spatial is 0, expected statistics per channel")
    return site.add(BatchNorm(mean, variance, scale, shift, epsilon), x)


def _sum(site: Site, tensors: list[Tensor], *, inner: str = "") -> Tensor:
    return site.value(site.lower(inner, Add(), tuple(each.node for each in tensors)), tensors[0])


def _add_nothing(site: Site, masks: list[int]) -> Tensor:
    """Add 0 that is a comparison times zero, as Keras' exporter writes a selection."""
    others = [place for place in range(site.n_operands) if place not in masks]
    factors = [mask.factor for mask in map(site.operand, masks) if isinstance(mask, Mask)]
    if len(others) != 1 or any(factors):
        raise UnsupportedNodeError("adds a comparison to a value, expected values only")
    return site.map(Identity(), site.tensor(others[0], rows=True))
