"""Data in files of arrays: .npz, and .npy mapped into memory."""

from __future__ import annotations

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError
from ..converter.ir import Array, Samples

Shape = tuple[int, ...]
MAX_BYTES = 16 * 2**30
FORMS = (
    "fashion-mnist:test, keras:NAME:SPLIT, tfds:NAME:SPLIT, events:FOLDER, an .npz file, or a "
    "folder of images or .npy files"
)


@dataclass(frozen=True)
class OpenedData:
    """Samples that are read when parts of them are asked for; they need not fit into memory.

    Attributes:
        inputs: As those of Data, but for where they are.
        labels: [N], int64, or None.
        name: What it is, for people.
        spiking: All values are 0 or 1.
    """

    inputs: tuple[Samples, ...]
    labels: npt.NDArray[np.int64] | None
    name: str
    spiking: bool = False


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` into one line and a hint."""
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DataError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}), "
            f"expected {FORMS}",
            hint="check the name and its permissions",
        ) from error


@contextmanager
def npz_errors(path: Path) -> Iterator[None]:
    """Turn what numpy and zipfile raise on a damaged `.npz` file into one line and a hint."""
    try:
        yield
    except (
        OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
        RuntimeError,  # encrypted, or, as NotImplementedError, an unknown compression
    ) as error:  # fmt: skip
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not a readable .npz file ({reason})",
            hint="write it with numpy.savez, not encrypted; arrays of objects are refused",
        ) from error


def open_npz(
    path: Path, shapes: tuple[Shape, ...], limit: int | None, *, labels: bool
) -> OpenedData:
    """Read x, or x0, x1, ..., and y of an .npz file. Arguments and errors as `open_data`."""
    with reading(path):
        is_file = path.is_file()
    if not is_file:
        raise DataError(f"{path}: no such file, expected {FORMS}", hint="check the path")
    keys = ["x"] if len(shapes) == 1 else [f"x{place}" for place in range(len(shapes))]
    with npz_errors(path):
        with reading(path):
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
    inputs = tuple(
        _check_array(path, key, array, shape)[:limit]
        for key, array, shape in zip(keys, raw, shapes, strict=True)
    )
    _check_lengths(path, dict(zip(keys, inputs, strict=True)))
    checked = None if y is None else _check_labels(path, y, len(raw[0]))[:limit]
    return OpenedData(inputs, checked, f"{path.name}, {len(inputs[0])} of {len(raw[0])} samples")


def open_npy(
    path: Path, shapes: tuple[Shape, ...], limit: int | None, *, labels: bool
) -> OpenedData:
    """Map arrays of a folder into memory: x.npy, or x0.npy, ...; and y.npy."""
    keys = ["x"] if len(shapes) == 1 else [f"x{place}" for place in range(len(shapes))]
    names = [*keys, *(["y"] if labels and (path / "y.npy").exists() else [])]
    arrays = {}
    for name in names:
        file = path / f"{name}.npy"
        try:
            with reading(file):
                file.open("rb").close()
            arrays[name] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(
                f"{file}: not a readable .npy file ({str(error).splitlines()[0]})",
                hint="write it with numpy.save; arrays of objects are refused",
            ) from error
    inputs = tuple(
        _check_layout(path, key, arrays[key], shape)
        for key, shape in zip(keys, shapes, strict=True)
    )
    _check_lengths(path, dict(zip(keys, inputs, strict=True)))
    y = _check_labels(path, arrays["y"], len(inputs[0]))[:limit] if "y" in arrays else None
    n_chosen = len(inputs[0][:limit])
    name = f"{Path(os.path.abspath(path)).name}, {n_chosen} of {len(inputs[0])} samples"
    return OpenedData(tuple(array[:limit] for array in inputs), y, name)


def _check_layout(path: Path, key: str, array: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any]:
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{path}: {key} has dtype {array.dtype}, expected numbers", hint="save it as float32"
        )
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        raise DataError(
            f"{path}: {key} has shape {array.shape}, expected (N, {', '.join(map(str, shape))})",
            hint=_layout_hint(key, array.shape, shape),
        )
    if not len(array):
        raise DataError(f"{path}: {key} has no samples, expected at least one", hint="add data")
    return array


def _layout_hint(key: str, found: Shape, wanted: Shape) -> str:
    """Return how an array becomes what the network takes, where that is plain to see."""
    name = f"numpy.savez(path, {key}="
    if (*found[1:], 1) == wanted and len(wanted) > 1:
        return f"an axis for the channel is missing: {name}{key}[..., None], y=y)"
    if (1, *found[1:]) == wanted and len(wanted) > 1:
        return f"an axis for the channel is missing: {name}{key}[:, None], y=y)"
    if len(found) == len(wanted) + 1 > 2:
        moved = {"first": (*found[2:], found[1]), "last": (found[-1], *found[1:-1])}
        for place, shape in moved.items():
            if shape == wanted and len(set(wanted)) > 1:
                axes = "1, -1" if place == "first" else "-1, 1"
                move = f"numpy.moveaxis({key}, {axes})"
                return f"channels stand {place}: {name}{move}, y=y)"
    if found == wanted:
        return f"a single sample needs an axis in front: {name}{key}[None])"
    return "samples first, then exactly the layout that the source model takes"


def _check_lengths(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    first, *_ = arrays
    for key, array in arrays.items():
        if len(array) != len(arrays[first]):
            raise DataError(
                f"{path}: {key} has {len(array)} samples, expected {len(arrays[first])} as {first}",
                hint="every input needs the same number of samples",
            )


def _check_array(path: Path, key: str, array: npt.NDArray[Any], shape: Shape) -> Array:
    _check_layout(path, key, array, shape)
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
            hint=f"{_label_hint(labels, n_samples)}; leave y out where accuracy is not wanted",
        )
    return labels.astype(np.int64)


def _label_hint(labels: npt.NDArray[Any], n_samples: int) -> str:
    if labels.shape == (n_samples,) and labels.dtype.kind == "f":
        return "one class index per sample: save y.astype('int64')"
    if labels.ndim == 2:
        return "one class index per sample, for one-hot labels save y.argmax(axis=1)"
    return "one class index per sample"
