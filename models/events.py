"""Recordings of event cameras, binned into time steps: x, y, t and polarity of every event.

A recording is an `.npz` or an HDF5 file with arrays of equal length of these names (polarity may be
called p or pol, and in HDF5 all of them may lie in the group `events`). Its duration is cut into T
steps of equal length; a pixel sends a spike at a step in which it has an event, one spike however
many events there are. Increases and decreases of brightness are two channels, or one.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError, FormatError
from ..converter.ir import Array
from .arrays import Shape, npz_errors, reading

SUFFIXES = {".npz", ".h5", ".hdf5"}
MAX_EVENTS = 2**24
"""Of one recording; half a gigabyte of arrays."""
MAX_PLACE = 2**20
NAMES = {"x": ("x",), "y": ("y",), "t": ("t", "timestamp"), "polarity": ("polarity", "p", "pol")}
"""By array: what it may be called."""
GROUP = "events"
HINT = "write x, y, t and polarity with numpy.savez, one entry per event"


@dataclass(frozen=True, eq=False)
class Events:
    """One recording.

    Attributes:
        x: Column of every event, [n], from 0.
        y: Row.
        t: Time, in any unit and order.
        is_on: Whether it is an increase of brightness; None where the recording does not say.
    """

    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    t: npt.NDArray[np.float64]
    is_on: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class Recordings:
    """Recordings as an array, of which parts are read and binned when they are asked for.

    Attributes:
        files: In order.
        sample: Shape of one step, see `find_layout`.
        n_steps: T.
        over_time: Samples are steps, [N, T, *sample]; else their means, [N, *sample].
    """

    files: Sequence[Path]
    sample: Shape
    n_steps: int
    over_time: bool

    @property
    def shape(self) -> Shape:
        """N, T if samples have steps, and the shape of one step."""
        return (len(self.files), *((self.n_steps,) if self.over_time else ()), *self.sample)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, part: slice) -> Array:
        """Return some recordings, in 0..1.

        Raises:
            DataError: One of them cannot be read, or has events outside the image.
        """
        files = self.files[part]
        result = np.empty((len(files), *self.shape[1:]), np.float32)
        for place, file in enumerate(files):
            steps = read_steps(file, self.sample, self.n_steps)
            result[place] = steps if self.over_time else steps.mean(axis=0)
        return result


def find_layout(shape: Shape) -> tuple[int, int, int, bool]:
    """Return channels, height, width, and whether the channels come first, of an input's shape.

    Raises:
        DataError: It is no image of one or two channels.
    """
    if len(shape) == 2:
        return 1, *shape, True
    first, last = shape[:1], shape[-1:]
    found = [
        (channels[0], image[0], image[1], channels is first)
        for channels, image in ((first, shape[1:]), (last, shape[:-1]))
        if len(shape) == 3 and channels[0] in {1, 2}
    ]
    if found:  # where both are possible, the one that is less of a line
        return max(found, key=lambda layout: min(layout[1:3]))
    raise DataError(
        f"events cannot feed an input of shape {shape}, expected (2, height, width), (height, "
        "width, 2), or one channel",
        hint="save arrays x and y with numpy.savez, and time as the second axis of x",
    )


def read_steps(path: Path, shape: Shape, n_steps: int) -> npt.NDArray[np.uint8]:
    """Return a recording as spikes, [T, *shape]. Arguments and errors as `bin_events`."""
    try:
        return bin_events(read_events(path), shape, n_steps)
    except DataError as error:
        raise error if str(error).startswith(str(path)) else error.at(str(path)) from error


def bin_events(events: Events, shape: Shape, n_steps: int) -> npt.NDArray[np.uint8]:
    """Return spikes of T steps of equal length: 1 where a pixel has at least one event.

    Step k of T has the events of t0 + k d <= t < t0 + (k + 1) d, where t0 is the time of the first
    event and d a T-th of the time from it to the last one, which belongs to the last step.

    Args:
        events: Of one recording.
        shape: Of one step, see `find_layout`; the first of two channels is an increase.
        n_steps: T.

    Raises:
        DataError: There are no events, some lie outside the image, or two channels are asked of a
            recording without polarity.
    """
    n_channels, height, width, is_first = find_layout(shape)
    if not len(events.t):
        raise DataError("has no events, expected at least one", hint="leave the recording out")
    for name, values, size in (("x", events.x, width), ("y", events.y, height)):
        if values.max() >= size:
            raise DataError(
                f"{name} of an event is {values.max()}, expected 0..{size - 1} of the input",
                hint="crop or scale the recording as the training did",
            )
    if n_channels == 2 and events.is_on is None:
        raise DataError("has no polarity, expected one for two channels", hint=HINT)
    begin = events.t.min()
    duration = events.t.max() - begin
    steps = np.zeros(len(events.t), np.int64)
    if duration > 0:
        steps = ((events.t - begin) * (n_steps / duration)).astype(np.int64)
    spikes = np.zeros((n_steps, n_channels, height, width), np.uint8)
    channels = np.int64(0) if n_channels == 1 or events.is_on is None else 1 - events.is_on
    spikes[np.minimum(steps, n_steps - 1), channels, events.y, events.x] = 1
    return (spikes if is_first else spikes.transpose(0, 2, 3, 1)).reshape(n_steps, *shape)


def read_events(path: Path) -> Events:
    """Read one recording; every size is bounded before anything is read.

    Raises:
        DataError: The file cannot be read, or its arrays are no events.
    """
    arrays = _read_npz(path) if path.suffix.lower() == ".npz" else _read_hdf5(path)
    n_events = len(arrays["t"])
    for name, array in arrays.items():
        if array.shape != (n_events,) or array.dtype.kind not in "buif":
            raise DataError(
                f"{path}: {name} has shape {array.shape} and dtype {array.dtype}, expected "
                f"({n_events},) numbers as t",
                hint=HINT,
            )
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {name} holds NaN or infinity, expected numbers", hint=HINT)
    for name in ("x", "y"):
        values = arrays[name]
        if n_events and (values.min() < 0 or values.max() >= MAX_PLACE or (values % 1 != 0).any()):
            raise DataError(
                f"{path}: {name} lies in {values.min()}..{values.max()}, expected whole numbers of "
                "at least 0",
                hint=HINT,
            )
    polarity = arrays.get("polarity")
    return Events(
        arrays["x"].astype(np.int64),
        arrays["y"].astype(np.int64),
        arrays["t"].astype(np.float64),
        None if polarity is None else polarity > 0,
    )


def _read_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    with npz_errors(path):
        with reading(path):
            path.open("rb").close()
        with zipfile.ZipFile(path) as archive:
            n_bytes = max((member.file_size for member in archive.infolist()), default=0)
        if n_bytes > 8 * MAX_EVENTS + 2**10:
            raise _too_many(path, n_bytes // 8)
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[key] for name, key in _find_names(path, arrays.files).items()}


def _read_hdf5(path: Path) -> dict[str, npt.NDArray[Any]]:
    from ..converter.frontends.keras.hdf5 import find_dataset, find_group, has, open_hdf5

    where = str(path)
    try:
        with reading(path), path.open("rb") as file, open_hdf5(file, where) as opened:
            group = opened
            if has(opened, GROUP, where):
                group = find_group(opened, GROUP, where)
            known = {name for names in NAMES.values() for name in names}
            found = [name for name in sorted(known) if has(group, name, where)]
            stored = {
                name: find_dataset(group, key, where)
                for name, key in _find_names(path, found).items()
            }
            for array in stored.values():
                if int(np.prod(array.shape, dtype=np.float64)) > MAX_EVENTS:
                    raise _too_many(path, array.shape[0])
            return {name: array.read() for name, array in stored.items()}
    except FormatError as error:
        raise DataError(str(error), hint=HINT) from error


def _find_names(path: Path, found: Sequence[str]) -> dict[str, str]:
    """Return what the arrays of a recording are called in its file."""
    names = {
        name: next((each for each in spellings if each in found), None)
        for name, spellings in NAMES.items()
    }
    missing = [name for name in ("x", "y", "t") if names[name] is None]
    if missing:
        raise DataError(
            f"{path}: has no {', '.join(missing)}, expected x, y, t and polarity of every event",
            hint=HINT,
        )
    return {name: key for name, key in names.items() if key is not None}


def _too_many(path: Path, n_events: int) -> DataError:
    return DataError(
        f"{path}: has {n_events} events, expected at most {MAX_EVENTS}",
        hint="cut the recording into several",
    )
