"""Train a reference network on the full Fashion-MNIST training split and save it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError
from . import fashion_mnist
from .registry import MODELS, WEIGHTS, ReferenceModel

BATCH_SIZE = 128


def train(name: str, *, folder: Path = WEIGHTS, n_epochs: int | None = None) -> Path:
    """Train the network `name` and write NAME.keras, NAME.onnx and NAME.json.

    The test split is looked at once, after the last epoch; no choice depends on it.

    Args:
        name: A key of MODELS.
        folder: Where the three files go; existing ones are replaced at the end.
        n_epochs: Instead of the schedule's own number.

    Returns:
        The path of the `.keras` file.

    Raises:
        DataError: tf2onnx or the full data set is missing, or `folder` cannot be written.
    """
    import keras

    if importlib.util.find_spec("tf2onnx") is None:
        raise DataError(
            "models train: the package tf2onnx is missing, expected it for the ONNX file",
            hint="pip install 'spikeport[dev]'",
        )
    full_set = fashion_mnist.find_full_set()
    if full_set is None:
        raise DataError(
            "models train: Fashion-MNIST is not on this machine, expected its 60000 images",
            hint="install Debian's dataset-fashion-mnist, run "
            "keras.datasets.fashion_mnist.load_data() once, or set SPIKEPORT_DATA",
        )
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix="."):
            pass
    recipe = MODELS[name]
    if n_epochs is not None:
        recipe = dataclasses.replace(recipe, n_epochs=n_epochs)
    keras.utils.set_random_seed(recipe.seed)
    training, test = fashion_mnist.load("train"), fashion_mnist.load("test")

    model = recipe.build()
    n_steps = recipe.n_epochs * -(-len(training.x) // BATCH_SIZE)
    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, n_steps)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    random = np.random.default_rng(recipe.seed)
    for epoch in range(recipe.n_epochs):
        images = augment(training.x, recipe, random)
        model.fit(
            to_inputs(images),
            training.y,
            batch_size=BATCH_SIZE,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose="auto" if sys.stdout.isatty() else 2,
        )
    accuracy = {
        split.source: float(np.mean(_predict(model, split.x) == split.y))
        for split in (training, test)
    }
    with _writing(folder), TemporaryDirectory(dir=folder, prefix=".") as temporary:
        _save(name, model, recipe, accuracy, Path(temporary))
        for suffix in (".onnx", ".json", ".keras"):
            (Path(temporary) / f"{name}{suffix}").replace(folder / f"{name}{suffix}")
    return folder / f"{name}.keras"


def augment(
    images: npt.NDArray[np.uint8], recipe: ReferenceModel, random: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Return a copy of `images` [N, H, W], each shifted (zeros move in) and mirrored at random."""
    shift = recipe.max_shift_pixels
    n_images, height, width = images.shape
    padded = np.pad(images, ((0, 0), (shift, shift), (shift, shift)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    rows, columns = random.integers(0, 2 * shift + 1, (2, n_images))
    shifted: npt.NDArray[np.uint8] = windows[np.arange(n_images), rows, columns].copy()
    if recipe.flip:
        mirrored = random.random(n_images) < 0.5
        shifted[mirrored] = shifted[mirrored, :, ::-1]
    return shifted


def to_inputs(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Scale uint8 images [N, H, W] to 0..1 and add the channel axis: [N, H, W, 1]."""
    return images[..., None].astype(np.float32) / np.float32(255)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn what the operating system says about writing into `folder` into one line and a hint."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror or error}), expected a folder",
            hint="name a folder that can be made or written, with -o",
        ) from error


def _predict(model: object, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    outputs = model.predict(to_inputs(images), batch_size=500, verbose=0)  # type: ignore[attr-defined]
    labels: npt.NDArray[np.int64] = outputs.argmax(axis=1)
    return labels


def _save(
    name: str, model: object, recipe: ReferenceModel, accuracy: dict[str, float], folder: Path
) -> None:
    """Save without the optimizer's state, which would triple the size."""
    import keras
    import tensorflow as tf

    bare = recipe.build()
    bare.set_weights(model.get_weights())  # type: ignore[attr-defined]
    bare.save(folder / f"{name}.keras")
    # Keras exports a float32 graph only of a model that was called.
    bare(to_inputs(np.zeros((1, 28, 28), np.uint8)))
    bare.export(folder / f"{name}.onnx", format="onnx", verbose=False)
    schedule = {k: v for k, v in dataclasses.asdict(recipe).items() if k != "build"}
    versions = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
    }
    record = {
        "n_parameters": bare.count_params(),
        "accuracy": accuracy,
        "training": schedule | {"batch_size": BATCH_SIZE},
        "versions": versions,
    }
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
