"""What a conversion is compared with."""

import numpy as np

from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import Dense, Input, QuantizedRelu
from spikeport.converter.training.finish import count_ties


def ties(values, threshold, n_levels, shift):
    eye = Dense(np.eye(3, dtype=np.float32), np.zeros(3))
    step = QuantizedRelu(np.float32([threshold]), n_levels, shift)
    nodes = (Node("x", Input((3,))), Node("d", eye, ("x",)), Node("r", step, ("d",)))
    return count_ties(Graph(nodes, ("x",), ("r",)), (np.array(values, np.float32),))


def test_sums_beside_a_step_are_counted():
    """Threshold 2, 2 levels: steps at 0.5 and 1.5; a tie is less than 2e-5 away."""
    values = [[0.5, 1.50001, 0.4], [0.50003, 1.49997, -7], [0, 2.5, 1]]
    assert ties(values, 2.0, 2, 0.5) == (2, 1)


def test_signs_change_at_zero():
    assert ties([[0, 1e-6, -1e-6], [1, -1, 2e-5]], 1.0, 1, 1.0) == (3, 1)


def test_many_samples_are_done_in_parts():
    assert ties([[0.5, 3, 3]] * 250, 2.0, 2, 0.5) == (250, 250)
