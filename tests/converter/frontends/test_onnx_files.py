"""Damaged and hostile ONNX files: one FormatError that names the place, and never anything else."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from spikeport.converter.equality import relative_error
from spikeport.converter.errors import ConversionError, FormatError, UnsupportedOpError
from spikeport.converter.frontends import parse_input_shapes, read
from spikeport.converter.frontends.onnx import external as onnx_external
from spikeport.converter.frontends.onnx import files as onnx_files
from spikeport.converter.frontends.onnx import functions as onnx_functions
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.converter.ir import run

from .onnx_writer import FLOAT, NEWEST, Writer, check, op_names, save

Change = Callable[[onnx.ModelProto], object]


def refuse(path: Path, message: str) -> FormatError:
    with pytest.raises(FormatError, match=r"network\.onnx: " + re.escape(message)) as error:
        read_onnx(path)
    assert "Traceback" not in str(error.value)
    return error.value


def network() -> onnx.ModelProto:
    """x -> MatMul c0 -> Relu."""
    w = Writer()
    return w.model(w.op("Relu", w.op("MatMul", w.input(3), w.draw(3, 2))))


def weights(model: onnx.ModelProto) -> onnx.TensorProto:
    return model.graph.initializer[0]


def set_typed(model: onnx.ModelProto) -> None:
    weights(model).ClearField("raw_data")
    weights(model).float_data.extend([1.0] * 5)


def set_opset(model: onnx.ModelProto, *versions: int) -> None:
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid("", version) for version in versions)


def set_nan(model: onnx.ModelProto) -> None:
    array = np.full((3, 2), np.nan, np.float32)
    weights(model).CopyFrom(numpy_helper.from_array(array, "c0"))


CHANGES: list[tuple[str, Change]] = [
    ("has no nodes, expected a network", lambda m: m.graph.ClearField("node")),
    ("has no outputs, expected at least one", lambda m: m.graph.ClearField("output")),
    ("output 'z': does not exist", lambda m: m.graph.output.add(name="z")),
    ("has the inputs ['x', 'x'], expected each", lambda m: m.graph.input.append(m.graph.input[0])),
    ("has two initializers named 'c0'", lambda m: m.graph.initializer.append(weights(m))),
    ("has sparse initializers", lambda m: m.graph.sparse_initializer.add()),
    ("imports the opsets [], expected one", set_opset),
    ("imports the opsets [13, 17], expected one", lambda m: set_opset(m, 13, 17)),
    (f"has opset 6, expected 7 to {NEWEST}", lambda m: set_opset(m, 6)),
    (f"has opset 999, expected at most {NEWEST}", lambda m: set_opset(m, 999)),
    (
        "relu1 (Relu): takes 'y', which does not exist, expected the result of an earlier node",
        lambda m: m.graph.node[1].input.__setitem__(0, "y"),
    ),
    (
        "matmul0 (MatMul): takes 'relu1a', which is computed later, or from itself, expected",
        lambda m: m.graph.node[0].input.__setitem__(0, "relu1a"),
    ),
    (
        "matmul0 (MatMul): takes 'matmul0a', which is computed later, or from itself",
        lambda m: m.graph.node[0].input.__setitem__(0, "matmul0a"),
    ),
    (
        "relu1 (Relu): gives 'x', which exists already, expected unique names",
        lambda m: m.graph.node[1].output.__setitem__(0, "x"),
    ),
    ("relu1 (Relu): has no result", lambda m: m.graph.node[1].ClearField("output")),
    (
        "defines an operator of ONNX itself, expected functions in a domain of their own",
        lambda m: m.functions.append(helper.make_function("", "Relu", ["a"], ["b"], [], [])),
    ),
    (
        "c0: holds 20 bytes, expected 24 for float32 [3, 2]",
        lambda m: setattr(weights(m), "raw_data", b"\0" * 20),
    ),
    ("c0: holds 5 numbers, expected 6 for float32 [3, 2]", set_typed),
    (
        "c0: is declared with shape [-3, 2], expected",
        lambda m: weights(m).dims.__setitem__(0, -3),
    ),
    (
        "c0: is declared with shape [0, 1152921504606846976], expected",
        lambda m: weights(m).dims.__setitem__(slice(None), [0, 2**60]),
    ),
    ("c0: is declared with shape [3, 2, 1, 1", lambda m: weights(m).dims.extend([1] * 100)),
    (
        "matmul0 (MatMul): a parameter holds NaN or infinity, expected finite float32 numbers",
        set_nan,
    ),
    (
        "matmul0 (MatMul): operand 2 holds int32 numbers, expected float32",
        lambda m: setattr(weights(m), "data_type", onnx.TensorProto.INT32),
    ),
    (
        "matmul0 (MatMul): operand 1 has samples of shape [3], expected 2 last",
        lambda m: weights(m).dims.__setitem__(slice(None), [2, 3]),
    ),
    ("relu1 (Relu): operand 1 is missing", lambda m: m.graph.node[1].ClearField("input")),
    (
        "x (input): shape (2147483649,): more than",
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 2**31 + 1),
    ),
]


@pytest.mark.parametrize(("message", "change"), CHANGES, ids=[text[:40] for text, _ in CHANGES])
def test_damaged_structure(message: str, change: Change, tmp_path: Path) -> None:
    model = network()
    change(model)
    assert refuse(save(model, tmp_path), message).hint


def sized(w: Writer, op_type: str, *operands: str, **attributes) -> str:
    """Something large that is computed from constants and added to the input."""
    return w.op("Add", w.input(3), w.op(op_type, *operands, **attributes))


def twice(w: Writer) -> str:
    y = w.op("Relu", w.input(3))
    w.nodes[0].attribute.extend([helper.make_attribute("a", 1)] * 2)
    return y


def referring(w: Writer) -> str:
    y = w.op("Flatten", w.input(3))
    w.nodes[0].attribute.add(name="axis", type=onnx.AttributeProto.INT, ref_attr_name="axis")
    return y


def conv(w: Writer, **attributes) -> str:
    return w.conv(w.input(3, 8, 8), 4, 3, 3, 3, **attributes)


Build = Callable[[Writer], str]

NODES: list[tuple[str, Build]] = [
    (
        "constantofshape0 (ConstantOfShape): takes constants that do not fit (sizes [-1])",
        lambda w: sized(w, "ConstantOfShape", w.integers(-1)),
    ),
    (
        "expand0 (Expand): takes constants that do not fit",
        lambda w: sized(w, "Expand", w.draw(3), w.integers(2**62, 2**62)),
    ),
    (
        "range0 (Range): takes constants that do not fit (range 0.0 1.0 0.0)",
        lambda w: sized(w, "Range", *(w.constant(v) for v in (0, 1, 0))),
    ),
    (
        "gather0 (Gather): cannot be evaluated",
        lambda w: sized(w, "Gather", w.draw(2, 3), w.integers(7)),
    ),
    (
        "gather0 (Gather): takes constants that do not fit",
        lambda w: sized(w, "Gather", w.draw(2, 3), w.integers(0), axis=5),
    ),
    (
        "div0 (Div): takes constants that do not fit (a division of negative integers or by zero)",
        lambda w: sized(w, "Div", w.integers(3), w.integers(0)),
    ),
    (
        "div0 (Div): takes constants that do not fit (a division",
        lambda w: sized(w, "Div", w.integers(-3), w.integers(2)),
    ),
    (
        "sqrt0 (Sqrt): cannot be evaluated (invalid value",
        lambda w: sized(w, "Sqrt", w.constant([-1.0, 1, 1])),
    ),
    (
        "div0 (Div): takes constants that do not fit (not enough values",
        lambda w: sized(w, "Div", w.integers(3)),
    ),
    ("constant0 (Constant): has no value", lambda w: sized(w, "Constant")),
    (
        "add1 (Add): the constant holds int64 numbers, expected float32",
        lambda w: sized(w, "Constant", value_ints=[1, 2, 3]),
    ),
    ("relu0 (Relu): attribute 'a' is given twice or by reference", twice),
    ("flatten0 (Flatten): attribute 'axis' is given twice or by reference", referring),
    (
        "flatten0 (Flatten): attribute 'axis' is not of the type INT",
        lambda w: w.op("Flatten", w.input(3), axis=1.5),
    ),
    (
        "shape0 (Shape): attribute 'end' is not of the type INT",
        lambda w: w.op("Reshape", w.input(3), w.op("Shape", "x", end=1.5)),
    ),
    (
        "flatten0 (Flatten): axis 7 does not exist in an operand of 2 axes",
        lambda w: w.op("Flatten", w.input(3), axis=7),
    ),
    (
        "gemm0 (Gemm): alpha is inf, expected a finite number",
        lambda w: w.op("Gemm", w.input(3), w.draw(3, 2), alpha=float("inf")),
    ),
    (
        "gemm0 (Gemm): a parameter holds NaN or infinity",
        lambda w: w.op("Gemm", w.input(3), w.constant([[1e30]] * 3), alpha=1e30),
    ),
    (
        "gemm0 (Gemm): B has shape [3], expected two axes",
        lambda w: w.op("Gemm", w.input(3), w.draw(3)),
    ),
    (
        "gemm0 (Gemm): operand 1 has 3 axes, expected 2",
        lambda w: w.op("Gemm", w.input(2, 3), w.draw(3, 2)),
    ),
    (
        "matmul0 (MatMul): operand 2 is missing",
        lambda w: w.op("MatMul", w.input(3)),
    ),
    (
        "clip0 (Clip): max has shape (2,), expected one number",
        lambda w: w.op("Clip", w.input(3), w.constant(0.0), w.draw(2)),
    ),
    (
        "reshape0 (Reshape): shape is float32[2], expected a list of integers",
        lambda w: w.op("Reshape", w.input(3), w.draw(2)),
    ),
    (
        "squeeze0 (Squeeze): axes is float32[1], expected integers",
        lambda w: w.op("Squeeze", w.input(3), w.draw(1)),
    ),
    (
        "squeeze0 (Squeeze): axes [1] of an operand of shape (3,) are not all of size 1",
        lambda w: w.axes("Squeeze", w.input(3), [1]),
    ),
    (
        "unsqueeze0 (Unsqueeze): axes are missing",
        lambda w: w.op("Unsqueeze", w.input(3)),
    ),
    (
        "unsqueeze0 (Unsqueeze): axes [1, 1] name an axis twice",
        lambda w: w.axes("Unsqueeze", w.input(3), [1, 1]),
    ),
    (
        "transpose0 (Transpose): perm [0, 0] does not fit an operand of 2 axes",
        lambda w: w.op("Transpose", w.input(3), perm=[0, 0]),
    ),
    (
        "pad0 (Pad): pads (1, 1) do not fit the axes [0, 1]",
        lambda w: w.op("Pad", w.input(3), w.integers(1, 1)),
    ),
    ("concat0 (Concat): has no operands or no axis", lambda w: w.op("Concat", w.input(3))),
    (
        "concat1 (Concat): operands have shapes (3,) and (3, 1), expected",
        lambda w: w.op("Concat", w.input(3), w.axes("Unsqueeze", "x", [2]), axis=1),
    ),
    (
        "softmax0 (Softmax): axis 2 does not exist in an operand of 2 axes",
        lambda w: w.op("Softmax", w.input(3), axis=2),
    ),
    (
        "reducemean0 (ReduceMean): axes [4] do not exist in an operand of 2 axes",
        lambda w: w.op("ReduceMean", w.input(3), axes=[4]),
    ),
    (
        "globalaveragepool0 (GlobalAveragePool): has an operand of shape [3], expected",
        lambda w: w.op("GlobalAveragePool", w.input(3)),
    ),
    ("maxpool0 (MaxPool): kernel_shape is missing", lambda w: w.op("MaxPool", w.input(3, 4))),
    (
        "maxpool0 (MaxPool): has a kernel of 1 axes for an operand with 2 spatial axes",
        lambda w: w.op("MaxPool", w.input(3, 4, 4), kernel_shape=[2]),
    ),
    (
        "maxpool0 (MaxPool): padding ((2, 0),) makes empty windows",
        lambda w: w.op("MaxPool", w.input(3, 4), kernel_shape=[2], pads=[2, 0]),
    ),
    (
        "conv0 (Conv): kernel_shape is not that of the weight, expected [3, 3]",
        lambda w: conv(w, kernel_shape=[5, 5]),
    ),
    ("conv0 (Conv): pads [1, 1]: expected 4 sizes", lambda w: conv(w, pads=[1, 1])),
    ("conv0 (Conv): auto_pad 'NONE' is unknown", lambda w: conv(w, auto_pad="NONE")),
    ("conv0 (Conv): strides (0, 1), dilation", lambda w: conv(w, strides=[0, 1])),
    ("conv0 (Conv): groups = 3 does not divide the 4", lambda w: conv(w, group=3)),
    ("conv0 (Conv): operand has shape (3, 8, 8)", lambda w: conv(w, group=2)),
    (
        "conv0 (Conv): shape (4294967304, 8): more than",
        lambda w: conv(w, pads=[2**32, 0, 0, 0]),
    ),
    (
        "batchnormalization0 (BatchNormalization): mean has shape (4,), expected (3,)",
        lambda w: w.batch_norm(w.input(3), 4),
    ),
    (
        "reducemean0 (ReduceMean): is no valid ONNX (Unrecognized attribute: axes",
        lambda w: w.op("ReduceMean", w.input(3, 4), axes=[2]),
    ),
]


@pytest.mark.parametrize(("message", "build"), NODES, ids=[text[:50] for text, _ in NODES])
def test_damaged_node(message: str, build: Build, tmp_path: Path) -> None:
    w = Writer(opset=18 if "no valid ONNX" in message else 17)
    assert refuse(w.save(tmp_path, build(w)), message).hint


def test_name_that_is_no_text(tmp_path: Path) -> None:
    content = network().SerializeToString()
    path = tmp_path / "network.onnx"
    path.write_bytes(content.replace(b"matmul0a", b"matmul\xff\xfe"))
    refuse(path, r"has the name b'matmul\xff\xfe', expected text encoded in UTF-8")


@pytest.mark.parametrize("content", [b"", b"\x08", b"not a model at all", b"PK\x03\x04" * 50])
def test_no_model_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    refuse(path, "imports the opsets" if not content else "is no ONNX model or is cut, expected")


def test_cut_anywhere(tmp_path: Path) -> None:
    content = network().SerializeToString()
    path = tmp_path / "network.onnx"
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(FormatError, match=r"network\.onnx: "):
            read_onnx(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"network\.onnx: cannot be read \(No such file"):
        read_onnx(tmp_path / "network.onnx")


def test_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "network.onnx")
    refuse(tmp_path / "network.onnx", "is no regular file, expected a .onnx file")


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(network(), tmp_path)
    monkeypatch.setattr(onnx_functions, "MAX_NODES", 1)
    refuse(path, "has 2 nodes, expected at most 1")
    monkeypatch.setattr(onnx_files, "MAX_BYTES", 10)
    refuse(path, f"has {path.stat().st_size} bytes, expected at most 10")


def external(folder: Path, **entries: str) -> Path:
    """A network whose weights are said to lie in another file."""
    model = network()
    weights(model).ClearField("raw_data")
    weights(model).data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        weights(model).external_data.add(key=key, value=value)
    return save(model, folder)


@pytest.mark.parametrize(
    "location", ["", "/etc/passwd", "../secret", "a/../../secret", "C:\\secret", "..\\secret", "\0"]
)
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(24))
    path = external(folder, location=location)
    refuse(path, f"c0: has external data in {location!r}, expected a file in the model's folder")


def test_external_data_behind_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(24))
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "loop").symlink_to(folder / "loop")
    for location, what in (
        ("link", "which is no regular file in the model's folder, expected one"),
        (".", "which is no regular file in the model's folder"),
        ("loop", "which is missing, expected it in the model's folder"),
        ("other", "which is missing"),
    ):
        refuse(
            external(folder, location=location), f"c0: has external data in {location!r}, {what}"
        )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": "-1"}, "c0: external data with offset '-1', expected a number >= 0"),
        ({"length": "x"}, "c0: external data with length 'x', expected a number >= 0"),
        ({"length": "20"}, "c0: external data of 20 bytes, expected 24 for float32 [3, 2]"),
        ({"offset": "1"}, "c0: data.bin ends after 23 of 24 bytes from 1, expected all of them"),
    ],
)
def test_external_data_that_does_not_fit(
    entries: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(24))
    refuse(external(tmp_path, location="data.bin", **entries), message)


def test_external_data_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(24))
    path = external(tmp_path, location="data.bin")
    model = onnx.load(path, load_external_data=False)
    weights(model).dims[0] = 2**31
    refuse(
        save(model, tmp_path),
        f"c0: the network has {len(path.read_bytes()) + 2**34} bytes with its external data, "
        "expected at most 2147483647",
    )
    weights(model).data_type = onnx.TensorProto.STRING
    refuse(save(model, tmp_path), "c0: external data of data type 8, expected numbers of 1 to 8")


def test_external_data_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(24))
    path = external(tmp_path, location="data.bin")

    def fail(*args: object) -> Path:
        return Path("/proc/self/mem/none")

    monkeypatch.setattr(onnx_external, "_inside", fail)
    refuse(path, "/proc/self/mem/none: cannot be read (")


def test_external_data_of_a_constant(tmp_path: Path) -> None:
    w = Writer()
    tensor = helper.make_tensor("value", FLOAT, [3], [1.0] * 3)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    path = w.save(tmp_path, w.op("Add", w.input(3), w.op("Constant", value=tensor)))
    refuse(path, "constant0 (Constant): has a constant with external data, expected only")


def test_external_data_that_is_one_place_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.bin").write_bytes(bytes(24))
    path = external(tmp_path, location="data.bin")
    model = onnx.load(path, load_external_data=False)
    for number in range(9):
        model.graph.initializer.append(weights(model))
        model.graph.initializer[-1].name = f"again{number}"
    path = save(model, tmp_path)
    size = path.stat().st_size
    monkeypatch.setattr(onnx_external, "MAX_BYTES", size + 239)
    refuse(path, f"again8: the network has {size + 240} bytes with its external data, expected at")
    monkeypatch.setattr(onnx_external, "MAX_BYTES", size + 240)
    assert op_names(read_onnx(path).graph) == ["Input", "Dense", "Relu"]


def large(folder: Path, n: int) -> Path:
    """A network with weights [n, n], a shape and a bias as external data."""
    w = Writer()
    y = w.op("Reshape", w.op("MatMul", w.input(n), w.draw(n, n)), w.integers(-1, n, 1))
    y = w.op("Flatten", w.op("Add", y, w.draw(n, 1)))
    path = folder / "network.onnx"
    onnx.save_model(w.model(y), path, save_as_external_data=True, size_threshold=0)
    return path


def test_network_larger_than_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = large(tmp_path, 40)
    small, graph = path.stat().st_size, check(path)
    monkeypatch.setattr(onnx_external, "MAX_BYTES", 5000)
    monkeypatch.setattr(onnx_external, "MAX_INLINE_BYTES", 1000)
    model = onnx_files.read_model(path)
    assert {name: array.shape for name, array in model.external.items()} == {"c0": (40, 40)}
    assert len(model.content) < small + 1000
    other = check(path)
    for a, b in zip(graph.nodes, other.nodes, strict=True):
        assert a.name == b.name
    np.testing.assert_array_equal(graph.nodes[1].op.weight, other.nodes[1].op.weight)
    assert graph.metadata == other.metadata


def open_network(folder: Path, *sizes: int | str | None) -> Path:
    w = Writer()
    y = w.op("Relu", w.conv(w.input(*sizes, name="image"), 4, 3, 3, 3))
    return w.save(folder, w.gemm(w.op("Flatten", w.op("GlobalAveragePool", y)), 4, 2))


@pytest.mark.parametrize("name", ["", "image"])
def test_input_shapes_close_what_the_file_leaves_open(name: str, tmp_path: Path) -> None:
    path = open_network(tmp_path, 3, "height", None)
    source = read_onnx(path, {name: (3, 6, 7)})
    assert source.graph.types["image"].shape == (3, 6, 7)
    assert source.graph.metadata["source"]["input_shapes"] == {name: [3, 6, 7]}
    x = np.random.default_rng(0).normal(0, 1, (3, 3, 6, 7)).astype(np.float32)
    (expected,), (found,) = source.run((x,)), run(source.graph, (x,))
    assert relative_error(expected, found) < 1e-4
    with pytest.raises(UnsupportedOpError, match=r"\[N, 3, \?, \?\], expected fixed") as error:
        read_onnx(path)
    assert error.value.hint is not None
    assert "say which sizes with --input-shape, such as 3,224,224" in error.value.hint


def test_input_without_a_declared_shape(tmp_path: Path) -> None:
    w = Writer()
    y = w.op("MatMul", w.input(3), w.draw(3, 2))
    model = w.model(y)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert read_onnx(save(model, tmp_path), {"x": (3,)}).graph.types["x"].shape == (3,)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"": (3, 6)}, "image (input): is given the input shape [3, 6], expected one that fits"),
        (
            {"": (4, 6, 6)},
            "image (input): is given the input shape [4, 6, 6], expected one that fi",
        ),
        ({"x": (3, 6, 6)}, "has no input shape for 'x' to fill in, expected image"),
        ({"": (3, 6, 6), "image": (3, 6, 6)}, "has no input shape without a name to fill in"),
    ],
)
def test_input_shapes_that_do_not_fit(
    shapes: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    path = open_network(tmp_path, 3, "height", None)
    with pytest.raises(ConversionError, match=r"network\.onnx: " + re.escape(message)):
        read_onnx(path, shapes)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["3,224,224"], {"": (3, 224, 224)}),
        (["a=3x5", "b=c=7"], {"a": (3, 5), "b=c": (7,)}),
        ([], {}),
    ],
)
def test_input_shapes_as_text(texts: list[str], found: dict[str, tuple[int, ...]]) -> None:
    assert parse_input_shapes(texts) == found


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["3,?"], "--input-shape 3,?: is no list of sizes, expected one such as 3,224,224"),
        (["a="], "--input-shape a=: is no list of sizes"),
        (["3,-1"], "--input-shape 3,-1: is no list of sizes"),
        (["9" * 20], "is no list of sizes"),
        (["a=3", "a=4"], "--input-shape a=4: is given twice, expected once per input"),
    ],
)
def test_texts_that_are_no_input_shapes(texts: list[str], message: str) -> None:
    with pytest.raises(ConversionError, match=re.escape(message)):
        parse_input_shapes(texts)


def test_input_shapes_of_a_keras_model(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"")
    with pytest.raises(
        ConversionError, match=r"are given for a Keras model, expected an \.onnx file"
    ):
        read(tmp_path / "model.keras", {"": (3,)})
