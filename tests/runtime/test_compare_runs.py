"""Runs beside one another: who is right where, and is it chance?"""

import json

import numpy as np
import pytest

from spikeport.converter.errors import DataError, FormatError
from spikeport.runtime.compare_runs import adjust, compare_runs, per_step
from spikeport.runtime.report.overlay import draw_overlays, short_names
from spikeport.runtime.results import Run, encode, read_run

N = 200
LABELS = np.arange(N) % 4


def run(name: str, n_wrong: int, *, first: int = 0, **changes) -> Run:
    """A run of 2 steps: all wrong after one, `n_wrong` samples from `first` on after two."""
    decisions = np.stack([(LABELS + 1) % 4, LABELS])
    decisions[1, first : first + n_wrong] += 1
    decisions %= 4
    document = {
        "format": "spikeport-evaluation", "version": 1, "n_samples": N, "n_steps": 2,
        "decisions": encode(decisions.T), "labels": encode(LABELS), "samples_sha256": "00",
        "data": "squares",
        "workload": {"effective_acs_per_step": [0.0, 5.0], "effective_macs_per_step": [0, 1]},
        "energy": {"spiking_nj_per_step": [2.0, 3.5]}, **changes,
    }  # fmt: skip
    return read_run(name, json.dumps(document).encode())


def test_paired_differences_by_hand():
    """10 wrong ones, the same 10 and 30 more, and 10 others."""
    base, worse, other = run("a", 10), run("b", 40), run("c", 10, first=100)
    first, second, third = compare_runs([base, worse, other])
    assert (first.accuracy, first.verdict, first.p_value) == (0.95, "compared with", None)
    assert (second.accuracy, second.lost, second.won) == (0.8, 30, 0)
    assert second.p_value == pytest.approx(2 * 0.5**30)
    assert second.adjusted == pytest.approx(4 * 0.5**30)
    assert second.verdict == "worse"
    assert (third.lost, third.won, third.p_value) == (10, 10, 1.0)
    assert third.verdict == "no difference shown"
    assert compare_runs([worse, base])[1].verdict == "better"
    assert [entry.step for entry in compare_runs([base, worse], step=1)] == [1, 1]
    assert compare_runs([base, worse], step=1)[0].accuracy == 0.0
    assert json.loads(json.dumps(second.to_json()))["verdict"] == "worse"


def test_holm_by_hand():
    assert adjust([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust([0.6, 0.9]) == [1.0, 1.0]
    assert adjust([]) == []


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ([run("a", 1)], {}, "compare: got 1 file, expected two or more"),
        ([], {}, "compare: got no file"),
        ([run("a", 1), run("b", 1, samples_sha256="01", data="circles")], {},
         r"b: is about other samples \(circles\) than a \(squares\), expected the same"),
        ([run("a", 1, labels=None), run("b", 1, labels=None)], {}, "a: has no labels, expected"),
        ([run("a", 1), run("b", 1)], {"step": 3}, "--step 3: a has 2 steps, expected one of them"),
        ([run("a", 1), run("b", 1)], {"step": 0}, "--step 0: a has 2 steps"),
    ],
)  # fmt: skip
def test_runs_that_cannot_be_compared(runs, options, message):
    with pytest.raises(DataError, match=message) as caught:
        compare_runs(runs, **options)
    assert caught.value.hint


def test_overlays_are_pictures():
    files = draw_overlays([run("x/a.json", 3), run("x/b.json", 9)])
    assert set(files) == {
        f"compare-{what}.{kind}" for what in ("accuracy", "operations", "energy")
        for kind in ("svg", "png")
    }  # fmt: skip
    assert b"a.json" in files["compare-accuracy.svg"]
    assert b"b.json" in files["compare-energy.svg"]


@pytest.mark.parametrize(
    "energy", [None, {}, {"spiking_nj_per_step": [1.0]}, {"spiking_nj_per_step": [1, "2"]},
               {"spiking_nj_per_step": [1, -2.0]}, {"spiking_nj_per_step": [1, True]},
               {"spiking_nj_per_step": [1, float("nan")]}, {"spiking_nj_per_step": [1, 10**400]}]
)  # fmt: skip
def test_damaged_figures_of_a_run(energy):
    damaged = run("b", 1, energy=energy)
    with pytest.raises(FormatError, match=r"b: energy.spiking_nj_per_step is no list of 2 numbers"):
        draw_overlays([run("a", 1), damaged])
    with pytest.raises(FormatError):
        per_step(damaged, "energy", "spiking_nj_per_step")


def test_names_are_short_and_different():
    assert short_names([run("x/a.json", 1), run("y/b.json", 1)]) == ["a.json", "b.json"]
    assert short_names([run("x/a.json", 1), run("y/a.json", 1)]) == ["x/a.json", "y/a.json"]
    long = short_names([run("x" * 90, 1), run("y", 1)])[0]
    assert len(long) == 40
    assert long.startswith("...x")
