"""Exact schedules: counts are those of the network with quantised activations, neuron by neuron."""

import dataclasses
import functools
from collections import Counter

import numpy as np
import pytest

from spikeport.converter.ir import Graph, Neuron, Node, run
from spikeport.converter.ir.bounds import find_overflows
from spikeport.converter.ir.ops import (
    Add,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Input,
    MaxPool,
    QuantizedRelu,
    Relu,
)
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


def test_the_networks_have_what_they_are_said_to_have():
    """Every kind of structure in dozens of the networks that are compared."""
    found = Counter()
    for seed in (*range(40), *range(100, 400)):
        nodes = RandomNetwork(seed).graph.nodes
        found.update({type(node.op).__name__ for node in nodes})
        found.update({"groups" for node in nodes if getattr(node.op, "groups", 1) > 1})
        found.update({"strides" for node in nodes if max(getattr(node.op, "strides", (1,))) > 1})
        consumers = Counter(name for node in nodes for name in set(node.inputs))
        found.update({"shared"} if max(consumers.values()) > 1 else ())
    kinds = ("Conv", "Dense", "Add", "Concatenate", "MaxPool", "AveragePool", "GlobalAveragePool")
    for kind in (*kinds, "groups", "strides", "shared"):
        assert found[kind] > 60, (kind, found)


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


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_currents_around_neurons_keep_their_worth_in_integers(name):
    """Pre-activation blocks: integers of a current are hundreds of times as fine as weights."""
    n_steps, errors = 8, []
    for seed in range(12):
        network = RandomNetwork(2000 + seed, blocks=("pre_activation",))
        inputs, calibration = network.inputs(N_SAMPLES), network.inputs(20)
        graph = PASSES["normalize_weights"](network.graph, calibration=calibration)
        floats = schedule(graph, name, n_steps)
        graph = PASSES["use_integers"](floats, calibration=calibration, n_steps=n_steps)
        expected = quantised_ann.run(graph, inputs, np.int64, 1)
        found = simulate(graph, inputs, n_run_steps(graph))
        assert count_mismatches(graph, found, expected) == 0
        runner = event.compile_graph(graph)
        assert_same_run(runner.run(inputs, n_run_steps(graph), count_spikes=True), found)
        wanted = simulate(floats, inputs, n_run_steps(floats)).spike_counts
        errors += [np.abs(found.spike_counts[key] - wanted[key]).mean() for key in wanted]
    assert np.mean(errors) < 0.05
    assert np.max(errors) < 0.5


def beside_spikes(kind: str) -> Graph:
    """A network whose second layer takes spikes and other integers, or adds them to its own."""
    random = np.random.default_rng(5)

    def weight(*shape: int) -> np.ndarray:
        return random.normal(0.1, 1.0 / np.sqrt(np.prod(shape[1:])), shape)

    one = ((1, 1), (1, 1), ((1, 1), (1, 1)))
    nodes = [
        Node("x", Input((3, 8, 8))),
        Node("conv", Conv(weight(3, 3, 3, 3), np.zeros(3), *one), ("x",)),
        Node("relu", Relu(), ("conv",)),
    ]
    if kind == "input concatenated":
        nodes += [
            Node("both", Concatenate(0), ("relu", "x")),
            Node("conv2", Conv(weight(3, 6, 3, 3), np.zeros(3), *one), ("both",)),
        ]
    elif kind == "means concatenated":
        nodes += [
            Node("mean", GlobalAveragePool(), ("relu",)),
            Node("largest", MaxPool((8, 8), (8, 8), (1, 1), ((0, 0), (0, 0))), ("relu",)),
            Node("flat", Flatten(), ("largest",)),
            Node("both", Concatenate(0), ("mean", "flat")),
            Node("conv2", Dense(weight(8, 6), np.zeros(8)), ("both",)),
        ]
    else:
        branch = Conv(weight(3, 3, 3, 3), np.zeros(3), *one)
        nodes.append(Node("branch", branch, ("relu",)))
        around = "x"
        if kind == "layer of the input added":
            nodes.append(Node("around", Conv(weight(3, 3, 3, 3), np.ones(3), *one), ("x",)))
            around = "around"
        nodes.append(Node("conv2", Add(), ("branch", around)))
    nodes += [Node("relu2", Relu(), ("conv2",)), Node("flat2", Flatten(), ("relu2",))]
    n_flat = 8 if kind == "means concatenated" else 192
    nodes.append(Node("y", Dense(weight(4, n_flat), np.zeros(4)), ("flat2",)))
    return Graph(tuple(nodes), ("x",), ("y",))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    "kind",
    ["input concatenated", "means concatenated", "input added", "layer of the input added"],
)
def test_integers_of_every_size_meet_without_loss(kind, name):
    graph, n_steps = beside_spikes(kind), 8
    x = np.random.default_rng(6).random((40, 3, 8, 8), dtype=np.float32)
    graph = PASSES["normalize_for_steps"](graph, calibration=(x,), n_steps=n_steps)
    floats = schedule(graph, name, n_steps)
    graph = PASSES["use_integers"](floats, calibration=(x,), n_steps=n_steps)
    inputs = (x[:8],)
    expected = quantised_ann.run(graph, inputs, np.int64, 1)
    found = simulate(graph, inputs, n_run_steps(graph))
    assert count_mismatches(graph, found, expected) == 0
    wanted = simulate(floats, inputs, n_run_steps(floats))
    for key, count in wanted.spike_counts.items():
        assert np.abs(found.spike_counts[key] - count).mean() < 0.1
    error = np.abs(found.outputs[0][-1] - wanted.outputs[0][-1])
    assert error.max() < 0.05 * np.abs(wanted.outputs[0][-1]).max()


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


@pytest.mark.parametrize("name", SCHEDULES)
def test_bits_depend_on_neither_threads_nor_batches(name):
    for seed in range(4):
        graph, _ = in_integers(seed, name)
        (x,) = RandomNetwork(seed).inputs(11)
        n_steps = n_run_steps(graph)
        whole = simulate(graph, (x,), n_steps)
        for n_threads, size in ((1, 1), (1, 4), (2, 3), (2, 11)):
            runner = event.compile_graph(graph, n_threads=n_threads)
            for start in range(0, len(x), size):
                chosen = slice(start, start + size)
                found = runner.run((x[chosen],), n_steps, count_spikes=True)
                np.testing.assert_array_equal(found.outputs[0], whole.outputs[0][:, chosen])
                for node in neurons(graph):
                    np.testing.assert_array_equal(
                        found.spike_counts[node.name], whole.spike_counts[node.name][chosen]
                    )


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
