"""Neurons simulated channel by channel: what their `step` does."""

import numpy as np
import pytest

from spikeport.converter.calibration.dynamics import Dynamics, dynamics_of
from spikeport.converter.calibration.spiking_fit import fit_neuron
from spikeport.converter.ir import Burst, IntegrateFire, LeakyFire, Reset, SignedFire

OPTIONS = {
    "plain": {},
    "to zero": {"reset": Reset.ZERO},
    "leak": {"leak": 0.25},
    "rest": {"refractory": 2},
    "relative": {"relative": 0.5, "decay": 0.25},
    "all": {"leak": 0.125, "refractory": 1, "relative": 0.25, "reset": Reset.ZERO},
    "signed": None,
}
N_STEPS = 12


def make(options, threshold, potential):
    if options is None:
        return SignedFire(threshold, potential, 3)
    if set(options) <= {"reset"}:
        return IntegrateFire(threshold, potential, **options)
    return LeakyFire(threshold, potential, **options)


@pytest.mark.parametrize("n_different", [1, N_STEPS])
@pytest.mark.parametrize("name", OPTIONS)
def test_fire_and_errors_are_those_of_the_neuron(name, n_different):
    """Multiples of 1/8: sums are exact. Two channels of three samples and four places."""
    rng = np.random.default_rng(1)
    currents = (rng.integers(-4, 9, (n_different, 3, 2, 4)) / 8).astype(np.float32)
    thresholds, potentials = np.float32([1, 0.5]), np.float32([0.5, 0.25])
    biases = np.float32([0.125, -0.125])
    op = make(OPTIONS[name], thresholds[:, None], potentials[:, None])
    dynamics = dynamics_of(op)
    assert dynamics.is_plain is (name == "plain")
    spikes = np.empty((N_STEPS, 3, 2, 4), np.int8)
    counts = dynamics.fire(currents, thresholds, potentials, biases, spikes)
    state = op.start((3, 2, 4))
    for step in range(N_STEPS):
        current = currents[min(step, n_different - 1)] + biases[:, None]
        expected, state = op.step(current, state)
        np.testing.assert_array_equal(spikes[step], expected)
    np.testing.assert_array_equal(counts, spikes.astype(np.int64).sum(axis=(0, 1, 3)))
    assert counts.min() > 3
    everywhere = np.broadcast_to(currents, (N_STEPS, 3, 2, 4))
    for channel in range(2):
        seen = np.ascontiguousarray(everywhere[:, :, channel].reshape(N_STEPS, -1))
        chosen = slice(channel, channel + 1)
        given = (thresholds[chosen], potentials[chosen], biases[chosen])
        wanted = np.zeros(12, np.float32)
        square, mean = dynamics.measure_errors(seen, wanted, *given)
        rates = spikes[:, :, channel].sum(axis=0) * thresholds[channel] / N_STEPS
        np.testing.assert_allclose(mean, rates.mean(), rtol=1e-6)
        np.testing.assert_allclose(square, np.square(rates).mean(), rtol=1e-6)


def test_neurons_that_rest_send_spikes_that_stand_for_more():
    """A constant current of 1 in 12 steps: 4 spikes are the most, so that each is worth 3."""
    dynamics = Dynamics(refractory=2)
    assert dynamics.slowness == 3
    activations = np.linspace(0, 1, 400, dtype=np.float32)
    currents = np.ascontiguousarray(np.broadcast_to(activations, (N_STEPS, 400)))
    fitted = fit_neuron(currents, activations, hold_back=False, dynamics=dynamics)
    given = np.float32([[fitted.threshold], [fitted.initial_potential], [fitted.bias]])
    square, mean = dynamics.measure_errors(currents, activations, *given)
    assert fitted.threshold > 2
    assert abs(mean[0]) < 0.02
    assert square[0] < 0.02


def test_other_neurons_have_no_such_dynamics():
    one = np.ones(1)
    with pytest.raises(TypeError, match="Burst: expected neurons of insert_neurons"):
        dynamics_of(Burst(one, one / 2, 3))
