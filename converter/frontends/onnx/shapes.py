"""ONNX operators that move entries: reshaping, transposing, padding, joining."""

from __future__ import annotations

import math

import numpy as np

from ...errors import GraphError
from ...ir.ops import Concatenate, Identity, Pad, Select, Transpose
from ..lowering import MAX_PLACES, places
from .draft import Mask, Tensor
from .folding import BATCH_SIZES
from .reasons import UnsupportedNodeError
from .site import Site


def emit_identity(site: Site) -> Tensor:
    """Dropout, Identity: what they are at inference."""
    x = site.tensor(0, rows=True)
    site.ignore("ratio", "seed")
    site.operand(1)
    if site.n_operands > 2 and site.scalar(2, "training_mode"):
        raise UnsupportedNodeError("training_mode is true, expected inference")
    return site.map(Identity(), x)


def emit_cast(site: Site) -> Tensor | Mask:
    """Cast of float32 to float32; of a comparison to 0 and 1."""
    site.ignore("saturate", "round_mode")
    to = site.integer("to", 0)
    mask = site.operand(0)
    if isinstance(mask, Mask) and to in {1, 9}:
        return mask
    x = site.tensor(0, rows=True)
    if to != 1:
        raise UnsupportedNodeError(f"casts to data type {to}, expected 1 (float32)")
    return site.map(Identity(), x)


def emit_flatten(site: Site) -> Tensor:
    """[N, A, B, ...] -> [N, A B ...]."""
    x = site.tensor(0)
    axis = normalize(site.integer("axis", 1), len(x.shape) + 1, n_places=len(x.shape) + 2)
    if axis == 0 or math.prod(x.shape[: axis - 1]) != 1:
        raise UnsupportedNodeError(f"axis {axis} mixes the batch with other axes, expected 1")
    return site.reshape(x, (math.prod(x.shape),))


def emit_reshape(site: Site) -> Tensor:
    """Same entries in the same order; the batch may be merged with the axes behind it for a while.

    With the sample's entries in the same order, [N, ...] -> [N P, rest] is [P, rest] for a sample.
    """
    x = site.tensor(0, rows=True)
    copies_zeros = not site.integer("allowzero", 0)
    before = (x.shape[0] if x.has_rows else 1, *x.row_shape)
    shapes = [
        (n, _target_sizes(sizes, (n * before[0], *before[1:]), copies_zeros))
        for n, sizes in site.sizes(1, "shape")
    ]
    n_rows = {sizes[0] // n if sizes[0] % n == 0 else 0 for n, sizes in shapes}
    rests = {sizes[1:] for _, sizes in shapes}
    if len(rests) > 1 or len(n_rows) > 1 or 0 in n_rows:
        raise UnsupportedNodeError(
            f"gives the shape {list(shapes[-1][1])} for a batch of {BATCH_SIZES[-1]}, expected "
            "the batch to stay in front"
        )
    (rest,), (rows,) = rests, n_rows
    if rows == 1:
        return site.reshape(x, rest)
    result = site.reshape(x, (rows, *rest))
    return Tensor(result.node, result.shape, has_rows=True)


def _target_sizes(
    target: list[int], before: tuple[int, ...], copies_zeros: bool
) -> tuple[int, ...]:
    """Return the shape that a Reshape gives an operand of the shape `before`, batch included."""
    sizes = list(target)
    for axis, size in enumerate(sizes):
        if size == 0 and copies_zeros and axis < len(before):
            sizes[axis] = before[axis]
    n_entries, n_known = math.prod(before), math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and n_known > 0 and n_entries % n_known == 0:
        sizes[sizes.index(-1)] = n_entries // n_known
    if min(sizes) < 1 or math.prod(sizes) != n_entries:
        raise UnsupportedNodeError(
            f"gives the shape {target} for an operand of shape {list(before)}, expected "
            "one that holds for every batch size, with -1 in front"
        )
    return tuple(sizes)


def emit_squeeze(site: Site) -> Tensor:
    """Remove axes of size 1."""
    x = site.tensor(0)
    axes = site.integers("axes", 1)
    if axes is None:
        raise UnsupportedNodeError("has no axes and may remove the batch, expected axes")
    removed = _sample_axes(axes, len(x.shape) + 1)
    if any(x.shape[axis] != 1 for axis in removed):
        raise GraphError(
            f"axes {list(axes)} of an operand of shape {x.shape} are not all of size 1"
        )
    kept = tuple(size for axis, size in enumerate(x.shape) if axis not in removed)
    return site.reshape(x, kept)


def emit_unsqueeze(site: Site) -> Tensor:
    """Insert axes of size 1."""
    x = site.tensor(0)
    axes = site.integers("axes", 1)
    if axes is None:
        raise GraphError("axes are missing")
    rank = len(x.shape) + len(axes)
    added = _sample_axes(axes, rank + 1)
    sizes = iter(x.shape)
    return site.reshape(x, tuple(1 if axis in added else next(sizes) for axis in range(rank)))


def emit_transpose(site: Site) -> Tensor:
    """Change the order of axes behind the batch."""
    x = site.tensor(0)
    rank = len(x.shape) + 1
    order = site.integers("perm")
    if order is None:
        order = tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise GraphError(f"perm {list(order)} does not fit an operand of {rank} axes")
    if order[0] != 0:
        raise UnsupportedNodeError(f"perm {list(order)} moves the batch, expected 0 in front")
    return site.add(Transpose(tuple(axis - 1 for axis in order[1:])), x)


def emit_pad(site: Site) -> Tensor:
    """Zeros around a sample, or its entries again; negative sizes cut."""
    x = site.tensor(0)
    rank = len(x.shape) + 1
    mode = site.text("mode", "constant")
    pads = site.integers("pads", 1)
    value = site.number("value", 0.0)
    if site.n_operands > 2:
        value = site.scalar(2, "constant_value") or 0.0
    axes = tuple(range(rank))
    if site.n_operands > 3:
        axes = tuple(normalize(axis, rank) for axis in site.integers("axes", 3) or axes)
    if mode not in {"constant", "reflect", "edge", "wrap"} or (mode == "constant" and value != 0):
        raise UnsupportedNodeError(
            f"pads with {value:g} in mode {mode!r}, expected zeros, or mode reflect, edge or wrap"
        )
    if pads is None or len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise GraphError(f"pads {pads} do not fit the axes {list(axes)}")
    pairs = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    if any(pairs.pop(0, (0, 0))):
        raise UnsupportedNodeError("pads the batch, expected only the axes behind it")
    sizes = [pairs.get(axis, (0, 0)) for axis in range(1, rank)]
    if min(pads) < 0:
        x = _cut(site, x, sizes)
        sizes = [(max(before, 0), max(behind, 0)) for before, behind in sizes]
    if mode == "constant":
        return site.add(Pad(tuple(sizes)), x)
    return site.add(Select(tuple(map(_mirror, x.shape, sizes, [mode] * len(sizes)))), x)


def _cut(site: Site, x: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """Take away what negative sizes cut off before and behind."""
    kept = tuple(
        places(max(-before, 0), n - max(-behind, 0)) if min(before, behind) < 0 else None
        for n, (before, behind) in zip(x.shape, sizes, strict=True)
    )
    return site.add(Select(kept), x, inner="cut")


def _mirror(n: int, pair: tuple[int, int], mode: str) -> tuple[int, ...] | None:
    """Return which of n entries stand where, with some of them again before and behind."""
    if not any(pair):
        return None
    if mode != "edge" and max(pair) > n - (mode == "reflect"):
        raise UnsupportedNodeError(f"pads {n} entries by {pair}, expected fewer than there are")
    if n + sum(pair) > MAX_PLACES:
        raise UnsupportedNodeError(f"pads {n} entries by {pair}, expected at most {MAX_PLACES}")
    padded = np.pad(np.arange(n), pair, mode=mode)  # type: ignore[call-overload]
    return tuple(map(int, padded))


def emit_concat(site: Site) -> Tensor:
    """Operands one after the other."""
    tensors = [site.tensor(place) for place in range(site.n_operands)]
    if not tensors or not site.has("axis"):
        raise GraphError("has no operands or no axis")
    axis = normalize(site.integer("axis", 0), len(tensors[0].shape) + 1)
    if axis == 0:
        raise UnsupportedNodeError("joins along the batch, expected an axis behind it")
    return site.add(Concatenate(axis - 1), *tensors)


def normalize(axis: int, n_axes: int, *, n_places: int | None = None) -> int:
    """Return an axis counted from the front; the last of `n_places` may lie behind the axes."""
    if not -n_axes <= axis < (n_places or n_axes):
        raise GraphError(f"axis {axis} does not exist in an operand of {n_axes} axes")
    return axis + n_axes if axis < 0 else axis


def _sample_axes(axes: tuple[int, ...], n_axes: int) -> set[int]:
    """Return which axes of a sample are meant by axes that count the batch."""
    places = {normalize(axis, n_axes) for axis in axes}
    if len(places) < len(axes):
        raise GraphError(f"axes {list(axes)} name an axis twice")
    if 0 in places:
        raise UnsupportedNodeError(f"axes {list(axes)} include the batch, expected others only")
    return {axis - 1 for axis in places}
