"""Resize and Upsample to the nearest entry: which entry that is, per axis, as ONNX defines it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...errors import GraphError
from ...ir.ops import Identity, Select
from ..lowering import MAX_PLACES, places
from .draft import Tensor
from .folding import Constant
from .reasons import UnsupportedNodeError
from .shapes import normalize
from .site import Site
from .tensors import Numbers

MODES_SINCE = 11
"""Opset since which attributes say how coordinates are transformed and rounded."""

Transform = Callable[[Numbers, Any, int, int], Numbers]
"""(places of the result, scale, size before, size behind) -> coordinates before; places and scale
are of one type, float32 or float64."""


def _half_pixel(x: Numbers, scale: Any, before: int, behind: int) -> Numbers:
    return np.asarray((x + 0.5) / scale - 0.5)


def _symmetric(x: Numbers, scale: Any, before: int, behind: int) -> Numbers:
    offset = before / 2 * (1 - behind / (scale * before))
    return np.asarray((offset + (x + 0.5) / scale) - 0.5)


def _align_corners(x: Numbers, scale: Any, before: int, behind: int) -> Numbers:
    return x * (before - 1) / (behind - 1) if behind > 1 else 0 * x


TRANSFORMS: dict[str, Transform] = {
    "align_corners": _align_corners,
    "asymmetric": lambda x, scale, before, behind: x / scale,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": lambda x, scale, before, behind: (
        _half_pixel(x, scale, before, behind) if behind > 1 else 0 * x
    ),
    "tf_half_pixel_for_nn": lambda x, scale, before, behind: (x + 0.5) / scale,
}

ROUNDINGS: dict[str, Callable[[Numbers], Numbers]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x) + (x - np.floor(x) >= 0.5),
    "round_prefer_floor": lambda x: np.floor(x) + (x - np.floor(x) > 0.5),
}


def emit_upsample(site: Site) -> Tensor:
    """Upsample, by constant scales."""
    x = site.tensor(0)
    scales = _scales(site, 1, len(x.shape) + 1)
    if scales is None:
        given = site.floats("scales")
        scales = None if given is None else np.array(given, np.float32)
    if scales is None:
        raise GraphError("scales are missing")
    return _resize(site, x, scales, None, "asymmetric", "floor")


def emit_resize(site: Site) -> Tensor:
    """Resize, by constant scales or to constant sizes."""
    x = site.tensor(0)
    rank = len(x.shape) + 1
    if site.opset < MODES_SINCE:
        scales = _scales(site, 1, rank)
        if scales is None:
            raise GraphError("scales are missing")
        return _resize(site, x, scales, None, "asymmetric", "floor")
    site.operand(3)
    site.ignore("cubic_coeff_a", "exclude_outside", "extrapolation_value", "antialias")
    axes = site.integers("axes")
    policy = site.text("keep_aspect_ratio_policy", "stretch")
    transform = site.text("coordinate_transformation_mode", "half_pixel")
    rounding = site.text("nearest_mode", "round_prefer_floor")
    if policy != "stretch":
        raise UnsupportedNodeError(f"keep_aspect_ratio_policy is {policy!r}, expected 'stretch'")
    if transform not in TRANSFORMS:
        raise UnsupportedNodeError(
            f"coordinate_transformation_mode is {transform!r}, expected {', '.join(TRANSFORMS)}"
        )
    if rounding not in ROUNDINGS:
        raise UnsupportedNodeError(f"nearest_mode is {rounding!r}, expected {', '.join(ROUNDINGS)}")
    n_given = rank if axes is None else len(axes)
    places = tuple(range(rank)) if axes is None else tuple(normalize(a, rank) for a in axes)
    if len(set(places)) < len(places):
        raise GraphError(f"axes {list(axes or ())} name an axis twice")
    given = _scales(site, 2, n_given)
    if given is not None:
        scales = np.ones(rank, np.float32)
        scales[list(places)] = given
        return _resize(site, x, scales, None, transform, rounding)
    return _resize(site, x, None, _sizes(site, x, places), transform, rounding)


def _scales(site: Site, place: int, n_expected: int) -> Numbers | None:
    array = site.constant(place, "scales")
    if array is None or not array.size:
        return None
    if array.shape != (n_expected,) or array.dtype != np.float32:
        raise GraphError(
            f"scales are {array.dtype}{list(array.shape)}, expected {n_expected} float32 numbers"
        )
    return array


def _sizes(site: Site, x: Tensor, places: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(site.operand(3), Constant):
        raise UnsupportedNodeError("has neither constant scales nor constant sizes, expected some")
    found = set()
    for n_samples, given in site.sizes(3, "sizes"):
        sizes = [n_samples, *x.shape]
        if len(given) != len(places):
            raise GraphError(f"sizes {list(given)} do not fit the axes {list(places)}")
        for axis, size in zip(places, given, strict=True):
            sizes[axis] = size
        if sizes[0] != n_samples:
            raise UnsupportedNodeError("resizes the batch, expected only the axes behind it")
        found.add(tuple(sizes[1:]))
    if len(found) > 1:
        raise UnsupportedNodeError("sizes depend on the batch size, expected only the first one to")
    return found.pop()


def _resize(
    site: Site,
    x: Tensor,
    scales: Numbers | None,
    sizes: tuple[int, ...] | None,
    transform: str,
    rounding: str,
) -> Tensor:
    """Select the nearest entries: by scales of all axes, or to sizes of those behind the batch."""
    mode = site.text("mode", "nearest")
    if sizes is None:
        if scales is None or len(scales) != len(x.shape) + 1:
            raise GraphError(f"scales do not fit an operand of {len(x.shape) + 1} axes")
        if not np.isfinite(scales).all() or (scales <= 0).any():
            raise GraphError("scales are not positive and finite")
        if scales[0] != 1:
            raise UnsupportedNodeError("resizes the batch, expected 1 for it")
        factors = scales[1:]
        if max(n * float(factor) for n, factor in zip(x.shape, factors, strict=True)) > MAX_PLACES:
            raise GraphError(f"scales {factors.tolist()} of {[*x.shape]} give too many entries")
        sizes = tuple(
            int(np.floor(np.float32(n) * factor))
            for n, factor in zip(x.shape, factors, strict=True)
        )
        exact = factors.astype(np.float64)
    else:
        exact = np.array(sizes, np.float64) / np.array(x.shape, np.float64)
        factors = exact.astype(np.float32)
    if min(sizes) < 1 or max(sizes) > MAX_PLACES:
        raise GraphError(f"gives the sizes {list(sizes)}, expected 1 to {MAX_PLACES}")
    if (factors == 1).all():
        return site.map(Identity(), x)
    if mode != "nearest":
        raise UnsupportedNodeError(f"interpolates in mode {mode!r}, expected 'nearest'")
    indices: list[tuple[int, ...] | None] = []
    for before, behind, *scale in zip(x.shape, sizes, factors, exact, strict=True):
        if before == behind and scale[0] == 1:
            indices.append(None)
            continue
        found = set(_nearest(scale[0], scale[1], before, behind, transform, rounding))
        if site.opset < MODES_SINCE and scale[0] < 1:
            found.update(_nearest(scale[0], scale[1], before, behind, transform, "ceil"))
        if sizes == x.shape:  # onnxruntime copies
            found.add(places(before))
        if len(found) > 1:
            raise UnsupportedNodeError(
                f"finds places between two entries of {before} for {behind}, which tools round "
                "differently, expected a whole factor"
            )
        indices.append(found.pop())
    return site.add(Select(tuple(indices)), x)


def _nearest(
    scale: Any, exact: Any, before: int, behind: int, transform: str, rounding: str
) -> Iterator[tuple[int, ...]]:
    """Yield the places of the nearest entries in every way that tools may compute them.

    Args:
        scale: As float32, which onnxruntime computes with.
        exact: As float64.
        before: Entries.
        behind: Entries.
        transform: A key of TRANSFORMS.
        rounding: A key of ROUNDINGS.
    """
    single, double = (
        TRANSFORMS[transform](np.arange(behind, dtype=each.dtype), each, before, behind)
        for each in (scale, exact)
    )
    is_exact = single == double
    if transform == "half_pixel_symmetric" and float(scale) * before != behind:
        is_exact &= False
    slack = np.where(is_exact, 0, 1e-6 * (before + 1))
    for found in (single, double, double - slack, double + slack):
        nearest = np.clip(ROUNDINGS[rounding](found), 0, before - 1)
        yield tuple(int(place) for place in nearest.tolist())
