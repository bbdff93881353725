"""A network and data small enough to train in a test."""

from __future__ import annotations

import numpy as np

from spikeport.converter.frontends import Source, read
from spikeport.converter.training.data import Samples


def build(name: str = "tiny"):
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            layers.Input((6, 6, 1), name="image"),
            layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(name="relu1"),
            layers.AveragePooling2D(2, name="pool1"),
            layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(name="relu2"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(12, activation="relu", name="dense1"),
            layers.Dense(3, activation="softmax", name="logits"),
        ],
        name=name,
    )


def samples(n: int = 96, seed: int = 0) -> Samples:
    """Three classes: a bright row, a bright column, a bright square, each with noise."""
    random = np.random.default_rng(seed)
    x = random.uniform(0, 0.5, (n, 6, 6, 1)).astype(np.float32)
    y = np.arange(n) % 3
    x[y == 0, 2:4, :] += 0.5
    x[y == 1, :, 2:4] += 0.5
    x[y == 2, 1:5, 1:5] += 0.3
    return Samples(x, y.astype(np.int64), "three shapes")


def source() -> Source:
    return read(build())
