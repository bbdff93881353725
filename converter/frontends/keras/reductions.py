"""Functions of keras.ops that reduce axes: mean, sum and maximum, and poolings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from ...ir.ops import GlobalAveragePool, Reshape, Scale, Transpose
from .activations import fill
from .draft import Site, UnsupportedLayerError, Value
from .rearranging import sample_axes
from .sampling import pool_max
from .settings import get_flag

_Pool = Callable[[Site, Value], Value]
"""[C, ...] -> [C]; the last node is called `pooled`."""


def emit_mean(site: Site, x: Value) -> Value:
    """keras.ops.mean."""
    return _emit_reduced(site, x, _pool_mean)


def emit_total(site: Site, x: Value) -> Value:
    """keras.ops.sum: the mean times the number of entries."""
    return _emit_reduced(site, x, _pool_sum)


def emit_largest(site: Site, x: Value) -> Value:
    """keras.ops.max and amax."""
    return _emit_reduced(site, x, pool_max)


def as_layer(name: str, emit: Callable[[Site, Value], Value]) -> Callable[[Site, Value], Value]:
    """Return what emits a function as the layer that does the same for 1 to 3 spatial axes."""

    def emit_function(site: Site, x: Value) -> Value:
        n_axes = len(x.shape) - 1
        if not 1 <= n_axes <= 3:
            raise UnsupportedLayerError(f"takes samples of shape {x.shape}, expected 2 to 4 axes")
        layer = dataclasses.replace(site.layer, class_name=f"{name}{n_axes}D")
        return emit(dataclasses.replace(site, layer=layer), x)

    return emit_function


def _emit_reduced(site: Site, x: Value, pool: _Pool) -> Value:
    rank = len(x.shape)
    if site.layer.settings.get("axis") in (None, []):
        raise UnsupportedLayerError("reduces all axes, the batch axis, too, expected others only")
    axes = {*sample_axes(site, "axis", rank)}
    kept = [axis for axis in range(rank) if axis not in axes]
    has_ones = get_flag(site.layer, "keepdims", default=False)
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    if kept == [rank - 1] and 2 <= rank <= 4:
        pooled = pool(site, site.channels_first(x))
        if has_ones:
            return site.add(Reshape((shape[-1], *shape[:-1])), pooled, moved=True)
    elif kept == [0] and 2 <= rank <= 4:
        pooled = pool(site, site.keras_order(x))
    else:
        order = (*kept, *sorted(axes))
        sizes = [x.shape[axis] for axis in order]
        sorted_ = site.add(Transpose(order), site.keras_order(x), inner="sorted")
        matrix = (math.prod(sizes[: len(kept)]), math.prod(sizes[len(kept) :]))
        pooled = pool(site, site.add(Reshape(matrix), sorted_, inner="rows"))
    if not has_ones:
        shape = tuple(x.shape[axis] for axis in kept)
    return site.add(Reshape(shape), pooled)


def _pool_mean(site: Site, x: Value) -> Value:
    return site.add(GlobalAveragePool(), x, inner="pooled")


def _pool_sum(site: Site, x: Value) -> Value:
    _, *sizes = site.draft.types[x.node].shape
    mean = site.add(GlobalAveragePool(), x, inner="mean")
    return site.add(Scale(fill(mean, math.prod(sizes)), fill(mean, 0)), mean, inner="pooled")
