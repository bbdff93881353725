import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import OPS, IntegrateFire, Reset, SpikingMaxPool, StatefulOp, TensorType
from spikeport.converter.ir.ops import MaxPool


def neuron(
    threshold: float = 1.0, initial: float = 0.0, reset: Reset = Reset.SUBTRACT
) -> IntegrateFire:
    return IntegrateFire(np.array([threshold]), np.array([initial]), reset)


def trace(op: StatefulOp, currents: list[float]) -> tuple[list[float], list[float]]:
    """Results and states of one entry, step by step."""
    state = op.start((1, 1))
    results, states = [], []
    for current in currents:
        result, state = op.step(np.array([[current]], np.float32), state)
        results.append(float(result[0, 0]))
        states.append(float(state[0, 0]))
    return results, states


def test_reset_by_subtraction_by_hand():
    spikes, potentials = trace(neuron(), [0.75, 0.75, 0.5, 2.5, 0.0, -1.0])
    assert spikes == [0, 1, 1, 1, 1, 0]
    assert potentials == [0.75, 0.5, 0.0, 1.5, 0.5, -0.5]


def test_reset_to_zero_by_hand():
    spikes, potentials = trace(neuron(reset=Reset.ZERO), [0.75, 0.75, 0.5, 2.5, 0.0, -1.0])
    assert spikes == [0, 1, 0, 1, 0, 0]
    assert potentials == [0.75, 0.0, 0.5, 0.0, 0.0, -1.0]


def test_initial_potential_and_threshold_by_hand():
    spikes, potentials = trace(neuron(threshold=2.0, initial=1.0), [0.5, 0.5, 0.5, 1.5])
    assert spikes == [0, 1, 0, 1]
    assert potentials == [1.5, 0.0, 0.5, 0.0]


def test_potential_at_the_threshold_fires():
    assert trace(neuron(threshold=0.5), [0.5]) == ([1], [0])


def test_at_most_one_spike_per_step():
    spikes, potentials = trace(neuron(), [5.0, 0.0])
    assert spikes == [1, 1]
    assert potentials == [4.0, 3.0]


@pytest.mark.parametrize("threshold", [0.5, 1.0, 3.0])
def test_closed_form_under_a_constant_current(threshold):
    """Clip(floor(c T / threshold + 1/2), 0, T) after every T, exactly, in binary fractions."""
    currents = np.arange(-64, 256, dtype=np.float32)[None] / 64
    op = neuron(threshold, threshold / 2)
    state, counts = op.start(currents.shape), np.zeros(currents.shape)
    for n_steps in range(1, 41):
        spikes, state = op.step(currents, state)
        counts += spikes
        expected = np.clip(np.floor(currents * n_steps / threshold + 0.5), 0, n_steps)
        np.testing.assert_array_equal(counts, expected)


def test_parameters_per_channel_broadcast():
    thresholds = np.array([1.0, 2.0]).reshape(2, 1, 1)
    op = IntegrateFire(thresholds, thresholds / 2)
    state = op.start((3, 2, 4, 4))
    np.testing.assert_array_equal(state[:, 0], 0.5)
    np.testing.assert_array_equal(state[:, 1], 1.0)
    spikes, _ = op.step(np.full((3, 2, 4, 4), 0.5, np.float32), state)
    np.testing.assert_array_equal(spikes[:, 0], 1)
    np.testing.assert_array_equal(spikes[:, 1], 0)
    assert spikes.dtype == np.float32


def test_a_start_does_not_touch_the_parameters():
    op = neuron(initial=0.5)
    op.step(np.ones((1, 1), np.float32), op.start((1, 1)))
    assert op.initial_potential[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        op.threshold[0] = 2


def test_neuron_gives_spikes_of_the_operands_shape():
    assert neuron().infer(TensorType((7,))) == TensorType((7,), spiking=True)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (neuron(threshold=0.0), r"threshold is not positive"),
        (neuron(threshold=-1.0), r"threshold is not positive"),
        (IntegrateFire(np.ones((1, 1)), np.ones(1)), r"scale has shape \(1, 1\), expected one"),
        (IntegrateFire(np.ones(1), np.ones(2)), r"shift has shape \(2,\), expected one that"),
        (IntegrateFire(np.ones(1), np.ones(1), "subtract"), r"reset is 'subtract', expected a mem"),
    ],
)
def test_neurons_without_meaning(op, message):
    with pytest.raises(GraphError, match=message):
        op.infer(TensorType((3,)))


POOLS = [
    ((2,), (2,), (1,), ((0, 0),)),
    ((3, 2), (2, 1), (1, 2), ((1, 1), (0, 1))),
]


@pytest.mark.parametrize("geometry", POOLS)
def test_increments_add_up_to_the_maximum_of_the_counts(geometry):
    """Telescoping, at every step; and one spike at most, never a negative one."""
    op, plain = SpikingMaxPool(*geometry), MaxPool(*geometry)
    shape = (4, 3, *(7, 6)[: len(geometry[0])])
    random = np.random.default_rng(3)
    rates = random.uniform(0, 1, shape)
    state, sent = op.start(shape), 0
    counts = np.zeros(shape, np.float32)
    for _ in range(50):
        spikes = (random.uniform(0, 1, shape) < rates).astype(np.float32)
        counts += spikes
        result, state = op.step(spikes, state)
        assert set(np.unique(result)) <= {0.0, 1.0}
        sent = sent + result
        np.testing.assert_array_equal(sent, plain.apply(counts))


def test_pooling_of_analog_currents_telescopes_too():
    op = SpikingMaxPool(*POOLS[0])
    currents = np.random.default_rng(4).integers(-256, 256, (20, 1, 2, 6)) / np.float32(64)
    state, sent = op.start((1, 2, 6)), 0
    for current in currents.astype(np.float32):
        result, state = op.step(current, state)
        sent = sent + result
    np.testing.assert_array_equal(sent, MaxPool(*POOLS[0]).apply(currents.sum(axis=0)))


def test_spiking_max_pool_says_spikes_only_for_spikes():
    op = SpikingMaxPool(*POOLS[0])
    assert op.infer(TensorType((3, 6), spiking=True)) == TensorType((3, 3), spiking=True)
    assert op.infer(TensorType((3, 6))) == TensorType((3, 3))


def test_neurons_are_in_the_table():
    assert OPS["IntegrateFire"] is IntegrateFire
    assert OPS["SpikingMaxPool"] is SpikingMaxPool


def test_stateful_op_must_say_how_it_starts_and_steps():
    with pytest.raises(NotImplementedError):
        StatefulOp().start((1,))
    with pytest.raises(NotImplementedError):
        StatefulOp().step(np.zeros(1), np.zeros(1))
