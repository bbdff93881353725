"""What Keras exports as ONNX: the graph equals onnxruntime, which equals Keras."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.converter.equality import relative_error
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
