import numpy as np
import pytest

from spikeport.converter.errors import PassError, UnsupportedOpError
from spikeport.converter.ir import Graph, Node, SpikingMaxPool, run
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    Conv,
    GlobalAveragePool,
    Input,
    MaxPool,
    Relu,
)
from spikeport.converter.passes import PASSES

PLACE, INSERT = PASSES["place_poolings"], PASSES["insert_neurons"]
POOL = MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2)
MEAN = AveragePool((2, 2), (2, 2), ((0, 0),) * 2)
CAP = Relu(np.array([1.0, 2.0, 3.0], np.float32).reshape(3, 1, 1))


def conv(n_in, n_out, seed=0):
    weight = np.random.default_rng(seed).normal(size=(n_out, n_in, 3, 3)).astype(np.float32)
    return Conv(weight, np.ones(n_out, np.float32), (1, 1), (1, 1), ((1, 1),) * 2)


def graph_of(*ops, outputs=None) -> Graph:
    nodes = [Node("x", Input((1, 16, 16)))]
    for place, op in enumerate(ops):
        nodes.append(Node(f"n{place}", op, (nodes[-1].name,)))
    return Graph(tuple(nodes), ("x",), outputs or (nodes[-1].name,))


def kinds(graph):
    return [(node.name, type(node.op).__name__) for node in graph.nodes[1:]]


def assert_same(graph, other):
    x = np.random.default_rng(1).normal(size=(4, 1, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(run(graph, (x,))[0], run(other, (x,))[0])


def test_before_swaps_and_names_stand_for_the_same_values():
    graph = graph_of(conv(1, 3), CAP, POOL, POOL, conv(3, 2), Relu(), POOL)
    placed = PLACE(graph, max_pool="before")
    assert kinds(placed) == [
        ("n0", "Conv"), ("n2/currents", "MaxPool"), ("n3/currents", "MaxPool"), ("n3", "Relu"),
        ("n4", "Conv"), ("n6/currents", "MaxPool"), ("n6", "Relu"),
    ]  # fmt: skip
    assert_same(graph, placed)
    assert kinds(PLACE(placed, max_pool="before")) == kinds(placed)
    assert [type(node.op).__name__ for node in INSERT(placed).nodes if "currents" in node.name] == [
        "MaxPool", "MaxPool", "SpikingMaxPool",
    ]  # fmt: skip


def test_before_keeps_a_relu_that_others_take():
    graph = graph_of(conv(1, 3), Relu(), POOL, outputs=("n2", "n1"))
    placed = PLACE(graph, max_pool="before")
    assert [name for name, _ in kinds(placed)] == ["n0", "n1", "n2/currents", "n2"]
    assert placed.outputs == graph.outputs
    assert_same(graph, placed)


def test_pooling_of_the_input_stays():
    graph = graph_of(POOL, conv(1, 3), Relu())
    assert kinds(PLACE(graph, max_pool="before", average_pool="neurons")) == kinds(graph)


def test_average_pooling_gets_neurons():
    graph = graph_of(conv(1, 3), Relu(), MEAN, MEAN, GlobalAveragePool())
    placed = PLACE(graph, average_pool="neurons")
    assert [name for name, kind in kinds(placed) if kind == "Relu"] == ["n1", "n2", "n3", "n4"]
    assert placed.by_name["n3/mean"].inputs == ("n2",)
    assert_same(graph, placed)
    assert kinds(PLACE(placed, average_pool="neurons")) == kinds(placed)


def test_the_default_changes_nothing():
    graph = graph_of(conv(1, 3), Relu(), POOL, MEAN)
    assert PLACE(graph) is graph
    assert isinstance(INSERT(PLACE(graph)).by_name["n2"].op, SpikingMaxPool)


def test_what_cannot_be_done_is_listed():
    graph = graph_of(conv(1, 3), Relu(), MEAN, POOL, conv(3, 3), POOL, MEAN)
    with pytest.raises(UnsupportedOpError, match="max_pool 'before' cannot be done") as caught:
        PLACE(graph, max_pool="before")
    assert caught.value.reasons == (
        "n3 (MaxPool): follows n2 (AveragePool), expected a ReLU directly in front of it",
        "n5 (MaxPool): follows n4 (Conv), expected a ReLU directly in front of it",
    )
    with pytest.raises(UnsupportedOpError, match="average_pool 'neurons' cannot be done") as caught:
        PLACE(graph, average_pool="neurons")
    assert caught.value.reasons == (
        "n6 (AveragePool): may be negative, expected ReLUs in front of it",
    )


def test_a_cap_that_differs_between_places_does_not_commute():
    cap = np.ones((1, 16, 16), np.float32) + np.arange(16, dtype=np.float32)
    graph = graph_of(Relu(cap), POOL)
    with pytest.raises(UnsupportedOpError, match="max_pool 'before' cannot be done"):
        PLACE(graph, max_pool="before")


def test_a_sum_of_positive_values_is_no_reason():
    nodes = (
        Node("x", Input((1, 16, 16))),
        Node("a", Relu(), ("x",)),
        Node("b", Add(), ("a", "x")),
        Node("c", MEAN, ("b",)),
    )
    with pytest.raises(UnsupportedOpError, match="average_pool 'neurons' cannot be done"):
        PLACE(Graph(nodes, ("x",), ("c",)), average_pool="neurons")


@pytest.mark.parametrize("option", ["max_pool", "average_pool"])
def test_unknown_choice(option):
    with pytest.raises(PassError, match=f"{option} 'gate', expected one of "):
        PLACE(graph_of(Relu()), **{option: "gate"})
