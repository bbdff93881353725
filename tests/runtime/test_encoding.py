"""Codes of the input: by hand, against theory, the same however a data set is cut into parts."""

import dataclasses
import pickle

import numpy as np
import pytest
from scipy import stats

from spikeport.converter.errors import DataError, SimulationError
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Conv, Dense, Flatten, Input, MaxPool, Transpose
from spikeport.runtime.encoding import (
    ENCODERS,
    BurstCode,
    Constant,
    FirstSpike,
    Phase,
    Poisson,
    Rate,
    Recorded,
    feed_every_step,
    make_encoder,
)
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.simulation import Simulation

CODES = [code for code in ENCODERS.values() if code is not Recorded]


def line(n: int) -> Graph:
    return Graph((Node("x", Input((n,))),), ("x",), ("x",))


def network() -> Graph:
    """Weights are multiples of 1/8: sums are exact in any order."""
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return (rng.integers(-6, 7, shape) / 8).astype(np.float32)

    threshold = np.ones((1, 1, 1), np.float32)
    return Graph(
        (
            Node("x", Input((1, 6, 6))),
            Node("c1", Conv(draw(5, 1, 3, 3), draw(5), (1, 1), (1, 1), ((1, 1), (1, 1))), ("x",)),
            Node("n1", IntegrateFire(threshold, threshold / 2), ("c1",)),
            Node("f", Flatten(), ("n1",)),
            Node("d", Dense(draw(4, 180), draw(4)), ("f",)),
        ),
        ("x",),
        ("d",),
    )


def samples(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 1, 6, 6), np.float32)


def encode(code: type, values: list[float], n_steps: int, seed: int = 0) -> np.ndarray:
    """Return [T, values] of one sample."""
    x = np.array([values], np.float32)
    return code(seed).open(line(len(values)), (x,), n_steps)(0, n_steps)[0][:, 0]


def figures(found: Simulation) -> tuple[object, ...]:
    return (
        found.outputs[0].tobytes(),
        dict(found.n_spikes),
        {name: counts.tolist() for name, counts in found.synaptic_operations.items()},
        {name: counts.tolist() for name, counts in found.spike_counts.items()},
    )


def test_rate_by_hand():
    """Rounded counts of 0.25 t: 0, 1, 1, 1, 1; of 0.6 t: 1, 1, 2, 2, 3."""
    found = encode(Rate, [0.25, 0.6, 0, 1], 5)
    expected = [[0, 1, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1], [0, 1, 0, 1]]
    np.testing.assert_array_equal(found, expected)


def test_first_spike_by_hand():
    """In 4 steps 0.5 is 2 charges at step 2, 1 is 4 at once, 0.3 is one in the last step."""
    found = encode(FirstSpike, [0.5, 1, 0.3, 0, 0.1], 4)
    expected = [[0, 4, 0, 0, 0], [0, 0, 0, 0, 0], [2, 0, 0, 0, 0], [0, 0, 1, 0, 0]]
    np.testing.assert_array_equal(found, expected)


def test_phase_by_hand():
    """In a period of 4 the digits of 0.6875 are 1011, worth 4 times 1/2, 1/4, 1/8, 1/16."""
    found = encode(Phase, [0.6875, 1], 4)
    np.testing.assert_array_equal(found.T, [[2, 0, 0.5, 0.25], [2, 1, 0.5, 0.25]])


def test_burst_by_hand():
    """In 15 steps a spike is worth 3; 0.4 is 2 spikes, two steps apart, 1 is 5 in a row."""
    found = encode(BurstCode, [0.4, 1, 0], 15)
    assert found[:, 0].tolist() == [3, 0, 3, *[0] * 12]
    assert found[:, 1].tolist() == [3] * 5 + [0] * 10
    assert not found[:, 2].any()


@pytest.mark.parametrize("n_steps", [1, 4, 16, 64])
@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_the_mean_over_a_run_is_the_value(code, n_steps):
    """Up to the levels that a code has: one spike, of T or of five; digits are rounded down."""
    values = np.linspace(0, 1, 41)
    mean = encode(code, values, n_steps).mean(axis=0)
    levels = {"phase": 2.0 ** min(8, n_steps), "burst": 2 * min(5, n_steps)}
    if code is Poisson:
        slack = 5 * np.sqrt(values * (1 - values) / n_steps) + 1e-6
    else:
        slack = 1 / levels.get(code.name, 2 * n_steps) + 1e-6
    assert (abs(mean - values) <= slack).all()


def test_poisson_has_the_rate_and_the_variance_of_bernoulli_trials():
    """Two-sided tests at 1e-4: counts of 4000 trials, their variance over 2000 repetitions, and
    chi-squared of the whole distribution; steps and entries do not depend on one another."""
    rate, n_steps, n_entries = np.float32(0.3), 20, 2000
    x = np.full((1, n_entries), rate)
    for seed in range(3):
        spikes = Poisson(seed).open(line(n_entries), (x,), n_steps)(0, n_steps)[0][:, 0]
        n_trials = spikes.size
        test = stats.binomtest(int(spikes.sum()), n_trials, float(rate))
        assert test.pvalue > 1e-4
        counts = spikes.sum(axis=0)
        scaled = counts.var(ddof=1) / (n_steps * 0.3 * 0.7) * (n_entries - 1)
        assert 1e-4 < stats.chi2.cdf(scaled, n_entries - 1) < 1 - 1e-4
        cells = [(0, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 20)]
        observed = [np.sum((counts >= low) & (counts <= high)) for low, high in cells]
        law = stats.binom(n_steps, 0.3)
        expected = [n_entries * (law.cdf(high) - law.cdf(low - 1)) for low, high in cells]
        assert stats.chisquare(observed, expected).pvalue > 1e-4
        flat = spikes - spikes.mean()
        for other in (np.roll(flat, 1, axis=0), np.roll(flat, 1, axis=1)):
            correlation = (flat * other).mean() / flat.var()
            assert abs(correlation) < 4 / np.sqrt(n_trials)


def test_poisson_never_and_always():
    found = encode(Poisson, [0, 1], 500)
    assert found[:, 0].sum() == 0
    assert found[:, 1].sum() == 500


def test_seeds_and_samples_differ():
    x = np.full((2, 300), 0.5, np.float32)
    x[1, 0] = 0.25
    one, other = (Poisson(seed).open(line(300), (x,), 8)(0, 8)[0] for seed in (0, 1))
    assert 0.4 < np.mean(one != other) < 0.6
    assert 0.4 < np.mean(one[:, 0] != one[:, 1]) < 0.6


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_any_range_of_steps_and_samples_is_the_same(code):
    x = samples(5)
    whole = code(7).open(network(), (x,), 16)(0, 16)[0]
    assert whole.shape == (16, *x.shape)
    assert whole.dtype == np.float32
    for first, n in ((0, 1), (3, 5), (9, 7)):
        part = code(7).open(network(), (x[2:4],), 16)(first, n)[0]
        np.testing.assert_array_equal(part, whole[first : first + n, 2:4])


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_engines_agree_however_samples_are_shared_out(code):
    graph, x = network(), samples(9)
    expected = ENGINES["reference"](graph, encoder=code(5)).run((x,), 40)
    for n_threads in (1, 3):
        runner = ENGINES["event"](graph, n_threads=n_threads, encoder=code(5))
        assert figures(runner.run((x,), 40, count_spikes=True)) == figures(expected)
    assert pickle.loads(pickle.dumps(code(5))) == code(5)  # as a cluster sends it
    parts = [runner.run((x[part],), 40, count_spikes=True) for part in (slice(6), slice(6, 9))]
    whole = np.concatenate([part.outputs[0] for part in parts], axis=1)
    np.testing.assert_array_equal(whole, expected.outputs[0])


def test_spikes_of_the_input_run_in_kernels_and_are_operations():
    graph, x = network(), samples(2)
    runner = ENGINES["event"](graph, encoder=Poisson(1))
    assert runner.fallbacks == ()
    found = runner.run((x,), 10)
    spikes = Poisson(1).open(graph, (x,), 10)(0, 10)[0]
    fan_out = graph.by_name["c1"].op.fan_out(graph.types["x"])
    expected = (spikes * fan_out).sum(axis=(1, 2, 3, 4))
    np.testing.assert_array_equal(found.synaptic_operations["c1"], expected)


def test_inputs_with_channels_last_run_in_kernels():
    plain = network()
    _, *rest = plain.nodes
    last = (
        Node("x", Input((6, 6, 1))),
        Node("t", Transpose((2, 0, 1)), ("x",)),
        dataclasses.replace(rest[0], inputs=("t",)),
        *rest[1:],
    )
    graph, x = plain.replace(nodes=last), samples(2)
    runner = ENGINES["event"](graph, encoder=Rate())
    assert runner.fallbacks == ("t",)
    found = runner.run((np.moveaxis(x, 1, 3),), 10, count_spikes=True)
    expected = ENGINES["event"](plain, encoder=Rate()).run((x,), 10, count_spikes=True)
    assert figures(found) == figures(expected)


def test_constant_as_a_code_gives_what_constant_currents_give():
    graph, x = network(), np.round(samples(3) * 8) / 8
    for engine in ("reference", "event"):
        plain = ENGINES[engine](graph).run((x,), 12, count_spikes=True)
        fed = ENGINES[engine](graph, encoder=Constant()).run((x,), 12, count_spikes=True)
        np.testing.assert_array_equal(plain.outputs[0], fed.outputs[0])
        np.testing.assert_array_equal(plain.spike_counts["n1"], fed.spike_counts["n1"])


@pytest.mark.parametrize("engine", ["reference", "event"])
def test_pooling_of_the_input_converges(engine):
    """The maximum of what has come, not the mean of single steps' maxima, which is near 1."""
    graph = Graph(
        (Node("x", Input((1, 4))), Node("p", MaxPool((4,), (4,), (1,), ((0, 0),)), ("x",))),
        ("x",),
        ("p",),
    )
    x = np.array([[[0.5, 0.4, 0.3, 0.5]]], np.float32)
    found = ENGINES[engine](graph, encoder=Poisson(0)).run((x,), 2000)
    assert abs(found.outputs[0][-1, 0, 0, 0] - 0.5) < 0.05


@pytest.mark.parametrize("engine", ["reference", "event"])
@pytest.mark.parametrize("binary", [False, True])
def test_recorded_samples_bring_their_steps(engine, binary):
    graph = network()
    x = (np.random.default_rng(1).random((3, 12, 1, 6, 6)) < 0.3).astype(np.float32)
    found = ENGINES[engine](graph, encoder=Recorded(binary=binary)).run((x,), 12)
    conv = graph.by_name["c1"].op
    potential, counts = np.float32(0.5), np.zeros((3, 5, 6, 6))
    for step in range(12):
        potential = potential + conv.apply(x[:, step])
        fired = potential >= 1
        counts, potential = counts + fired, potential - fired
    assert found.n_spikes["n1"] == counts.sum()


def test_recorded_samples_that_do_not_fit():
    x = np.zeros((2, 12, 1, 6, 6), np.float32)
    with pytest.raises(DataError, match=r"have shape \(12, 1, 6, 6\), expected \(8, 1, 6, 6\)"):
        Recorded().open(network(), (x,), 8)
    with pytest.raises(DataError, match="not all 0 or 1, expected spikes"):
        Recorded(binary=True).open(network(), (x + 2,), 12)
    evaluate(network(), (x,), n_steps=12, encoder=Recorded())
    with pytest.raises(DataError, match=r"samples have shape \(12, 1, 6, 6\), expected \(4, 1"):
        evaluate(network(), (x,), n_steps=4, encoder=Recorded())


@pytest.mark.parametrize("code", [Poisson, Rate, FirstSpike, Phase, BurstCode])
@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_more_than_one_spike_per_step(code, value):
    with pytest.raises(DataError, match=r"lie in .*expected 0..1, at most one spike per") as caught:
        code().open(line(2), (np.array([[0.5, value]], np.float32),), 4)
    assert "--input-scale" in caught.value.hint


def test_runs_that_are_no_whole_periods():
    with pytest.raises(SimulationError, match="n_steps 20, expected a multiple of its period of 8"):
        encode(Phase, [0.5], 20)


@pytest.mark.parametrize("key", ["schedule", "integers"])
@pytest.mark.parametrize("engine", ["reference", "event", "counts"])
def test_recipes_that_need_constant_currents(key, engine):
    graph = network().replace(metadata={key: {}, "recipe": "exact"})
    with pytest.raises(SimulationError, match="code rate: the graph was converted with recipe"):
        ENGINES[engine](graph, encoder=Rate())
    assert feed_every_step(graph, None) is graph


def test_codes_and_seeds_that_are_none():
    assert make_encoder("constant") is None
    with pytest.raises(SimulationError, match="code 'poison'") as caught:
        make_encoder("poison")
    assert "poisson" in caught.value.hint
    with pytest.raises(SimulationError, match="seed -1, expected an integer of 0"):
        make_encoder("poisson", -1)


def test_evaluation_records_code_and_seed():
    graph, x = network(), samples(12)
    labels = np.arange(12) % 4
    runs = [
        evaluate(graph, (x,), labels, n_steps=6, encoder=Poisson(9), **options)
        for options in ({}, {"batch_size": 5}, {"n_threads": 1, "batch_size": 1})
    ]
    documents = [run.to_json(graph="", data="") for run in runs]
    for document in documents:
        document.pop("seconds")
    assert documents[0] == documents[1] == documents[2]
    assert (documents[0]["code"], documents[0]["seed"]) == ("poisson", 9)
    assert documents[0]["input_macs_per_sample"] == 0
    rate = evaluate(graph, (x,), n_steps=6, encoder=Rate(9)).to_json(graph="", data="")
    assert (rate["code"], rate["seed"]) == ("rate", None)
    first = evaluate(graph, (x[:4],), labels[:4], n_steps=6, encoder=Poisson(9))
    np.testing.assert_array_equal(first.decisions, runs[0].decisions[:, :4])
