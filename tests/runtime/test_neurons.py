"""Every neuron in the event engine: the same spikes, outputs and operations as in the reference."""

import numpy as np
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.errors import PassError, SimulationError
from spikeport.converter.exports.snn import decode_graph, encode_graph
from spikeport.converter.ir import OPS, Graph, LeakyFire, Neuron, Node, Reset, SignedFire
from spikeport.converter.ir.ops import Input
from spikeport.converter.recipes import RECIPES
from spikeport.runtime.encoding import Phase, Poisson
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.engines.reference import simulate
from spikeport.runtime.evaluate import evaluate

from ..converter.exports.examples import EXAMPLES, draw_inputs
from .test_exactness import schedule
from .test_sweep import write_model

NEURONS = [name for name, op in OPS.items() if issubclass(op, Neuron)]
MORE = ["DifferentialMaxPool", "FromDifferences"]


def assert_same_run(first, second):
    np.testing.assert_array_equal(first.outputs[0], second.outputs[0])
    assert first.n_spikes == second.n_spikes
    for name, counts in first.spike_counts.items():
        np.testing.assert_array_equal(counts, second.spike_counts[name])
    for name, counts in first.synaptic_operations.items():
        np.testing.assert_array_equal(counts, second.synaptic_operations[name])


@pytest.mark.parametrize("name", [*NEURONS, *MORE])
def test_engines_agree(name):
    graph = EXAMPLES[name]()
    inputs = draw_inputs(graph)
    expected = ENGINES["reference"](graph).run(inputs, 20)
    for n_threads in (1, 2):
        runner = ENGINES["event"](graph, n_threads=n_threads)
        assert_same_run(runner.run(inputs, 20, count_spikes=True), expected)
    again = decode_graph(encode_graph(graph))
    assert_same_run(ENGINES["reference"](again).run(inputs, 20), expected)


@pytest.mark.parametrize("name", [*NEURONS, *MORE])
def test_under_spikes_of_the_input(name):
    graph = EXAMPLES[name]()
    inputs = tuple(array / 16 for array in draw_inputs(graph))
    runs = [
        ENGINES[engine](graph, encoder=Poisson(2)).run(inputs, 20, count_spikes=True)
        for engine in ("reference", "event")
    ]
    assert_same_run(*runs)


@pytest.mark.parametrize("reset", list(Reset))
@pytest.mark.parametrize("settings", [(0.1, 0, 0), (0, 3, 0), (0, 0, 0.7), (0.13, 2, 0.3)])
def test_kernel_of_leaky_neurons_rounds_as_numpy_does(settings, reset):
    """Neurons on the input, with numbers that have no short binary fractions."""
    leak, refractory, relative = settings
    threshold = np.array([0.9, 1.1, 0.7], np.float32).reshape(3, 1)
    op = LeakyFire(threshold, threshold / 3, leak, refractory, relative, 0.6, reset)
    graph = Graph((Node("x", Input((3, 50))), Node("n", op, ("x",))), ("x",), ("n",))
    x = np.random.default_rng(4).random((4, 3, 50), np.float32)
    for encoder in (None, Phase()):
        expected, found = (
            ENGINES[engine](graph, encoder=encoder).run((x,), 80, count_spikes=True)
            for engine in ("reference", "event")
        )
        assert_same_run(found, expected)
        assert expected.n_spikes["n"] > 1000
    assert ENGINES["event"](graph).fallbacks == ()


def test_one_spike_says_what_many_say(sample_graphs):
    """The charges of ttfs are the counts of parallel, with one spike per neuron at most."""
    for name in ("cnn", "residual", "max_pool"):
        graph = sample_graphs[name]
        rng = np.random.default_rng(0)
        shapes = [graph.types[name].shape for name in graph.inputs]
        inputs = tuple(rng.uniform(0, 1, (5, *shape)).astype(np.float32) for shape in shapes)
        for pass_ in ("strip_output_activation", "fold_batch_norm"):
            from spikeport.converter.passes import PASSES

            graph = PASSES[pass_](graph)
        many, one = schedule(graph, "parallel", 6), schedule(graph, "ttfs", 6)
        n_steps = many.metadata["schedule"]["n_steps"]
        assert one.metadata["schedule"]["n_steps"] == n_steps
        expected, found = simulate(many, inputs, n_steps), simulate(one, inputs, n_steps)
        for node, counts in expected.spike_counts.items():
            np.testing.assert_array_equal(found.spike_counts[node], counts)
            assert found.n_spikes[node] == np.count_nonzero(counts)
        for want, got in zip(expected.outputs, found.outputs, strict=True):
            np.testing.assert_allclose(got[-1], want[-1], rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("neurons")
    write_model(folder / "net.onnx")
    return folder / "net.onnx", np.random.default_rng(2).random((60, 8), np.float32)


OPTIONS = {
    "leak": {"leak": 0.1},
    "rest": {"refractory": 1},
    "relative": {"relative": 0.5, "decay": 0.25},
    "signed": {"signed": True},
}


REFUSED = {
    "schedule_neurons": (
        r"insert_neurons\.\w+: the schedule of recipe \w+ is exact only for reset by subtraction",
        "rate, light, ltb, classic and diehl take the options",
    ),
    "insert_graded_neurons": (
        r"insert_neurons\.\w+: levels of a step would lose or keep charge .* in recipe graded",
        "rate, light, ltb, classic and diehl take the options",
    ),
    "insert_differential_neurons": (
        r"insert_neurons\.\w+: spikes say how a mean changes, which a leak .* in recipe diff",
        "rate, light, ltb, classic and diehl take the options",
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(
    "recipe",
    [name for name, recipe in RECIPES.items() if "use_trained_thresholds" not in recipe.passes],
)
def test_options_of_neurons_on_every_recipe(recipe, option, model):
    """Causal recipes that send 0 and 1 take them; the others refuse them in one line."""
    path, x = model
    passes = RECIPES[recipe].passes
    name = "calibrate_neurons" if "calibrate_neurons" in passes else "insert_neurons"
    settings = {name: dict(OPTIONS[option])}
    for other, (message, hint) in REFUSED.items():
        if other in passes:
            with pytest.raises(PassError, match=message) as found:
                convert(path, x, recipe=recipe, n_steps=8, options=settings)
            is_schedule = other == "schedule_neurons"
            wanted = "schedule=settle has" if is_schedule and option == "signed" else hint
            assert wanted in found.value.hint
            return
    if (recipe, option) == ("diehl", "signed"):
        with pytest.raises(PassError, match="signed: goes with reset by subtraction") as found:
            convert(path, x, recipe=recipe, n_steps=8, options=settings)
        assert found.value.hint == "set reset=subtract, or leave signed out"
        settings[name] |= {"reset": "subtract"}
    graph = convert(path, x, recipe=recipe, n_steps=32, options=settings).graph
    kinds = {type(node.op) for node in graph.nodes if isinstance(node.op, Neuron)}
    assert kinds == {SignedFire if option == "signed" else LeakyFire}
    ann = convert(path, x, recipe="exact", n_steps=32).graph
    found = evaluate(graph, (x,), engine="reference")
    expected = evaluate(ann, (x,), engine="reference")
    assert (found.decisions[-1] == expected.decisions[-1]).mean() > 0.7


@pytest.mark.parametrize(
    ("recipe", "given", "message", "hint"),
    [
        (
            "rate",
            {"insert_neurons": {"signed": True}},
            "insert_neurons.signed: the neurons of recipe rate come from calibrate_neurons, expec",
            "use --set calibrate_neurons.signed=true",
        ),
        (
            "rate",
            {"insert_neurons": {"initial_potential": 0.0}},
            "insert_neurons.initial_potential: the neurons of recipe rate come from calibrate",
            "recipe rate chooses it by itself; light takes it",
        ),
        (
            "light",
            {"calibrate_neurons": {"ridge": 0.1}},
            "calibrate_neurons.ridge: the neurons of recipe light come from insert_neurons",
            "recipe light chooses it by itself; rate takes it",
        ),
        (
            "exact",
            {"calibrate_neurons": {"leak": 0.1}},
            "calibrate_neurons.leak: the neurons of recipe exact come from insert_neurons",
            "recipe exact chooses it by itself; rate takes it",
        ),
        (
            "light",
            {"calibrate_neurons": {"laek": 0.1}},
            "option of calibrate_neurons 'laek': does not exist",
            "did you mean leak",
        ),
        (
            "light",
            {"calibrate_neurons": {"leak": 0.1}},
            "calibrate_neurons.leak: the neurons of recipe light come from insert_neurons",
            "use --set insert_neurons.leak=0.1",
        ),
        (
            "rate",
            {"calibrate_neurons": {"refractory": 8}},
            r"calibrate_neurons: refractory 8, expected 0 <= value < n_steps 8",
            "a neuron that rests for a whole run fires once",
        ),
        (
            "light",
            {"insert_neurons": {"refractory": 8}},
            r"insert_neurons: refractory 8, expected 0 <= value < n_steps 8",
            "a neuron that rests for a whole run fires once",
        ),
    ],
)
def test_options_in_the_wrong_place_or_range(recipe, given, message, hint, model):
    path, x = model
    with pytest.raises(PassError, match=message) as found:
        convert(path, x, recipe=recipe, n_steps=8, options=given)
    assert str(found.value.hint).startswith(hint)


def test_neurons_that_rest_for_a_whole_run(model):
    path, x = model
    rests = {"insert_neurons": {"refractory": 5}}
    graph = convert(path, x, recipe="light", n_steps=8, options=rests).graph
    evaluate(graph, (x,), n_steps=6)
    with pytest.raises(SimulationError, match=r"rests for 5 steps after a spike, expected fewer"):
        evaluate(graph, (x,), n_steps=5)
