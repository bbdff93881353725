"""Every pass on every sample graph: what it declares holds, and a second run changes nothing."""

import dataclasses

import numpy as np
import pytest

from spikeport.converter.errors import GraphError, PassError
from spikeport.converter.ir import Graph, Node, run
from spikeport.converter.ir.ops import Dense, Identity, Input, QuantizedRelu, Relu
from spikeport.converter.passes import PASSES, Keeps, Pass
from spikeport.converter.passes.contract import SUPPLIED
from spikeport.converter.recipes import SIMPLIFY

MEASURED = {"correct_quantization", "correct_biases", "calibrate_neurons"}
"""Passes that find something else in a second run: what is left to correct, which is smaller, not
zero."""


def random_inputs(graph: Graph, n_samples: int = 5) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(7)
    return tuple(
        random.uniform(0, 1, (n_samples, *graph.types[name].shape)).astype(np.float32)
        for name in graph.inputs
    )


def prepare(graph: Graph, name: str) -> Graph:
    """What the pass finds when it runs in the usual order."""
    order = list(PASSES)
    for earlier in order[: order.index(name)]:
        is_for_neurons = "Relu" in PASSES[name].needs_no
        if earlier in {*SIMPLIFY, "normalize_weights"} or (
            is_for_neurons and earlier == "insert_neurons"
        ):
            graph = apply(graph, earlier)
    return quantize(graph) if name == "use_trained_thresholds" else graph


def quantize(graph: Graph) -> Graph:
    """What training makes of the graph: thresholds that differ, channel by channel."""
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Relu):
            n_channels, *others = graph.types[node.name].shape
            threshold = 1 + np.arange(n_channels, dtype=np.float32) / 8
            op = QuantizedRelu(threshold.reshape(-1, *(1,) * len(others)), 16)
            node = dataclasses.replace(node, op=op)
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


def apply(graph: Graph, name: str) -> Graph:
    pass_ = PASSES[name]
    supplied = {"calibration": random_inputs(graph, 20), "n_steps": 8}
    return pass_(graph, **{key: supplied[key] for key in pass_.needs})


def assert_same_nodes(first: Graph, second: Graph) -> None:
    assert [str(node) for node in first.nodes] == [str(node) for node in second.nodes]
    assert first.outputs == second.outputs
    for a, b in zip(first.nodes, second.nodes, strict=True):
        for key, value in vars(a.op).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(value, getattr(b.op, key), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", PASSES)
def test_pass_keeps_what_it_declares(name, sample_graph):
    graph = prepare(sample_graph, name)
    before = [(node.name, node.op, node.inputs) for node in graph.nodes]
    result = apply(graph, name)
    assert [(node.name, node.op, node.inputs) for node in graph.nodes] == before
    inputs = random_inputs(graph)
    keeps = PASSES[name].keeps
    if keeps is Keeps.SIGNATURE:
        assert [result.types[n].shape for n in result.outputs] == [
            graph.types[n].shape for n in graph.outputs
        ]
        return
    for expected, found in zip(run(graph, inputs), run(result, inputs), strict=True):
        assert expected.shape == found.shape
        if keeps is Keeps.FUNCTION:
            assert np.abs(expected - found).max() < 1e-4 * np.abs(expected).max()
        else:
            flat = expected.reshape(len(expected), -1)
            best = found.reshape(len(found), -1).argmax(axis=1)
            assert (flat[np.arange(len(flat)), best] == flat.max(axis=1)).all()


@pytest.mark.parametrize("name", [name for name in PASSES if name not in MEASURED])
def test_second_run_changes_nothing(name, sample_graph):
    once = apply(prepare(sample_graph, name), name)
    if name in {
        "normalize_weights",
        "normalize_for_steps",
    }:  # the units are in the weights now: every threshold is 1
        units = [node.unit for node in apply(once, name).nodes if isinstance(node.op, Relu)]
        assert all(unit is None or np.allclose(unit, 1, atol=5e-3) for unit in units)
    else:
        assert_same_nodes(apply(once, name), once)


def tiny() -> Graph:
    return Graph(
        (
            Node("x", Input((2,))),
            Node("dense", Dense(np.eye(2), np.zeros(2)), ("x",)),
            Node("relu", Relu(), ("dense",)),
        ),
        ("x",),
        ("relu",),
    )


def test_pass_that_meets_an_op_it_cannot_take():
    pass_ = Pass(lambda graph: graph, Keeps.FUNCTION, needs_no=("Relu",))
    with pytest.raises(PassError, match=r"the graph has relu \(Relu\), expected a graph without"):
        pass_(tiny())


def test_pass_that_breaks_its_promise():
    pass_ = Pass(lambda graph: graph, Keeps.FUNCTION, leaves_no=("Dense",))
    with pytest.raises(PassError, match=r"dense \(Dense\), which this pass promises to remove"):
        pass_(tiny())


def test_pass_that_changes_the_signature():
    def cut(graph: Graph) -> Graph:
        return Graph((Node("x", Input((3,))), Node("y", Identity(), ("x",))), ("x",), ("y",))

    with pytest.raises(PassError, match=r"cut: inputs have shapes \[\(3,\)\], expected \[\(2,\)\]"):
        Pass(cut, Keeps.SIGNATURE)(tiny())


def test_pass_error_names_the_pass():
    def fail(graph: Graph) -> Graph:
        raise GraphError("node a (Conv): is odd", hint="do this")

    with pytest.raises(GraphError, match=r"fail: node a \(Conv\): is odd") as caught:
        Pass(fail, Keeps.SIGNATURE)(tiny())
    assert caught.value.hint == "do this"


def test_every_pass_is_documented_and_named_like_its_file():
    for name, pass_ in PASSES.items():
        assert pass_.run.__module__.endswith(f".passes.{name}")
        assert pass_.summary.endswith(".")
        assert not SUPPLIED & pass_.options.keys()
