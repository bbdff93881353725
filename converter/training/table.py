"""LAYERS: spikeport's own Keras layers by class name."""

from __future__ import annotations

from typing import Any

from .activations import (
    BinarySign,
    ClippedReLU,
    QuantizedReLU,
    SlipReLU,
    Whetstone,
)
from .binary_layers import BinaryConv1D, BinaryConv2D, BinaryConv3D, BinaryDense

LAYERS: dict[str, type[Any]] = {
    layer.__name__: layer
    for layer in (
        QuantizedReLU, ClippedReLU, SlipReLU, Whetstone, BinarySign,
        BinaryDense, BinaryConv1D, BinaryConv2D, BinaryConv3D,
    )
}  # fmt: skip


def find_layer(kind: str) -> type[Any]:
    """Return a class of spikeport or of keras.layers, by name."""
    import keras

    found: type[Any] = LAYERS.get(kind) or getattr(keras.layers, kind)
    return found
