"""Functions of keras.ops, and layers like them, that are refused: a message for every reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.frontends import read
from spikeport.converter.ir.windows import MAX_KERNEL

from .keras_writer import (
    Arrays,
    Config,
    dense,
    function,
    functional,
    layer,
    placeholder,
    sequential,
    write_keras,
)

BATCH = "works along the batch axis, expected axes of samples only"
SHAPE = "expected -1 for the batch axis and sizes of as many entries behind it"
RANGE = {"class_name": "__slice__", "config": {"start": None, "stop": None, "step": None}}
HOSTILE = {"class_name": "Own", "module": "os", "config": {}}


def reasons(path: Path, config: Config, weights: Arrays | None = None) -> tuple[str, ...]:
    write_keras(path / "net.keras", config, weights or {})
    with pytest.raises(UnsupportedOpError) as caught:
        read(path / "net.keras")
    return caught.value.reasons


def net(*layers: Config, shape: tuple[int, ...] = (4, 6)) -> Config:
    """The last layer is the output."""
    inputs = [placeholder(shape), placeholder(shape, "y")]
    last = layers[-1]["name"]
    return functional([*inputs, *layers], [(last, 0, 0)], [("x", 0, 0), ("y", 0, 0)])


def item(*entries: Any) -> Config:
    return function("GetItem", "f", "x", [*entries])


UNSUPPORTED: dict[str, tuple[Config, str]] = {
    "product": (
        function("Multiply", "f", "x", "y"),
        "multiplies tensors with one another, which rates of spikes cannot, expected a constant",
    ),
    "quotient": (function("Divide", "f", 1.0, "x"), "divides by a tensor, expected a constant"),
    "zero": (function("Divide", "f", "x", 0.0), "divides by zero, expected another constant"),
    "text": (
        function("Add", "f", "x", {"a": "b"}),
        "takes the constant {'a': 'b'}, expected numbers",
    ),
    "object": (
        function("Add", "f", "x", HOSTILE),
        f"takes the constant {HOSTILE}, expected numbers",
    ),
    "wide": (
        function("Add", "f", "x", [1.0, 2.0]),
        "takes a constant of shape (2,), expected one that broadcasts to samples of shape (4, 6)",
    ),
    "deep": (
        function("Add", "f", "x", {"class_name": "__numpy__", "config": {"value": [[[[1]]]]}}),
        "takes a constant of shape (1, 1, 1, 1), "
        "expected one that broadcasts to samples of shape (4, 6)",
    ),
    "clip": (
        function("Clip", "f", "x", x_min=1, x_max=1),
        "clips to an empty range, expected low < high",
    ),
    "cast": (
        function("Cast", "f", "x", module="core", dtype="int32"),
        "casts to 'int32', expected 'float32'",
    ),
    "join": (
        function("Concatenate", "f", ["x", 1.0], axis=-1),
        "joins a constant, expected tensors",
    ),
    "stack": (function("Stack", "f", ["x", 1.0], axis=1), "joins a constant, expected tensors"),
    "reshape": (
        function("Reshape", "f", "x", newshape=[4, 6]),
        "reshapes samples of shape (4, 6) to [4, 6], " + SHAPE,
    ),
    "reshape-batch": (
        function("Reshape", "f", "x", newshape=[-1, 2]),
        "reshapes samples of shape (4, 6) to [-1, 2], " + SHAPE,
    ),
    "transpose": (function("Transpose", "f", "x", axes=None), BATCH),
    "transpose-batch": (function("Transpose", "f", "x", axes=[1, 0, 2]), BATCH),
    "swap": (function("Swapaxes", "f", "x", axis1=0, axis2=1), BATCH),
    "move": (function("Moveaxis", "f", "x", source=[1], destination=[-3]), BATCH),
    "expand": (function("ExpandDims", "f", "x", axis=0), BATCH),
    "squeeze": (
        function("Squeeze", "f", "x", axis=None),
        "squeezes every axis of size 1, maybe the batch axis, too",
    ),
    "item-batch": (item(0), BATCH),
    "item-none": (function("GetItem", "f", "x", None), BATCH),
    "item-list": (item(RANGE, [0, 1]), "takes entries [0, 1], expected slices"),
    "item-tensor": (
        function("GetItem", "f", "x", "y"),
        "takes places that are computed, expected a tensor and constants",
    ),
    "repeat-batch": (function("Repeat", "f", "x", repeats=2, axis=None), BATCH),
    "repeat": (
        function("Repeat", "f", "x", repeats=[1, 2, 1, 1], axis=1),
        "repeats (1, 2, 1, 1) times, expected one positive number",
    ),
    "repeat-long": (
        function("Repeat", "f", "x", repeats=2**30, axis=1),
        "makes 4294967296 entries along an axis, expected at most 1048576",
    ),
    "tile": (function("Tile", "f", "x", repeats=[2, 1, 1]), BATCH),
    "take-batch": (function("Take", "f", "x", [0], axis=None), BATCH),
    "take": (
        function("Take", "f", "x", [0, 4], axis=1),
        "takes entries [0, 4] of 4, expected whole numbers within",
    ),
    "flip": (function("Flip", "f", "x", axis=None), BATCH),
    "pad-batch": (function("Pad", "f", "x", pad_width=[[1, 0], [0, 0], [0, 0]]), BATCH),
    "pad-mode": (
        function("Pad", "f", "x", pad_width=[[0, 0], [1, 0], [0, 0]], mode="wrap"),
        "mode is 'wrap', expected constant, reflect or symmetric",
    ),
    "mean": (
        function("Mean", "f", "x", axis=None),
        "reduces all axes, the batch axis, too, expected others only",
    ),
    "mean-batch": (function("Mean", "f", "x", axis=[0, 1]), BATCH),
    "up-sampling": (
        layer("UpSampling1D", "f", ["x"], size=2, interpolation="bilinear"),
        "interpolation is 'bilinear', expected 'nearest'",
    ),
    "up-sampling-long": (
        layer("UpSampling1D", "f", ["x"], size=2**30),
        "makes 4294967296 entries along an axis, expected at most 1048576",
    ),
    "dilation": (
        layer("Conv1DTranspose", "f", ["x"], filters=1, kernel_size=2, dilation_rate=[2]),
        "dilation_rate is [2], expected 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_reasons(case: str, tmp_path: Path) -> None:
    config, expected = UNSUPPORTED[case]
    label = f"ops.{config['class_name']}" if "ops" in config["module"] else config["class_name"]
    assert reasons(tmp_path, net(config)) == (f"f ({label}): {expected}",)


BROKEN: dict[str, tuple[Config, str]] = {
    "axis": (function("Flip", "f", "x", axis=3), "axis is 3, expected one of 3 axes"),
    "axes": (function("Stack", "f", ["x", "y"], axis=[1, 2]), "axis has 2 axes, expected one"),
    "move": (
        function("Moveaxis", "f", "x", source=[1], destination=[1, 2]),
        r"moves the axes \[1\] to \[1, 2\], expected as many others",
    ),
    "item": (item(RANGE, 4), "range object index out of range"),
    "slice": (
        item(RANGE, {"class_name": "__slice__", "config": {"step": "2"}}),
        "slice indices must be integers",
    ),
    "rank": (item(RANGE, RANGE, RANGE, RANGE), "tuple index out of range"),
    "split": (
        function("Split", "f", "x", axis=1, indices_or_sections=3),
        "splits 4 entries into 3, expected equal parts",
    ),
    "pad": (
        function("Pad", "f", "x", pad_width=[[0, 0], [1, 0], [0, -1]]),
        r"pad_width is \[\[0, 0\], \[1, 0\], \[0, -1\]\], expected pairs of sizes",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_damaged_functions(case: str, tmp_path: Path) -> None:
    config, expected = BROKEN[case]
    write_keras(tmp_path / "net.keras", net(config))
    with pytest.raises(FormatError, match=rf"f \(ops.{config['class_name']}\): {expected}"):
        read(tmp_path / "net.keras")


def test_results_that_a_function_does_not_have(tmp_path: Path) -> None:
    split = function("Split", "f", "x", axis=1, indices_or_sections=2)
    config = net(split, layer("ReLU", "relu", [("f", 0, 2)]))
    write_keras(tmp_path / "net.keras", config)
    with pytest.raises(FormatError, match="f: result 2 is taken, expected one of 2"):
        read(tmp_path / "net.keras")


def test_poolings_of_too_many_axes(tmp_path: Path) -> None:
    pool = function("MaxPool", "f", "x", module="nn", pool_size=2)
    (found,) = reasons(tmp_path, net(pool, shape=(2, 2, 2, 2, 2)))
    assert found.endswith("takes samples of shape (2, 2, 2, 2, 2), expected 2 to 4 axes")


def test_maxima_of_too_many_entries(tmp_path: Path) -> None:
    expected = f"takes the maximum of 5000 entries along an axis, expected at most {MAX_KERNEL}"
    for pool in (layer("GlobalMaxPooling1D", "f", ["x"]), function("Max", "f", "x", axis=1)):
        (found,) = reasons(tmp_path, net(pool, shape=(5000, 2)))
        assert found.endswith(expected)


def test_output_padding_that_tensorflow_refuses(tmp_path: Path) -> None:
    conv = layer(
        "Conv1DTranspose", "f", filters=1, kernel_size=4, strides=2, padding="same",
        output_padding=0,
    )  # fmt: skip
    weights = {"layers/conv1d_transpose/vars": (np.ones((4, 1, 6)), np.zeros(1))}
    assert reasons(tmp_path, sequential((4, 6), conv), weights) == (
        "f (Conv1DTranspose): output_padding 0 with a kernel of 4 gives 6 entries for 4, which "
        "TensorFlow refuses, expected another output_padding",
    )


def test_what_is_no_relu_counts_among_the_reasons(tmp_path: Path) -> None:
    """A network that is read is checked node by node; this is for one that is not."""
    inner = sequential((4, 6), dense("a", activation="gelu"), layer("ELU", "b"), name="inner")
    inner["inbound_nodes"] = layer("Any", "any", ["soft"])["inbound_nodes"]
    config = net(
        layer("Activation", "soft", ["x"], activation="softmax"),
        inner,
        dense("c", ["inner"], activation={"class_name": "ELU", "config": {}}),
        dense("d", ["c"], activation="hard_sigmoid"),
        function("Sigmoid", "e", "d", module="nn"),
        layer("LSTM", "f", ["e"], units=3),
        layer("Activation", "g", ["f"], activation="sigmoid"),
        layer("Reshape", "h", ["g"], target_shape=[3, 1]),
    )
    assert reasons(tmp_path, config) == (
        "f (LSTM): has no translation, expected a layer that ReLU networks are made of",
        "soft (Activation): softmax inside the network, expected at an output only",
        "inner/a (Dense): gelu is not a ReLU, no rate of spikes stands for it",
        "inner/b (ELU): elu is not a ReLU, no rate of spikes stands for it",
        "c (Dense): elu is not a ReLU, no rate of spikes stands for it",
        "e (ops.Sigmoid): sigmoid inside the network, expected at an output only",
    )
