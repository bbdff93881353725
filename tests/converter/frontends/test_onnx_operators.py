"""Every ONNX operator with random weights: what is read equals onnxruntime."""

from pathlib import Path

import numpy as np
import pytest

from spikeport.converter.frontends.onnx import OPERATORS

from . import test_onnx_activations, test_onnx_selecting
from .onnx_writer import NEWEST, OPSETS, Case, Writer, check, on, op_names


def conv(*shape: int, image: tuple[int, ...] = (4, 9, 8), **attributes) -> Case:
    return lambda w: w.conv(w.input(*image), *shape, **attributes)


def pool(op_type: str, image: tuple[int, ...] = (3, 9, 8), **attributes) -> Case:
    return lambda w: w.op(op_type, w.input(*image), **attributes)


def with_constant(op_type: str, *sizes: int, first: bool = False) -> Case:
    def build(w: Writer) -> str:
        operands = [w.input(3, 4, 5), w.positive(*sizes)]
        return w.op(op_type, *(reversed(operands) if first else operands))

    return build


def clip(low: float | None, high: float | None) -> Case:
    def build(w: Writer) -> str:
        x = w.input(3, 4)
        if w.opset < 11:
            bounds = {"min": low, "max": high}
            return w.op("Clip", x, **{k: v for k, v in bounds.items() if v is not None})
        return w.op("Clip", x, *("" if v is None else w.constant(v) for v in (low, high)))

    return build


def reduced(op_type: str, shape: tuple[int, ...], axes: list[int], **attributes) -> Case:
    return lambda w: w.axes(op_type, w.input(*shape), axes, **attributes)


def padded(*pads: int, mode: str = "constant") -> Case:
    def build(w: Writer) -> str:
        x = w.input(2, 4, 5)
        if w.opset < 11:
            return w.op("Pad", x, pads=pads, mode=mode)
        return w.op("Pad", x, w.integers(*pads), w.constant(0.0), mode=mode)

    return build


def dropped(w: Writer) -> str:
    y, _ = w.op("Dropout", w.input(5), n_outputs=2)
    return w.op("Relu", y)


def capped(w: Writer) -> str:
    """ReLU(max_value=0.7) as Keras exports it."""
    y = w.op("Min", w.op("Relu", w.input(3, 4)), w.constant(0.7))
    return w.op("Max", y, w.constant(0.0))


def rows(w: Writer) -> str:
    """A Dense on all positions as Keras exports it: the batch is merged with them for a while."""
    x = w.op("Reshape", w.input(3, 4, 5), w.integers(-1, 5))
    x = w.op("Add", w.op("MatMul", x, w.draw(5, 6)), w.draw(6))
    x = w.op("Mul", w.op("Relu", x), w.positive(6))
    return w.op("Reshape", x, w.integers(-1, 3, 4, 6))


def biased(op_type: str, *bias: int) -> Case:
    """A constant that is added behind a product."""

    def build(w: Writer) -> str:
        if op_type == "Conv":
            y = w.conv(w.input(3, 5, 5), 4, 3, 3, 3, bias=False)
        else:
            y = w.op("MatMul", w.input(5, 3), w.draw(3, 4))
        return w.op("Add", *reversed((y, w.draw(*bias))))

    return build


CASES: dict[str, Case] = {
    "add tensors": lambda w: w.op("Add", w.input(3, 4), w.input(3, 4, name="y")),
    "add itself": lambda w: w.op("Add", *[w.op("Relu", w.input(3, 4))] * 2),
    "add channels": with_constant("Add", 3, 1, 1),
    "add scalar": with_constant("Add", first=True),
    "average pool": pool("AveragePool", kernel_shape=[2, 3], strides=[2, 1]),
    "average pool 1d": pool("AveragePool", (3, 9), kernel_shape=[4], pads=[1, 2], strides=[3]),
    "average pool 3d": pool("AveragePool", (2, 4, 5, 6), kernel_shape=[2, 2, 3]),
    "average pool pads": pool("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 2, 1]),
    "average pool counts": pool(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 0, 2, 1], count_include_pad=1
    ),
    "average pool same": pool(
        "AveragePool", kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_UPPER"
    ),
    "average pool same counts": pool(
        "AveragePool", kernel_shape=[3, 2], auto_pad="SAME_LOWER", count_include_pad=1
    ),
    "batch norm": lambda w: w.batch_norm(w.input(4, 3, 3), 4, epsilon=0.01, momentum=0.5),
    "batch norm vector": lambda w: w.batch_norm(w.input(4), 4),
    "cast": on("Cast", 3, 4, to=1),
    "clip": clip(0.0, 0.8),
    "clip low": clip(0.0, None),
    "clip nothing": clip(None, None),
    "concat": lambda w: w.op("Concat", w.input(3, 4), w.input(5, 4, name="y"), axis=1),
    "concat last": lambda w: w.op("Concat", w.input(3, 4), w.input(3, 2, name="y"), axis=2),
    "conv": conv(5, 4, 3, 3, pads=[1, 1, 1, 1], strides=[2, 1]),
    "conv uneven": conv(5, 4, 3, 2, pads=[0, 1, 2, 0], dilations=[2, 3]),
    "conv groups": conv(6, 2, 3, 3, group=2, bias=False),
    "conv depthwise": conv(8, 1, 3, 3, group=4, kernel_shape=[3, 3]),
    "conv upper": conv(5, 4, 4, 3, auto_pad="SAME_UPPER", strides=[2, 3]),
    "conv lower": conv(5, 4, 4, 3, auto_pad="SAME_LOWER", strides=[2, 3]),
    "conv valid": conv(5, 4, 4, 3, auto_pad="VALID"),
    "conv 1d": conv(5, 4, 3, image=(4, 12), dilations=[2], pads=[3, 0]),
    "conv 3d": conv(3, 2, 2, 3, 2, image=(2, 5, 5, 5), strides=[1, 2, 1]),
    "conv add": biased("Conv", 4, 1, 1),
    "conv add batched": biased("Conv", 1, 4, 1, 1),
    "conv add conv": lambda w: w.op(
        "Add",
        w.conv(w.input(2, 4, 4), 3, 2, 3, 3, bias=False),
        w.conv("x", 3, 2, 3, 3, bias=False),
    ),
    "conv add map": biased("Conv", 4, 3, 3),
    "div": with_constant("Div", 5),
    "dropout": dropped,
    "flatten": on("Flatten", 3, 4, 5),
    "flatten ones": on("Flatten", 1, 1, 5, axis=3),
    "gemm": lambda w: w.gemm(w.input(6), 6, 4),
    "gemm factors": lambda w: w.op(
        "Gemm", w.input(6), w.draw(6, 4), w.draw(1, 4), alpha=0.5, beta=2.0
    ),
    "gemm scalar": lambda w: w.op("Gemm", w.input(6), w.draw(6, 4), w.draw(1)),
    "global average pool": on("GlobalAveragePool", 3, 4, 5),
    "global average pool 1d": on("GlobalAveragePool", 3, 4),
    "global max pool": on("GlobalMaxPool", 3, 4, 5),
    "identity": on("Identity", 3),
    "mat mul": lambda w: w.op("MatMul", w.input(6), w.draw(6, 4)),
    "mat mul add": lambda w: w.op("Add", w.op("MatMul", w.input(6), w.draw(6, 4)), w.draw(4)),
    "mat mul positions": biased("MatMul", 4),
    "mat mul positions map": biased("MatMul", 5, 4),
    "mat mul image": lambda w: w.op("MatMul", w.input(3, 2, 6), w.draw(6, 4)),
    "max pool": pool("MaxPool", kernel_shape=[2, 3], strides=[2, 1]),
    "max pool pads": pool("MaxPool", kernel_shape=[3, 3], pads=[1, 0, 2, 1]),
    "max pool same": pool("MaxPool", kernel_shape=[3, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
    "max pool 1d": pool("MaxPool", (3, 9), kernel_shape=[4]),
    "max pool 3d": pool("MaxPool", (2, 4, 5, 6), kernel_shape=[2, 2, 3]),
    "mul": with_constant("Mul", 4, 5),
    "mul batched": with_constant("Mul", 1, 3, 4, 1, first=True),
    "neg": on("Neg", 3, 4),
    "pad": padded(0, 0, 1, 2, 0, 1, 0, 3),
    "pad cut": padded(0, 0, -1, 2, 0, 1, -2, -1),
    "pad edge": padded(0, 3, 1, 0, 0, 0, 5, 1, mode="edge"),
    "pad reflect": padded(0, 1, 3, 2, 0, 0, 1, 4, mode="reflect"),
    "pad reflect cut": padded(0, 0, -1, 2, 0, 0, 2, 0, mode="reflect"),
    "reduce max": reduced("ReduceMax", (3, 4, 5), [2, 3], keepdims=0),
    "reduce max last": reduced("ReduceMax", (3, 4, 5), [3]),
    "reduce sum": lambda w: (
        w.op("ReduceSum", w.input(3, 4, 5), w.integers(2, 3), keepdims=0)
        if w.opset >= 13
        else w.op("ReduceSum", w.input(3, 4, 5), axes=[2, 3], keepdims=0)
    ),
    "reduce mean": reduced("ReduceMean", (3, 4, 5), [2, 3]),
    "reduce mean no axes": reduced("ReduceMean", (3, 4, 5), [2, 3], keepdims=0),
    "reduce mean channels last": reduced("ReduceMean", (3, 4, 5), [1, 2], keepdims=0),
    "reduce mean middle": reduced("ReduceMean", (3, 4, 5), [2]),
    "reduce mean all": reduced("ReduceMean", (3, 4, 5), [1, 2, 3]),
    "relu": on("Relu", 3, 4),
    "reshape": lambda w: w.op("Reshape", w.input(3, 4), w.integers(-1, 6, 2)),
    "reshape zeros": lambda w: w.op("Reshape", w.input(3, 4), w.integers(0, 0, 2, -1)),
    "reshape rows": rows,
    "scalar map": lambda w: w.op("Sub", w.input(3), w.positive(3)),
    "sigmoid": on("Sigmoid", 3, 4),
    "softmax": on("Softmax", 7),
    "softmax image": on("Softmax", 3, 4, 5),
    "softmax axis": on("Softmax", 3, 4, 5, axis=2),
    "log softmax": on("LogSoftmax", 7),
    "log softmax image": on("LogSoftmax", 3, 4, 5),
    "squeeze": lambda w: w.axes("Squeeze", w.input(3, 1, 5), [2]),
    "sub": with_constant("Sub", 5),
    "sub from": with_constant("Sub", 3, 4, 1, first=True),
    "sub tensors": lambda w: w.op("Sub", w.input(3, 4), w.input(3, 4, name="y")),
    "sum": lambda w: w.op("Sum", *(w.input(3, name=name) for name in "abc")),
    "transpose": on("Transpose", 3, 4, 5, perm=[0, 3, 1, 2]),
    "unsqueeze": lambda w: w.axes("Unsqueeze", w.input(3, 5), [1, 3]),
}

SINCE: dict[int, dict[str, Case]] = {
    8: {
        "max": lambda w: w.op("Max", w.constant(0.0), w.input(3, 4)),
        "max and min": capped,
        "max pool order": pool("MaxPool", kernel_shape=[2, 3], storage_order=1),
    },
    10: {
        "max pool dilated": pool("MaxPool", kernel_shape=[2, 3], dilations=[3, 2]),
        "max pool ceil": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        "max pool ceil pads": pool(
            "MaxPool", (2, 11, 9), kernel_shape=[2, 3], strides=[2, 3], pads=[0, 1, 0, 1],
            ceil_mode=1,
        ),
        "max pool ceil wide": pool(
            "MaxPool", (2, 2, 7), kernel_shape=[3, 3], strides=[2, 3], ceil_mode=1
        ),
        "average pool ceil": pool(
            "AveragePool", kernel_shape=[2, 3], strides=[2, 2], pads=[0, 1, 0, 1], ceil_mode=1
        ),
        "average pool ceil counts": pool(
            "AveragePool", kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1
        ),
    },
    11: {
        "concat negative": lambda w: w.op(
            "Concat", w.input(3, 4), w.input(3, 2, name="y"), axis=-1
        ),
        "flatten negative": on("Flatten", 3, 4, 5, axis=-3),
        "reduce mean negative": reduced("ReduceMean", (3, 4, 5), [-1, -2]),
        "softmax negative": on("Softmax", 3, 4, 5, axis=-2),
        "clip high behind relu": lambda w: w.op(
            "Clip", w.op("Relu", w.input(3, 4)), "", w.constant(0.5)
        ),
        "unsqueeze negative": lambda w: w.axes("Unsqueeze", w.input(3, 5), [-1]),
    },
    12: {
        "constants": lambda w: w.op(
            "Mul",
            w.op("Add", w.input(3), w.op("Constant", value_floats=[1.0, -2.0, 3.0])),
            w.op(
                "Div",
                w.op("Constant", value_float=0.5),
                w.op("Cast", w.op("Constant", value_int=4), to=1),
            ),
        ),
        "shape of a constant": lambda w: w.op(
            "Reshape", w.input(6), w.op("Add", w.op("Shape", w.draw(3, 2, 3)), w.integers(-4, 0, 0))
        ),
        "dropout operands": lambda w: w.op(
            "Dropout", w.input(3), w.constant(0.5), w.constant(False, np.bool_)
        ),
    },
    14: {
        "reshape empty copies": lambda w: w.op(
            "Reshape", w.input(3, 4), w.integers(-1, 12), allowzero=1
        ),
        "batch norm mode": lambda w: w.batch_norm(w.input(4, 3), 4, training_mode=0),
    },
    18: {
        "pad axes": lambda w: w.op(
            "Pad", w.input(3, 4), w.integers(1, 2), "", w.integers(-1)
        ),
        "reduce nothing": lambda w: w.op("ReduceMean", w.input(3, 4), noop_with_empty_axes=1),
    },
    19: {
        "pad wrap": lambda w: w.op(
            "Pad", w.input(3, 4), w.integers(0, 1, 2, 0, 2, 4), mode="wrap"
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("case", CASES)
def test_operator_equals_onnxruntime(case: str, opset: int, tmp_path: Path) -> None:
    w = Writer(opset)
    check(w.save(tmp_path, CASES[case](w)))


@pytest.mark.parametrize(
    ("since", "case"), [(since, case) for since, cases in SINCE.items() for case in cases]
)
def test_newer_operator_equals_onnxruntime(since: int, case: str, tmp_path: Path) -> None:
    for opset in (since, NEWEST):
        w = Writer(opset)
        check(w.save(tmp_path, SINCE[since][case](w)))


def test_every_operator_has_a_case() -> None:
    used = {"Swish"}
    others = (test_onnx_activations.CASES, test_onnx_selecting.CASES)
    for cases in (CASES, *SINCE.values(), *others):
        for build in cases.values():
            w = Writer(NEWEST)
            build(w)
            used.update(node.op_type for node in w.nodes)
    assert used - {"Constant", "Erf", "Pow", "Shape"} == set(OPERATORS)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("conv add", ["Input", "Conv"]),
        ("conv add map", ["Input", "Conv", "Scale"]),
        ("mat mul add", ["Input", "Dense"]),
        ("mat mul positions", ["Input", "Transpose", "Conv", "Transpose"]),
        ("reduce mean no axes", ["Input", "GlobalAveragePool"]),
        ("reduce max", ["Input", "MaxPool", "Flatten"]),
        ("global average pool", ["Input", "GlobalAveragePool", "Reshape"]),
        ("flatten", ["Input", "Flatten"]),
    ],
)
def test_what_an_operator_becomes(case: str, expected: list[str], tmp_path: Path) -> None:
    w = Writer()
    assert op_names(check(w.save(tmp_path, CASES[case](w)))) == expected
