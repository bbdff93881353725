"""The event engine gives what the reference engine gives: spikes, outputs, operations."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.converter.errors import SimulationError
from spikeport.converter.ir import (
    Graph,
    IntegrateFire,
    LeakyFire,
    Node,
    Op,
    Reset,
    SpikingMaxPool,
    SumPool,
)
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Input,
    Pad,
    Reshape,
    Scale,
    Transpose,
)
from spikeport.converter.passes import PASSES
from spikeport.converter.recipes import RECIPES
from spikeport.runtime.engines import event, reference

SIMPLIFY = ("remove_no_ops", "strip_output_activation", "fold_batch_norm")


def draw_inputs(graph: Graph, n_samples: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    return tuple(
        (random.integers(0, 257, (n_samples, *graph.types[name].shape)) / 256).astype(np.float32)
        for name in graph.inputs
    )


def assert_same(
    graph: Graph, n_samples: int = 3, n_steps: int = 40, n_threads: int = 1, rtol: float = 0.0
) -> tuple:
    """Run both engines; return the nodes that fell back and the number of spikes.

    Spikes and operations are equal; outputs are within `rtol` of the largest.
    """
    inputs = draw_inputs(graph, n_samples)
    expected = reference.simulate(graph, inputs, n_steps)
    runner = event.compile_graph(graph, n_threads=n_threads)
    found = runner.run(inputs, n_steps, count_spikes=True)
    assert set(found.spike_counts) == set(expected.spike_counts)
    for name, counts in expected.spike_counts.items():
        np.testing.assert_array_equal(found.spike_counts[name], counts, err_msg=name)
    assert found.n_spikes == expected.n_spikes
    assert set(found.synaptic_operations) == set(expected.synaptic_operations)
    for name, operations in expected.synaptic_operations.items():
        np.testing.assert_array_equal(found.synaptic_operations[name], operations, err_msg=name)
    for a, b in zip(found.outputs, expected.outputs, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * abs(b).max())
        assert a.dtype == np.float32
    return runner.fallbacks, sum(expected.n_spikes.values())


def lower(graph: Graph, **options: object) -> Graph:
    for name in SIMPLIFY:
        graph = PASSES[name](graph)
    return PASSES["insert_neurons"](graph, **options)


class Net:
    """A chain of nodes with weights that are multiples of 2^-8; the last node is the output."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes = [Node("x", Input(shape))]
        self.last = "x"

    def draw(self, *shape: int, scale: float) -> np.ndarray:
        return np.round(self.random.normal(0, scale, shape) * 256) / 256

    def add(self, op: Op, *inputs: str) -> str:
        self.last = f"{type(op).__name__}{len(self.nodes)}"
        self.nodes.append(Node(self.last, op, inputs or (self.nodes[-1].name,)))
        return self.last

    @property
    def graph(self) -> Graph:
        return Graph(tuple(self.nodes), ("x",), (self.last,))

    def shape(self, name: str | None = None) -> tuple[int, ...]:
        return self.graph.types[name or self.last].shape

    def conv(self, n_out: int, size: int = 3, x: str | None = None, *, padding: int = 0,
             stride: int = 1, dilation: int = 1, groups: int = 1) -> str:  # fmt: skip
        shape = self.shape(x)
        n_in, n_axes = shape[0] // groups, len(shape) - 1
        scale = (2 / (n_in * size**n_axes)) ** 0.5
        op = Conv(
            self.draw(n_out, n_in, *(size,) * n_axes, scale=scale),
            self.draw(n_out, scale=0.1),
            (stride,) * n_axes,
            (dilation,) * n_axes,
            ((padding, padding),) * n_axes,
            groups,
        )
        return self.add(op, x or self.last)

    def dense(self, n_out: int, x: str | None = None) -> str:
        (n_in,) = self.shape(x)
        weight = self.draw(n_out, n_in, scale=(2 / n_in) ** 0.5)
        return self.add(Dense(weight, self.draw(n_out, scale=0.1)), x or self.last)

    def fire(self, x: str | None = None, reset: Reset = Reset.SUBTRACT) -> str:
        """Add neurons whose thresholds and initial potentials differ from channel to channel."""
        shape = self.shape(x)
        sizes = (shape[0], *(1,) * (len(shape) - 1))
        threshold = self.random.choice([0.5, 0.75, 1.0], sizes)
        initial = self.random.choice([-0.25, 0.0, 0.5], sizes)
        return self.add(IntegrateFire(threshold, initial, reset), x or self.last)


@pytest.mark.parametrize("n_steps", [1, 40])
@pytest.mark.parametrize(("reset", "initial"), [("subtract", 0.5), ("zero", 0.0)])
def test_sample_graphs_bit_for_bit(sample_graph, reset, initial, n_steps):
    graph = lower(sample_graph, reset=reset, initial_potential=initial)
    sizes = [
        np.prod(graph.types[node.inputs[0]].shape[1:])
        for node in graph.nodes
        if isinstance(node.op, GlobalAveragePool)
    ]
    is_exact = all(size & (size - 1) == 0 for size in sizes)
    assert_same(graph, n_steps=n_steps, rtol=0.0 if is_exact else 1e-6)


def test_sample_graphs_with_normalized_weights(sample_graph):
    """Weights that are not dyadic: the order of additions differs, so a few ties may."""
    graph = sample_graph
    inputs = draw_inputs(graph, 20)
    for name in RECIPES["classic"].passes:
        pass_ = PASSES[name]
        graph = pass_(graph, **({"calibration": inputs} if "calibration" in pass_.needs else {}))
    expected = reference.simulate(graph, inputs, 33)
    found = event.compile_graph(graph).run(inputs, 33, count_spikes=True)
    for name, counts in expected.spike_counts.items():
        assert (found.spike_counts[name] != counts).mean() < 1e-3
        assert abs(found.spike_counts[name] - counts).max() <= 1
    for a, b in zip(found.outputs, expected.outputs, strict=True):
        np.testing.assert_allclose(a[-1], b[-1], rtol=1e-4, atol=0.02)


@pytest.mark.parametrize("n_channels", [1, 3, 16, 33, 65, 130])
def test_any_number_of_channels(n_channels):
    net = Net(2, 5, 5)
    net.conv(n_channels, padding=1)
    net.fire()
    net.conv(n_channels, padding=1)
    net.fire()
    net.add(Flatten())
    net.dense(n_channels)
    net.fire(reset=Reset.ZERO)
    net.dense(3)
    fallbacks, n_spikes = assert_same(net.graph, n_samples=2)
    assert not fallbacks
    assert n_spikes > 50


@pytest.mark.parametrize("options", [
    {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2}, {"groups": 4, "padding": 2},
    {"groups": 4, "stride": 2, "dilation": 2, "padding": 3},
])  # fmt: skip
def test_geometries_of_convolution(options):
    net = Net(1, 8, 7)
    net.conv(68)
    net.fire()
    net.conv(136, **options)
    net.fire()
    net.add(Flatten())
    net.dense(2)
    assert_same(net.graph, n_samples=2)


@pytest.mark.parametrize("pool", [AveragePool, SumPool])
@pytest.mark.parametrize("shape", [(3, 17), (2, 5, 6), (2, 4, 4, 5)])
def test_one_to_three_axes_with_pooling(shape, pool):
    net = Net(*shape)
    n_axes = len(shape) - 1
    net.conv(20, 2)
    net.fire()
    net.add(pool((2,) * n_axes, (1,) * n_axes, ((0, 0),) * n_axes))
    net.conv(9, 2)
    net.fire()
    net.add(Flatten())
    net.dense(4)
    fallbacks, _ = assert_same(net.graph)
    assert not fallbacks


def test_average_pooling_of_pooled_spikes_counts_a_value_once():
    net = Net(2, 8, 8)
    net.fire()
    for _ in range(2):
        net.add(AveragePool((2, 2), (2, 2), ((0, 0),) * 2))
    net.conv(3, 2)
    net.fire()
    net.add(GlobalAveragePool())
    net.dense(2)
    fallbacks, _ = assert_same(net.graph)
    assert fallbacks == () or set(fallbacks) == {net.nodes[-2].name, net.nodes[-1].name}


@pytest.mark.parametrize(("size", "is_alone"), [(3, True), (7, True), (3, False)])
def test_pooling_whose_division_rounds(size, is_alone):
    """The mean is rounded, so that potentials may differ by that much."""
    net = Net(2, 2 * size, 2 * size)
    spikes = net.fire()
    pool = net.add(AveragePool((size, size), (size, size), ((0, 0),) * 2))
    if not is_alone:
        one = net.add(AveragePool((2, 2), (size, size), ((0, 0),) * 2), spikes)
        net.add(Concatenate(0), pool, one)
    net.conv(3, 2)
    fallbacks, n_spikes = assert_same(net.graph, rtol=1e-6)
    assert not fallbacks
    assert n_spikes > 50


def test_pooling_of_more_spikes_than_can_be_counted_falls_back():
    net = Net(2, 16, 16)
    net.fire()
    pool = net.add(GlobalAveragePool())
    net.dense(3)
    assert assert_same(net.graph)[0] == (pool, net.last)


def test_residual_additions_of_every_kind():
    """Spikes, scaled spikes, pooled spikes, a convolution, a constant and an analog value."""
    net = Net(4, 4, 4)
    a = net.fire()
    scaled = net.add(Scale(net.draw(4, 1, 1, scale=1), net.draw(4, 4, 4, scale=0.1)), a)
    everywhere = net.add(Scale(net.draw(4, 4, 4, scale=1), np.zeros((1, 1, 1))), a)
    conv = net.conv(4, padding=1, x=a)
    pooled = net.add(AveragePool((1, 2), (1, 1), ((0, 0), (0, 1)), count_padding=False), a)
    net.add(Add(), a, scaled, everywhere, conv, "x", pooled, conv)
    net.fire()
    net.add(Flatten())
    net.dense(3)
    assert_same(net.graph)


def test_concatenation_padding_and_rearrangement():
    net = Net(3, 4, 5)
    a = net.fire()
    b = net.fire(net.conv(66, padding=1))
    net.add(Concatenate(0), a, b)
    net.add(Pad(((1, 0), (0, 1), (2, 0))))
    c = net.fire(net.conv(5))
    net.add(Transpose((1, 2, 0)), c)
    flat = net.add(Flatten())
    d = net.fire(net.dense(30))
    net.add(Concatenate(0), flat, d)
    net.fire(net.dense(60))
    net.add(Reshape((15, 2, 2)))
    net.conv(2, 2)
    net.fire()
    fallbacks, _ = assert_same(net.graph)
    assert len(fallbacks) <= 2


def test_max_pooling_of_spikes():
    net = Net(3, 7, 6)
    net.conv(70, padding=1)
    net.fire()
    net.add(SpikingMaxPool((3, 2), (2, 2), (1, 2), ((1, 1), (1, 0))))
    net.conv(5, 2)
    net.fire()
    net.add(SpikingMaxPool((2, 2), (1, 1), (1, 1), ((0, 0),) * 2))
    net.add(SpikingMaxPool((2, 1), (1, 1), (1, 1), ((0, 0),) * 2))
    fallbacks, _ = assert_same(net.graph)
    assert not fallbacks


def test_max_pooling_of_anything_else_is_of_values_and_its_spikes_are_events_again():
    net = Net(3, 6, 6)
    a = net.fire()
    b = net.fire(net.conv(4, padding=1))
    net.add(Concatenate(0), a, b)
    net.add(SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2))
    net.conv(5, 2)
    net.add(SpikingMaxPool((3, 2), (2, 1), (1, 1), ((1, 0), (0, 1))))
    net.fire()
    fallbacks, _ = assert_same(net.graph)
    assert not any(name.startswith("SpikingMaxPool") for name in fallbacks)


def test_an_analog_value_that_is_used_twice_and_is_an_output():
    net = Net(2, 4, 4)
    net.fire()
    trunk = net.conv(4, padding=1)
    left = net.fire(trunk)
    right = net.fire(net.conv(4, padding=1, x=trunk))
    both = net.add(Add(), left, right, trunk)
    assert_same(net.graph.replace(outputs=(both, trunk, left, "x")))


def test_a_line_of_more_channels_than_can_be_numbered():
    net = Net(2)
    wide = Dense(np.round(net.random.normal(0, 1, (2**16 + 1, 2)) * 4) / 4, np.zeros(2**16 + 1))
    net.add(wide)
    net.fire()
    net.dense(2)
    assert_same(net.graph, n_samples=1, n_steps=3)


def test_network_without_neurons():
    net = Net(3)
    net.dense(2)
    assert_same(net.graph, n_steps=5)


def test_blocks_of_fewer_steps_change_nothing(monkeypatch):
    from spikeport.runtime.plan import memory

    monkeypatch.setattr(memory, "MAX_STEPS", 7)
    net = Net(2, 6, 6)
    net.conv(8, padding=1)
    net.fire()
    net.add(SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2))
    net.conv(4)
    net.fire()
    assert_same(net.graph, n_steps=23)


@pytest.mark.parametrize("n_samples", [1, 2, 9, 37])
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_groups_are_all_samples_once_and_small_at_the_end(n_samples, n_threads):
    groups = list(event._split(n_samples, 8, n_threads))
    assert [i for group in groups for i in range(group.start, group.stop)] == list(range(n_samples))
    sizes = [group.stop - group.start for group in groups]
    assert max(sizes) <= 8
    assert sizes == sorted(sizes, reverse=True)
    if n_threads > 1 and n_samples > n_threads:
        assert sizes[-1] == 1


def test_groups_of_many_threads_are_not_all_of_one_sample():
    groups = list(event._split(100, 8, 16))
    assert groups[0] == slice(0, 4)
    assert len(groups) < 60


def test_a_layer_in_a_sum_with_pooled_spikes_and_in_one_without():
    net = Net(3, 6, 6)
    a, b, c = (net.fire(net.conv(8, padding=1, x="x")) for _ in range(3))
    pooled = net.add(AveragePool((2, 2), (1, 1), ((0, 1), (0, 1)), count_padding=True), b)
    first = net.fire(net.conv(8, padding=1, x=net.add(Concatenate(0), a, pooled)))
    second = net.fire(net.conv(8, padding=1, x=net.add(Concatenate(0), a, c)))
    net.add(Concatenate(0), first, second)
    _, n_spikes = assert_same(net.graph)
    assert n_spikes > 1000


@pytest.mark.parametrize("is_leaky", [False, True])
@pytest.mark.parametrize("pool", [AveragePool, SumPool])
def test_samples_side_by_side_change_nothing(monkeypatch, is_leaky, pool):
    from spikeport.runtime.plan import memory

    net = Net(2, 6, 6)
    net.conv(5, padding=1)
    net.fire()
    net.add(pool((2, 2), (2, 2), ((0, 0),) * 2))
    net.conv(70, padding=1)
    if is_leaky:
        net.add(LeakyFire(np.ones((70, 1, 1)), np.zeros((70, 1, 1)), leak=0.25))
    else:
        net.fire()
    net.add(SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2))
    net.add(Flatten())
    net.dense(300)
    net.fire()
    net.dense(3)
    inputs, results = draw_inputs(net.graph, 11), []
    for n_most in (1, 4, 8):
        monkeypatch.setattr(memory, "MAX_SAMPLES", n_most)
        runner = event.compile_graph(net.graph)
        assert runner.plan.arena.n_samples == n_most
        results.append(runner.run(inputs, 40, count_spikes=True))
    first = results[0]
    for other in results[1:]:
        assert other.n_spikes == first.n_spikes
        np.testing.assert_array_equal(other.outputs[0], first.outputs[0])
        for name, operations in first.synaptic_operations.items():
            np.testing.assert_array_equal(other.synaptic_operations[name], operations)
        for name, counts in first.spike_counts.items():
            np.testing.assert_array_equal(other.spike_counts[name], counts)


def test_result_does_not_depend_on_threads_batch_or_order():
    net = Net(1, 8, 8)
    net.conv(12, padding=1)
    net.fire()
    net.conv(70)
    net.fire()
    net.add(Flatten())
    net.dense(5)
    graph = PASSES["remove_no_ops"](net.graph)
    weight = net.random.normal(0, 0.1, (5, 70 * 36)).astype(np.float32)
    graph = graph.replace(nodes=(*graph.nodes[:-1], Node(net.last, Dense(weight, np.ones(5)),
                                                         (net.nodes[-2].name,))))  # fmt: skip
    (x,) = draw_inputs(graph, 9)
    x *= np.float32(0.9)
    one, two = (event.compile_graph(graph, n_threads=n) for n in (1, 2))
    first = one.run((x,), 20, count_spikes=True)
    again = two.run((x[::-1],), 20, count_spikes=True)
    alone = two.run((x[4:5],), 20, count_spikes=True)
    np.testing.assert_array_equal(first.outputs[0], again.outputs[0][:, ::-1])
    np.testing.assert_array_equal(first.outputs[0][:, 4:5], alone.outputs[0])
    for name, counts in first.spike_counts.items():
        np.testing.assert_array_equal(counts, again.spike_counts[name][::-1])
        np.testing.assert_array_equal(counts[4:5], alone.spike_counts[name])
    assert first.n_spikes == again.n_spikes
    for name, operations in first.synaptic_operations.items():
        np.testing.assert_array_equal(operations, again.synaptic_operations[name])
    assert not two.run((x,), 3).spike_counts


def random_network(seed: int) -> Graph:
    """A small network with branches; every result may be used again."""
    net = Net(3, 6, 6, seed=seed)
    random = net.random
    net.conv(int(random.choice([2, 5, 17, 40])), padding=1)
    net.fire()
    for _ in range(random.integers(2, 6)):
        known = [node.name for node in net.nodes[1:] if len(net.shape(node.name)) == 3]
        x = str(random.choice(known[-4:]))
        n_channels, *sizes = net.shape(x)
        kind = random.choice(["conv", "conv", "depthwise", "pool", "max", "add", "cat", "scale"])
        if kind == "conv" and min(sizes) >= 3:
            net.conv(int(random.choice([1, 8, 33])), x=x, padding=int(random.integers(2)),
                     stride=int(random.integers(1, 3)))  # fmt: skip
        elif kind == "depthwise":
            net.conv(n_channels, x=x, padding=1, groups=n_channels)
        elif kind == "pool" and min(sizes) >= 2:
            net.add(AveragePool((2, 2), (2, 2), ((0, 0),) * 2), x)
        elif kind == "max" and min(sizes) >= 2:
            net.add(SpikingMaxPool((2, 2), (1, 1), (1, 1), ((0, 1),) * 2), x)
        elif kind == "add":
            same = [name for name in known if net.shape(name) == net.shape(x)]
            net.add(Add(), x, str(random.choice(same)))
        elif kind == "cat":
            fits = [name for name in known if net.shape(name)[1:] == net.shape(x)[1:]]
            net.add(Concatenate(0), x, str(random.choice(fits)))
        else:
            net.add(Scale(net.draw(n_channels, 1, 1, scale=1), np.zeros((1, 1, 1))), x)
        if random.random() < 0.7:
            net.fire(reset=Reset(str(random.choice(list(Reset)))))
    net.add(Flatten())
    net.dense(3)
    return net.graph


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_networks(seed):
    assert_same(random_network(seed), n_samples=2, n_steps=6, rtol=1e-6)  # of convs of convs


@pytest.mark.parametrize("engine", [event, reference])
def test_threads_below_one(engine):
    with pytest.raises(SimulationError, match="n_threads 0, expected at least 1"):
        engine.compile_graph(Net(2).graph, n_threads=0)


def test_too_little_memory(monkeypatch):
    def fail(arena, constants):
        raise MemoryError

    runner = event.compile_graph(lower(Net(2).graph))
    runner.idle.clear()
    monkeypatch.setattr(event, "make_memory", fail)
    with pytest.raises(SimulationError, match="the spikes of 32 steps need 6,144 bytes per thread"):
        runner.run((np.zeros((1, 2), np.float32),), 1)


@pytest.mark.parametrize("function", ["plan_graph", "_Results"])
def test_a_graph_that_does_not_fit_into_memory(monkeypatch, function):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(event, function, fail)
    with pytest.raises(SimulationError, match="graph: does not fit into memory") as caught:
        event.compile_graph(lower(Net(2).graph))
    assert "reference" in caught.value.hint


def test_without_numba_the_reference_engine_runs(monkeypatch):
    monkeypatch.delitem(sys.modules, "spikeport.runtime.kernels.cache", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    runner = event.compile_graph(Net(2).graph)
    assert runner.engine == "reference"
    assert "numba is not installed: the reference engine runs instead" in runner.notices[0]


def test_without_any_folder_for_kernels_the_reference_engine_runs(monkeypatch):
    class Nowhere:
        def __getattr__(self, name):
            raise RuntimeError("cannot cache function 'fire': no locator available")

    monkeypatch.setitem(sys.modules, "spikeport.runtime.kernels", Nowhere())
    runner = event.compile_graph(Net(2).graph)
    assert runner.engine == "reference"
    assert "no locator available: the reference engine runs instead" in runner.notices[0]


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    from spikeport.runtime.plan.layers import FireStage

    net = Net(2)
    net.fire()
    runner = event.compile_graph(net.graph, n_threads=2)

    def interrupt(self, memory, n_steps):
        raise KeyboardInterrupt

    monkeypatch.setattr(FireStage, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run((np.zeros((4, 2), np.float32),), 2)
