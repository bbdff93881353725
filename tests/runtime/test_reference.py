"""The reference engine against hand-computed traces and a slow loop."""

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset, SpikingMaxPool
from spikeport.converter.ir.ops import Add, Conv, Dense, Input, Scale
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.engines.reference import simulate
from spikeport.runtime.simulation import count_macs, fan_outs


def neuron(initial: float = 0.5, rank: int = 1, reset: Reset = Reset.SUBTRACT) -> IntegrateFire:
    ones = np.ones((1,) * rank, np.float32)
    return IntegrateFire(ones, initial * ones, reset)


def two_layers() -> Graph:
    return Graph(
        (
            Node("x", Input((2,))),
            Node("d1", Dense(np.array([[1.0, 0], [0, 1], [1, 1]]), np.zeros(3)), ("x",)),
            Node("n1", neuron(), ("d1",)),
            Node("d2", Dense(np.array([[1.0, -1, 2]]), np.array([0.25])), ("n1",)),
        ),
        ("x",),
        ("d2",),
    )


def test_trace_by_hand():
    """Currents 0.5, 0.25, 0.75 from potential 1/2: spikes 1010, 0100, 1101; output d2 per step."""
    x = np.array([[0.5, 0.25]], np.float32)
    result = simulate(two_layers(), (x,), 4)
    np.testing.assert_array_equal(result.spike_counts["n1"], [[2, 1, 3]])
    per_step = np.array([1 + 2 + 0.25, -1 + 2 + 0.25, 1 + 0.25, 2 + 0.25])
    mean = np.cumsum(per_step) / np.arange(1, 5)
    np.testing.assert_array_equal(result.outputs[0][:, 0, 0], mean.astype(np.float32))
    np.testing.assert_array_equal(result.synaptic_operations["d2"], [2, 2, 1, 1])
    assert "d1" not in result.synaptic_operations


def test_macs_on_the_input_and_behind_neurons():
    assert count_macs(two_layers(), varying=False) == 6
    assert count_macs(two_layers(), varying=True) == 3


def test_residual_spikes_count_one_operation_each():
    graph = Graph(
        (
            Node("x", Input((2,))),
            Node("n1", neuron(), ("x",)),
            Node("s", Scale(np.full(1, 2.0), np.zeros(1)), ("n1",)),
            Node("a", Add(), ("s", "n1", "x")),
            Node("n2", neuron(), ("a",)),
        ),
        ("x",),
        ("n2",),
    )
    result = simulate(graph, (np.array([[1.0, 0.0]], np.float32),), 3)
    np.testing.assert_array_equal(result.synaptic_operations["s"], [1, 1, 1])
    np.testing.assert_array_equal(result.synaptic_operations["a"], [1, 1, 1])
    assert set(fan_outs(graph, varying=True)) == {"s", "a"}


def test_synaptic_operations_at_borders():
    """A 3-wide window with padding: border entries have two connections per output channel."""
    conv = Conv(np.ones((2, 1, 3)), np.zeros(2), (1,), (1,), ((1, 1),))
    graph = Graph(
        (Node("x", Input((1, 4))), Node("n", neuron(0, 2), ("x",)), Node("c", conv, ("n",))),
        ("x",),
        ("c",),
    )
    x = np.array([[[1.0, 0, 1, 0]]], np.float32)
    result = simulate(graph, (x,), 2)
    np.testing.assert_array_equal(result.synaptic_operations["c"], [2 * 2 + 3 * 2] * 2)


def test_network_without_neurons_gives_the_same_at_every_step():
    graph = Graph((Node("x", Input((2,))), Node("d", Dense(np.eye(2), np.ones(2)), ("x",))),
                  ("x",), ("d",))  # fmt: skip
    x = np.array([[3.0, -1.0]], np.float32)
    result = simulate(graph, (x,), 5)
    np.testing.assert_array_equal(result.outputs[0], np.broadcast_to([[4.0, 0.0]], (5, 1, 2)))
    assert not result.spike_counts


def test_max_pool_of_spikes_is_the_maximum_of_counts_at_every_step():
    pool = SpikingMaxPool((2,), (2,), (1,), ((0, 0),))
    graph = Graph(
        (Node("x", Input((1, 4))), Node("n", neuron(0, 2), ("x",)), Node("p", pool, ("n",))),
        ("x",),
        ("p",),
    )
    x = np.array([[[0.3, 0.6, 0.9, 0.1]]], np.float32)
    for n_steps in (1, 5, 20):
        result = simulate(graph, (x,), n_steps)
        counts = result.spike_counts["n"].reshape(2, 2).max(axis=1)
        np.testing.assert_allclose(result.outputs[0][-1, 0, 0] * n_steps, counts, rtol=1e-6)


def test_result_does_not_depend_on_the_batch(sample_graph):
    from spikeport.converter.passes import PASSES
    from spikeport.converter.recipes import RECIPES

    graph = sample_graph
    random = np.random.default_rng(2)
    x = tuple(
        random.uniform(0, 1, (6, *graph.types[name].shape)).astype(np.float32)
        for name in graph.inputs
    )
    for name in RECIPES["classic"].passes:
        supplied = {"calibration": x, "n_steps": 8}
        graph = PASSES[name](graph, **{key: supplied[key] for key in PASSES[name].needs})
    together = simulate(graph, x, 8)
    for sample in range(6):
        alone = simulate(graph, tuple(array[sample : sample + 1] for array in x), 8)
        for name, counts in alone.spike_counts.items():
            np.testing.assert_array_equal(counts[0], together.spike_counts[name][sample])
        for a, b in zip(alone.outputs, together.outputs, strict=True):
            np.testing.assert_array_equal(a[:, 0], b[:, sample])


@pytest.mark.parametrize("engine", ["event", "reference"])
def test_input_that_does_not_fit(engine):
    with pytest.raises(GraphError, match=r"x \(Input\): got an array of shape \(1, 3\)"):
        ENGINES[engine](two_layers()).run((np.zeros((1, 3), np.float32),), 2)
