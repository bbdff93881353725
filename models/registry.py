"""MODELS: the networks that spikeport ships, and how each was trained."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import architectures

if TYPE_CHECKING:
    import keras

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ReferenceModel:
    """A network and its training schedule.

    Attributes:
        build: Returns the Keras model with fresh weights.
        n_epochs: Over the 60000 training images.
        max_shift_pixels: Images are shifted by up to this many pixels, per axis.
        flip: Images are mirrored left to right with probability 1/2.
        learning_rate: Of Adam, at the start; decays to zero along a cosine.
        seed: Of weights, order and augmentation.
    """

    build: Callable[[], keras.Model]
    n_epochs: int = 15
    max_shift_pixels: int = 2
    flip: bool = True
    learning_rate: float = 2e-3
    seed: int = 1

    @property
    def summary(self) -> str:
        """The first line of the builder's docstring."""
        return (self.build.__doc__ or "").splitlines()[0]


MODELS: dict[str, ReferenceModel] = {
    "mlp": ReferenceModel(architectures.build_mlp, max_shift_pixels=0, learning_rate=1e-3),
    "lenet": ReferenceModel(architectures.build_lenet, max_shift_pixels=1),
    "vgg": ReferenceModel(architectures.build_vgg, n_epochs=12),
    "vgg_max": ReferenceModel(architectures.build_vgg_max, n_epochs=12),
    "resnet": ReferenceModel(architectures.build_resnet, n_epochs=12),
}


def weights_path(name: str, suffix: str = ".keras") -> Path:
    """Return where the shipped network `name` lies; `suffix` is `.keras` or `.onnx`."""
    return WEIGHTS / f"{name}{suffix}"


def find_model(spec: str) -> Path:
    """Return the file that MODEL on the command line means.

    A file that exists is that file; `lenet`, `lenet.keras` or `lenet.onnx` is a shipped network,
    also beside a folder of that name, as `models train` makes it. Any other path is itself.
    """
    path = Path(spec)
    is_known = path.stem in MODELS and path.suffix in {"", ".keras", ".onnx"}
    if path.name != spec or not is_known or os.path.isfile(path):
        return path
    return weights_path(path.stem, path.suffix or ".keras")


def training_record(name: str) -> dict[str, Any]:
    """Return what training measured: accuracies, sample counts, schedule, versions."""
    record: dict[str, Any] = json.loads(weights_path(name, ".json").read_text("utf-8"))
    return record
