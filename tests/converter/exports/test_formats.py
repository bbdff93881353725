"""Every op x every format: a round trip, or a refusal that names it. The round trips are elsewhere:
here is the proof that there is no third case.
"""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.commands.exchange import FORMAT_HELP
from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.exports import FORMATS, export
from spikeport.converter.exports.c import TRANSLATED as IN_C
from spikeport.converter.exports.keras import TRANSLATED as IN_KERAS
from spikeport.converter.exports.keras.rates import REPLACED
from spikeport.converter.exports.nir import TRANSLATED as IN_NIR
from spikeport.converter.exports.onnx import TRANSLATED as IN_ONNX
from spikeport.converter.exports.snn import write_snn
from spikeport.converter.exports.translation import KNOWN_FIELDS
from spikeport.converter.ir import OPS, Graph, Node, TensorType
from spikeport.converter.ir.ops import Input

from .examples import EXAMPLES, fire

EVERYTHING = frozenset(OPS)
TRANSLATED = {
    "snn": EVERYTHING,
    "onnx": IN_ONNX,
    "onnx-step": IN_ONNX,
    "c": IN_C,
    "nir": IN_NIR,
    "keras": IN_KERAS | {op.__name__ for op in REPLACED},
}
"""By format: the ops that it can say, at least in some graphs."""


STATED_BY_NIR = {
    "Conv": r"conv \(Conv\): padding .* differs on both sides",
    "Transpose": r"op \(Transpose\): NIR has none",
    "Scale": r"op \(Scale\): has a shift, NIR's Scale has none",
}
"""Ops that NIR says in some graphs, not in the example."""


def graph_with(op_name: str) -> Graph:
    """An example of the op, or the op without any parameter where there is no example."""
    if op_name in EXAMPLES:
        return EXAMPLES[op_name]()
    op = OPS[op_name]
    passes_on = {"infer": lambda self, *types: TensorType(types[0].shape), "n_inputs": 1}
    bare = type(op_name, (op,), passes_on)
    one = Node("fires", fire((4,)), ("x",))
    nodes = (Node("x", Input((4,))), one, Node("op", object.__new__(bare), ("fires",)))
    return Graph(nodes, ("x",), ("op",))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "snn"])
def test_every_op_is_translated_or_refused_by_name(name, op, tmp_path):
    graph, path = graph_with(op), tmp_path / f"out{FORMATS[name].suffix}"
    if name == "nir" and op in STATED_BY_NIR:
        with pytest.raises(UnsupportedOpError, match=STATED_BY_NIR[op]):
            export(graph, name, path, lossy=True)
        return
    if op in TRANSLATED[name]:
        assert op in EXAMPLES, f"{op}: has a translation to {name}, and no example that tests it"
        assert op in KNOWN_FIELDS
        assert export(graph, name, path, lossy=name in {"nir", "keras"}).files
        assert path.stat().st_size
        return
    with pytest.raises(UnsupportedOpError, match=f"{op} has no translation to"):
        export(graph, name, path)
    assert not list(tmp_path.iterdir())


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
