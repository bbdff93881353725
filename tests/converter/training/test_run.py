"""A training in progress: what changes from epoch to epoch, and which epoch is kept."""

import dataclasses

import numpy as np
import pytest

from spikeport.converter.ir import run
from spikeport.converter.ir.ops import QuantizedRelu
from spikeport.converter.training.constraints import choose_constraints
from spikeport.converter.training.student import Binarization
from spikeport.converter.training.train import Settings, train

from .tiny import samples

QUICK = Settings(n_epochs=2, batch_size=32, learning_rate=3e-3)


def test_whetstone_ends_sharp_and_bottom_up(tiny_source):
    from spikeport.converter.training import run as module

    seen = []
    original = module._sharpen

    def watch(student, constraints, done):
        original(student, constraints, done)
        names = student.activations.values()
        seen.append([float(student.inner.get_layer(n).sharpness.numpy()) for n in names])

    module._sharpen = watch
    try:
        settings = dataclasses.replace(QUICK, n_epochs=4)
        result = train(tiny_source, samples(), choose_constraints(("whetstone",)), settings)
    finally:
        module._sharpen = original
    assert all(list(row) == sorted(row, reverse=True) for row in seen)
    assert seen[-1] == [1, 1, 1]
    rises = np.diff(seen, axis=0)
    assert rises.min() >= 0
    assert rises.max() < 0.5  # from step to step of the optimiser, not from epoch to epoch
    steps = [n.op for n in result.graph.nodes if isinstance(n.op, QuantizedRelu)]
    assert [op.n_levels for op in steps] == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "scheme", "options"),
    [(("whetstone",), "", {}), (("step",), "scaled", {"progressive": 0.6})],
)
def test_the_best_epoch_is_one_of_the_form_that_training_ends_in(
    tiny_source, names, scheme, options
):
    """Soft activations and full weights are better on validation, and worth nothing."""
    settings = Settings(n_epochs=5, batch_size=32, learning_rate=1e-7, patience=1, **options)
    data = samples()
    result = train(
        tiny_source, data, choose_constraints(names), settings, validation=data,
        binarization=Binarization(scheme, all_layers=True) if scheme else None,
    )  # fmt: skip
    accuracies = [entry["validation_accuracy"] for entry in result.history]
    (outputs,) = run(result.graph, (data.inputs,))
    found = float((outputs.argmax(axis=1) == data.labels).mean())
    assert len(accuracies) >= 4  # no stop before the fourth epoch, the first that is final
    assert max(accuracies[:3]) > max(accuracies[3:])
    assert found == pytest.approx(max(accuracies[3:]), abs=1.5 / 96)


def test_weights_are_binary_in_the_only_epoch(tiny_source):
    settings = Settings(n_epochs=1, batch_size=32, learning_rate=1e-7, progressive=0.5)
    data = samples()
    result = train(
        tiny_source, data, choose_constraints(("step",)), settings, validation=data,
        binarization=Binarization("scaled", all_layers=True),
    )  # fmt: skip
    (outputs,) = run(result.graph, (data.inputs,))
    found = float((outputs.argmax(axis=1) == data.labels).mean())
    assert result.history[-1]["validation_accuracy"] == pytest.approx(found, abs=1.5 / 96)


@pytest.mark.slow
def test_patience_keeps_the_best_epoch(tiny_source):
    settings = dataclasses.replace(QUICK, n_epochs=6, patience=1, learning_rate=0.3)
    data = samples()
    result = train(
        tiny_source, data, choose_constraints(("qcfs",)), settings, validation=samples(48, seed=9)
    )
    values = [entry["validation_accuracy"] for entry in result.history]
    assert len(values) < 6
    (outputs,) = run(result.graph, (samples(48, seed=9).inputs,))
    found = float((outputs.argmax(axis=1) == samples(48, seed=9).labels).mean())
    assert abs(found - max(values)) < 0.05
