"""Adding all rows gives the bits that adding events gives, whatever is measured."""

import numpy as np
import pytest

from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset
from spikeport.converter.ir.ops import Add, AveragePool, Conv, Input
from spikeport.runtime.engines import event, reference
from spikeport.runtime.plan import gather
from spikeport.runtime.plan.layers import FireStage

ONES = (1, 1)


def draw_graph(n_out: int, *, pooled: bool, kernel: int, reset: Reset) -> Graph:
    """Neurons, perhaps a pooling, and a convolution of two terms, of any real weights."""
    random = np.random.default_rng(n_out + kernel)
    one = np.ones((1, 1, 1))
    half = kernel // 2

    def conv(n_in: int) -> Conv:
        weight = random.normal(0, 0.2, (n_out, n_in, kernel, kernel))
        return Conv(
            weight, random.normal(0, 0.1, n_out), ONES, ONES, ((half, kernel - 1 - half),) * 2
        )

    first = Conv(random.normal(0, 1, (40, 2, 1, 1)), np.zeros(40), ONES, ONES, ((0, 0),) * 2)
    nodes = [
        Node("x", Input((2, 8, 8))),
        Node("first", first, ("x",)),
        Node("before", IntegrateFire(one, 0 * one), ("first",)),
        Node("pool", AveragePool((2, 2), (2, 2), ((0, 0),) * 2, False), ("before",)),
    ]
    nodes = nodes if pooled else nodes[:3]
    last = nodes[-1].name
    size = 4 if pooled else 8
    threshold = random.uniform(0.5, 1, (n_out, size, size)) if pooled else one
    nodes += [
        Node("conv", conv(40), (last,)),
        Node("again", conv(40), (last,)),
        Node("sum", Add(), ("conv", "again")),
        Node("behind", IntegrateFire(threshold, threshold / 2, reset), ("sum",)),
    ]
    return Graph(tuple(nodes), ("x",), ("behind",))


def run(graph: Graph, x: np.ndarray, n_steps: int, crossover: float, monkeypatch) -> tuple:
    monkeypatch.setattr(gather, "CROSSOVERS", ((0, crossover),))
    runner = event.compile_graph(graph, n_threads=2)
    found = runner.run((x,), n_steps, count_spikes=n_steps > 1)
    (stage,) = (s for s in runner.plan.stages if getattr(s, "node", None) is graph.nodes[-1])
    return found, stage


@pytest.mark.parametrize("n_steps", [1, 4, 33])
@pytest.mark.parametrize(("n_out", "kernel"), [(70, 3), (40, 2)])
@pytest.mark.parametrize(("pooled", "reset"), [(False, Reset.SUBTRACT), (True, Reset.ZERO)])
def test_the_same_bits(n_out, kernel, pooled, reset, n_steps, monkeypatch):
    graph = draw_graph(n_out, pooled=pooled, kernel=kernel, reset=reset)
    x = np.random.default_rng(0).uniform(-1, 1, (5, 2, 8, 8)).astype(np.float32)
    events, stage = run(graph, x, n_steps, 2.0, monkeypatch)
    dense, other = run(graph, x, n_steps, -1.0, monkeypatch)
    assert isinstance(stage, FireStage)
    assert len(stage.gather.together) * len(stage.gather.lanes) * len(stage.gather.reach) <= 384
    assert stage.gather.together
    assert other.gather.crossover < 0
    assert dense.n_spikes == events.n_spikes
    assert 0 < dense.n_spikes["behind"] < n_steps * 5 * np.prod(graph.types["behind"].shape)
    np.testing.assert_array_equal(dense.outputs[0], events.outputs[0])
    for name, counts in events.spike_counts.items():
        np.testing.assert_array_equal(dense.spike_counts[name], counts)


def test_which_layers_add_all_rows(monkeypatch):
    """Many spikes in a layer of many rows; the rate is that of the block of steps at hand."""
    from spikeport.runtime.plan import layers

    used = []

    class Kernels:
        def fire_dense(self, *arguments):
            used.append(arguments)
            return original.fire_dense(*arguments)

    original = layers.dense_kernels()
    monkeypatch.setattr(layers, "dense_kernels", Kernels)
    random = np.random.default_rng(0)
    one = np.ones((1, 1, 1))
    weight = random.integers(-64, 65, (128, 128, 3, 3)) / 256
    conv = Conv(weight, np.zeros(128), ONES, ONES, ((1, 1),) * 2)
    nodes = (
        Node("x", Input((128, 4, 4))),
        Node("before", IntegrateFire(one, 0 * one), ("x",)),
        Node("conv", conv, ("before",)),
        Node("behind", IntegrateFire(one, 0 * one), ("conv",)),
    )
    graph = Graph(nodes, ("x",), ("behind",))
    runner = event.compile_graph(graph)
    for rate, expected in ((0.2, 0), (0.7, 1)):
        used.clear()
        x = np.full((1, 128, 4, 4), rate, np.float32)
        found = runner.run((x,), 32)
        assert len(used) == expected
        assert found.n_spikes == reference.simulate(graph, (x,), 32).n_spikes


def test_sums_of_another_order_are_never_dense():
    """16 channels and a reach of 3 keep two sums side by side, which only lists give."""
    graph = draw_graph(16, pooled=False, kernel=3, reset=Reset.SUBTRACT)
    stages = event.compile_graph(graph).plan.stages
    (stage,) = (s for s in stages if getattr(s, "node", None) is graph.nodes[-1])
    assert stage.gather.together == ()
