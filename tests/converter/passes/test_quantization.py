"""Thresholds of least error for a number of steps, and the correction of what rounding shifts."""

import sys

import numpy as np
import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.ir import Graph, Node, run, run_nodes
from spikeport.converter.ir.ops import Add, Dense, Input, MaxPool, Relu, Scale
from spikeport.converter.passes import PASSES


def quantise(x, threshold, n):
    return threshold / n * np.clip(np.floor(x * n / threshold + 0.5), 0, n)


def wide(n_in: int = 6, n_out: int = 5) -> tuple[Graph, np.ndarray]:
    random = np.random.default_rng(2)
    dense = Dense(random.normal(0, 1, (n_out, n_in)), random.normal(0, 1, n_out))
    nodes = (
        Node("x", Input((n_in,))),
        Node("dense", dense, ("x",)),
        Node("relu", Relu(), ("dense",)),
    )
    return Graph(nodes, ("x",), ("relu",)), random.uniform(0, 1, (3000, n_in)).astype(np.float32)


@pytest.mark.parametrize("n_steps", [1, 3, 8])
def test_no_other_threshold_has_less_error(n_steps):
    graph, x = wide()
    activations = run(graph, (x,))[0].astype(np.float64)
    result = PASSES["normalize_for_steps"](graph, calibration=(x,), n_steps=n_steps)
    found = result.by_name["relu"].unit
    for channel, values in enumerate(activations.T):
        errors = [
            np.mean((values - quantise(values, values.max() * share, n_steps)) ** 2)
            for share in np.arange(0.005, 1.0001, 0.0025)
        ]
        error = np.mean((values - quantise(values, found[channel], n_steps)) ** 2)
        assert error < 1.01 * min(errors) + 1e-12


def test_more_levels_clip_less():
    graph, x = wide()
    units = [
        PASSES["normalize_for_steps"](graph, calibration=(x,), **options).by_name["relu"].unit
        for options in ({"n_steps": 2}, {"n_steps": 2, "levels_per_step": 15}, {"n_steps": 200})
    ]
    assert (units[0] < units[1]).all()
    assert (units[1] <= units[2]).all()


def test_one_threshold_per_layer():
    graph, x = wide()
    result = PASSES["normalize_for_steps"](graph, calibration=(x,), n_steps=4, per_channel=False)
    assert result.by_name["relu"].unit.shape == (1,)


def test_levels_below_one():
    graph, x = wide()
    with pytest.raises(PassError, match="n_levels 0, expected at least 1"):
        PASSES["normalize_for_steps"](graph, calibration=(x,), n_steps=4, levels_per_step=0)
    for option in ("n_samples", "levels_per_step"):
        with pytest.raises(PassError, match=f"correct_quantization: {option} 0, expected at leas"):
            PASSES["correct_quantization"](graph, calibration=(x,), n_steps=4, **{option: 0})


def quantised_values(graph: Graph, x: np.ndarray, n: int) -> dict[str, np.ndarray]:
    values = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            values[node.name] = x
        elif isinstance(node.op, Relu):
            values[node.name] = quantise(values[node.inputs[0]], 1, n).astype(np.float32)
        else:
            values[node.name] = node.op.apply(*(values[name] for name in node.inputs))
    return values


def deep(behind: str) -> Graph:
    """Two quantised layers; what lies between the second layer's weights and its ReLU differs."""
    random = np.random.default_rng(5)
    nodes = [
        Node("x", Input((8,))),
        Node("dense1", Dense(random.normal(0, 0.4, (12, 8)), np.full(12, 0.2)), ("x",)),
        Node("relu1", Relu(), ("dense1",)),
        Node("dense2", Dense(random.normal(0, 0.4, (12, 12)), np.full(12, 0.1)), ("relu1",)),
        Node("scale", Scale(np.full(12, 0.5), np.zeros(12)), ("relu1",)),
    ]
    last = {"dense2": ("dense2",), "sum": ("scale", "dense2"), "scale": ("scale",)}[behind]
    if len(last) > 1:
        nodes.append(Node("sum", Add(), last))
    nodes += [
        Node("relu2", Relu(), (behind,)),
        Node("logits", Dense(random.normal(0, 0.4, (3, 12)), np.zeros(3)), ("relu2",)),
    ]
    return Graph(tuple(nodes), ("x",), ("logits",))


@pytest.mark.parametrize("behind", ["dense2", "sum", "scale"])
def test_corrected_means_are_the_networks_own(behind):
    """At the output exactly; the biases go to a layer where there is one, else to a Scale."""
    graph = deep(behind)
    x = np.random.default_rng(6).uniform(0, 1, (400, 8)).astype(np.float32)
    corrected = PASSES["correct_quantization"](graph, calibration=(x,), n_steps=6)
    exact = {node.name: value for node, value in run_nodes(graph, (x,))}
    before, after = (quantised_values(each, x, 6) for each in (graph, corrected))
    errors = [np.abs(v["logits"].mean(0) - exact["logits"].mean(0)).max() for v in (before, after)]
    assert errors[1] < 1e-5 < errors[0]
    spreads = [((v["relu2"].mean(0) - exact["relu2"].mean(0)) ** 2).sum() for v in (before, after)]
    assert spreads[1] < spreads[0] / 2
    assert ("relu2/bias" in corrected.types) == (behind == "scale")
    for name in ("dense1", "scale"):  # weights stay
        for field in ("weight", "scale"):
            old = getattr(graph.by_name[name].op, field, None)
            assert old is None or (old == getattr(corrected.by_name[name].op, field)).all()


def test_the_memory_of_a_layer_is_bounded(monkeypatch):
    graph = deep("dense2")
    x = np.random.default_rng(6).uniform(0, 1, (60, 8)).astype(np.float32)
    largest = max(type_.size for type_ in graph.types.values())
    module = sys.modules["spikeport.converter.passes.correct_quantization"]
    monkeypatch.setattr(module, "MAX_ENTRIES", 20 * largest)
    few = PASSES["correct_quantization"](graph, calibration=(x,), n_steps=4)
    same = PASSES["correct_quantization"](graph, calibration=(x[:20],), n_steps=4)
    np.testing.assert_array_equal(few.by_name["dense1"].op.bias, same.by_name["dense1"].op.bias)
    monkeypatch.setattr(module, "MAX_ENTRIES", 60 * largest)
    more = PASSES["correct_quantization"](graph, calibration=(x,), n_steps=4)
    assert (few.by_name["dense1"].op.bias != more.by_name["dense1"].op.bias).any()


def test_no_output_layer_of_its_own_is_left_alone():
    """A value that others use, or that no layer gives, has no bias to correct."""
    graph = Graph(
        (
            Node("x", Input((1, 4, 4))),
            Node("relu", Relu(), ("x",)),
            Node("pool", MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2), ("relu",)),
        ),
        ("x",),
        ("pool",),
    )
    x = np.random.default_rng(1).uniform(0, 1, (20, 1, 4, 4)).astype(np.float32)
    result = PASSES["correct_quantization"](graph, calibration=(x,), n_steps=4, n_samples=7)
    assert [node.name for node in result.nodes] == ["x", "relu/bias", "relu", "pool"]
