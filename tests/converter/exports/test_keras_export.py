"""Graphs as plain Keras models: saved, loaded by Keras, compared with the graph; and read back."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.exports import keras as keras_export
from spikeport.converter.exports.keras import (
    build_keras,
    encode_keras,
    layer_names,
    read_weights,
)
from spikeport.converter.exports.keras.rates import to_rates
from spikeport.converter.exports.snn import write_snn
from spikeport.converter.frontends import read
from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset, run
from spikeport.converter.ir.ops import (
    Activation,
    AveragePool,
    Conv,
    Dense,
    Flatten,
    Input,
    MaxPool,
    Pad,
    Relu,
    Scale,
    Select,
    Transpose,
)
from spikeport.converter.ir.ops.activations import ACTIVATIONS
from spikeport.models.registry import weights_path
from spikeport.runtime.engines.reference import simulate

from .examples import EXAMPLES, draw, draw_inputs


def load(data: bytes, tmp_path) -> keras.Model:
    path = tmp_path / "model.keras"
    path.write_bytes(data)
    return keras.models.load_model(path)


def outputs_of(model: keras.Model, inputs) -> list[np.ndarray]:
    found = model(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
    return [np.asarray(each) for each in (found if isinstance(found, list) else [found])]


def expect_close(found, expected) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() < 1e-5 * np.abs(b).max()


def test_sample_graphs_and_reading_them_back(sample_graphs, tmp_path):
    random = np.random.default_rng(0)
    for name, graph in sample_graphs.items():
        inputs = tuple(random.random((3, *graph.types[i].shape), np.float32) for i in graph.inputs)
        expected = run(graph, inputs)
        export = encode_keras(graph)
        assert export.losses == ()
        model = load(export.files[".keras"], tmp_path)
        expect_close(outputs_of(model, inputs), expected)
        assert [value.shape[1:] for value in model.inputs] == [
            graph.types[i].shape for i in graph.inputs
        ], name
        again = read(tmp_path / "model.keras").graph
        expect_close(run(again, inputs), expected)


def test_weights_come_back_bit_for_bit(sample_graphs):
    for graph in sample_graphs.values():
        found = read_weights(graph, build_keras(graph))
        for a, b in zip(graph.nodes, found.nodes, strict=True):
            for field in dataclasses.fields(a.op):
                one, other = (getattr(node.op, field.name) for node in (a, b))
                np.testing.assert_array_equal(one, other)


def test_same_graph_same_bytes(sample_graphs, monkeypatch):
    import datetime

    graph = next(iter(sample_graphs.values()))
    first = encode_keras(graph).files[".keras"]
    later = datetime.datetime.now() + datetime.timedelta(days=3)

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    monkeypatch.setattr("datetime.datetime", Later)
    assert encode_keras(graph).files[".keras"] == first


def test_depthwise_and_grouped_weights_come_back():
    for groups, n_out, strides in ((4, 8, (1, 1)), (2, 6, (1, 1)), (4, 4, (1, 2)), (1, 3, (2, 2))):
        weight = draw(n_out, 4 // groups, 3, 2)
        op = Conv(weight, draw(n_out), strides, (1, 1), ((1, 0), (0, 2)), groups)
        graph = Graph((Node("x", Input((4, 7, 6))), Node("c", op, ("x",))), ("x",), ("c",))
        model = build_keras(graph)
        inputs = draw_inputs(graph)
        expect_close(outputs_of(model, inputs), run(graph, inputs))
        np.testing.assert_array_equal(read_weights(graph, model).nodes[1].op.weight, weight)
        layer = model.get_layer("c")
        layer.set_weights([2 * array for array in layer.get_weights()])
        changed = read_weights(graph, model)
        np.testing.assert_array_equal(changed.nodes[1].op.weight, 2 * weight)
        expect_close(outputs_of(model, inputs), run(changed, inputs))


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activations(function, tmp_path):
    names, _ = ACTIVATIONS[function]
    parameters = {
        "alpha": 0.7, "scale": 1.3, "slope": 0.3, "shift": 0.4, "threshold": 0.5, "max_value": 2.0
    }  # fmt: skip
    op = Activation(function, tuple(parameters[name] for name in names))
    graph = Graph((Node("x", Input((40,))), Node("f", op, ("x",))), ("x",), ("f",))
    inputs = (np.linspace(-4, 4, 80, dtype=np.float32).reshape(2, 40),)
    model = load(encode_keras(graph).files[".keras"], tmp_path)
    np.testing.assert_allclose(outputs_of(model, inputs)[0], run(graph, inputs)[0], atol=2e-6)


def one_op(op, shape=(3, 7, 6)) -> Graph:
    return Graph((Node("x", Input(shape)), Node("op", op, ("x",))), ("x",), ("op",))


@pytest.mark.parametrize(
    "op",
    [
        MaxPool((3, 2), (2, 1), (1, 1), ((1, 2), (0, 1))),
        MaxPool((3, 3), (2, 2), (1, 1), ((1, 1), (0, 1))),
        AveragePool((3, 2), (2, 1), ((1, 2), (1, 0))),
        AveragePool((3, 2), (2, 1), ((1, 2), (1, 0)), count_padding=True),
        AveragePool((3, 3), (2, 2), ((1, 1), (0, 1))),
        Pad(((1, 0), (0, 0), (2, 1))),
        Relu(np.array([1, 2, 3]).reshape(3, 1, 1)),
        Scale(draw(3, 1, 6), draw(1, 7, 6)),
        Select((None, (1, 2, 3), None)),
        Conv(draw(2, 3, 2, 2), draw(2), (2, 1), (2, 3), ((1, 1), (0, 2))),
        Transpose((1, 2, 0)),
        Flatten(),
    ],
)
def test_borders_layouts_and_constants(op, tmp_path):
    graph = one_op(op)
    inputs = (np.random.default_rng(0).normal(0, 2, (3, 3, 7, 6)).astype(np.float32),)
    model = load(encode_keras(graph).files[".keras"], tmp_path)
    expect_close(outputs_of(model, inputs), run(graph, inputs))


@pytest.mark.parametrize("suffix", [".keras", ".onnx"])
@pytest.mark.parametrize("network", ["lenet", "resnet"])
def test_shipped_networks_come_back_folded(network, suffix, tmp_path):
    source = read(weights_path(network, suffix))
    target = tmp_path / "out.keras"
    arguments = ["export", str(weights_path(network, suffix)), "--to", "keras", "-o", str(target)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "note: inputs" in result.output
    assert "what the graph computes; loaded and compared, relative error" in result.output
    model = keras.models.load_model(target)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert "BatchNormalization" not in kinds
    inputs = (np.random.default_rng(0).random((5, 28, 28, 1), np.float32),)
    expect_close(outputs_of(model, inputs), source.run(inputs))
    if suffix == ".keras":
        assert "Permute" not in kinds


def test_rates_are_what_spikes_tend_to(tmp_path):
    graph = EXAMPLES["AveragePool"]()
    inputs = draw_inputs(graph)
    model = load(encode_keras(graph, lossy=True).files[".keras"], tmp_path)
    (found,) = outputs_of(model, inputs)
    errors = []
    for n_steps in (8, 64, 512):
        (outputs,) = simulate(graph, inputs, n_steps).outputs
        errors.append(np.abs(outputs[-1] - found).max() / np.abs(found).max())
    assert errors[0] > 0.01
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02


def test_neurons_are_refused_unless_lossy(tmp_path):
    graph = EXAMPLES["IntegrateFire"]()
    with pytest.raises(
        UnsupportedOpError, match="cannot be written as Keras, there are 2"
    ) as error:
        encode_keras(graph)
    assert error.value.reasons == (
        "first, op: spikes and time, the rate that they tend to is left",
        "first, op: reset to zero, which fires less than this rate",
    )
    assert "--lossy" in error.value.hint
    source = tmp_path / "a.snn"
    write_snn(graph, source)
    arguments = ["export", str(source), "--to", "keras", "-o", str(tmp_path / "a.keras"), "--lossy"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "lost: first, op: spikes and time" in result.output


def test_outputs_have_the_source_units(tmp_path):
    graph = EXAMPLES["Dense"]()
    unit = np.array([0.5, 2, 3], np.float32)
    last = dataclasses.replace(graph.nodes[-1], unit=unit)
    inputs = draw_inputs(graph)
    expected = run(to_rates(graph)[0], inputs)[0] * unit
    graph = graph.replace(nodes=(*graph.nodes[:-1], last))
    model = load(encode_keras(graph, lossy=True).files[".keras"], tmp_path)
    expect_close(outputs_of(model, inputs), [expected])


def test_what_keras_has_no_layer_for_is_listed():
    dilated = MaxPool((2, 2), (1, 1), (2, 1), ((0, 0),) * 2)
    with pytest.raises(UnsupportedOpError, match=r"op \(MaxPool\): has the dilation \(2, 1\), Ker"):
        build_keras(one_op(dilated))
    one = np.ones((1, 1, 1), np.float32)
    with pytest.raises(UnsupportedOpError, match="IntegrateFire has no translation to Keras"):
        build_keras(one_op(IntegrateFire(one, one, Reset.SUBTRACT)))


def test_a_model_that_computes_something_else_is_not_written(monkeypatch):
    monkeypatch.setattr(keras_export, "run", lambda graph, inputs: (np.ones((4, 3, 7, 6)),))
    with pytest.raises(FormatError, match=r"the model differs from the graph by .*expected below"):
        encode_keras(one_op(Scale(np.full((1, 1, 1), 3), np.zeros((1, 1, 1)))))


def test_names_are_what_keras_takes_and_own_layers_take_their_place():
    dense = Dense(draw(4, 4), draw(4))
    nodes = (
        Node("x:0", Input((4,))),
        Node("a/b c", dense, ("x:0",)),
        Node("a_b_c", dense, ("a/b c",)),
        Node("größe/ReLU", Relu(), ("a_b_c",)),
        Node("/", Relu(), ("größe/ReLU",)),
    )
    graph = Graph(nodes, ("x:0",), ("/",))
    names = layer_names(graph)
    assert list(names.values()) == ["x_0", "a_b_c", "a_b_c_2", "gr__e_ReLU", "n_"]

    def create(kind, **settings):
        if kind == "ReLU":
            return keras.layers.Activation("tanh", name=settings["name"])
        return getattr(keras.layers, kind)(**settings)

    model = build_keras(graph, create=create)
    assert model.get_layer(names["größe/ReLU"]).activation is keras.activations.tanh
    assert isinstance(build_keras(graph).get_layer("n_"), keras.layers.ReLU)
