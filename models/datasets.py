"""Data to calibrate on and to evaluate: DATA on the command line becomes arrays.

`fashion-mnist:test`, `keras:mnist:test`, `tfds:NAME:SPLIT`, an `.npz` file, a folder with `x.npy`
and `y.npy`, a folder of images with one sub-folder per class, or `events:` and such a folder of
recordings of an event camera.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError
from ..converter.ir import Array, Samples
from ..converter.ir.preprocessing import NO_PREPROCESSING, Preprocessing
from ..converter.ir.types import DEFAULT_N_STEPS
from .arrays import FORMS, MAX_BYTES, OpenedData, Shape, open_npy, open_npz, reading
from .events import SUFFIXES, Recordings, find_layout, read_steps
from .fashion_mnist import Images
from .images import IMAGE_SUFFIXES, find_readable, list_files, read_image
from .images import Images as Files
from .named import KERAS, Pixels, list_layouts, load_named


@dataclass(frozen=True)
class Data:
    """Samples as a network takes them.

    Attributes:
        inputs: One array [N, ...] per network input, float32.
        labels: [N], int64, or None.
        name: What it is, for people.
        spiking: All values are 0 or 1.
    """

    inputs: tuple[Array, ...]
    labels: npt.NDArray[np.int64] | None
    name: str
    spiking: bool = False


def load_data(
    spec: str,
    shapes: tuple[Shape, ...],
    *,
    limit: int | None = None,
    labels: bool = True,
    shipped: bool = False,
    preprocessing: Preprocessing = NO_PREPROCESSING,
    skip_broken: bool = False,
    n_steps: int = DEFAULT_N_STEPS,
    over_time: bool = False,
) -> Data:
    """Read a data set into memory. Arguments and errors as `open_data`."""
    opened = open_data(
        spec, shapes, limit=limit, labels=labels, shipped=shipped, preprocessing=preprocessing,
        skip_broken=skip_broken, n_steps=n_steps, over_time=over_time,
    )  # fmt: skip
    inputs = tuple(_in_memory(spec, samples) for samples in opened.inputs)
    return Data(inputs, opened.labels, opened.name, opened.spiking)


def open_data(
    spec: str,
    shapes: tuple[Shape, ...],
    *,
    limit: int | None = None,
    labels: bool = True,
    shipped: bool = False,
    preprocessing: Preprocessing = NO_PREPROCESSING,
    skip_broken: bool = False,
    n_steps: int = DEFAULT_N_STEPS,
    over_time: bool = False,
) -> OpenedData:
    """Open a data set in the layout of a network's inputs.

    Named data sets are scaled to 0..1; `.npz` arrays (x, or x0, x1, ... for several inputs, and
    optionally y) and `.npy` files of such names are taken as they are; images are 0..255. What
    the network is fed has gone through `preprocessing`.

    Args:
        spec: DATA as on the command line.
        shapes: Shape of one sample of each network input.
        limit: Only the first so many samples.
        labels: Read the labels; without, `y` of an .npz is not looked at.
        shipped: Use the shipped subset of a named data set.
        preprocessing: Of every input.
        skip_broken: Leave out files that cannot be read; `Data.name` says how many.
        n_steps: T, into which recordings of events are cut.
        over_time: Samples have a time axis of their own, [N, T, ...]; recordings of events without
            it are given as their mean over the steps.

    Raises:
        DataError: There is no such data set, it cannot be read, or it does not fit the network.
    """
    if limit is not None and limit < 1:
        raise DataError(
            f"number of samples {limit}, expected at least 1",
            hint="change --limit or --calibration-samples, or leave it out",
        )
    kind, _, rest = spec.partition(":")
    path = Path(rest if kind == "events" and rest else spec)
    wanted = tuple((n_steps, *shape) for shape in shapes) if over_time else shapes
    images = load_named(spec, limit=limit, shipped=shipped)
    if over_time and images is not None:
        raise _no_time(spec)
    if images is not None:
        data = _fit_images(spec, images, shapes, limit)
    elif kind == "events" and rest:
        if preprocessing != NO_PREPROCESSING:
            raise DataError(
                f"{spec}: preprocessing {preprocessing}, expected none: events are spikes",
                hint="if the .snn file has some: give --preprocess none",
            )
        data = _load_events(
            path, shapes, limit, skip_broken=skip_broken, n_steps=n_steps, over_time=over_time
        )
    elif _is_dir(path):
        if any((path / f"{name}.npy").exists() for name in ("x", "x0")):
            data = open_npy(path, wanted, limit, labels=labels)
        elif over_time:
            raise _no_time(spec)
        else:
            data = _load_folder(path, shapes, limit, skip_broken=skip_broken)
    elif path.suffix.lower() == ".npz":
        data = open_npz(path, wanted, limit, labels=labels)
    else:
        raise DataError(f"{spec}: no such data, expected {FORMS}", hint=_form_hint(spec, path))
    data = data if labels else dataclasses.replace(data, labels=None)
    if preprocessing == NO_PREPROCESSING:
        return data
    for shape in shapes:
        preprocessing.find_axis(shape)
    pairs = zip(data.inputs, shapes, strict=True)
    inputs = tuple(_Preprocessed(array, preprocessing, shape) for array, shape in pairs)
    return OpenedData(inputs, data.labels, f"{data.name}, {preprocessing}")


def _form_hint(spec: str, path: Path) -> str:
    """Return what `spec`, which is none of the forms of data, was probably meant to be."""
    name, colon, split = spec.partition(":")
    if path.suffix.lower() == ".npy":
        return "give the folder with x.npy and y.npy, or numpy.savez('data.npz', x=..., y=...)"
    if name.lower().replace("_", "-") in {"fashion-mnist", "fashionmnist"}:
        return f"did you mean fashion-mnist:{split or 'test'}?"
    if name.lower() in KERAS:
        return f"did you mean keras:{name.lower()}:{split or 'test'}?"
    if path.suffix.lower() in {".keras", ".h5", ".onnx", ".snn"}:
        return "this is the file of a network; data are numpy.savez('data.npz', x=..., y=...)"
    return "check the spelling" + ("" if colon else "; a folder has to exist")


def _no_time(spec: str) -> DataError:
    return DataError(
        f"{spec}: images have no time axis, expected events:FOLDER, or arrays [N, T, ...]",
        hint="--code recorded is for samples that change from step to step; leave it out",
    )


def _is_dir(path: Path) -> bool:
    with reading(path):
        return path.is_dir()


def _list(folder: Path) -> list[Path]:
    """Return the entries of a folder by name, without what systems put there for themselves."""
    with reading(folder):
        return sorted(entry for entry in folder.iterdir() if entry.name[0] not in ".@")


def _fit_images(
    spec: str, images: Images, shapes: tuple[Shape, ...], limit: int | None
) -> OpenedData:
    image = images.x.shape[1:]
    layouts = list_layouts(image)
    if len(shapes) != 1 or shapes[0] not in layouts:
        raise DataError(
            f"{spec}: images are {'x'.join(map(str, image))}, the network takes "
            f"{', '.join(map(str, shapes))}, expected one input of shape "
            f"{', '.join(map(str, layouts[:-1]))} or {layouts[-1]}",
            hint="give data of the network's own kind as .npz",
        )
    name = images.source if limit is None or limit >= len(images.x) else (
        f"{images.source}, the first {limit}"
    )  # fmt: skip
    labels = None if images.y is None else images.y[:limit]
    return OpenedData((Pixels(images.x[:limit], shapes[0]),), labels, name)


def _load_folder(
    path: Path, shapes: tuple[Shape, ...], limit: int | None, *, skip_broken: bool
) -> OpenedData:
    def read(file: Path) -> object:
        return read_image(file, shapes[0])

    found = _list_classes(
        path, shapes, limit, IMAGE_SUFFIXES, "images", read if skip_broken else None
    )
    return OpenedData((Files(found.files, shapes[0]),), found.labels, found.name)


def _load_events(
    path: Path,
    shapes: tuple[Shape, ...],
    limit: int | None,
    *,
    skip_broken: bool,
    n_steps: int,
    over_time: bool,
) -> OpenedData:
    def read(file: Path) -> object:
        return read_steps(file, shapes[0], n_steps)

    with reading(path):
        is_file = path.is_file()
    if is_file:
        found = _Listed([path], None, path.name)
    else:
        check = read if skip_broken else None
        found = _list_classes(path, shapes, limit, SUFFIXES, "recordings", check)
    if len(shapes) == 1:
        find_layout(shapes[0])
    recordings = Recordings(found.files, shapes[0], n_steps, over_time)
    name = f"{found.name}, {'' if over_time else 'the mean of '}{n_steps} steps"
    return OpenedData((recordings,), found.labels, name, spiking=over_time)


@dataclass(frozen=True)
class _Listed:
    """Files of a folder with one sub-folder per class: in order, with labels, for people."""

    files: list[Path]
    labels: npt.NDArray[np.int64] | None
    name: str


def _list_classes(
    path: Path,
    shapes: tuple[Shape, ...],
    limit: int | None,
    suffixes: Collection[str],
    kind: str,
    check: Callable[[Path], object] | None,
) -> _Listed:
    """List a folder; with `check`, files that it cannot read are left out and counted."""
    if len(shapes) != 1:
        raise DataError(
            f"{path}: a folder of {kind} feeds one input, the network takes {len(shapes)}, "
            "expected an .npz",
            hint="save arrays x0, x1, ... and y with numpy.savez",
        )
    classes = [entry for entry in _list(path) if _is_dir(entry)]
    files, labels = list_files(path, classes, suffixes, kind)
    n_files, n_broken = len(files), 0
    if check is not None:
        is_good = find_readable(files, check)
        n_broken = int((~is_good).sum())
        files = [file for file, good in zip(files, is_good, strict=True) if good]
        labels = labels[is_good]
        if not files:
            raise DataError(
                f"{path}: none of {n_files} {kind} can be read, expected {kind} of shape "
                f"{shapes[0]}",
                hint="leave --skip-broken out to see the first reason",
            )
    files, labels = files[:limit], labels[:limit]
    folder = Path(os.path.abspath(path)).name  # of "." too; a link keeps its own name
    name = f"{folder}, {len(files)} of {n_files} {kind} in {len(classes)} classes"
    if n_broken:
        name += f", {n_broken} broken ones skipped"
    return _Listed(files, labels, name)


@dataclass(frozen=True, eq=False)
class _Preprocessed:
    """Samples that are preprocessed when they are asked for."""

    samples: Samples
    preprocessing: Preprocessing
    input_shape: Shape

    @property
    def shape(self) -> Shape:
        """N, and the shape of one sample."""
        return self.samples.shape

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, part: slice) -> Array:
        return self.preprocessing.apply(self.samples[part], self.input_shape)


def _in_memory(spec: str, samples: Samples) -> Array:
    n_bytes = 4 * math.prod(samples.shape)
    if n_bytes > MAX_BYTES:
        raise DataError(
            f"{spec}: {len(samples)} samples take {n_bytes} bytes, expected at most {MAX_BYTES}",
            hint="use --limit or --calibration-samples",
        )
    return np.asarray(samples[:], np.float32)
