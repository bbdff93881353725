import numpy as np
import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import Dense, Input
from spikeport.converter.passes import PASSES

MEASURE = PASSES["measure_outputs"]


def test_scale_is_the_largest_positive_value_but_for_a_thousandth():
    dense = Dense(np.array([[1.0], [-1.0]]), np.zeros(2))
    nodes = (Node("x", Input((1,))), Node("d", dense, ("x",)), Node("n", dense, ("x",)))
    graph = Graph(nodes, ("x",), ("d", "n"))
    x = np.concatenate([np.linspace(0.001, 1, 1000), [50.0]]).astype(np.float32)[:, None]
    found = MEASURE(graph, calibration=(x,), n_samples=1001).metadata["output_scale"]
    np.testing.assert_allclose(found, [np.percentile(x, 99.9)] * 2, rtol=1e-6)
    few = MEASURE(graph, calibration=(x,), n_samples=30).metadata["output_scale"]
    np.testing.assert_allclose(few, [0.03] * 2, rtol=1e-2)


def test_outputs_that_are_never_positive():
    dense = Dense(np.array([[-1.0]]), np.zeros(1))
    graph = Graph((Node("x", Input((1,))), Node("d", dense, ("x",))), ("x",), ("d",))
    x = np.ones((3, 1), np.float32)
    assert MEASURE(graph, calibration=(x,)).metadata["output_scale"] == [0.0]


def test_no_samples():
    graph = Graph((Node("x", Input((1,))),), ("x",), ("x",))
    with pytest.raises(PassError, match="n_samples 0, expected at least 1"):
        MEASURE(graph, calibration=(np.ones((3, 1), np.float32),), n_samples=0)
