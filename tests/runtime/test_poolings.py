"""Max-pooling and average pooling over time: every choice, on both engines, and what it costs."""

import numpy as np
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.errors import PassError, UnsupportedOpError
from spikeport.converter.ir import Graph, Node, SpikingMaxPool, run
from spikeport.converter.ir.ops import AveragePool, Conv, Dense, Flatten, Input, MaxPool, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines import counts, reference
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.poolings import Pooling, describe_poolings, pooling_lines
from spikeport.runtime.report.text import summary_lines

from .test_event import assert_same

POOL = MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2)
OVERLAPPING = MaxPool((3, 3), (2, 2), (1, 1), ((1, 0), (0, 1)))
MEAN = AveragePool((2, 2), (2, 2), ((0, 0),) * 2)


def network(pool=POOL, seed=0) -> Graph:
    """conv - pool - conv - pool - dense; activations up to about 1, weights multiples of 2^-8."""
    random = np.random.default_rng(seed)

    def conv(n_in, n_out):
        weight = np.round(random.normal(0, 0.6 / np.sqrt(9 * n_in), (n_out, n_in, 3, 3)) * 256)
        bias = np.round(random.normal(0.1, 0.1, n_out) * 256)
        return Conv(weight / 256, bias / 256, (1, 1), (1, 1), ((1, 1),) * 2)

    dense = np.round(random.normal(0, 0.2, (5, 96)) * 256) / 256
    ops = [conv(2, 4), Relu(), pool, conv(4, 6), Relu(), pool, Flatten(), Dense(dense, np.zeros(5))]
    names = ["conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flat", "out"]
    nodes = [Node("x", Input((2, 16, 16)))]
    for name, op in zip(names, ops, strict=True):
        nodes.append(Node(name, op, (nodes[-1].name,)))
    return Graph(tuple(nodes), ("x",), ("out",))


def samples(n=4, seed=1):
    x = np.random.default_rng(seed).integers(0, 257, (n, 2, 16, 16)) / 256
    return (x.astype(np.float32),)


def spiking(graph, schedule=None, n_steps=8, **options):
    placed = PASSES["insert_neurons"](PASSES["place_poolings"](graph, **options))
    if schedule is None:
        return placed
    return PASSES["schedule_neurons"](placed, n_steps=n_steps, schedule=schedule)


@pytest.mark.parametrize(
    ("max_pool", "pool"), [("counts", POOL), ("counts", OVERLAPPING), ("before", POOL)]
)
def test_engines_agree_and_the_error_shrinks_with_the_steps(max_pool, pool):
    graph = network(pool)
    snn = spiking(graph, max_pool=max_pool)
    assert_same(snn, n_steps=24)
    x = samples()
    (exact,) = run(graph, x)
    errors = []
    for n_steps in (8, 32, 128, 512):
        (output,) = reference.simulate(snn, x, n_steps).outputs
        errors.append(abs(output[-1] - exact).mean() / abs(exact).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 < errors[0]


def gate(train, op):
    """Gating as it is usually told: the spike of whoever leads passes; a leader stays on a tie."""
    op = MaxPool(op.kernel, op.strides, op.dilation, op.padding)
    counts_so_far = np.zeros_like(train[0])
    leader = None
    sent = []
    for spikes in train:
        counts_so_far = counts_so_far + spikes
        patches = op.window.patches(counts_so_far, fill=-1.0)
        fired = op.window.patches(spikes, fill=0.0)
        shape = (*patches.shape[:2], -1, *patches.shape[4:])
        patches, fired = patches.reshape(shape), fired.reshape(shape)
        best = patches.argmax(axis=2)
        if leader is not None:
            held = np.take_along_axis(patches, leader[:, :, None], axis=2)[:, :, 0]
            best = np.where(held == patches.max(axis=2), leader, best)
        leader = best
        sent.append(np.take_along_axis(fired, leader[:, :, None], axis=2)[:, :, 0])
    return np.stack(sent)


@pytest.mark.parametrize("pool", [POOL, OVERLAPPING])
def test_increments_of_pooled_counts_are_gating_by_accumulated_counts(pool):
    train = (np.random.default_rng(0).random((40, 2, 3, 8, 8)) < 0.4).astype(np.float32)
    op = SpikingMaxPool(pool.kernel, pool.strides, pool.dilation, pool.padding)
    state = op.start(train.shape[1:])
    found = []
    for spikes in train:
        sent, state = op.step(spikes, state)
        found.append(sent)
    np.testing.assert_array_equal(np.stack(found), gate(train, pool))


@pytest.mark.parametrize("pool", [POOL, OVERLAPPING])
@pytest.mark.parametrize("seed", range(4))
def test_or_of_sorted_spikes_is_exact(pool, seed):
    graph = network(pool, seed)
    by_or = spiking(graph, "parallel", max_pool="or")
    by_counts = spiking(graph, "parallel")
    assert not any(isinstance(node.op, SpikingMaxPool) for node in by_or.nodes)
    assert by_or.types["pool1"].spiking
    n_steps = by_or.metadata["schedule"]["n_steps"]
    x = samples(seed=seed)
    a, b, c = (
        reference.simulate(by_or, x, n_steps),
        reference.simulate(by_counts, x, n_steps),
        counts.compile_graph(by_or).run(x, n_steps),
    )
    for other in (b, c):
        np.testing.assert_array_equal(a.outputs[0], other.outputs[0])
        for name, operations in a.synaptic_operations.items():
            np.testing.assert_array_equal(operations, other.synaptic_operations[name])
    assert_same(by_or, n_steps=n_steps)


def test_or_of_unsorted_spikes_is_refused():
    graph = network()
    for schedule, refused in (("wait", ["pool1"]), ("settle", ["pool1", "pool2"])):
        with pytest.raises(UnsupportedOpError, match="max_pool 'or' is not exact") as caught:
            spiking(graph, schedule, max_pool="or")
        assert [reason.split(" (")[0] for reason in caught.value.reasons] == refused
        assert "schedule=parallel" in caught.value.hint


@pytest.mark.parametrize("schedule", ["wait", "parallel", "settle"])
@pytest.mark.parametrize("max_pool", ["counts", "before"])
def test_schedules_are_exact_with_every_other_choice(schedule, max_pool):
    graph = network()
    snn = spiking(graph, schedule, n_steps=4, max_pool=max_pool)
    n_steps = snn.metadata["schedule"]["n_steps"]
    assert_same(snn, n_steps=n_steps)
    other = spiking(graph, schedule, n_steps=4)
    x = samples()
    found = reference.simulate(snn, x, n_steps)
    expected = reference.simulate(other, x, other.metadata["schedule"]["n_steps"])
    # a quantised ReLU is monotone: the maximum may be taken on either side
    np.testing.assert_array_equal(found.outputs[0][-1], expected.outputs[0][-1])


def test_average_pooling_with_neurons_of_its_own():
    graph = network(MEAN)
    snn = spiking(graph, average_pool="neurons")
    assert_same(snn, n_steps=24)
    assert snn.types["pool1"].spiking
    assert not spiking(graph).types["pool1"].spiking
    x = samples()
    (exact,) = run(graph, x)
    errors = [
        abs(reference.simulate(snn, x, t).outputs[0][-1] - exact).mean() for t in (8, 64, 512)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05 * errors[0]


def test_what_poolings_cost():
    graph = network()
    assert describe_poolings(spiking(graph)) == (
        Pooling("pool1", "counts", 4 * 256, 4 * 256, 0),
        Pooling("pool2", "counts", 6 * 64, 6 * 64, 0),
    )
    # the first pooling is of currents that never change
    assert describe_poolings(spiking(graph, max_pool="before")) == (
        Pooling("pool2/currents", "before", 6 * 64, 6 * 64, 6 * 16),
    )
    found = describe_poolings(spiking(graph, "parallel", max_pool="or"))
    assert [(each.how, each.counters) for each in found] == [("or", 0), ("or", 0)]
    assert pooling_lines(found) == [
        "max-pooling by OR, exact on the sorted spikes of the schedule (pool1, pool2): "
        "1,408 comparisons per step at most"
    ]
    found = describe_poolings(PASSES["insert_differential_neurons"](graph))
    assert [(each.how, each.counters) for each in found] == [("means", 1024), ("means", 384)]
    assert pooling_lines(found)[0].startswith("max-pooling of the means so far, exact on what diff")
    found = describe_poolings(spiking(network(MEAN), average_pool="neurons"))
    assert pooling_lines(found) == [
        "average pooling with neurons of its own (pool1/mean, pool2/mean): 352 neurons"
    ]
    assert pooling_lines(describe_poolings(spiking(network(MEAN)))) == [
        "average pooling of spikes, linear (pool1, pool2)"
    ]


@pytest.mark.parametrize(
    ("pool", "options", "expected"),
    [
        (POOL, {}, {"counts"}),
        (POOL, {"max_pool": "before"}, {"before"}),
        (MEAN, {}, {"linear"}),
        (MEAN, {"average_pool": "neurons"}, {"neurons"}),
    ],
)
def test_poolings_are_named_whatever_corrects_the_currents_behind(pool, options, expected):
    """Fitted neurons have biases that stand between the pooling and them."""
    placed = PASSES["place_poolings"](network(pool), **options)
    fitted = PASSES["calibrate_neurons"](placed, calibration=samples(8), n_steps=8)
    assert {each.how for each in describe_poolings(fitted)} == expected
    differential = describe_poolings(PASSES["insert_differential_neurons"](placed))
    assert {each.how for each in differential} == ({"means"} if pool is POOL else expected)
    graded = PASSES["insert_graded_neurons"](placed)
    assert {each.how for each in describe_poolings(graded)} == expected


def test_an_evaluation_says_which_pooling_was_used():
    snn = spiking(network())
    found = evaluate(snn, samples(), n_steps=4, engine="reference")
    line = "max-pooling by accumulated counts, exact on the counts of every step (pool1, pool2): "
    assert line + "1,408 counters, 1,408 comparisons per step at most" in summary_lines(found)
    written = found.to_json(graph="", data="")["poolings"]
    assert written[0] == {
        "node": "pool1", "how": "counts", "counters": 1024, "comparisons": 1024, "neurons": 0,
    }  # fmt: skip


def test_or_in_a_causal_recipe_is_refused():
    with pytest.raises(PassError, match=r"recipe rate: is causal, but place_poolings\.max_pool"):
        convert("unread.keras", samples(), options={"place_poolings": {"max_pool": "or"}})
