"""The `.snn` file as a standard: its schema, a reader without spikeport, the specification page."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from spikeport.converter.exports import container
from spikeport.converter.exports.schema import SCHEMA_PATH, parameters, schema_text, tensors
from spikeport.converter.exports.snn import FORMAT_VERSION, encode_graph, read_snn
from spikeport.converter.ir import OPS

from .examples import EXAMPLES

DOCS = Path(__file__).parents[3] / "docs"
READER = DOCS / "read_snn.py"
PAGE = (DOCS / "format.md").read_text("utf-8")
DATA = Path(__file__).parents[2] / "data"
GOLDEN = DATA / "golden_v1.snn"
REBUILD = (
    "write it again: python -m spikeport.converter.exports.schema > "
    "converter/exports/snn.schema.json"
)


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA_PATH.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def reader():
    spec = importlib.util.spec_from_file_location("read_snn", READER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document_of(op: str) -> dict:
    return container.open_document(encode_graph(EXAMPLES[op]())).document


def test_schema_is_that_of_the_ops():
    assert SCHEMA_PATH.read_text("utf-8") == schema_text(), REBUILD


@pytest.mark.parametrize("op", OPS)
def test_files_of_every_op_are_valid(op, validator):
    document = document_of(op)
    assert op in {node["op"] for node in document["nodes"]}
    validator.validate(document)


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_golden_files_of_every_version_are_valid_and_read(version, validator, reader):
    path = DATA / f"golden_v{version}.snn"
    document = container.open_document(path.read_bytes()).document
    assert document["version"] == version
    validator.validate(document)
    _, nodes = reader.read_snn(path)
    for (_, arrays), node in zip(nodes, read_snn(path).nodes, strict=True):
        for field, array in arrays.items():
            expected = node.unit if field == "unit" else getattr(node.op, field)
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("op", OPS)
def test_every_field_of_every_op_is_looked_at(op, validator):
    """Without a parameter, with one more, with one of another type, with too many operands."""
    document = document_of(op)
    place = next(i for i, node in enumerate(document["nodes"]) if node["op"] == op)

    def refuse(change) -> None:
        changed = copy.deepcopy(document)
        change(changed["nodes"][place])
        assert not validator.is_valid(changed)

    refuse(lambda node: node["parameters"].update(more=1))
    for name in parameters(op):
        refuse(lambda node, name=name: node["parameters"].pop(name))
        refuse(lambda node, name=name: node["parameters"].update({name: {}}))
    n = OPS[op].n_inputs
    refuse(lambda node: node.update(inputs=["a"] * (n + 1) if n is not None else []))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("sha256"),
        lambda d: d.update(more=1),
        lambda d: d.update(version=FORMAT_VERSION + 1),
        lambda d: d.update(version=1, tensors=[["0.weight.signs", [1, 2], "U8"]]),
        lambda d: d.update(tensors=[["0.weight.signs", [1, 2]]]),
        lambda d: d.update(tensors=[["0.weight", [1, 2], "U8"]]),
        lambda d: d.update(tensors=[["0.weight.signs", [1, 2], "I8"]]),
        lambda d: d.update(format="other"),
        lambda d: d.update(outputs=[]),
        lambda d: d["sha256"].update(data="0"),
        lambda d: d["tensors"][0].append(1),
        lambda d: d["tensors"].append(["0.nothing", [1]]),
        lambda d: d["tensors"].append(["0.weight", [0]]),
        lambda d: d["nodes"][0].update(name=""),
        lambda d: d["nodes"][0].update(op="Nothing"),
        lambda d: d["nodes"][0].pop("source"),
    ],
)
def test_what_the_schema_refuses(change, validator):
    document = document_of("Dense")
    validator.validate(document)
    change(document)
    assert not validator.is_valid(document)


def test_reader_needs_nothing_but_numpy():
    text = READER.read_text("utf-8")
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported == {"hashlib", "json", "struct", "sys", "numpy"}
    assert len(text.splitlines()) <= 90


@pytest.mark.parametrize("op", OPS)
def test_reader_finds_what_was_written(op, reader, tmp_path):
    graph = EXAMPLES[op]()
    path = tmp_path / "graph.snn"
    path.write_bytes(encode_graph(graph))
    document, nodes = reader.read_snn(path)
    assert document["outputs"] == list(graph.outputs)
    assert document["metadata"] == dict(graph.metadata)
    for (found, arrays), node in zip(nodes, graph.nodes, strict=True):
        assert (found["name"], found["op"]) == (node.name, type(node.op).__name__)
        assert found["inputs"] == list(node.inputs)
        assert found["parameters"].keys() == parameters(found["op"]).keys()
        for field in tensors(found["op"]):
            expected = getattr(node.op, field)
            if expected is None:
                assert field not in arrays
            else:
                np.testing.assert_array_equal(arrays[field], expected)


def test_reader_reads_the_golden_file_and_prints_it(golden_graph):
    done = subprocess.run(
        [sys.executable, str(READER), str(GOLDEN)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(golden_graph.nodes) + 1
    assert lines[0] == "x Input {'shape': [4, 4, 2]} {}"
    assert lines[-1] == "inputs x outputs softmax sigmoid again"


def test_reader_finds_every_changed_bit(reader, small_file, tmp_path):
    path = tmp_path / "changed.snn"
    path.write_bytes(small_file)
    reader.read_snn(path)
    for place in range(len(small_file)):
        changed = bytearray(small_file)
        changed[place] ^= 1 << (place % 8)
        path.write_bytes(changed)
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            reader.read_snn(path)
    for size in (0, 7, 8, 100, len(small_file) - 1):
        path.write_bytes(small_file[:size])
        with pytest.raises(ValueError):  # noqa: PT011
            reader.read_snn(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version=3), "version 3, expected 1 or 2"),
        (lambda d: d.update(format="a"), "not a spiking graph"),
        (lambda d: d["nodes"][1].update(inputs=["d"]), "d: an operand comes later"),
        (lambda d: d["nodes"][1].update(name="x"), "x: the name is used twice"),
        (lambda d: d.update(outputs=["y"]), "unknown inputs or outputs"),
    ],
)
def test_reader_refuses_files_with_the_right_hashes(
    change, message, reader, small_file, forge, tmp_path
):
    path = tmp_path / "forged.snn"
    path.write_bytes(forge(small_file, change))
    with pytest.raises(ValueError, match=message):
        reader.read_snn(path)


def test_page_has_every_field_of_every_op():
    table = PAGE.split("| op | operands | parameters | tensors | meaning |")[1].split("\n\n")[0]
    rows = {}
    for line in table.splitlines()[2:]:
        op, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[op.strip("`")] = tuple(cells)
    for op in OPS:
        n = OPS[op].n_inputs
        expected = (
            "1 or more" if n is None else str(n),
            ", ".join(f"`{name}`" for name in parameters(op)),
            ", ".join(f"`{name}`{'?' if may else ''}" for name, may in tensors(op).items()),
        )
        assert rows.get(op, ())[:3] == expected, (
            f"docs/format.md, Operations: expected | `{op}` | {' | '.join(expected)} | meaning |"
        )
        assert rows[op][3]
    assert rows.keys() == OPS.keys()


def test_page_has_every_key_of_the_schema():
    schema = json.loads(SCHEMA_PATH.read_text("utf-8"))
    for key in (*schema["properties"], *schema["$defs"]["node"]["properties"]):
        assert f"`{key}`" in PAGE
