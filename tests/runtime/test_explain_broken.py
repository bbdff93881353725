"""explain: thresholds, weights and biases that are wrong, in places that only it can name."""

import dataclasses

import numpy as np
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.converter.ir import Graph, IntegrateFire, LeakyFire, Neuron, Node, Reset
from spikeport.converter.ir.ops import Conv, Dense, Input, QuantizedRelu, Relu
from spikeport.converter.passes import PASSES
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.advice import advise
from spikeport.runtime.explain import explain

ONE, HALF = np.ones(1, np.float32), np.full(1, 0.5, np.float32)


def dense(weight, bias=0.0):
    return Dense(np.full((1, 1), weight, np.float32), np.full(1, bias, np.float32))


def neuron(threshold=1.0, initial=0.5):
    return IntegrateFire(np.full(1, threshold), np.full(1, initial))


def pair(ann_ops, snn_ops, **metadata):
    """Chains of one entry each, with the same names."""
    names = ["x", *(f"n{place}" for place in range(len(ann_ops)))]
    graphs = []
    for ops in (ann_ops, snn_ops):
        nodes = [Node("x", Input((1,)))]
        nodes += [Node(names[k + 1], op, (names[k],)) for k, op in enumerate(ops)]
        graphs.append(Graph(tuple(nodes), ("x",), (names[-1],)))
    return graphs[0], graphs[1].replace(metadata=metadata)


def run(pair, value, n_steps=4):
    x = np.full((1, 1), value, np.float32)
    return explain(pair[1], pair[0], (x,), n_steps=n_steps, engine="reference")


def parts(layer):
    found = {"correction": layer.correction, "inherited": layer.inherited, **layer.causes}
    return {name: round(value, 4) for name, value in found.items() if value > 1e-6}


def test_a_high_threshold_by_hand():
    """Half the rate: u = 1, 1.5, 2 fires, 0.5."""
    found = run(pair([dense(1), Relu()], [dense(1), neuron(2.0)]), 0.5)
    assert parts(found.layers[0]) == {"threshold": 0.5}
    assert found.layers[0].threshold == 2
    assert found.sentence == (
        "n1: too high a threshold costs most, 50.0 % of the layer's activations; to reduce it, "
        "convert again, or lower the threshold: it is 2 of what a spike stands for"
    )


def test_nothing_is_named_where_nothing_is_wrong():
    found = run(pair([dense(1), Relu()], [dense(1), neuron()]), 0.5)
    assert parts(found.layers[0]) == {}
    assert found.sentence == "no layer adds an error: rates are the network's activations"


def test_other_weights_and_biases_by_hand():
    """Twice 0.25 is 2 spikes of 4; 0.25 more is so, too."""
    for op in (dense(2), dense(1, 0.25)):
        found = run(pair([dense(1), Relu()], [op, neuron()]), 0.25)
        assert parts(found.layers[0]) == {"correction": 1.0, "weights": 1.0}
        assert found.sentence == (
            "n1: other weights or biases than the network's cost most, 100.0 % of the layer's "
            "activations; to reduce it, convert again from this network"
        )


def test_a_correction_that_helps_is_no_cause():
    """0.6 is sent as 2 of 4; 1.2 times that is what the network has."""
    ann = [dense(1), Relu(), dense(1), Relu()]
    found = run(pair(ann, [dense(1), neuron(), dense(1.2), neuron()]), 0.6)
    first, second = found.layers
    assert parts(first) == {"quantisation": round(0.1 / 0.6, 4)}
    assert parts(second) == {"correction": 0.2, "inherited": 0.2, "quantisation": 0.1667}


def test_wrong_outputs_are_named_by_hand():
    """The neuron is right, the layer of outputs has 1.5 for 0.5."""
    found = run(pair([dense(1), Relu(), dense(1)], [dense(1), neuron(), dense(1, 1)]), 0.5)
    outputs = found.layers[-1]
    assert (outputs.node, outputs.is_output, outputs.firing_rate) == ("n2", True, 0)
    assert parts(outputs) == {"correction": 2.0, "weights": 2.0}
    assert outputs.error == pytest.approx(2)
    assert found.worst == (outputs, "weights")
    assert "cost most, 200.0 % of the outputs; " in found.sentence
    assert [layer.node for layer in found.neurons] == ["n1"]


@pytest.mark.parametrize("bias", [0, 1])
def test_outputs_of_a_schedule_by_hand(bias):
    """2 of 4 twice, and a bias that comes once, behind the layer; the run is twice as long."""
    ops = [dense(1), Relu(), dense(1), Relu(), dense(1, bias)]
    ann, snn = pair(ops, [dense(1), neuron(), dense(1), neuron(), dense(1, bias)])
    scheduled = PASSES["schedule_neurons"](snn, n_steps=4)
    found = run((ann, scheduled), 0.5, n_steps=8)
    assert [layer.node for layer in found.layers] == ["n1", "n3", "n4"]
    assert [parts(layer) for layer in found.layers] == [{}, {}, {}]
    ann, _ = pair([*ops[:-1], dense(1, 2)], ops)
    found = run((ann, scheduled), 0.5, n_steps=8)
    wrong = round((2 - bias) / 2.5, 4)
    assert parts(found.layers[-1]) == {"correction": wrong, "weights": wrong}


def test_charge_that_is_held_back_is_no_error():
    """0.5 and 0.25 more, from -0.5: u = 0.25, 1 fires, 0.75, 1.5 fires: 2 of 4."""
    ops = ([dense(1), Relu()], [dense(1, 0.25), neuron(initial=-0.5)])
    fitted = [{"name": "calibrate_neurons", "options": {}}]
    found = run(pair(*ops, passes=fitted, n_steps=4), 0.5)
    assert parts(found.layers[0]) == {}
    assert found.layers[0].firing_rate == 0.5
    # without the pass they are a wrong bias and a neuron that starts too low
    assert set(parts(run(pair(*ops), 0.5).layers[0])) == {"correction", "weights", "quantisation"}


def test_what_a_leak_and_rest_lose_by_hand():
    """T = 4: from 0.5, half is lost and 0.75 comes: 1 fires, 0.75, 1.125 fires, 0.8125."""

    def leaky(value, **options):
        found = run(pair([dense(1), Relu()], [dense(1), LeakyFire(ONE, HALF, **options)]), value)
        return parts(found.layers[0])

    assert leaky(0.75, leak=0.5) == {"leak": round(0.25 / 0.75, 4)}
    # a rest of one step: two spikes of four are the most; that 0.75 is more is clipping
    assert leaky(0.5, refractory=1) == {}
    assert leaky(0.75, refractory=1) == {"clipping": round(0.25 / 0.75, 4)}
    # thresholds 1, 2, 1.5, ...: 1.25 fires; 1, 1.75 fires; 1.5
    assert leaky(0.75, relative=1.0) == {"leak": round(0.25 / 0.75, 4)}
    # T = 10: resets to zero at steps 1, 3, 5, 7, 9 only, without a leak this is called reset
    zero = [dense(1), LeakyFire(ONE, HALF, reset=Reset.ZERO)]
    found = run(pair([dense(1), Relu()], zero), 0.6, n_steps=10)
    assert parts(found.layers[0]) == {"reset": round(0.1 / 0.6, 4)}


@pytest.mark.parametrize(("option", "value"), [("leak", 0.1), ("refractory", 3), ("relative", 0.5)])
def test_leak_and_rest_are_named(option, value):
    source, calibration, test = load("lenet", ".keras")
    options = {"insert_neurons": {option: value, "initial_potential": 0.5}}
    graph = convert(source, calibration, recipe="classic", n_steps=32, options=options).graph
    found = explain(graph, source.graph, test, n_steps=32)
    reference = explain(graph, source.graph, test, n_steps=32, engine="reference")
    assert found.worst[1] == "leak"
    assert found.sentence.endswith(f"forget and rest (insert_neurons.{option}={value})")
    assert [x.error for x in found.layers] == pytest.approx([x.error for x in reference.layers])


@pytest.mark.parametrize(
    ("op", "value"), [(Relu(np.ones(1)), 1.5), (QuantizedRelu(np.ones(1), 4), 0.6)]
)
def test_what_the_network_itself_clips_and_rounds_is_no_error(op, value):
    found = run(pair([dense(1), op], [dense(1), neuron()]), value)
    assert parts(found.layers[0]) == {}


@pytest.mark.parametrize(
    ("passes", "steps_run", "expected"),
    [
        ({}, 8, "convert again from this network"),
        ({"correct_biases": {}}, 8, "convert again, with samples like these"),
        ({"correct_biases": {}}, 16, "run the steps that correct_biases made them for (--n-steps "),
        (
            {"calibrate_neurons": {"fit_weights": True}},
            8,
            "convert again, with samples like these, or keep the weights (--set calibrate_neurons.",
        ),
        ({"calibrate_neurons": {"fit_weights": False}}, 8, "convert again, with samples like"),
        ({"use_integers": {}}, 8, "keep the weights (--recipe exact)"),
        ({"correct_quantization": {}, "binarize_weights": {}}, 8, "keep the weights (--recipe ex"),
    ],
)
def test_advice_about_weights(passes, steps_run, expected):
    entries = [{"name": name, "options": options} for name, options in passes.items()]
    _, graph = pair([Relu()], [neuron()], passes=entries, n_steps=8)
    assert advise(graph, steps_run=steps_run)["weights"].startswith(expected)


def test_thresholds_that_no_neuron_needs_are_named():
    """Units three times too large: 0.75 is a rate of 1/4, 1 of 4; 0.6 is one, too."""
    ann, snn = pair([dense(1), Relu()], [dense(1), neuron()])
    unit = np.full(1, 3, np.float32)
    scaled = dataclasses.replace(snn.by_name["n0"], op=dense(1 / 3), unit=unit)
    fires = dataclasses.replace(snn.by_name["n1"], unit=unit)
    snn = snn.replace(nodes=(snn.by_name["x"], scaled, fires))
    found = run((ann, snn), 0.6)
    assert parts(found.layers[0]) == {"quantisation": 0.25}
    assert found.layers[0].busiest == 0.25
    assert found.sentence.endswith(
        "take more steps (--n-steps 8), or calibrate with samples like these: thresholds are so "
        "high that no neuron fires more than 25 % of what it can"
    )
    assert "so high" not in run(pair([dense(1), Relu()], [dense(1), neuron()]), 0.6).sentence


def test_advice_about_leaks():
    entries = [{"name": "calibrate_neurons", "options": {"leak": 0.1, "refractory": 0}}]
    _, graph = pair([Relu()], [neuron()], passes=entries)
    assert advise(graph)["leak"].endswith("forget and rest (calibrate_neurons.leak=0.1)")
    assert advise(graph.replace(metadata={}))["leak"] == "train and convert without a leak"


def load(name, suffix):
    source = read(weights_path(name, suffix))
    shapes = tuple(source.graph.types[each].shape for each in source.graph.inputs)

    def samples(data, limit):
        return load_data(data, shapes, shipped=True, limit=limit, labels=False).inputs

    return source, samples("fashion-mnist:train", 200), samples("fashion-mnist:test", 10)


def change(graph, node, **values):
    op = dataclasses.replace(node.op, **values)
    nodes = (dataclasses.replace(n, op=op) if n is node else n for n in graph.nodes)
    return graph.replace(nodes=tuple(nodes))


def layer_behind(graph, name):
    """Return the first neurons that the result of a node reaches; itself if there are none."""
    for node in graph.nodes:
        if name in node.inputs:
            return node.name if isinstance(node.op, Neuron) else layer_behind(graph, node.name)
    return name


@pytest.mark.parametrize(
    ("name", "suffix", "recipe"),
    [
        ("lenet", ".onnx", "classic"),
        ("lenet", ".keras", "exact"),
        pytest.param("lenet", ".keras", "rate", marks=pytest.mark.slow),
        pytest.param("vgg_max", ".onnx", "light", marks=pytest.mark.slow),
        pytest.param("resnet", ".keras", "light", marks=pytest.mark.slow),
    ],
)
def test_whatever_is_broken_is_named(name, suffix, recipe):
    source, calibration, test = load(name, suffix)
    half = {"insert_neurons": {"initial_potential": 0.5}} if recipe == "classic" else {}
    graph = convert(source, calibration, recipe=recipe, n_steps=16, options=half).graph
    n_steps = graph.metadata["n_steps"]

    def worst(broken):
        layer, cause = explain(broken, source.graph, test, n_steps=n_steps).worst
        return layer.node, cause

    for node in [node for node in graph.nodes if isinstance(node.op, Neuron)]:
        high = change(graph, node, threshold=node.op.threshold * np.float32(8))
        assert worst(high) == (node.name, "threshold")
    layers = [node for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    if recipe == "exact":  # schedules keep biases elsewhere
        layers = layers[:1]
    for node in layers[:1] + layers[len(layers) // 2 :]:
        weak = change(graph, node, weight=node.op.weight * np.float32(0.3))
        assert worst(weak) == (layer_behind(graph, node.name), "weights")
    for node in layers[:-1]:
        shifted = change(graph, node, bias=node.op.bias + np.float32(0.5))
        assert worst(shifted) == (layer_behind(graph, node.name), "weights")
