"""Fashion-MNIST: the full set where the machine has it, else the subset that spikeport ships.

The subset is balanced and keeps the order of the full set: the first 100 images of every class of
the test split, the first 50 of every class of the training split. Xiao, Rasul and Vollgraf 2017,
MIT licence (models/data/LICENSE-fashion-mnist).
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError

SUBSET = Path(__file__).parent / "data" / "fashion_mnist_subset.npz"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SUBSET_PER_CLASS = {"train": 50, "test": 100}
SPLITS = {"train": ("train", 60000), "test": ("t10k", 10000)}
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


@dataclass(frozen=True)
class Images:
    """Images and their labels.

    Attributes:
        x: [N, H, W] or [N, H, W, C], uint8; of Fashion-MNIST [N, 28, 28], 0 is background.
        y: [N], int64, class indices; None if unknown.
        source: What was loaded, for people: which split, how many, full set or subset.
    """

    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64] | None
    source: str


def find_full_set() -> Path | None:
    """Return the folder with the four idx.gz files, or None.

    Looked for in SPIKEPORT_DATA, then where Debian's package dataset-fashion-mnist puts it, then in
    Keras' cache.

    Raises:
        DataError: SPIKEPORT_DATA is set, but the files are not there.
    """
    named = os.environ.get("SPIKEPORT_DATA")
    if named:
        if _is_complete(Path(named)):
            return Path(named)
        raise DataError(
            f"SPIKEPORT_DATA={named}: no Fashion-MNIST in this folder, expected "
            "train-images-idx3-ubyte.gz and the three files beside it",
            hint="unset SPIKEPORT_DATA, or use --shipped for the subset that spikeport ships",
        )
    keras_home = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"))
    folders = (DEBIAN, keras_home / "datasets" / "fashion-mnist")
    return next((folder for folder in folders if _is_complete(folder)), None)


def load(split: str, *, shipped: bool = False) -> Images:
    """Return a split of Fashion-MNIST.

    Args:
        split: `train` or `test`.
        shipped: Take the shipped subset even where the full set is found.

    Raises:
        DataError: No such split, or a file of the full set is damaged.
    """
    if split not in SPLITS:
        raise DataError(
            f"{f'fashion-mnist:{split}'.rstrip(':')}: no such split, expected one of "
            f"{', '.join(SPLITS)}",
            hint="write fashion-mnist:test or fashion-mnist:train",
        )
    folder = None if shipped else find_full_set()
    if folder is None:
        with np.load(SUBSET, allow_pickle=False) as arrays:
            x, y = arrays[f"{split}_x"], arrays[f"{split}_y"].astype(np.int64)
        return Images(x, y, f"Fashion-MNIST {split} split, shipped subset of {len(x)} images")
    prefix, n_samples = SPLITS[split]
    x = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", (n_samples, 28, 28))
    y = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", (n_samples,))
    return Images(x, y.astype(np.int64), f"Fashion-MNIST {split} split, all {n_samples} images")


def write_subset(folder: Path) -> None:
    """Write the shipped subset from the full set in `folder`."""
    arrays = {}
    for split, (prefix, n_samples) in SPLITS.items():
        x = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", (n_samples, 28, 28))
        y = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", (n_samples,))
        per_class = SUBSET_PER_CLASS[split]
        first = [np.flatnonzero(y == label)[:per_class] for label in range(len(CLASSES))]
        chosen = np.sort(np.concatenate(first))
        arrays[f"{split}_x"], arrays[f"{split}_y"] = x[chosen], y[chosen]
    np.savez_compressed(
        SUBSET,
        train_x=arrays["train_x"],
        train_y=arrays["train_y"],
        test_x=arrays["test_x"],
        test_y=arrays["test_y"],
    )


def _is_complete(folder: Path) -> bool:
    return all(
        os.path.isfile(folder / f"{prefix}-{kind}-ubyte.gz")
        for prefix, _ in SPLITS.values()
        for kind in ("images-idx3", "labels-idx1")
    )


def _read_idx(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Read an idx file of bytes (header: 0 0 8 n_dimensions, then the sizes, big-endian)."""
    header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">i4").tobytes()
    n_bytes = int(np.prod(shape))
    try:
        with gzip.open(path) as file:
            content = file.read(len(header) + n_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: {error}", hint="get the file again") from error
    if content[: len(header)] != header or len(content) != len(header) + n_bytes:
        raise DataError(
            f"{path}: not the idx file of Fashion-MNIST, expected unsigned bytes {shape}",
            hint="get the file again",
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
