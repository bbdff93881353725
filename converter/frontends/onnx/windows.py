"""ONNX operators with windows: convolution, pooling, means and maxima over axes."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...errors import GraphError
from ...ir.ops import AveragePool, Conv, GlobalAveragePool, Identity, MaxPool, Op, Transpose
from ...ir.windows import Window
from .draft import Tensor
from .operands import constant_like, scaled
from .reasons import UnsupportedNodeError
from .site import Site

Pairs = tuple[tuple[int, int], ...]


def emit_conv(site: Site) -> Tensor:
    """Conv with a constant weight [C_out, C_in / groups, K...]."""
    x = site.tensor(0)
    weight = site.weights(1, "weight")
    n_axes = weight.ndim - 2
    if not 1 <= n_axes <= 3:
        raise UnsupportedNodeError(f"has {n_axes} spatial axes, expected 1 to 3")
    kernel = weight.shape[2:]
    if site.integers("kernel_shape") not in {None, kernel}:
        raise GraphError(f"kernel_shape is not that of the weight, expected {list(kernel)}")
    groups = site.integer("group", 1)
    window = _window(site, kernel, x.shape[1:], site.text("auto_pad", "NOTSET"))
    if site.operand(2) is not None:
        bias = site.weights(2, "bias")
    else:
        bias = site.following_bias(len(weight), rank=len(x.shape), axis=0)
    return site.add(Conv(weight, bias, window.strides, window.dilation, window.padding, groups), x)


def emit_max_pool(site: Site) -> Tensor:
    """MaxPool; windows that ceil_mode adds reach into padding, which never wins."""
    x = site.tensor(0)
    site.ignore("storage_order")  # of the second result, the indices
    auto_pad = site.text("auto_pad", "NOTSET")
    window = _window(site, _kernel(site), x.shape[1:], auto_pad)
    window = _extend(site, window, x.shape[1:], auto_pad)
    return site.add(MaxPool(window.kernel, window.strides, window.dilation, window.padding), x)


def emit_average_pool(site: Site) -> Tensor:
    """AveragePool, padding counted or not."""
    x = site.tensor(0)
    auto_pad = site.text("auto_pad", "NOTSET")
    window = _window(site, _kernel(site), x.shape[1:], auto_pad)
    counts_padding = bool(site.integer("count_include_pad", 0))
    if max(window.dilation) > 1:
        raise UnsupportedNodeError(
            f"dilations are {list(window.dilation)}, expected 1 on each axis"
        )
    extended = _extend(site, window, x.shape[1:], auto_pad)
    if counts_padding and extended != window:
        raise UnsupportedNodeError(
            "ceil_mode and count_include_pad give windows that tools count differently, expected "
            "one of them to be 0"
        )
    return site.add(AveragePool(window.kernel, window.strides, extended.padding, counts_padding), x)


def emit_global_average_pool(site: Site) -> Tensor:
    """[N, C, ...] -> [N, C, 1, ...]."""
    x = site.tensor(0)
    return _reduce(site, x, set(range(1, len(x.shape))), keeps_axes=True, pool=_mean)


def emit_global_max_pool(site: Site) -> Tensor:
    """[N, C, ...] -> [N, C, 1, ...]."""
    x = site.tensor(0)
    return _reduce(site, x, set(range(1, len(x.shape))), keeps_axes=True, pool=_maximum)


def emit_reduce_mean(site: Site) -> Tensor:
    """Mean over axes behind the batch."""
    return _emit_reduction(site, _mean)


def emit_reduce_sum(site: Site) -> Tensor:
    """Sum over axes behind the batch: the mean times its number of entries."""
    return _emit_reduction(site, _mean, is_sum=True)


def emit_reduce_max(site: Site) -> Tensor:
    """Maximum over axes behind the batch."""
    return _emit_reduction(site, _maximum)


def _emit_reduction(
    site: Site, pool: Callable[[tuple[int, ...]], Op], *, is_sum: bool = False
) -> Tensor:
    x = site.tensor(0)
    rank = len(x.shape) + 1
    axes = site.integers("axes", 1) or ()
    keeps_axes = bool(site.integer("keepdims", 1))
    does_nothing = bool(site.integer("noop_with_empty_axes", 0)) and not axes
    if does_nothing:
        return site.add(Identity(), x)
    if any(not -rank <= axis < rank for axis in axes):
        raise GraphError(f"axes {list(axes)} do not exist in an operand of {rank} axes")
    places = {axis % rank for axis in axes}
    if not places or 0 in places:
        raise UnsupportedNodeError(
            f"reduces the axes {sorted(places) or 'all'}, expected axes behind the batch"
        )
    reduced = {axis - 1 for axis in places}
    if not is_sum:
        return _reduce(site, x, reduced, keeps_axes=keeps_axes, pool=pool)
    factor = math.prod(x.shape[axis] for axis in reduced)
    x = scaled(site, x, factor, constant_like(x, 0), inner="times")
    return _reduce(site, x, reduced, keeps_axes=keeps_axes, pool=pool)


def _reduce(
    site: Site,
    x: Tensor,
    axes: set[int],
    *,
    keeps_axes: bool,
    pool: Callable[[tuple[int, ...]], Op],
) -> Tensor:
    """Bring the axes that stay to the front, as one; pool over the others; give the shape back."""
    if not axes:
        raise GraphError(f"has an operand of shape {list(x.shape)}, expected spatial axes")
    kept = tuple(axis for axis in range(len(x.shape)) if axis not in axes)
    order = (*kept, *sorted(axes))
    y = x
    if order != tuple(range(len(order))):
        y = site.add(Transpose(order), y, inner="transposed")
    n_kept = math.prod(x.shape[axis] for axis in kept)
    if len(kept) != 1 or len(axes) > 3:
        y = site.reshape(y, (n_kept, math.prod(y.shape) // n_kept), inner="joined")
    shape = tuple(
        1 if axis in axes else size
        for axis, size in enumerate(x.shape)
        if keeps_axes or axis not in axes
    )
    op = pool(y.shape[1:])
    if op.infer(site.draft.types[y.node]).shape == shape:
        return site.add(op, y)
    return site.reshape(site.add(op, y, inner="pooled"), shape)


def _mean(sizes: tuple[int, ...]) -> Op:
    return GlobalAveragePool()


def _maximum(sizes: tuple[int, ...]) -> Op:
    n_axes = len(sizes)
    return MaxPool(sizes, (1,) * n_axes, (1,) * n_axes, ((0, 0),) * n_axes)


def _kernel(site: Site) -> tuple[int, ...]:
    kernel = site.integers("kernel_shape")
    if not kernel:
        raise GraphError("kernel_shape is missing")
    if len(kernel) > 3:
        raise UnsupportedNodeError(f"has {len(kernel)} spatial axes, expected 1 to 3")
    return kernel


def _window(site: Site, kernel: tuple[int, ...], sizes: tuple[int, ...], auto_pad: str) -> Window:
    """Return the window that the attributes describe, ceil_mode apart.

    Raises:
        GraphError: The attributes do not fit the kernel or the operand.
        UnsupportedNodeError: Padding is negative, or given in two ways.
    """
    n_axes = len(kernel)
    if len(sizes) != n_axes:
        raise GraphError(
            f"has a kernel of {n_axes} axes for an operand with {len(sizes)} spatial axes"
        )
    strides = site.integers("strides") or (1,) * n_axes
    dilation = site.integers("dilations") or (1,) * n_axes
    pads = site.integers("pads") or (0,) * (2 * n_axes)
    if len(pads) != 2 * n_axes:
        raise GraphError(f"pads {list(pads)}: expected {2 * n_axes} sizes")
    if min(pads) < 0:
        raise UnsupportedNodeError(f"pads {list(pads)} are negative, expected sizes >= 0")
    padding = tuple(zip(pads[:n_axes], pads[n_axes:], strict=True))
    unpadded = Window(kernel, strides, dilation, ((0, 0),) * n_axes)
    if auto_pad == "NOTSET":
        return Window(kernel, strides, dilation, padding)
    if any(pads):
        raise UnsupportedNodeError(f"has pads and auto_pad {auto_pad}, expected one of them")
    if auto_pad == "VALID":
        return unpadded
    if auto_pad not in {"SAME_UPPER", "SAME_LOWER"}:
        raise GraphError(f"auto_pad {auto_pad!r} is unknown")
    return Window(kernel, strides, dilation, _same(unpadded, sizes, auto_pad == "SAME_LOWER"))


def _same(window: Window, sizes: tuple[int, ...], is_lower: bool) -> Pairs:
    pairs = []
    for size, kernel, stride, step in zip(
        sizes, window.kernel, window.strides, window.dilation, strict=True
    ):
        n_windows = -(-size // stride)
        total = max((n_windows - 1) * stride + (kernel - 1) * step + 1 - size, 0)
        small, large = total // 2, total - total // 2
        pairs.append((large, small) if is_lower else (small, large))
    return tuple(pairs)


def _extend(site: Site, window: Window, sizes: tuple[int, ...], auto_pad: str) -> Window:
    """Pad at the end for the windows that ceil_mode adds."""
    if not site.integer("ceil_mode", 0):
        return window
    if auto_pad != "NOTSET":
        raise UnsupportedNodeError("has ceil_mode and auto_pad, expected one of them")
    pairs = []
    for size, kernel, stride, step, (before, after) in zip(
        sizes, window.kernel, window.strides, window.dilation, window.padding, strict=True
    ):
        extent = (kernel - 1) * step + 1
        steps, rest = divmod(size + before + after - extent, stride)
        if rest == 0:
            pairs.append((before, after))
        elif (steps + 1) * stride >= size + before:
            raise UnsupportedNodeError(
                "ceil_mode gives a window that starts behind the operand, which tools count "
                "differently, expected none"
            )
        else:
            pairs.append((before, after + stride - rest))
    return Window(window.kernel, window.strides, window.dilation, tuple(pairs))
