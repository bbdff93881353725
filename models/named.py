"""NAMED: data sets by name, `keras:mnist:test` or `tfds:NAME:SPLIT`: images as bytes, and labels.

Nothing is downloaded: a data set is read where its own library has put it, and where it is not
there the error says how to get it. The libraries are imported when one of their sets is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError, find
from ..converter.ir import Array
from . import fashion_mnist
from .arrays import MAX_BYTES, Shape
from .fashion_mnist import Images

KERAS = {
    "mnist": "mnist.npz",
    "fashion_mnist": "fashion-mnist/t10k-images-idx3-ubyte.gz",
    "cifar10": "cifar-10-batches-py-target_archive",
    "cifar100": "cifar-100-python-target_archive",
}
"""By name: a file that Keras' cache has if the data set is there."""
KERAS_SPLITS = ("train", "test")
WHOLE = re.compile(r"(?P<name>[^:]+(?::\d+\.\d+\.\d+)?):(?P<split>.+)", re.DOTALL)
"""What stands behind `tfds:`; a name may have a version, and a split may be a slice."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images as a network takes them, made of bytes when they are asked for: 0..1.

    Attributes:
        x: [N, H, W] or [N, H, W, C], uint8.
        sample: Shape of one sample, channels first or last, with an axis for one channel or
            without, or flat.
    """

    x: npt.NDArray[np.uint8]
    sample: Shape

    @property
    def shape(self) -> Shape:
        """N, and the shape of one sample."""
        return (len(self.x), *self.sample)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, part: slice) -> Array:
        chosen = self.x[part]
        if chosen.ndim == 4 and self.sample == (chosen.shape[3], *chosen.shape[1:3]):
            chosen = chosen.transpose(0, 3, 1, 2)
        scaled = chosen.astype(np.float32) / np.float32(255)
        return np.ascontiguousarray(scaled).reshape(-1, *self.sample)


def list_layouts(image: Shape) -> tuple[Shape, ...]:
    """Return the shapes in which a network may take images [H, W] or [H, W, C]."""
    height, width, *channels = image
    if channels and channels[0] != 1:
        return (image, (channels[0], height, width))
    return ((height, width, 1), (1, height, width), (height, width), (height * width,))


def load_named(spec: str, *, limit: int | None, shipped: bool) -> Images | None:
    """Return the images that a name stands for; None where it is no name of a data set.

    Raises:
        DataError: No such data set or split, it or its library is not there, or it is no images.
    """
    kind, _, rest = spec.partition(":")
    if kind not in NAMED or (not rest and Path(spec).exists()):
        return None
    return NAMED[kind](rest, limit, shipped)


def _load_fashion_mnist(rest: str, limit: int | None, shipped: bool) -> Images:
    return fashion_mnist.load(rest, shipped=shipped)


def _load_keras(rest: str, limit: int | None, shipped: bool) -> Images:
    name, _, split = rest.partition(":")
    file = find(KERAS, name, "keras data set", DataError)
    if split not in KERAS_SPLITS:
        raise DataError(
            f"keras:{rest}: no such split, expected one of {', '.join(KERAS_SPLITS)}",
            hint=f"write keras:{name}:test or keras:{name}:train",
        )
    cache = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "datasets"
    if not (cache / file).is_file():
        raise DataError(
            f"keras:{rest}: {file} is not in {cache}, expected Keras to have downloaded it",
            hint=f'python -c "import keras; keras.datasets.{name}.load_data()" does that',
        )
    import importlib

    try:
        loaded = importlib.import_module(f"keras.datasets.{name}").load_data()
        x, y = loaded[KERAS_SPLITS.index(split)]
        images = Images(np.asarray(x), np.asarray(y).reshape(-1).astype(np.int64), "")
    except Exception as error:  # the library raises what its readers do, bare Exception included
        raise DataError(
            f"keras:{rest}: cannot be read ({_first_line(error)}), expected what Keras downloads",
            hint=f"remove {cache / file} and download it again",
        ) from error
    return _check(images.x, images.y, f"keras:{rest}", f"{name} {split} split of Keras")


def _load_tfds(rest: str, limit: int | None, shipped: bool) -> Images:
    found = WHOLE.fullmatch(rest)
    if found is None:
        raise DataError(
            f"tfds:{rest}: has no split, expected tfds:NAME:SPLIT",
            hint="for example tfds:mnist:test",
        )
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(
            f"tfds:{rest}: the package tensorflow-datasets is not installed, expected it to be",
            hint="pip install tensorflow-datasets",
        ) from error
    name, split = found["name"], found["split"]
    try:
        samples, info = tfds.load(
            name, split=split, download=False, shuffle_files=False, with_info=True
        )
        keys = info.supervised_keys or ("image", "label")
        x: list[npt.NDArray[Any]] = []
        y: list[Any] = []
        n_bytes = 0
        for sample in tfds.as_numpy(samples):
            if limit is not None and len(x) == limit:
                break
            x.append(np.asarray(sample[keys[0]]))
            y.append(sample.get(keys[1]))
            n_bytes += x[-1].nbytes
            if n_bytes > MAX_BYTES:
                break
    except Exception as error:  # the library raises its own, AssertionErrors included
        raise DataError(
            f"tfds:{rest}: cannot be read ({_first_line(error)}), expected a data set of images "
            "that was prepared before",
            hint=f'python -c "import tensorflow_datasets as t; t.load({name!r})" downloads it',
        ) from error
    sizes = sorted({image.shape for image in x})
    if len(sizes) != 1 or n_bytes > MAX_BYTES:
        sizes_found = ", ".join(map(str, sizes[:3])) or "none"
        raise DataError(
            f"tfds:{rest}: {len(x)} images of {n_bytes} bytes and of {len(sizes)} sizes "
            f"({sizes_found}), expected one size and at most {MAX_BYTES} bytes",
            hint="use --limit, or write the images into a folder, resized as the training did",
        )
    labels = None if y[0] is None else np.asarray(y)
    return _check(np.stack(x), labels, f"tfds:{rest}", f"{name} {split} of TensorFlow Datasets")


def _check(x: npt.NDArray[Any], y: npt.NDArray[Any] | None, spec: str, source: str) -> Images:
    if x.dtype != np.uint8 or x.ndim not in {3, 4}:
        raise DataError(
            f"{spec}: has samples of shape {x.shape[1:]} and dtype {x.dtype}, expected images of "
            "bytes",
            hint="save arrays x and y with numpy.savez",
        )
    if y is not None and (y.shape != (len(x),) or y.dtype.kind not in "bui"):
        raise DataError(
            f"{spec}: has labels of shape {y.shape} and dtype {y.dtype}, expected one class index "
            "per image",
            hint="save arrays x and y with numpy.savez",
        )
    images = x[..., 0] if x.ndim == 4 and x.shape[3] == 1 else x
    return Images(images, None if y is None else y.astype(np.int64), f"{source}, {len(x)} images")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


NAMED: dict[str, Callable[[str, int | None, bool], Images]] = {
    "fashion-mnist": _load_fashion_mnist,
    "keras": _load_keras,
    "tfds": _load_tfds,
}
"""By what stands before the first colon: (what stands behind it, limit, shipped) -> images."""
