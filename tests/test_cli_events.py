"""Recordings of an event camera from the command line: convert, evaluate, trace, sweep."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from .test_cli import fails, spikeport

SIZE = (2, 6, 5)


def write_model(path):
    """Write a network that tells the left half of an image from the right one."""
    first = np.zeros((60, 4), np.float32)
    columns = np.arange(60).reshape(SIZE) % 5
    first[:, 0], first[:, 1] = (columns < 2).reshape(-1) / 6, (columns > 2).reshape(-1) / 6
    arrays = {"w1": first, "b1": np.zeros(4), "w2": np.eye(4, 2), "b2": np.zeros(2)}
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", *SIZE])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in arrays.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network, its spiking graph, and recordings of events on the left and on the right."""
    place = tmp_path_factory.mktemp("events")
    write_model(place / "net.onnx")
    random = np.random.default_rng(0)
    for label, columns in (("left", (0, 1)), ("right", (3, 4))):
        (place / "rec" / label).mkdir(parents=True)
        for number in range(12):
            np.savez(
                place / "rec" / label / f"{number:02}.npz",
                x=random.choice(columns, 200), y=random.integers(0, 6, 200),
                t=np.sort(random.integers(0, 10**6, 200)), p=random.integers(0, 2, 200),
            )  # fmt: skip
    spikeport("convert", place / "net.onnx", "--calibration", f"events:{place / 'rec'}",
              "--n-steps", 8, "-o", place / "net.snn")  # fmt: skip
    return place


def test_evaluate(place, tmp_path):
    data = f"events:{place / 'rec'}"
    arguments = ("evaluate", place / "net.snn", "--data", data, "--ann", place / "net.onnx")
    spikeport(*arguments, "--code", "recorded", "--json", tmp_path / "a.json", "--report",
              tmp_path / "a.html")  # fmt: skip
    result = json.loads((tmp_path / "a.json").read_text())
    assert result["code"] == "recorded"
    assert result["data"] == "rec, 24 of 24 recordings in 2 classes, 8 steps"
    assert result["accuracy"][-1] == result["ann_accuracy"] == result["agreement"][-1] == 1.0
    assert result["fallbacks"] == []
    assert result["input_macs_per_sample"] == 0  # the input's spikes are events
    page = (tmp_path / "a.html").read_text()
    assert "24 of 24 recordings" in page
    for engine in ("event", "reference"):
        spikeport(*arguments, "--code", "recorded", "--engine", engine, "--json",
                  tmp_path / f"{engine}.json")  # fmt: skip
    one, other = (json.loads((tmp_path / f"{name}.json").read_text())
                  for name in ("event", "reference"))  # fmt: skip
    assert one["decisions"] == other["decisions"]
    assert one["workload"] == other["workload"]
    mean = spikeport(*arguments)
    assert "the mean of 8 steps" in mean


def test_other_numbers_of_steps_cut_them_otherwise(place):
    output = spikeport("evaluate", place / "net.snn", "--data", f"events:{place / 'rec'}", "--code",
                       "recorded", "--n-steps", 5, "--limit", 3)  # fmt: skip
    assert "3 of 24 recordings in 2 classes, 5 steps" in output


def test_early_exit(place, tmp_path):
    data = f"events:{place / 'rec'}"
    output = fails("evaluate", place / "net.snn", "--data", data, "--code", "recorded",
                   "--early-exit", "0.1", "--exit-data", data)  # fmt: skip
    assert "held-back samples are among those evaluated" in output


def test_trace(place, tmp_path):
    spikeport("trace", place / "net.snn", "--data", f"events:{place / 'rec'}", "--code", "recorded",
              "--sample", 5, "-o", tmp_path / "t.npz")  # fmt: skip
    with np.load(tmp_path / "t.npz") as content:
        assert content["decisions"].tolist()[-1] == content["label"] == 1


def test_sweep(place, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text(
        f'model = "{place / "net.onnx"}"\ncalibration = "events:{place / "rec"}"\n'
        f'data = "events:{place / "rec"}"\ncode = ["recorded", "constant"]\nn_steps = [4, 8]\n'
    )
    output = spikeport("sweep", file, "--store", tmp_path / "r.sqlite")
    assert "4 cells done, 0 were there, 0 failed" in output
    csv = spikeport("results", tmp_path / "r.sqlite", "--csv")
    assert "2 classes, 4 steps" in csv
    assert "2 classes, the mean of 8 steps" in csv


def test_what_has_no_time(place):
    arguments = ("evaluate", place / "net.snn", "--code", "recorded", "--data")
    output = fails(*arguments, f"events:{place / 'nowhere'}")
    assert "nowhere: cannot be read" in output
    output = fails(*arguments, place / "rec")
    assert "rec: images have no time axis, expected events:FOLDER" in output
    output = fails(*arguments, f"events:{place / 'net.onnx'}")
    assert "net.onnx: the HDF5 data is damaged or cut" in output
