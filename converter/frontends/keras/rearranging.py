"""Functions of keras.ops that move, drop and repeat entries. All count the batch axis as axis 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...errors import FormatError
from ...ir.ops import Concatenate, Reshape, Transpose
from .calls import Constant, shorten
from .draft import Site, UnsupportedLayerError, Value
from .hdf5 import DAMAGED
from .merging import only_tensors
from .settings import get_integers

BATCH = "works along the batch axis, expected axes of samples only"


def emit_new_shape(site: Site, x: Value) -> Value:
    """keras.ops.reshape; the batch axis must stay."""
    value = site.layer.settings.get("newshape")
    target = value if isinstance(value, list) else [value]
    sizes = [each for each in target[1:] if type(each) is int and each > 0]
    size, known = math.prod(x.shape), math.prod(sizes)
    if target[:1] == [None] and target.count(-1) == 1 and size % known == 0:
        sizes.insert(target.index(-1) - 1, size // known)
    is_batch = target[:1] in ([None], [-1])
    if not is_batch or len(sizes) != len(target) - 1 or math.prod(sizes) != size:
        raise UnsupportedLayerError(
            f"reshapes samples of shape {x.shape} to {shorten(value)}, expected -1 for the batch "
            "axis and sizes of as many entries behind it"
        )
    return site.add(Reshape(tuple(sizes)), site.keras_order(x))


def emit_transpose(site: Site, x: Value) -> Value:
    """keras.ops.transpose."""
    if site.layer.settings.get("axes") is None:
        raise UnsupportedLayerError(BATCH)
    return _emit_order(site, x, get_integers(site.layer, "axes"))


def emit_swapped_axes(site: Site, x: Value) -> Value:
    """keras.ops.swapaxes."""
    order = [*range(len(x.shape) + 1)]
    a, b = (sample_axis(site, key, len(x.shape)) + 1 for key in ("axis1", "axis2"))
    order[a], order[b] = order[b], order[a]
    return _emit_order(site, x, order)


def emit_moved_axis(site: Site, x: Value) -> Value:
    """keras.ops.moveaxis."""
    sources, targets = (
        [axis + 1 for axis in sample_axes(site, key, len(x.shape))]
        for key in ("source", "destination")
    )
    if not len(sources) == len(targets) == len(set(sources)) == len(set(targets)):
        raise FormatError(
            f"{site.layer}: moves the axes {sources} to {targets}, expected as many others",
            hint=DAMAGED,
        )
    order = [axis for axis in range(len(x.shape) + 1) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return _emit_order(site, x, order)


def emit_new_axes(site: Site, x: Value) -> Value:
    """keras.ops.expand_dims."""
    shape = [*x.shape]
    n_axes = len(shape) + len(get_integers(site.layer, "axis"))
    for axis in sorted(sample_axes(site, "axis", n_axes)):
        shape.insert(axis, 1)
    return site.add(Reshape(tuple(shape)), site.keras_order(x))


def emit_squeeze(site: Site, x: Value) -> Value:
    """keras.ops.squeeze."""
    if site.layer.settings.get("axis") is None:
        raise UnsupportedLayerError("squeezes every axis of size 1, maybe the batch axis, too")
    axes = sample_axes(site, "axis", len(x.shape))
    shape = tuple(size for axis, size in enumerate(x.shape) if axis not in axes)
    return site.add(Reshape(shape), site.keras_order(x))


def emit_stack(site: Site, *operands: Value | Constant) -> Value:
    """keras.ops.stack."""
    tensors = only_tensors(operands)
    axis = sample_axis(site, "axis", len(tensors[0].shape) + 1)
    shape = (*tensors[0].shape[:axis], 1, *tensors[0].shape[axis:])
    rows = [site.add(Reshape(shape), site.keras_order(x), inner="row") for x in tensors]
    return site.add(Concatenate(axis), *rows)


def sample_axes(site: Site, key: str, n_axes: int) -> list[int]:
    """Return a setting as axes of samples of `n_axes` axes.

    Raises:
        UnsupportedLayerError: One is the batch axis.
        FormatError: One does not exist.
    """
    axes = []
    for axis in get_integers(site.layer, key):
        own = axis - 1 if axis >= 0 else axis + n_axes
        if own == -1:
            raise UnsupportedLayerError(BATCH)
        if not 0 <= own < n_axes:
            raise FormatError(
                f"{site.layer}: {key} is {axis}, expected one of {n_axes + 1} axes", hint=DAMAGED
            )
        axes.append(own)
    return axes


def sample_axis(site: Site, key: str, n_axes: int) -> int:
    """Return a setting as one axis; see `sample_axes`."""
    axes = sample_axes(site, key, n_axes)
    if len(axes) != 1:
        raise FormatError(f"{site.layer}: {key} has {len(axes)} axes, expected one", hint=DAMAGED)
    return axes[0]


def _emit_order(site: Site, x: Value, order: Sequence[int]) -> Value:
    own = tuple(axis % (len(x.shape) + 1) for axis in order)
    if not own or own[0] != 0:
        raise UnsupportedLayerError(BATCH)
    return site.add(Transpose(tuple(axis - 1 for axis in own[1:])), site.keras_order(x))
