"""Traces worked out by hand, and what differences add up to."""

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import (
    DifferentialFire,
    DifferentialMaxPool,
    FromDifferences,
    TensorType,
)

from .test_scheduled import ONE, trace

NOTHING = np.zeros(1)


def test_neuron_by_hand():
    """1 + 0.5 sends 1 and keeps 0.5; 0.5 more sends 1; the rate 1 + 1/2 is that of the current."""
    spikes, potential = trace(DifferentialFire(ONE, NOTHING, np.full(1, 0.5), 2), [1.0, 0, 0, 0])
    assert spikes == [1, 1, 0, 0]
    assert potential == 0


def test_rates_do_not_become_negative_by_hand():
    """Totals 1, 2 - 1, 1.5 - 1, 0.6667 - 0.5, 0.2083: then nothing is left to be taken back."""
    spikes, _ = trace(DifferentialFire(ONE, NOTHING, NOTHING, 2), [1.0, -4, 0, 0, 0, 0])
    assert spikes == [1, -1, -1, -0.5, 0, 0]


def test_rates_do_not_pass_the_limit_by_hand():
    """Totals 0.5 of 0.75, 1.5 of 1.5, 2.25 of 2.25."""
    op = DifferentialFire(ONE, NOTHING, NOTHING, 2, np.full(1, 0.75))
    spikes, _ = trace(op, [2.0] + [0.0] * 63)
    rates = np.cumsum(np.array(spikes) / np.arange(1, 65))
    assert spikes[:3] == [0.5, 0.5, 0]
    assert (rates <= 0.75 + 1e-6).all()
    assert abs(rates[-1] - 0.75) < 0.02
    with pytest.raises(GraphError, match="limit is not positive"):
        DifferentialFire(ONE, NOTHING, NOTHING, 2, NOTHING).infer(TensorType((1,)))


def test_sizes_of_spikes_by_hand():
    """From three quarters of its size on a spike is sent, the largest first."""
    op = DifferentialFire(ONE, NOTHING, NOTHING, 3)
    for current, spike in ((5, 1), (0.75, 1), (0.7, 0.5), (0.3, 0.25), (0.1875, 0.25), (0.18, 0)):
        assert trace(op, [current])[0] == [spike]


@pytest.mark.parametrize("n_thresholds", [1, 2, 4])
def test_rate_is_a_relu_of_the_mean_current(n_thresholds):
    """To the size of the smallest spike divided by t, once large values had time to arrive."""
    n_steps = 64
    currents = np.linspace(-1, 1.4, 49)
    op = DifferentialFire(ONE, NOTHING, NOTHING, n_thresholds)
    for current in currents:
        spikes, _ = trace(op, [current] + [0.0] * (n_steps - 1))
        rates = np.cumsum(np.array(spikes) / np.arange(1, n_steps + 1))
        assert (rates > -1e-6).all()
        slack = 2.0 ** (1 - n_thresholds) / np.arange(1, n_steps + 1) + 1e-5
        assert (abs(rates - max(current, 0)) <= slack)[4:].all()


def test_values_by_hand():
    """From 0.5 on: 1.5; 2 + 1.5; 0 + 2.5. Their mean is 2.5, which is where the mean now is."""
    values, mean = trace(FromDifferences(np.full(1, 0.5)), [1.0, 2.0, 0.0])
    assert values == [1.5, 3.5, 2.5]
    assert mean == 2.5


def test_pooling_by_hand():
    """Means 1 and 2, then 4 and 1: differences 2, 2 (4 - 2), 0."""
    op = DifferentialMaxPool((2,), (2,), (1,), ((0, 0),), np.zeros((1, 1)))
    state = op.start((1, 1, 2))
    sent = []
    for current in ([1, 2], [6, -2], [0, 0]):
        result, state = op.step(np.array([[current]], np.float32), state)
        sent.append(float(result[0, 0, 0]))
    assert sent == [2, 4, 0]


@pytest.mark.parametrize("n_thresholds", [0, 17])
def test_number_of_thresholds(n_thresholds):
    with pytest.raises(GraphError, match=f"n_thresholds is {n_thresholds}, expected 1 to 16"):
        DifferentialFire(ONE, NOTHING, NOTHING, n_thresholds).infer(TensorType((1,)))
