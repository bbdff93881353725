"""ConvTranspose: which part of the full result its attributes keep."""

from __future__ import annotations

from ...errors import GraphError
from ...ir.ops import Pairs
from ..lowering import conv_transpose
from .draft import Tensor
from .reasons import UnsupportedNodeError
from .site import Site


def emit_conv_transpose(site: Site) -> Tensor:
    """ConvTranspose with a constant weight [C_in, C_out / groups, K...]."""
    x = site.tensor(0)
    weight = site.weights(1, "weight")
    n_axes = weight.ndim - 2
    groups = site.integer("group", 1)
    if not 1 <= n_axes <= 3:
        raise UnsupportedNodeError(f"has {n_axes} spatial axes, expected 1 to 3")
    if len(x.shape) != n_axes + 1 or len(weight) != x.shape[0] or groups < 1:
        raise GraphError(
            f"weight {list(weight.shape)} in {groups} groups does not fit an operand of shape "
            f"{[*x.shape]}"
        )
    if x.shape[0] % groups:
        raise GraphError(f"groups = {groups} do not divide the {x.shape[0]} channels")
    kernel = weight.shape[2:]
    if site.integers("kernel_shape") not in {None, kernel}:
        raise GraphError(f"kernel_shape is not that of the weight, expected {list(kernel)}")
    strides = site.integers("strides") or (1,) * n_axes
    dilation = site.integers("dilations") or (1,) * n_axes
    if not len(strides) == len(dilation) == n_axes or min(*strides, *dilation) < 1:
        raise GraphError(f"strides {list(strides)} or dilations {list(dilation)} do not fit")
    crop = _crop(site, x.shape[1:], kernel, strides, dilation)
    for axis, (n, k, step, d, (before, behind)) in enumerate(
        zip(x.shape[1:], kernel, strides, dilation, crop, strict=True), start=1
    ):
        reach, spread = (k - 1) * d, (n - 1) * step + 1
        if max(before - reach, 0) >= spread - max(behind - reach, 0):
            raise UnsupportedNodeError(
                f"cuts all entries of axis {axis} off, expected some that are more than the bias"
            )
    n_out = weight.shape[1] * groups
    if site.operand(2) is not None:
        bias = site.weights(2, "bias")
    else:
        bias = site.following_bias(n_out, rank=len(x.shape), axis=0)
    node = conv_transpose(
        site.lower,
        x.node,
        x.shape[1:],
        weight=weight,
        bias=bias,
        strides=strides,
        dilation=dilation,
        crop=crop,
        groups=groups,
    )
    return site.value(node)


def _crop(
    site: Site,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Pairs:
    """Return how many entries of the full result are cut before and behind, per spatial axis."""
    n_axes = len(sizes)
    pads = site.integers("pads") or (0,) * (2 * n_axes)
    extra = site.integers("output_padding") or (0,) * n_axes
    wanted = site.integers("output_shape")
    auto_pad = site.text("auto_pad", "NOTSET")
    if len(pads) != 2 * n_axes or len(extra) != n_axes or min(extra) < 0:
        raise GraphError(f"pads {list(pads)} or output_padding {list(extra)} do not fit")
    if min(pads) < 0:
        raise UnsupportedNodeError(
            f"pads {list(pads)} are negative, which onnxruntime does not run; expected "
            "output_padding, or the .keras file that it was exported from"
        )
    if auto_pad not in {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"}:
        raise GraphError(f"auto_pad {auto_pad!r} is unknown")
    is_same = auto_pad.startswith("SAME")
    if wanted is None and not is_same:
        if auto_pad == "VALID" and any(pads):
            raise UnsupportedNodeError("has pads and auto_pad VALID, expected one of them")
        return tuple(
            (before, behind - more)
            for before, behind, more in zip(pads[:n_axes], pads[n_axes:], extra, strict=True)
        )
    if any(pads):
        raise UnsupportedNodeError(
            f"has pads with auto_pad {auto_pad} or an output_shape, expected one of them"
        )
    if wanted is None:
        wanted = tuple(n * step for n, step in zip(sizes, strides, strict=True))
    elif len(wanted) == n_axes + 2:  # some exporters write the batch and the channels as well
        wanted = wanted[2:]
    if len(wanted) != n_axes:
        raise GraphError(f"output_shape {list(wanted)}: expected {n_axes} sizes")
    pairs = []
    for n, k, step, d, more, size in zip(
        sizes, kernel, strides, dilation, extra, wanted, strict=True
    ):
        total = (n - 1) * step + (k - 1) * d + 1 + more - size
        if total < 0:
            raise UnsupportedNodeError(
                f"output_shape or auto_pad gives {size} entries, more than there are, which tools "
                "fill differently, expected output_padding"
            )
        small, large = total // 2, total - total // 2
        before, behind = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        pairs.append((before, behind - more))
    return tuple(pairs)
