"""Read-outs by hand, their ties, and runs that they do not fit."""

import json

import numpy as np
import pytest

from spikeport.converter.errors import SimulationError
from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import Input
from spikeport.runtime.decoding import (
    DECODERS,
    Count,
    FirstSpike,
    Potential,
    Readout,
    Window,
    find_scale,
    make_decoder,
)
from spikeport.runtime.early_exit import ExitRule
from spikeport.runtime.evaluate import evaluate

LINEAR = Readout()


def means(*steps: list[float]) -> np.ndarray:
    """Means so far of one sample's currents, [T, 1, C]."""
    totals = np.cumsum(np.array(steps), axis=0)
    numbers = np.arange(1, len(steps) + 1)[:, None]
    return (totals / numbers)[:, None].astype(np.float32)


def read(decoder, outputs, scale=1.0):
    found = decoder.decide(outputs, LINEAR, scale)
    return found.decisions[:, 0].tolist(), found.tied[:, 0].tolist(), found.silent[:, 0].tolist()


def test_potential_by_hand():
    """Sums 1 1, 1 2, 3 2."""
    decisions, tied, silent = read(Potential(), means([1, 1], [0, 1], [2, 0]))
    assert decisions == [0, 1, 0]
    assert tied == [True, False, False]
    assert not any(silent)


def test_window_by_hand():
    """Behind the first step: sums 5 0, then 0 1, 0 2, 1 2."""
    outputs = means([5, 0], [0, 1], [0, 1], [1, 0])
    assert read(Window(1), outputs)[0] == [0, 1, 1, 1]
    assert read(Window(), outputs)[0] == [0, 1, 1, 1]  # a quarter of 4 steps
    assert read(Window(0), outputs)[0] == read(Potential(), outputs)[0] == [0, 0, 0, 0]
    assert read(Window(3), outputs)[0] == [0, 0, 0, 0]


def test_count_by_hand():
    """From 1/2: 0.9 0.6 | 1.3 0.7: one spike | 0.7 0.8 | 1.1 0.9 | 0.5 1.0: 2 spikes and 1.

    In thresholds of 2: currents are halved.
    """
    outputs = means(*[[0.8, 0.2]] * 4, [0.8, 0.2])
    decisions, tied, silent = read(Count(), outputs, 2.0)
    assert decisions == [0] * 5
    assert silent == [True, False, False, False, False]
    assert tied == [False] * 5


def test_ties_of_counts_by_hand():
    """Both fire in every step: a tie, of which the first is taken."""
    decisions, tied, silent = read(Count(), means([1, 1.25], [1, 1.25]))
    assert decisions == [0, 0]
    assert tied == [True, True]
    assert not any(silent)


def test_first_spike_by_hand():
    """0.5 0.4, 1.0 0.8: the first one fires in the second step, whatever comes later."""
    decisions, tied, silent = read(FirstSpike(), means([0.4, 0.5], [0.6, 0.3], [0, 9]))
    assert decisions == [1, 0, 0]
    assert silent == [True, False, False]
    assert not any(tied)


def test_ties_of_first_spikes_by_hand():
    decisions, tied, _ = read(FirstSpike(), means([0, 1, 2], [9, 0, 0]))
    assert decisions == [1, 1]
    assert tied == [True, True]


@pytest.mark.parametrize("name", DECODERS)
def test_samples_do_not_depend_on_one_another(name):
    outputs = np.random.default_rng(0).normal(0.3, 1, (12, 7, 5)).astype(np.float32)
    decoder = make_decoder(name)
    whole = decoder.decide(outputs, LINEAR, 1.0)
    for sample in range(7):
        alone = decoder.decide(outputs[:, sample : sample + 1], LINEAR, 1.0)
        np.testing.assert_array_equal(alone.decisions[:, 0], whole.decisions[:, sample])
        np.testing.assert_array_equal(alone.tied[:, 0], whole.tied[:, sample])


def graph(**metadata) -> Graph:
    return Graph((Node("x", Input((3,))),), ("x",), ("x",), {"output_scale": [1.0], **metadata})


X = np.array([[0.9, 0.2, 0.1], [0.3, 0.3, 0.0], [0.1, 0.2, 0.8], [0.0, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize("name", DECODERS)
def test_evaluation_says_what_was_read_and_what_was_a_tie(name):
    found = evaluate(graph(), (X,), np.array([0, 1, 2, 0]), n_steps=20, decoder=make_decoder(name))
    assert found.decisions[-1].tolist() == [0, 0, 2, 0]
    assert found.accuracy[-1] == 0.75
    entry = json.loads(json.dumps(found.to_json(graph="", data="")))["read_out"]
    assert entry["name"] == name
    assert entry["delay"] == (5 if name == "window" else None)
    ties = 0.5 if name in {"potential", "window"} else 0.25  # nothing fires for the last sample
    assert entry["ties"][-1] == ties
    assert entry["silent"][-1] == (0 if name in {"potential", "window"} else 0.25)


@pytest.mark.parametrize("name", ["count", "first", "window"])
def test_runs_that_cannot_be_read_so(name):
    decoder = make_decoder(name)
    with pytest.raises(SimulationError, match="early exit looks at the accumulated potential"):
        evaluate(graph(), (X,), n_steps=4, decoder=decoder, exit_rule=ExitRule(1.0))
    with pytest.raises(SimulationError, match="has an exact schedule, whose outputs") as caught:
        decoder.check(graph(schedule={}), 4, early_exit=False)
    assert "--read-out potential" in caught.value.hint
    single = Graph((Node("x", Input((1,))),), ("x",), ("x",))
    with pytest.raises(SimulationError, match="is a single unit, which has no rivals"):
        decoder.check(single, 4, early_exit=False)
    if name != "window":
        with pytest.raises(SimulationError, match="does not say how large outputs become"):
            decoder.check(graph(output_scale=[0.0]), 4, early_exit=False)


@pytest.mark.parametrize("scale", [None, 3, [], ["a"], [float("nan")], [-1.0], [True]])
def test_hostile_scales_in_the_file(scale):
    assert find_scale(graph(output_scale=scale)) is None


def test_names_and_delays_that_are_none():
    with pytest.raises(SimulationError, match="read-out 'counts'") as caught:
        make_decoder("counts")
    assert "count" in caught.value.hint
    with pytest.raises(SimulationError, match="--delay 3: read-out count looks at all steps"):
        make_decoder("count", 3)
    for delay in (-1, 4):
        with pytest.raises(SimulationError, match=f"begins behind step {delay}, expected 0 to 3"):
            Window(delay).check(graph(), 4, early_exit=False)
