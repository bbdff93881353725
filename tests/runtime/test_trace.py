"""Traces: by hand, in every kind of neuron, and no larger than what was asked for."""

import io

import numpy as np
import pytest

from spikeport.converter.errors import DataError, SimulationError
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.graded import Burst
from spikeport.converter.ir.ops import Dense, Input
from spikeport.converter.ir.scheduled import SignedFire, WaitFire
from spikeport.runtime import trace as module
from spikeport.runtime.engines.reference import simulate
from spikeport.runtime.report.tracks import draw_trace
from spikeport.runtime.trace import check_sample, choose_nodes, to_npz, trace

ONES = np.ones(1, np.float32)
X = np.array([[0.5, 0.75, -0.25]], np.float32)


def graph(*neurons, n_inputs: int = 3) -> Graph:
    """One neuron per kind, all fed by the input, the first seen by two outputs."""
    nodes = [Node("x", Input((n_inputs,)))]
    nodes += [Node(f"n/{number}", op, ("x",)) for number, op in enumerate(neurons)]
    weight = np.eye(2, n_inputs, dtype=np.float32)
    nodes.append(Node("out", Dense(weight, np.zeros(2)), ("n/0",)))
    return Graph(tuple(nodes), ("x",), ("out",))


def test_one_layer_by_hand():
    """Threshold 1, no initial potential, currents 1/2, 3/4, -1/4, four steps."""
    found = trace(graph(IntegrateFire(ONES, 0 * ONES)), (X,), n_steps=4, sample=7, label=1)
    node = found.nodes[0]
    np.testing.assert_array_equal(node.spikes.T, [[0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(
        node.potentials.T, [[0.5, 0, 0.5, 0], [0.75, 0.5, 0.25, 0], [-0.25, -0.5, -0.75, -1]]
    )
    np.testing.assert_array_equal(node.thresholds, [1, 1, 1])
    np.testing.assert_array_equal(node.chosen, [0, 1, 2])
    np.testing.assert_array_equal(found.outputs[:, 0], np.float32([0, 1 / 2, 1 / 3, 2 / 4]))
    np.testing.assert_array_equal(found.decisions, [0, 0, 1, 1])
    assert (found.sample, found.label) == (7, 1)


def test_every_kind_of_neuron():
    """Signed spikes are kept with their sign, graded ones with their number."""
    kinds = (IntegrateFire(ONES, 0 * ONES), WaitFire(ONES, 0 * ONES, 2, 3),
             SignedFire(ONES, 0 * ONES, 4), Burst(ONES, 0 * ONES, 8))  # fmt: skip
    network = graph(*kinds)
    found = trace(network, (4 * X,), n_steps=6)
    states = {}
    run = simulate(
        network, (4 * X,), 6,
        watch=lambda step, values, state: states.update({step: {k: s.copy() for k, s in
                                                                state.items()}}),
    )  # fmt: skip
    for node in found.nodes:
        np.testing.assert_array_equal(node.spikes.sum(axis=0), run.spike_counts[node.name][0])
    by_name = {node.name: node for node in found.nodes}
    np.testing.assert_array_equal(by_name["n/1"].potentials[5], states[5]["n/1"][0])
    np.testing.assert_array_equal(by_name["n/2"].potentials[5], states[5]["n/2"][0, 0])
    np.testing.assert_array_equal(by_name["n/3"].spikes[0], [2, 3, 0])
    assert not by_name["n/1"].spikes[:2].any()
    pictures = draw_trace(found)
    assert pictures[".png"].startswith(b"\x89PNG")
    assert b"n/3" in pictures[".svg"]


def test_the_file_holds_what_was_asked_for():
    network = graph(IntegrateFire(ONES, 0 * ONES), IntegrateFire(ONES, 0 * ONES))
    found = trace(network, (X,), n_steps=4, nodes=["n/1"], n_neurons=2)
    with np.load(io.BytesIO(to_npz(found)), allow_pickle=False) as content:
        assert set(content) == {
            "sample", "label", "outputs", "decisions", "nodes", "spikes_0", "potentials_0",
            "thresholds_0", "neurons_0",
        }  # fmt: skip
        assert content["nodes"].tolist() == ["n/1"]
        assert content["label"] == -1
        np.testing.assert_array_equal(content["neurons_0"], [0, 2])
        np.testing.assert_array_equal(content["spikes_0"].T, [[0, 1, 0, 1], [0, 0, 0, 0]])


def test_neurons_are_spread_over_a_node():
    network = graph(IntegrateFire(ONES, 0 * ONES), n_inputs=1000)
    x = np.zeros((1, 1000), np.float32)
    chosen = trace(network, (x,), n_steps=1, n_neurons=5).nodes[0].chosen
    np.testing.assert_array_equal(chosen, [0, 250, 500, 749, 999])
    assert len(trace(network, (x,), n_steps=1, n_neurons=10**9).nodes[0].chosen) == 1000


def test_more_than_can_be_kept(monkeypatch):
    network = graph(IntegrateFire(ONES, 0 * ONES))
    monkeypatch.setattr(module, "MAX_VALUES", 11)
    message = "trace: 12 spikes and potentials to keep, expected at most 11"
    with pytest.raises(SimulationError, match=message):
        trace(network, (X,), n_steps=4)
    assert len(trace(network, (X,), n_steps=4, n_neurons=2).nodes) == 1


def test_nodes_that_do_not_exist_or_do_not_fire():
    network = graph(IntegrateFire(ONES, 0 * ONES))
    with pytest.raises(SimulationError, match="node 'n0': does not exist, expected one of n/0"):
        choose_nodes(network, ["n0"])
    with pytest.raises(SimulationError, match=r"node out \(Dense\): does not fire, expected one"):
        choose_nodes(network, ["n/0", "out"])
    assert [node.name for node in choose_nodes(network, [])] == ["n/0"]


@pytest.mark.parametrize("sample", [-1, 3, 10**12])
def test_samples_that_do_not_exist(sample):
    with pytest.raises(DataError, match=rf"sample {sample}: the data have 3, expected 0..2"):
        check_sample(sample, 3)


def test_settings_out_of_range():
    network = graph(IntegrateFire(ONES, 0 * ONES))
    with pytest.raises(SimulationError, match="--neurons 0, expected at least 1"):
        trace(network, (X,), n_steps=4, n_neurons=0)
    with pytest.raises(SimulationError, match="n_steps 0, expected an integer of at least 1"):
        trace(network, (X,), n_steps=0)


def test_a_picture_of_many_nodes_and_nasty_names():
    ones = [IntegrateFire(ONES, 0 * ONES)] * 14
    found = trace(graph(*ones), (X,), n_steps=3)
    svg = draw_trace(found)[".svg"]
    assert b"2 more nodes are in the .npz" in svg
    nasty = Node("\x00$x_{\u4e2d<b>", ones[0], ("x",))
    network = Graph((Node("x", Input((3,))), nasty), ("x",), (nasty.name,))
    svg = draw_trace(trace(network, (X,), n_steps=3))[".svg"]
    assert b"?$x_{?&lt;b&gt;" in svg
