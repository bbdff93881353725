"""Functions of keras.ops that drop, repeat and pad entries, none of them across samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...errors import FormatError
from ...ir.ops import Pad, Reshape, Select
from .calls import Constant, shorten
from .draft import Site, UnsupportedLayerError, Value
from .hdf5 import DAMAGED
from .model import Layer
from .rearranging import BATCH, sample_axes, sample_axis
from .sampling import check_length, repeat
from .settings import get_integers, get_text

_Places = list[tuple[int, ...] | None]


def emit_item(site: Site, x: Value | Constant, key: Value | Constant) -> Value:
    """x[...]: slices with steps, whole numbers, ... and new axes."""
    x, key = _expect_constant(x, key)
    entries = key.value if isinstance(key.value, list) else [key.value]
    entries = _expand_ellipsis(entries, len(x.shape) + 1)
    if not entries or _as_slice(entries[0]) != slice(None):
        raise UnsupportedLayerError(BATCH)
    places: _Places = [None] * len(x.shape)
    shape: list[int] = []
    axis = 0
    for entry in entries[1:]:
        if entry is None:
            shape.append(1)
            continue
        found = _as_slice(entry)
        if found is None and type(entry) is not int:
            raise UnsupportedLayerError(f"takes entries {shorten(entry)}, expected slices")
        try:
            chosen = range(x.shape[axis])[entry if found is None else found]
        except (IndexError, TypeError, ValueError) as error:
            raise FormatError(f"{site.layer}: {error}", hint=DAMAGED) from error
        if isinstance(chosen, range):
            shape.append(len(chosen))
            if found != slice(None):
                check_length(len(chosen))
                places[axis] = tuple(chosen)
        else:
            places[axis] = (chosen,)
        axis += 1
    shape += x.shape[axis:]
    return _emit_places(site, x, places, tuple(shape))


def emit_split(site: Site, x: Value) -> tuple[Value, ...]:
    """keras.ops.split."""
    axis = sample_axis(site, "axis", len(x.shape))
    parts = site.layer.settings.get("indices_or_sections")
    bounds = get_integers(site.layer, "indices_or_sections")
    size = x.shape[axis]
    check_length(size)
    if not isinstance(parts, list):
        (n_parts,) = bounds
        if n_parts < 1 or size % n_parts:
            raise FormatError(
                f"{site.layer}: splits {size} entries into {n_parts}, expected equal parts",
                hint=DAMAGED,
            )
        bounds = tuple(range(size // n_parts, size, size // n_parts))
    results = []
    for number, chosen in enumerate(np.split(np.arange(size), bounds)):
        places: _Places = [None] * len(x.shape)
        places[x.axis(axis)] = tuple(map(int, chosen))
        results.append(site.add(Select(tuple(places)), x, inner=f"{number}", moved=x.moved))
    return tuple(results)


def emit_repeat(site: Site, x: Value) -> Value:
    """keras.ops.repeat, every entry as often."""
    if site.layer.settings.get("axis") is None:
        raise UnsupportedLayerError(BATCH)
    axis = sample_axis(site, "axis", len(x.shape))
    repeats = get_integers(site.layer, "repeats")
    if len(repeats) != 1 or repeats[0] < 1:
        raise UnsupportedLayerError(f"repeats {repeats} times, expected one positive number")
    return _emit_one(site, x, axis, repeat(x.shape[axis], repeats[0]))


def emit_tile(site: Site, x: Value) -> Value:
    """keras.ops.tile."""
    repeats = get_integers(site.layer, "repeats")
    repeats = (1,) * (len(x.shape) + 1 - len(repeats)) + repeats
    if len(repeats) != len(x.shape) + 1 or repeats[0] != 1 or min(repeats) < 1:
        raise UnsupportedLayerError(BATCH)
    places: _Places = [None] * len(x.shape)
    for axis, (size, times) in enumerate(zip(x.shape, repeats[1:], strict=True)):
        if times > 1:
            check_length(size * times)
            places[x.axis(axis)] = (*range(size),) * times
    return site.add(Select(tuple(places)), x, moved=x.moved)


def emit_take(site: Site, x: Value | Constant, indices: Value | Constant) -> Value:
    """keras.ops.take of given places."""
    x, indices = _expect_constant(x, indices)
    if site.layer.settings.get("axis") is None:
        raise UnsupportedLayerError(BATCH)
    axis = sample_axis(site, "axis", len(x.shape))
    size = x.shape[axis]
    chosen = indices.value if isinstance(indices.value, list) else [indices.value]
    if not chosen or not all(type(each) is int and -size <= each < size for each in chosen):
        raise UnsupportedLayerError(
            f"takes entries {shorten(indices.value)} of {size}, expected whole numbers within"
        )
    taken = tuple(each % size for each in chosen)
    if isinstance(indices.value, list):
        return _emit_one(site, x, axis, taken)
    places: _Places = [None] * len(x.shape)
    places[axis] = taken
    return _emit_places(site, x, places, (*x.shape[:axis], *x.shape[axis + 1 :]))


def emit_flip(site: Site, x: Value) -> Value:
    """keras.ops.flip."""
    if site.layer.settings.get("axis") is None:
        raise UnsupportedLayerError(BATCH)
    places: _Places = [None] * len(x.shape)
    for axis in sample_axes(site, "axis", len(x.shape)):
        check_length(x.shape[axis])
        places[x.axis(axis)] = tuple(reversed(range(x.shape[axis])))
    return site.add(Select(tuple(places)), x, moved=x.moved)


def emit_pad(site: Site, x: Value) -> Value:
    """keras.ops.pad: with zeros, or with the entries mirrored at the border."""
    value = site.layer.settings.get("pad_width")
    pairs = value if isinstance(value, list) else []
    numbers = [each for pair in pairs if isinstance(pair, list) for each in pair]
    if len(numbers) != 2 * len(pairs) or any(
        type(each) is not int or not 0 <= each < 2**31 for each in numbers
    ):
        raise FormatError(
            f"{site.layer}: pad_width is {shorten(value)}, expected pairs of sizes", hint=DAMAGED
        )
    if len(pairs) != len(x.shape) + 1 or any(pairs[0]):
        raise UnsupportedLayerError(BATCH)
    own: list[tuple[int, int]] = [(0, 0)] * len(x.shape)
    for axis, (before, after) in enumerate(pairs[1:]):
        own[x.axis(axis)] = (before, after)
    mode = get_text(site.layer, "mode", "constant")
    if mode == "constant":
        return site.add(Pad(tuple(own)), x, moved=x.moved)
    places: _Places = [None] * len(own)
    for axis, ((before, after), size) in enumerate(
        zip(own, site.draft.types[x.node].shape, strict=True)
    ):
        if before or after:
            check_length(size + before + after)
            padded = np.pad(np.arange(size), (before, after), mode=mode)  # type: ignore[call-overload]
            places[axis] = tuple(map(int, padded))
    return site.add(Select(tuple(places)), x, moved=x.moved)


def refuse_pad(layer: Layer) -> Iterator[str]:
    """Yield that something else than zeros or mirrored entries is padded."""
    mode = layer.settings.get("mode", "constant")
    if mode not in ("constant", "reflect", "symmetric"):
        yield f"mode is {shorten(mode)}, expected constant, reflect or symmetric"


def _expect_constant(x: Value | Constant, y: Value | Constant) -> tuple[Value, Constant]:
    if isinstance(x, Value) and isinstance(y, Constant):
        return x, y
    raise UnsupportedLayerError("takes places that are computed, expected a tensor and constants")


def _emit_one(site: Site, x: Value, axis: int, chosen: tuple[int, ...]) -> Value:
    places: _Places = [None] * len(x.shape)
    places[x.axis(axis)] = chosen
    return site.add(Select(tuple(places)), x, moved=x.moved)


def _emit_places(site: Site, x: Value, places: _Places, shape: tuple[int, ...]) -> Value:
    """Emit places along Keras' axes, and the shape without the axes of a single place."""
    n_kept = [
        size if each is None else len(each) for size, each in zip(x.shape, places, strict=True)
    ]
    if tuple(n_kept) == shape:
        own: _Places = [None] * len(places)
        for axis, each in enumerate(places):
            own[x.axis(axis)] = each
        return site.add(Select(tuple(own)), x, moved=x.moved)
    x = site.keras_order(x)
    if any(each is not None for each in places):
        x = site.add(Select(tuple(places)), x, inner="selected")
    return site.add(Reshape(shape), x)


def _expand_ellipsis(entries: list[Any], n_axes: int) -> list[Any]:
    marks = [number for number, entry in enumerate(entries) if _is(entry, "__ellipsis__")]
    if len(marks) != 1:
        return entries
    n_named = sum(entry is not None for entry in entries) - 1
    whole = {"class_name": "__slice__", "config": {}}
    return [*entries[: marks[0]], *[whole] * (n_axes - n_named), *entries[marks[0] + 1 :]]


def _as_slice(entry: Any) -> slice | None:
    if not _is(entry, "__slice__") or not isinstance(entry.get("config"), dict):
        return None
    start, stop, step = (entry["config"].get(key) for key in ("start", "stop", "step"))
    return slice(start, stop, None if step == 1 else step)


def _is(entry: Any, class_name: str) -> bool:
    return isinstance(entry, dict) and entry.get("class_name") == class_name
