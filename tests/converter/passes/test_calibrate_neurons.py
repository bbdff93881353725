"""Neurons fitted to spikes: by hand, and against plain normalisation."""

import numpy as np
import pytest

from spikeport.converter.calibration.spiking_fit import fit_neuron, measure_errors
from spikeport.converter.errors import PassError
from spikeport.converter.ir import Graph, IntegrateFire, Node, run
from spikeport.converter.ir.ops import Dense, Input, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines.reference import simulate


def test_errors_by_hand():
    # potential .5, threshold 1: .5+.5 fires, 0, .5, 1 fires: 2 of 4 spikes; wanted .25 and 1
    currents = np.float32([[0.5, 0, 0.5, 0.5], [1, 1, 1, 1]])
    square, mean = measure_errors(
        currents, np.float32([0.25, 1]), *np.float32([[1.0], [0.5], [0.0]])
    )
    np.testing.assert_allclose(square, [0.25**2 / 2])
    np.testing.assert_allclose(mean, [0.25 / 2])


def test_late_currents_want_another_neuron():
    """All charge arrives in the last steps: no more than two spikes can follow."""
    activations = np.linspace(0, 1, 500, dtype=np.float32)
    currents = np.float32([0, 0, 2, 2])[:, None] * activations
    fitted = fit_neuron(currents, activations, mean_weight=10.0)
    given = np.float32([[fitted.threshold], [fitted.initial_potential], [fitted.bias]])
    square, mean = measure_errors(currents.T.copy(), activations, *given)
    plain, plain_mean = measure_errors(
        currents.T.copy(), activations, *np.float32([[1.0], [0.5], [0.0]])
    )
    assert square[0] < 0.7 * plain[0]
    assert abs(mean[0]) < 0.5 * abs(plain_mean[0])


def test_silent_channel_has_no_fit():
    currents = np.full((4, 9), -1, np.float32)
    assert fit_neuron(currents, np.zeros(9, np.float32), mean_weight=1.0) is None


def random_inputs(graph: Graph, n_samples: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(3)
    return tuple(
        random.uniform(0, 1, (n_samples, *graph.types[name].shape)).astype(np.float32)
        for name in graph.inputs
    )


def simplify(graph: Graph) -> Graph:
    for name in ("remove_no_ops", "strip_output_activation", "fold_batch_norm"):
        graph = PASSES[name](graph)
    return graph


def test_outputs_come_closer_than_with_percentiles(sample_graph):
    graph = simplify(sample_graph)
    calibration, n_steps = random_inputs(graph, 100), 4
    fitted = PASSES["calibrate_neurons"](graph, calibration=calibration, n_steps=n_steps)
    plain = PASSES["insert_neurons"](PASSES["normalize_weights"](graph, calibration=calibration))
    expected = run(graph, calibration)[0]
    errors = [
        np.square(simulate(snn, calibration, n_steps).outputs[0][-1] - expected).mean()
        for snn in (fitted, plain)
    ]
    assert errors[0] < errors[1]
    for node in fitted.nodes:
        if isinstance(node.op, IntegrateFire):
            assert (node.op.threshold == 1).all()
            assert ((node.op.initial_potential > 0) & (node.op.initial_potential < 1)).all()


def tiny(bias: float = 0.0) -> Graph:
    layer = Dense(np.ones((1, 1), np.float32), np.full(1, bias, np.float32))
    nodes = (Node("x", Input((1,))), Node("dense", layer, ("x",)), Node("relu", Relu(), ("dense",)))
    return Graph(nodes, ("x",), ("relu",))


def test_layer_that_is_never_active():
    with pytest.raises(PassError, match=r"relu \(Relu\): is never active on the calibration"):
        PASSES["calibrate_neurons"](tiny(-9), calibration=(np.ones((4, 1)),), n_steps=4)


@pytest.mark.parametrize("option", [{"n_samples": 0}, {"mean_weight": -1.0}])
def test_option_out_of_range(option):
    with pytest.raises(PassError, match="expected at least 1 and at least 0"):
        PASSES["calibrate_neurons"](tiny(), calibration=(np.ones((4, 1)),), n_steps=4, **option)
