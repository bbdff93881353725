"""ONNX operators that multiply and add: products with weights, scales, shifts, sums, batch norm."""

from __future__ import annotations

import numpy as np

from ...errors import GraphError
from ...ir.ops import Add, BatchNorm, Conv, Dense, Scale, Transpose
from .draft import Tensor, UnsupportedNodeError
from .folding import Constant
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
    """Add of two tensors, or of a tensor and a constant."""
    if _is_constant(site, 0) or _is_constant(site, 1):
        x, constant, _ = _with_constant(site)
        return _scale(site, x, np.ones_like(constant), constant)
    return _sum(site, 2)


def emit_sum(site: Site) -> Tensor:
    """Sum of tensors."""
    return _sum(site, site.n_operands)


def emit_sub(site: Site) -> Tensor:
    """Difference: x - c, c - x or x - y."""
    if _is_constant(site, 0) or _is_constant(site, 1):
        x, constant, is_first = _with_constant(site)
        sign = np.float32(-1 if is_first else 1)
        return _scale(site, x, np.full_like(constant, sign), -sign * constant)
    x, y = _same_shapes(site, 2)
    one = np.ones((1,) * len(y.shape), np.float32)
    return site.add(Add(), x, site.map(Scale(-one, 0 * one), y, inner="negative"))


def emit_mul(site: Site) -> Tensor:
    """Product of a tensor and a constant."""
    x, constant, _ = _with_constant(site)
    return _scale(site, x, constant, np.zeros_like(constant))


def emit_div(site: Site) -> Tensor:
    """Division of a tensor by a constant."""
    x, constant, is_first = _with_constant(site)
    if is_first:
        raise UnsupportedNodeError(
            "divides by a value that depends on the input, expected it first"
        )
    if (constant == 0).any():
        raise UnsupportedNodeError("divides by zero, expected other numbers")
    return _scale(site, x, 1 / constant, np.zeros_like(constant))


def emit_neg(site: Site) -> Tensor:
    """-x."""
    x = site.tensor(0, rows=True)
    one = np.ones((1,) * len(x.shape), np.float32)
    return site.map(Scale(-one, 0 * one), x)


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


def _is_constant(site: Site, place: int) -> bool:
    return isinstance(site.operand(place), Constant)


def _with_constant(site: Site) -> tuple[Tensor, Numbers, bool]:
    """Return the tensor, the constant with the rank of a sample, and whether that comes first."""
    is_first = _is_constant(site, 0)
    if not is_first and not _is_constant(site, 1):
        raise UnsupportedNodeError("takes two values that depend on the input, expected a constant")
    x = site.tensor(1 if is_first else 0, rows=True)
    return x, fit(site.weights(0 if is_first else 1, "the constant"), x), is_first


def _scale(site: Site, x: Tensor, scale: Numbers, shift: Numbers) -> Tensor:
    return site.map(Scale(scale, shift), x)


def _sum(site: Site, n_operands: int) -> Tensor:
    tensors = _same_shapes(site, n_operands)
    return site.add(Add(), *tensors)


def _same_shapes(site: Site, n_operands: int) -> list[Tensor]:
    tensors = [site.tensor(place) for place in range(n_operands)]
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = " and ".join(str([*tensor.shape]) for tensor in tensors)
        raise UnsupportedNodeError(f"takes samples of shapes {shapes}, expected one shape")
    return tensors
