"""ONNX networks without a translation: refused with every reason at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from spikeport.converter.errors import UnsupportedOpError
from spikeport.converter.frontends.onnx import OPERATORS, read_onnx

from .onnx_writer import FLOAT, Writer


def refuse(path: Path, *patterns: str) -> UnsupportedOpError:
    """Read a file that is refused with one reason per pattern."""
    with pytest.raises(UnsupportedOpError, match=r"network\.onnx: \d+ reasons why") as error:
        read_onnx(path)
    assert len(error.value.reasons) == len(patterns), error.value.reasons
    for pattern, reason in zip(patterns, error.value.reasons, strict=True):
        assert pattern in reason
    return error.value


def test_every_reason_is_listed_at_once(tmp_path: Path) -> None:
    w = Writer()
    y = w.op("LRN", w.op("Elu", w.conv(w.input(3, 6, 6), 4, 3, 3, 3)), size=3)
    y = w.op("Shrink", w.op("MaxPool", y, kernel_shape=[2, 2]))
    y = w.op(
        "AveragePool", w.op("Clip", y, *[w.constant(1.0)] * 2), kernel_shape=[2, 2], pads=[-1] * 4
    )
    z, _ = w.op("TopK", y, w.integers(1), n_outputs=2)
    z = w.op("Gelu", w.op("Flatten", z), domain="com.example")
    loop = helper.make_graph([], "body", [], [])
    y = w.op("Scan", z, body=loop, num_scan_inputs=1)
    error = refuse(
        w.save(tmp_path, y),
        "elu1 (Elu): elu is not a ReLU, no rate of spikes stands for it",
        "lrn2 (LRN): divides by the energy of neighboring channels, which no rate of spikes stands",
        "shrink4 (Shrink): has no translation, expected an operator with a translation",
        "clip5 (Clip): has the bounds 1 and 1, expected min < max",
        "averagepool6 (AveragePool): pads [-1, -1, -1, -1] are negative, expected sizes >= 0",
        "topk7 (TopK): has no translation",
        "gelu9 (com.example.Gelu): has no translation",
        "scan10 (Scan): runs a network of its own",
    )
    assert str(error).startswith(f"{tmp_path}/network.onnx: 8 reasons why it cannot be translated")
    assert "\n  lrn2 (LRN)" in str(error)
    assert error.hint == f"operators with a translation: {', '.join(OPERATORS)}"


def test_inputs_that_cannot_be_fed(tmp_path: Path) -> None:
    w = Writer()
    image = w.input(3, "height", None, name="image")
    count = w.input(2, name="count", dtype=onnx.TensorProto.UINT8)
    odd = w.input(2, name="odd", dtype=onnx.TensorProto.BFLOAT16)
    w.inputs.append(helper.make_tensor_value_info("free", FLOAT, None))
    w.inputs.append(helper.make_tensor_value_info("single", FLOAT, ()))
    w.inputs.append(helper.make_tensor_sequence_value_info("list", FLOAT, (1,)))
    names = (image, count, odd, "free", "single", "list")
    outputs = [w.op("Relu", name) for name in names]
    error = refuse(
        w.save(tmp_path, *outputs),
        "image (input): has the shape [N, 3, ?, ?], expected fixed sizes behind the batch",
        "count (input): holds uint8, expected float32",
        "odd (input): holds data type 16, expected float32",
        "free (input): has no shape or no axes, expected fixed sizes behind the batch",
        "single (input): has no shape or no axes, expected fixed sizes behind the batch",
        "list (input): holds no tensor, expected float32",
    )
    assert error.hint == "say which sizes with --input-shape, such as 3,224,224 or image=3,224,224"


def test_outputs_that_are_no_batches(tmp_path: Path) -> None:
    w = Writer()
    rows = w.op("Reshape", w.input(3, 4), w.integers(-1, 4))
    shape = w.op("Shape", "x")
    refuse(
        w.save(tmp_path, rows, shape, w.draw(3)),
        "reshape0a (output): mixes the batch with other axes, expected it in front",
        "shape1a (output): does not depend on the input, expected it to",
        "c1 (output): does not depend on the input, expected it to",
    )


def test_inputs_of_different_fixed_batch_sizes(tmp_path: Path) -> None:
    w = Writer(batch=2)
    w.input(3)
    w.batch = 3
    y = w.op("Add", "x", w.input(3, name="y"))
    refuse(w.save(tmp_path, y), "inputs: have the batch sizes ['2', '3'], expected one")


def test_fixed_batch_size_that_is_too_large(tmp_path: Path) -> None:
    w = Writer(batch=2**31)
    path = w.save(tmp_path, w.op("Relu", w.input(3)))
    refuse(path, "x (input): has the fixed batch size 2147483648, expected at most 1024")


def test_weights_of_other_types(tmp_path: Path) -> None:
    w = Writer()
    y = w.op("MatMul", w.input(3), w.draw(3, 2))
    w.initializers[0].data_type = onnx.TensorProto.FLOAT8E4M3FN
    w.initializers[0].raw_data = b"\0" * 6
    refuse(w.save(tmp_path, y), "c0: holds data type 17, expected one of float32 uint8")


Build = Callable[[Writer], str]


def rows_of(w: Writer) -> str:
    return w.op("Reshape", w.input(3, 4), w.integers(-1, 4))


def from_batch(w: Writer, x: str) -> str:
    """A constant with an entry for every sample."""
    size = w.op("Gather", w.op("Shape", x), w.integers(0))
    return w.op("ConstantOfShape", size, value=helper.make_tensor("v", FLOAT, [1], [1.0]))


def two(w: Writer, op_type: str, **attributes) -> str:
    return w.op(op_type, w.input(3, 4), w.input(3, 4, name="y"), **attributes)


def pool(w: Writer, op_type: str, **attributes) -> str:
    return w.op(op_type, w.input(2, 8, 8), kernel_shape=[3, 3], **attributes)


def scaled(w: Writer) -> str:
    x = w.input(3)
    scale = w.op("Mul", w.op("Cast", w.op("Shape", x), to=1), w.positive(1))
    return w.op("Mul", x, scale)


def sized(w: Writer, op_type: str, *operands: str) -> str:
    """Something large that is computed from constants and added to the input."""
    return w.op("Add", w.input(3), w.op(op_type, *operands))


def clipped(low: float, high: float) -> Build:
    return lambda w: w.op("Clip", w.input(3), w.constant(low), w.constant(high))


REASONS: list[tuple[str, Build]] = [
    (
        "axes [0] include the batch, expected others only",
        lambda w: w.axes("Squeeze", w.input(3), [0]),
    ),
    ("axes [0] include the batch", lambda w: w.axes("Unsqueeze", w.input(3), [0])),
    (
        "has no axes and may remove the batch, expected axes",
        lambda w: w.op("Squeeze", w.input(3, 1)),
    ),
    ("perm [1, 0] moves the batch, expected 0 in front", lambda w: w.op("Transpose", w.input(3))),
    (
        "axis 2 mixes the batch with other axes, expected 1",
        lambda w: w.op("Flatten", w.input(3, 4), axis=2),
    ),
    ("axis 0 mixes the batch", lambda w: w.op("Flatten", w.input(3, 4), axis=0)),
    ("joins along the batch, expected an axis behind it", lambda w: two(w, "Concat", axis=0)),
    (
        "is taken over the batch, expected an axis behind it",
        lambda w: w.op("Softmax", w.input(3), axis=0),
    ),
    (
        "reduces the axes [0, 1], expected axes behind the batch",
        lambda w: w.op("ReduceMean", w.input(3, 4), axes=[0, 1]),
    ),
    ("reduces the axes all", lambda w: w.op("ReduceMean", w.input(3, 4))),
    (
        "pads the batch, expected only the axes behind it",
        lambda w: w.op("Pad", w.input(3), w.integers(1, 0, 0, 0)),
    ),
    (
        "pads with 1 in mode 'constant', expected zeros, or mode reflect, edge or wrap",
        lambda w: w.op("Pad", w.input(3), w.integers(0, 1, 0, 0), w.constant(1.0)),
    ),
    (
        "pads with 0 in mode 'mirror', expected zeros, or",
        lambda w: w.op("Pad", w.input(3), w.integers(0, 1, 0, 0), mode="mirror"),
    ),
    (
        "pads 3 entries by (3, 0), expected fewer than there are",
        lambda w: w.op("Pad", w.input(3), w.integers(0, 3, 0, 0), mode="reflect"),
    ),
    (
        "pads 3 entries by (0, 2000000), expected at most",
        lambda w: w.op("Pad", w.input(3), w.integers(0, 0, 0, 2_000_000), mode="edge"),
    ),
    (
        "pads depends on the input, expected a constant",
        lambda w: w.op("Pad", w.input(3), w.input(4, name="p")),
    ),
    ("casts to data type 10, expected 1 (float32)", lambda w: w.op("Cast", w.input(3), to=10)),
    (
        "gives the shape [1, 12] for an operand of shape [2, 3, 4], expected one that holds",
        lambda w: w.op("Reshape", w.input(3, 4), w.integers(1, 12)),
    ),
    ("gives the shape [5, 5]", lambda w: w.op("Reshape", w.input(3, 4), w.integers(5, 5))),
    (
        "gives the shape [0, -1]",
        lambda w: w.op("Reshape", w.input(3, 4), w.integers(0, -1), allowzero=1),
    ),
    (
        "gives the shape [2, 606] for a batch of 101, expected the batch to stay in front",
        lambda w: w.op("Reshape", w.input(3, 4), w.integers(2, -1)),
    ),
    (
        "shape depends on the input's values, expected a constant",
        lambda w: w.op("Reshape", w.input(3), w.input(2, name="s")),
    ),
    (
        "operand 1 has the shape [N 3, 4], which mixes the batch with other axes, expected",
        lambda w: w.op("Softmax", rows_of(w)),
    ),
    (
        "operand 1 is a constant, expected a value that depends on the input",
        lambda w: w.op("Concat", w.draw(1, 3), w.input(3), axis=1),
    ),
    (
        "training_mode is true, expected inference",
        lambda w: w.op("Dropout", w.input(3), w.constant(0.5), w.constant(True, np.bool_)),
    ),
    (
        "its further result 'dropout0b' is used, expected only the first one to be",
        lambda w: w.op("Add", *w.op("Dropout", w.input(3), n_outputs=2)),
    ),
    (
        "training_mode is set, expected inference",
        lambda w: w.batch_norm(w.input(3), 3, training_mode=1),
    ),
    (
        "transA is set and moves the batch, expected 0",
        lambda w: w.op("Gemm", w.input(3), w.draw(3, 2), transA=1),
    ),
    (
        "a constant of shape [7, 2] does not broadcast to [N, 2], expected one that does",
        lambda w: w.op("Gemm", w.input(3), w.draw(3, 2), w.draw(7, 2)),
    ),
    (
        "B depends on the input, expected a constant",
        lambda w: w.op("Gemm", w.input(3), w.input(2, name="y")),
    ),
    (
        "has its constant in front, expected it behind",
        lambda w: w.op("MatMul", w.draw(3, 3), w.input(3)),
    ),
    (
        "operand 2 has the shape [3], expected two axes",
        lambda w: w.op("MatMul", w.input(3), w.draw(3)),
    ),
    ("operand 2 depends on the input", lambda w: two(w, "MatMul")),
    (
        "takes two values that depend on the input, as gates do, expected a",
        lambda w: two(w, "Mul"),
    ),
    (
        "takes two values that depend on the input, as gates do",
        lambda w: w.op("Mul", w.input(3), w.op("Sigmoid", w.op("Relu", "x"))),
    ),
    ("takes two values that depend on the input", lambda w: two(w, "Div")),
    (
        "takes samples of shapes [3] and [2], expected one shape",
        lambda w: w.op("Add", w.input(3), w.input(2, name="y")),
    ),
    (
        "takes samples of shapes [3, 3] and [3], expected one shape",
        lambda w: w.op("Max", w.input(3, 3), w.input(3, name="y")),
    ),
    (
        "a constant of shape [2, 3] does not broadcast to [N, 3]",
        lambda w: w.op("Add", w.input(3), w.draw(2, 3)),
    ),
    (
        "a constant of shape [4] does not broadcast to [N, 2]",
        lambda w: w.op("Mul", w.input(2), w.draw(4)),
    ),
    ("the constant depends on the batch size, expected it to be the same for all", scaled),
    (
        "the constant depends on the batch size",
        lambda w: w.op("Add", w.input(1), w.op("Unsqueeze", from_batch(w, "x"), w.integers(1))),
    ),
    (
        "divides by a value that depends on the input, expected it first",
        lambda w: w.op("Div", w.draw(3), w.input(3)),
    ),
    (
        "divides by zero, expected other numbers",
        lambda w: w.op("Div", w.input(3), w.constant([1, 0, 2])),
    ),
    ("has the bounds nan and 1, expected min < max", clipped(float("nan"), 1)),
    ("has the bounds 0 and 0, expected min < max", clipped(0, 0)),
    ("has the bounds 0 and nan, expected min < max", clipped(0, float("nan"))),
    (
        "max is -1 behind a ReLU, expected more than 0",
        lambda w: w.op("Clip", w.op("Relu", w.input(3)), "", w.constant(-1.0)),
    ),
    (
        "dilations are [2, 1], expected 1 on each axis",
        lambda w: pool(w, "AveragePool", dilations=[2, 1]),
    ),
    (
        "ceil_mode and count_include_pad give windows that tools count differently",
        lambda w: pool(w, "AveragePool", ceil_mode=1, count_include_pad=1, strides=[2, 2]),
    ),
    (
        "has ceil_mode and auto_pad, expected one of them",
        lambda w: pool(w, "MaxPool", ceil_mode=1, auto_pad="VALID"),
    ),
    (
        "has pads and auto_pad SAME_UPPER, expected one of them",
        lambda w: pool(w, "MaxPool", pads=[1] * 4, auto_pad="SAME_UPPER"),
    ),
    (
        "ceil_mode gives a window that starts behind the operand, which tools count differently",
        lambda w: w.op(
            "MaxPool", w.input(1, 8), kernel_shape=[3], strides=[3], pads=[1, 1], ceil_mode=1
        ),
    ),
    (
        "its further result 'maxpool0b' is used",
        lambda w: w.op("MaxPool", w.input(1, 8), kernel_shape=[2], n_outputs=2)[1],
    ),
    (
        "has 4 spatial axes, expected 1 to 3",
        lambda w: w.op("MaxPool", w.input(1, 2, 2, 2, 2), kernel_shape=[1] * 4),
    ),
    ("has 0 spatial axes, expected 1 to 3", lambda w: w.conv(w.input(3), 4, 3)),
    ("weight depends on the input", lambda w: w.op("Conv", w.input(3, 3), w.input(3, 1, name="w"))),
    (
        "takes a value that depends on the input, expected only constants",
        lambda w: w.op("Ceil", w.input(3)),
    ),
    (
        "attribute mode has no translation, expected none",
        lambda w: w.op("Relu", w.input(3), mode="x"),
    ),
    ("takes 2 operands, expected at most 1", lambda w: two(w, "Relu")),
    (
        "attribute value_string has no translation",
        lambda w: w.op("Add", w.input(3), w.op("Constant", value_string="x")),
    ),
    (
        "attribute end has no translation, expected none",
        lambda w: w.op("Mul", w.input(3), w.op("Size", "x", end=1)),
    ),
    (
        "constantofshape0 (ConstantOfShape): gives a constant of 1000000000000 elements",
        lambda w: sized(w, "ConstantOfShape", w.integers(10**6, 10**6)),
    ),
    (
        "tile0 (Tile): gives a constant of 3000000000 elements",
        lambda w: sized(w, "Tile", w.draw(3), w.integers(10**9)),
    ),
    (
        "expand0 (Expand): gives a constant of 3000000000 elements",
        lambda w: sized(w, "Expand", w.draw(3), w.integers(10**9, 1)),
    ),
    (
        "range0 (Range): gives a constant of 1000000000 elements",
        lambda w: sized(w, "Range", *(w.constant(v, np.int64) for v in (0, 10**9, 1))),
    ),
    (
        "add0 (Add): gives a constant of 100000000 elements",
        lambda w: sized(w, "Add", w.draw(10_000), w.draw(10_000, 1)),
    ),
    (
        "gather0 (Gather): gives a constant of 100000000 elements",
        lambda w: sized(w, "Gather", w.draw(2, 10_000), w.constant([0] * 10_000, np.int64)),
    ),
    (
        "rounds a value that depends on the input; read the network before its activations were",
        lambda w: w.op("QuantizeLinear", w.input(3), w.constant(0.1)),
    ),
    (
        "computes with integers; read the float32 network",
        lambda w: w.op("DynamicQuantizeLinear", w.input(3), n_outputs=3)[0],
    ),
    (
        "divides by statistics of the sample itself, which no rate of spikes stands for",
        lambda w: w.op("LayerNormalization", w.input(3), w.positive(3)),
    ),
    (
        "is no operator of ONNX; read the file that it was exported from, if it is .keras",
        lambda w: w.op("BiasAddV3", w.input(3)),
    ),
    (
        "keeps a state from step to step, expected an operator",
        lambda w: w.op("LSTM", w.input(3, 4), w.draw(1, 8, 4), w.draw(1, 8, 2), hidden_size=2),
    ),
    (
        "is what Keras' exporter writes for a layer that it does not know",
        lambda w: w.op("StatefulPartitionedCall", w.input(3)),
    ),
]


@pytest.mark.parametrize(("reason", "build"), REASONS, ids=[reason[:40] for reason, _ in REASONS])
def test_reason(reason: str, build: Build, tmp_path: Path) -> None:
    w = Writer()
    path = w.save(tmp_path, build(w))
    with pytest.raises(UnsupportedOpError, match=r"1 reasons why it cannot be translated") as error:
        read_onnx(path)
    (found,) = error.value.reasons
    assert reason in found


def test_batch_norm_per_activation(tmp_path: Path) -> None:
    w = Writer(opset=7)
    y = w.batch_norm(w.input(3), 3, spatial=0)
    refuse(w.save(tmp_path, y), "spatial is 0, expected statistics per channel")
