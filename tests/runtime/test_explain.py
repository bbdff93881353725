"""explain: networks made to fail, and a split of errors checked by hand."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.converter.convert import convert
from spikeport.converter.errors import DataError, SimulationError
from spikeport.converter.exports.snn import write_snn
from spikeport.converter.frontends import read
from spikeport.converter.ir import Graph, IntegrateFire, Neuron, Node, Reset
from spikeport.converter.ir.ops import Dense, Input, Relu
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.advice import advise
from spikeport.runtime.encoding import make_encoder
from spikeport.runtime.explain import explain


def single(threshold=1.0, reset=Reset.SUBTRACT, unit=None):
    """A ReLU on the input and the neuron that stands for it."""
    x = Node("x", Input((1,)))
    pre = Node("pre", Dense(np.eye(1), np.zeros(1)), ("x",), unit=unit)
    neuron = IntegrateFire(np.full(1, threshold), np.full(1, 0.5), reset)
    ann = Graph((x, pre, Node("relu", Relu(), ("pre",))), ("x",), ("relu",))
    snn = Graph((x, pre, Node("relu", neuron, ("pre",), unit=unit)), ("x",), ("relu",))
    return snn, ann


def causes(snn, ann, value, n_steps, **options):
    x = np.full((1, 1), value, np.float32)
    (layer,) = explain(snn, ann, (x,), n_steps=n_steps, engine="reference", **options).layers
    assert layer.inherited == pytest.approx(0)
    return {cause: round(error, 4) for cause, error in layer.causes.items() if error > 1e-6}


def test_causes_of_one_neuron_by_hand():
    # T = 4: 0.6 becomes 2 of 4 spikes (0.6 x 4 + 0.5 = 2.9): off by 0.1 of 0.6
    assert causes(*single(), 0.6, 4) == {"quantisation": round(0.1 / 0.6, 4)}
    # 1.5 is more than a spike per step
    assert causes(*single(), 1.5, 4) == {"clipping": round(0.5 / 1.5, 4)}
    # threshold 1/2: twice the rate, 1 instead of 0.5
    assert causes(*single(threshold=0.5), 0.5, 4) == {"clipping": 1.0}
    # reset to zero, T = 5: 0.5 + 0.6 fires, then 0.6, 1.2 fires: 3 of 5 is the exact rate
    assert causes(*single(reset=Reset.ZERO), 0.6, 5) == {}
    # T = 10: fires at steps 1, 3, 5, 7, 9: 5 of 10, by subtraction it would be 6
    assert causes(*single(reset=Reset.ZERO), 0.6, 10) == {"reset": round(0.1 / 0.6, 4)}


def test_what_arrives_too_late_is_unevenness():
    # a: 1 at every step, b: 0 but its spike comes: the neuron sees 1, 1, ... minus 2 now and then
    x = Node("x", Input((2,)))
    first = IntegrateFire(np.ones(2), np.array([0.0, 0.75]))
    pre = Dense(np.array([[0.5, -2.0]]), np.zeros(1))
    nodes = (x, Node("a", Relu(), ("x",)), Node("pre", pre, ("a",)), Node("b", Relu(), ("pre",)))
    second = IntegrateFire(np.ones(1), np.full(1, 0.5))
    ann = Graph(nodes, ("x",), ("b",))
    snn = ann.replace(
        nodes=(
            x,
            Node("a", first, ("x",)),
            nodes[2],
            Node("b", second, ("pre",)),
        )
    )
    # T = 4: a fires 1111 and (0.75, 1.0 -> fires at step 2 with 0.25) 0100: mean current 0
    # b: u = 0.5, 1.0 fires -> 0, -1.5, -1, -0.5: one spike though the sum is 0
    inputs = (np.array([[1.0, 0.125]], np.float32),)
    found = explain(snn, ann, inputs, n_steps=4, engine="reference")
    b = found.layers[1]
    assert b.firing_rate == 0.25
    assert {cause for cause, error in b.causes.items() if error} == {"unevenness"}
    assert found.worst == (b, "unevenness")


@pytest.fixture(scope="module")
def lenet():
    source = read(weights_path("lenet"))
    shapes = tuple(source.graph.types[name].shape for name in source.graph.inputs)

    def load(name, limit):
        return load_data(name, shapes, shipped=True, limit=limit, labels=False).inputs

    return source, load("fashion-mnist:train", 200), load("fashion-mnist:test", 20)


def classic(source, calibration, **options):
    return convert(source, calibration, recipe="classic", options=options).graph


@pytest.mark.parametrize("bad", ["conv1_relu", "conv2_relu", "dense1", "dense2"])
def test_a_low_threshold_is_found(lenet, bad):
    source, calibration, test = lenet
    graph = classic(source, calibration)
    nodes = tuple(
        dataclasses.replace(n, op=dataclasses.replace(n.op, threshold=n.op.threshold / 4))
        if n.name == bad
        else n
        for n in graph.nodes
    )
    found = explain(graph.replace(nodes=nodes), source.graph, test, n_steps=32)
    layer, cause = found.worst
    assert (layer.node, cause) == (bad, "clipping")
    assert found.sentence.startswith(f"{bad}: clipping costs most, ")
    assert found.sentence.endswith(
        "convert again, or raise the threshold: it is 0.25 of what a spike stands for"
    )
    assert found.to_json()["worst"]["advice"] in found.sentence


def dark(images):
    """Black images of a camera, with its noise: entirely black ones are refused."""
    noise = np.random.default_rng(0).random(images.shape, np.float32)
    return noise / np.float32(1000)


def test_calibration_on_black_images_is_found(lenet):
    source, calibration, test = lenet
    good = classic(source, calibration)
    black = classic(source, (dark(calibration[0]),))
    ratios = {
        node.name: float(black.by_name[node.name].unit.min() / node.unit.min())
        for node in good.nodes
        if isinstance(node.op, IntegrateFire)
    }
    layer, cause = explain(black, source.graph, test, n_steps=32).worst
    assert cause == "clipping"
    assert ratios[layer.node] == min(ratios.values())


def test_reset_to_zero_is_found(lenet):
    source, calibration, test = lenet
    graph = classic(source, calibration, insert_neurons={"reset": "zero", "initial_potential": 0.5})
    assert explain(graph, source.graph, test, n_steps=8).worst[1] == "reset"


def layers_of(lenet, recipe, n_steps=8, engine="event", **options):
    source, calibration, test = lenet
    given = {key: value for key, value in options.items() if value}
    graph = convert(source, calibration, recipe=recipe, n_steps=n_steps, options=given).graph
    found = explain(graph, source.graph, test, n_steps=graph.metadata["n_steps"], engine=engine)
    assert [layer.node for layer in found.neurons] == [
        node.name for node in graph.nodes if isinstance(node.op, Neuron)
    ]
    return found


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("exact", {}),
        ("exact", {"schedule_neurons": {"schedule": "parallel"}}),
        ("exact", {"schedule_neurons": {"schedule": "settle"}}),
        ("ttfs", {}),
        ("integer", {}),
    ],
)
def test_exact_schedules_have_no_unevenness(lenet, recipe, options):
    found = layers_of(lenet, recipe, engine="reference", **options)
    assert found.layers[-1].is_output
    for layer in found.neurons:
        # a tie in floats may fall the other way, because the mean is not summed in steps
        assert layer.causes["unevenness"] < 0.03
        assert layer.causes["quantisation"] > 0.02
        assert layer.causes["reset"] == 0
        assert 0 < layer.error < 0.4
        assert layer.correlation > 0.95
    assert found.worst[1] in {"quantisation", "clipping"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("rate", {"place_poolings": {"average_pool": "neurons"}}),
        ("light", {"insert_neurons": {"signed": True}}),
        ("graded", {}),
        ("graded", {"insert_graded_neurons": {"neuron": "binary"}}),
    ],
)
def test_other_neurons_and_poolings(lenet, recipe, options):
    found = layers_of(lenet, recipe, n_steps=2 if recipe == "graded" else 16, **options)
    parts = [layer.error for layer in found.layers]
    assert max(parts) < 0.4
    assert all(layer.correlation > 0.9 for layer in found.layers)
    reference = layers_of(
        lenet, recipe, n_steps=2 if recipe == "graded" else 16, engine="reference", **options
    )
    for layer, other in zip(found.layers, reference.layers, strict=True):
        assert layer.error == pytest.approx(other.error, abs=2e-3)


def test_neurons_that_cannot_be_split_are_refused(lenet):
    message = r"conv1_relu \(DifferentialFire\): its count is not that of a"
    with pytest.raises(SimulationError, match=message) as caught:
        layers_of(lenet, "differential")
    assert caught.value.hint.startswith("explain takes recipes rate, ")


def test_code_of_the_input_by_hand():
    """T = 4: as a rate 0.3 is 1 spike of 4, off by 0.05; as one charge of 1 it comes at step 3."""
    snn, ann = single()
    x = np.full((1, 1), 0.3, np.float32)
    found = {}
    for code in ("rate", "ttfs"):
        encoder = make_encoder(code)
        explained = explain(snn, ann, (x,), n_steps=4, engine="reference", encoder=encoder)
        (layer,) = explained.layers
        found[code] = {key: round(each, 4) for key, each in layer.causes.items() if each > 1e-6}
        assert layer.inherited == pytest.approx(0)
        assert explained.worst == (layer, "code")
        assert explained.sentence.startswith(f"relu: the input's code {code} costs most, 16.7 % ")
        assert explained.to_json()["code"] == code
    assert found == {"rate": {"code": round(0.05 / 0.3, 4)}, "ttfs": {"code": round(0.05 / 0.3, 4)}}
    # 0.75 as one charge of 3 at step 1: three steps are left for three spikes
    x[:] = 0.75
    (layer,) = explain(snn, ann, (x,), n_steps=4, encoder=make_encoder("ttfs")).layers
    assert max(layer.causes.values()) == 0
    # in 8 steps 0.25 is a charge of 2 at step 6, and two spikes; taken twice, one comes too late
    x[:] = 0.25
    (layer,) = explain(snn, ann, (x,), n_steps=8, encoder=make_encoder("ttfs")).layers
    assert max(layer.causes.values()) == 0
    double = dataclasses.replace(snn.by_name["pre"], op=Dense(np.full((1, 1), 2), np.zeros(1)))
    twice = snn.replace(nodes=tuple(double if n.name == "pre" else n for n in snn.nodes))
    ann_twice = ann.replace(nodes=tuple(double if n.name == "pre" else n for n in ann.nodes))
    (layer,) = explain(twice, ann_twice, (x,), n_steps=8, encoder=make_encoder("ttfs")).layers
    # 4 charges at step 6: 2 of 4 spikes
    assert {key: each for key, each in layer.causes.items() if each} == {"unevenness": 0.5}


@pytest.mark.parametrize(
    ("code", "options", "cause", "advice"),
    [
        ("poisson", {}, "code", "take more steps (--n-steps 32), or feed constant currents"),
        (
            "ttfs",
            {},
            "unevenness",
            "feed spikes evenly (--code rate), or let neurons take back what came too early "
            "(--set insert_neurons.signed=true), or feed constant currents (--code constant)",
        ),
        (
            "ttfs",
            {"insert_neurons": {"signed": True}},
            "clipping",
            "feed spikes evenly (--code rate), or feed constant currents (--code constant)",
        ),
    ],
)
def test_codes_of_the_input_are_named_with_what_helps(lenet, code, options, cause, advice):
    source, calibration, test = lenet
    graph = convert(source, calibration, recipe="light", n_steps=16, options=options).graph
    explained = [
        explain(graph, source.graph, test, n_steps=16, encoder=make_encoder(code, seed))
        for seed in (1, 1, 2)
    ]
    assert explained[0].worst[1] == cause
    assert explained[0].advice["code" if cause == "code" else "unevenness"].startswith(advice)
    assert explained[0].to_json() == explained[1].to_json()
    assert (explained[0].layers == explained[2].layers) is (code != "poisson")
    for layer in explained[0].layers[1:]:
        assert layer.causes["code"] == 0
    plain = explain(graph, source.graph, test, n_steps=16)
    assert all(layer.causes["code"] == 0 for layer in plain.layers)


def test_codes_that_a_graph_cannot_take(lenet):
    source, calibration, test = lenet
    graph = convert(source, calibration, recipe="exact", n_steps=4).graph
    n_steps = graph.metadata["n_steps"]
    with pytest.raises(SimulationError, match="code rate: the graph was converted with recipe ex"):
        explain(graph, source.graph, test, n_steps=n_steps, encoder=make_encoder("rate"))


def test_advice_is_in_the_options_of_the_recipe():
    graph = single()[0]
    assert advise(graph)["quantisation"] == "take more steps (--n-steps)"
    assert advise(graph, steps_run=8)["quantisation"] == "take more steps (--n-steps 16)"
    for passes, n_steps, cause, expected in (
        ({"normalize_weights": {"percentile": 99.9}}, 8, "clipping", "weights.percentile=100)"),
        ({"normalize_weights": {"percentile": 100.0}}, 8, "clipping", "the recipe chooses"),
        (
            {"insert_neurons": {"initial_potential": 0.0}},
            8,
            "quantisation",
            "initial_potential=0.5)",
        ),
        (
            {},
            8,
            "unevenness",
            "(--n-steps 16), or let layers wait for all their",
        ),
    ):
        entries = [{"name": name, "options": options} for name, options in passes.items()]
        made = graph.replace(metadata={"passes": entries, "n_steps": n_steps})
        assert expected in advise(made)[cause]
    for name in ("insert_neurons", "calibrate_neurons"):
        made = graph.replace(metadata={"passes": [{"name": name, "options": {}}]})
        assert advise(made)["reset"].endswith(f"(--set {name}.reset=subtract)")
        assert f"(--set {name}.signed=true), or feed con" in advise(made, "ttfs")["unevenness"]
    assert "signed" not in advise(graph, "ttfs")["unevenness"]
    scheduled = graph.replace(metadata={"schedule": {"n_levels": 4}, "n_steps": 20, "passes": [3]})
    assert advise(scheduled)["quantisation"] == "take more steps (--n-steps 8)"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg", "vgg_max"])
def test_three_failures_of_a_larger_network_are_named(name):
    source = read(weights_path(name, ".onnx"))
    shapes = tuple(source.graph.types[each].shape for each in source.graph.inputs)

    def load(data, limit):
        return load_data(data, shapes, shipped=True, limit=limit, labels=False).inputs

    calibration, test = load("fashion-mnist:train", 200), load("fashion-mnist:test", 20)

    def worst(graph, n_steps):
        layer, cause = explain(graph, source.graph, test, n_steps=n_steps).worst
        return layer.node, cause

    half = {"initial_potential": 0.5}
    good = classic(source, calibration, insert_neurons=half)
    fires = [node for node in good.nodes if isinstance(node.op, IntegrateFire)]
    for bad in fires:
        op = dataclasses.replace(bad.op, threshold=bad.op.threshold / 4)
        nodes = (dataclasses.replace(n, op=op) if n is bad else n for n in good.nodes)
        assert worst(good.replace(nodes=tuple(nodes)), 32) == (bad.name, "clipping")

    black = classic(source, (dark(calibration[0]),), insert_neurons=half)
    ratios = {
        node.name: float(black.by_name[node.name].unit.min() / node.unit.min()) for node in fires
    }
    node, cause = worst(black, 32)
    assert cause == "clipping"
    assert ratios[node] < np.median(list(ratios.values()))

    zero = classic(source, calibration, insert_neurons={**half, "reset": "zero"})
    assert worst(zero, 8)[1] == "reset"


def test_a_good_network_has_small_errors_and_engines_agree(lenet):
    source, calibration, test = lenet
    graph = classic(source, calibration, insert_neurons={"initial_potential": 0.5})
    few, many = (explain(graph, source.graph, test, n_steps=t) for t in (16, 128))
    assert all(layer.error < 0.1 and layer.correlation > 0.995 for layer in many.layers)
    for before, after in zip(few.layers, many.layers, strict=True):
        assert after.error < before.error
    reference = explain(graph, source.graph, test, n_steps=16, engine="reference")
    for layer, other in zip(few.layers, reference.layers, strict=True):
        assert layer.error == pytest.approx(other.error, abs=1e-3)


def test_command(lenet, tmp_path):
    source, calibration, _ = lenet
    path = tmp_path / "lenet.snn"
    write_snn(classic(source, calibration), path)
    arguments = ["explain", str(path), "--ann", "lenet", "--data", "fashion-mnist:test"]
    arguments += ["--shipped", "--limit", "20", "--n-steps", "8"]
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    assert " costs most, " in shown.output.splitlines()[0]
    printed = CliRunner().invoke(main, [*arguments, "--json"])
    found = json.loads(printed.stdout)
    assert found["n_steps"] == 8
    assert shown.output.startswith(f"{found['worst']['node']}: {found['worst']['cause']} costs")
    assert found["layers"][0]["node"] == "conv1_relu"
    assert (found["code"], found["seed"]) == ("constant", None)
    assert "code" not in shown.output
    coded = CliRunner().invoke(main, [*arguments, "--code", "poisson", "--seed", "3"])
    assert coded.exit_code == 0, coded.output
    assert ", T = 8, code poisson\n" in coded.output
    bad = CliRunner().invoke(main, [*arguments, "--code", "poison"])
    assert bad.exit_code == 1
    assert "did you mean poisson?" in bad.stderr


def test_refusals(lenet, tmp_path):
    source, calibration, _ = lenet
    snn, ann = single()
    with pytest.raises(SimulationError, match=r"graph: has no neurons that stand for"):
        explain(ann, ann, (np.ones((1, 1), np.float32),), n_steps=4)
    with pytest.raises(SimulationError, match=r"n_steps 0, expected an integer of at least 1"):
        explain(snn, ann, (np.ones((1, 1), np.float32),), n_steps=0)
    with pytest.raises(DataError, match=r"samples have shape \(2,\), expected \(1,\)"):
        explain(snn, ann, (np.ones((1, 2), np.float32),), n_steps=4)
    path = tmp_path / "lenet.snn"
    write_snn(classic(source, calibration), path)
    result = CliRunner().invoke(
        main, ["explain", str(path), "--ann", "mlp", "--data", "fashion-mnist:test"]
    )
    assert result.exit_code == 1
    assert "is not that of the network" in result.stderr
