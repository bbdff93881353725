"""Biases corrected against the spikes."""

import sys

import numpy as np
import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import Add, Conv, Dense, GlobalAveragePool, Input, MaxPool, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines import event
from spikeport.runtime.engines.reference import simulate


def two_neurons():
    """A neuron that gets 0.3 a step, and an output that gets twice its spikes."""
    nodes = (
        Node("x", Input((1,))),
        Node("dense", Dense(np.eye(1), np.zeros(1)), ("x",)),
        Node("relu", Relu(), ("dense",)),
        Node("y", Dense(np.full((1, 1), 2.0), np.zeros(1)), ("relu",)),
    )
    graph = PASSES["insert_neurons"](Graph(nodes, ("x",), ("y",)))
    x = np.full((1, 1), 0.3, np.float32)
    return graph, x


def test_two_rounds_by_hand():
    # 0.3 a step for 4 steps from 0.5: 1 spike, a rate of 0.25 where 0.3 is wanted: +0.05;
    # 0.35 a step still gives 1 spike: +0.05 again; the output then gets 0.4 a step, 2 spikes
    graph, x = two_neurons()
    found = PASSES["correct_biases"](graph, calibration=(x,), n_steps=4, per_neuron=False)
    np.testing.assert_allclose(found.by_name["dense"].op.bias, [0.1], rtol=1e-5)
    np.testing.assert_allclose(found.by_name["y"].op.bias, [0.6 - 2 * 0.5], rtol=1e-5)
    once = PASSES["correct_biases"](graph, calibration=(x,), n_steps=4, n_rounds=1)
    np.testing.assert_allclose(once.by_name["dense"].op.bias, [0.05], rtol=1e-5)


def test_a_cap_is_part_of_the_activation():
    """Currents 0.3 and 5 under a cap of 2: rates of 0.15 and 1, and nothing is missing."""
    nodes = (
        Node("x", Input((2,))),
        Node("dense", Dense(np.eye(2), np.zeros(2)), ("x",)),
        Node("relu", Relu(np.full(1, 2, np.float32)), ("dense",)),
        Node("y", Dense(np.ones((1, 2)), np.zeros(1)), ("relu",)),
    )
    x = np.float32([[0.3, 5]])
    graph = PASSES["normalize_weights"](
        Graph(nodes, ("x",), ("y",)), calibration=(x,), rule="weights"
    )
    np.testing.assert_allclose(graph.by_name["relu"].unit, 2)
    graph = PASSES["insert_neurons"](graph)
    assert graph.metadata["caps"] == {"relu": [1.0]}
    found = PASSES["correct_biases"](graph, calibration=(x,), n_steps=20, n_rounds=1)
    np.testing.assert_allclose(found.by_name["dense"].op.bias, [0, 0], atol=1e-6)


def network() -> tuple[Graph, np.ndarray]:
    """Residual, max-pooled, two layers deep: spikes come unevenly."""
    random = np.random.default_rng(4)

    def conv(n_out, n_in):
        weight = random.normal(0, (1 / (9 * n_in)) ** 0.5, (n_out, n_in, 3, 3))
        return Conv(weight, random.normal(0, 0.1, n_out), (1, 1), (1, 1), ((1, 1),) * 2)

    nodes = (
        Node("x", Input((2, 8, 8))),
        Node("conv1", conv(6, 2), ("x",)),
        Node("relu1", Relu(), ("conv1",)),
        Node("conv2", conv(6, 6), ("relu1",)),
        Node("sum", Add(), ("conv2", "relu1")),
        Node("relu2", Relu(), ("sum",)),
        Node("pool", MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2), ("relu2",)),
        Node("conv3", conv(5, 6), ("pool",)),
        Node("relu3", Relu(), ("conv3",)),
        Node("mean", GlobalAveragePool(), ("relu3",)),
        Node("y", Dense(random.normal(0, 1, (3, 5)), np.zeros(3)), ("mean",)),
    )
    x = random.uniform(-1, 1, (60, 2, 8, 8)).astype(np.float32)
    graph = PASSES["normalize_weights"](Graph(nodes, ("x",), ("y",)), calibration=(x,))
    return graph, x


def test_potentials_by_hand():
    # as above, but 0.05 x 4 steps at once: 0.7, one spike still, then 0.9, 2 spikes
    graph, x = two_neurons()
    found = PASSES["correct_biases"](graph, calibration=(x,), n_steps=4, into="potentials")
    np.testing.assert_allclose(found.by_name["relu"].op.initial_potential, [0.9], rtol=1e-5)
    np.testing.assert_array_equal(found.by_name["dense"].op.bias, [0])
    np.testing.assert_allclose(found.by_name["y"].op.bias, [0.6 - 2 * 0.5], rtol=1e-5)


@pytest.mark.parametrize("into", ["biases", "potentials"])
@pytest.mark.parametrize("per_neuron", [False, True])
def test_rates_come_closer_to_the_activations(per_neuron, into):
    from spikeport.converter.ir import run_nodes

    graph, x = network()
    spiking = PASSES["insert_neurons"](graph)
    corrected = PASSES["correct_biases"](
        spiking, calibration=(x,), n_steps=4, per_neuron=per_neuron, n_rounds=3, into=into
    )
    exact = {node.name: value for node, value in run_nodes(graph, (x,))}
    for name in ("relu1", "relu2", "relu3"):
        axes = 0 if per_neuron else (0, 2, 3)
        errors = [
            np.abs((simulate(g, (x,), 4).spike_counts[name] / 4 - exact[name]).mean(axis=axes))
            for g in (spiking, corrected)
        ]
        assert errors[1].mean() < 0.6 * errors[0].mean(), name
    outputs = [simulate(g, (x,), 4).outputs[0][-1] for g in (spiking, corrected)]
    before, after = (np.abs((out - exact["y"]).mean(axis=0)).max() for out in outputs)
    assert after < 1e-5 < before
    (fast,) = event.compile_graph(corrected).run((x,), 4).outputs
    np.testing.assert_allclose(fast[-1], outputs[1], atol=1e-4)
    shape = corrected.by_name["relu2"].op.initial_potential.shape
    assert shape == (
        (6, 8, 8)
        if per_neuron and into == "potentials"
        else (6, 1, 1)
        if into == "potentials"
        else (1, 1, 1)
    )


def test_the_memory_of_a_layer_is_bounded(monkeypatch):
    graph, x = network()
    spiking = PASSES["insert_neurons"](graph)
    module = sys.modules["spikeport.converter.passes.correct_biases"]
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    few = PASSES["correct_biases"](spiking, calibration=(x,), n_steps=4)
    same = PASSES["correct_biases"](spiking, calibration=(x[:16],), n_steps=4)
    np.testing.assert_array_equal(few.by_name["conv1"].op.bias, same.by_name["conv1"].op.bias)


def test_what_cannot_be_corrected():
    graph, x = network()
    spiking = PASSES["insert_neurons"](graph)
    for option in ("n_samples", "n_rounds"):
        with pytest.raises(PassError, match=f"correct_biases: {option} 0, expected at least 1"):
            PASSES["correct_biases"](spiking, calibration=(x,), n_steps=4, **{option: 0})
    with pytest.raises(PassError, match=r"correct_biases\.into 'weights': does not exist"):
        PASSES["correct_biases"](spiking, calibration=(x,), n_steps=4, into="weights")
    from spikeport.converter.ir.graded import Burst

    nodes = (
        Node("x", Input((1,))),
        Node("burst", Burst(np.ones(1), np.zeros(1), 3), ("x",)),
    )
    with pytest.raises(PassError, match=r"burst \(Burst\): has no activation to compare with"):
        PASSES["correct_biases"](
            Graph(nodes, ("x",), ("burst",)),
            calibration=(np.ones((1, 1), np.float32),),
            n_steps=4,
        )
