"""Layers whose weights are bits give the reference engine's bits, over any kind of spikes."""

import numpy as np
import pytest

from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset, SpikingMaxPool
from spikeport.converter.ir.ops import AveragePool, Conv, Dense, Flatten, Input, Pad, Scale
from spikeport.runtime.engines import event, reference
from spikeport.runtime.plan.bits import Bits
from spikeport.runtime.plan.layers import FireStage

BINARY, TERNARY = (-1.0, 1.0), (-1.0, 0.0, 1.0)


class Chain:
    """Nodes one after the other; weights of inner layers are `entries` times a power of two."""

    def __init__(self, *shape: int, entries: tuple[float, ...] = BINARY, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.entries = entries
        self.nodes = [Node("x", Input(shape))]

    def add(self, op: object) -> "Chain":
        self.nodes.append(Node(f"n{len(self.nodes)}", op, (self.nodes[-1].name,)))
        return self

    def fire(self, *shape: int, threshold: float = 2, reset: Reset = Reset.SUBTRACT) -> "Chain":
        sizes = (shape[0], *(1,) * (len(shape) - 1))
        limits = np.maximum(1, threshold + self.random.integers(-2, 3, sizes))
        return self.add(IntegrateFire(limits, np.zeros(sizes), reset))

    def sign(self, n_axes: int = 3) -> "Chain":
        ones = np.ones((1,) * n_axes)
        return self.add(Scale(2 * ones, -ones))

    def weights(self, *shape: int) -> np.ndarray:
        scale = 2.0 ** self.random.integers(-2, 2, (shape[0], *(1,) * (len(shape) - 1)))
        return self.random.choice(self.entries, shape) * scale

    def conv(self, n_in: int, n_out: int, **options: object) -> "Chain":
        settings = {"strides": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (1, 1)), **options}
        size = settings.pop("size", (3, 3))
        bias = self.random.integers(-3, 4, n_out)
        return self.add(Conv(self.weights(n_out, n_in, *size), bias, **settings))

    def first(self, n_out: int) -> "Chain":
        """A layer of ordinary weights, and neurons."""
        n_in, *sizes = self.nodes[0].op.shape
        weight = self.random.integers(-128, 129, (n_out, n_in, *(1 for _ in sizes))) / 32
        ones = (1,) * len(sizes)
        self.add(Conv(weight, np.zeros(n_out), ones, ones, ((0, 0),) * len(sizes)))
        return self.fire(n_out, *sizes, threshold=1)

    def graph(self, **metadata: object) -> Graph:
        return Graph(tuple(self.nodes), ("x",), (self.nodes[-1].name,), metadata)


def kinds(runner: event.EventRunner) -> list[str]:
    stages = runner.plan.stages
    return [type(stage.gather).__name__ for stage in stages if isinstance(stage, FireStage)]


def check(graph: Graph, n_steps: int, n_samples: int = 3) -> list[str]:
    """Compare every bit with the reference engine; return how the layers of neurons are run."""
    random = np.random.default_rng(1)
    x = random.integers(-256, 257, (n_samples, *graph.types["x"].shape)) / np.float32(256)
    inputs = (x.astype(np.float32),)
    expected = reference.simulate(graph, inputs, n_steps)
    runner = event.compile_graph(graph, n_threads=2)
    for count_spikes in (False, True):
        found = runner.run(inputs, n_steps, count_spikes=count_spikes)
        np.testing.assert_array_equal(found.outputs[0], expected.outputs[0])
        assert found.n_spikes == expected.n_spikes
        assert set(found.synaptic_operations) == set(expected.synaptic_operations)
        for name, operations in expected.synaptic_operations.items():
            np.testing.assert_array_equal(found.synaptic_operations[name], operations, name)
    for name, spikes in expected.spike_counts.items():
        np.testing.assert_array_equal(found.spike_counts[name], spikes, name)
        assert 0 < spikes.mean() < n_steps, name  # else nothing was compared
    return kinds(runner)


@pytest.mark.parametrize("n_steps", [1, 3, 33])
@pytest.mark.parametrize("entries", [BINARY, TERNARY])
@pytest.mark.parametrize(
    ("n_in", "n_out"), [(8, 16), (20, 7), (32, 32), (33, 40), (64, 64), (70, 20), (130, 33)]
)
def test_any_number_of_channels(n_in, n_out, entries, n_steps):
    """Up to 64 channels share a word with those of other kernel positions, more take several."""
    chain = Chain(3, 6, 5, entries=entries).first(n_in).conv(n_in, n_out).fire(n_out, 6, 5)
    assert check(chain.graph(), n_steps) == ["Gather", "Bits"]


@pytest.mark.parametrize("n_steps", [1, 5])
@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"strides": (2, 1)}, (3, 5)),
        ({"dilation": (1, 2), "padding": ((2, 0), (2, 2))}, (6, 5)),
        ({"size": (1, 4), "padding": ((0, 0), (2, 1))}, (6, 5)),
    ],
)
def test_geometries(options, size, n_steps):
    chain = Chain(3, 6, 5).first(24).conv(24, 32, **options).fire(32, *size)
    assert check(chain.graph(), n_steps) == ["Gather", "Bits"]


@pytest.mark.parametrize("n_steps", [1, 9])
@pytest.mark.parametrize("entries", [BINARY, TERNARY])
def test_signs_over_padding_flattening_and_dense_layers(entries, n_steps):
    """Padding is 0, not -1, so that a shift counts less at the border."""
    chain = Chain(2, 6, 6, entries=entries).first(32).sign().conv(32, 48).fire(48, 6, 6).sign()
    chain.conv(48, 16).fire(16, 6, 6).sign().add(Flatten())
    chain.add(Dense(chain.weights(40, 576), chain.random.integers(-3, 4, 40)))
    chain.fire(40, threshold=9).sign(1)
    chain.add(Dense(chain.random.integers(-9, 10, (5, 40)) / 16, np.zeros(5)))
    assert check(chain.graph(n_steps=n_steps), n_steps) == ["Gather", "Bits", "Bits", "Bits"]
    assert event.compile_graph(chain.graph()).fallbacks == ()


@pytest.mark.parametrize("n_steps", [1, 9])
@pytest.mark.parametrize("reset", Reset)
def test_pooled_spikes_and_resets(reset, n_steps):
    chain = Chain(2, 8, 8).first(32).conv(32, 32).fire(32, 8, 8, reset=reset)
    chain.add(AveragePool((2, 2), (2, 2), ((0, 0),) * 2, False))
    chain.conv(32, 32).fire(32, 4, 4, threshold=2)
    chain.add(SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2)).add(Flatten())
    chain.add(Dense(chain.weights(24, 128), np.zeros(24))).fire(24, reset=reset)
    assert check(chain.graph(), n_steps) == ["Gather", "Bits", "Bits", "Bits"]


@pytest.mark.parametrize("n_steps", [1, 9])
def test_signs_behind_an_average_pooling(n_steps):
    """A mean of signs may be zero, and its operations are counted by what it is."""
    pooling = AveragePool((2, 2), (2, 2), ((0, 0),) * 2, False)
    chain = Chain(2, 8, 8).first(32).sign().add(pooling).conv(32, 32).fire(32, 4, 4).sign()
    chain.add(Pad(((0, 0), (1, 0), (0, 1)))).conv(32, 16).fire(16, 5, 5)
    assert check(chain.graph(), n_steps)[1] == "Bits"


def test_scales_that_are_no_powers_of_two():
    """The scale is multiplied once, not added up: another rounding, within a unit in the last."""
    chain = Chain(3, 6, 6).first(32)
    weight = chain.random.choice(BINARY, (32, 32, 3, 3)) * chain.random.uniform(
        0.1, 1, (32, 1, 1, 1)
    )
    ones = (1, 1)
    graph = chain.add(Conv(weight, np.zeros(32), ones, ones, ((1, 1),) * 2)).fire(32, 6, 6).graph()
    x = (np.random.default_rng(1).uniform(0, 1, (3, 3, 6, 6)).astype(np.float32),)
    runner = event.compile_graph(graph)
    found = runner.run(x, 16, count_spikes=True)
    expected = reference.simulate(graph, x, 16)
    assert kinds(runner) == ["Gather", "Bits"]
    name = graph.outputs[0]
    differ = found.spike_counts[name] != expected.spike_counts[name]
    assert differ.mean() < 0.002


@pytest.mark.parametrize(
    "weight",
    [
        np.where(np.arange(32 * 288) == 777, 2, 1).reshape(32, 32, 3, 3),  # one other magnitude
        (np.random.default_rng(0).random((32, 32, 3, 3)) < 0.3) * 1.0,  # most are zero
        np.zeros((32, 32, 3, 3)),
    ],
)
def test_other_weights_are_added(weight):
    ones = (1, 1)
    chain = Chain(3, 6, 6).first(32).add(Conv(weight, np.ones(32), ones, ones, ((1, 1),) * 2))
    runner = event.compile_graph(chain.fire(32, 6, 6).graph())
    assert kinds(runner) == ["Gather", "Gather"]


def test_few_connections_are_added():
    graph = Chain(3, 6, 6).first(4).conv(4, 32).fire(32, 6, 6).graph()
    assert kinds(event.compile_graph(graph)) == ["Gather", "Gather"]


@pytest.mark.parametrize("n_samples", [1, 2, 31, 32, 33, 70])
def test_samples_of_one_step_side_by_side(n_samples):
    """With T = 1 the steps of a block are samples; nothing is carried from one to the next."""
    chain = Chain(2, 6, 6).first(32).conv(32, 32).fire(32, 6, 6)
    chain.add(SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2)).conv(32, 16).fire(16, 3, 3)
    graph = (
        chain.add(Flatten()).add(Dense(chain.random.integers(-9, 9, (5, 144)), np.ones(5))).graph()
    )
    assert check(graph, 1, n_samples) == ["Gather", "Bits", "Bits"]
    assert isinstance(event.compile_graph(graph), event.EventRunner)


def test_all_bits_are_counted_as_memory():
    chain = Chain(3, 6, 6).first(64).conv(64, 64).fire(64, 6, 6)
    plan = event.compile_graph(chain.graph()).plan
    (gather,) = (s.gather for s in plan.stages if isinstance(getattr(s, "gather", None), Bits))
    assert gather.weights.nbytes == 9 * 64 * 8
    assert plan.arena.n_patch_words == 10 * plan.arena.n_steps
