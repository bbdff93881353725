"""Exact schedules: counts are those of the network with quantised activations, neuron by neuron."""

import dataclasses
import functools

import numpy as np
import pytest

from spikeport.converter.ir import Graph, Neuron, Node, run
from spikeport.converter.ir.bounds import find_overflows
from spikeport.converter.ir.ops import Dense, Input, QuantizedRelu, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines import counts, event
from spikeport.runtime.engines.reference import simulate
from spikeport.runtime.simulation import Simulation, neurons

from . import quantised_ann
from .random_networks import RandomNetwork

SCHEDULES = ("wait", "parallel", "settle")
STEPS = (1, 2, 3, 4, 7)
"""T of a network, by its seed."""
N_SAMPLES = 3


def schedule(graph: Graph, name: str, n_steps: int) -> Graph:
    graph = PASSES["insert_neurons"](graph)
    return PASSES["schedule_neurons"](graph, n_steps=n_steps, schedule=name)


@functools.lru_cache(1)
def normalized(seed: int) -> tuple[Graph, tuple[np.ndarray], tuple[np.ndarray]]:
    """A random network, calibration samples and samples."""
    network = RandomNetwork(seed)
    inputs, calibration = network.inputs(N_SAMPLES), network.inputs(20)
    graph = PASSES["normalize_weights"](network.graph, calibration=calibration, percentile=95.0)
    return graph, calibration, inputs


def in_integers(seed: int, name: str) -> tuple[Graph, tuple[np.ndarray]]:
    """A random network in integers, and samples for it."""
    n_steps = STEPS[seed % len(STEPS)]
    graph, calibration, inputs = normalized(seed)
    graph = schedule(graph, name, n_steps)
    return PASSES["use_integers"](graph, calibration=calibration, n_steps=n_steps), inputs


def n_run_steps(graph: Graph) -> int:
    return graph.metadata["schedule"]["n_steps"]


def count_mismatches(graph: Graph, found: Simulation, expected: dict) -> int:
    """Neurons with another count than the oracle's; outputs must be its, too."""
    wrong = 0
    for node in neurons(graph):
        assert found.spike_counts[node.name].shape == expected[node.name].shape
        wrong += int((found.spike_counts[node.name] != expected[node.name]).sum())
    for name, output in zip(graph.outputs, found.outputs, strict=True):
        mean = expected[name] / n_run_steps(graph) * graph.by_name[name].unit
        np.testing.assert_array_equal(output[-1], mean.astype(np.float32))
    return wrong


def assert_same_run(first: Simulation, second: Simulation) -> None:
    """Everything of two runs but what only one of them says."""
    assert first.n_spikes == second.n_spikes
    for a, b in zip(first.outputs, second.outputs, strict=True):
        np.testing.assert_array_equal(a, b)
    for name, found in first.spike_counts.items():
        np.testing.assert_array_equal(found, second.spike_counts[name])
    assert first.synaptic_operations.keys() == second.synaptic_operations.keys()
    for name, found in first.synaptic_operations.items():
        np.testing.assert_array_equal(found, second.synaptic_operations[name], err_msg=name)


def check_network(seed: int) -> int:
    """Return how many neurons of a random network were compared, over all schedules."""
    n_compared = 0
    for name in SCHEDULES:
        graph, inputs = in_integers(seed, name)
        expected = quantised_ann.run(graph, inputs, np.int64, 1)
        found = simulate(graph, inputs, n_run_steps(graph))
        assert count_mismatches(graph, found, expected) == 0, (seed, name)
        n_compared += sum(found.spike_counts[node.name].size for node in neurons(graph))
        if name == "settle":
            assert found.quiet_after.max() <= n_run_steps(graph)
            continue
        assert counts.is_exact(graph)
        fast = counts.compile_graph(graph).run(inputs, n_run_steps(graph))
        assert_same_run(fast, found)
    return n_compared


@pytest.mark.parametrize("block", range(4))
def test_counts_are_the_quantised_networks(block):
    assert sum(check_network(seed) for seed in range(10 * block, 10 * block + 10)) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_counts_are_the_quantised_networks_in_300_more(block):
    assert sum(check_network(seed) for seed in range(100 + 30 * block, 130 + 30 * block)) > 1000


@pytest.mark.parametrize("seed", range(40))
def test_schedules_alone_are_exact_on_binary_fractions(seed):
    """Without integer mode: the analog graph's own ReLUs, quantised, are the counts."""
    network, n_steps = RandomNetwork(1000 + seed, dyadic=True), STEPS[seed % len(STEPS)]
    inputs = network.inputs(N_SAMPLES)
    expected = quantised_ann.run(network.graph, inputs, np.float64, n_steps)
    for name in SCHEDULES:
        graph = schedule(network.graph, name, n_steps)
        found = simulate(graph, inputs, n_run_steps(graph))
        for node in neurons(graph):
            np.testing.assert_array_equal(found.spike_counts[node.name], expected[node.name])
        (output,) = network.graph.outputs
        np.testing.assert_allclose(
            found.outputs[0][-1], expected[output] / n_steps, rtol=1e-6, atol=1e-6
        )
        if name != "settle":
            fast = counts.compile_graph(graph).run(inputs, n_run_steps(graph))
            assert_same_run(fast, found)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("seed", range(6))
def test_event_engine_step_by_step(seed, name):
    """Node by node in the reference engine's code, and with its short cut."""
    graph, inputs = in_integers(seed, name)
    expected = simulate(graph, inputs, n_run_steps(graph))
    runner = event.compile_graph(graph, n_threads=2)
    assert (runner.short is None) == (name == "settle")
    assert_same_run(runner.run(inputs, n_run_steps(graph), count_spikes=True), expected)
    slow = event.EventRunner(graph, runner.plan, 1)
    found = slow.run(inputs, n_run_steps(graph), count_spikes=True)
    assert_same_run(found, expected)
    if name == "settle":
        np.testing.assert_array_equal(found.quiet_after, expected.quiet_after)


def test_what_is_sent_too_early_is_taken_back():
    """Signed neurons send more spikes than levels, and are not done when the input has ended."""
    more, later = 0, 0
    for seed in range(10):
        graph, inputs = in_integers(seed, "settle")
        found = simulate(graph, inputs, n_run_steps(graph))
        levels = sum(int(count.sum()) for count in found.spike_counts.values())
        assert sum(found.n_spikes.values()) >= levels
        more += sum(found.n_spikes.values()) > levels
        later += found.quiet_after.max() > 1
    assert more > 3
    assert later > 7


def test_causal_graphs_in_integers_are_the_same_on_both_engines():
    for seed in range(6):
        network = RandomNetwork(seed)
        inputs = network.inputs(20)
        graph = PASSES["normalize_weights"](network.graph, calibration=inputs)
        graph = PASSES["insert_neurons"](graph)
        graph = PASSES["use_integers"](graph, calibration=inputs, n_steps=9)
        assert not find_overflows(graph, 9)
        found = event.compile_graph(graph).run(inputs, 9, count_spikes=True)
        assert_same_run(found, simulate(graph, inputs, 9))


def test_all_parameters_are_small_integers():
    graph, _ = in_integers(3, "wait")
    for node in graph.nodes:
        for field, value in vars(node.op).items():
            if isinstance(value, np.ndarray):
                assert (value == np.rint(value)).all(), (node, field)
                assert field != "weight" or np.abs(value).max() <= 127
        if isinstance(node.op, Neuron):
            assert (node.op.threshold % 2 == 0).all()


@pytest.mark.parametrize("name", SCHEDULES)
def test_wide_layer_is_rounded_so_that_its_sums_stay_exact(name):
    """A layer of 2000 inputs, whose sums over 16 steps could reach 2^26 without it."""
    random = np.random.default_rng(2)
    n_steps = 16
    wide = Dense(random.uniform(0, 1, (8, 2000)) - 0.45, np.zeros(8))
    nodes = (
        Node("x", Input((2000,))),
        Node("wide", wide, ("x",)),
        Node("relu", Relu(), ("wide",)),
        Node("y", Dense(random.normal(size=(3, 8)), np.ones(3)), ("relu",)),
    )
    x = random.uniform(0, 1, (N_SAMPLES, 2000)).astype(np.float32)
    network = Graph(nodes, ("x",), ("y",))
    normalized = PASSES["normalize_for_steps"](network, calibration=(x,), n_steps=n_steps)
    scheduled = PASSES["schedule_neurons"](
        PASSES["insert_neurons"](normalized), n_steps=n_steps, schedule=name
    )
    graph = PASSES["use_integers"](scheduled, calibration=(x,), n_steps=n_steps)
    rounded = graph.by_name["wide/rounded"].op
    assert rounded.step in {2, 4, 8, 16}
    assert not find_overflows(graph, n_run_steps(graph))
    expected = quantised_ann.run(graph, (x,), np.int64, 1)
    found = simulate(graph, (x,), n_run_steps(graph))
    assert count_mismatches(graph, found, expected) == 0
    assert_same_run(
        event.compile_graph(graph).run((x,), n_run_steps(graph), count_spikes=True), found
    )
    ann = run(network, (x,))[0]
    assert np.abs(found.outputs[0][-1] - ann).max() < 0.15 * np.abs(ann).max()


@pytest.mark.parametrize("seed", range(6))
def test_trained_thresholds_in_integers_are_the_oracles(seed):
    """What recipe trained_integer makes of trained levels: every count of every engine."""
    network = RandomNetwork(seed)
    inputs, calibration = network.inputs(N_SAMPLES), network.inputs(20)
    random = np.random.default_rng(seed)
    nodes = []
    for node in network.graph.nodes:
        if isinstance(node.op, Relu):
            n_channels, *others = network.graph.types[node.name].shape
            threshold = random.uniform(0.5, 2, (n_channels, *(1,) * len(others)))
            node = dataclasses.replace(node, op=QuantizedRelu(threshold.astype(np.float32), 3))
        nodes.append(node)
    graph = PASSES["use_trained_thresholds"](network.graph.replace(nodes=tuple(nodes)))
    graph = schedule(graph, "wait", 3)
    graph = PASSES["use_integers"](graph, calibration=calibration, n_steps=3)
    expected = quantised_ann.run(graph, inputs, np.int64, 1)
    floats = quantised_ann.run(graph, inputs, np.float64, 1)  # as the benchmark asks it
    for name in graph.outputs:
        np.testing.assert_array_equal(floats[name], expected[name])
    for engine in (counts, event):
        found = engine.compile_graph(graph).run(inputs, n_run_steps(graph), count_spikes=True)
        assert count_mismatches(graph, found, expected) == 0
    found = simulate(graph, inputs, n_run_steps(graph))
    assert count_mismatches(graph, found, expected) == 0
