"""Traces worked out by hand, and the closed form that every schedule ends in."""

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import (
    OPS,
    AddOnce,
    BinaryWeighted,
    Burst,
    FirstSpikeFire,
    Pulse,
    SignedFire,
    TensorType,
    WaitFire,
)

ONE, HALF = np.ones(1), np.full(1, 0.5)


def trace(op, currents):
    """Results of one entry, step by step, and the potential behind the last one."""
    state = op.start((1, 1))
    results = []
    for current in currents:
        result, state = op.step(np.array([[current]], np.float32), state)
        assert result.shape == (1, 1)
        assert result.dtype == np.float32
        results.append(float(result[0, 0]))
    return results, float(np.ravel(state)[0])


def test_pulse_by_hand():
    assert trace(Pulse(2, 1.0), [3, 4, 5, 6])[0] == [3, 4, 0, 0]
    assert trace(Pulse(1, 4.0), [3, 4, 5])[0] == [12, 0, 0]


def test_add_once_by_hand():
    assert trace(AddOnce(np.full(1, 2.5)), [1, 1, 0])[0] == [3.5, 1, 0]


def test_wait_then_fire_by_hand():
    """Potentials 0.5, 1.75, 3.0 (no spike before the window), 3.0-1, 2.0-1, and no time left."""
    spikes, potential = trace(WaitFire(ONE, HALF, 2, 2), [1.25, 1.25, 0, 0, 0])
    assert spikes == [0, 0, 1, 1, 0]
    assert potential == 1.0


def test_a_current_that_flows_through_the_window_by_hand():
    """0.5 + 0.75 = 1.25 fires, 0.25 + 0.75 = 1.0 fires, 0.75 does not, 1.5 fires."""
    spikes, potential = trace(WaitFire(ONE, HALF, 0, 4), [0.75, 0.75, 0.75, 0.75])
    assert spikes == [1, 1, 0, 1]
    assert potential == 0.5


def test_first_spike_by_hand():
    """2.75 is charge 2: two steps before the end of the window of steps 2 to 5."""
    spikes, potential = trace(FirstSpikeFire(ONE, HALF, 2, 4), [1.0, 1.25, 0, 0, 0, 0, 0])
    assert spikes == [0, 0, 0, 0, 2, 0, 0]
    assert potential == 0.75


@pytest.mark.parametrize(("total", "charge"), [(9, 4), (3.5, 4), (3.25, 3), (0.5, 1), (0.25, 0)])
def test_first_spike_clips_and_rounds(total, charge):
    spikes, _ = trace(FirstSpikeFire(ONE, HALF, 1, 4), [total, 0, 0, 0, 0, 0])
    assert sum(spikes) == charge
    assert np.count_nonzero(spikes) == (charge > 0)


def test_signed_by_hand():
    """What came too early is taken back; nothing is taken back that was not sent.

    2.5 and 1.5 fire; -1.25 and -0.25 take back; 0.75 stays; -2.25 cannot; 6.75, 5.75, 4.75 fire,
    and at 3.75 the three levels are used up.
    """
    spikes, potential = trace(SignedFire(ONE, HALF, 3), [2.0, 0, -1.75, 0, 0, -3.0, 9, 0, 0, 0])
    assert spikes == [1, 1, -1, -1, 0, 0, 1, 1, 1, 0]
    assert potential == 3.75


def test_burst_by_hand():
    spikes, potential = trace(Burst(np.full(1, 2.0), ONE, 3), [4.0, 0.5, 9.0, -5])
    assert spikes == [2, 0, 3, 0]  # floor(5/2); floor(1.5/2); floor(10.5/2) = 5 clipped to 3
    assert potential == -0.5


def test_binary_weighted_by_hand():
    """Thresholds 4, 2, 1: 6.5 = 4 + 2 + 0.5;  9.5 = 4 + 2 + 1 + 2.5, the most that can be sent."""
    results, potential = trace(BinaryWeighted(ONE, HALF, 3), [6.0, 9.0, -4])
    assert results == [6, 7, 0]
    assert potential == -1.5
    op = BinaryWeighted(ONE, HALF, 3)
    assert op.count_spikes(np.array([6.0, 7.0, 0.0, 4.0])) == 2 + 3 + 0 + 1
    assert Burst(ONE, HALF, 7).count_spikes(np.array([6.0, 7.0, 0.0, 4.0])) == 17
    assert SignedFire(ONE, HALF, 7).count_spikes(np.array([1.0, -1.0, 0.0])) == 2


def levels(currents, threshold, initial, n):
    total = currents.sum(axis=0, dtype=np.float64) + initial
    return np.clip(np.floor(total / threshold), 0, n)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_sums_that_came_before_the_window_are_quantised(n):
    random = np.random.default_rng(n)
    currents = random.integers(-9, 12, (20, 3, 50)).astype(np.float32)
    currents[12:] = 0
    op = WaitFire(np.full(1, 6.0), np.full(1, 3.0), 12, n)
    state, trains = op.start((3, 50)), []
    for current in currents:
        spikes, state = op.step(current, state)
        trains.append(spikes)
    np.testing.assert_array_equal(np.sum(trains, axis=0), levels(currents, 6, 3, n))
    assert (np.diff(trains[12:], axis=0) <= 0).all()  # thermometer code


@pytest.mark.parametrize("n", [1, 4, 7])
def test_signed_neurons_that_are_quiet_are_quantised(n):
    random = np.random.default_rng(n)
    currents = random.integers(-9, 12, (12 + n, 3, 50)).astype(np.float32)
    currents[12:] = 0
    op = SignedFire(np.full(1, 6.0), np.full(1, 3.0), n)
    state, sent = op.start((3, 50)), np.zeros((3, 50))
    for current in currents:
        spikes, state = op.step(current, state)
        assert set(np.unique(spikes)) <= {-1, 0, 1}
        sent += spikes
        assert ((sent >= 0) & (sent <= n)).all()
    assert not op.step(np.zeros((3, 50), np.float32), state)[0].any()
    np.testing.assert_array_equal(sent, levels(currents, 6, 3, n))


def test_bits_and_bursts_are_the_same_numbers():
    """One step of 4 bits is a quantiser of 16 values; of both kinds, over many steps."""
    random = np.random.default_rng(0)
    currents = random.integers(-40, 60, (8, 2, 300)).astype(np.float32) / 4
    bits, burst = BinaryWeighted(ONE, HALF, 4), Burst(ONE, HALF, 15)
    states = [op.start((2, 300)) for op in (bits, burst)]
    np.testing.assert_array_equal(
        burst.step(currents[0], burst.start((2, 300)))[0], levels(currents[:1], 1, 0.5, 15)
    )
    for current in currents:
        first, states[0] = bits.step(current, states[0])
        second, states[1] = burst.step(current, states[1])
        np.testing.assert_array_equal(first, second)


def test_only_zeros_and_ones_are_spikes():
    type_ = TensorType((1,))
    assert WaitFire(ONE, HALF, 0, 1).infer(type_).spiking
    for op in (SignedFire(ONE, HALF, 4), Burst(ONE, HALF, 4), BinaryWeighted(ONE, HALF, 4)):
        assert op.infer(type_) == type_
    assert Pulse(1, 1.0).infer(TensorType((1,), spiking=True)) == type_
    assert AddOnce(ONE).infer(TensorType((1,), spiking=True)) == type_


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Pulse(0, 1.0), "n_steps is 0, expected 1 to 1000000"),
        (Pulse(1, 0.0), "gain is 0.0, expected a positive number"),
        (Pulse(1, 1e39), "gain is 1e.39, expected a positive number"),
        (AddOnce(np.ones(2)), "scale has shape"),
        (WaitFire(ONE, HALF, -1, 1), "first_step is -1, expected 0 to 1000000"),
        (WaitFire(ONE, HALF, 0, 0), "n_steps is 0, expected 1 to 1000000"),
        (WaitFire(-ONE, HALF, 0, 1), "threshold is not positive"),
        (SignedFire(ONE, HALF, 0), "n_levels is 0, expected 1 to 65536"),
        (Burst(ONE, HALF, 0), "n_levels is 0, expected 1 to 65535"),
        (BinaryWeighted(ONE, HALF, 17), "n_bits is 17, expected 1 to 16"),
    ],
)
def test_parameters_without_meaning(op, message):
    with pytest.raises(GraphError, match=message), np.errstate(over="ignore"):
        op.infer(TensorType((1,)))


def test_they_are_in_the_table():
    for op in (Pulse, AddOnce, WaitFire, SignedFire, Burst, BinaryWeighted):
        assert OPS[op.__name__] is op
