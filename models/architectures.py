"""The reference networks: Keras builders without weights.

All take images scaled to 0..1, channels last, and end in a softmax over ten classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

INPUT_SHAPE = (28, 28, 1)
N_CLASSES = 10


def build_mlp() -> keras.Model:
    """784-256-128-10, dropout, no batch norm."""
    from keras import layers

    return _sequential(
        "mlp",
        layers.Flatten(name="flatten"),
        layers.Dense(256, activation="relu", name="dense1"),
        layers.Dropout(0.2, name="dropout1"),
        layers.Dense(128, activation="relu", name="dense2"),
        layers.Dropout(0.2, name="dropout2"),
        layers.Dense(N_CLASSES, activation="softmax", name="logits"),
    )


def build_lenet() -> keras.Model:
    """16C5-P2-32C5-P2-120-84-10, batch norm after the convolutions, average pooling."""
    from keras import layers

    return _sequential(
        "lenet",
        *_conv_block("conv1", 16, 5),
        layers.AveragePooling2D(2, name="pool1"),
        *_conv_block("conv2", 32, 5),
        layers.AveragePooling2D(2, name="pool2"),
        layers.Flatten(name="flatten"),
        layers.Dense(120, activation="relu", name="dense1"),
        layers.Dropout(0.2, name="dropout1"),
        layers.Dense(84, activation="relu", name="dense2"),
        layers.Dense(N_CLASSES, activation="softmax", name="logits"),
    )


def build_vgg() -> keras.Model:
    """32C3-32C3-P2-64C3-64C3-P2-256-10, batch norm, average pooling."""
    from keras import layers

    return _build_vgg("vgg", layers.AveragePooling2D)


def build_vgg_max() -> keras.Model:
    """32C3-32C3-M2-64C3-64C3-M2-256-10, batch norm, max-pooling: `vgg` but for the poolings."""
    from keras import layers

    return _build_vgg("vgg_max", layers.MaxPooling2D)


def _build_vgg(name: str, pooling: type[keras.Layer]) -> keras.Model:
    from keras import layers

    return _sequential(
        name,
        *_conv_block("conv1", 32, 3),
        *_conv_block("conv2", 32, 3),
        pooling(2, name="pool1"),
        *_conv_block("conv3", 64, 3),
        *_conv_block("conv4", 64, 3),
        pooling(2, name="pool2"),
        layers.Flatten(name="flatten"),
        layers.Dense(256, use_bias=False, name="dense1"),
        layers.BatchNormalization(name="dense1_norm"),
        layers.ReLU(name="dense1_relu"),
        layers.Dropout(0.3, name="dropout1"),
        layers.Dense(N_CLASSES, activation="softmax", name="logits"),
    )


def build_resnet() -> keras.Model:
    """ResNet-v1 (He et al. 2016): three blocks of 16, 32 and 64 channels, nine convolutions."""
    import keras
    from keras import layers

    def add_block(
        x: keras.KerasTensor, name: str, channels: int, strides: int
    ) -> keras.KerasTensor:
        shortcut = x
        if strides != 1:
            shortcut = layers.Conv2D(
                channels, 1, strides=strides, use_bias=False, name=f"{name}_shortcut"
            )(x)
            shortcut = layers.BatchNormalization(name=f"{name}_shortcut_norm")(shortcut)
        for layer in _conv_block(f"{name}_conv1", channels, 3, strides=strides):
            x = layer(x)
        conv, norm, _ = _conv_block(f"{name}_conv2", channels, 3)
        x = layers.Add(name=f"{name}_add")([norm(conv(x)), shortcut])
        return layers.ReLU(name=f"{name}_relu")(x)

    inputs = layers.Input(INPUT_SHAPE, name="image")
    x = inputs
    for layer in _conv_block("stem", 16, 3):
        x = layer(x)
    x = add_block(x, "block1", 16, strides=1)
    x = add_block(x, "block2", 32, strides=2)
    x = add_block(x, "block3", 64, strides=2)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(N_CLASSES, activation="softmax", name="logits")(x)
    return keras.Model(inputs, x, name="resnet")


def _conv_block(name: str, channels: int, size: int, *, strides: int = 1) -> list[keras.Layer]:
    from keras import layers

    return [
        layers.Conv2D(channels, size, strides, padding="same", use_bias=False, name=name),
        layers.BatchNormalization(name=f"{name}_norm"),
        layers.ReLU(name=f"{name}_relu"),
    ]


def _sequential(name: str, *layers: keras.Layer) -> keras.Model:
    import keras

    return keras.Sequential([keras.layers.Input(INPUT_SHAPE, name="image"), *layers], name=name)
