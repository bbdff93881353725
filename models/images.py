"""Folders of images: listed at once, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError
from .arrays import Shape, reading

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
N_THREADS = 4
"""That decode; Pillow does most of it without Python's lock."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images as an array [N, *image], of which parts are decoded when they are asked for.

    Attributes:
        files: In order.
        image: Shape of one image, channels first or last, or without.
    """

    files: Sequence[Path]
    image: Shape

    @property
    def shape(self) -> Shape:
        """N, and the shape of one image."""
        return (len(self.files), *self.image)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, part: slice) -> npt.NDArray[np.float32]:
        """Return some of the images, 0..255.

        Raises:
            DataError: One of them cannot be read or is of another size.
        """
        chosen = self.files[part]
        result = np.empty((len(chosen), *self.image), np.float32)

        def read(place: int) -> None:
            result[place] = read_image(chosen[place], self.image)

        with ThreadPoolExecutor(N_THREADS, "spikeport-decode") as pool:
            for _ in pool.map(read, range(len(chosen))):
                pass
        return result


def list_files(
    path: Path, classes: Sequence[Path], suffixes: Collection[str], kind: str = "images"
) -> tuple[list[Path], npt.NDArray[np.int64]]:
    """Return the files of classes' folders and their labels, taking turns between classes.

    Args:
        path: The folder of them all.
        classes: Its sub-folders, in the order of the labels.
        suffixes: Of the files, in lower case.
        kind: What they are, for people.

    Raises:
        DataError: There are none, or a folder cannot be read.
    """
    turns = []
    for label, folder in enumerate(classes):
        with reading(folder):
            names = sorted(
                entry.name
                for entry in folder.iterdir()
                if entry.name[0] not in ".@" and entry.suffix.lower() in suffixes
            )
        turns += [(turn, label, name) for turn, name in enumerate(names)]
    if not turns:
        raise DataError(
            f"{path}: no {kind}, expected one sub-folder of {kind} per class",
            hint=f"{kind} end in {' '.join(sorted(suffixes))}",
        )
    turns.sort()
    files = [classes[label] / name for _, label, name in turns]
    return files, np.array([label for _, label, _ in turns], np.int64)


def find_readable(files: Sequence[Path], read: Callable[[Path], object]) -> npt.NDArray[np.bool_]:
    """Return which of the files `read` can read; every one is read once."""

    def is_readable(file: Path) -> bool:
        try:
            read(file)
        except DataError:
            return False
        return True

    with ThreadPoolExecutor(N_THREADS, "spikeport-decode") as pool:
        return np.fromiter(pool.map(is_readable, files, chunksize=64), np.bool_, len(files))


def read_image(path: Path, shape: Shape) -> npt.NDArray[np.uint8]:
    """Return an image as `shape`, channels first or last, grey or color, 0..255.

    Raises:
        DataError: It cannot be read, is of another size, or no image fits the shape.
    """
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
