"""What a tired user is told: pixels that nothing scales, names that are nearly right."""

import subprocess
import sys

import numpy as np
import pytest

from spikeport.models.datasets import load_data

from .test_cli import ROOT, TEST, fails, spikeport

WARNING = "values are pixels 0..255 and reach the network as they are"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the same 40 images as pixels and scaled to 0..1."""
    folder = tmp_path_factory.mktemp("hints")
    images = load_data(TEST, ((28, 28, 1),), limit=40, shipped=True)
    pixels = np.round(images.inputs[0] * 255).astype(np.uint8)
    np.savez(folder / "pixels.npz", x=pixels, y=images.labels)
    np.savez(folder / "scaled.npz", x=images.inputs[0], y=images.labels)
    return folder


def convert(folder, data, *more):
    return spikeport("convert", "mlp.onnx", "--calibration", folder / data, "--recipe", "classic",
                     "-o", folder / "out.snn", *more)  # fmt: skip


def test_pixels_that_nothing_scales(folder):
    output = convert(folder, "pixels.npz")
    assert WARNING in output
    assert "add --preprocess unit" in output


@pytest.mark.parametrize(
    ("data", "more"), [("pixels.npz", ("--preprocess", "unit")), ("scaled.npz", ())]
)
def test_no_warning_where_images_are_scaled(folder, data, more):
    assert "Warning" not in convert(folder, data, *more)


def test_no_warning_where_the_network_scales():
    from spikeport.commands.inputs import warn_of_pixels
    from spikeport.converter.ir import Graph, Node
    from spikeport.converter.ir.ops import Flatten, Input, Scale

    pixels = (np.arange(256, dtype=np.float32).reshape(1, 16, 16),)
    front = Node("image", Input((16, 16)), ())
    scale = Node("scaled", Scale(np.float32([[1 / 255]]), np.float32([[0]])), ("image",))
    plain = Graph((front, Node("flat", Flatten(), ("image",))), ("image",), ("flat",))
    scaled = Graph((front, scale, Node("flat", Flatten(), ("scaled",))), ("image",), ("flat",))
    seen: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("click.echo", lambda text, err: seen.append(text))
        warn_of_pixels("data", scaled, pixels)
        assert seen == []
        warn_of_pixels("data", plain, pixels)
    assert WARNING in seen[0]


def test_early_exit_on_samples_that_the_conversion_saw(folder):
    convert(folder, "scaled.npz")
    output = fails("evaluate", folder / "out.snn", "--data", TEST, "--shipped", "--limit", 50,
                   "--early-exit", 0.01, "--exit-data", folder / "scaled.npz")  # fmt: skip
    assert "0 held-back samples, expected at least 10 behind the 40 that the conversion" in output
    assert "or convert with fewer --calibration-samples" in output


def test_a_shipped_network_nearly_named():
    output = fails("check", "Lenet")
    assert "Lenet: no such file or shipped network, expected one of mlp, lenet" in output
    assert "did you mean lenet?" in output
    assert "no such file, expected a file" in fails("check", "something")


def test_names_are_listed_once(folder):
    output = fails("convert", "mlp.onnx", "--calibration", TEST, "-o", folder / "a.snn", "--recipe",
                   "rte")  # fmt: skip
    assert output.count("trained_exact") == 1
    assert output.endswith("Hint: did you mean rate?\n")


def test_inspect_shows_a_pass_per_line_and_cuts_what_is_long(tmp_path):
    import dataclasses

    from spikeport.converter.exports.snn import read_snn, write_snn

    spikeport("convert", "mlp.onnx", "--calibration", TEST, "--shipped", "--recipe", "classic",
              "-o", tmp_path / "a.snn")  # fmt: skip
    graph = read_snn(tmp_path / "a.snn")
    passes = [*graph.metadata["passes"], {"foreign": 1}]
    more = {**graph.metadata, "passes": passes, "caps": [0.5] * 1000}
    write_snn(dataclasses.replace(graph, metadata=more), tmp_path / "a.snn")
    lines = spikeport("inspect", tmp_path / "a.snn").splitlines()
    shown = lines.index("passes:") + 1
    assert "  normalize_weights per_channel=false percentile=99.9 rule=activations" in lines
    assert lines[shown + len(passes) - 1] == '  {"foreign": 1}'
    caps = next(line for line in lines if line.startswith("caps: "))
    assert len(caps) == len("caps: ") + 300 + len(" ...")


def test_recipes_by_name():
    output = spikeport("recipes", "light", "exact")
    assert [line.split(":")[0] for line in output.splitlines() if line[:1].strip()] == [
        "light",
        "exact",
    ]
    assert "did you mean light?" in fails("recipes", "ligth")


@pytest.mark.slow
def test_tensorflow_says_nothing_of_its_start(tmp_path):
    command = [sys.executable, ROOT / "cli.py", "export", "mlp.onnx", "--to", "keras", "-o",
               tmp_path / "mlp.keras"]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stderr == ""


def test_a_training_that_is_ended_says_how_to_go_on(tmp_path, capsys):
    from spikeport.commands.train import _say_what_is_left

    with pytest.raises(KeyboardInterrupt), _say_what_is_left(tmp_path / "a.checkpoint"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
    (tmp_path / "a.checkpoint").touch()
    with pytest.raises(KeyboardInterrupt), _say_what_is_left(tmp_path / "a.checkpoint"):
        raise KeyboardInterrupt
    assert "a.checkpoint: the same command goes on after" in capsys.readouterr().err


def test_a_schedule_that_waits_names_the_engine_for_it(folder):
    spikeport("convert", "mlp.onnx", "--calibration", folder / "scaled.npz", "--recipe", "exact",
              "--n-steps", 4, "-o", folder / "exact.snn")  # fmt: skip
    run = ("evaluate", folder / "exact.snn", "--data", folder / "scaled.npz", "--limit", 5)
    assert "; --engine counts may be faster" in spikeport(*run)
    assert "--engine" not in spikeport(*run, "--engine", "counts")
    convert(folder, "scaled.npz")
    causal = spikeport("evaluate", folder / "out.snn", "--data", folder / "scaled.npz")
    assert "--engine" not in causal
