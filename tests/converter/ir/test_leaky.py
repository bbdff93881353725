"""Traces worked out by hand."""

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import IntegrateFire, LeakyFire, Reset, TensorType

from .test_scheduled import HALF, ONE, trace


def test_leak_by_hand():
    """Half is lost: 0.25 + 0.75 fires, 0 + 0.75 does not, 0.375 + 0.75 does and leaves 0.125."""
    spikes, potential = trace(LeakyFire(ONE, HALF, leak=0.5), [0.75] * 4)
    assert spikes == [1, 0, 1, 0]
    assert potential == 0.8125


def test_absolute_refractory_period_by_hand():
    """1.5 fires; 1.5 and 2.5 may not, but are kept; 3.5 fires."""
    spikes, potential = trace(LeakyFire(ONE, HALF, refractory=2), [1.0] * 6)
    assert spikes == [1, 0, 0, 1, 0, 0]
    assert potential == 4.5


def test_reset_to_zero_by_hand():
    op = LeakyFire(ONE, HALF, refractory=2, reset=Reset.ZERO)
    spikes, potential = trace(op, [1.0] * 6)
    assert spikes == [1, 0, 0, 1, 0, 0]
    assert potential == 2.0


def test_relative_refractory_period_by_hand():
    """Limits 1, 2, 1.5, 2.25, 2.625: 1.5 fires, 1.5 does not, 2.5 and 2.5 do, 2.5 does not."""
    spikes, potential = trace(LeakyFire(ONE, HALF, relative=1.0, decay=0.5), [1.0] * 5)
    assert spikes == [1, 0, 1, 1, 0]
    assert potential == 2.5


@pytest.mark.parametrize("reset", list(Reset))
def test_without_leak_and_rest_it_is_integrate_and_fire(reset):
    rng = np.random.default_rng(0)
    plain, leaky = IntegrateFire(ONE, HALF, reset), LeakyFire(ONE, HALF, reset=reset)
    states = plain.start((50, 1)), leaky.start((50, 1))
    for _ in range(40):
        current = rng.normal(0.3, 1, (50, 1)).astype(np.float32)
        first, one = plain.step(current, states[0])
        second, other = leaky.step(current, states[1])
        states = one, other
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(plain.potential(one), leaky.potential(other))


@pytest.mark.parametrize("refractory", [0, 1, 3])
def test_rate_of_a_resting_neuron(refractory):
    """No charge is lost: the count is that of the current, up to one spike per 1 + r steps."""
    op = LeakyFire(ONE, HALF, refractory=refractory)
    for current in (0.0, 0.1, 0.2, 0.5, 2.0):
        spikes, _ = trace(op, [current] * 120)
        expected = min(round(current * 120), 120 // (1 + refractory))
        assert abs(sum(spikes) - expected) <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"leak": 1.0}, "leak is 1.0, expected 0 <= value < 1"),
        ({"decay": -0.1}, "decay is -0.1, expected 0 <= value < 1"),
        ({"relative": float("nan")}, "relative is nan, expected a number >= 0"),
        ({"refractory": -1}, "refractory is -1, expected 0 to"),
        ({"reset": "zero"}, "reset is 'zero', expected a member of Reset"),
    ],
)
def test_parameters_out_of_range(settings, message):
    with pytest.raises(GraphError, match=message):
        LeakyFire(ONE, HALF, **settings).infer(TensorType((1,)))
