import dataclasses

import numpy as np
import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.ir import IntegrateFire, run
from spikeport.converter.ir.ops import QuantizedRelu, Relu
from spikeport.converter.passes import PASSES
from spikeport.runtime.engines.reference import simulate

SIMPLE = ("remove_no_ops", "strip_output_activation", "fold_batch_norm")


def quantize(graph, n_levels):
    """Thresholds that are powers of two: what is scaled by them stays exact."""
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Relu):
            n_channels, *others = graph.types[node.name].shape
            threshold = 2.0 ** (np.arange(n_channels) % 3 - 1)
            op = QuantizedRelu(threshold.reshape(-1, *(1,) * len(others)), n_levels)
            node = dataclasses.replace(node, op=op)
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


@pytest.mark.parametrize("name", ["mlp", "cnn", "residual"])
def test_exact_schedule_computes_the_quantised_network(sample_graphs, name):
    graph = quantize(sample_graphs[name], 4)
    for step in SIMPLE:
        graph = PASSES[step](graph)
    spiking = PASSES["insert_neurons"](PASSES["use_trained_thresholds"](graph))
    spiking = PASSES["schedule_neurons"](spiking, n_steps=4)
    x = np.random.default_rng(0).integers(0, 9, (6, *graph.types["x"].shape)) / np.float32(8)
    expected = run(graph, (x.astype(np.float32),))[0]
    n_steps = spiking.metadata["schedule"]["n_steps"]
    found = simulate(spiking, (x.astype(np.float32),), n_steps).outputs[0][-1]
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_binary_network_is_exact_in_one_causal_step(sample_graphs):
    graph = quantize(PASSES["strip_output_activation"](sample_graphs["mlp"]), 1)
    spiking = PASSES["insert_neurons"](PASSES["use_trained_thresholds"](graph))
    x = np.random.default_rng(0).integers(0, 9, (6, 12)).astype(np.float32) / 8
    (expected,) = run(graph, (x,))
    found = simulate(spiking, (x,), 1).outputs[0][0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_bounds_are_thresholds_too(sample_graphs):
    graph = PASSES["use_trained_thresholds"](PASSES["fold_batch_norm"](sample_graphs["depthwise"]))
    relus = [node for node in graph.nodes if isinstance(node.op, Relu)]
    assert all((node.unit == 6).all() and (node.op.max_value == 1).all() for node in relus)


def test_network_without_thresholds_is_refused(sample_graphs):
    with pytest.raises(PassError, match=r"relu1 \(Relu\), relu2 \(Relu\) of 2 without a threshold"):
        PASSES["use_trained_thresholds"](sample_graphs["mlp"])


def test_other_recipes_refuse_trained_thresholds(sample_graphs):
    graph = PASSES["strip_output_activation"](quantize(sample_graphs["mlp"], 4))
    with pytest.raises(PassError, match=r"relu1 \(QuantizedRelu\): has a trained threshold") as e:
        PASSES["insert_neurons"](graph)
    assert "trained_exact" in e.value.hint
    ones = [
        dataclasses.replace(n, op=QuantizedRelu(np.ones(1), 4, 0.25))
        if isinstance(n.op, QuantizedRelu)
        else n
        for n in graph.nodes
    ]
    spiking = PASSES["insert_neurons"](graph.replace(nodes=tuple(ones)))
    neurons = [node.op for node in spiking.nodes if isinstance(node.op, IntegrateFire)]
    assert all((op.initial_potential == 0.25).all() for op in neurons)


@pytest.mark.parametrize("option", [{"leak": 0.1}, {"reset": "zero"}, {"signed": True}])
def test_options_of_neurons_that_training_chose_are_refused(option, sample_graphs):
    graph = quantize(PASSES["strip_output_activation"](sample_graphs["mlp"]), 4)
    graph = PASSES["use_trained_thresholds"](graph)
    (name,) = option
    with pytest.raises(PassError, match=rf"{name}: relu1 \(QuantizedRelu\) has neurons that trai"):
        PASSES["insert_neurons"](graph, **option)
