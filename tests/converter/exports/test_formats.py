"""Every op x every format: a round trip, or a refusal with its reason; there is no third case."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.commands.exchange import FORMAT_HELP
from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.exports import FORMATS, export
from spikeport.converter.exports.c import TRANSLATED as IN_C
from spikeport.converter.exports.keras import SPIKING_TOO as IN_KERAS
from spikeport.converter.exports.nir import TRANSLATED as IN_NIR
from spikeport.converter.exports.onnx import TRANSLATED as IN_ONNX
from spikeport.converter.exports.refusals import REFUSED
from spikeport.converter.exports.snn import write_snn
from spikeport.converter.exports.translation import KNOWN_FIELDS
from spikeport.converter.ir import OPS, Graph, Reset, SumPool
from spikeport.converter.ir.ops import Scale, Transpose

from .examples import EXAMPLES, Chain, conv
from .round_trips import ROUND_TRIPS

TRANSLATED = {
    "snn": frozenset(OPS),
    "onnx": IN_ONNX,
    "onnx-step": IN_ONNX,
    "c": IN_C,
    "nir": IN_NIR,
    "keras": IN_KERAS,
}
"""By format: the ops that it can say, at least in some graphs."""
WRITERS = {
    "onnx": "OPERATORS in onnx/operators.py or STATEFUL in onnx/stateful.py",
    "onnx-step": "OPERATORS in onnx/operators.py or STATEFUL in onnx/stateful.py",
    "c": "EMITTERS in c/layers.py or NEURONS in c/neurons.py",
    "nir": "WRITERS in nir/writer.py",
    "keras": "FUNCTIONS in keras/functions.py, WINDOWS in keras/windows.py or keras/rates.py",
}
"""By format: where a translation goes, below converter/exports."""
LABELS = {"onnx": "ONNX", "onnx-step": "ONNX", "c": "C", "nir": "NIR", "keras": "Keras"}


def _zero(start: Chain) -> Graph:
    return start.fire("second", Reset.ZERO).finish()


def _start(shape: tuple[int, ...] = (2, 6, 6)) -> Chain:
    return Chain(shape).add("conv", conv(4, 2, (3, 3))).fire("first", Reset.ZERO)


GAINS = np.array([32, 96, 40, 16.0]).reshape(4, 1, 1)
IN_ITS_OWN_GRAPH: dict[tuple[str, str], Callable[[], Graph]] = {
    ("nir", "Conv"): lambda: _zero(
        _start().add("op", conv(4, 4, (3, 3), strides=(2, 2), padding=((1, 2), (0, 1))))
    ),
    ("nir", "Scale"): lambda: _zero(
        _start().add(
            "op", Scale(np.array([32, 96, 40, 16.0]).reshape(4, 1, 1), np.zeros((1, 1, 1)))
        )
    ),
    ("nir", "SumPool"): lambda: _zero(
        _start().add("op", SumPool((2, 3), (2, 1), ((0, 0), (1, 1)))).add("c", conv(4, 4, (1, 1)))
    ),
    ("nir", "Transpose"): lambda: _start().add("op", Transpose((1, 2, 0))).finish(),
}
"""Ops that a format says in these graphs, but not in the example: why is tested with the format."""


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_op_comes_out_right_or_is_refused_with_its_reason(name, op, tmp_path):
    """There is no third case."""
    if op not in EXAMPLES:
        pytest.fail(f"{op}: add a small graph that has it to EXAMPLES, in examples.py")
    refused = REFUSED.get(LABELS.get(name, ""), {})
    if (op in TRANSLATED[name]) == (op in refused):
        pytest.fail(
            f"{op} is neither written as {name} nor refused, or both: translate it ("
            f"{WRITERS.get(name)}), and list its fields in KNOWN_FIELDS, translation.py; or say in "
            f"REFUSED, converter/exports/refusals.py, why {LABELS.get(name)} cannot say it"
        )
    graph = IN_ITS_OWN_GRAPH.get((name, op), EXAMPLES[op])()
    assert any(type(node.op).__name__ == op for node in graph.nodes)
    if op in TRANSLATED[name]:
        ROUND_TRIPS[name](graph, tmp_path)
        return
    with pytest.raises(UnsupportedOpError, match=f"{op} has no translation to") as error:
        export(graph, name, tmp_path / f"out{FORMATS[name].suffix}", lossy=True)
    (reason, *_) = (line for line in error.value.reasons if f"({op})" in line)
    assert reason.endswith(f"{op} has no translation to {LABELS[name]}: {refused[op]}")
    assert not list(tmp_path.iterdir())


def test_fields_that_writers_know_are_those_of_the_ops():
    """A field that an op has got since is refused: see KNOWN_FIELDS, translation.py."""
    for op, fields in KNOWN_FIELDS.items():
        assert fields == {field.name for field in dataclasses.fields(OPS[op])}, op
    assert KNOWN_FIELDS.keys() == OPS.keys()


def test_unknown_formats_suffixes_and_folders(tmp_path):
    graph = EXAMPLES["Dense"]()
    with pytest.raises(FormatError, match="format 'onx': does not exist, expected one of") as error:
        export(graph, "onx", tmp_path / "a.onnx")
    assert "did you mean onnx?" in error.value.hint
    with pytest.raises(FormatError, match=r"a\.txt: has the suffix '.txt', expected '.onnx'"):
        export(graph, "onnx", tmp_path / "a.txt")
    with pytest.raises(FormatError, match=r"the folder .*missing does not exist"):
        export(graph, "onnx", tmp_path / "missing" / "a.onnx")


def test_command_line(tmp_path):
    source, target = tmp_path / "net.snn", tmp_path / "net.onnx"
    write_snn(EXAMPLES["Conv"](), source)
    result = CliRunner().invoke(main, ["export", str(source), "--to", "onnx", "-o", str(target)])
    assert result.exit_code == 0, result.output
    assert f"{target}: {target.stat().st_size:,} bytes" in result.output
    assert "note: inputs x and n_steps (int64)" in result.output
    for name in FORMATS:
        assert name in FORMAT_HELP


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.snn", "--to", "onnx", "-o", "a.onnx"], "no.snn: no such file"),
        (["net.snn", "--to", "onnx", "-o", "a.snn"], "a.snn: has the suffix '.snn', expected"),
        (["net.snn", "--to", "tflite", "-o", "a.snn"], "format 'tflite': does not exist"),
        (["net.snn", "--to", "snn", "-o", "net.snn"], "is the file to read, expected another name"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_snn(EXAMPLES["Conv"](), tmp_path / "net.snn")
    before = (tmp_path / "net.snn").read_bytes()
    result = CliRunner().invoke(main, ["export", *arguments])
    assert result.exit_code == 1
    first = result.output.splitlines()[0]
    assert first.startswith("Error: ")
    assert message in first
    assert "Traceback" not in result.output
    assert (tmp_path / "net.snn").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["net.snn"]


def test_a_reason_of_several_nodes_is_one_line():
    from spikeport.converter.exports.translation import refuse

    reasons = ("a (Pulse): none", "b (Relu): none", "c (Pulse): none", "graph: x", "graph: y")
    with pytest.raises(UnsupportedOpError, match="written as C, there are 4 reasons") as error:
        refuse(reasons, "C", hint="")
    assert error.value.reasons == (
        "a, c (Pulse): none",
        "b (Relu): none",
        "graph: x",
        "graph: y",
    )
