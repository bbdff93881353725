"""What samples go through before a network: kept in `.snn` files, done when data are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, find
from .graph import Graph
from .types import Array

Numbers = tuple[float, ...]
MAX_CHANNELS = 4096
"""Numbers that a file may give."""


@dataclass(frozen=True)
class Preprocessing:
    """The network is fed x * scale + offset, of channels in reverse order if `reverse_channels`.

    Attributes:
        scale: One factor, or one per channel of what is fed.
        offset: Added behind it, likewise.
        reverse_channels: RGB images become BGR.

    Raises:
        DataError: A number is not finite, a scale is 0, or the two have other numbers of channels.
    """

    scale: Numbers = (1.0,)
    offset: Numbers = (0.0,)
    reverse_channels: bool = False

    def __post_init__(self) -> None:
        sizes = {len(self.scale), len(self.offset)} - {1}
        numbers = (*self.scale, *self.offset)
        if len(sizes) > 1 or 0 in sizes or 0 in self.scale or not all(map(math.isfinite, numbers)):
            raise DataError(
                f"input scale {show_numbers(self.scale)}, offset {show_numbers(self.offset)}, "
                "expected finite numbers, one or as many as channels, and no scale of 0",
                hint="the network is fed x * scale + offset; 1 and 0 change nothing",
            )

    def find_axis(self, shape: tuple[int, ...]) -> int | None:
        """Return the axis of a sample that the channels lie along; None if all are alike.

        Args:
            shape: Of a sample as the source takes it, channels first or last.

        Raises:
            DataError: No axis, or both, can be that of the channels.
        """
        n_channels = max(len(self.scale), len(self.offset))
        if n_channels == 1 and not self.reverse_channels:
            return None
        wanted = n_channels if n_channels > 1 else 3
        found = [
            axis for axis in {0, len(shape) - 1} if 0 <= axis < len(shape) and shape[axis] == wanted
        ]
        if len(found) != 1:
            raise DataError(
                f"preprocessing: samples of shape {shape}, expected "
                f"{wanted} channels as the first or the last axis",
                hint="use --preprocess none or unit, or one --input-scale for all channels",
            )
        return found[0]

    def apply(self, samples: Array, shape: tuple[int, ...]) -> Array:
        """Return samples as a network takes them, float32.

        Args:
            samples: [N, ..., *shape].
            shape: Of what the network takes, without time.

        Raises:
            DataError: See `find_axis`.
        """
        values = np.asarray(samples, np.float32)
        axis = self.find_axis(shape)
        if axis is None:
            return np.asarray(values * self.scale[0] + self.offset[0], np.float32)
        if self.reverse_channels:
            values = np.flip(values, axis - len(shape))
        sizes = [-1 if place == axis else 1 for place in range(len(shape))]
        scale, offset = (np.array(n).reshape(sizes) for n in (self.scale, self.offset))
        return np.asarray(values * scale + offset, np.float32)

    def __str__(self) -> str:
        reverse = ", channels reversed" if self.reverse_channels else ""
        return f"times {show_numbers(self.scale)} plus {show_numbers(self.offset)}{reverse}"

    def to_metadata(self) -> dict[str, Any]:
        """Return what a file says; one number stands for itself."""
        found: dict[str, Any] = {
            name: numbers[0] if len(numbers) == 1 else list(numbers)
            for name, numbers in (("scale", self.scale), ("offset", self.offset))
        }
        return found | ({"reverse_channels": True} if self.reverse_channels else {})


NO_PREPROCESSING = Preprocessing()


def _of_images(mean: Numbers, deviation: Numbers) -> Preprocessing:
    """Return x / 255, less the mean, divided by the deviation."""
    return Preprocessing(
        tuple(1 / 255 / one for one in deviation),
        tuple(-m / d for m, d in zip(mean, deviation, strict=True)),
    )


PREPROCESSINGS = {
    "none": NO_PREPROCESSING,
    "unit": Preprocessing((1 / 255,)),
    "tf": Preprocessing((1 / 127.5,), (-1.0,)),
    "torch": _of_images((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": Preprocessing((1.0,), (-103.939, -116.779, -123.68), reverse_channels=True),
}
"""By name: none, and of pixels 0..255: 0..1, and the modes of keras.applications.imagenet_utils."""


def show_numbers(numbers: Numbers) -> str:
    """Return numbers as options take them."""
    return ",".join(f"{number:g}" for number in numbers)


def read_preprocessing(graph: Graph) -> Preprocessing:
    """Return what a graph's file says, nothing if it does not.

    Raises:
        DataError: The file says something else than numbers.
    """
    found = graph.metadata.get("preprocessing", {"scale": 1.0, "offset": 0.0})
    parts = _plain(found) if isinstance(found, dict) else None
    if parts is None:
        raise DataError(
            f"metadata: preprocessing is {str(found)[:200]}, expected the numbers scale and offset",
            hint="convert the network again",
        )
    return Preprocessing(*parts)


def _plain(found: Mapping[str, Any]) -> tuple[Numbers, Numbers, bool] | None:
    reverse = found.get("reverse_channels", False)
    if not found.keys() >= {"scale", "offset"} or type(reverse) is not bool:
        return None
    if found.keys() - {"scale", "offset", "reverse_channels"}:
        return None
    read = []
    for name in ("scale", "offset"):
        value = found[name]
        numbers = value if isinstance(value, list) else [value]
        if not 0 < len(numbers) <= MAX_CHANNELS or any(
            type(n) not in {int, float} for n in numbers
        ):
            return None
        try:
            read.append(tuple(map(float, numbers)))
        except OverflowError:
            return None
    return read[0], read[1], reverse


def choose_preprocessing(
    known: Preprocessing,
    name: str | None = None,
    scale: Numbers | None = None,
    offset: Numbers | None = None,
) -> Preprocessing:
    """Return one by name, or a known one with another scale or offset.

    Raises:
        DataError: No such name, numbers beside a name, or numbers that do not do.
    """
    if name is None:
        return Preprocessing(
            known.scale if scale is None else scale,
            known.offset if offset is None else offset,
            known.reverse_channels,
        )
    if scale is not None or offset is not None:
        raise DataError(
            f"preprocess {name}: has a scale and an offset of its own, expected no others",
            hint="leave --preprocess or --input-scale and --input-offset out",
        )
    chosen: Preprocessing = find(PREPROCESSINGS, name, "preprocess", DataError)
    return chosen
