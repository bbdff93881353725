"""Whole ONNX networks as exporters write them: what is read equals onnxruntime."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from spikeport.converter.errors import ConversionError
from spikeport.converter.frontends import read
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.converter.frontends.onnx.run import BATCH_SIZE

from .onnx_writer import FLOAT, OPSETS, Writer, check, op_names, save


def view(w: Writer, x: str, *rest: int) -> str:
    """x.view(x.size(0), *rest) as PyTorch's exporter writes it."""
    shape = w.op("Shape", x)
    size = w.op("Gather", shape, w.op("Constant", value=numpy_helper.from_array(np.array(0))))
    parts = [w.axes("Unsqueeze", size, [0])]
    for each in rest:
        value = numpy_helper.from_array(np.array([each]))
        parts.append(w.op("Constant", value=value))
    return w.op("Reshape", x, w.op("Concat", *parts, axis=0))


def torch_lenet(w: Writer) -> str:
    y = w.op("Relu", w.conv(w.input(1, 12, 12), 4, 1, 5, 5, pads=[2, 2, 2, 2]))
    y = w.op("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = w.op("Relu", w.batch_norm(w.conv(y, 6, 4, 3, 3), 6))
    y = w.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    y = w.op("Relu", w.gemm(view(w, y, -1), 24, 10))
    return w.op("Softmax", w.gemm(y, 10, 5), axis=1)


def torch_resnet(w: Writer) -> str:
    def block(x: str, n_in: int, n_out: int, stride: int) -> str:
        window = {"pads": [1, 1, 1, 1], "strides": [stride, stride]}
        y = w.batch_norm(w.conv(x, n_out, n_in, 3, 3, bias=False, **window), n_out)
        y = w.conv(w.op("Relu", y), n_out, n_out, 3, 3, bias=False, pads=[1, 1, 1, 1])
        if stride > 1:
            x = w.conv(x, n_out, n_in, 1, 1, bias=False, strides=[stride, stride])
            x = w.batch_norm(x, n_out)
        return w.op("Relu", w.op("Add", w.batch_norm(y, n_out), x))

    y = w.op("Relu", w.conv(w.input(3, 8, 8), 4, 3, 3, 3, pads=[1, 1, 1, 1]))
    y = block(block(y, 4, 4, 1), 4, 8, 2)
    y = w.op("Flatten", w.op("GlobalAveragePool", y), axis=1)
    return w.gemm(y, 8, 5)


def shape_chain(w: Writer) -> str:
    """x.view(n, c // 2, 2, h * w) with every size computed from x."""
    x = w.input(4, 3, 5)
    shape = w.op("Shape", x)
    zero, one, two, three = (w.integers(i) for i in range(4))
    n = w.op("Gather", shape, zero)
    channels = w.op("Div", w.op("Gather", shape, one), two)
    if w.opset >= 10:
        height = w.op("Slice", shape, two, three)
    else:
        height = w.op("Slice", shape, starts=[2], ends=[3], axes=[0])
    area = w.op("Mul", height, w.op("Gather", shape, three))
    target = w.op("Concat", n, channels, two, w.op("Cast", area, to=7), axis=0)
    return w.op("Reshape", x, w.op("Cast", w.op("Cast", target, to=6), to=7))


def rows_from_shape(w: Writer) -> str:
    """A Dense on every position, as Keras' tensordot is exported: sizes from Shape."""
    x = w.input(3, 4, 5)
    shape = w.op("Shape", x)
    free = w.op("Gather", shape, w.integers(0, 1, 2))
    if w.opset >= 18:
        n_rows = w.op("ReduceProd", free, w.integers(0), keepdims=1)
    else:
        n_rows = w.op("ReduceProd", free, axes=[0], keepdims=1)
    y = w.op("Reshape", x, w.op("Concat", n_rows, w.integers(5), axis=0))
    y = w.op("MatMul", y, w.draw(5, 6))
    y = w.op("Reshape", y, w.op("Concat", free, w.integers(6), axis=0))
    return w.op("Add", y, w.draw(6))


def computed_weights(w: Writer) -> str:
    """Weights that are transposed, scaled and expanded in the file."""
    weight = w.op("Transpose", w.draw(6, 4), perm=[1, 0])
    weight = w.op("Mul", weight, w.op("Sqrt", w.positive(1)))
    bias = w.op("ConstantOfShape", w.integers(4)) if w.opset >= 9 else w.draw(4)
    y = w.op("Gemm", w.input(6), w.op("Identity", weight), bias, transB=1)
    return w.op("Mul", y, w.op("Expand", w.positive(1), w.integers(4)))


NETWORKS = [torch_lenet, torch_resnet, shape_chain, rows_from_shape]


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("build", NETWORKS)
def test_network_equals_onnxruntime(build, opset: int, tmp_path: Path) -> None:
    w = Writer(opset)
    check(w.save(tmp_path, build(w)))


def test_parts_of_a_shape_and_its_size(tmp_path: Path) -> None:
    w = Writer()
    x = w.input(3, 4, 5)
    first, rest = w.op("Shape", x, end=1), w.op("Shape", x, start=-2)
    n_rows = w.op("Div", w.op("Size", x), w.integers(20))
    y = w.op("Relu", w.op("Reshape", x, w.op("Concat", n_rows, rest, axis=0)))
    y = w.op("Reshape", y, w.op("Concat", first, w.integers(60), axis=0))
    graph = check(w.save(tmp_path, y))
    assert [str(graph.types[node.name]) for node in graph.nodes] == [
        "float32[3, 4, 5]",
        "float32[3, 4, 5]",
        "float32[3, 4, 5]",
        "float32[60]",
    ]


@pytest.mark.parametrize("opset", OPSETS[1:])
def test_computed_weights_are_folded(opset: int, tmp_path: Path) -> None:
    w = Writer(opset)
    assert op_names(check(w.save(tmp_path, computed_weights(w)))) == ["Input", "Dense", "Scale"]


def quantized_weights(w: Writer) -> str:
    """Weights as integers, per channel and as a whole; those of the last layer as floats."""
    per_channel = {"axis": 0} if w.opset >= 13 else {}
    weight = w.constant(w.random.integers(-127, 127, (4, 2, 3, 3)), np.int8)
    scales = w.positive(4) if per_channel else w.constant(0.02)
    zeros = w.constant([0, 3, -5, 1] if per_channel else 7, np.int8)
    weight = w.op("DequantizeLinear", weight, scales, zeros, **per_channel)
    bias = w.constant(w.random.integers(-9, 9, 4), np.int32)
    bias = w.op("DequantizeLinear", bias, w.constant(0.1))
    y = w.op("Flatten", w.op("Relu", w.op("Conv", w.input(2, 4, 4), weight, bias)))
    scale, zero = w.constant(0.05), w.constant(100, np.uint8)
    weight = w.op("QuantizeLinear", w.draw(16, 3, scale=3.0), scale, zero)
    return w.op("MatMul", y, w.op("DequantizeLinear", weight, scale, zero))


@pytest.mark.parametrize("opset", [10, 13, 21])
def test_quantized_weights_are_folded(opset: int, tmp_path: Path) -> None:
    w = Writer(opset)
    graph = check(w.save(tmp_path, quantized_weights(w)))
    assert op_names(graph) == ["Input", "Conv", "Relu", "Flatten", "Dense"]
    step = graph.nodes[-1].op.weight / np.float32(0.05)
    np.testing.assert_allclose(step, np.round(step), atol=1e-3)


@pytest.mark.parametrize("batch", [1, 4, None])
@pytest.mark.parametrize("build", NETWORKS)
def test_fixed_batch_size_is_the_batch(build, batch: int | None, tmp_path: Path) -> None:
    w = Writer(batch=batch)
    check(w.save(tmp_path, build(w)), n_samples=6)


def test_reshape_to_a_fixed_batch_size(tmp_path: Path) -> None:
    w = Writer(batch=2)
    y = w.op("Reshape", w.input(3, 4), w.integers(2, -1))
    y = w.op("Reshape", w.op("Relu", y), w.integers(2, 6, 2))
    assert op_names(check(w.save(tmp_path, y))) == ["Input", "Flatten", "Relu", "Reshape"]


def test_rows_of_a_fixed_batch_size(tmp_path: Path) -> None:
    w = Writer(batch=1)
    y = w.op("MatMul", w.op("Reshape", w.input(3, 4), w.integers(3, 4)), w.draw(4, 5))
    check(w.save(tmp_path, w.op("Reshape", y, w.integers(1, 15))))


def test_batch_larger_than_one_run(tmp_path: Path) -> None:
    w = Writer()
    check(w.save(tmp_path, w.op("Relu", w.input(3))), n_samples=2 * BATCH_SIZE + 1)


def test_no_samples(tmp_path: Path) -> None:
    w = Writer()
    source = read_onnx(w.save(tmp_path, w.op("MatMul", w.input(3), w.draw(3, 2))))
    assert source.run((np.zeros((0, 3), np.float32),))[0].shape == (0, 2)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    w = Writer()
    image, vector = w.input(2, 4, 4, name="image"), w.input(5, name="vector")
    y = w.op("Flatten", w.op("Relu", w.conv(image, 3, 2, 3, 3)))
    y = w.op("Concat", y, w.op("Relu", w.gemm(vector, 5, 4)), axis=1)
    logits = w.gemm(y, 16, 3)
    graph = check(w.save(tmp_path, w.op("Softmax", logits), y, logits))
    assert graph.inputs == ("image", "vector")
    assert [str(graph.types[name]) for name in graph.outputs] == [
        "float32[3]",
        "float32[16]",
        "float32[3]",
    ]


def test_shared_weights_and_values(tmp_path: Path) -> None:
    w = Writer()
    weight = w.draw(4, 4)
    y = w.op("MatMul", w.op("Relu", w.op("MatMul", w.input(4), weight)), weight)
    z = w.op("Add", y, w.draw(4))
    check(w.save(tmp_path, w.op("Add", y, z)))


def test_initializers_may_be_inputs(tmp_path: Path) -> None:
    w = Writer()
    y = w.gemm(w.input(4), 4, 3)
    model = w.model(y)
    for tensor in model.graph.initializer:
        declared = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(declared)
    assert check(save(model, tmp_path)).inputs == ("x",)


def test_what_no_output_needs_is_left_out(tmp_path: Path) -> None:
    w = Writer()
    x = w.input(3)
    y = w.op("Relu", x)
    w.op("LSTM", x, n_outputs=2)
    model = w.model(y)
    model.functions.append(helper.make_function("own", "F", ["a"], ["b"], [], []))
    assert op_names(check(save(model, tmp_path))) == ["Input", "Relu"]


def test_stale_declared_shapes_are_not_trusted(tmp_path: Path) -> None:
    w = Writer()
    y = w.op("Relu", w.op("Flatten", w.input(3, 4)))
    model = w.model(y)
    model.graph.value_info.append(helper.make_tensor_value_info("flatten0a", FLOAT, ["N", "stale"]))
    model.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(FLOAT, ["N", 7]))
    graph = read_onnx(save(model, tmp_path)).graph
    assert graph.types[graph.outputs[0]].shape == (12,)


def test_names(tmp_path: Path) -> None:
    w = Writer()
    x = w.input(3, name="in put")
    for name in ("same", "same", "", "n\new " + "x" * 300):
        x = w.op("Relu", x)
        w.nodes[-1].name = name
    w.nodes[2].output[0] = w.nodes[3].input[0] = "in_put"
    graph = read_onnx(w.save(tmp_path, x)).graph
    assert [node.name[:20] for node in graph.nodes] == [
        "in_put",
        "relu0a",
        "relu1a",
        "in_put_2",
        "n_ew_xxxxxxxxxxxxxxx",
    ]
    assert [node.source[:9] for node in graph.nodes] == [
        "in put", "same", "same", "in_put", "n\new xxxx",
    ]  # fmt: skip
    assert max(len(node.name) for node in graph.nodes) == 200


def test_a_product_is_named_like_the_bias_behind_it(tmp_path: Path) -> None:
    w = Writer()
    y = w.op("Add", w.op("MatMul", w.input(3), w.draw(3, 2)), w.draw(2))
    node = check(w.save(tmp_path, y)).nodes[-1]
    assert (node.name, node.source) == ("add1", "matmul0")


def test_source_and_metadata(tmp_path: Path) -> None:
    w = Writer(opset=13)
    path = w.save(tmp_path, w.op("Relu", w.input(3)))
    source = read(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (source.name, source.sha256) == ("network.onnx", sha256)
    assert source.graph.metadata == {
        "source": {
            "framework": "onnx",
            "name": "network.onnx",
            "sha256": sha256,
            "version": "writer 1.0",
            "opset": 13,
        }
    }


def test_onnxruntime_that_cannot_run_the_network(tmp_path: Path) -> None:
    w = Writer()
    y = w.op("Relu", w.op("Relu", w.input(3)))
    w.nodes[0].name = w.nodes[1].name
    source = read_onnx(w.save(tmp_path, y))
    with pytest.raises(ConversionError, match=r"network\.onnx: onnxruntime cannot run") as error:
        source.run((np.zeros((1, 3), np.float32),))
    assert "older opset" in (error.value.hint or "")


def test_onnxruntime_that_fails_while_it_runs(tmp_path: Path) -> None:
    w = Writer(opset=7)
    y = w.op("Min", w.op("Relu", w.input(3)), w.constant([0.5]))
    source = read_onnx(w.save(tmp_path, y))
    with pytest.raises(ConversionError, match=r"onnxruntime cannot run the network .*Min"):
        source.run((np.zeros((1, 3), np.float32),))


def test_external_data_in_the_same_folder(tmp_path: Path) -> None:
    w = Writer()
    model = w.model(w.gemm(w.input(40), 40, 30))
    inside = check(save(model, tmp_path))
    path = tmp_path / "external.onnx"
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=100
    )
    assert (tmp_path / "weights.bin").stat().st_size >= 4 * 40 * 30
    outside = check(path)
    np.testing.assert_array_equal(inside.nodes[-1].op.weight, outside.nodes[-1].op.weight)
    before = read_onnx(path).sha256
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(data)
    assert read_onnx(path).sha256 != before


def test_reading_does_not_import_tensorflow(tmp_path: Path) -> None:
    w = Writer()
    path = w.save(tmp_path, torch_lenet(w))
    code = (
        "import sys, pathlib; from spikeport.converter.frontends import read;"
        f"read({str(path)!r}); print([m for m in ('tensorflow', 'keras', 'onnxruntime')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@st.composite
def networks(draw: st.DrawFn) -> tuple[Writer, list[str]]:
    """A random graph of up to eight operators on images [N, C, H, W] and what follows on them."""
    w = Writer(draw(st.sampled_from(OPSETS)), draw(st.integers(0, 1000)))
    shapes = {w.input(2, 6, 5): (2, 6, 5)}
    for _ in range(draw(st.integers(1, 8))):
        x = draw(st.sampled_from(sorted(shapes)))
        name, shape = _grow(draw, w, shapes, x)
        shapes[name] = shape
    used = {name for node in w.nodes for name in node.input}
    return w, [name for name in shapes if name not in used]


def _grow(draw, w: Writer, shapes: dict, x: str) -> tuple[str, tuple[int, ...]]:
    shape = shapes[x]
    kinds = ["relu", "scale", "batch norm", "flatten", "dense", "transpose", "clip", "add"]
    if len(shape) == 3:
        kinds += ["conv", "pool", "mean", "concat", "reshape"]
    kind = draw(st.sampled_from(kinds))
    if kind == "conv":
        kernel, pad = draw(st.integers(1, min(shape[1:]))), draw(st.integers(0, 2))
        y = w.conv(x, 3, shape[0], kernel, kernel, pads=[pad] * 4)
        return y, (3, *(size + 2 * pad - kernel + 1 for size in shape[1:]))
    if kind == "pool":
        op_type = draw(st.sampled_from(("MaxPool", "AveragePool")))
        kernel, stride = draw(st.integers(1, min(shape[1:]))), draw(st.integers(1, 3))
        y = w.op(op_type, x, kernel_shape=[kernel] * 2, strides=[stride] * 2)
        return y, (shape[0], *((size - kernel) // stride + 1 for size in shape[1:]))
    if kind == "mean":
        return w.axes("ReduceMean", x, [2, 3], keepdims=0), shape[:1]
    if kind == "concat":
        same = [name for name in sorted(shapes) if shapes[name][1:] == shape[1:]]
        other = draw(st.sampled_from([name for name in same if len(shapes[name]) == 3]))
        return w.op("Concat", x, other, axis=1), (shape[0] + shapes[other][0], *shape[1:])
    if kind == "reshape":
        new = (shape[0] * shape[1], shape[2])
        return w.op("Reshape", x, w.integers(-1, *new)), new
    if kind == "scale":
        factor = w.positive(*(draw(st.sampled_from((1, size))) for size in shape))
        return w.op(draw(st.sampled_from(("Add", "Sub", "Mul", "Div"))), x, factor), shape
    if kind == "batch norm":
        return w.batch_norm(x, shape[0]), shape
    if kind == "flatten":
        return w.op("Flatten", x), (int(np.prod(shape)),)
    if kind == "dense":
        return w.op("MatMul", x, w.draw(shape[-1], 4)), (*shape[:-1], 4)
    if kind == "transpose":
        order = draw(st.permutations(range(len(shape))))
        y = w.op("Transpose", x, perm=[0, *(axis + 1 for axis in order)])
        return y, tuple(shape[axis] for axis in order)
    if kind == "clip" and w.opset >= 11:
        return w.op("Clip", x, w.constant(0.0), w.constant(0.7)), shape
    if kind == "add":
        other = draw(st.sampled_from([name for name in sorted(shapes) if shapes[name] == shape]))
        return w.op("Add", x, other), shape
    return w.op("Relu", x), shape


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(network=networks())
def test_random_network_equals_onnxruntime(network, tmp_path: Path) -> None:
    w, outputs = network
    check(w.save(tmp_path, *outputs))
