"""The spiking graph as ONNX, run by onnxruntime, against the reference engine."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.exports import onnx as onnx_export
from spikeport.converter.exports.onnx import encode_run, encode_step
from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.analog import of_mean
from spikeport.converter.ir.ops import Activation, Input, Relu
from spikeport.converter.ir.ops.activations import ACTIVATIONS
from spikeport.converter.passes import PASSES
from spikeport.converter.recipes import SIMPLIFY
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.engines.event import compile_graph
from spikeport.runtime.engines.reference import simulate

from .examples import EXAMPLES, draw_inputs, fire
from .runners import run_model, run_steps

N_STEPS = 12


def test_sample_graphs_with_several_inputs_and_outputs(sample_graphs):
    calibrations = np.random.default_rng(0)
    for name, analog in sample_graphs.items():
        inputs = tuple(
            calibrations.random((7, *analog.types[i].shape)).astype(np.float32)
            for i in analog.inputs
        )
        graph = analog
        for step in SIMPLIFY:
            needed = {"calibration": inputs} if "calibration" in PASSES[step].needs else {}
            graph = PASSES[step](graph, **needed)
        graph = PASSES["insert_neurons"](graph)
        expected = simulate(graph, inputs, 6).outputs
        found = run_model(encode_run(graph).files[".onnx"], graph, inputs, 6)
        by_step, _ = run_steps(encode_step(graph).files[".onnx"], graph, inputs, 6)
        for a, b, c in zip(expected, found, by_step, strict=True):
            scale = np.abs(a).max()
            assert np.abs(a - b).max() < 1e-4 * scale, name
            assert np.abs(a - c).max() < 1e-4 * scale, name


@pytest.mark.slow
@pytest.mark.parametrize("network", ["lenet", "vgg", "resnet"])
def test_shipped_networks_decide_the_same_at_every_step(network):
    """The event engine gives the reference engine's spikes in far less time, tested elsewhere."""
    train = load_data("fashion-mnist:train", ((28, 28, 1),), shipped=True)
    test = load_data("fashion-mnist:test", ((28, 28, 1),), shipped=True, limit=200)
    n_steps = 8
    graph = convert(weights_path(network), train.inputs, n_steps=n_steps).graph
    expected = compile_graph(graph, n_threads=2).run(test.inputs, n_steps).outputs[0]
    (found,) = run_model(encode_run(graph).files[".onnx"], graph, test.inputs, n_steps)
    np.testing.assert_array_equal(found.argmax(axis=2), expected.argmax(axis=2))
    few = test.inputs[0][:3]
    (found,) = run_model(encode_run(graph).files[".onnx"], graph, (few,), n_steps)
    (expected,) = simulate(graph, (few,), n_steps).outputs
    np.testing.assert_array_equal(found.argmax(axis=2), expected.argmax(axis=2))


SCHEDULES = {
    "wait": ("exact", {}),
    "parallel": ("exact", {"schedule_neurons": {"schedule": "parallel"}}),
    "settle": ("exact", {"schedule_neurons": {"schedule": "settle"}}),
    "integer": ("integer", {}),
    "integer settle": ("integer", {"schedule_neurons": {"schedule": "settle"}}),
    "graded": ("graded", {}),
    "binary": ("graded", {"insert_graded_neurons": {"neuron": "binary"}}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_integers_and_levels_of_a_shipped_network(kind):
    """The same decisions at every step; in integers the same counts and the same numbers."""
    train = load_data("fashion-mnist:train", ((28, 28, 1),), shipped=True, limit=200)
    images = load_data("fashion-mnist:test", ((28, 28, 1),), shipped=True, limit=40).inputs
    recipe, options = SCHEDULES[kind]
    graph = convert(
        weights_path("lenet"), train.inputs, n_steps=4, recipe=recipe, options=options
    ).graph
    n_steps = graph.metadata.get("schedule", {}).get("n_steps", 4)
    expected = simulate(graph, images, n_steps)
    (found,) = run_model(encode_run(graph).files[".onnx"], graph, images, n_steps)
    (means,), counts = run_steps(encode_step(graph).files[".onnx"], graph, images, n_steps)
    is_exact = recipe == "integer"
    for each in (found, means):
        decisions = each.argmax(axis=2) == expected.outputs[0].argmax(axis=2)
        assert decisions[-1].all()
        assert decisions.mean() > 0.99
    if is_exact:  # the single steps of the other model are rounded one by one
        np.testing.assert_array_equal(found, expected.outputs[0])
    for name, count in counts.items():
        differ = np.mean(count != expected.spike_counts[name])
        assert differ == 0 if is_exact else differ < 1e-3


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_functions_that_stay_analog(function):
    names, _ = ACTIVATIONS[function]
    parameters = {
        "alpha": 0.7, "scale": 1.3, "slope": 0.3, "shift": 0.4, "threshold": 0.5, "max_value": 2.0
    }  # fmt: skip
    op = Activation(function, tuple(parameters[name] for name in names))
    nodes = (Node("x", Input((40,))), Node("f", of_mean(op), ("x",)))
    graph = Graph(nodes, ("x",), ("f",))
    inputs = (np.linspace(-4, 4, 80, dtype=np.float32).reshape(2, 40),)
    (expected,) = simulate(graph, inputs, 3).outputs
    (found,) = run_model(encode_run(graph).files[".onnx"], graph, inputs, 3)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_outputs_have_the_source_units():
    graph = EXAMPLES["Dense"]()
    unit = np.array([0.5, 2, 3], np.float32)
    last = dataclasses.replace(graph.nodes[-1], unit=unit)
    graph = graph.replace(nodes=(*graph.nodes[:-1], last))
    inputs = draw_inputs(graph)
    (expected,) = simulate(graph, inputs, N_STEPS).outputs
    (found,) = run_model(encode_run(graph).files[".onnx"], graph, inputs, N_STEPS)
    (means,), _ = run_steps(encode_step(graph).files[".onnx"], graph, inputs, N_STEPS)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(means, expected, rtol=1e-6)


def test_what_stands_in_the_file():
    graph = EXAMPLES["Conv"]()
    model = onnx.load_from_string(encode_run(graph).files[".onnx"])
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import] == [17]
    assert [value.name for value in model.graph.input] == ["x", "n_steps"]
    (properties,) = model.metadata_props
    assert json.loads(properties.value) == {"kind": "run", "n_steps": 16}
    assert encode_run(graph) == encode_run(graph)


def test_refusals_come_all_at_once():
    @dataclasses.dataclass(frozen=True, eq=False)
    class Leaky(type(fire((1,)))):
        leak: float = 0.5

    class Strange(Relu):
        pass

    Leaky.__name__ = "IntegrateFire"
    one = np.ones(1, np.float32)
    nodes = (
        Node("x", Input((3,))),
        Node("a", Strange(), ("x",)),
        Node("b", Leaky(one, one), ("a",)),
    )
    with pytest.raises(UnsupportedOpError, match="cannot be written as ONNX, there are 2") as error:
        encode_run(Graph(nodes, ("x",), ("b",)))
    assert error.value.reasons == (
        "a (Strange): Strange has no translation to ONNX",
        "b (IntegrateFire): leak of IntegrateFire has no translation to ONNX",
    )
    analog = Graph(nodes[:1], ("x",), ("x",))
    with pytest.raises(UnsupportedOpError, match="graph: has no neuron, expected a spiking graph"):
        encode_step(analog)


def test_too_large_for_a_protocol_buffer(monkeypatch):
    monkeypatch.setattr(onnx_export, "MAX_BYTES", 100)
    with pytest.raises(FormatError, match="bytes, expected at most 100 in an ONNX file"):
        encode_run(EXAMPLES["Dense"]())


def test_analog_parts_are_computed_once():
    """What stands before the first neuron is outside of the Loop."""
    model = onnx.load_from_string(encode_run(EXAMPLES["Conv"]()).files[".onnx"])
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    (body,) = (attribute.g for attribute in loop.attribute if attribute.name == "body")
    assert [n.op_type for n in model.graph.node].count("Conv") == 1
    assert [n.op_type for n in body.node].count("Conv") == 1
