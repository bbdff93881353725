"""Many results in one page: the front, and that the page is whole and harmless."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeport.runtime.report.pareto import COSTS, find_front, render_results

NASTY = "</svg><script>alert(1)</script>"


def entry(**changes):
    values = {
        "model": "net.onnx", "recipe": "rate", "n_steps": 8, "data": "x.npz", "calibration": "c",
        "engine": "event", "model_sha256": "a", "data_sha256": "b", "p.option": 1.0,
        "n_samples": 100, "accuracy": 0.9, "ann_accuracy": 0.95, "agreement": 0.9, "steps": 8,
        "synaptic_operations": 1000.0, "energy_nj": 5.0,
    }  # fmt: skip
    return values | changes


def test_the_front_by_hand():
    costs = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 1.0])
    gains = np.array([0.5, 0.7, 0.6, 0.7, 0.9, 0.5])
    assert find_front(costs, gains).tolist() == [True, True, False, False, True, True]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_what_no_other_beats(results):
    costs, gains = np.array(results, np.float64).T
    beaten = [
        any(c <= cost and g >= gain and (c, g) != (cost, gain) for c, g in results)
        for cost, gain in results
    ]
    assert find_front(costs, gains).tolist() == [not each for each in beaten]


@pytest.mark.parametrize("accuracies", [(0.1, 0.9, 1.0), (0.9, 0.91, 0.92)])
def test_a_section_for_every_network_and_data(accuracies):
    table = [
        entry(accuracy=accuracy, synaptic_operations=1000.0 * place, steps=2**place, model=NASTY)
        for place, accuracy in enumerate(accuracies)
    ]
    table.append(entry(data_sha256="other", accuracy=None, ann_accuracy=None, agreement=None))
    page = render_results(table, title="r.sqlite", provenance=[("command", NASTY)])
    assert page.count("<h2>") == 3
    assert page.count("<figure ") == len(COSTS)
    assert "Not shown: accuracy against costs; it needs data with labels." in page
    assert "<script" not in page
    names = re.findall(r'\bid="([^"]+)"', page)
    assert len(names) == len(set(names))
    assert "steps, operations, energy" in page
    assert page == render_results(table, title="r.sqlite", provenance=[("command", NASTY)])
