"""ONNX operators that keep, repeat or rearrange entries by their places."""

from __future__ import annotations

import numpy as np

from ...errors import GraphError
from ...ir.ops import Reshape, Select, Transpose
from ..lowering import MAX_PLACES, places
from .draft import Tensor
from .folding import BATCH_SIZES
from .reasons import UnsupportedNodeError
from .shapes import normalize
from .site import Site

Places = tuple[int, ...] | None


def emit_slice(site: Site) -> Tensor:
    """Every step-th entry from start to end, along axes behind the batch."""
    x = site.tensor(0)
    rank = len(x.shape) + 1
    starts, ends = site.integers("starts", 1), site.integers("ends", 2)
    if starts is None or ends is None:
        raise GraphError("starts or ends are missing")
    given, steps = site.integers("axes", 3), None
    if site.n_operands > 4:
        steps = site.integers("steps", 4)
    axes = tuple(range(len(starts))) if given is None else given
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise GraphError(
            f"starts {list(starts)}, ends {list(ends)}, axes {list(axes)} and steps {list(steps)} "
            "do not fit one another"
        )
    indices: dict[int, Places] = {}
    for axis, *bounds in zip(axes, starts, ends, steps, strict=True):
        place = normalize(axis, rank)
        if place in indices:
            raise GraphError(f"axes {list(axes)} name an axis twice")
        if place == 0:
            _check_whole_batch(site, slice(*bounds))
            indices[0] = None
            continue
        n = x.shape[place - 1]
        chosen = slice(*bounds).indices(n)
        indices[place] = None if range(*chosen) == range(n) else places(*chosen)
    return _select(site, x, tuple(indices.get(axis) for axis in range(1, rank)))


def _check_whole_batch(site: Site, bounds: slice) -> None:
    fixed = site.draft.static_batch
    for n_samples in [fixed] if fixed else BATCH_SIZES:
        if range(*bounds.indices(n_samples)) != range(n_samples):
            raise UnsupportedNodeError(
                f"takes {bounds.start}:{bounds.stop}:{bounds.step} of the batch, expected all of it"
            )


def emit_split(site: Site) -> Tensor:
    """Neighboring parts along an axis, one per result."""
    x = site.tensor(0)
    names = site.node.outputs
    axis = normalize(site.integer("axis", 0), len(x.shape) + 1)
    n_parts = site.integer("num_outputs", len(names))
    sizes = site.integers("split", 1)
    if axis == 0:
        raise UnsupportedNodeError("splits the batch, expected an axis behind it")
    n = x.shape[axis - 1]
    if sizes is None and n_parts == len(names):
        size = -(-n // max(n_parts, 1))
        sizes = (size,) * (n_parts - 1) + (n - size * (n_parts - 1),)
    if sizes is None or len(sizes) != len(names) or sum(sizes) != n or min(sizes) < 1:
        wanted = f"{n_parts} parts" if sizes is None else f"parts of the sizes {list(sizes)}"
        raise GraphError(f"gives {wanted} for {len(names)} results, expected {n} entries in all")
    start = 0
    for name, size in zip(names, sizes, strict=True):
        start += size
        if site.draft.consumers.get(name):
            part = places(start - size, start)
            indices = tuple(part if each == axis - 1 else None for each in range(len(x.shape)))
            inner = "" if name == names[0] else f"{len(site.further)}"
            site.further[name] = _select(site, x, indices, inner=inner)
    return site.further.get(site.result, x)


def emit_gather(site: Site) -> Tensor:
    """Entries at constant places along an axis behind the batch."""
    x = site.tensor(0)
    axis = normalize(site.integer("axis", 0), len(x.shape) + 1)
    indices = site.constant(1, "indices")
    if axis == 0:
        raise UnsupportedNodeError("takes samples of the batch, expected an axis behind it")
    if indices is None or indices.dtype.kind not in "iu" or not indices.size:
        raise GraphError("indices are missing, empty or no integers")
    n = x.shape[axis - 1]
    flat = tuple(int(place) for place in indices.reshape(-1).tolist())
    if min(flat) < -n or max(flat) >= n:
        raise GraphError(f"indices lie in {min(flat)}..{max(flat)}, expected {-n}..{n - 1}")
    wanted = tuple(place % n for place in flat)
    chosen = tuple(wanted if each == axis - 1 else None for each in range(len(x.shape)))
    if indices.ndim == 1:
        return _select(site, x, chosen)
    taken = site.add(Select(chosen), x, inner="taken")
    return site.reshape(taken, (*x.shape[: axis - 1], *indices.shape, *x.shape[axis:]))


def emit_tile(site: Site) -> Tensor:
    """Copies of the whole one after the other, along axes behind the batch."""
    x = site.tensor(0)
    repeats = site.integers("repeats", 1)
    if repeats is None or len(repeats) != len(x.shape) + 1 or min(repeats) < 1:
        raise GraphError(f"repeats {repeats}, expected {len(x.shape) + 1} numbers of at least 1")
    if repeats[0] != 1:
        raise UnsupportedNodeError("repeats the batch, expected 1 for it")
    return repeat(site, x, repeats[1:])


def emit_expand(site: Site) -> Tensor:
    """Copies along axes of size 1."""
    x = site.tensor(0)
    found = set()
    for n_samples, target in site.sizes(1, "shape"):
        rank = max(len(target), len(x.shape) + 1)
        if rank > len(x.shape) + 1:
            raise UnsupportedNodeError(f"shape {list(target)} moves the batch, expected fewer axes")
        try:
            shape = np.broadcast_shapes((n_samples, *x.shape), target)
        except ValueError as error:
            raise GraphError(f"shape {list(target)} does not fit {[*x.shape]}") from error
        if shape[0] != n_samples:
            raise UnsupportedNodeError(
                f"shape {list(target)} holds for one batch size only, expected 1 in front"
            )
        found.add(shape[1:])
    (shape,) = found if len(found) == 1 else (x.shape,)
    return repeat(site, x, tuple(a // b for a, b in zip(shape, x.shape, strict=True)))


def repeat(site: Site, x: Tensor, repeats: tuple[int, ...]) -> Tensor:
    """Append copies of a sample, per axis."""
    if max(n * times for n, times in zip(x.shape, repeats, strict=True)) > MAX_PLACES:
        raise UnsupportedNodeError(
            f"repeats {list(repeats)} times, expected at most {MAX_PLACES} entries along an axis"
        )
    return _select(
        site,
        x,
        tuple(
            places(n) * times if times > 1 else None
            for n, times in zip(x.shape, repeats, strict=True)
        ),
    )


def emit_depth_to_space(site: Site) -> Tensor:
    """[C b b, H, W] -> [C, H b, W b]."""
    x = site.tensor(0)
    b, mode = site.integer("blocksize", 0), site.text("mode", "DCR")
    if len(x.shape) != 3 or b < 1 or x.shape[0] % (b * b) or mode not in {"DCR", "CRD"}:
        raise GraphError(f"blocksize {b} and mode {mode!r} do not fit the shape {[*x.shape]}")
    channels, height, width = x.shape[0] // (b * b), *x.shape[1:]
    if mode == "DCR":
        parts, order = (b, b, channels, height, width), (2, 3, 0, 4, 1)
    else:
        parts, order = (channels, b, b, height, width), (0, 3, 1, 4, 2)
    return _rearrange(site, x, parts, order, (channels, height * b, width * b))


def emit_space_to_depth(site: Site) -> Tensor:
    """[C, H b, W b] -> [b b C, H, W]."""
    x = site.tensor(0)
    b = site.integer("blocksize", 0)
    if len(x.shape) != 3 or b < 1 or x.shape[1] % b or x.shape[2] % b:
        raise GraphError(f"blocksize {b} does not fit the shape {[*x.shape]}")
    channels, height, width = x.shape[0], x.shape[1] // b, x.shape[2] // b
    parts = (channels, height, b, width, b)
    return _rearrange(site, x, parts, (2, 4, 0, 1, 3), (channels * b * b, height, width))


def _rearrange(
    site: Site, x: Tensor, parts: tuple[int, ...], order: tuple[int, ...], shape: tuple[int, ...]
) -> Tensor:
    y = site.add(Reshape(parts), x, inner="parts")
    return site.reshape(site.add(Transpose(order), y, inner="ordered"), shape)


def _select(site: Site, x: Tensor, indices: tuple[Places, ...], *, inner: str = "") -> Tensor:
    if not any(each is not None for each in indices) and not inner:
        return site.reshape(x, x.shape)
    return site.add(Select(indices), x, inner=inner)
