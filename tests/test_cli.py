"""Every command as a user types it, and every mistake as a user makes it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.models.datasets import load_data

ROOT = Path(__file__).parents[1]
TRAIN, TEST = ("fashion-mnist:train", "fashion-mnist:test")


def spikeport(*arguments: object, expect: int = 0) -> str:
    """Run a command in this process; return its standard output, then its standard error."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == expect, result.output
    return result.stdout + result.stderr


def fails(*arguments: object) -> str:
    """Run a command that must fail with one message and a hint, without a traceback."""
    output = spikeport(*arguments, expect=1)
    lines = output.splitlines()
    assert lines[0].startswith("Error: ")
    assert lines[-1].startswith("Hint: ")
    assert "Traceback" not in output
    return output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with mlp.snn, converted from ONNX, which needs no TensorFlow."""
    folder = tmp_path_factory.mktemp("cli")
    spikeport("convert", "mlp.onnx", "--calibration", TRAIN, "--shipped", "--calibration-samples",
              200, "--n-steps", 8, "-o", folder / "mlp.snn")  # fmt: skip
    return folder


def walk(command: click.Command, path: tuple[str, ...] = ()):
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from walk(child, (*path, name))


@pytest.mark.parametrize(("path", "command"), list(walk(main)), ids=lambda x: " ".join(x) if
                         isinstance(x, tuple) else "")  # fmt: skip
def test_every_command_has_help_with_an_example(path, command):
    output = spikeport(*path, "--help")
    assert "Example:" in output
    assert f"spikeport {' '.join(path)}".strip() in output


def test_help_of_convert_names_every_recipe():
    from spikeport.converter.recipes import DEFAULT_RECIPE, RECIPES

    output = spikeport("convert", "--help")
    for name in RECIPES:
        assert name in output
    assert "`spikeport recipes` says" in " ".join(output.split())
    assert f"[default: {DEFAULT_RECIPE}]" in output


def test_recipes_are_listed_with_their_passes_and_options():
    from spikeport.converter.recipes import RECIPES

    output = spikeport("recipes")
    for name, recipe in RECIPES.items():
        assert (
            f"{name}: {recipe.summary} ({recipe.source})\n"
            f"  keeps {recipe.keeps}\n  costs {recipe.costs}\n"
        ) in output
    assert "  insert_neurons initial_potential=0.0 reset=zero leak=0.0 refractory=0" in output
    assert "  normalize_weights percentile=99.9 per_channel=false rule=activations\n" in output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["models", "list"], ["recipes"], ["--help"]])
def test_standard_output_that_takes_nothing(arguments):
    command = [sys.executable, ROOT / "cli.py", *arguments]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines() == [
        "Error: standard output: No space left on device",
        "Hint: free some space, or send the output to another place",
    ]
    shell = ["sh", "-c", '"$0" "$@" >&-', *map(str, command)]
    run = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: standard output: is closed, expected an open one\nHint: ")


def test_defaults_of_the_options_are_those_of_the_tables():
    from spikeport.converter.ir.types import DEFAULT_N_STEPS
    from spikeport.runtime.engines import DEFAULT_ENGINE

    defaults = {
        name: {option.name: option.default for option in main.commands[name].params}
        for name in ("convert", "evaluate")
    }
    assert defaults["convert"]["n_steps"] == DEFAULT_N_STEPS
    assert defaults["evaluate"]["engine"] == DEFAULT_ENGINE


def test_check_prints_what_every_node_becomes():
    output = spikeport("check", "mlp.onnx")
    assert "integrate-and-fire neurons" in output
    assert "mlp.onnx: can be converted" in output
    result = json.loads(spikeport("check", "mlp.onnx", "--json"))
    assert result["convertible"]
    assert {"node", "op", "becomes", "status", "note"} == set(result["nodes"][0])


def test_convert_says_what_it_did(folder):
    output = spikeport("convert", "mlp.onnx", "--calibration", TRAIN, "--shipped", "-o",
                       folder / "other.snn", "--recipe", "classic", "--set",
                       "normalize_weights.percentile=99.5",
                       "--calibration-samples", 50)  # fmt: skip
    assert "Fashion-MNIST train split, shipped subset of 500 images, the first 50" in output
    assert "normalize_weights" in output
    shown = spikeport("inspect", folder / "other.snn")
    assert "normalize_weights per_channel=false percentile=99.5 " in shown
    assert "recipe: classic" in shown


def test_convert_does_not_look_at_labels(tmp_path):
    x, y = np.random.default_rng(0).random((8, 28, 28, 1)), np.eye(8, 10)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    output = spikeport("convert", "mlp", "--calibration", tmp_path / "a.npz", "-o",
                       tmp_path / "a.snn")  # fmt: skip
    assert "calibrated on a.npz, 8 of 8 samples" in output


def test_evaluate_prints_a_table_and_writes_json(folder):
    output = spikeport("evaluate", folder / "mlp.snn", "--data", TEST, "--shipped", "--limit", 50,
                       "--ann", "mlp.onnx", "--json", folder / "a.json")  # fmt: skip
    assert "shipped subset of 1000 images, the first 50\n" in output
    assert "same decision as the ANN" in output
    result = json.loads((folder / "a.json").read_text())
    assert result["n_steps"] == len(result["accuracy"]) == len(result["agreement"]) == 8
    assert result["accuracy"][-1] > 0.7
    assert result["agreement"][-1] > 0.8
    assert result["ann_accuracy"] > 0.8
    assert result["seed"] is None
    printed = json.loads(spikeport("evaluate", folder / "mlp.snn", "--data", TEST, "--shipped",
                                   "--limit", 50, "--n-steps", 4, "--json", "-"))  # fmt: skip
    assert printed["accuracy"] == result["accuracy"][:4]
    assert printed["agreement"] is None
    assert printed["graph"] == result["graph"]


def test_codes_of_the_input(folder):
    def run(*more):
        return json.loads(spikeport("evaluate", folder / "mlp.snn", "--data", TEST, "--shipped",
                                    "--code", "poisson", "--json", "-", *more))  # fmt: skip

    one, again, part, other = (
        run("--limit", n, "--seed", seed, "--batch-size", size)
        for n, seed, size in ((40, 1, 100), (40, 1, 7), (10, 1, 100), (40, 2, 100))
    )
    assert (one["code"], one["seed"]) == ("poisson", 1)
    assert one["decisions"] == again["decisions"] != other["decisions"]
    assert len(one["accuracy"]) == len(part["accuracy"]) == 8
    assert one["input_macs_per_sample"] == 0


def test_pictures_go_through_what_the_conversion_said(tmp_path):
    import keras
    from PIL import Image

    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((6, 5, 3)), keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax"),
    ])  # fmt: skip
    model.save(tmp_path / "net.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 10, 6, 5, 3)).astype(np.uint8)
    for label, images in enumerate(pixels):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "images" / str(label) / f"{number}.png")
    graph = tmp_path / "net.snn"
    spikeport("convert", tmp_path / "net.keras", "--calibration", tmp_path / "images", "-o", graph,
              "--calibration-samples", 20, "--preprocess", "caffe", "--n-steps", 16)  # fmt: skip
    assert '"reverse_channels": true' in spikeport("inspect", graph)
    command = ("evaluate", graph, "--data", tmp_path / "images", "--ann", tmp_path / "net.keras")
    found = json.loads(spikeport(*command, "--json", "-"))
    x = keras.applications.imagenet_utils.preprocess_input(
        pixels.reshape(20, 6, 5, 3).astype(np.float32), mode="caffe"
    )
    right = (model.predict(x, verbose=0).argmax(axis=1) == np.repeat([0, 1], 10)).mean()
    assert found["ann_accuracy"] == right
    assert found["warnings"] == []
    for name, message in (("cafe", "preprocess 'cafe'"), ("unit", "far outside|hundredth")):
        run = spikeport if name == "unit" else fails
        assert re.search(message, run(*command, "--preprocess", name))
    wrong = spikeport(*command, "--input-scale", "a,b", expect=2)
    assert "expected numbers such as 0.5" in wrong


def test_evaluate_warns_about_inputs_of_another_scale(folder):
    output = spikeport("evaluate", folder / "mlp.snn", "--data", TEST, "--shipped", "--limit", 10,
                       "--input-scale", 255)  # fmt: skip
    assert "Warning: input" in output
    assert "far outside the calibration range 0..1" in output


def test_evaluation_scales_inputs_as_the_conversion_did(folder, tmp_path):
    bytes_ = load_data(TEST, ((28, 28, 1),), shipped=True, limit=30)
    np.savez(tmp_path / "raw.npz", x=bytes_.inputs[0] * 255, y=bytes_.labels)
    raw, graph = tmp_path / "raw.npz", tmp_path / "scaled.snn"
    spikeport("convert", "mlp.onnx", "--calibration", raw, "-o", graph, "--n-steps", 8,
              "--input-scale", 1 / 255)  # fmt: skip
    assert '"scale": 0.00392' in spikeport("inspect", graph)
    found = json.loads(spikeport("evaluate", graph, "--data", raw, "--json", "-"))
    assert found["warnings"] == []
    assert found["accuracy"][-1] > 0.7
    other = json.loads(
        spikeport("evaluate", graph, "--data", raw, "--json", "-", "--input-scale", 1)
    )
    assert "far outside" in other["warnings"][0]


def test_inspect_shows_the_source_network():
    output = spikeport("inspect", "mlp.onnx")
    assert "(Dense)" in output
    assert "parameters: 235,146" in output


def test_models_list_and_show():
    output = spikeport("models", "list")
    for name in ("mlp", "lenet", "vgg", "resnet"):
        assert name in output
    assert '"seed": 1' in spikeport("models", "show", "mlp")


def test_cli_py_does_the_same():
    run = subprocess.run([sys.executable, ROOT / "cli.py", "models", "list"], capture_output=True,
                         text=True, check=True)  # fmt: skip
    assert run.stdout == spikeport("models", "list")


def test_unknown_models():
    assert "no such file" in fails("check", "lenett")
    assert "did you mean lenet?" in fails("models", "show", "lenett")
    assert "did you mean lenet?" in fails("models", "train", "lenett")


def convert_mlp(folder, *more: object):
    return ("convert", "mlp.onnx", "--calibration", TRAIN, "--shipped", "-o", folder / "new.snn",
            *more)  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--recipe", "rat"), "recipe 'rat': does not exist"),
        (("--set", "normalize.percentile=3"), "pass 'normalize': does not exist"),
        (("--set", "normalize_weights.percent=3"), "option of normalize_weights 'percent'"),
        (("--set", "calibrate_neurons.ridge=0"), "n_samples 500, ridge 0, expected at least 1"),
        (("--n-steps", 0), "n_steps 0, expected an integer of at least 1"),
        (("--calibration-samples", 0), "number of samples 0, expected at least 1"),
        (("--calibration-samples", 501), "501: fashion-mnist:train has 500 samples, expected at l"),
        (("--recipe", "classic", "--set", "normalize_weights.percentile=101"), "percentile 101"),
        (("--calibration", "nowhere"), "nowhere: no such data"),
        (("--input-scale", 0), "input scale 0, offset 0, expected finite"),
        (("--input-scale", "1,2"), r"shape .28, 28, 1., expected 2 channels as the first or"),
        (("--preprocess", "cafe"), "preprocess 'cafe': does not exist"),
        (
            ("--preprocess", "unit", "--input-scale", 2),
            "preprocess unit: has a scale and",
        ),
        (("-o", "missing/folder/a.snn"), "missing/folder"),
        (("-o", "a.onnx"), r"\.snn"),
    ],
)
def test_convert_refuses(folder, more, message):
    import re

    output = fails(*convert_mlp(folder, *more))
    assert re.search(message, output), output
    assert not (folder / "new.snn").exists()


def test_convert_refuses_files_that_are_no_networks(folder):
    (folder / "text.onnx").write_text("hello")
    (folder / "text.keras").write_text("hello")
    (folder / "net.pt").write_text("hello")
    real = (ROOT / "models" / "weights" / "mlp.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(real[: len(real) // 2])
    for name in ("text.onnx", "text.keras", "net.pt", "cut.onnx", "missing.h5"):
        arguments = list(convert_mlp(folder))
        arguments[1] = folder / name
        assert name in fails(*arguments)
    assert not (folder / "new.snn").exists()


def test_disk_full_leaves_nothing_behind(folder, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert "No space left on device" in fails(*convert_mlp(folder, "--calibration-samples", 20))
    assert not list(folder.glob("*new*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--n-steps", 0), "n_steps 0, expected an integer of at least 1"),
        (("--batch-size", 0), "batch_size 0, expected at least 1"),
        (("--limit", 0), "number of samples 0, expected at least 1"),
        (("--engine", "referenc"), "did you mean reference?"),
        (("--code", "poison"), "did you mean poisson?"),
        (("--read-out", "frist"), "did you mean first?"),
        (("--read-out", "first", "--delay", 2), "looks at all steps"),
        (("--code", "poisson", "--seed", -1), "seed -1, expected an integer of 0"),
        (("--code", "rate", "--input-scale", 2), "expected 0..1, at most one spike per step"),
        (("--ann", "lenet.onnx"), "is not that of the network"),
        (("--data", "fashion-mnist:tset"), "no such split"),
        (("--json", "missing/a.json"), "missing"),
    ],
)
def test_evaluate_refuses(folder, more, message):
    arguments = ("evaluate", folder / "mlp.snn", "--data", TEST, "--shipped", "--limit", 5, *more)
    assert message in fails(*arguments)


def test_evaluate_looks_at_its_settings_before_any_file():
    for more in (("--engine", "refrence"), ("--n-steps", 0), ("--batch-size", 0), ("--threads", 0)):
        assert "no such file" not in fails("evaluate", "missing.snn", "--data", TEST, *more)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 27, 28, 1))}, r"x has shape \(3, 27, 28, 1\), expected \(N, "),
        ({"x": np.full((3, 28, 28, 1), np.nan)}, "3 samples of x hold NaN or infinity"),
        ({"x": np.zeros((3, 28, 28, 1), complex)}, "x has dtype complex128, expected numbers"),
        ({"x": np.zeros((3, 28, 28, 1)), "y": [0, 1]}, r"y has shape \(2,\)"),
        ({"x": np.zeros((3, 28, 28, 1)), "y": [0, 1, 10]}, r"labels: lie in 0..10, expected 0..9"),
        ({"x": np.zeros((0, 28, 28, 1))}, "x has no samples"),
    ],
)
def test_evaluate_refuses_data(folder, tmp_path, arrays, message):
    import re

    np.savez(tmp_path / "a.npz", **arrays)
    output = fails("evaluate", folder / "mlp.snn", "--data", tmp_path / "a.npz")
    assert re.search(message, output), output


def test_json_never_overwrites_what_is_read(folder):
    content = (folder / "mlp.snn").read_bytes()
    output = fails("evaluate", folder / "mlp.snn", "--data", TEST, "--json", folder / "mlp.snn")
    assert "is one of the files to read, expected another name" in output
    assert (folder / "mlp.snn").read_bytes() == content


def test_evaluate_refuses_what_is_no_snn(folder):
    assert "no such file" in fails("evaluate", folder / "missing.snn", "--data", TEST)
    content = (folder / "mlp.snn").read_bytes()
    (folder / "cut.snn").write_bytes(content[:-10])
    assert "cut.snn" in fails("evaluate", folder / "cut.snn", "--data", TEST)


def test_usage_errors_have_exit_code_2():
    assert "Missing option '--calibration'" in spikeport("convert", "mlp", expect=2)
    assert "No such command" in spikeport("konvert", expect=2)


def test_debug_shows_the_traceback():
    from spikeport.converter.errors import FormatError

    with pytest.raises(FormatError):
        spikeport("--debug", "check", "missing.keras", expect=1)


@pytest.mark.slow
def test_interrupt_stops_soon(folder):
    """Ctrl-C in the middle of a simulation: one line, exit code 130, nothing written."""
    command = [sys.executable, ROOT / "cli.py", "evaluate", folder / "mlp.snn", "--data", TEST,
               "--shipped", "--n-steps", "20000", "--json", folder / "late.json"]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        # a shell that starts the tests in the background lets them ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    time.sleep(4)
    assert process.poll() is None
    started = time.perf_counter()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.perf_counter() - started < 8  # about a second where nothing else runs
    assert process.returncode == 130
    assert errors == "Interrupted.\n"
    assert not (folder / "late.json").exists()


def test_input_shape(tmp_path):
    """A network with open sizes: told once, remembered for --ann."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = np.random.default_rng(0).normal(0, 1, (2, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, "height", "width"]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
    ]
    graph = helper.make_graph(
        nodes, "g", values[:1], values[1:], [numpy_helper.from_array(weights, "w")]
    )
    opsets = [helper.make_opsetid("", 17)]
    path = tmp_path / "open.onnx"
    save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    x = np.random.default_rng(1).uniform(0, 1, (20, 1, 6, 5)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.zeros(20, np.int64))
    data, snn, shape = tmp_path / "data.npz", tmp_path / "open.snn", ["--input-shape", "1,6,5"]
    assert "Hint: say which sizes with --input-shape" in spikeport("check", path, expect=1)
    assert "can be converted" in spikeport("check", path, *shape)
    assert "float32[1, 6, 5]" in spikeport("inspect", path, *shape)
    spikeport("convert", path, *shape, "--calibration", data, "-o", snn, "--n-steps", 8)
    spikeport("evaluate", snn, "--data", data, "--ann", path, "--json", tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text())["ann_accuracy"] is not None


def test_unsupported_layers_are_all_named(tmp_path):
    from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("Elu", ["x"], ["a"], name="first"),
        helper.make_node("Erf", ["a"], ["y"], name="second"),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "y")
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    save(model, tmp_path / "odd.onnx")
    output = fails("convert", tmp_path / "odd.onnx", "--calibration", TRAIN, "-o",
                   tmp_path / "odd.snn")  # fmt: skip
    assert "first (Elu)" in output
    assert "second (Erf)" in output
    assert not (tmp_path / "odd.snn").exists()
    table = spikeport("check", tmp_path / "odd.onnx", expect=1)
    assert re.search(r"first +Elu +nothing +refused +elu is not a ReLU", table)
    assert re.search(r"second +Erf +nothing +refused +", table)
    assert re.search(r"x +input +constant current at every step +exact", table)
    assert "odd.onnx: cannot be converted; nodes: 1 exact, 2 refused" in table
    result = json.loads(spikeport("check", tmp_path / "odd.onnx", "--json", expect=1))
    assert not result["convertible"]
    assert [node["op"] for node in result["nodes"]] == ["input", "Elu", "Erf"]
    assert len(result["reasons"]) == 2
