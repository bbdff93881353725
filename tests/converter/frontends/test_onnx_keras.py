"""What Keras exports as ONNX: the graph equals onnxruntime, which equals Keras."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.converter.equality import relative_error
from spikeport.converter.errors import UnsupportedOpError
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.converter.ir import Graph, run
from spikeport.models.registry import MODELS

pytestmark = pytest.mark.slow


def randomize(model: Any) -> None:
    """Draw biases and batch-norm statistics; fresh ones are zeros and ones."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        values = layer.get_weights()
        if type(layer).__name__ == "BatchNormalization":
            values = [random.uniform(0.5, 1.5, value.shape) for value in values]
        else:
            values = [
                random.normal(0, 0.1, value.shape) if value.ndim == 1 else value for value in values
            ]
        layer.set_weights(values)


def check_export(model: Any, folder: Path) -> Graph:
    """Export, read, and compare with Keras' own outputs."""
    randomize(model)
    shape = model.inputs[0].shape[1:]
    x = np.random.default_rng(1).uniform(0, 1, (3, *shape)).astype(np.float32)
    expected = np.asarray(model(x))
    path = folder / "network.onnx"
    model.export(path, format="onnx", verbose=False)
    source = read_onnx(path)
    (from_runtime,), (found,) = source.run((x,)), run(source.graph, (x,))
    assert relative_error(expected, from_runtime) < 1e-4
    assert relative_error(from_runtime, found) < 1e-4
    assert source.graph.metadata["source"]["version"].startswith("tf2onnx")
    return source.graph


@pytest.mark.parametrize("name", MODELS)
def test_reference_network(name: str, tmp_path: Path) -> None:
    graph = check_export(MODELS[name].build(), tmp_path)
    assert graph.types[graph.inputs[0]].shape == (28, 28, 1)


def test_many_layers_on_images(tmp_path: Path) -> None:
    import keras
    from keras import layers

    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", strides=2)(inputs)
    x = layers.ReLU(max_value=4.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3)(layers.ZeroPadding2D(((0, 1), (1, 1)))(x))
    x = layers.Activation("relu6")(x)
    y = layers.SeparableConv2D(4, 3, padding="same", dilation_rate=2)(x)
    x = layers.BatchNormalization()(layers.Concatenate()([x, y]))
    x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.AveragePooling2D(2, strides=1, padding="same")(x)
    x = layers.Permute((2, 1, 3))(layers.Dense(6, activation="relu")(x))
    x = layers.Dropout(0.5)(x)
    y = layers.Conv1D(5, 2, dilation_rate=2)(layers.Reshape((-1, 6))(x))
    y = layers.GlobalMaxPooling1D()(y)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), y])
    x = layers.Softmax()(layers.Dense(3)(x))
    check_export(keras.Model(inputs, x), tmp_path)


def test_sequences(tmp_path: Path) -> None:
    import keras
    from keras import layers

    inputs = layers.Input((12, 4))
    x = layers.Conv1D(6, 3, padding="same", activation="relu")(inputs)
    x = layers.AveragePooling1D(2)(layers.BatchNormalization()(x))
    x = layers.MaxPooling1D(2)(layers.Add()([x, layers.Dense(6)(x)]))
    x = layers.Dense(1, activation="sigmoid")(layers.Flatten()(x))
    check_export(keras.Model(inputs, x), tmp_path)


def test_volumes(tmp_path: Path) -> None:
    import keras
    from keras import layers

    inputs = layers.Input((6, 6, 6, 2))
    x = layers.Conv3D(4, 3, padding="same", strides=2, activation="relu")(inputs)
    x = layers.GlobalAveragePooling3D()(layers.AveragePooling3D(2, padding="same")(x))
    check_export(keras.Model(inputs, layers.Dense(2)(x)), tmp_path)


def layers_on(shape: tuple[int, ...], *names: tuple[str, dict[str, Any]]) -> Any:
    """A model of layers one after the other, given by class name and settings."""
    import keras

    x = inputs = keras.layers.Input(shape)
    for name, settings in names:
        x = getattr(keras.layers, name)(**settings)(x)
    return keras.Model(inputs, x)


CONV = ("Conv2D", {"filters": 4, "kernel_size": 3})
IMAGE = (7, 6, 3)

EXPORTS: dict[str, tuple[tuple[int, ...], list[tuple[str, dict[str, Any]]], set[str]]] = {
    "hard tanh": (IMAGE, [CONV, ("Activation", {"activation": "hard_tanh"})], {"Relu"}),
    "conv 1d transpose": (
        (5, 3),
        [("Conv1DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"})],
        {"InsertZeros", "Conv"},
    ),
    "conv 2d transpose": (
        IMAGE,
        [("Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"})],
        {"InsertZeros", "Conv"},
    ),
    "conv 2d transpose valid": (
        IMAGE,
        [("Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 3})],
        {"InsertZeros", "Conv"},
    ),
    "conv 3d transpose": (
        (3, 4, 3, 2),
        [("Conv3DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"})],
        {"InsertZeros", "Conv"},
    ),
    "cropping 1d": ((8, 3), [("Cropping1D", {"cropping": (1, 2)})], {"Select"}),
    "cropping 2d": (IMAGE, [("Cropping2D", {"cropping": ((1, 2), (0, 1))})], {"Select"}),
    "cropping 3d": ((4, 5, 6, 2), [("Cropping3D", {"cropping": 1})], {"Select"}),
    "global max 1d": ((8, 3), [("GlobalMaxPooling1D", {})], {"MaxPool"}),
    "global max 2d": (IMAGE, [CONV, ("GlobalMaxPooling2D", {"keepdims": True})], {"MaxPool"}),
    "global max 3d": ((4, 5, 6, 2), [("GlobalMaxPooling3D", {})], {"MaxPool"}),
    "hard sigmoid": (IMAGE, [CONV, ("Activation", {"activation": "hard_sigmoid"})], {"Relu"}),
    "hard silu": (IMAGE, [CONV, ("Activation", {"activation": "hard_silu"})], {"Activation"}),
    "mish": (IMAGE, [CONV, ("Activation", {"activation": "mish"})], {"Activation"}),
    "leaky relu": (IMAGE, [CONV, ("LeakyReLU", {"negative_slope": 0.2})], {"Relu", "Add"}),
    "prelu channels": (
        IMAGE,
        [CONV, ("PReLU", {"shared_axes": [1, 2], "alpha_initializer": "he_normal"})],
        {"Relu", "Add"},
    ),
    "prelu entries": (IMAGE, [CONV, ("PReLU", {"alpha_initializer": "ones"})], {"Relu", "Add"}),
    "relu with a slope": (
        IMAGE, [CONV, ("ReLU", {"negative_slope": 0.1, "max_value": 2.0})], {"Relu", "Add"}
    ),
    "relu with a threshold": (IMAGE, [CONV, ("ReLU", {"threshold": 0.1})], {"Activation"}),
    "relu with everything": (
        IMAGE,
        [CONV, ("ReLU", {"threshold": 0.1, "max_value": 0.5, "negative_slope": 0.2})],
        {"Activation", "Relu", "Add"},
    ),
    "repeat vector": ((5,), [("RepeatVector", {"n": 3})], {"Select"}),
    "silu": (IMAGE, [CONV, ("Activation", {"activation": "silu"})], {"Activation"}),
    "up sampling 1d": ((5, 3), [("UpSampling1D", {"size": 2})], {"Select"}),
    "up sampling 2d": (IMAGE, [CONV, ("UpSampling2D", {"size": (2, 3)}), CONV], {"Select"}),
    "up sampling 3d": ((3, 2, 4, 2), [("UpSampling3D", {"size": 2})], {"Select"}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPORTS)
def test_layer(name: str, tmp_path: Path) -> None:
    shape, layers, ops = EXPORTS[name]
    graph = check_export(layers_on(shape, *layers), tmp_path)
    assert ops <= {type(node.op).__name__ for node in graph.nodes}


@pytest.mark.parametrize("merge", ["Subtract", "Average", "Maximum", "Minimum"])
def test_merging_layer(merge: str, tmp_path: Path) -> None:
    import keras

    inputs = keras.layers.Input((6, 5, 3))
    branches = [keras.layers.Conv2D(4, 3)(inputs) for _ in range(2)]
    check_export(keras.Model(inputs, getattr(keras.layers, merge)()(branches)), tmp_path)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (
            ("Normalization", {"mean": [1.0, 2.0, 3.0, 4.0], "variance": [2.0] * 4}),
            "(input): is a constant whose numbers Keras' exporter left out of the file, as those "
            "of a Normalization; read the .keras file instead",
        ),
        (
            ("Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2}),
            "(StatefulPartitionedCall): is what Keras' exporter writes for a layer that it does "
            "not know, such as a grouped Conv2D; read the .keras file instead",
        ),
        (
            ("Activation", {"activation": "gelu"}),
            "(Erfc): is part of a GELU as Keras' exporter writes it, which is no valid ONNX",
        ),
        (
            ("Activation", {"activation": "celu"}),
            "(Expm1): is part of a CELU as Keras' exporter writes it, which is no valid ONNX",
        ),
        (
            ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}),
            "(Resize): interpolates in mode 'linear', expected 'nearest'",
        ),
        (
            ("Conv2DTranspose", {"filters": 4, "kernel_size": 3, "strides": 2,
                                 "output_padding": 1}),
            "are negative, which onnxruntime does not run; expected output_padding, or the .keras",
        ),
    ],
)  # fmt: skip
def test_layer_that_is_refused(
    layer: tuple[str, dict[str, Any]], reason: str, tmp_path: Path
) -> None:
    model = layers_on((6, 6, 4), layer)
    model(np.zeros((1, 6, 6, 4), np.float32))
    model.export(tmp_path / "network.onnx", format="onnx", verbose=False)
    with pytest.raises(UnsupportedOpError, match=r"cannot be translated") as error:
        read_onnx(tmp_path / "network.onnx")
    assert any(reason in each for each in error.value.reasons), error.value.reasons
