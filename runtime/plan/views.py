"""Views: which events make up a tensor. Pooling and rearranging spikes only changes a view."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converter.ir import Op
from ...converter.ir.windows import Window

Ints = npt.NDArray[np.int64]
WORD = 64
"""Channels that share a word of a spike mask."""


MAX_LEVEL = 255
"""Spikes that an event can stand for."""
MAX_SIGNED = 127
"""Likewise where levels may be negative."""


def n_words(n_channels: int) -> int:
    """Return how many words hold a bit per channel."""
    return -(-n_channels // WORD)


def split_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return positions and channels of a sample of `shape`, channels first."""
    n_channels = shape[0] if shape else 1
    return math.prod(shape) // n_channels, n_channels


def line_length(shape: tuple[int, ...]) -> int:
    """Return how many positions of a sample of `shape` make a line: the last axis, or one."""
    return shape[-1] if len(shape) > 1 else 1


@dataclass(frozen=True, eq=False)
class Sites:
    """Spikes of a layer, or sums of the spikes or levels of several of its positions.

    Attributes:
        layer: Node whose spikes are listed.
        layer_shape: Its shape.
        n_positions: P.
        n_channels: C, that of the layer.
        line_length: Positions of a line, of which P is a multiple.
        sources: Positions of the layer whose spikes are added up, P lists one after the other.
        first_source: [P + 1]: where each of the lists begins.
        most: Magnitude of the largest level that the layer sends; 1 of spikes.
        are_levels: The layer sends levels, see plan/stepped.py.
    """

    layer: str
    layer_shape: tuple[int, ...]
    n_positions: int
    n_channels: int
    line_length: int
    sources: Ints
    first_source: Ints
    most: int = 1
    are_levels: bool = False

    @property
    def is_layer(self) -> bool:
        """Whether these are the layer's own spikes, position by position."""
        n_positions, _ = split_shape(self.layer_shape)
        return (
            not self.are_levels
            and len(self.sources) == self.n_positions == n_positions
            and bool((self.sources == np.arange(n_positions)).all())
        )


@dataclass(frozen=True, eq=False)
class Part:
    """Events that are entries of a tensor.

    Attributes:
        sites: Whose events.
        order: [P, C]: the entry of the flattened tensor that an event at (position, channel) adds
            to.
        divisor: An event of n spikes adds n / divisor.
    """

    sites: Sites
    order: Ints
    divisor: int

    def channels_and_positions(self, shape: tuple[int, ...]) -> tuple[Ints, Ints] | None:
        """Return the tensor's channel for each channel of the sites, and likewise positions.

        None if the entries are not arranged like that.
        """
        n_positions, _ = split_shape(shape)
        channels = self.order[0] // n_positions
        positions = self.order[:, 0] % n_positions
        expected = channels * n_positions + positions[:, None]
        return (channels, positions) if np.array_equal(expected, self.order) else None


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of `shape` per sample and step that is the sum of its parts' events."""

    shape: tuple[int, ...]
    parts: tuple[Part, ...]


def view_layer(layer: str, shape: tuple[int, ...]) -> View:
    """Return the spikes of a layer as they are."""
    n_positions, n_channels = split_shape(shape)
    order = np.arange(n_channels) * n_positions + np.arange(n_positions)[:, None]
    sites = Sites(
        layer,
        shape,
        n_positions,
        n_channels,
        line_length(shape),
        np.arange(n_positions),
        np.arange(n_positions + 1),
    )
    return View(shape, (Part(sites, order, 1),))


def as_levels(view: View, most: int, divisor: int) -> View:
    """Return the view of a layer that sends levels up to `most`, `divisor` of which make 1."""
    (part,) = view.parts
    return replace(view, parts=(
        replace(part, sites=replace(part.sites, most=most, are_levels=True), divisor=divisor),
    ))  # fmt: skip


def layer_of(view: View) -> str | None:
    """Return the layer whose spikes a view is, if it is nothing else and in the layer's order."""
    part = view.parts[0]
    if len(view.parts) > 1 or part.sites.are_levels or part.sites.layer_shape != view.shape:
        return None
    plain = view_layer(part.sites.layer, view.shape).parts[0]
    same = np.array_equal(part.order, plain.order) and np.array_equal(
        part.sites.sources, plain.sites.sources
    )
    return part.sites.layer if same else None


def rearrange(view: View, op: Op, shape: tuple[int, ...]) -> View:
    """Return what an op that only moves entries, or adds zeros, makes of a view."""
    size = math.prod(view.shape)
    numbers: Any = np.arange(1, size + 1).reshape(1, *view.shape)
    moved: Ints = np.asarray(op.apply(numbers), np.int64).reshape(-1)
    places = np.zeros(size + 1, np.int64)
    places[moved] = np.arange(len(moved))
    parts = (Part(part.sites, places[part.order + 1], part.divisor) for part in view.parts)
    return View(shape, tuple(parts))


def concatenate(views: tuple[View, ...], axis: int, shape: tuple[int, ...]) -> View:
    """Return views one after the other along an axis of a sample."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    ends = np.cumsum([view.shape[axis] for view in views])
    parts = []
    for view, places in zip(views, np.split(numbers, ends[:-1], axis), strict=True):
        flat = places.reshape(-1)
        parts += [Part(part.sites, flat[part.order], part.divisor) for part in view.parts]
    return View(shape, tuple(parts))


def pool(
    view: View, window: Window, divisor: int, shape: tuple[int, ...], max_level: int
) -> View | None:
    """Return the sums over windows, divided; None if the view cannot be pooled, or is too large."""
    n_before, _ = split_shape(view.shape)
    n_behind, _ = split_shape(shape)
    taken = window_positions(window, view.shape[1:])
    parts = []
    for part in view.parts:
        found = part.channels_and_positions(view.shape)
        if found is None:
            return None
        channels, positions = found
        places = np.full(n_before + 1, -1)
        places[positions] = np.arange(len(positions))
        members = places[taken].T  # [windows, entries]; -1 is padding
        sites = part.sites
        lists = [
            np.concatenate([
                sites.sources[sites.first_source[m] : sites.first_source[m + 1]]
                for m in row[row >= 0]
            ] or [np.empty(0, np.int64)])
            for row in members
        ]  # fmt: skip
        pooled = Sites(
            sites.layer,
            sites.layer_shape,
            n_behind,
            sites.n_channels,
            line_length((sites.n_channels, *shape[1:])),
            np.concatenate(lists),
            np.cumsum([0, *map(len, lists)]),
            sites.most,
            sites.are_levels,
        )
        order = channels * n_behind + np.arange(n_behind)[:, None]
        if sites.most * np.diff(pooled.first_source).max(initial=0) > max_level:
            return None
        parts.append(Part(pooled, order, part.divisor * divisor))
    return View(shape, tuple(parts))


def window_positions(window: Window, sizes: tuple[int, ...]) -> Ints:
    """Return the positions in every window, [entries, windows]; -1 is padding."""
    numbers: Any = np.arange(1, math.prod(sizes) + 1).reshape(1, 1, *sizes)
    patches = window.patches(numbers, fill=0)
    return np.asarray(patches, np.int64).reshape(math.prod(window.kernel), -1) - 1
