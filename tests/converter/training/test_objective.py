"""What spikes cost in the loss of a training."""

import numpy as np
import pytest

from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import Add, Concatenate, Conv, Dense, Flatten, Input, Relu
from spikeport.converter.training.objective import find_costs


def conv(n_in, n_out):
    weight = np.ones((n_out, n_in, 1, 1), np.float32)
    return Conv(weight, np.zeros(n_out), (1, 1), (1, 1), ((0, 0),) * 2)


def graph_of(*nodes):
    return Graph(tuple(Node(*node) for node in nodes), ("x",), (nodes[-1][0],))


def dense(n_in, n_out):
    return Dense(np.ones((n_out, n_in), np.float32), np.zeros(n_out))


def test_costs_of_a_chain_by_hand():
    graph = graph_of(
        ("x", Input((3,)), ()), ("d1", dense(3, 4), ("x",)), ("r1", Relu(), ("d1",)),
        ("d2", dense(4, 5), ("r1",)), ("r2", Relu(), ("d2",)), ("d3", dense(5, 2), ("r2",)),
    )  # fmt: skip
    # 12 connections of the input, 20 of r1, 10 of r2
    assert find_costs(graph, ("r1", "r2"), 3) == pytest.approx([3 * 20 / 42, 3 * 10 / 42])


def test_branches_that_are_joined_pay_for_their_own_part():
    graph = graph_of(
        ("x", Input((1, 2, 2)), ()), ("a", conv(1, 3), ("x",)), ("ra", Relu(), ("a",)),
        ("b", conv(1, 1), ("x",)), ("rb", Relu(), ("b",)), ("c", Concatenate(0), ("ra", "rb")),
        ("f", Flatten(), ("c",)), ("d", dense(16, 10), ("f",)),
    )  # fmt: skip
    # 4 x 3 and 4 x 1 connections of the input; of 160 behind, 12 of 16 entries are ra's
    assert find_costs(graph, ("ra", "rb"), 1) == pytest.approx([120 / 176, 40 / 176])


def test_spikes_that_are_added_are_all_sent_on():
    graph = graph_of(
        ("x", Input((3,)), ()), ("d1", dense(3, 4), ("x",)), ("r1", Relu(), ("d1",)),
        ("d2", dense(4, 4), ("r1",)), ("r2", Relu(), ("d2",)), ("s", Add(), ("r1", "r2")),
        ("d3", dense(4, 2), ("s",)),
    )  # fmt: skip
    # 12 of the input, 16 of r1 in d2, and 8 in d3 of either
    assert find_costs(graph, ("r1", "r2"), 1) == pytest.approx([24 / 36, 8 / 36])
