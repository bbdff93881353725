import gc
import weakref

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import Graph, IntegrateFire, Node, run, run_nodes
from spikeport.converter.ir.interpret import check_inputs
from spikeport.converter.ir.ops import Add, Dense, Identity, Input, Relu, Scale

X, Y = Node("x", Input((2,))), Node("y", Input((2,)))


def plus(amount: float) -> Scale:
    return Scale(np.ones(1), np.full(1, amount))


def test_outputs_in_order_with_repeats():
    graph = Graph(
        (
            X,
            Y,
            Node("d", Dense(np.array([[1.0, 2], [0, -1]]), np.array([0.5, 0])), ("y",)),
            Node("r", Relu(), ("d",)),
            Node("sum", Add(), ("r", "x")),
        ),
        ("y", "x"),
        ("sum", "x", "sum"),
    )
    y, x = np.array([[1.0, 3.0]]), np.array([[10.0, 20.0]])
    first, second, third = run(graph, (y, x))
    np.testing.assert_array_equal(first, [[17.5, 20]])
    np.testing.assert_array_equal(second, x)
    np.testing.assert_array_equal(third, first)
    assert first.dtype == np.float32


def test_every_node_comes_with_its_result():
    graph = Graph((X, Node("a", plus(1), ("x",)), Node("b", plus(2), ("a",))), ("x",), ("b",))
    found = {node.name: value for node, value in run_nodes(graph, (np.zeros((1, 2)),))}
    assert {name: value[0, 0] for name, value in found.items()} == {"x": 0, "a": 1, "b": 3}


def test_results_are_freed_after_their_last_use():
    nodes = [X] + [Node(f"n{i}", plus(1), ("x" if i == 0 else f"n{i - 1}",)) for i in range(6)]
    graph = Graph(tuple(nodes), ("x",), ("n5",))
    alive = []
    for _, value in run_nodes(graph, (np.zeros((1, 2), np.float32),)):
        alive.append(weakref.ref(value))
        del value
        gc.collect()
        assert sum(reference() is not None for reference in alive) <= 3


def test_a_batch_without_samples_keeps_its_shape(sample_graph):
    inputs = tuple(np.zeros((0, *sample_graph.types[n].shape)) for n in sample_graph.inputs)
    for name, output in zip(sample_graph.outputs, run(sample_graph, inputs), strict=True):
        assert output.shape == (0, *sample_graph.types[name].shape)


def test_sample_graphs_give_the_shapes_that_their_types_say(sample_graph):
    random = np.random.default_rng(0)
    inputs = tuple(random.random((3, *sample_graph.types[n].shape)) for n in sample_graph.inputs)
    for node, value in run_nodes(sample_graph, inputs):
        assert value.shape == (3, *sample_graph.types[node.name].shape)
        assert value.dtype == np.float32
        assert np.isfinite(value).all()


def test_neurons_need_time():
    neuron = Node("n", IntegrateFire(np.ones(1), np.zeros(1)), ("x",))
    graph = Graph((X, neuron), ("x",), ("n",))
    with pytest.raises(GraphError, match=r"n \(IntegrateFire\): changes over time steps, expected"):
        run(graph, (np.zeros((1, 2)),))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((), r"got 0 input arrays, expected 2"),
        ((np.zeros((1, 2)),), r"got 1 input arrays, expected 2"),
        (
            (np.zeros((1, 2)), np.zeros((1, 3))),
            r"y \(Input\): got an array of shape \(1, 3\), expected \(1, 2\)",
        ),
        (
            (np.zeros((4, 2)), np.zeros((3, 2))),
            r"y \(Input\): got an array of shape \(3, 2\), expected \(4, 2\)",
        ),
        ((np.zeros(2), np.zeros(2)), r"x \(Input\): got an array of shape \(2,\)"),
    ],
)
def test_inputs_that_do_not_fit(arrays, message):
    graph = Graph((X, Y, Node("a", Identity(), ("x",))), ("x", "y"), ("a",))
    with pytest.raises(GraphError, match=message):
        check_inputs(graph, arrays)
