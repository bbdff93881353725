"""Functional models with merging layers and functions of keras.ops equal Keras."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

from spikeport.converter.frontends import read
from spikeport.converter.frontends.keras import FUNCTIONS
from spikeport.converter.ir import run

from .keras_models import FIRST, Model, assert_equal, check, keras, kl, randomize, samples

ops = keras.ops
Tensor = Any

ROW = np.array([1.0, -2.0, 0.5], np.float32)

MERGING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda x, y: kl.Add()([x, y, x]),
    "subtract": lambda x, y: kl.Subtract()([x, y]),
    "average": lambda x, y: kl.Average()([x, y, y]),
    "maximum": lambda x, y: kl.Maximum()([x, y, kl.ReLU()(x)]),
    "minimum": lambda x, y: kl.Minimum()([x, y]),
    "concatenate": lambda x, y: kl.Concatenate(axis=2)([x, y]),
    "repeated-rows": lambda x, y: kl.Add()([x, kl.GlobalAveragePooling2D(keepdims=True)(y)]),
    "repeated-both": lambda x, y: kl.Maximum()([kl.Conv2D(3, (4, 1))(x), kl.Conv2D(1, (1, 5))(y)]),
    "one-operand": lambda x, y: kl.Multiply()([x]),
}

CASES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "relu": lambda x, y: ops.relu(x),
    "relu6": lambda x, y: ops.relu6(9 * x),
    "leaky_relu": lambda x, y: ops.leaky_relu(x, 0.3),
    "activations-relu": lambda x, y: keras.activations.relu(x, 0.2, 0.9),
    "activations-relu-threshold": lambda x, y: keras.activations.relu(x, threshold=0.5),
    "sigmoid": lambda x, y: ops.sigmoid(x),
    "softmax": lambda x, y: ops.softmax(x, axis=1),
    "log_softmax": lambda x, y: [ops.log_softmax(x), ops.log_softmax(x, axis=1)],
    "hard_tanh": lambda x, y: ops.hard_tanh(x),
    "hard_sigmoid": lambda x, y: ops.hard_sigmoid(4 * x),
    "analog": lambda x, y: [
        ops.elu(x, 0.5), ops.celu(x, 2.0), ops.gelu(x), ops.gelu(x, approximate=False),
        ops.selu(x), ops.silu(x), ops.hard_silu(x), ops.softplus(x), ops.softsign(x),
        ops.log_sigmoid(x), ops.tanh(x), ops.exp(x),
    ],
    "add": lambda x, y: [x + y, x + 1.5, 2 + x, x + ROW, ops.add(ops.convert_to_tensor(ROW), x)],
    "subtract": lambda x, y: [x - y, x - 1.5, 2 - x, x - ROW, ops.subtract(ROW, x)],
    "multiply": lambda x, y: [x * 2.0, 3 * x, x * ROW, x * np.ones((1, 4, 5, 1), np.float32)],
    "divide": lambda x, y: [x / 2.0, ops.divide(x, ROW)],
    "negative": lambda x, y: -x,
    "absolute": lambda x, y: [abs(x), ops.absolute(y)],
    "maximum": lambda x, y: [ops.maximum(x, y), ops.maximum(x, 0.5), ops.maximum(ROW, x)],
    "minimum": lambda x, y: [ops.minimum(x, y), ops.minimum(x, 0.5), ops.minimum(0.0, x)],
    "clip": lambda x, y: [ops.clip(x, -0.5, 1), ops.clip(x, 0, 0.5)],
    "mean": lambda x, y: [
        ops.mean(x, axis=(1, 2)), ops.mean(x, axis=(1, 2), keepdims=True), ops.mean(x, -1),
        ops.mean(x, axis=(2, 3)), ops.mean(x, axis=1, keepdims=True), ops.mean(x, axis=[1, 2, 3]),
    ],
    "sum": lambda x, y: [ops.sum(x, axis=(1, 2)), ops.sum(x, axis=(1, 3), keepdims=True)],
    "max": lambda x, y: [
        ops.max(x, axis=(1, 2)), ops.max(x, axis=(2, 3), keepdims=True), ops.amax(x, axis=1),
        ops.max(kl.Conv2D(2, 2)(x), axis=(1, 2), keepdims=True),
    ],
    "max_pool": lambda x, y: ops.max_pool(x, 2, 2, padding="same"),
    "average_pool": lambda x, y: [ops.average_pool(x, (2, 3)), ops.average_pool(x, 3, 1, "same")],
    "pool-first": lambda x, y: ops.max_pool(x, 2, data_format=FIRST),
    "concatenate": lambda x, y: [ops.concatenate([x, y], axis=-1), ops.concatenate([y, x, x], 1)],
    "stack": lambda x, y: [ops.stack([x, y], axis=1), ops.stack([x, y], axis=-1)],
    "reshape": lambda x, y: [ops.reshape(x, (-1, 60)), ops.reshape(y, (-1, 3, 20))],
    "transpose": lambda x, y: [ops.transpose(x, (0, 3, 1, 2)), ops.transpose(x, (0, -1, 2, 1))],
    "swapaxes": lambda x, y: ops.swapaxes(x, 1, -1),
    "moveaxis": lambda x, y: [ops.moveaxis(x, -1, 1), ops.moveaxis(x, (1, 2), (-1, 1))],
    "expand_dims": lambda x, y: [ops.expand_dims(x, 1), ops.expand_dims(x, -1)],
    "squeeze": lambda x, y: ops.squeeze(ops.mean(x, axis=1, keepdims=True), 1),
    "item": lambda x, y: [
        x[:, 1:3, ::2], x[..., 0], x[:, -1], x[:, ::-1], x[:, None, 1:, :-1], x[:, 2, ..., 1:2],
        kl.Conv2D(4, 1)(x)[:, 1:, :, 1:3], kl.Conv2D(4, 1)(x)[..., 1],
    ],
    "take": lambda x, y: [ops.take(x, [0, -1, 0], axis=2), ops.take(x, 1, axis=-1)],
    "split": lambda x, y: [ops.split(x, 3, axis=-1)[2], *ops.split(y, [1, 3], axis=2)],
    "repeat": lambda x, y: ops.repeat(x, 2, axis=1),
    "tile": lambda x, y: [ops.tile(x, (1, 2, 1, 3)), ops.tile(x, 2)],
    "flip": lambda x, y: [ops.flip(x, axis=1), ops.flip(x, axis=(-1, 2))],
    "pad": lambda x, y: [
        ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0))),
        ops.pad(x, ((0, 0), (1, 2), (0, 1), (0, 0)), mode="reflect"),
        ops.pad(kl.Conv2D(2, 2)(x), ((0, 0), (1, 2), (0, 1), (0, 0)), mode="symmetric"),
        ops.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)), constant_values=0),
    ],
    "cast": lambda x, y: ops.stop_gradient(ops.cast(x, "float32")),
}  # fmt: skip


def build(case: Callable[[Tensor, Tensor], Any], behind_conv: bool = False) -> Model:
    x, y = kl.Input((4, 5, 3), name="x"), kl.Input((4, 5, 3), name="y")
    a, b = (kl.Conv2D(3, 1)(x), kl.Conv2D(3, 1)(y)) if behind_conv else (x, y)
    return randomize(keras.Model([x, y], case(a, b), name="net"))


@pytest.mark.parametrize("behind_conv", [False, True], ids=["input", "conv"])
@pytest.mark.parametrize("case", MERGING)
def test_merging_layers_equal_keras(case: str, behind_conv: bool, tmp_path: Path) -> None:
    check(build(MERGING[case], behind_conv), tmp_path)


@pytest.mark.parametrize("behind_conv", [False, True], ids=["input", "conv"])
@pytest.mark.parametrize("case", CASES)
def test_functions_equal_keras(case: str, behind_conv: bool, tmp_path: Path) -> None:
    check(build(CASES[case], behind_conv), tmp_path)


def test_every_function_of_the_table_is_compared() -> None:
    models = [build(case) for case in CASES.values()]
    compared = {f"ops.{type(each).__name__}" for model in models for each in model.operations}
    assert set(FUNCTIONS) <= compared


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_own_layer_of_an_application(suffix: str, tmp_path: Path) -> None:
    """InceptionResNetV2 has a layer of its own, which an .h5 file names without its module."""
    x = kl.Input((4, 5, 3), name="x")
    y = CustomScaleLayer(0.25)([x, kl.Conv2D(3, 1, name="conv")(x)])
    path = tmp_path / f"net{suffix}"
    model = randomize(keras.Model(x, kl.ReLU(name="relu")(y), name="net"))
    model.save(path)
    source = read(path)
    inputs = samples(source.graph)
    assert_equal(source.run(inputs), read(model).run(inputs))
    assert_equal(run(source.graph, inputs), source.run(inputs))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keras_runs_files_with_functions(suffix: str, tmp_path: Path) -> None:
    """Keras itself takes the functions of an .h5 file for layers and cannot load it."""
    inner_x = kl.Input((4, 5, 3), name="inner_x")
    inner = keras.Model(inner_x, ops.relu(kl.Conv2D(3, 2)(inner_x)) - ROW, name="inner")
    x = kl.Input((4, 5, 3), name="x")
    y = kl.Conv2D(4, 2, activation=kl.LeakyReLU(0.2), name="conv")(x)
    z = ops.concatenate([inner(x), y[..., 1:]], axis=-1) * 0.5
    model = randomize(keras.Model(x, kl.Softmax()(ops.mean(z, axis=(1, 2))), name="net"))
    path = tmp_path / f"net{suffix}"
    model.save(path)
    source = read(path)
    inputs = samples(source.graph)
    expected = read(model).run(inputs)
    assert_equal(source.run(inputs), expected)
    assert_equal(run(source.graph, inputs), expected)
