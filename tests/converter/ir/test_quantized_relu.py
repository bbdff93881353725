import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import IntegrateFire
from spikeport.converter.ir.ops import QuantizedRelu
from spikeport.converter.ir.types import TensorType


def test_levels_by_hand():
    op = QuantizedRelu(np.array([2.0], np.float32), 4)  # levels 0, 0.5, 1, 1.5, 2; steps at 0.25
    x = np.array([[-1.0], [0.24], [0.25], [0.74], [0.75], [1.75], [9.0]], np.float32)
    np.testing.assert_array_equal(op.apply(x)[:, 0], [0, 0, 0.5, 0.5, 1, 2, 2])


def test_one_level_is_a_step():
    half = QuantizedRelu(np.array([2.0], np.float32), 1)
    np.testing.assert_array_equal(half.apply(np.array([[0.99], [1.0]], np.float32))[:, 0], [0, 2])
    sign = QuantizedRelu(np.array([1.0], np.float32), 1, 1.0)
    x = np.array([[-1e-30], [0.0], [1e-30], [-3.0]], np.float32)
    np.testing.assert_array_equal(sign.apply(x)[:, 0], [0, 1, 1, 0])


def test_is_what_a_neuron_sends_under_constant_current():
    threshold = np.array([0.5, 1.0, 2.0], np.float32)
    x = np.round(np.random.default_rng(0).normal(0.5, 1, (200, 3)) * 256).astype(np.float32) / 256
    for n_levels in (1, 2, 4):
        op = QuantizedRelu(threshold, n_levels)
        neuron = IntegrateFire(threshold, threshold / 2)
        state, total = neuron.start(x.shape), np.zeros_like(x)
        for _ in range(n_levels):
            spikes, state = neuron.step(x, state)
            total += spikes
        np.testing.assert_array_equal(op.apply(x), total * threshold / n_levels)


@pytest.mark.parametrize(
    ("op", "match"),
    [
        (QuantizedRelu(np.zeros(1), 4), "threshold is not positive"),
        (QuantizedRelu(np.ones(1), 0), "n_levels is 0, expected at least 1"),
        (QuantizedRelu(np.ones(1), 4, 1.5), r"shift is 1.5, expected 0 to 1"),
        (QuantizedRelu(np.ones(2), 4), r"scale has shape \(2,\), expected one that broadcasts"),
    ],
)
def test_what_does_not_fit_is_refused(op, match):
    with pytest.raises(GraphError, match=match):
        op.infer(TensorType((3,)))
