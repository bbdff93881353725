import numpy as np
import pytest

from spikeport.converter.errors import PassError, UnsupportedOpError
from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset, SpikingMaxPool
from spikeport.converter.ir.ops import Input, MaxPool, Relu, Sigmoid, Softmax
from spikeport.converter.passes import PASSES

INSERT = PASSES["insert_neurons"]
POOL = MaxPool((2,), (2,), (1,), ((0, 0),))


def graph_of(*ops) -> Graph:
    nodes = [Node("x", Input((2, 8)))]
    for place, op in enumerate(ops):
        nodes.append(Node(f"n{place}", op, (nodes[-1].name,)))
    return Graph(tuple(nodes), ("x",), (nodes[-1].name,))


def test_relu_becomes_a_neuron_and_only_pooling_behind_it_spikes():
    graph = INSERT(graph_of(POOL, Relu(), POOL), initial_potential=0.25, reset="zero")
    assert [type(node.op) for node in graph.nodes] == [
        Input, MaxPool, IntegrateFire, SpikingMaxPool,
    ]  # fmt: skip
    neuron = graph.by_name["n1"].op
    assert neuron.threshold == 1
    assert neuron.initial_potential == 0.25
    assert neuron.reset is Reset.ZERO
    assert graph.types["n2"].spiking


def test_every_op_without_a_meaning_per_step_is_listed():
    with pytest.raises(UnsupportedOpError, match="no spiking translation") as caught:
        INSERT(graph_of(Relu(), Softmax(0), Sigmoid()))
    assert [reason.split(":")[0] for reason in caught.value.reasons] == [
        "n1 (Softmax)", "n2 (Sigmoid)",
    ]  # fmt: skip


def test_unknown_reset():
    with pytest.raises(PassError, match="reset 'soft', expected one of subtract, zero"):
        INSERT(graph_of(Relu()), reset="soft")


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_initial_potential_outside_its_range(value):
    with pytest.raises(PassError, match=r"initial_potential .*, expected 0 <= value < 1"):
        INSERT(graph_of(Relu()), initial_potential=value)


def test_second_run_keeps_neurons():
    once = INSERT(graph_of(Relu(), POOL))
    assert [type(n.op) for n in INSERT(once).nodes] == [type(n.op) for n in once.nodes]
    assert np.array_equal(INSERT(once).by_name["n0"].op.threshold, [[1]])
