"""What docs/exports.md shows is what happens."""

import re
from pathlib import Path

import numpy as np

from spikeport.converter.convert import convert
from spikeport.converter.exports import FORMATS, export
from spikeport.converter.exports.nir import REWRITES
from spikeport.converter.exports.refusals import REFUSED
from spikeport.converter.ir import OPS
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.engines.reference import simulate

PAGE = (Path(__file__).parents[1] / "docs" / "exports.md").read_text("utf-8")


def test_onnx_example_runs_without_spikeport(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(code.splitlines()) <= 10
    assert "spikeport" not in code
    train = load_data("fashion-mnist:train", ((28, 28, 1),), shipped=True, limit=100)
    images = load_data("fashion-mnist:test", ((28, 28, 1),), shipped=True, limit=4).inputs[0]
    graph = convert(weights_path("lenet"), train.inputs, n_steps=16).graph
    export(graph, "onnx", tmp_path / "lenet.onnx")
    np.save(tmp_path / "images.npy", images)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/exports.md", "exec"), {})
    (expected,) = simulate(graph, (images,), 16).outputs
    lines = [f"{t} {expected[t - 1].argmax(axis=1)}" for t in (4, 8, 16)]
    assert capsys.readouterr().out.splitlines() == lines


def test_page_lists_formats_and_rewrites():
    for name in (*FORMATS, *REWRITES):
        assert f"| `{name}` |" in PAGE


def test_page_says_of_every_operation_what_every_format_does_with_it():
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.split("| operation |")[1], re.MULTILINE)
    )
    for op in OPS:
        refused = [op in REFUSED[name] for name in ("ONNX", "C", "NIR", "Keras")]
        row = " | ".join("refused" if each else "yes" for each in refused)
        assert rows.get(op, "").replace("partly", "yes") == row, (
            f"docs/exports.md, table of operations: expected the row | `{op}` | {row} |"
        )
    listed = {op for op, cells in rows.items() if "yes" in cells or "refused" in cells}
    assert listed == set(OPS)
