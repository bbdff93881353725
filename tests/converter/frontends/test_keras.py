"""What is read from Keras equals what Keras computes: layers, files, architectures."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
from keras import layers as kl

from spikeport.converter.errors import FormatError, GraphError
from spikeport.converter.frontends import Source, read
from spikeport.converter.frontends.keras import LAYERS
from spikeport.converter.frontends.keras.activations import NAMED_ACTIVATIONS
from spikeport.converter.ir import run
from spikeport.models.registry import MODELS

from .keras_models import FIRST, Model, assert_equal, check, ops_of, randomize, samples, sequential

Case = tuple[tuple[int, ...], Callable[[], list[kl.Layer]]]
CASES: dict[str, Case] = {
    "dense": ((5,), lambda: [kl.Dense(4)]),
    "dense-no-bias-relu6": ((5,), lambda: [kl.Dense(4, activation="relu6", use_bias=False)]),
    "dense-rank-2": ((6, 5), lambda: [kl.Dense(4, activation="relu"), kl.Flatten(), kl.Dense(3)]),
    "dense-rank-3": ((4, 3, 5), lambda: [kl.Dense(4, activation="softmax")]),
    "dense-rank-4": ((2, 4, 3, 5), lambda: [kl.Dense(4, activation="sigmoid")]),
    "conv1d-same-stride-even": (
        (12, 3),
        lambda: [kl.Conv1D(4, 5, 2, "same", activation="relu"), kl.Flatten(), kl.Dense(3)],
    ),
    "conv1d-same-stride-odd": ((11, 3), lambda: [kl.Conv1D(4, 4, 3, "same")]),
    "conv1d-causal": ((11, 3), lambda: [kl.Conv1D(4, 3, padding="causal", dilation_rate=2)]),
    "conv1d-causal-stride": ((12, 3), lambda: [kl.Conv1D(4, 4, strides=2, padding="causal")]),
    "conv2d-valid": ((7, 6, 3), lambda: [kl.Conv2D(4, (3, 2), (2, 1), use_bias=False)]),
    "conv2d-same-even-kernel": ((7, 6, 3), lambda: [kl.Conv2D(4, (4, 3), 2, "same")]),
    "conv2d-same-kernel-below-stride": ((7, 8, 3), lambda: [kl.Conv2D(4, 1, 3, "same")]),
    "conv2d-dilation": ((9, 8, 3), lambda: [kl.Conv2D(4, 3, dilation_rate=(2, 3), padding="same")]),
    "conv2d-groups": ((7, 6, 4), lambda: [kl.Conv2D(6, 3, groups=2, padding="same")]),
    "conv2d-softmax-map": ((7, 6, 3), lambda: [kl.Conv2D(4, 3, activation="softmax")]),
    "conv3d": ((5, 6, 4, 2), lambda: [kl.Conv3D(3, (3, 2, 3), 2, "same", activation="relu")]),
    "depthwise1d": ((11, 3), lambda: [kl.DepthwiseConv1D(3, 2, "same", depth_multiplier=2)]),
    "depthwise2d": ((7, 6, 3), lambda: [kl.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)]),
    "depthwise2d-dilation": (
        (9, 9, 3),
        lambda: [kl.DepthwiseConv2D((3, 2), dilation_rate=2, use_bias=False, activation="relu")],
    ),
    "separable1d": ((12, 3), lambda: [kl.SeparableConv1D(4, 3, 2, "same", depth_multiplier=2)]),
    "separable2d": (
        (7, 6, 3),
        lambda: [kl.SeparableConv2D(4, 3, 2, "same", depth_multiplier=2, activation="relu")],
    ),
    "separable2d-valid": (
        (9, 8, 3),
        lambda: [kl.SeparableConv2D(4, (3, 2), dilation_rate=2, use_bias=False)],
    ),
    "conv1d-transpose": ((6, 3), lambda: [kl.Conv1DTranspose(4, 5, 3, activation="relu")]),
    "conv1d-transpose-same": ((6, 3), lambda: [kl.Conv1DTranspose(4, 4, 3, "same")]),
    "conv2d-transpose": ((5, 4, 3), lambda: [kl.Conv2DTranspose(2, (3, 2), use_bias=False)]),
    "conv2d-transpose-same": ((5, 4, 3), lambda: [kl.Conv2DTranspose(2, 3, 2, "same")]),
    "conv2d-transpose-same-1": ((5, 4, 3), lambda: [kl.Conv2DTranspose(2, (4, 3), padding="same")]),
    "conv2d-transpose-gaps": ((5, 4, 3), lambda: [kl.Conv2DTranspose(2, (2, 1), 3, "same")]),
    "conv2d-transpose-gaps-valid": ((5, 4, 3), lambda: [kl.Conv2DTranspose(2, (1, 2), (2, 4))]),
    "conv2d-transpose-extra": (
        (5, 4, 3),
        lambda: [kl.Conv2DTranspose(2, 3, (3, 2), output_padding=(2, 1))],
    ),
    "conv2d-transpose-extra-same": (
        (5, 4, 3),
        lambda: [kl.Conv2DTranspose(2, 5, 2, "same", output_padding=0)],
    ),
    "conv3d-transpose": (
        (3, 4, 2, 2),
        lambda: [kl.Conv3DTranspose(3, 3, (2, 1, 2), "same", activation="softmax")],
    ),
    "batch-norm": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.BatchNormalization(epsilon=0.01)]),
    "batch-norm-rank-1": ((5,), lambda: [kl.BatchNormalization(center=False)]),
    "batch-norm-first": ((5, 4, 3), lambda: [kl.BatchNormalization(scale=False)]),
    "batch-norm-bare": ((5, 4, 3), lambda: [kl.BatchNormalization(scale=False, center=False)]),
    "batch-norm-axis-1": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.BatchNormalization(axis=1)]),
    "batch-norm-renorm": ((5, 4, 3), lambda: [kl.BatchNormalization(renorm=True)]),
    "relu-cap": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.ReLU(max_value=0.25)]),
    "relu-slope": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.ReLU(negative_slope=0.1)]),
    "relu-slope-cap": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.ReLU(0.5, 0.25)]),
    "relu-threshold": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.ReLU(threshold=0.5)]),
    "relu-threshold-slope": ((5,), lambda: [kl.ReLU(negative_slope=0.2, threshold=0.5)]),
    "relu-threshold-cap": ((5, 4), lambda: [kl.ReLU(0.9, 0.1, 0.5), kl.Dense(2)]),
    "leaky-relu": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.LeakyReLU(0.1), kl.Flatten()]),
    "prelu": ((5, 4, 3), lambda: [kl.Conv2D(2, 2), kl.PReLU(), kl.Flatten()]),
    "prelu-shared": ((5, 4, 3), lambda: [kl.Conv2D(2, 2), kl.PReLU(shared_axes=[1, 2])]),
    "prelu-shared-rows": ((5, 4, 3), lambda: [kl.PReLU(shared_axes=[1]), kl.Conv2D(2, 2)]),
    "prelu-vector": ((5,), lambda: [kl.Dense(4), kl.PReLU()]),
    "elu": ((5,), lambda: [kl.ELU(0.5), kl.Dense(3)]),
    "activation-objects": (
        (5,),
        lambda: [
            kl.Dense(4, activation=kl.LeakyReLU(0.1)), kl.Dense(4, activation=kl.ReLU(1.5)),
            kl.Dense(4, activation=kl.ELU()), kl.Dense(4, activation=kl.Softmax()),
        ],
    ),
    "activation-names": (
        (4, 3, 5),
        lambda: [kl.Dense(5, activation=name) for name in NAMED_ACTIVATIONS],
    ),
    "activation-relu": ((5, 4, 3), lambda: [kl.Activation("relu")]),
    "activation-relu6": ((5,), lambda: [kl.Rescaling(9.0), kl.Activation("relu6")]),
    "activation-linear": ((5,), lambda: [kl.Activation("linear")]),
    "activation-sigmoid": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.Activation("sigmoid")]),
    "activation-softmax": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.Activation("softmax")]),
    "softmax": ((5,), lambda: [kl.Softmax()]),
    "softmax-axis-1": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.Softmax(axis=1)]),
    "softmax-list-of-axes": ((5, 4), lambda: [kl.Softmax(axis=[-1])]),
    "max-pool1d-same": ((11, 3), lambda: [kl.MaxPooling1D(3, 2, "same")]),
    "max-pool2d": ((7, 6, 3), lambda: [kl.MaxPooling2D((3, 2))]),
    "max-pool2d-same": ((7, 6, 3), lambda: [kl.MaxPooling2D(3, 2, "same")]),
    "max-pool2d-wide-stride": ((7, 9, 3), lambda: [kl.MaxPooling2D(2, 3, "same")]),
    "max-pool3d": ((4, 5, 6, 2), lambda: [kl.MaxPooling3D(2, padding="same")]),
    "average-pool1d-same": ((11, 3), lambda: [kl.AveragePooling1D(4, 3, "same")]),
    "average-pool2d": ((7, 6, 3), lambda: [kl.AveragePooling2D(2, 1)]),
    "average-pool2d-same": ((7, 6, 3), lambda: [kl.AveragePooling2D((3, 2), 2, "same")]),
    "average-pool3d": ((4, 5, 6, 2), lambda: [kl.AveragePooling3D((2, 3, 2), padding="same")]),
    "global1d": ((7, 3), lambda: [kl.GlobalAveragePooling1D(), kl.Dense(4)]),
    "global2d-keepdims": (
        (7, 6, 3),
        lambda: [kl.GlobalAveragePooling2D(keepdims=True), kl.Conv2D(4, 1), kl.Flatten()],
    ),
    "global3d": ((4, 5, 6, 2), lambda: [kl.GlobalAveragePooling3D()]),
    "global-max1d": ((7, 3), lambda: [kl.Conv1D(4, 2), kl.GlobalMaxPooling1D(), kl.Dense(4)]),
    "global-max2d-keepdims": ((7, 6, 3), lambda: [kl.GlobalMaxPooling2D(keepdims=True)]),
    "global-max3d": ((4, 5, 6, 2), lambda: [kl.GlobalMaxPooling3D()]),
    "flatten-vector": ((5,), lambda: [kl.Flatten()]),
    "flatten-channels-first": (
        (5, 4, 3),
        lambda: [kl.Conv2D(3, 2), kl.Flatten(data_format=FIRST), kl.Dense(3)],
    ),
    "reshape": ((5, 4, 6), lambda: [kl.Conv2D(6, 2), kl.Reshape((-1, 8)), kl.Dense(3)]),
    "reshape-to-map": ((24,), lambda: [kl.Reshape((4, 3, 2)), kl.Conv2D(3, 2)]),
    "permute": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.Permute((3, 1, 2)), kl.Dense(2)]),
    "zero-padding1d": ((7, 3), lambda: [kl.ZeroPadding1D((2, 1)), kl.Conv1D(3, 2)]),
    "zero-padding2d": ((5, 4, 3), lambda: [kl.ZeroPadding2D(((1, 0), (2, 3))), kl.Conv2D(3, 2)]),
    "zero-padding2d-symmetric": ((5, 4, 3), lambda: [kl.Conv2D(3, 2), kl.ZeroPadding2D((2, 1))]),
    "zero-padding3d": ((3, 4, 5, 2), lambda: [kl.ZeroPadding3D(1)]),
    "cropping1d": ((7, 3), lambda: [kl.Cropping1D((2, 1)), kl.Conv1D(3, 2)]),
    "cropping2d": ((6, 7, 3), lambda: [kl.Conv2D(3, 2), kl.Cropping2D(((1, 0), (2, 1)))]),
    "cropping3d": ((5, 4, 5, 2), lambda: [kl.Cropping3D((1, 0, 2))]),
    "up-sampling1d": ((4, 3), lambda: [kl.UpSampling1D(3), kl.Conv1D(3, 2)]),
    "up-sampling2d": ((4, 3, 3), lambda: [kl.Conv2D(3, 2), kl.UpSampling2D((2, 3))]),
    "up-sampling3d": ((2, 3, 2, 2), lambda: [kl.UpSampling3D((1, 2, 3))]),
    "repeat-vector": ((4,), lambda: [kl.Dense(3), kl.RepeatVector(5), kl.Conv1D(2, 3)]),
    "rescaling": ((5, 4, 3), lambda: [kl.Rescaling(1 / 255, offset=-0.5), kl.Conv2D(3, 2)]),
    "rescaling-arrays": (
        (5, 4, 3),
        lambda: [kl.Rescaling(np.array([1.0, 2.0, 3.0]), [0.5, 0.0, -1.0]), kl.Conv2D(3, 2)],
    ),
    "rescaling-flat": ((5, 4), lambda: [kl.Rescaling(2.0), kl.Flatten(), kl.Dense(3)]),
    "normalization-fixed": (
        (5, 4, 3),
        lambda: [kl.Normalization(mean=[0.1, 0.2, 0.3], variance=[1, 2, 3]), kl.Conv2D(3, 2)],
    ),
    "normalization-scalar": ((5, 4, 3), lambda: [kl.Normalization(None, mean=0.5, variance=4.0)]),
    "normalization-invert": (
        (5, 3),
        lambda: [kl.Normalization(mean=[0.1, 0.2, 0.3], variance=[1, 2, 0], invert=True)],
    ),
    "no-ops": (
        (5, 4, 3),
        lambda: [
            kl.GaussianNoise(0.5), kl.Conv2D(3, 2), kl.Dropout(0.5), kl.SpatialDropout2D(0.5),
            kl.GaussianDropout(0.5), kl.AlphaDropout(0.5, noise_shape=(1, 3), seed=1),
            kl.ActivityRegularization(0.1, 0.1), kl.Identity(), kl.Flatten(),
        ],
    ),
    "augmentation": (
        (5, 4, 3),
        lambda: [
            kl.RandomFlip(), kl.RandomRotation(0.2), kl.RandomZoom(0.3), kl.RandomContrast(0.1),
            kl.RandomTranslation(0.1, 0.2), kl.RandomShear(0.1, 0.2), kl.Conv2D(3, 2),
        ],
    ),
    "no-ops-1d-3d": (
        (4, 6),
        lambda: [kl.SpatialDropout1D(0.5), kl.Reshape((2, 2, 2, 3)), kl.SpatialDropout3D(0.5)],
    ),
    "channels-first": (
        (3, 8, 6),
        lambda: [
            kl.ZeroPadding2D(1, data_format=FIRST),
            kl.Conv2D(4, 3, padding="same", data_format=FIRST, activation="relu"),
            kl.BatchNormalization(axis=1), kl.MaxPooling2D(2, data_format=FIRST),
            kl.DepthwiseConv2D(3, data_format=FIRST), kl.AveragePooling2D(2, data_format=FIRST),
            kl.Flatten(), kl.Dense(3),
        ],
    ),
    "channels-first-global": (
        (3, 8, 6),
        lambda: [
            kl.Conv2D(4, 3, 2, data_format=FIRST),
            kl.GlobalAveragePooling2D(data_format=FIRST, keepdims=True),
        ],
    ),
    "channels-first-decoder": (
        (3, 8, 6),
        lambda: [
            kl.Cropping2D(1, data_format=FIRST), kl.UpSampling2D(2, data_format=FIRST),
            kl.Conv2DTranspose(4, 3, 2, "same", data_format=FIRST, activation="leaky_relu"),
            kl.PReLU(shared_axes=[2, 3]), kl.SeparableConv2D(5, 3, data_format=FIRST),
            kl.GlobalMaxPooling2D(data_format=FIRST),
        ],
    ),
    "channels-first-1d": (
        (3, 9),
        lambda: [
            kl.ZeroPadding1D(1, data_format=FIRST),
            kl.Conv1D(4, 3, data_format=FIRST, activation="relu"),
            kl.SpatialDropout1D(0.1), kl.UpSampling1D(2),
            kl.Conv1DTranspose(2, 2, 2, data_format=FIRST),
            kl.GlobalAveragePooling1D(data_format=FIRST),
        ],
    ),
    "channels-first-3d": (
        (2, 4, 5, 6),
        lambda: [
            kl.Conv3D(3, 2, data_format=FIRST), kl.Cropping3D(1, data_format=FIRST),
            kl.UpSampling3D(2, data_format=FIRST), kl.MaxPooling3D(2, data_format=FIRST),
            kl.Conv3DTranspose(2, 2, data_format=FIRST), kl.GlobalMaxPooling3D(FIRST),
        ],
    ),
    "both-formats": ((4, 8, 6), lambda: [kl.Conv2D(5, 3, data_format=FIRST), kl.Conv2D(2, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_layer_equals_keras(case: str, tmp_path: Path) -> None:
    shape, build = CASES[case]
    check(sequential(shape, *build()), tmp_path)


def test_model_that_is_part_of_two_models(tmp_path: Path) -> None:
    """Keras keeps its weights where it first comes, and numbers it where it comes again."""
    inner = keras.Sequential([kl.Input((4,)), kl.Dense(4, "relu"), kl.BatchNormalization()])
    z = kl.Input((4,))
    outer = keras.Model(z, [inner(z), kl.Dense(4)(z)])
    x = kl.Input((4,))
    a, b = outer(x)
    c, d = outer(kl.Add()([a, b]))
    check(randomize(keras.Model(x, [kl.Add()([c, a]), inner(d)])), tmp_path)


def test_random_brightness(tmp_path: Path) -> None:
    """Keras cannot save it as .h5."""
    check(sequential((5, 4, 3), kl.RandomBrightness(0.1), kl.Conv2D(3, 2)), tmp_path, (".keras",))


def test_every_class_of_the_table_is_compared() -> None:
    compared = {type(layer).__name__ for _, build in CASES.values() for layer in build()}
    elsewhere = {"InputLayer", "CustomScaleLayer", "RandomBrightness"}
    merging = {"Add", "Subtract", "Average", "Maximum", "Minimum", "Multiply", "Concatenate"}
    assert compared | elsewhere | merging == set(LAYERS)


def test_adapted_normalization_equals_keras(tmp_path: Path) -> None:
    for axis in (-1, (1, -1)):
        norm = kl.Normalization(axis=axis)
        norm.adapt(np.random.default_rng(0).normal(2, 3, (50, 5, 4, 3)))
        check(keras.Sequential([kl.Input((5, 4, 3)), norm, kl.Conv2D(2, 2)]), tmp_path)


def test_quiet_standard_deviations_are_bounded_as_in_keras(tmp_path: Path) -> None:
    check(sequential((3,), kl.Normalization(mean=[0.0] * 3, variance=[1.0, 1e-20, 0])), tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_reference_architectures_equal_keras(name: str, tmp_path: Path) -> None:
    model = randomize(MODELS[name].build())
    graph = check(model, tmp_path)
    x = samples(graph, 2)
    for suffix in (".keras", ".h5"):
        source = read(tmp_path / f"model{suffix}")
        assert_equal(run(source.graph, x), source.run(x))


def test_names_stand_for_values() -> None:
    model = sequential(
        (6, 6, 2),
        kl.Conv2D(3, 3, activation="relu", name="conv"),
        kl.SeparableConv2D(3, 3, activation="relu", name="sep"),
        kl.Flatten(name="flat"),
        kl.Dense(2, activation="softmax", name="out"),
    )
    graph = read(model).graph
    assert [*graph.by_name] == [
        "x", "conv/channels_first", "conv/linear", "conv", "sep/depthwise", "sep/linear", "sep",
        "flat/channels_last", "flat", "out/linear", "out",
    ]  # fmt: skip
    assert [node.source for node in graph.nodes][1:4] == ["conv"] * 3
    expected = keras.Model(model.inputs, model.get_layer("sep").output)
    x = samples(graph, 2)
    found = run(graph.replace(outputs=("sep",)), x)[0]
    assert_equal((np.moveaxis(found, 1, -1),), (np.asarray(expected([x[0]])),))


def test_layer_names_like_inner_names_stay_unique() -> None:
    model = sequential((4,), kl.Dense(3, activation="relu", name="a"), kl.Dense(3, name="a_linear"))
    model.layers[1].name = "a/linear"
    assert [*read(model).graph.by_name] == ["x", "a/linear", "a", "a/linear_2"]


def test_scaling_goes_behind_the_transpose_that_a_convolution_needs() -> None:
    graph = read(sequential((5, 4, 3), kl.Rescaling(0.5), kl.Conv2D(2, 2))).graph
    assert ops_of(graph) == ["Input", "Transpose", "Scale", "Conv", "Transpose"]
    graph = read(sequential((5, 4, 3), kl.Rescaling(0.5), kl.Flatten())).graph
    assert ops_of(graph) == ["Input", "Scale", "Flatten"]


def test_a_tensor_is_transposed_once() -> None:
    x = kl.Input((5, 4, 3))
    y = kl.Conv2D(2, 1)(x)
    z = kl.Conv2D(2, 1)(x)
    flat = kl.Flatten()(kl.Add()([y, z]))
    graph = read(randomize(keras.Model(x, [flat, y]))).graph
    assert ops_of(graph).count("Transpose") == 3


def mean_difference(y: Any, p: Any) -> Any:
    return keras.ops.mean(p - y)


def functional() -> Model:
    """Two inputs, two outputs, nested models called twice, a layer called twice."""
    inner_x = kl.Input((6, 6, 4), name="inner_x")
    inner = kl.Conv2D(4, 3, padding="same", activation="relu", name="conv")(inner_x)
    pooled = kl.MaxPooling2D(2, name="pool")(inner)
    block = keras.Model(inner_x, [pooled, inner], name="block")
    head = keras.Sequential(
        [kl.Input((4,)), kl.Dropout(0.5), kl.Dense(3, name="fc"), kl.BatchNormalization(name="bn")],
        name="head",
    )
    a, b = kl.Input((6, 6, 4), name="a"), kl.Input((6, 6, 2), name="b")
    shared = kl.Conv2D(4, 1, name="shared")
    left = kl.Concatenate(name="cat", axis=-1)([a, b])
    left = kl.Conv2D(4, 3, padding="same", name="stem")(left)
    small, _ = block(shared(left))
    _, large = block(shared(a))
    rows = kl.Concatenate(axis=1, name="rows")([left, large])
    first = head(kl.GlobalAveragePooling2D(name="gap")(kl.Add(name="sum")([small, small])))
    second = head(kl.GlobalAveragePooling2D(name="gap2")(large))
    total = kl.Activation("sigmoid", name="total")(kl.Add(name="add")([first, second]))
    return randomize(keras.Model([a, b], [total, rows, second, block(left)[0]], name="net"))


def test_functional_models_with_shared_and_nested_parts(tmp_path: Path) -> None:
    graph = check(functional(), tmp_path)
    assert {"shared", "shared/2", "block/conv", "block/2/conv", "block/3/conv"} < {*graph.by_name}
    assert {"head/fc", "head/2/fc"} < {*graph.by_name}
    assert len(graph.outputs) == 4
    source = read(tmp_path / "model.keras")
    x = samples(graph, 2)
    assert_equal(run(source.graph, x), source.run(x))


def test_nested_models_in_nested_models(tmp_path: Path) -> None:
    innermost = keras.Sequential([kl.Input((4,)), kl.Dense(4, name="fc")], name="innermost")
    x = kl.Input((4,), name="ix")
    inner = keras.Model(x, kl.Dense(4, name="fc")(innermost(x)), name="inner")
    outer = keras.Sequential([kl.Input((4,), name="x"), inner, kl.Dense(2, name="fc")], name="o")
    graph = check(randomize(outer), tmp_path)
    assert [*graph.by_name] == ["x", "inner/innermost/fc", "inner/fc", "fc"]


def test_frozen_layers_keep_their_weights(tmp_path: Path) -> None:
    # In .h5 files the frozen weights of a nested model come after the trainable ones.
    nested = keras.Sequential([
        kl.Input((4,)),
        kl.Dense(4, name="a"),
        kl.BatchNormalization(),
        kl.Dense(4, name="b"),
    ])
    nested.layers[0].trainable = False
    model = keras.Sequential([kl.Input((4,), name="x"), nested, kl.Dense(2)])
    check(randomize(model), tmp_path)


def test_a_layer_of_two_models_has_one_set_of_weights(tmp_path: Path) -> None:
    shared = kl.Dense(4, name="shared")
    x = kl.Input((4,), name="x")
    inner = keras.Sequential([kl.Input((4,)), shared, kl.ReLU(name="relu")], name="inner")
    check(randomize(keras.Model(x, inner(shared(x)))), tmp_path)


def test_inputs_and_outputs_by_key(tmp_path: Path) -> None:
    z, b = kl.Input((2,), name="z"), kl.Input((3,), name="b")
    inner = keras.Model({"z": z, "b": b}, {"q": kl.Dense(2)(z), "p": kl.Dense(3)(b)}, name="inner")
    zz, bb = kl.Input((2,), name="zz"), kl.Input((3,), name="bb")
    outputs = inner({"b": bb, "z": zz})
    outer = keras.Model({"zz": zz, "bb": bb}, [outputs["q"], outputs["p"]], name="outer")
    graph = check(randomize(outer), tmp_path)
    assert graph.inputs == ("bb", "zz")
    source = read(tmp_path / "model.keras")
    x = samples(graph)
    assert_equal(run(source.graph, x), source.run(x))


def test_unused_inputs_and_inputs_as_outputs(tmp_path: Path) -> None:
    a, b = kl.Input((3, 2), name="a"), kl.Input((4,), name="b")
    graph = check(keras.Model([b, a], [a, kl.ReLU(name="r")(a)]), tmp_path)
    assert graph.inputs == ("b", "a")
    assert graph.outputs == ("a", "r")


def test_dense_maps_come_out_channels_last(tmp_path: Path) -> None:
    graph = check(sequential((6, 6, 2), kl.Conv2D(3, 3, padding="same", name="map")), tmp_path)
    assert graph.outputs == ("map/channels_last",)
    assert graph.types["map/channels_last"].shape == (6, 6, 3)


def test_training_leftovers_are_ignored(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="tests")
    class Halves(keras.initializers.Initializer):
        def __call__(self, shape: Any, dtype: Any = None) -> Any:
            return keras.ops.full(shape, 0.5, dtype)

    model = sequential(
        (4,), kl.Dense(3, kernel_initializer=Halves(), kernel_regularizer="l2", name="fc")
    )
    model.compile("adam", loss=mean_difference)
    model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    check(model, tmp_path)
    del keras.saving.get_custom_objects()["tests>Halves"]
    source = read(tmp_path / "model.keras")
    x = samples(source.graph)
    assert_equal(run(source.graph, x), source.run(x))


def test_source_describes_itself(tmp_path: Path) -> None:
    model = sequential((4,), kl.Dense(3, name="fc"))
    model.save(tmp_path / "net.keras")
    source = read(tmp_path / "net.keras")
    assert source.name == "net.keras"
    assert source.graph.metadata["source"] == {
        "framework": "keras",
        "name": "net.keras",
        "sha256": source.sha256,
        "version": keras.__version__,
    }
    assert source.sha256 == read(str(tmp_path / "net.keras")).sha256
    memory = read(model)
    assert memory.name == "net"
    assert memory.sha256 == read(model).sha256
    model.layers[0].bias.assign([1.0, 2.0, 3.0])
    assert memory.sha256 != read(model).sha256


def test_run_takes_many_samples_and_none() -> None:
    source: Source = read(sequential((4,), kl.Dense(3)))
    x = np.random.default_rng(0).normal(size=(250, 4)).astype(np.float32)
    assert_equal(source.run((x,)), run(source.graph, (x,)))
    assert source.run((x[:0],))[0].shape == (0, 3)
    with pytest.raises(GraphError, match=r"x \(Input\): got an array of shape \(250, 3\)"):
        source.run((x[:, :3],))


def test_run_refuses_a_file_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    sequential((4,), kl.Dense(3)).save(path)
    source = read(path)
    sequential((4,), kl.Dense(3, name="other")).save(path)
    with pytest.raises(FormatError, match="has changed since it was read, expected the same"):
        source.run(samples(source.graph))


def test_run_tells_what_keras_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sequential((4,), kl.Dense(3))
    monkeypatch.setattr(model.layers[0], "call", lambda x: 1 / 0)
    source = read(model)
    with pytest.raises(FormatError, match="model net: Keras cannot run the model") as caught:
        source.run(samples(source.graph))
    assert "save it again" in str(caught.value.hint)


def test_keras_2_files(tmp_path: Path) -> None:
    """As TensorFlow 2.x wrote them: list-like calls, `:0` in names, keys that Keras 3 refuses."""
    block_x = kl.Input((6, 6, 3), name="block_x")
    block = keras.Model(block_x, kl.DepthwiseConv2D(3, name="depth")(block_x), name="block")
    x = kl.Input((6, 6, 3), name="x")
    y = kl.BatchNormalization(name="bn")(kl.DepthwiseConv2D(3, padding="same", name="dw")(x))
    outputs = kl.Add(name="add")([block(x), block(y)])
    model = randomize(keras.Model(x, outputs, name="net"))
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        _as_keras_2(config)
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.11.0"
        for group in file["model_weights"].values():
            names = [*group.attrs["weight_names"]]
            for index, name in enumerate(names):
                new = name.replace("depth/kernel", "depth/depthwise_kernel") + ":0"
                group.move(name, new)
                names[index] = new
            group.attrs["weight_names"] = np.array(names, "S") if names else np.zeros(0)
    source = read(path)
    inputs = samples(source.graph)
    assert_equal(run(source.graph, inputs), read(model).run(inputs))
    assert source.graph.metadata["source"]["version"] == "2.11.0"


def _as_keras_2(model: dict[str, Any]) -> None:
    model["class_name"] = "Model"
    settings = model["config"]
    for layer in settings["layers"]:
        inner = layer["config"]
        if layer["class_name"] == "Functional":
            _as_keras_2(layer)
        if layer["class_name"] == "InputLayer":
            inner["batch_input_shape"] = inner.pop("batch_shape")
            del inner["optional"]
        if layer["class_name"] == "DepthwiseConv2D":
            inner["groups"] = 1
        if layer["class_name"] == "BatchNormalization":
            inner["axis"] = [3]
        calls = []
        for call in layer["inbound_nodes"]:
            operands = call["args"][0]
            histories = [
                operand["config"]["keras_history"]
                for operand in (operands if isinstance(operands, list) else [operands])
            ]
            # Keras 2 counted the building of a nested model as its call 0.
            calls.append([[n, c + (n == "block"), i, {}] for n, c, i in histories])
        layer["inbound_nodes"] = calls
    for key in ("input_layers", "output_layers"):
        if isinstance(settings[key][0], str):
            settings[key] = [settings[key]]


def test_keras_can_run_an_old_sequential_file(tmp_path: Path) -> None:
    """DepthwiseConv2D with `groups`, and the input shape in the first layer."""
    model = sequential((6, 6, 3), kl.DepthwiseConv2D(3, name="dw"), kl.Flatten(), kl.Dense(2))
    path = tmp_path / "old.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        first, *rest = config["config"]["layers"]
        rest[0]["config"]["batch_input_shape"] = first["config"]["batch_shape"]
        rest[0]["config"]["groups"] = 1
        config["config"]["layers"] = rest
        del config["config"]["build_input_shape"]
        file.attrs["model_config"] = json.dumps(config)
    source = read(path)
    assert source.graph.inputs == ("input",)
    x = samples(source.graph)
    assert_equal(run(source.graph, x), read(model).run(x))
    assert_equal(source.run(x), read(model).run(x))


def test_a_sequential_without_input_layer(tmp_path: Path) -> None:
    model = keras.Sequential([kl.Dense(3, name="fc")])
    model.build((None, 4))
    check(randomize(model), tmp_path)
    first = sequential((4,), kl.Dense(4, name="fc"))
    check(keras.Sequential([first, kl.ReLU(name="relu")]), tmp_path)
