"""Networks as PyTorch exports them: channels first, Flatten and Gemm, exported batch norm."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.equality import relative_error
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.runtime.engines.reference import simulate

from .onnx_writer import NEWEST, Writer, check


def relu(w: Writer, x: str) -> str:
    return w.op("Relu", x)


def conv(
    w: Writer, x: str, n_in: int, n_out: int, k: int = 3, *, stride: int = 1, groups: int = 1
) -> str:
    """Conv2d with `padding=k // 2` and no bias, behind it BatchNorm2d and ReLU."""
    pad, y = k // 2, ""
    weight = w.draw(n_out, n_in // groups, k, k, scale=(2 * groups / (n_in * k * k)) ** 0.5)
    y = w.op(
        "Conv", x, weight, dilations=[1, 1], group=groups, kernel_shape=[k, k],
        pads=[pad] * 4, strides=[stride, stride],
    )  # fmt: skip
    return relu(w, w.batch_norm(y, n_out, epsilon=1e-5, momentum=0.9))


def pool(w: Writer, x: str, kind: str = "MaxPool", k: int = 2, stride: int = 2) -> str:
    pad = [0] * 4 if stride > 1 else [k // 2] * 4
    more = {"ceil_mode": 0} if w.opset >= 10 else {}
    return w.op(kind, x, kernel_shape=[k, k], strides=[stride, stride], pads=pad, **more)


def classifier(w: Writer, x: str, n_in: int, *hidden: int) -> str:
    """Flatten, and Linear with ReLU and Dropout between."""
    y = w.op("Flatten", x, axis=1)
    for n_out in hidden:
        y = w.op("Dropout", relu(w, w.gemm(y, n_in, n_out)))
        n_in = n_out
    return w.gemm(y, n_in, 5)


def lenet(w: Writer) -> list[str]:
    y = w.conv(w.input(1, 16, 16), 6, 1, 5, 5, pads=[2] * 4)
    y = pool(w, relu(w, y), "AveragePool")
    y = pool(w, relu(w, w.conv(y, 8, 6, 5, 5)), "AveragePool")
    return [classifier(w, y, 32, 20, 12)]


def vgg(w: Writer) -> list[str]:
    y, n = w.input(3, 16, 16), 3
    for width, depth in ((4, 1), (8, 2), (12, 2)):
        for _ in range(depth):
            y, n = conv(w, y, n, width), width
        y = pool(w, y)
    return [classifier(w, y, 48, 24, 16)]


def resnet(w: Writer) -> list[str]:
    """Bottlenecks with a projection; global average pooling as ReduceMean."""
    y = pool(w, conv(w, w.input(3, 16, 16), 3, 8, 7, stride=2), k=3, stride=1)
    n = 8
    for width, stride in ((4, 1), (8, 2)):
        z = conv(w, conv(w, y, n, width, 1), width, width, stride=stride)
        z = w.batch_norm(w.conv(z, 4 * width, width, 1, 1, bias=False), 4 * width)
        y = w.conv(y, 4 * width, n, 1, 1, bias=False, strides=[stride, stride])
        n = 4 * width
        y = relu(w, w.op("Add", z, w.batch_norm(y, n)))
    return [classifier(w, w.axes("ReduceMean", y, [2, 3], keepdims=1), n)]


def mobilenet(w: Writer) -> list[str]:
    """Depthwise convolutions, ReLU6 as Clip, inverted residuals with linear bottlenecks."""

    def relu6(x: str) -> str:
        if w.opset < 11:
            return w.op("Clip", x, min=0.0, max=6.0)
        return w.op("Clip", x, w.constant(0.0), w.constant(6.0))

    def block(x: str, n_in: int, n_out: int, stride: int) -> str:
        n = 3 * n_in
        y = relu6(w.batch_norm(w.conv(x, n, n_in, 1, 1, bias=False), n))
        y = w.conv(y, n, 1, 3, 3, bias=False, group=n, pads=[1] * 4, strides=[stride] * 2)
        y = relu6(w.batch_norm(y, n))
        y = w.batch_norm(w.conv(y, n_out, n, 1, 1, bias=False), n_out)
        return w.op("Add", x, y) if stride == 1 and n_in == n_out else y

    y = relu6(w.conv(w.input(3, 12, 12), 4, 3, 3, 3, strides=[2, 2], pads=[1] * 4))
    y = block(block(block(y, 4, 4, 1), 4, 6, 2), 6, 6, 1)
    return [classifier(w, w.op("GlobalAveragePool", y), 6)]


def inception(w: Writer) -> list[str]:
    y = conv(w, w.input(3, 10, 10), 3, 6)
    branches = [
        conv(w, y, 6, 4, 1),
        conv(w, conv(w, y, 6, 3, 1), 3, 4),
        conv(w, conv(w, y, 6, 2, 1), 2, 3, 5),
        conv(w, pool(w, y, k=3, stride=1), 6, 3, 1),
        conv(w, pool(w, y, "AveragePool", k=3, stride=1), 6, 2, 1),
    ]
    y = w.op("Concat", *branches, axis=1)
    return [classifier(w, w.op("GlobalAveragePool", y), 16)]


def densenet(w: Writer) -> list[str]:
    """Batch norm and ReLU in front of the convolutions, a transition with average pooling."""
    y, n = w.conv(w.input(3, 8, 8), 6, 3, 3, 3, bias=False, pads=[1] * 4), 6
    for _ in range(3):
        z = w.conv(relu(w, w.batch_norm(y, n)), 8, n, 1, 1, bias=False)
        z = w.conv(relu(w, w.batch_norm(z, 8)), 4, 8, 3, 3, bias=False, pads=[1] * 4)
        y, n = w.op("Concat", y, z, axis=1), n + 4
    y = w.conv(relu(w, w.batch_norm(y, n)), 9, n, 1, 1, bias=False)
    y = relu(w, w.batch_norm(pool(w, y, "AveragePool"), 9))
    return [classifier(w, w.op("GlobalAveragePool", y), 9)]


def unet(w: Writer) -> list[str]:
    """An encoder, and a decoder with transposed convolution, resizing and skip connections."""
    first = conv(w, w.input(2, 12, 12), 2, 4)
    second = conv(w, pool(w, first), 4, 6)
    y = conv(w, pool(w, second), 6, 8)
    y = w.op("ConvTranspose", y, w.draw(8, 6, 2, 2, scale=0.4), w.draw(6), strides=[2, 2])
    y = conv(w, w.op("Concat", y, second, axis=1), 12, 6)
    if w.opset >= 11:
        y = w.op(
            "Resize", y, w.constant([]), w.constant([1.0, 1.0, 2.0, 2.0]),
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
    else:
        y = w.op("Upsample", y, w.constant([1.0, 1.0, 2.0, 2.0]), mode="nearest")
    y = conv(w, w.op("Concat", y, first, axis=1), 10, 4)
    return [w.conv(y, 3, 4, 1, 1)]


def conv_1d(w: Writer) -> list[str]:
    """A 1-D CNN with dilation, leaky ReLU and two heads: classes and a number."""
    y = w.op("LeakyRelu", w.conv(w.input(2, 40), 6, 2, 5, pads=[2, 2]), alpha=0.1)
    y = w.op("MaxPool", y, kernel_shape=[2], strides=[2])
    y = relu(w, w.batch_norm(w.conv(y, 8, 6, 3, dilations=[2], pads=[2, 2]), 8))
    y = w.op("Flatten", w.op("GlobalAveragePool", y), axis=1)
    return [w.op("Softmax", w.gemm(y, 8, 4), axis=1), w.gemm(y, 8, 1)]


NETWORKS = [lenet, vgg, resnet, mobilenet, inception, densenet, unet, conv_1d]


@pytest.mark.parametrize("opset", [9, 13, NEWEST])
@pytest.mark.parametrize("build", NETWORKS)
def test_network_equals_onnxruntime(build, opset: int, tmp_path: Path) -> None:
    w = Writer(opset)
    check(w.save(tmp_path, *build(w)))


@pytest.mark.parametrize("build", [mobilenet, inception, densenet])
def test_network_that_onnxruntime_simplified(build, tmp_path: Path) -> None:
    """Batch norm folded into the convolutions, as exporters and simplifiers write it."""
    import onnxruntime

    w = Writer(13)
    path = w.save(tmp_path, *build(w))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "simple.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    simple = onnx.load(tmp_path / "simple.onnx")
    assert len(simple.graph.node) < len(w.nodes)
    check(tmp_path / "simple.onnx")


@pytest.mark.parametrize("build", [unet, conv_1d])
def test_values_that_are_no_classes_in_time(build, tmp_path: Path) -> None:
    """Dense maps, a regression and two heads: the mean of the outputs comes close to the source."""
    w = Writer(13)
    source = read_onnx(w.save(tmp_path, *build(w)))
    shape = source.graph.types["x"].shape
    x = np.random.default_rng(2).uniform(0, 1, (40, *shape)).astype(np.float32)
    graph = convert(source, x, n_steps=256).graph
    found = simulate(graph, (x[:4],), 256).outputs
    expected = source.run((x[:4],))
    readouts = [entry["function"] for entry in graph.metadata["readout"]]
    for a, b, readout in zip(expected, found, readouts, strict=True):
        if readout == "linear":
            errors = [relative_error(a, b[step]) for step in (15, 63, 255)]
            assert errors[2] < errors[1] < errors[0]
            assert errors[2] < 0.05
