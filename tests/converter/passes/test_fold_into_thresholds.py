import dataclasses

import numpy as np
import pytest

from spikeport.converter.ir import Graph, IntegrateFire, Node, SumPool
from spikeport.converter.ir.ops import AveragePool, Conv, Dense, Flatten, Input, Scale
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines.reference import simulate


def neuron(rank, threshold=1.0, initial=0.5):
    one = np.ones((1,) * rank, np.float32)
    return IntegrateFire(threshold * one, initial * one)


def binary(shape, seed, values=(-1, 1)):
    random = np.random.default_rng(seed)
    amplitude = random.uniform(0.1, 0.9, (shape[0], *(1,) * (len(shape) - 1))).astype(np.float32)
    return random.choice(np.array(values, np.float32), shape) * amplitude


def network(values=(-1, 1), middle=()):
    """Convolution, neurons, average pooling, a binary convolution, neurons, a read-out."""
    window = ((1, 1), (1, 1), ((1, 1), (1, 1)))
    random = np.random.default_rng(5)
    first = random.normal(0, 0.5, (4, 2, 3, 3)).astype(np.float32)
    bias = random.normal(0, 0.3, 6).astype(np.float32)
    nodes = [
        Node("x", Input((2, 8, 8))),
        Node("first", Conv(first, np.zeros(4, np.float32), *window), ("x",)),
        Node("fire1", neuron(3), ("first",)),
        Node("pool", AveragePool((2, 2), (2, 2), ((0, 0),) * 2), ("fire1",)),
        Node("binary", Conv(binary((6, 4, 3, 3), 1, values), bias, *window), ("pool",)),
    ]
    for name, op in middle:
        nodes.append(Node(name, op, (nodes[-1].name,)))
    nodes += [
        Node("fire2", neuron(3), (nodes[-1].name,)),
        Node("flat", Flatten(), ("fire2",)),
        Node(
            "last", Dense(random.normal(0, 1, (5, 96)).astype(np.float32), np.zeros(5)), ("flat",)
        ),
    ]
    return Graph(tuple(nodes), ("x",), ("last",))


def spikes_of(graph, name):
    return simulate(graph.replace(outputs=(name,)), (X,), 1).outputs[0][0]


X = np.random.default_rng(0).uniform(0, 1, (20, 2, 8, 8)).astype(np.float32)
POSITION = Scale(
    np.ones((1, 1, 1), np.float32),
    np.random.default_rng(2).normal(0, 0.2, (6, 4, 4)).astype(np.float32),
)
TURNED = Scale(
    np.array([1, -1, 2, -0.5, 1, 1], np.float32).reshape(6, 1, 1), np.full((6, 1, 1), 0.1)
)


@pytest.mark.parametrize("values", [(-1, 1), (-1, 0, 1)])
@pytest.mark.parametrize("middle", [(), (("norm", TURNED),), (("a", TURNED), ("b", POSITION))])
def test_same_spikes_with_integers(values, middle):
    graph = network(values, middle)
    result = PASSES["fold_into_thresholds"](graph, n_steps=1)
    layer, fired = result.by_name["binary"].op, result.by_name["fire2"].op
    assert set(np.unique(layer.weight)) <= {-1.0, 0.0, 1.0}
    assert not layer.bias.any()
    assert (fired.threshold == np.rint(fired.threshold)).all()
    assert (fired.threshold >= 1).all()
    assert isinstance(result.by_name["pool"].op, SumPool)
    expected = spikes_of(graph, "fire2")
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(spikes_of(result, "fire2"), expected)
    np.testing.assert_array_equal(spikes_of(result, "last"), spikes_of(graph, "last"))


def test_threshold_by_hand():
    """0.5 w x + 0.2 >= 1 where w x >= 1.6: where it is 2."""
    nodes = (
        Node("x", Input((2,))),
        Node("fire", neuron(1), ("x",)),
        Node("w", Dense(np.array([[0.5, -0.5], [0.5, 0.5]]), np.array([0.2, 1.2])), ("fire",)),
        Node("out", neuron(1, 1.0, 0.0), ("w",)),
    )
    result = PASSES["fold_into_thresholds"](Graph(nodes, ("x",), ("out",)), n_steps=1)
    op = result.by_name["out"].op
    np.testing.assert_array_equal(op.threshold, [2, 1])
    np.testing.assert_array_equal(op.initial_potential, [0, 1])  # 0 or more is enough: always
    np.testing.assert_array_equal(result.by_name["w"].op.weight, [[1, -1], [1, 1]])


def test_what_is_not_binary_or_not_one_step_stays():
    graph = network()
    assert PASSES["fold_into_thresholds"](graph, n_steps=4) is graph
    result = PASSES["fold_into_thresholds"](graph, n_steps=1)
    assert result.by_name["first"].op is graph.by_name["first"].op
    again = PASSES["fold_into_thresholds"](result, n_steps=1)
    np.testing.assert_array_equal(again.by_name["fire2"].op.threshold,
                                  result.by_name["fire2"].op.threshold)  # fmt: skip


def test_pooling_that_others_take_stays_an_average():
    graph = network()
    nodes = [*graph.nodes, Node("other", Flatten(), ("pool",))]
    graph = graph.replace(nodes=tuple(nodes), outputs=("last", "other"))
    result = PASSES["fold_into_thresholds"](graph, n_steps=1)
    assert isinstance(result.by_name["pool"].op, AveragePool)
    assert dataclasses.fields(result.by_name["binary"].op)
    np.testing.assert_array_equal(spikes_of(result, "last"), spikes_of(graph, "last"))
