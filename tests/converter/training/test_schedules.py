"""Learning rates by hand."""

import numpy as np
import pytest

from spikeport.converter.training.schedules import WarmUp, make_schedule
from spikeport.converter.training.settings import SCHEDULES, Settings

EXPECTED = {
    "cosine": [1, 0.853553, 0.5, 0.146447, 0], "linear": [1, 0.75, 0.5, 0.25, 0],
    "exponential": [1, 0.316228, 0.1, 0.0316228, 0.01], "constant": [1, 1, 1, 1, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_over_the_steps(name):
    rate = make_schedule(Settings(learning_rate=2.0, schedule=name), 4)
    found = [float(rate(step)) for step in range(5)]
    np.testing.assert_allclose(found, np.multiply(2, EXPECTED[name]), rtol=1e-5, atol=1e-6)


def test_warm_up():
    rate = make_schedule(Settings(learning_rate=2.0, schedule="linear", warmup=0.5), 8)
    found = [float(rate(step)) for step in range(9)]
    np.testing.assert_allclose(found, [0.5, 1, 1.5, 2, 2, 1.5, 1, 0.5, 0], rtol=1e-6)
    again = WarmUp(**rate.get_config())
    assert [float(again(step)) for step in range(9)] == found
