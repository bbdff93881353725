"""train and binarize from the command line: what they write, and what they refuse."""

import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.converter.exports.snn import read_snn
from spikeport.converter.ir.ops import Conv, Dense

SIZE = (6, 6, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network, data for it, and data that do not fit."""
    import keras
    from keras import layers

    path = tmp_path_factory.mktemp("train")
    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        layers.Input(SIZE), layers.Conv2D(4, 3, padding="same", name="conv1"), layers.ReLU(),
        layers.AveragePooling2D(2), layers.Conv2D(6, 3, padding="same", name="conv2"),
        layers.ReLU(), layers.Flatten(), layers.Dense(3, activation="softmax", name="logits"),
    ])  # fmt: skip
    model.save(path / "net.keras")
    swish = keras.Sequential([
        layers.Input(SIZE), layers.Flatten(), layers.Dense(4, activation="swish", name="odd"),
        layers.Dense(3),
    ])  # fmt: skip
    swish.save(path / "swish.keras")
    random = np.random.default_rng(0)
    x = random.uniform(0, 1, (60, *SIZE)).astype(np.float32)
    y = np.arange(60) % 3
    np.savez(path / "data.npz", x=x, y=y)
    np.savez(path / "labels.npz", x=x, y=y + 5)
    np.savez(path / "one.npz", x=x, y=y * 0)
    np.savez(path / "sizes.npz", x=x[:, :5], y=y)
    np.savez(path / "none.npz", x=x)
    return path


def call(*arguments):
    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_train_writes_a_graph_and_a_network_that_agree(folder, tmp_path):
    out, network = tmp_path / "a.snn", tmp_path / "a.keras"
    run = call("train", folder / "net.keras", "--data", folder / "data.npz", "--epochs", 1,
               "--set", "qcfs.n_levels=2", "-o", out, "--keras", network)  # fmt: skip
    assert run.exit_code == 0, run.output
    assert "epoch 1/1, loss" in run.output
    assert "only 60 samples to train on" in run.output
    graph = read_snn(out)
    assert graph.metadata["recipe"] == "trained_exact"
    assert graph.metadata["schedule"]["n_levels"] == 2
    assert graph.metadata["trained"]["as"] == "qcfs"
    assert not (tmp_path / "a.snn.checkpoint").exists()
    test = call("evaluate", out, "--data", folder / "data.npz", "--ann", network)
    assert test.exit_code == 0, test.output


def test_binarize_gives_two_values_and_one_step(folder, tmp_path):
    out = tmp_path / "b.snn"
    run = call("binarize", folder / "net.keras", "--data", folder / "data.npz", "--epochs", 2,
               "--weights", "ternary", "-o", out)  # fmt: skip
    assert run.exit_code == 0, run.output
    graph = read_snn(out)
    assert graph.metadata["n_steps"] == 1
    weights = [node.op.weight for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    assert [len(np.unique(each)) <= 3 for each in weights] == [False, True, False]


def test_binarize_without_training(folder, tmp_path):
    out = tmp_path / "c.snn"
    run = call("binarize", folder / "net.keras", "--data", folder / "data.npz", "-o", out,
               "--post-training", "--n-steps", 4)  # fmt: skip
    assert run.exit_code == 0, run.output
    assert "binarized without training; accuracy " in run.output
    assert "% of the decisions are as before on data.npz" in run.output
    assert read_snn(out).metadata["recipe"] == "binary"


def test_binarize_without_training_and_without_data(folder, tmp_path):
    out = tmp_path / "c.snn"
    run = call("binarize", folder / "net.keras", "-o", out, "--post-training", "--n-steps", 4)
    assert run.exit_code == 0, run.output
    assert "thresholds are those of noise: `spikeport evaluate` says what" in run.output
    graph = read_snn(out)
    assert graph.metadata["calibration"]["name"] == "noise, no data"
    options = next(p for p in graph.metadata["passes"] if p["name"] == "binarize_weights")
    assert options["options"]["correct"] == "none"
    (weight,) = (node.op.weight for node in graph.nodes if node.name.startswith("conv2")
                 and isinstance(node.op, Conv))  # fmt: skip
    assert all(len(np.unique(np.abs(row))) == 1 for row in weight)


def test_samples_that_are_sorted_and_what_is_kept(folder, tmp_path):
    run = call("train", folder / "net.keras", "--data", folder / "data.npz", "--epochs", 1,
               "-o", tmp_path / "a.snn", "--constraint", "step")  # fmt: skip
    assert "60 of 60 training samples are decided as by the trained network" in run.output


def test_progress_bar_on_a_terminal(monkeypatch):
    import io
    import sys

    from spikeport.commands.screen import show_epochs

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_epochs() as (bar,):
        bar.set_params({"steps": 4})
        bar.on_epoch_begin(2)
        bar.on_train_batch_end(3)
    assert "epoch 3" in terminal.getvalue()
    file = io.StringIO()
    for stream, expected in ((file, "epoch 3/3, loss"), (terminal, "\x1b[2Kepoch 3/3, loss")):
        monkeypatch.setattr(sys, "stdout", stream)
        with show_epochs():
            print("epoch 3/3, loss 0.5", flush=True)
        assert expected in stream.getvalue()  # a line of its own, not what follows the bar
        assert ("loss" in terminal.getvalue()) == (stream is terminal)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with show_epochs() as none:
        assert none == ()


REFUSED = [
    (["train", "swish.keras"], "data.npz", "odd"),
    (["train", "net.keras"], "labels.npz", "has labels 5 to 7, expected 0 to 2"),
    (["train", "net.keras"], "one.npz", "has class 0 only, expected several classes"),
    (["train", "net.keras"], "sizes.npz", "x has shape (60, 5, 6, 1), expected (N, 6, 6, 1)"),
    (["train", "net.keras"], "none.npz", "has no labels, expected a class per sample"),
    (["train", "net.keras", "--set", "qcfs.n_levels=0"], "data.npz", "qcfs.n_levels: is 0"),
    (["train", "net.keras", "--epochs", "0"], "data.npz", "--epochs 0: expected at least 1"),
    (["train", "net.keras", "--constraint", "qfcs"], "data.npz", "--constraint 'qfcs'"),
    (["train", "net.keras", "--hold-back", "60"], "data.npz", "60 of 60 samples held back"),
    (["train", "net.keras", "--patience", "2"], "data.npz", "--patience: there is nothing"),
    (["train", "net.keras", "--distillation", "2"], "data.npz", "--distillation 2.0: expected a"),
    (["train", "net.keras", "--temperature", "0"], "data.npz", "--temperature 0.0: expected a"),
    (["train", "net.keras", "--recipe", "fast"], "data.npz", "recipe 'fast': does not exist"),
    (["train", "net.keras", "--n-steps", "0"], "data.npz", "n_steps 0, expected an integer"),
    (["train", "net.keras", "--calibration-samples", "0"], "data.npz",
     "--calibration-samples 0: expected at least 1"),
    (["train", "net.keras", "--schedule", "step"], "data.npz", "--schedule 'step'"),
    (["train", "net.keras", "--shift", "-1"], "data.npz", "--shift -1: expected a number"),
    (["train", "net.keras", "--hold-back", "9", "--validation", "v.npz"], "data.npz",
     "--hold-back 9: --validation is given, too, expected one of them"),
    (["train", "net.keras", "--constraint", "firing_rate"], "data.npz", "ReLUs stay ReLUs"),
    (["binarize", "net.keras", "--correct", "bias"], "data.npz", "--correct bias: is for weights"),
    (["binarize", "net.keras", "--post-training", "--epochs", "3"], "data.npz",
     "--epochs: is for trainings"),
    (["binarize", "net.keras", "--post-training", "--activations", "sign"], "data.npz",
     "--activations: is for trainings"),
    (["binarize", "net.keras", "--post-training", "--correct", "all"], "data.npz",
     "--correct all: expected one of none, bias, moments"),
    (["binarize", "net.keras", "--post-training", "--recipe", "rate"], "data.npz",
     "--recipe rate: binarizes no weights"),
    (["train", "net.keras", "--shift", "9"], "data.npz", "--shift 9, --flip: the input has"),
    (["train", "net.keras", "--keras", "a.onnx"], "data.npz", "a.onnx: has the suffix '.onnx'"),
    (["binarize", "net.keras", "--weights", "two"], "data.npz", "--weights 'two'"),
    (["binarize", "net.keras", "--activations", "relu"], "data.npz", "--activations relu"),
    (["binarize", "net.keras", "--weights", "none", "--activations", "none"], "data.npz",
     "nothing is binary"),
    (["binarize", "net.keras", "--weights", "none", "--post-training"], "data.npz",
     "--weights none --post-training: nothing is binary"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "data", "message"), REFUSED)
def test_what_does_not_fit_is_one_line_with_a_hint(folder, tmp_path, arguments, data, message):
    out = tmp_path / "old.snn"
    out.write_bytes(b"what was there")
    command, model, *options = arguments
    run = call(command, folder / model, "--data", folder / data, "-o", out, *options)
    assert run.exit_code == 1, run.output
    assert message in run.output
    assert "Hint: " in run.output
    assert out.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.snn"]


def test_checkpoint_of_another_training_is_refused(folder, tmp_path):
    out = tmp_path / "a.snn"
    (tmp_path / "a.snn.checkpoint").write_bytes(b"something else")
    run = call("train", folder / "net.keras", "--data", folder / "data.npz", "-o", out)
    assert run.exit_code == 1
    assert "a.snn.checkpoint: is no checkpoint of a training" in run.output
    assert not out.exists()


def test_data_are_needed(folder, tmp_path):
    run = call("binarize", folder / "net.keras", "-o", tmp_path / "a.snn")
    assert run.exit_code == 1
    assert "--data: is missing" in run.output
    run = call("binarize", folder / "net.keras", "-o", tmp_path / "a.snn", "--post-training",
               "--correct", "bias")  # fmt: skip
    assert run.exit_code == 1
    assert "--correct bias: needs samples, expected --data" in run.output


def test_network_that_is_trained_is_not_replaced(folder, tmp_path):
    network = tmp_path / "copy.keras"
    network.write_bytes((folder / "net.keras").read_bytes())
    run = call("train", network, "--data", folder / "data.npz", "-o", tmp_path / "a.snn",
               "--keras", network)  # fmt: skip
    assert run.exit_code == 1
    assert "copy.keras: is the network that is trained, expected another file" in run.output
    assert network.read_bytes() == (folder / "net.keras").read_bytes()
