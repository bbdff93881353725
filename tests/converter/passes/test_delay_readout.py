"""A read-out that begins late: the mean over the steps that are read, on both engines."""

import numpy as np
import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.ir import AddOnce, Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Dense, Input
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines import ENGINES

ONE = np.ones(1, np.float32)
X = (np.float32([[0.25], [0.5]]),)


def neuron_and_output(op=None) -> Graph:
    """One neuron, then an output of weight 3 and bias 1."""
    nodes = (
        Node("x", Input((1,))),
        Node("n", op or IntegrateFire(ONE, ONE / 2), ("x",)),
        Node("y", Dense(np.full((1, 1), 3.0), ONE), ("n",)),
    )
    return Graph(nodes, ("x",), ("y",))


@pytest.mark.parametrize("engine", ["reference", "event"])
def test_mean_over_the_steps_that_are_read(engine):
    """Current 1/4: spikes at steps 1 and 5 of 0..7; current 1/2: at 0, 2, 4, 6."""
    graph = PASSES["delay_readout"](neuron_and_output(), calibration=X, n_steps=8, first_step=3)
    assert graph.metadata["read_from_step"] == 3
    result = ENGINES[engine](graph).run(X, 8)
    np.testing.assert_allclose(result.outputs[0][-1], [[1 + 3 / 5], [1 + 6 / 5]], rtol=1e-6)
    np.testing.assert_array_equal(result.outputs[0][:3], 0)


def test_first_step_of_the_formula():
    """(1 - 1/2) / mean activation (1/4 + 1/2) / 2 = 1.33: step 1."""
    graph = PASSES["delay_readout"](neuron_and_output(), calibration=X, n_steps=8)
    assert graph.metadata["read_from_step"] == 1
    scaled = (X[0] / 8,)  # 10.67, but four steps must be left
    graph = PASSES["delay_readout"](neuron_and_output(), calibration=scaled, n_steps=8)
    assert graph.metadata["read_from_step"] == 4
    few = PASSES["delay_readout"](neuron_and_output(), calibration=X, n_steps=4)
    assert few.outputs == ("y",)


def test_bad_first_step_and_other_neurons():
    for first in (8, -2):
        with pytest.raises(PassError, match=rf"first_step {first}, expected -1 or 0 to 7"):
            PASSES["delay_readout"](neuron_and_output(), calibration=X, n_steps=8, first_step=first)
    waiting = neuron_and_output(AddOnce(ONE))
    with pytest.raises(PassError, match=r"n \(AddOnce\) is no neuron of insert_neurons"):
        PASSES["delay_readout"](waiting, calibration=X, n_steps=8)
