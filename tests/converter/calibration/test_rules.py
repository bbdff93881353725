"""Threshold rules against what they are defined by: by hand, by brute force, by simulation."""

import numpy as np
import pytest

from spikeport.converter.calibration.balancing import find_balanced_thresholds
from spikeport.converter.calibration.bounds import find_largest_activations
from spikeport.converter.calibration.gaussian import find_gaussian_thresholds, solve
from spikeport.converter.calibration.thresholds import (
    N_OCTAVES,
    collect_histograms,
    find_activation_percentiles,
)
from spikeport.converter.errors import PassError
from spikeport.converter.ir import Graph, Node, run_nodes
from spikeport.converter.ir.ops import Dense, Input, Relu, Softmax
from spikeport.converter.passes import PASSES

RANDOM = np.random.default_rng(12)


def line(*weights: np.ndarray, biases: tuple[float, ...] = ()) -> Graph:
    """Dense layers with ReLUs d1 -> r1 -> d2 -> r2 ..."""
    nodes, last = [Node("x", Input((weights[0].shape[1],)))], "x"
    for number, weight in enumerate(weights, start=1):
        bias = np.full(len(weight), biases[number - 1] if biases else 0.0, np.float32)
        nodes.append(Node(f"d{number}", Dense(np.float32(weight), bias), (last,)))
        nodes.append(Node(f"r{number}", Relu(), (f"d{number}",)))
        last = f"r{number}"
    return Graph(tuple(nodes), ("x",), (last,))


def test_bounds_by_hand():
    graph = line(np.array([[1, -2], [0, 3]]), np.array([[1, -1], [1, 1]]), biases=(0.5, 0))
    # x in 0..1: d1 in -1.5..1.5 and 0.5..3.5; d2: 1.5 - 0.5 and 1.5 + 3.5
    found = find_largest_activations(graph, {"x": (0, 1)}, per_channel=True)
    np.testing.assert_allclose(found["r1"], [1.5, 3.5])
    np.testing.assert_allclose(found["r2"], [1.0, 5.0])
    layer = find_largest_activations(graph, {"x": (0, 1)}, per_channel=False)
    np.testing.assert_allclose(layer["r1"], [3.5])
    signed = find_largest_activations(graph, {"x": (-1, 1)}, per_channel=True)
    np.testing.assert_allclose(signed["r1"], [3.5, 3.5])


def test_bounds_hold_on_every_kind_of_layer(sample_graph):
    graph = PASSES["fold_batch_norm"](PASSES["strip_output_activation"](sample_graph))
    inputs = tuple(
        RANDOM.uniform(-1, 2, (20, *graph.types[name].shape)).astype(np.float32)
        for name in graph.inputs
    )
    bounds = find_largest_activations(
        graph, dict.fromkeys(graph.inputs, (-1.0, 2.0)), per_channel=True
    )
    for node, value in run_nodes(graph, inputs):
        if isinstance(node.op, Relu):
            assert (value <= bounds[node.name] * (1 + 1e-5) + 1e-5).all()


def test_bounds_that_are_not_known_or_not_positive():
    with pytest.raises(PassError, match=r"r1 \(Relu\): no input can make it active"):
        find_largest_activations(line(np.array([[-1.0]])), {"x": (0, 1)}, per_channel=True)
    nodes = (Node("x", Input((2,))), Node("s", Softmax(0), ("x",)), Node("r", Relu(), ("s",)))
    with pytest.raises(PassError, match=r"r \(Relu\): lies behind an operation without bounds"):
        find_largest_activations(Graph(nodes, ("x",), ("r",)), {"x": (0, 1)}, per_channel=True)


@pytest.mark.parametrize("n_iterations", [1, 7, 200])
def test_balanced_thresholds_are_the_iteration_on_the_samples(n_iterations):
    graph = line(RANDOM.normal(size=(5, 6)))
    x = RANDOM.normal(size=(400, 6)).astype(np.float32)
    activations = np.maximum(x @ graph.by_name["d1"].op.weight.T, 0)
    theta = np.zeros(5)
    for _ in range(n_iterations):
        theta += 2 * np.maximum(activations - theta, 0).mean(axis=0)
    found = find_balanced_thresholds(graph, (x,), n_iterations=n_iterations)["r1"]
    np.testing.assert_allclose(found, theta, rtol=0.01)
    assert (theta <= activations.max(axis=0)).all()


def test_balancing_needs_an_iteration():
    with pytest.raises(PassError, match="n_iterations 0, expected at least 1"):
        find_balanced_thresholds(line(np.eye(2)), (np.ones((2, 2), np.float32),), n_iterations=0)


@pytest.mark.parametrize("n_levels", [1, 4, 16, 64, 256])
@pytest.mark.parametrize("mean", [-1.0, 0.0, 2.0])
def test_gaussian_threshold_has_the_least_error(mean, n_levels):
    values = np.random.default_rng(1).normal(mean, 1.5, 200_000)
    activations = np.maximum(values, 0)

    def error(theta: float) -> float:
        step = theta / n_levels
        rounded = step * np.clip(np.floor(values / step + 0.5), 0, n_levels)
        return float(np.square(rounded - activations).mean())

    (found,) = solve(np.array([mean]), np.array([1.5]), n_levels)
    tried = np.linspace(0.3, 12, 300)
    assert error(found) <= (1.01 if n_levels <= 16 else 1.1) * min(map(error, tried))


def test_gaussian_thresholds_of_a_graph():
    graph = line(RANDOM.normal(size=(4, 50)))
    x = RANDOM.normal(size=(3000, 50)).astype(np.float32)
    currents = x @ graph.by_name["d1"].op.weight.T
    found = find_gaussian_thresholds(graph, (x,), n_levels=8, per_channel=True)["r1"]
    expected = solve(currents.mean(axis=0), currents.std(axis=0), 8)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    one = find_gaussian_thresholds(graph, (x,), n_levels=8, per_channel=False)["r1"]
    assert one.shape == (1,)


def test_gaussian_thresholds_of_nothing():
    graph = line(np.eye(2), biases=(-1e6,))
    x = RANDOM.uniform(0, 1, (50, 2)).astype(np.float32)
    with pytest.raises(PassError, match="its currents are far below zero"):
        find_gaussian_thresholds(graph, (x,), n_levels=4, per_channel=True)
    with pytest.raises(PassError, match="n_levels 0, expected at least 1"):
        find_gaussian_thresholds(graph, (x,), n_levels=0, per_channel=True)
    with pytest.raises(PassError, match="calibration: has no samples"):
        find_gaussian_thresholds(graph, (x[:0],), n_levels=1, per_channel=True)


@pytest.mark.parametrize("outlier", [1.0, 1e3, 1e6])
def test_an_outlier_costs_no_precision(outlier):
    x = RANDOM.uniform(0, 1, (20_000, 1)).astype(np.float32)
    x[0] = outlier
    found = find_activation_percentiles(line(np.eye(1)), (x,), percentile=50, per_channel=True)
    assert found["r1"] == pytest.approx(np.percentile(x, 50), rel=0.01)


def test_histograms_hold_every_activation():
    x = RANDOM.normal(size=(500, 3)).astype(np.float32)
    histogram = collect_histograms(line(np.eye(3)), (x,))["r1"]
    assert histogram.n_entries == 500
    np.testing.assert_allclose(histogram.weights.sum(axis=1), (x > 0).sum(axis=0))
    np.testing.assert_allclose(
        (histogram.weights * histogram.points).sum(axis=1), np.maximum(x, 0).sum(axis=0), rtol=1e-5
    )


def test_percentile_below_all_points():
    x = np.full((1000, 1), 1e-30, np.float32)
    x[0] = 1
    with pytest.raises(PassError, match=rf"less than 2\^-{N_OCTAVES} of the largest"):
        find_activation_percentiles(line(np.eye(1)), (x,), percentile=50, per_channel=True)


def test_spikes_rule_is_the_largest_current_of_a_step():
    """Two inputs fire at once at some step, though their rates are 1/2 and 1/4."""
    graph = line(np.eye(2), np.array([[1.0, 1.0]]))
    x = np.float32([[2, 2], [1, 0.5]])
    result = PASSES["normalize_weights"](graph, calibration=(x,), n_steps=8, rule="spikes")
    np.testing.assert_allclose(result.by_name["r1"].unit, [2.0])
    np.testing.assert_allclose(result.by_name["r2"].unit, [4.0])


@pytest.mark.parametrize("rule", ["weights", "spikes", "balanced"])
def test_rules_keep_the_function(sample_graph, rule):
    graph = PASSES["fold_batch_norm"](PASSES["strip_output_activation"](sample_graph))
    inputs = tuple(
        RANDOM.uniform(0, 1, (30, *graph.types[name].shape)).astype(np.float32)
        for name in graph.inputs
    )
    result = PASSES["normalize_weights"](graph, calibration=inputs, rule=rule)
    found = {node.name: value for node, value in run_nodes(result, inputs)}
    for node, value in run_nodes(graph, inputs):
        if node.name in graph.outputs and node.name in result.by_name:
            unit = result.by_name[node.name].unit
            scaled = found[node.name] * (1 if unit is None else unit)
            np.testing.assert_allclose(scaled, value, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("rule", ["activations", "weights", "spikes", "balanced"])
def test_no_threshold_is_above_a_cap(rule):
    """A neuron knows no cap but its threshold."""
    weight = RANDOM.uniform(0.1, 1, (4, 3))
    nodes = [*line(weight, RANDOM.normal(0, 1, (4, 4))).nodes]
    cap = np.float32([0.1, 0.2, 9, 0.3])
    nodes[2] = Node("r1", Relu(cap), ("d1",))
    nodes[4] = Node("r2", Relu(np.full(1, 0.05, np.float32)), ("d2",))
    graph = Graph(tuple(nodes), ("x",), ("r2",))
    x = RANDOM.uniform(0, 1, (50, 3)).astype(np.float32)
    found = PASSES["normalize_weights"](graph, calibration=(x,), n_steps=16, rule=rule)
    assert (found.by_name["r1"].unit <= cap * (1 + 1e-6)).all()
    assert (found.by_name["r2"].unit <= 0.05 * (1 + 1e-6)).all()
    for distribution in ("measured", "gaussian"):
        found = PASSES["normalize_for_steps"](
            graph, calibration=(x,), n_steps=4, distribution=distribution
        )
        assert (found.by_name["r1"].unit <= cap * (1 + 1e-6)).all()


def test_no_such_rule():
    graph, x = line(np.eye(2)), np.ones((2, 2), np.float32)
    with pytest.raises(PassError, match=r"normalize_weights.rule 'best': does not exist"):
        PASSES["normalize_weights"](graph, calibration=(x,), rule="best")
    with pytest.raises(PassError, match=r"normalize_for_steps.distribution 'flat': does not exist"):
        PASSES["normalize_for_steps"](graph, calibration=(x,), n_steps=4, distribution="flat")


def test_spikes_that_never_come():
    graph = line(np.eye(2), np.eye(2), biases=(0.0, 0.0))
    x = np.full((2, 2), 1e-6, np.float32)
    x[0] = 1e3  # the layer's threshold is a thousand: the first step brings no spike behind it
    result = PASSES["normalize_weights"](graph, calibration=(x,), n_steps=1, rule="spikes")
    np.testing.assert_allclose(result.by_name["r2"].unit, [1e3])
    with pytest.raises(PassError, match=r"r2 \(Relu\): never gets a positive current"):
        PASSES["normalize_weights"](
            line(np.eye(2), -np.eye(2)), calibration=(x,), n_steps=1, rule="spikes"
        )
