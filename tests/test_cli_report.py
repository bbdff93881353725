"""Reports, pictures and early exit from the command line."""

import json

import pytest

from .test_cli import TEST, TRAIN, fails, folder, spikeport  # noqa: F401  (folder is a fixture)


@pytest.fixture(scope="module")
def snn(folder):  # noqa: F811
    return folder / "mlp.snn"


EARLY = ("--early-exit", "0.01", "--exit-data", TRAIN, "--shipped")


@pytest.mark.slow
def test_report_and_pictures(snn, tmp_path):
    output = spikeport("evaluate", snn, "--data", TEST, "--shipped", "--limit", 40, "--report",
                       tmp_path / "mlp.html", "--plots", tmp_path / "plots", "--energy",
                       "int_add=0.03", "--json", tmp_path / "mlp.json")  # fmt: skip
    assert "spiking, 8-bit weights" in output
    page = (tmp_path / "mlp.html").read_text()
    assert "mlp.snn on Fashion-MNIST test split" in page
    assert "int_add 0.03" in page
    assert "spikeport evaluate" in page
    assert "--limit 40" in page
    assert "nothing here is random" in page
    result = json.loads((tmp_path / "mlp.json").read_text())
    assert result["samples_sha256"] in page
    assert result["graph"] in page
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert {"accuracy.svg", "accuracy.png", "confusion.svg", "latency.png"} <= names
    assert not any(name.startswith(".") for name in names)


def test_early_exit(snn, tmp_path):
    output = spikeport("evaluate", snn, "--data", TEST, "--limit", 100, *EARLY, "--json",
                       tmp_path / "a.json", "--exit-samples", 200, "--exit-every", 2)  # fmt: skip
    assert "of 8 steps in the mean: a sample ends when it leads by" in output
    result = json.loads((tmp_path / "a.json").read_text())["early_exit"]
    assert result["every"] == 2
    assert 2 <= result["mean_steps"] < 8
    calibration = result["calibration"]
    assert calibration["loss"] <= 0.01
    assert calibration["n_samples"] == 200
    assert calibration["loss_of"] == "accuracy"
    assert "without the first 200, which the conversion saw" in calibration["data"]


def test_early_exit_needs_a_loss_and_data(snn):
    for arguments in (["--early-exit", "0.01"], ["--exit-data", TRAIN]):
        output = fails("evaluate", snn, "--data", TEST, "--shipped", *arguments)
        assert "early exit: has only one of a loss and held-back data, expected both" in output
    output = fails("evaluate", snn, "--data", TEST, *EARLY, "--exit-every", 0)
    assert "early exit: looks every 0 steps" in output
    output = fails("evaluate", snn, "--data", TEST, "--shipped", "--early-exit", "1.5",
                   "--exit-data", TRAIN)  # fmt: skip
    assert "early exit: allowed loss 1.5, expected a share" in output
    output = fails("evaluate", snn, "--data", TEST, *EARLY, "--exit-samples", 3)
    assert "early exit: 3 held-back samples, expected at least 10" in output


def test_early_exit_on_the_samples_that_are_evaluated(snn):
    output = fails("evaluate", snn, "--data", TEST, "--shipped", "--limit", 30, "--early-exit",
                   "0.01", "--exit-data", TEST)  # fmt: skip
    assert "early exit: 30 of the held-back samples are among those evaluated" in output


def test_places_where_no_report_can_go(snn, tmp_path):
    (tmp_path / "file").write_text("old")
    evaluate = ("evaluate", snn, "--data", TEST, "--shipped", "--limit", 10)
    output = fails(*evaluate, "--plots", tmp_path / "file")
    assert "file: is a file, expected a folder or a new name" in output
    assert (tmp_path / "file").read_text() == "old"
    assert "has the suffix '.pdf', expected '.html' or '.htm'" in fails(
        *evaluate, "--report", tmp_path / "a.pdf"
    )
    assert "does not exist" in fails(*evaluate, "--report", tmp_path / "no" / "a.html")
    (tmp_path / "a.html").mkdir()
    assert "is a folder" in fails(*evaluate, "--report", tmp_path / "a.html")
    assert "--energy 'watt': does not exist" in fails(*evaluate, "--energy", "watt=3")


@pytest.fixture(scope="module")
def runs(snn, tmp_path_factory):
    """Evaluations of the same 60 samples in 8 and in 2 steps, and of 50 samples."""
    place = tmp_path_factory.mktemp("runs")
    for name, n_steps, limit in (("a", 8, 60), ("b", 2, 60), ("c", 8, 50)):
        spikeport("evaluate", snn, "--data", TEST, "--shipped", "--limit", limit, "--n-steps",
                  n_steps, "--json", place / f"{name}.json")  # fmt: skip
    return place


def test_compare(runs, tmp_path):
    output = spikeport("compare", runs / "a.json", runs / "b.json", "--plots", tmp_path / "p")
    assert "compared with" in output
    assert "60 samples: Fashion-MNIST test split" in output
    assert len(list((tmp_path / "p").iterdir())) == 6
    same = json.loads(spikeport("compare", runs / "a.json", runs / "b.json", "--step", 2, "--json"))
    assert same[0]["accuracy"] == same[1]["accuracy"]
    assert same[1]["p_value"] == 1.0


def test_compare_refuses(runs, tmp_path):
    a = runs / "a.json"
    assert "c.json: is about other samples" in fails("compare", a, runs / "c.json")
    assert "got 1 file, expected two or more" in fails("compare", a)
    assert "no such file" in fails("compare", a, runs / "missing.json")
    document = json.loads(a.read_text())
    (tmp_path / "new.json").write_text(json.dumps({**document, "version": 2}))
    assert "new.json: has version 2, expected 1" in fails("compare", a, tmp_path / "new.json")
    assert "is a file, expected a folder" in fails("compare", a, a, "--plots", a)
    fails("compare", a, tmp_path / "new.json", "--plots", tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_trace(snn, tmp_path):
    import numpy as np

    output = spikeport("trace", snn, "--data", TEST, "--shipped", "--sample", 3, "-o",
                       tmp_path / "t.npz", "--n-steps", 6)  # fmt: skip
    assert "sample 3 is decided for" in output
    names = [line.split(": ")[1].split(",")[0] for line in output.splitlines()[1:-1]]
    assert {path.suffix for path in tmp_path.iterdir()} == {".npz", ".svg", ".png"}
    with np.load(tmp_path / "t.npz") as content:
        assert content["nodes"].tolist() == names
        assert content["spikes_0"].shape == (6, 100)
    spikeport("trace", snn, "--data", TEST, "--shipped", "-o", tmp_path / "t.npz", "--nodes",
              ",".join(reversed(names)), "--neurons", 7)  # fmt: skip
    with np.load(tmp_path / "t.npz") as content:
        assert content["nodes"].tolist() == names[::-1]
        assert content["potentials_1"].shape == (8, 7)


def test_trace_refuses(snn, tmp_path):
    trace = ("trace", snn, "--data", TEST, "--shipped", "-o")
    out = tmp_path / "t.npz"
    assert "node 'layer': does not exist" in fails(*trace, out, "--nodes", "layer")
    assert "sample 1000: the data have 1,000, expected 0..999" in fails(
        *trace, out, "--sample", 1000
    )
    assert "sample -1" in fails(*trace, out, "--sample", -1)
    assert "expected '.npz'" in fails(*trace, tmp_path / "t.png")
    assert "--neurons 0" in fails(*trace, out, "--neurons", 0)
    out.with_suffix(".svg").mkdir()
    assert "t.svg: is a folder" in fails(*trace, out)
    assert not out.exists()
