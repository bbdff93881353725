import numpy as np
import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.ir import Graph, IntegrateFire, Node, run, run_nodes
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Softmax,
    Transpose,
)
from spikeport.converter.passes import PASSES
from spikeport.converter.passes.rescaling import rescale

RANDOM = np.random.default_rng(11)
NORMALIZE = PASSES["normalize_weights"]


def dense(n_out: int, n_in: int) -> Dense:
    random = np.random.default_rng(n_out)
    return Dense(random.normal(size=(n_out, n_in)), random.normal(size=n_out))


def two_layers() -> Graph:
    return Graph(
        (
            Node("x", Input((6,))),
            Node("d1", dense(8, 6), ("x",)),
            Node("r1", Relu(), ("d1",)),
            Node("d2", dense(5, 8), ("r1",)),
            Node("r2", Relu(), ("d2",)),
            Node("d3", dense(3, 5), ("r2",)),
        ),
        ("x",),
        ("d3",),
    )


def samples(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("per_channel", [True, False])
def test_activations_reach_one_at_the_percentile(per_channel):
    x = samples(4000, 6)
    graph = NORMALIZE(two_layers(), calibration=(x,), percentile=99.0, per_channel=per_channel)
    for node, value in run_nodes(graph, (x,)):
        if isinstance(node.op, Relu):
            channels = value.T if per_channel else value.reshape(1, -1)
            active = [channel[channel > 0] for channel in channels if (channel > 0).sum() > 500]
            assert active
            for channel in active:
                assert np.percentile(channel, 99.0) == pytest.approx(1, abs=0.03)


def test_maximum_is_exact():
    x = samples(100, 6)
    graph = NORMALIZE(two_layers(), calibration=(x,), percentile=100.0, per_channel=False)
    for node, value in run_nodes(graph, (x,)):
        if isinstance(node.op, Relu):
            assert value.max() == pytest.approx(1, abs=1e-6)


def test_result_does_not_depend_on_the_batches_of_the_statistics():
    x = samples(100, 6)
    first = NORMALIZE(two_layers(), calibration=(x,))
    shuffled = x[np.random.default_rng(0).permutation(100)]
    second = NORMALIZE(two_layers(), calibration=(shuffled,))
    for a, b in zip(first.nodes, second.nodes, strict=True):
        assert (a.unit is None) == (b.unit is None)
        if a.unit is not None and b.unit is not None:
            np.testing.assert_allclose(a.unit, b.unit, rtol=1e-6)


def test_silent_channel_gets_the_threshold_of_its_layer():
    weight = np.eye(3)
    weight[1] = 0
    graph = Graph(
        (
            Node("x", Input((3,))),
            Node("d", Dense(weight, np.zeros(3)), ("x",)),
            Node("r", Relu(), ("d",)),
            Node("o", dense(2, 3), ("r",)),
        ),
        ("x",),
        ("o",),
    )
    x = np.array([[1, 9, 2], [0.5, 9, 4]], np.float32)
    result = NORMALIZE(graph, calibration=(x,), percentile=100.0)
    np.testing.assert_allclose(result.by_name["r"].unit, [1, 4, 4])


def test_layer_that_is_never_active_is_an_error():
    graph = two_layers()
    with pytest.raises(PassError, match=r"r1 \(Relu\).*never active on the 4 calibration samples"):
        NORMALIZE(
            Graph(
                tuple(
                    Node(n.name, Dense(np.zeros((8, 6)), -np.ones(8)), n.inputs)
                    if n.name == "d1"
                    else n
                    for n in graph.nodes
                ),
                graph.inputs,
                graph.outputs,
            ),
            calibration=(samples(4, 6),),
        )


@pytest.mark.parametrize("percentile", [0, -1, 100.1, float("nan")])
def test_percentile_outside_its_range(percentile):
    with pytest.raises(PassError, match=r"percentile .*, expected 0 < percentile <= 100"):
        NORMALIZE(two_layers(), calibration=(samples(4, 6),), percentile=percentile)


def test_no_calibration_samples():
    with pytest.raises(PassError, match="calibration: has no samples"):
        NORMALIZE(two_layers(), calibration=(samples(0, 6),))


def test_spiking_graph_is_refused():
    ones = np.ones(1, np.float32)
    graph = Graph(
        (Node("x", Input((3,))), Node("n", IntegrateFire(ones, ones / 2), ("x",))), ("x",), ("n",)
    )
    with pytest.raises(PassError, match=r"n \(IntegrateFire\): no rule how units pass it"):
        rescale(graph, {})


def test_units_pass_every_kind_of_op():
    """Residual, concatenation, pooling, reshape, transposition, padding, softmax, a shared ReLU."""
    conv = Conv(RANDOM.normal(size=(4, 3, 3, 3)), np.ones(4), (1, 1), (1, 1), ((1, 1),) * 2)
    conv2 = Conv(RANDOM.normal(size=(4, 4, 1, 1)), np.ones(4), (1, 1), (1, 1), ((0, 0),) * 2)
    grouped = Conv(RANDOM.normal(size=(8, 4, 3, 3)), np.ones(8), (1, 1), (1, 1), ((1, 1),) * 2, 2)
    nodes = (
        Node("x", Input((3, 4, 4))),
        Node("c1", conv, ("x",)),
        Node("r1", Relu(), ("c1",)),
        Node("c2", conv2, ("r1",)),
        Node("a", Add(), ("c2", "r1")),
        Node("r2", Relu(np.full((1, 1, 1), 3.0)), ("a",)),
        Node("cat", Concatenate(0), ("r1", "r2")),
        Node("p", Pad(((0, 0), (1, 1), (0, 0))), ("cat",)),
        Node("p2", Pad(((1, 1), (0, 0), (0, 0))), ("r2",)),
        Node("c3", grouped, ("p",)),
        Node("r3", Relu(), ("c3",)),
        Node("mp", MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2), ("r3",)),
        Node("ap", AveragePool((2, 2), (1, 1), ((0, 1), (0, 1))), ("mp",)),
        Node("t", Transpose((1, 2, 0)), ("ap",)),
        Node("s", Scale(RANDOM.uniform(1, 2, (1, 1, 8)), np.ones((1, 1, 1))), ("t",)),
        Node("rs", Reshape((6, 8)), ("t",)),
        Node("rs2", Reshape((8, 3, 2)), ("rs",)),
        Node("ap2", AveragePool((2, 2), (1, 1), ((0, 0),) * 2), ("rs2",)),
        Node("r4", Relu(), ("s",)),
        Node("sum", Add(), ("r4", "t")),
        Node("f", Flatten(), ("sum",)),
        Node("d", dense(5, 48), ("f",)),
        Node("sm", Softmax(0), ("d",)),
    )
    graph = Graph(nodes, ("x",), ("sm", "ap2", "r3", "p2"))
    x = samples(6, 3, 4, 4)
    result = NORMALIZE(graph, calibration=(x,), percentile=99.0)
    for expected, found in zip(run(graph, (x,)), run(result, (x,)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    before = {node.name: value for node, value in run_nodes(graph, (x,))}
    for node, value in run_nodes(result, (x,)):
        if node.name in before:
            unit = 1 if node.unit is None else node.unit
            np.testing.assert_allclose(value * unit, before[node.name], rtol=1e-3, atol=1e-4)


def test_activations_are_collected_once_for_the_same_network_and_samples(monkeypatch):
    from spikeport.converter.calibration import thresholds

    def graph(bias):
        dense = Dense(np.eye(2, dtype=np.float32), np.full(2, bias, np.float32))
        nodes = (Node("x", Input((2,))), Node("d", dense, ("x",)), Node("r", Relu(), ("d",)))
        return Graph(nodes, ("x",), ("r",))

    runs = []
    collect = thresholds._collect
    monkeypatch.setattr(thresholds, "_collect", lambda *given: runs.append(1) or collect(*given))
    x = (np.random.default_rng(7).uniform(0, 1, (20, 2)).astype(np.float32),)
    found = [
        thresholds.find_activation_percentiles(
            graph(bias), samples, percentile=99.0, per_channel=True
        )["r"]
        for bias, samples in ((0.0, x), (0.0, (x[0].copy(),)), (0.5, x), (0.5, (x[0][:9],)))
    ]
    assert len(runs) == 3
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[2] > found[0]).all()
    assert (found[3] != found[2]).any()
