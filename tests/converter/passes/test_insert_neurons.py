import numpy as np
import pytest

from spikeport.converter.errors import PassError, UnsupportedOpError
from spikeport.converter.ir import (
    Graph,
    IntegrateFire,
    LeakyFire,
    Node,
    Reset,
    SignedFire,
    SpikingMaxPool,
)
from spikeport.converter.ir.ops import Input, MaxPool, Relu, Scale, Sigmoid, Softmax
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines.reference import simulate

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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leak": 1.0}, "leak 1.0, expected 0 <= value < 1"),
        ({"decay": -0.5}, "decay -0.5, expected 0 <= value < 1"),
        ({"relative": -1.0}, "relative -1.0, expected a finite number >= 0"),
        ({"relative": float("inf")}, "relative inf, expected a finite number >= 0"),
        ({"refractory": -1}, "refractory -1, expected 0 <= value < n_steps 8"),
        ({"refractory": 8}, "refractory 8, expected 0 <= value < n_steps 8"),
        ({"signed": True, "leak": 0.5}, "signed: goes with reset by subtraction, without leak"),
        ({"signed": True, "reset": "zero"}, "signed: goes with reset by subtraction"),
    ],
)
def test_neurons_that_cannot_be(options, message):
    with pytest.raises(PassError, match=message) as caught:
        INSERT(graph_of(Relu()), n_steps=8, **options)
    assert caught.value.hint


def test_neurons_that_forget_and_rest():
    settings = {"leak": 0.25, "refractory": 2, "relative": 0.5, "decay": 0.75}
    graph = INSERT(graph_of(Relu(), POOL), n_steps=8, reset="zero", **settings)
    op = graph.by_name["n0"].op
    assert isinstance(op, LeakyFire)
    assert {name: getattr(op, name) for name in settings} == settings
    assert op.reset is Reset.ZERO
    assert isinstance(graph.by_name["n1"].op, SpikingMaxPool)


def test_spikes_of_neurons_that_rest_stand_for_more_steps():
    """Rates reach 1/3; the function, and what one unit of a result stands for, stay."""
    graph = graph_of(Relu(), Scale(np.full((1, 1), 2), np.zeros((1, 1))))
    made = INSERT(graph, n_steps=100, refractory=2)
    assert made.by_name["n0"].unit == 3
    x = np.random.default_rng(0).uniform(-0.5, 1, (4, 2, 8)).astype(np.float32)
    found = simulate(made, (x,), 3000)
    np.testing.assert_allclose(found.outputs[0][-1], 2 * np.maximum(x, 0), atol=5e-3)
    assert found.spike_counts["n0"].max() <= 1000


def test_signed_neurons_send_one_per_step():
    op = INSERT(graph_of(Relu()), n_steps=8, signed=True).by_name["n0"].op
    assert isinstance(op, SignedFire)
    assert op.n_levels == 8


def test_second_run_keeps_neurons():
    once = INSERT(graph_of(Relu(), POOL))
    assert [type(n.op) for n in INSERT(once).nodes] == [type(n.op) for n in once.nodes]
    assert np.array_equal(INSERT(once).by_name["n0"].op.threshold, [[1]])
