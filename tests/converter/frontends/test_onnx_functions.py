"""Functions that an ONNX file defines: what is read equals onnxruntime, or is refused."""

import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import helper

from spikeport.converter.errors import FormatError
from spikeport.converter.frontends.onnx import functions as onnx_functions
from spikeport.converter.frontends.onnx import read_onnx

from .onnx_writer import Writer, check, op_names, save

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]


def function(
    name: str, inputs: str, outputs: str, *nodes: onnx.NodeProto, attributes: tuple[str, ...] = ()
) -> onnx.FunctionProto:
    return helper.make_function(
        "own", name, inputs.split(), outputs.split(), nodes, OPSETS, attributes
    )


def node(op_type: str, inputs: str, outputs: str, **attributes) -> onnx.NodeProto:
    """Operators of the file itself have lower-case names."""
    domain = "own" if op_type.islower() else ""
    return helper.make_node(op_type, inputs.split(), outputs.split(), domain=domain, **attributes)


def by_reference(proto: onnx.NodeProto, name: str, kind: int, refers: str) -> onnx.NodeProto:
    attribute = proto.attribute.add()
    attribute.name, attribute.type, attribute.ref_attr_name = name, kind, refers
    return proto


def save_with(w: Writer, folder: Path, y: str, *functions: onnx.FunctionProto) -> Path:
    model = w.model(y)
    model.functions.extend(functions)
    model.opset_import.append(helper.make_opsetid("own", 1))
    return save(model, folder)


BLOCK = function(
    "block",
    "x w b",
    "y z",
    node("MatMul", "x w", "product"),
    node("Add", "product b", "sum"),
    node("Relu", "sum", "y"),
    node("Neg", "y", "z"),
)
TWICE = function(
    "twice",
    "x w b",
    "y",
    node("block", "x w b", "inner unused"),
    node("block", "inner w b", "y other"),
)
SCALED = function(
    "scaled",
    "x",
    "y",
    by_reference(node("Constant", "", "factor"), "value_float", 1, "factor"),
    node("Mul", "x factor", "y"),
    attributes=("factor",),
)


def test_calls_are_read_as_their_bodies(tmp_path: Path) -> None:
    w = Writer()
    weight, bias = w.draw(4, 4), w.draw(4)
    y = w.op("twice", w.input(4), weight, bias, domain="own")
    a, b = w.op("block", y, weight, bias, n_outputs=2, domain="own")
    path = save_with(w, tmp_path, w.op("Sub", a, b), BLOCK, TWICE)
    graph = check(path)
    assert op_names(graph).count("Dense") == 3
    assert [n.name for n in graph.nodes] == [
        "x", "twice0/block/sum", "twice0/inner", "twice0/block/sum_2", "twice0a",
        "block1/Add", "block1/Relu", "block1/Neg", "sub2/mirrored", "sub2",
    ]  # fmt: skip


def test_attributes_of_a_call(tmp_path: Path) -> None:
    w = Writer()
    default = function("defaulted", "x", "y", *SCALED.node)
    default.attribute_proto.append(helper.make_attribute("factor", 3.0))
    y = w.op("scaled", w.input(3), factor=-2.0, domain="own")
    y = w.op("defaulted", y, domain="own")
    y = w.op("defaulted", y, factor=0.5, domain="own")
    graph = check(save_with(w, tmp_path, y, SCALED, default))
    assert [float(n.op.scale.item()) for n in graph.nodes[1:]] == [-2, 3, 0.5]


def test_operand_that_is_left_out_and_names_that_exist(tmp_path: Path) -> None:
    clip = function(
        "clip",
        "x low high",
        "y",
        node("Relu", "x", "product"),
        helper.make_node("Clip", ["product", "low", "high"], ["y"]),
    )
    w = Writer()
    y = w.op("Relu", w.input(3))
    w.nodes[-1].output[0] = y = "clip1/product"
    y = w.op("clip", y, "", w.constant(0.8), domain="own")
    y = w.op("clip", y, domain="own")
    check(save_with(w, tmp_path, y, clip))


def test_operand_that_is_a_result(tmp_path: Path) -> None:
    same = function("same", "x", "x y", node("Relu", "x", "y"))
    w = Writer()
    a, b = w.op("same", w.input(3), n_outputs=2, domain="own")
    y = w.op("Add", a, b)
    model = w.model(y)
    model.functions.append(same)
    graph = read_onnx(save(model, tmp_path)).graph
    assert op_names(graph) == ["Input", "Identity", "Relu", "Add"]


def test_what_is_run_has_only_functions_that_are_called(tmp_path: Path) -> None:
    w = Writer()
    y = w.op("scaled", w.input(3), factor=2.0, domain="own")
    broken = function("broken", "x", "y", node("LSTM", "x", "y"))
    check(save_with(w, tmp_path, y, SCALED, broken))


def bomb(n: int) -> list[onnx.FunctionProto]:
    """Each calls the next one twice."""
    first = function("f0", "x", "y", node("Relu", "x", "y"))
    return [first] + [
        function(f"f{i + 1}", "x", "y", node(f"f{i}", "x", "z"), node(f"f{i}", "z", "y"))
        for i in range(n - 1)
    ]


def loop() -> list[onnx.FunctionProto]:
    return [
        function("f0", "x", "y", node("f1", "x", "y")),
        function("f1", "x", "y", node("f0", "x", "y")),
    ]


RELU = node("Relu", "x", "y")
FUNCTIONS: list[tuple[str, Callable[[], list[onnx.FunctionProto]]]] = [
    ("has 1024 nodes, expected at most 1000", lambda: bomb(11)[::-1]),
    ("function own.f0: calls itself, or through more than 32 others, expected fewer", loop),
    (
        "function own.f: calls itself",
        lambda: [function("f", "x", "y", node("f", "x", "y"))],
    ),
    (
        "defines a function twice, expected unique names",
        lambda: [function("f", "x", "y", RELU)] * 2,
    ),
    (
        "call0 (own.f): is a function of opset 11, expected 17 as the file",
        lambda: [
            helper.make_function("own", "f", ["x"], ["y"], [RELU], [helper.make_opsetid("", 11)])
        ],
    ),
    (
        "call0 (own.f): is a function that declares an operand or a result twice, or without",
        lambda: [function("f", "x", "y y", RELU)],
    ),
    (
        "call0 (own.f): calls a function of 0 operands and 1 results with 1 and 1, expected",
        lambda: [function("f", "", "y", RELU)],
    ),
    (
        "call0 (own.f): gives the function 'alpha', expected what it declares",
        lambda: [function("f", "x", "y", RELU, attributes=("beta",))],
    ),
    (
        "call0/Relu (Relu): takes 'call0/other', which does not exist, expected",
        lambda: [function("f", "x", "y", node("Relu", "other", "y"))],
    ),
    (
        "call (Relu): gives 'call', which exists already, expected unique names",
        lambda: [function("f", "x", "y", RELU, RELU)],
    ),
]


@pytest.mark.parametrize(("message", "functions"), FUNCTIONS)
def test_damaged_function(
    message: str,
    functions: Callable[[], list[onnx.FunctionProto]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onnx_functions, "MAX_NODES", 1000)
    defined = functions()
    w = Writer()
    w.input(3)
    call = helper.make_node(defined[0].name, ["x"], ["call"], name="call0", domain="own")
    if "'alpha'" in message:
        call.attribute.append(helper.make_attribute("alpha", 1.0))
    w.nodes.append(call)
    with pytest.raises(FormatError, match=r"network\.onnx: " + re.escape(message)):
        read_onnx(save_with(w, tmp_path, "call", *defined))


def test_chain_of_functions_that_is_too_deep(tmp_path: Path) -> None:
    chain = [function("f0", "x", "y", RELU)] + [
        function(f"f{i + 1}", "x", "y", node(f"f{i}", "x", "y")) for i in range(4999)
    ]
    w = Writer()
    y = w.op("f4999", w.input(3), domain="own")
    with pytest.raises(FormatError, match="calls itself, or through more than 32 others"):
        read_onnx(save_with(w, tmp_path, y, *chain))


def test_constant_with_external_data_in_a_function(tmp_path: Path) -> None:
    tensor = helper.make_tensor("value", 1, [3], [1.0] * 3)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    body = (node("Constant", "", "c", value=tensor), node("Add", "x c", "y"))
    w = Writer()
    y = w.op("f", w.input(3), domain="own")
    with pytest.raises(FormatError, match=r"\(Constant\): has a constant with external data"):
        read_onnx(save_with(w, tmp_path, y, function("f", "x", "y", *body)))
