"""Data to calibrate on and to evaluate: DATA on the command line becomes arrays.

`fashion-mnist:test`, `fashion-mnist:train`, an `.npz` file, or a folder of images with one
sub-folder per class.
"""

from __future__ import annotations

import dataclasses
import lzma
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError
from . import fashion_mnist

Shape = tuple[int, ...]
Array = npt.NDArray[np.float32]
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
MAX_BYTES = 16 * 2**30
FORMS = "fashion-mnist:test, fashion-mnist:train, an .npz file, or a folder of images"


@dataclass(frozen=True)
class Data:
    """Samples as a network takes them.

    Attributes:
        inputs: One array [N, ...] per network input, float32.
        labels: [N], int64, or None.
        name: What it is, for people.
    """

    inputs: tuple[Array, ...]
    labels: npt.NDArray[np.int64] | None
    name: str


def load_data(
    spec: str,
    shapes: tuple[Shape, ...],
    *,
    limit: int | None = None,
    labels: bool = True,
    shipped: bool = False,
    scale: float = 1.0,
    offset: float = 0.0,
) -> Data:
    """Read a data set in the layout of a network's inputs.

    Named data sets are scaled to 0..1; `.npz` arrays (x, or x0, x1, ... for several inputs, and
    optionally y) are taken as they are; images are 0..255. The network is fed x * scale + offset.

    Args:
        spec: DATA as on the command line.
        shapes: Shape of one sample of each network input.
        limit: Only the first so many samples.
        labels: Read the labels; without, `y` of an .npz is not looked at.
        shipped: Use the shipped subset of a named data set.
        scale: Factor on the samples.
        offset: Added behind the factor.

    Raises:
        DataError: There is no such data set, it cannot be read, or it does not fit the network.
    """
    if limit is not None and limit < 1:
        raise DataError(
            f"number of samples {limit}, expected at least 1",
            hint="change --limit or --calibration-samples, or leave it out",
        )
    if scale == 0 or not (math.isfinite(scale) and math.isfinite(offset)):
        raise DataError(
            f"input scale {scale:g}, offset {offset:g}, expected finite numbers and a scale not 0",
            hint="the network is fed x * scale + offset; 1 and 0 change nothing",
        )
    path = Path(spec)
    if spec == "fashion-mnist" or spec.startswith("fashion-mnist:"):
        data = _load_fashion_mnist(spec, shapes, limit, shipped=shipped)
    elif _is_dir(path):
        data = _load_folder(path, shapes, limit)
    elif path.suffix.lower() == ".npz":
        data = _load_npz(path, shapes, limit, labels=labels)
    else:
        raise DataError(f"{spec}: no such data, expected {FORMS}", hint="check the spelling")
    data = data if labels else dataclasses.replace(data, labels=None)
    if scale == 1 and offset == 0:
        return data
    inputs = tuple(np.asarray(array * scale + offset, np.float32) for array in data.inputs)
    return Data(inputs, data.labels, f"{data.name}, times {scale:g} plus {offset:g}")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` into one line and a hint."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DataError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}), "
            f"expected {FORMS}",
            hint="check the name and its permissions",
        ) from error


def _is_dir(path: Path) -> bool:
    with _reading(path):
        return path.is_dir()


def _list(folder: Path) -> list[Path]:
    """Return the entries of a folder by name, without what systems put there for themselves."""
    with _reading(folder):
        return sorted(entry for entry in folder.iterdir() if entry.name[0] not in ".@")


def _load_fashion_mnist(
    spec: str, shapes: tuple[Shape, ...], limit: int | None, *, shipped: bool
) -> Data:
    images = fashion_mnist.load(spec.partition(":")[2], shipped=shipped)
    (shape,) = shapes if len(shapes) == 1 else ((),)
    if shape not in {(28, 28, 1), (1, 28, 28), (28, 28), (784,)}:
        raise DataError(
            f"{spec}: images are 28x28, the network takes {', '.join(map(str, shapes))}, "
            "expected one input of shape (28, 28, 1), (1, 28, 28), (28, 28) or (784,)",
            hint="give data of the network's own kind as .npz",
        )
    x, y = images.x[:limit], images.y[:limit]
    name = images.source if limit is None or limit >= len(images.x) else (
        f"{images.source}, the first {limit}"
    )  # fmt: skip
    inputs = (x.astype(np.float32) / np.float32(255)).reshape(-1, *shape)
    return Data((inputs,), y, name)


def _load_npz(path: Path, shapes: tuple[Shape, ...], limit: int | None, *, labels: bool) -> Data:
    with _reading(path):
        is_file = path.is_file()
    if not is_file:
        raise DataError(f"{path}: no such file, expected {FORMS}", hint="check the path")
    keys = ["x"] if len(shapes) == 1 else [f"x{place}" for place in range(len(shapes))]
    try:
        with _reading(path):
            path.open("rb").close()
        with zipfile.ZipFile(path) as archive:
            n_bytes = sum(member.file_size for member in archive.infolist())
        if n_bytes > MAX_BYTES:
            raise DataError(
                f"{path}: {n_bytes} bytes unpacked, expected at most {MAX_BYTES}",
                hint="split the data",
            )
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in keys if key not in arrays.files]
            if missing:
                raise DataError(
                    f"{path}: has arrays {arrays.files}, expected {', '.join(keys)} and optionally "
                    "y",
                    hint=f"numpy.savez(path, {keys[0]}=..., y=...)",
                )
            raw = [arrays[key] for key in keys]
            y = arrays["y"] if labels and "y" in arrays.files else None
    except (
        OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
        RuntimeError,  # encrypted, or, as NotImplementedError, an unknown compression
    ) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a readable .npz file ({reason})",
            hint="write it with numpy.savez, not encrypted; arrays of objects are refused",
        ) from error
    inputs = tuple(
        _check_array(path, key, array, shape)[:limit]
        for key, array, shape in zip(keys, raw, shapes, strict=True)
    )
    for key, array in zip(keys, inputs, strict=True):
        if len(array) != len(inputs[0]):
            raise DataError(
                f"{path}: {key} has {len(array)} samples, expected {len(inputs[0])} as {keys[0]}",
                hint="every input needs the same number of samples",
            )
    checked = None if y is None else _check_labels(path, y, len(raw[0]))[:limit]
    return Data(inputs, checked, f"{path.name}, {len(inputs[0])} of {len(raw[0])} samples")


def _check_array(path: Path, key: str, array: npt.NDArray[Any], shape: Shape) -> Array:
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{path}: {key} has dtype {array.dtype}, expected numbers", hint="save it as float32"
        )
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        raise DataError(
            f"{path}: {key} has shape {array.shape}, expected (N, {', '.join(map(str, shape))})",
            hint="samples first, then exactly the layout that the source model takes",
        )
    if not len(array):
        raise DataError(f"{path}: {key} has no samples, expected at least one", hint="add data")
    with np.errstate(over="ignore"):
        result = np.asarray(array, np.float32)
    n_bad = int((~np.isfinite(result.reshape(len(result), -1)).all(axis=1)).sum())
    if n_bad:
        raise DataError(
            f"{path}: {n_bad} samples of {key} hold NaN or infinity, expected finite numbers",
            hint="clean the data first",
        )
    return result


def _check_labels(path: Path, labels: npt.NDArray[Any], n_samples: int) -> npt.NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "bui" or labels.shape != (n_samples,):
        raise DataError(
            f"{path}: y has shape {labels.shape} and dtype {labels.dtype}, expected "
            f"({n_samples},) integers",
            hint="one class index per sample, for one-hot labels save y.argmax(axis=1); leave y "
            "out where accuracy is not wanted",
        )
    return labels.astype(np.int64)


def _load_folder(path: Path, shapes: tuple[Shape, ...], limit: int | None) -> Data:
    """Read images in the order of their classes' and files' names, taking turns between classes."""
    classes = [entry for entry in _list(path) if _is_dir(entry)]
    listed = [[f for f in _list(c) if f.suffix.lower() in IMAGE_SUFFIXES] for c in classes]
    turns = sorted(
        (turn, label, file) for label, files in enumerate(listed) for turn, file in enumerate(files)
    )
    if not turns:
        raise DataError(
            f"{path}: no images, expected one sub-folder of images per class",
            hint=f"images end in {' '.join(sorted(IMAGE_SUFFIXES))}",
        )
    if len(shapes) != 1:
        raise DataError(
            f"{path}: a folder of images feeds one input, the network takes {len(shapes)}, "
            "expected an .npz",
            hint="save arrays x0, x1, ... and y with numpy.savez",
        )
    chosen = turns[:limit]
    if len(chosen) * math.prod(shapes[0]) * 4 > MAX_BYTES:
        raise DataError(
            f"{path}: {len(chosen)} images do not fit into {MAX_BYTES} bytes, expected fewer",
            hint="use --limit",
        )
    images = np.empty((len(chosen), *shapes[0]), np.float32)
    for place, (_, _, file) in enumerate(chosen):
        images[place] = _read_image(file, shapes[0])
    labels = np.array([label for _, label, _ in chosen], np.int64)
    folder = Path(os.path.abspath(path)).name  # of "." too; a link keeps its own name
    name = f"{folder}, {len(chosen)} of {len(turns)} images in {len(classes)} classes"
    return Data((images,), labels, name)


def _read_image(path: Path, shape: Shape) -> npt.NDArray[np.uint8]:
    """Return an image as `shape`, channels first or last, grey or color, 0..255."""
    from PIL import Image

    if len(shape) == 3 and shape[2] in {1, 3}:
        height, width, n_channels, is_first = *shape, False
    elif len(shape) == 3 and shape[0] in {1, 3}:
        n_channels, height, width, is_first = *shape, True
    elif len(shape) == 2:
        (height, width), n_channels, is_first = shape, 1, False
    else:
        raise DataError(
            f"{path}: an image cannot feed an input of shape {shape}, expected (height, width, "
            "1 or 3) or channels first",
            hint="save arrays x and y with numpy.savez",
        )
    try:
        with Image.open(path) as image:
            if image.size != (width, height):
                raise DataError(
                    f"{path}: is {image.size[1]}x{image.size[0]} pixels, expected "
                    f"{height}x{width} as the network takes",
                    hint="resize the images as the training did",
                )
            if image.mode == "F" or image.mode.startswith("I"):
                raise DataError(
                    f"{path}: has pixels of mode {image.mode}, expected 8 bits per channel",
                    hint="scale the images to 0..255 and save them with 8 bits, or save arrays "
                    "with numpy.savez",
                )
            pixels = np.asarray(image.convert("RGB" if n_channels == 3 else "L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable image ({error})", hint="remove or replace the file"
        ) from error
    planes = pixels.reshape(height, width, n_channels)
    return (planes.transpose(2, 0, 1) if is_first else planes).reshape(shape)
