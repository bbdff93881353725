"""Training: it learns, goes on after a kill, and refuses what it cannot do."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from spikeport.converter.errors import DataError, FormatError, PassError
from spikeport.converter.frontends import read
from spikeport.converter.ir import run
from spikeport.converter.ir.ops import Conv, Dense, QuantizedRelu
from spikeport.converter.training.binary_weights import binarize
from spikeport.converter.training.constraints import choose_constraints
from spikeport.converter.training.data import Samples
from spikeport.converter.training.student import Binarization
from spikeport.converter.training.train import Settings, train

from .tiny import build, samples

QUICK = Settings(n_epochs=2, batch_size=32, learning_rate=3e-3)


def qcfs(**options):
    return choose_constraints(("qcfs",), {"qcfs": options})


def weights_of(graph):
    return np.concatenate([
        np.concatenate([node.op.weight.reshape(-1), node.op.bias])
        for node in graph.nodes if isinstance(node.op, Conv | Dense)
    ])  # fmt: skip


def test_learns_and_gives_levels(tiny_source):
    lines: list[str] = []
    settings = Settings(n_epochs=8, batch_size=16, learning_rate=1e-2, distillation=None)
    data = samples()
    result = train(tiny_source, data, qcfs(n_levels=2), settings, progress=lines.append)
    assert len(result.history) == len(lines) == 8
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert lines[0].startswith("epoch 1/8, loss ")
    levels = [n.op for n in result.graph.nodes if isinstance(n.op, QuantizedRelu)]
    assert [op.n_levels for op in levels] == [2, 2, 2]
    assert result.graph.outputs == tiny_source.graph.outputs
    assert result.history[-1]["accuracy"] > 0.6
    assert any("only 96 samples" in warning for warning in result.warnings)


@pytest.mark.slow
def test_distillation_pulls_towards_the_teacher(tiny_source):
    """With labels that are all wrong, only the teacher can keep the network where it was."""
    data = samples()
    wrong = Samples(data.inputs, (data.labels + 1) % 3, "wrong labels")
    teacher = tiny_source.run((data.inputs,))[0]
    found = []
    for weight in (0.0, 1.0):
        share = dataclasses.replace(Settings().distillation, weight=weight)
        settings = dataclasses.replace(QUICK, n_epochs=6, distillation=share)
        result = train(tiny_source, wrong, qcfs(), settings)
        outputs = run(result.graph, (data.inputs,))[0]
        found.append(float(np.abs(outputs - teacher).mean()))
    assert found[1] < found[0]


@pytest.mark.slow
def test_validation_sees_binary_weights_once_they_are(tiny_source):
    settings = Settings(n_epochs=3, batch_size=16, progressive=0.5, learning_rate=1e-2)
    data, other = samples(), samples(96, seed=5)
    result = train(
        tiny_source, data, choose_constraints(("step",)), settings, validation=other,
        binarization=Binarization("scaled", all_layers=True),
    )  # fmt: skip
    (outputs,) = run(result.graph, (other.inputs,))
    found = float((outputs.argmax(axis=1) == other.labels).mean())
    assert abs(result.history[-1]["validation_accuracy"] - found) <= 1 / 96


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["scaled", "ternary"])
def test_binary_weights_are_two_values_per_channel(tiny_source, scheme):
    settings = dataclasses.replace(QUICK, progressive=0.5)
    constraints = choose_constraints(("step",))
    result = train(tiny_source, samples(), constraints, settings, binarization=Binarization(scheme))
    by_name = result.graph.by_name
    for name in ("conv2", "dense1/linear"):
        weight = by_name[name].op.weight
        np.testing.assert_allclose(weight, binarize(weight, scheme), rtol=1e-6)
        flat = np.abs(weight.reshape(len(weight), -1))
        assert all(len(np.unique(row[row > 0])) == 1 for row in flat)
    assert len(np.unique(np.abs(by_name["conv1"].op.weight))) > 8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["firing_rate", "synaptic_operations"])
def test_regularisers_lower_what_they_are_for(tiny_source, name):
    data = samples()
    rates = []
    for constraints in (("qcfs",), ("qcfs", name)):
        strong = {name: {"target": 0.01, "weight": 20.0}} if name in constraints else {}
        chosen = choose_constraints(constraints, strong)
        settings = dataclasses.replace(QUICK, n_epochs=6)
        graph = train(tiny_source, data, chosen, settings).graph
        from spikeport.converter.ir import run_nodes

        found = [
            float((value / node.op.threshold).mean())
            for node, value in run_nodes(graph, (data.inputs,))
            if isinstance(node.op, QuantizedRelu)
        ]
        rates.append(np.mean(found))
    assert rates[1] < 0.9 * rates[0]


def test_weights_stay_within_their_limit(tiny_source):
    chosen = choose_constraints(("clipped", "weight_clipping"), {"weight_clipping": {"limit": 0.2}})
    result = train(tiny_source, samples(), chosen, QUICK)
    assert np.abs(result.graph.by_name["conv2"].op.weight).max() <= np.float32(0.2)


def test_surrogate_gradients_train_what_the_simulator_runs(tiny_source, tmp_path):
    from spikeport.converter.training.finish import convert_trained, encode_trained
    from spikeport.runtime.engines.reference import simulate

    data = samples()
    settings = dataclasses.replace(QUICK, n_epochs=1)
    chosen = choose_constraints(("surrogate",), {"surrogate": {"n_steps": 3}})
    result = train(tiny_source, data, chosen, settings)
    path = tmp_path / "s.keras"
    path.write_bytes(encode_trained(result.graph))
    conversion = convert_trained(path, result.graph, data.inputs)
    assert conversion.graph.metadata["n_steps"] == 3
    assert conversion.graph.metadata["recipe"] == "trained"
    outputs = simulate(conversion.graph, (data.inputs[:8],), 3).outputs[0]
    assert np.isfinite(outputs).all()


@pytest.mark.slow
def test_nothing_random_is_left(tiny_source):
    chosen = choose_constraints(("poisson_noise",))
    first, second = (train(tiny_source, samples(), chosen, QUICK).graph for _ in range(2))
    np.testing.assert_array_equal(weights_of(first), weights_of(second))
    other = dataclasses.replace(QUICK, seed=2)
    assert (weights_of(train(tiny_source, samples(), chosen, other).graph)
            != weights_of(first)).any()  # fmt: skip


SCRIPT = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, {folder!r})
    import numpy as np
    from tiny import build, samples
    from spikeport.converter.frontends import read
    from spikeport.converter.exports.snn import write_snn
    from spikeport.converter.training.constraints import choose_constraints
    from spikeport.converter.training.data import Samples
    from spikeport.converter.training.student import Binarization
    from spikeport.converter.training.train import Settings, train
    import keras, time
    out, slow = Path(sys.argv[1]), float(sys.argv[2])
    class Slow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            print("batch", self.params, flush=True); time.sleep(slow)
    source = read(Path({model!r}))
    settings = Settings(n_epochs=4, batch_size=32, progressive=0.4, learning_rate=3e-3)
    result = train(source, samples(), choose_constraints(("poisson_noise",)), settings,
        binarization=Binarization("stochastic"), augment=lambda x, r: x + r.normal(0, .1, x.shape),
        checkpoint=out.with_suffix(".checkpoint"), callbacks=(Slow(),),
        progress=lambda line: print(line, flush=True))
    write_snn(result.graph, out)
""")


@pytest.mark.slow
def test_killed_in_an_epoch_it_ends_with_the_weights_of_an_undisturbed_run(tmp_path):
    from spikeport.converter.exports.snn import read_snn

    model = tmp_path / "tiny.keras"
    build().save(model)
    script = tmp_path / "run.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent), model=str(model)))

    def start(name, slow):
        command = [sys.executable, str(script), str(tmp_path / name), str(slow)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )

    killed = start("killed.snn", 0.5)
    lines = []
    for line in killed.stdout:
        lines.append(line)
        if sum("epoch" in each and "/4" in each for each in lines) == 2 and "batch" in line:
            break  # two epochs are done, and the third has begun
    time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    killed.stdout.close()
    assert not (tmp_path / "killed.snn").exists()
    again, whole = start("killed.snn", 0), start("whole.snn", 0)
    text = again.communicate()[0]
    assert "epoch 1/4" not in text
    assert "epoch 3/4" in text
    whole.communicate()
    first, second = (read_snn(tmp_path / name) for name in ("killed.snn", "whole.snn"))
    np.testing.assert_array_equal(weights_of(first), weights_of(second))


def test_checkpoint_of_another_training_is_refused(tiny_source, tmp_path):
    path = tmp_path / "a.checkpoint"
    train(tiny_source, samples(), qcfs(), dataclasses.replace(QUICK, n_epochs=1), checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(FormatError, match="another training: n_epochs is 1, expected 2"):
        train(tiny_source, samples(), qcfs(), QUICK, checkpoint=path)
    other = read(build("other"))
    with pytest.raises(FormatError, match="another training: model is "):
        train(other, samples(), qcfs(), QUICK, checkpoint=path)
    assert path.read_bytes() == before


def test_loss_that_is_no_number_names_the_layer(tiny_source, tmp_path):
    path = tmp_path / "a.checkpoint"
    settings = dataclasses.replace(QUICK, learning_rate=1e30)
    with pytest.raises(
        DataError, match=r"conv2 \(Conv2D\): its result is NaN or infinite in batch 2 of epoch 1"
    ) as e:
        train(tiny_source, samples(), qcfs(), settings, checkpoint=path)
    assert "--learning-rate" in e.value.hint
    assert not path.exists()


def test_batch_that_is_no_number_is_found_again(tiny_source):
    """Images of the second epoch are damaged from the third batch on."""
    calls = []

    def damage(inputs, random):
        calls.append(len(inputs))
        inputs = inputs.copy()
        if len(calls) == 2:
            inputs[70:] = np.nan
        return inputs

    with pytest.raises(DataError, match=r"image \(InputLayer\): its result .*batch 3 of epoch 2"):
        train(tiny_source, samples(), qcfs(), QUICK, augment=damage)


def test_weights_that_are_no_numbers_are_not_kept(tiny_source, tmp_path):
    """The loss of the only batch is finite, its gradients are not."""
    path = tmp_path / "a.checkpoint"
    data = samples()
    huge = Samples(data.inputs * np.float32(1e30), data.labels, "huge")
    settings = dataclasses.replace(QUICK, n_epochs=1, batch_size=96, distillation=None)
    with pytest.raises(DataError, match=r"\): a weight is NaN or infinite in epoch 1"):
        train(tiny_source, huge, choose_constraints(("weight_clipping",)), settings,
              checkpoint=path)  # fmt: skip
    assert not path.exists()


@pytest.mark.slow
def test_levels_of_an_earlier_training_stay(tiny_source, tmp_path):
    """Without a constraint for activations, what is trained is what comes out: levels, bounds."""
    from spikeport.converter.training.finish import encode_trained

    data = samples()
    path = tmp_path / "levels.keras"
    first = train(tiny_source, data, qcfs(n_levels=2), dataclasses.replace(QUICK, n_epochs=1))
    path.write_bytes(encode_trained(first.graph))
    chosen = choose_constraints(("weight_clipping",), {"weight_clipping": {"limit": 0.3}})
    again = train(read(path), data, chosen, QUICK, validation=data)
    (outputs,) = run(again.graph, (data.inputs,))
    found = float((outputs.argmax(axis=1) == data.labels).mean())
    assert abs(again.history[-1]["validation_accuracy"] - found) <= 1 / 96
    before, after = (
        [n.op for n in graph.nodes if isinstance(n.op, QuantizedRelu)]
        for graph in (first.graph, again.graph)
    )
    assert len(after) == 3
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a.threshold, b.threshold)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("constraint", "regulariser", "target"),
    [("qcfs", "firing_rate", 0.15), ("sign", "firing_rate", 0.2),
     ("clipped", "synaptic_operations", 1.5), ("step", "synaptic_operations", 0.1)],
)  # fmt: skip
def test_targets_are_reached_and_told(tiny_source, constraint, regulariser, target):
    options = {regulariser: {"target": target, "weight": 30.0}}
    chosen = choose_constraints((constraint, regulariser), options)
    settings = Settings(n_epochs=6, batch_size=8, learning_rate=1e-2)
    lines: list[str] = []
    result = train(tiny_source, samples(), chosen, settings, progress=lines.append)
    first, last = (result.history[place][regulariser] for place in (0, -1))
    assert first > 1.3 * target
    assert last < 1.1 * target
    name = regulariser.replace("_", " ")
    assert f"{name} {last:.4f} (target {target})" in lines[-1]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_epochs": 0}, "--epochs 0: expected at least 1"),
        ({"batch_size": 0}, "--batch-size 0: expected at least 1"),
        ({"patience": 0}, "--patience 0: expected at least 1"),
        ({"learning_rate": -1.0}, "--learning-rate -1.0: expected a positive number"),
        ({"schedule": "step"}, "--schedule 'step': does not exist, expected one of cosine, linear"),
        ({"warmup": 1.0}, "--warmup 1.0: expected 0 <= share < 1"),
        ({"progressive": 1.0}, "--progressive 1.0: expected 0 <= share < 1"),
    ],
)
def test_wrong_settings_are_refused(options, match):
    with pytest.raises(PassError, match=match):
        Settings(**options)


def test_what_cannot_be_trained_is_refused(tiny_source):
    import keras

    with pytest.raises(PassError, match="--patience: there is nothing to watch"):
        train(tiny_source, samples(), qcfs(), dataclasses.replace(QUICK, patience=1))
    data = samples()
    ones = Samples(data.inputs, data.labels * 0 + 1, "ones")
    with pytest.raises(DataError, match="has class 1 only"):
        train(tiny_source, ones, qcfs(), QUICK)
    flat = keras.Sequential([keras.layers.Input((6, 6, 1)), keras.layers.Flatten(),
                             keras.layers.Dense(3)])  # fmt: skip
    with pytest.raises(PassError, match="the network has no ReLU"):
        train(read(flat), samples(), qcfs(), QUICK)
    with pytest.raises(PassError, match="every layer is a first, a last or a depthwise one"):
        train(read(flat), samples(), {}, QUICK, binarization=Binarization())
    image = keras.Sequential([keras.layers.Input((6, 6, 1)), keras.layers.Conv2D(2, 3),
                              keras.layers.ReLU()])  # fmt: skip
    with pytest.raises(PassError, match="expected one input and one output of a number per class"):
        train(read(image), samples(), qcfs(), QUICK)
