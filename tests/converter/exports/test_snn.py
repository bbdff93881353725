"""Writing and reading back; every rule of docs/format.md that a file with right hashes breaks."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from spikeport.converter.errors import FormatError
from spikeport.converter.exports import snn
from spikeport.converter.exports.container import DAMAGED
from spikeport.converter.exports.snn import (
    FORMAT_VERSION,
    decode_graph,
    encode_graph,
    read_snn,
    write_snn,
)
from spikeport.converter.files import sha256_of
from spikeport.converter.ir import OPS, Graph, Node
from spikeport.converter.ir.ops import Dense, Identity, Input, Scale, Softmax
from spikeport.converter.passes import PASSES

GOLDEN = Path(__file__).parents[2] / "data" / "golden_v1.snn"
JSON_ONLY = "metadata holds JSON values only: text, finite numbers, lists, dicts by text"


def assert_same_array(first, second) -> None:
    assert first.dtype == second.dtype == np.float32
    assert first.shape == second.shape
    assert first.tobytes() == second.tobytes()


def assert_same_graph(first: Graph, second: Graph) -> None:
    """Equal in every field, arrays bit for bit."""
    assert (first.inputs, first.outputs) == (second.inputs, second.outputs)
    assert first.metadata == second.metadata
    assert first.types == second.types
    for a, b in zip(first.nodes, second.nodes, strict=True):
        assert (a.name, a.inputs, a.source, type(a.op)) == (b.name, b.inputs, b.source, type(b.op))
        for field in dataclasses.fields(a.op):
            x, y = getattr(a.op, field.name), getattr(b.op, field.name)
            assert type(x) is type(y)
            if isinstance(x, np.ndarray):
                assert_same_array(x, y)
            else:
                assert x == y
        assert (a.unit is None) == (b.unit is None)
        if a.unit is not None:
            assert_same_array(a.unit, b.unit)


def test_sample_graphs_come_back_equal(sample_graph, tmp_path):
    path = tmp_path / "graph.snn"
    digest = write_snn(sample_graph, path)
    assert digest == sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    again = read_snn(path)
    assert_same_graph(sample_graph, again)
    assert write_snn(again, path) == digest


def test_spiking_graphs_come_back_equal(sample_graph):
    random = np.random.default_rng(1)
    inputs = tuple(
        random.uniform(0, 1, (5, *sample_graph.types[name].shape)).astype(np.float32)
        for name in sample_graph.inputs
    )
    graph = sample_graph
    for pass_ in PASSES.values():
        if pass_.name in {"use_trained_thresholds", "delay_readout"}:
            continue  # for networks trained under constraints; for those without a schedule
        supplied = {"calibration": inputs, "n_steps": 8}
        graph = pass_(graph, **{key: supplied[key] for key in pass_.needs})
    assert_same_graph(graph, decode_graph(encode_graph(graph)))


def test_golden_file(golden_graph):
    """Files of version 1 are read forever."""
    assert {type(node.op).__name__ for node in golden_graph.nodes} <= OPS.keys()
    assert_same_graph(read_snn(GOLDEN), golden_graph)


def test_golden_file_with_bits(golden_bits):
    """Files of version 2 are read forever; while it is the newest, they are written so, too."""
    path = GOLDEN.with_name("golden_v2.snn")
    assert_same_graph(read_snn(path), golden_bits)
    assert FORMAT_VERSION > 2 or encode_graph(golden_bits) == path.read_bytes()


def test_a_safetensors_file_for_other_readers(golden_graph):
    data = encode_graph(golden_graph)
    tensors = safetensors.numpy.load(data)
    index = [node.name for node in golden_graph.nodes].index("dense")
    assert_same_array(tensors[f"{index}.weight"], golden_graph.by_name["dense"].op.weight)
    assert_same_array(tensors["4.unit"], golden_graph.by_name["conv"].unit)
    n_header = int.from_bytes(data[:8], "little")
    assert n_header % 8 == 0
    header = json.loads(data[8 : 8 + n_header])
    assert list(header["__metadata__"]) == ["spikeport"]
    document = json.loads(header["__metadata__"]["spikeport"])
    n_data = len(data) - 8 - n_header
    assert hashlib.sha256(data[-n_data:]).hexdigest() == document["sha256"]["data"]


def test_values_at_the_edges_of_float32():
    info = np.finfo(np.float32)
    edges = [0.0, -0.0, info.max, -info.max, info.tiny, info.smallest_subnormal, 1 / 3]
    graph = Graph(
        (
            Node("x", Input((7,))),
            Node("s", Scale(np.array(edges), np.array(edges[::-1])), ("x",)),
        ),
        ("x",),
        ("s",),
    )
    assert_same_graph(graph, decode_graph(encode_graph(graph)))


def test_transposed_arrays_scalars_and_graphs_without_tensors():
    weight = np.arange(6, dtype=np.float32).reshape(2, 3).T
    graph = Graph(
        (
            Node("x", Input((2,))),
            Node("d", Dense(weight, np.zeros(3)), ("x",)),
            Node("s", Input(())),
            Node("t", Scale(np.array(2.0), np.array(1.0)), ("s",), unit=np.array(3.0)),
        ),
        ("s", "x"),
        ("t", "d", "t"),
    )
    again = decode_graph(encode_graph(graph))
    assert_same_graph(graph, again)
    np.testing.assert_array_equal(again.by_name["d"].op.weight, weight)
    empty = Graph((Node("x", Input((2,))),), ("x",), ("x",))
    assert_same_graph(empty, decode_graph(encode_graph(empty)))


def test_strange_names_and_metadata():
    names = ["a\nb", "日本語", 'q"\\', "0.weight", "\x7f\u2028", "__metadata__"]
    nodes = [Node("x", Input((2,)), source="\t")]
    nodes += [Node(name, Identity(), ("x",), source=name) for name in names]
    metadata = {"": {"\n": "\x00"}, "list": [[]]}
    graph = Graph(tuple(nodes), ("x",), tuple(names), metadata)
    assert_same_graph(graph, decode_graph(encode_graph(graph)))


def test_tuples_of_metadata_come_back_as_lists():
    graph = Graph((Node("x", Input((2,))),), ("x",), ("x",), {"range": (0, 1)})
    assert decode_graph(encode_graph(graph)).metadata == {"range": [0, 1]}


def test_parameters_are_read_only_copies(golden_graph):
    weight = decode_graph(encode_graph(golden_graph)).by_name["dense"].op.weight
    assert weight.base is None
    with pytest.raises(ValueError, match="read-only"):
        weight[0, 0] = 1


def test_digest_is_that_of_the_file(tmp_path):
    graph = Graph((Node("x", Input((2,))),), ("x",), ("x",))
    path = tmp_path / "graph.snn"
    assert snn.write_snn(graph, path) == sha256_of(path)


@pytest.mark.parametrize(
    ("graph", "message", "hint"),
    [
        (
            Graph((Node("x", Input((2,))),), ("x",), ("x",), {"n": float("nan")}),
            r"out\.snn: the graph's names or metadata cannot be written: JSON: holds NaN",
            JSON_ONLY,
        ),
        (
            Graph((Node("x", Input((2,))),), ("x",), ("x",), {"n": np.float32(1)}),
            r"out\.snn: the graph's names or metadata.*: JSON: holds a float32",
            JSON_ONLY,
        ),
        (
            Graph((Node("x" * 4097, Input((2,))),), ("x" * 4097,), ("x" * 4097,)),
            r"out\.snn: node 0: holds a name of 4097 characters, expected at most 4096",
            "shorten the layers' names",
        ),
        (
            Graph((Node("x", Input((2,)), source="\ud800"),), ("x",), ("x",)),
            r"out\.snn: the graph's names or metadata.*: JSON: holds text that is no",
            JSON_ONLY,
        ),
        (
            Graph((Node("x", Input((2,))),), ("x",), ("x",), {"text": "a" * 2**23}),
            r"out\.snn: the graph without its weights has \d+ bytes as JSON, expected at most 8388",
            "shorten the names and the metadata",
        ),
        (
            Graph((Node("x", Input((2,)), source=3),), ("x",), ("x",)),
            r"out\.snn: node 0: source is a int, expected a str",
            DAMAGED,
        ),
        (
            Graph((Node("x", Input((2,))), Node("s", Softmax(0.0), ("x",))), ("x",), ("s",)),
            r"out\.snn: s \(Softmax\): axis: is 0\.0 \(float\), expected int",
            "build the operation with the types that its fields declare",
        ),
    ],
)
def test_what_no_file_can_hold_is_not_written(graph, message, hint, tmp_path):
    with pytest.raises(FormatError, match=message) as caught:
        write_snn(graph, tmp_path / "out.snn")
    assert caught.value.hint == hint
    assert not list(tmp_path.iterdir())


def test_a_foreign_op_is_not_written(tmp_path):
    class Strange(Identity):
        pass

    graph = Graph((Node("x", Input((2,))), Node("s", Strange(), ("x",))), ("x",), ("s",))
    with pytest.raises(FormatError, match=r"out\.snn: s \(Strange\): is not in the table OPS"):
        write_snn(graph, tmp_path / "out.snn")


def test_a_folder_that_is_missing(tmp_path, golden_graph):
    with pytest.raises(FormatError, match=r"the folder .*/no does not exist"):
        write_snn(golden_graph, tmp_path / "no" / "out.snn")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FormatError, match=r"no\.snn: no such file"):
        read_snn(tmp_path / "no.snn")
    with pytest.raises(FormatError, match=r": is a folder, expected a file"):
        read_snn(tmp_path)


def test_a_graph_above_the_memory(tmp_path, golden_graph, monkeypatch):
    def fail(data):
        raise MemoryError

    path = tmp_path / "a.snn"
    write_snn(golden_graph, path)
    monkeypatch.setattr(snn, "decode_graph", fail)
    with pytest.raises(FormatError, match=r"a\.snn: its graph does not fit into memory") as caught:
        read_snn(path)
    assert "more memory" in caught.value.hint


def put(*path_and_value):
    """Return a change of a document that sets one value deep inside."""
    *path, key, value = path_and_value

    def change(document):
        for step in path:
            document = document[step]
        document[key] = value

    return change


def drop(*path):
    def change(document):
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


DENSE = ("nodes", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", "other"), r"graph: has the format 'other', expected 'spikeport-graph'"),
        (drop("format"), r"graph: has the format None, expected 'spikeport-graph'"),
        (put("version", 0), r"graph: has the version 0, expected an integer from 1 to 2"),
        (put("version", True), r"graph: has the version True, expected an integer"),
        (put("version", "1"), r"graph: has the version '1', expected an integer"),
        (drop("version"), r"graph: has the version None, expected an integer"),
        (put("extra", 1), r"graph: has \['extra', 'format', .*\], expected \['format', 'inputs'"),
        (drop("nodes"), r"graph: has \['format', 'inputs', 'metadata', 'outputs'.*, expected"),
        (put("nodes", {}), r"graph: nodes is a dict, expected a list"),
        (put("inputs", "x"), r"graph: inputs is a str, expected a list"),
        (put("metadata", []), r"graph: metadata is a list, expected a dict"),
        (put("inputs", [0]), r"graph: inputs: holds a int, expected names"),
        (put("outputs", [None]), r"graph: outputs: holds a NoneType, expected names"),
        (put("outputs", []), r"graph: has no output, expected at least one"),
        (put("outputs", ["y"]), r"output y: no node has this name"),
        (put("inputs", []), r"inputs \[\]: expected each Input node once: \['x'\]"),
        (put("nodes", 1, []), r"node 1: has list, expected \['inputs', 'name', 'op', 'param"),
        (put(*DENSE, "extra", 1), r"node 1: has \['extra', 'inputs', .*\], expected \['inputs'"),
        (drop(*DENSE, "source"), r"node 1: has \['inputs', 'name', 'op', 'parameters'\], expected"),
        (put(*DENSE, "name", 7), r"node 1: name is a int, expected a str"),
        (put(*DENSE, "name", ""), r" \(Dense\): has no name"),
        (put(*DENSE, "name", "x"), r"x \(Dense\): the name is used twice"),
        (put(*DENSE, "name", "d" * 5000), r"node 1: holds a name of 5000 characters, expected"),
        (put(*DENSE, "source", "d" * 5000), r"d \(Dense\): source: holds a name of 5000 charact"),
        (put(*DENSE, "inputs", [3]), r"d \(Dense\): inputs: holds a int, expected names"),
        (put(*DENSE, "inputs", ["d"]), r"d \(Dense\): operand 'd' is not the result of an earlie"),
        (put(*DENSE, "inputs", []), r"d \(Dense\): has 0 operands, expected 1"),
        (put(*DENSE, "op", "Lambda"), r"d \(Lambda\): operation 'Lambda' is unknown, expected one"),
        (put(*DENSE, "op", "Op"), r"d \(Op\): operation 'Op' is unknown"),
        (put(*DENSE, "op", "Relu"), r"d \(Relu\): has the tensors \['bias', 'weight'\], expected"),
        (put(*DENSE, "parameters", {"a": 1}), r"d \(Dense\): has the parameters \['a'\], expected"),
        (put("nodes", 0, "parameters", "shape", [4]), r"d \(Dense\): operand has shape \(4,\), e"),
        (put("nodes", 0, "parameters", "shape", [0]), r"x \(Input\): shape \(0,\): has a size"),
        (put("nodes", 0, "parameters", "shape", [2**62]), r"x \(Input\): shape .* more than"),
        (put("nodes", 0, "parameters", "shape", [1] * 20), r"x \(Input\): shape: has 20 axes"),
        (put("nodes", 0, "parameters", "shape", [True]), r"x \(Input\): shape: is True \(bool\)"),
        (put("nodes", [{}] * 50_001), r"graph: has 50001 nodes, expected at most 50000"),
    ],
)
def test_documents_that_break_a_rule(small_file, forge, tmp_path, change, message):
    path = tmp_path / "forged.snn"
    path.write_bytes(forge(small_file, change))
    with pytest.raises(FormatError, match=rf"forged\.snn: {message}") as caught:
        read_snn(path)
    assert caught.value.hint
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("1.weight", np.ones((2, 4))), r"d \(Dense\): operand has shape \(3,\), expected \(4,"),
        (put("1.weight", np.full((2, 3), np.nan)), r"d \(Dense\): a parameter holds NaN or infin"),
        (put("1.unit", np.full(1, np.inf)), r"d \(Dense\): a parameter holds NaN or infinity"),
        (put("1.unit", np.ones(5)), r"d \(Dense\): scale has shape \(5,\), expected one that"),
        (drop("1.bias"), r"d \(Dense\): has the tensors \['weight'\], expected \['bias', 'weight'"),
        (put("1.scale", np.ones(1)), r"d \(Dense\): has the tensors \['bias', 'scale', 'weight'\]"),
        (put("2.weight", np.ones(1)), r"tensor '2\.weight': belongs to no node, expected a number"),
        (put("01.bias", np.ones(1)), r"tensor '01\.bias': belongs to no node, expected a number"),
        (put("-1.bias", np.ones(1)), r"tensor '-1\.bias': belongs to no node"),
        (put("weight", np.ones(1)), r"tensor 'weight': belongs to no node, expected a number bel"),
    ],
)
def test_tensors_that_break_a_rule(small_file, forge, change, message):
    with pytest.raises(FormatError, match=message):
        decode_graph(forge(small_file, change_arrays=change))


def test_newer_versions_are_refused_with_both_numbers(small_file, forge):
    with pytest.raises(FormatError, match=r"has version 7 of the format, expected at most 2") as e:
        decode_graph(forge(small_file, put("version", 7)))
    assert e.value.hint == "upgrade spikeport: pip install --upgrade spikeport"


def test_newer_versions_may_have_another_document(small_file, forge):
    """What a newer version changed is not what the user has to hear about."""

    def change(document):
        document.clear()
        document.update(format="spikeport-graph", version=3, layers=[])

    with pytest.raises(FormatError, match=r"has version 3 of the format"):
        decode_graph(forge(small_file, change))


def test_older_versions_go_through_every_upgrade(small_file, forge, monkeypatch):
    def first(document):
        assert document.pop("version") == 1
        return {**document, "version": 2, "metadata": {"steps": [1]}}

    def second(document):
        assert document.pop("version") == 2
        document["metadata"]["steps"].append(2)
        return {**document, "version": 3}

    monkeypatch.setattr(snn, "FORMAT_VERSION", 3)
    monkeypatch.setattr(snn, "UPGRADES", {1: first, 2: second})
    oldest = forge(small_file, put("version", 1))
    assert decode_graph(oldest).metadata == {"steps": [1, 2]}
    newest = forge(small_file, put("version", 3))
    assert decode_graph(newest).metadata == {"n_steps": 64}


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("b"), ValueError("c"), IndexError("d")])
def test_documents_that_cannot_be_upgraded(small_file, forge, monkeypatch, error):
    def fail(document):
        raise error

    monkeypatch.setattr(snn, "FORMAT_VERSION", 2)
    monkeypatch.setattr(snn, "UPGRADES", {1: fail})
    oldest = forge(small_file, put("version", 1))
    with pytest.raises(FormatError, match=r"graph: cannot be upgraded from version 1 \(\w+Error:"):
        decode_graph(oldest)


def test_files_of_version_1_have_no_bits(golden_bits, forge):
    with pytest.raises(FormatError, match=r"upgraded from version 1 \(ValueError: it lists bits"):
        decode_graph(forge(encode_graph(golden_bits), put("version", 1)))


def test_every_older_version_has_its_upgrade():
    assert list(snn.UPGRADES) == list(range(1, FORMAT_VERSION))
    for version in range(1, FORMAT_VERSION + 1):
        assert GOLDEN.with_name(f"golden_v{version}.snn").is_file()


def test_messages_are_short_and_printable(small_file, forge, tmp_path):
    path = tmp_path / "forged.snn"
    path.write_bytes(forge(small_file, put("nodes", 1, "op", "\x1b[31m\n\u202e" + "z" * 10_000)))
    with pytest.raises(FormatError, match=r"forged\.snn: d \(\\x1b\[31m\\n\\u202ezz") as caught:
        read_snn(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + len(str(path))
