import numpy as np
import pytest

from spikeport.converter.convert import convert, describe_samples
from spikeport.converter.equality import (
    Reference,
    choose_inputs,
    compare_with_reference,
    compare_with_source,
    relative_error,
)
from spikeport.converter.errors import (
    ConversionError,
    DataError,
    FormatError,
    PassError,
    UnsupportedOpError,
    find,
)
from spikeport.converter.frontends import Source, read
from spikeport.converter.ir import Graph, IntegrateFire, Node, run
from spikeport.converter.ir.ops import Conv, Dense, Flatten, Input, Relu, Sigmoid, Softmax
from spikeport.converter.ir.preprocessing import Preprocessing, read_preprocessing
from spikeport.converter.recipes import RECIPES, choose_options, parse_options

RANDOM = np.random.default_rng(5)
X = RANDOM.uniform(0, 1, (40, 1, 6, 6)).astype(np.float32)


def small_graph() -> Graph:
    random = np.random.default_rng(1)
    conv = Conv(random.normal(size=(4, 1, 3, 3)), np.zeros(4), (1, 1), (1, 1), ((1, 1),) * 2)
    return Graph(
        (
            Node("x", Input((1, 6, 6))),
            Node("conv", conv, ("x",)),
            Node("relu", Relu(), ("conv",)),
            Node("flat", Flatten(), ("relu",)),
            Node("logits", Dense(random.normal(size=(3, 144)), np.ones(3)), ("flat",)),
            Node("softmax", Softmax(0), ("logits",)),
        ),
        ("x",),
        ("softmax",),
        {"source": {"sha256": "0" * 64, "name": "small"}},
    )


def small_source(graph: Graph | None = None) -> Source:
    true = small_graph()
    return Source(graph or true, lambda inputs: run(true, inputs), "small", "0" * 64)


def bounded_source() -> Source:
    """The same with bounded ReLUs, as training under constraints gives them."""
    graph = small_graph()
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Relu):
            rank = len(graph.types[node.name].shape)
            node = Node(node.name, Relu(np.full((1,) * rank, 2.0, np.float32)), node.inputs)
        nodes.append(node)
    graph = graph.replace(nodes=tuple(nodes))
    return Source(graph, lambda inputs: run(graph, inputs), "small", "0" * 64)


def test_convert_gives_a_spiking_graph_and_says_how():
    steps: list[str] = []
    conversion = convert(small_source(), X, n_steps=16, progress=steps.append)
    graph = conversion.graph
    assert isinstance(graph.by_name["relu"].op, IntegrateFire)
    assert graph.outputs == ("logits",)
    assert steps == ["read", *RECIPES["rate"].passes]
    assert [entry.step for entry in conversion.log] == steps
    errors = [entry.relative_error for entry in conversion.log]
    assert errors[-1] is None
    assert all(error is not None and error < 1e-5 for error in errors[:-2])
    assert graph.metadata["readout"] == [{"function": "softmax", "axis": 0}]
    assert graph.metadata["n_steps"] == 16
    assert graph.metadata["recipe"] == "rate"
    assert graph.metadata["calibration"]["n_samples"] == 40
    assert [entry["name"] for entry in graph.metadata["passes"]] == list(RECIPES["rate"].passes)
    options = {entry["name"]: entry["options"] for entry in graph.metadata["passes"]}
    assert options["calibrate_neurons"]["fit_weights"] is True
    assert options["place_poolings"] == {"max_pool": "counts", "average_pool": "linear"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_runs_and_its_options_exist(recipe):
    from spikeport.converter.passes import PASSES

    source = small_source()
    if "use_trained_thresholds" in RECIPES[recipe].passes:
        source = bounded_source()
    graph = convert(source, X, recipe=recipe).graph
    assert graph.metadata["recipe"] == recipe
    for name, options in RECIPES[recipe].options.items():
        assert name in RECIPES[recipe].passes
        assert set(options) <= set(PASSES[name].options)


def test_options_go_over_those_of_the_recipe():
    options = {"normalize_weights": {"percentile": 100.0}}
    graph = convert(small_source(), X, recipe="classic", options=options).graph
    settings = {entry["name"]: entry["options"] for entry in graph.metadata["passes"]}[
        "normalize_weights"
    ]
    assert settings == {"percentile": 100.0, "per_channel": False, "rule": "activations"}


def test_misread_network_is_refused():
    wrong = small_graph()
    nodes = tuple(
        Node("conv", Conv(2 * n.op.weight, n.op.bias, (1, 1), (1, 1), ((1, 1),) * 2), n.inputs)
        if isinstance(n.op, Conv)
        else n
        for n in wrong.nodes
    )
    with pytest.raises(ConversionError, match=r"softmax \(Softmax\): differs from the source after "
                       r"reading: .* at \(\d+, \d+\), expected .* \(relative error"):  # fmt: skip
        convert(small_source(wrong.replace(nodes=nodes)), X)


def test_gate_names_the_first_node_that_differs():
    graph = small_graph()
    inputs = choose_inputs((X,))
    reference, error = compare_with_source(graph, inputs, run(graph, inputs))
    assert error == 0
    nodes = tuple(
        Node(n.name, Relu(np.full((1, 1, 1), 0.1)), n.inputs) if isinstance(n.op, Relu) else n
        for n in graph.nodes
    )
    with pytest.raises(ConversionError, match=r"relu \(Relu\): differs .* after my_pass: 0.1 at"):
        compare_with_reference(graph.replace(nodes=nodes), reference, "my_pass")


def test_gate_sees_another_shape_and_another_number_of_outputs():
    graph = small_graph()
    reference = Reference((X,), {"logits": np.zeros((40, 5), np.float32)})
    with pytest.raises(ConversionError, match=r"shape \(40, 3\), expected \(40, 5\)"):
        compare_with_reference(graph, reference, "a pass")
    with pytest.raises(ConversionError, match="the source gave 0 outputs, the graph has 1"):
        compare_with_source(graph, (X,), ())


def test_relative_error():
    a = np.array([1.0, -4.0], np.float32)
    assert relative_error(a, np.array([1.0, -3.0], np.float32)) == 0.25
    assert relative_error(a, np.array([1.0, np.nan], np.float32)) == float("inf")
    assert relative_error(0 * a, 0 * a) == 0
    assert relative_error(0 * a, a) == float("inf")
    infinite = np.array([np.inf, 1.0], np.float32)
    assert relative_error(infinite, infinite) == float("inf")


def test_gate_inputs_are_calibration_samples_and_noise_of_their_range():
    (inputs,) = choose_inputs((X,))
    np.testing.assert_array_equal(inputs[:4], X[:4])
    assert X[:4].min() <= inputs[4:].min()
    assert inputs[4:].max() <= X[:4].max()


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (X[:0], "calibration: has no samples"),
        (X[:, :, :5], r"calibration: x \(Input\): got an array of shape .*, expected \(40, 1, 6"),
        (np.full_like(X, np.nan), "calibration: holds NaN or infinity"),
        ((X, X), "calibration: got 2 input arrays, expected 1"),
        (np.full_like(X, 0.5), "calibration: every value is 0.5, expected samples like those"),
        (np.zeros_like(X), "calibration: every value is 0, expected samples like those"),
    ],
)
def test_calibration_that_does_not_fit(samples, message):
    with pytest.raises(DataError, match=message):
        convert(small_source(), samples)


def test_unknown_recipe_offers_the_nearest_name():
    with pytest.raises(PassError, match="recipe 'clasic': does not exist") as caught:
        convert(small_source(), X, recipe="clasic")
    assert "did you mean classic?" in str(caught.value.hint)


def test_a_pass_outside_the_recipe():
    with pytest.raises(PassError, match="pass 'nothing': is not part of recipe rate"):
        convert(small_source(), X, options={"nothing": {}})


def test_levels_that_passes_do_not_share():
    options = {"insert_graded_neurons": {"levels_per_step": 7}}
    message = r"recipe graded: .*normalize_for_steps\.levels_per_step 15.* 7, expected one number"
    with pytest.raises(PassError, match=message) as caught:
        choose_options("graded", options)
    assert "--set correct_quantization.levels_per_step=7" in str(caught.value.hint)
    passes = ("normalize_for_steps", "correct_quantization", "insert_graded_neurons")
    chosen = choose_options("graded", {name: {"levels_per_step": 7} for name in passes})
    assert {chosen[name]["levels_per_step"] for name in passes} == {7}


@pytest.mark.parametrize("n_steps", [0, 2.5, True, 10**23])
def test_steps_are_an_integer_within_bounds(n_steps):
    with pytest.raises(PassError, match=f"n_steps {n_steps}, expected an integer of") as caught:
        convert(small_source(), X, n_steps=n_steps)
    assert caught.value.hint == "64 is the default"


@pytest.mark.parametrize(
    ("name", "option", "value", "message", "hint"),
    [
        ("normalize_weights", "percentil", 1, "'percentil': does not", "did you mean percentile?"),
        (
            "normalize_weights",
            "calibration",
            X,
            "'calibration': does not exist",
            "no name is like it",
        ),
        ("normalize_weights", "percentile", "9", "'9' is not a number", "percentile=99.9"),
        ("normalize_weights", "percentile", True, "True is not a number", "percentile=99.9"),
        ("normalize_weights", "per_channel", 1, "1 is not true or false", "per_channel=true"),
        ("insert_neurons", "reset", "substract", "'substract': does", "did you mean subtract?"),
        ("insert_neurons", "reset", 3, "insert_neurons.reset 3: does", "no name is like it"),
        ("remove_no_ops", "a", 1, "'a': does not exist, the pass has no options", "recipes lists"),
    ],
)
def test_options_that_are_refused_before_any_work(name, option, value, message, hint):
    with pytest.raises(PassError, match=message) as caught:
        convert("missing.onnx", X, recipe="classic", options={name: {option: value}})
    assert hint in caught.value.hint


def test_parse_options():
    settings = (
        "normalize_weights.percentile=99",
        "normalize_weights.per_channel=False",
        "insert_neurons.reset=zero",
    )
    assert parse_options(settings) == {
        "normalize_weights": {"percentile": 99.0, "per_channel": False},
        "insert_neurons": {"reset": "zero"},
    }


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("percentile=99", r"--set percentile=99: expected PASS.OPTION=VALUE"),
        ("normalize_weights.percentile", "expected PASS.OPTION=VALUE"),
        ("normalise_weights.percentile=9", "pass 'normalise_weights': does not exist"),
        ("normalize_weights.percent=9", "option of normalize_weights 'percent': does not exist"),
        ("normalize_weights.percentile=high", "'high' is not a number, expected a value like 99.9"),
        ("remove_no_ops.foo=1", "'foo': does not exist, the pass has no options"),
        ("insert_neurons.reset=substract", "'substract': does not exist, expected one of sub"),
        ("normalize_weights.per_channel=1", "'1' is not true or false, expected a value like true"),
    ],
)
def test_settings_that_are_refused(setting, message):
    with pytest.raises(PassError, match=message):
        parse_options((setting,))


def test_find_without_a_near_name():
    with pytest.raises(PassError, match="thing 'zzz': does not exist, expected one of a") as caught:
        find({"a": 1}, "zzz", "thing")
    assert caught.value.hint == "no name is like it: choose one of those"


def test_read_refuses_what_is_no_network_file(tmp_path):
    with pytest.raises(FormatError, match="is a folder, expected a file"):
        read(tmp_path)
    with pytest.raises(FormatError, match="no such file, expected a file"):
        read(tmp_path / "missing.keras")
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(FormatError, match=r"has the suffix '.pt', expected .keras"):
        read(str(tmp_path / "a.pt"))
    with pytest.raises(FormatError, match=r"cannot be read \(File name too long\)") as caught:
        read("a" * 5000)
    assert caught.value.hint == "check the name and its permissions"


def test_description_of_samples_depends_on_their_values():
    first, second = describe_samples((X,), "a"), describe_samples((X + 1,), "a")
    assert first["sha256"] != second["sha256"]
    assert first["low"] == [pytest.approx(float(X.min()))]


def test_operations_without_a_translation_are_refused_before_any_work():
    graph = small_graph()
    nodes = (*graph.nodes, Node("more", Relu(), ("softmax",)), Node("s", Sigmoid(), ("relu",)))
    steps: list[str] = []
    with pytest.raises(UnsupportedOpError, match="2 of its operations have no spiking") as caught:
        convert(
            small_source(graph.replace(nodes=nodes, outputs=("more", "s", "s"))),
            X[:0],
            progress=steps.append,
        )
    assert [reason.split(":")[0] for reason in caught.value.reasons] == [
        "softmax (Softmax)",
        "s (Sigmoid)",
    ]
    assert steps == ["read"]


def test_preprocessing_is_kept_and_checked():
    source = small_source()
    given = Preprocessing((2.0,), (0.5,))
    graph = convert(source, X, preprocessing=given).graph
    assert read_preprocessing(graph) == given
    assert read_preprocessing(small_graph()) == Preprocessing()
    wrong_ones = (
        {"scale": 1.0}, {"scale": "1", "offset": 0.0}, [1, 0], {"scale": [], "offset": 0.0},
        {"scale": 1.0, "offset": [0.0, None]}, {"scale": 1.0, "offset": 0.0, "mean": 1.0},
        {"scale": 1.0, "offset": 0.0, "reverse_channels": 1}, {"scale": 10**400, "offset": 0.0},
    )  # fmt: skip
    for wrong in wrong_ones:
        damaged = graph.replace(metadata={"preprocessing": wrong})
        with pytest.raises(DataError, match=r"metadata: preprocessing is .*, expected the numbers"):
            read_preprocessing(damaged)
