"""Keras networks that are refused: all reasons at once, and a message for every broken setting."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.converter.errors import FormatError, UnsupportedOpError
from spikeport.converter.frontends import read
from spikeport.converter.frontends.keras import config as keras_config
from spikeport.converter.frontends.keras import draft as keras_draft
from spikeport.converter.frontends.keras import translation as keras_translation
from spikeport.converter.frontends.keras.activations import NAMED_ACTIVATIONS

from .keras_writer import (
    Config,
    dense,
    function,
    functional,
    layer,
    placeholder,
    sequential,
    write_h5,
    write_keras,
)

ACTIVATIONS = ", ".join(NAMED_ACTIVATIONS)


def refuse(path: Path, config: Config, match: str) -> FormatError:
    """Expect a damaged file."""
    write_keras(path, config)
    with pytest.raises(FormatError, match=match) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value


def reasons(path: Path, config: Config) -> tuple[str, ...]:
    """Expect reasons why there is no translation."""
    write_keras(path, config)
    with pytest.raises(UnsupportedOpError) as caught:
        read(path)
    count = len(caught.value.reasons)
    start = f"{path}: {count} reasons why it cannot be translated, expected none:"
    assert str(caught.value).splitlines()[0] == start
    assert caught.value.hint is not None
    return caught.value.reasons


def reason(path: Path, config: Config) -> str:
    (found,) = reasons(path, config)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.keras"


# Reasons


def test_all_reasons_at_once(path: Path) -> None:
    nested = sequential((4,), layer("LSTM", "memory", units=3), dense(activation="glu"), name="in")
    assert reasons(
        path,
        sequential(
            (None, 4),
            layer("Lambda", "code", function={"class_name": "__lambda__", "config": {}}),
            dense("custom") | {"registered_name": "Own>Dense"},
            dense("foreign") | {"module": "os"},
            layer("ReLU", "leaky", negative_slope=0.1, threshold=-1.0, max_value=0),
            nested,
            dense("half", dtype={"class_name": "DTypePolicy", "config": {"name": "float16"}}),
            layer("Softmax", "soft", axis=[1, 2]),
        ),
    ) == (
        "code (Lambda): holds Python code, which is never run, expected layers of keras.layers",
        "custom (Dense): is a custom class registered as 'Own>Dense', expected a Keras layer",
        "foreign (Dense): is a custom class of module 'os', expected a Keras layer",
        "leaky (ReLU): max_value is 0, expected a positive number or none",
        "leaky (ReLU): threshold is -1.0, expected a number >= 0",
        "in/memory (LSTM): has no translation, expected a layer that ReLU networks are made of",
        f"in/fc (Dense): activation 'glu' has no translation, expected {ACTIVATIONS}",
        "half (Dense): computes in 'float16', expected float32",
        "soft (Softmax): axis is [1, 2], expected one axis",
        "x (InputLayer): the input shape [None, 4] has a free size, expected a fixed one",
    )


def test_settings_without_translation(path: Path) -> None:
    conv = {"filters": 3, "kernel_size": 2}
    net = sequential(
        (8, 4),
        dense("object", activation={"class_name": "Own", "config": {}}),
        dense("list", activation=["relu"]),
        dense("odd", activation={"class_name": ["ReLU"], "config": {}}),
        dense("foreign", activation={"module": "os", "class_name": "ReLU", "config": {}}),
        dense("inner", activation={"class_name": "ReLU", "config": {"threshold": -1, "own": 1}}),
        layer("Conv1D", "pad", padding="reflect", **conv),
        layer("Conv2D", "causal", padding="causal", **conv),
        layer("Conv1D", "format", data_format="channels_middle", **conv),
        dense("lora", lora_rank=4, quantization_config=None, kernel_initializer={"any": "thing"}),
        layer("DepthwiseConv2D", "groups", groups=2, kernel_size=2),
    )
    assert reasons(path, net) == (
        "object (Dense): the activation is the object 'Own', "
        "expected a name or ReLU, LeakyReLU, ELU, Softmax",
        f"list (Dense): activation ['relu'] has no translation, expected {ACTIVATIONS}",
        "odd (Dense): the activation is the object ['ReLU'], "
        "expected a name or ReLU, LeakyReLU, ELU, Softmax",
        "foreign (Dense): the activation is the object 'ReLU', "
        "expected a name or ReLU, LeakyReLU, ELU, Softmax",
        "inner (Dense): its activation: the setting own=1 is not known, expected none of this name",
        "inner (Dense): its activation: threshold is -1, expected a number >= 0",
        "pad (Conv1D): padding 'reflect' has no translation, expected same, valid, causal",
        "causal (Conv2D): padding 'causal' has no translation, expected same, valid",
        "format (Conv1D): data_format is 'channels_middle', "
        "expected channels_first or channels_last",
        "lora (Dense): the setting lora_rank=4 is not known, expected none of this name",
        "groups (DepthwiseConv2D): groups is 2, expected 1",
    )


def test_calls_without_translation(path: Path) -> None:
    training = layer("Dropout", "drop", ["x"], rate=0.5)
    training["inbound_nodes"][0]["kwargs"] = {"training": True}
    masked = layer("Softmax", "soft", ["drop"])
    masked["inbound_nodes"][0]["kwargs"] = {"mask": [None, 1]}
    constant = layer("Add", "add", ["soft"])
    constant["inbound_nodes"][0]["args"][0] = [constant["inbound_nodes"][0]["args"][0], 1.0]
    two = layer("Add", "two", ["add"])
    two["inbound_nodes"][0]["args"].append(2.0)
    old = layer("Dropout", "old")
    old["inbound_nodes"] = [[["two", 0, 0, {"training": True}]]]
    operation = function("Einsum", "op", "old")
    keyword = function("Pad", "pad", "op")
    keyword["inbound_nodes"][0]["kwargs"] = {"constant_values": 1.0}
    layers = [placeholder((4,)), training, masked, constant, two, old, operation, keyword]
    assert reasons(path, functional(layers, [("pad", 0, 0)])) == (
        "drop (Dropout): is called with training=True, expected a call without it",
        "soft (Softmax): is called with mask=[None, 1], expected a call without it",
        "add (Add): is called with the constant 1.0, expected a tensor",
        "two (Add): is called with 2 arguments, expected one operand",
        "old (Dropout): is called with training=True, expected a call without it",
        "op (ops.Einsum): has no translation, expected a layer that ReLU networks are made of",
        "pad (ops.Pad): is called with constant_values=1.0, expected a call without it",
    )


def test_harmless_calls(path: Path) -> None:
    fc = dense("fc", ["x"])
    call = fc["inbound_nodes"][0]
    call["kwargs"] = {"training": False, "mask": {"a": None}, "inputs": call["args"].pop()}
    write_keras(path, functional([placeholder((4,)), fc], [("fc", 0, 0)]))
    assert read(path).graph.outputs == ("fc",)


def test_functions_in_h5_files(tmp_path: Path) -> None:
    path = tmp_path / "net.h5"
    operation = layer("Softmax", "op", ["x"])
    del operation["config"]["dtype"]
    write_h5(path, functional([placeholder((4,)), operation], [("op", 0, 0)]), {})
    assert read(path).graph.outputs == ("op",)
    operation["class_name"] = "Einsum"
    write_h5(path, functional([placeholder((4,)), operation], [("op", 0, 0)]), {})
    with pytest.raises(UnsupportedOpError, match=r"op \(ops.Einsum\): has no translation"):
        read(path)


def test_models_of_their_own_class(path: Path) -> None:
    assert reason(path, dense()) == "fc (Dense): is no model, expected Sequential or Functional"
    own = sequential((4,), dense()) | {"module": "__main__", "class_name": "MyModel"}
    assert reason(path, own) == (
        "net (MyModel): is a custom class of module '__main__', expected a Keras layer"
    )


def test_models_that_were_never_built(path: Path) -> None:
    net = layer("Sequential", "net", layers=[dense()])
    expected = "input (InputLayer): has no input shape, expected a model that was built"
    assert reason(path, net) == expected


def test_shapes_without_translation(path: Path) -> None:
    norm = layer("BatchNormalization", "norm", axis=2)
    assert reason(path, sequential((3, 4, 5), norm)) == (
        "norm (BatchNormalization): normalizes axis 2 of 4, expected the channels: 1 or 3"
    )
    assert reason(path, sequential((1, 1, 1, 1, 4), dense())) == (
        "fc (Dense): takes samples of shape (1, 1, 1, 1, 4), expected 1 to 4 axes"
    )
    for shape, expected in {
        (3,): "shapes that broadcast",
        (1, 4): "the same number of axes",
    }.items():
        x, y = placeholder((4,)), placeholder(shape, "y")
        added = functional(
            [x, y, layer("Add", "add", [["x", "y"]]), layer("ReLU", "relu", ["add"])],
            [("relu", 0, 0), ("add", 0, 0)],
            [("x", 0, 0), ("y", 0, 0)],
        )
        assert (
            reason(path, added) == f"add (Add): takes shapes [(4,), {shape}], expected {expected}"
        )


def test_reasons_that_need_shapes_are_collected_too(path: Path) -> None:
    x, y = placeholder((4,)), placeholder((3,), "y")
    inner = functional([placeholder((4,), "i")], [("i", 0, 0)], [("i", 0, 0)], "in", ["add"])
    net = functional(
        [x, y, layer("Add", "add", [["x", "y"]]), inner, layer("Add", "other", [["y", "x"]])],
        [("in", 1, 0), ("other", 0, 0)],
        [("x", 0, 0), ("y", 0, 0)],
    )
    assert [each.split()[0] for each in reasons(path, net)] == ["add", "other"]


def test_arrays_in_channels_first_models(path: Path) -> None:
    pool = layer("MaxPooling1D", "pool", pool_size=2, data_format="channels_first")
    net = sequential((3, 4), layer("Rescaling", "scale", scale=[1, 2, 3, 4]), pool)
    assert "scale (Rescaling): scale is an array in a channels_first model" in reason(path, net)


def test_channels_first_with_as_many_columns_as_channels(path: Path) -> None:
    """Keras 3.15 adds the bias along either axis: Conv2D(4, ...) -> [4, height, 4]."""
    conv = layer("Conv1D", "conv", filters=2, kernel_size=3, data_format="channels_first")
    ones = (np.ones((3, 4, 2), np.float32), np.ones(2, np.float32))
    write_keras(path, sequential((4, 4), conv), {"layers/conv1d/vars": ones})
    with pytest.raises(UnsupportedOpError, match=r"conv \(Conv1D\): is channels_first with 2 chan"):
        read(path)
    write_keras(path, sequential((4, 4), conv), {"layers/conv1d/vars": (ones[0], 0 * ones[1])})
    read(path)
    write_keras(path, sequential((4, 5), conv), {"layers/conv1d/vars": ones})
    read(path)


# Damaged configurations


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"class_name": None}, "the model: class_name is None, expected a str"),
        ({"config": []}, r"the model: config is \[\], expected a dict"),
        ({"config": {"name": "net", "layers": 3}}, "net: layers is 3, expected a list"),
        ({"config": {"layers": [3]}}, "the model: a layer is 3, expected an object"),
        ({"config": {"layers": []}}, "the model: has no layers, expected at least one"),
        ({"config": {"layers": [{}]}}, "the model: class_name is None, expected a str"),
        (
            {"config": {"layers": [{"class_name": "Dense", "config": {}}]}},
            "the model: a Dense has no name, expected one",
        ),
    ],
)
def test_broken_models(path: Path, change: Config, match: str) -> None:
    refuse(path, sequential((4,), dense()) | change, match)


def test_names_used_twice(path: Path) -> None:
    refuse(path, sequential((4,), dense(), dense()), r"fc \(Dense\): the name is used twice")


def test_too_many_layers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_config, "MAX_LAYERS", 3)
    nested = sequential((4,), dense(), name="inner")
    refuse(path, sequential((4,), nested), "inner: has more than 3 layers")


@pytest.mark.parametrize("shape", [3, [], ["a"], [None, 0], [None, True], [None, 2.0]])
def test_broken_input_shapes(path: Path, shape: Any) -> None:
    broken = layer("InputLayer", "x", batch_shape=shape)
    net = functional([broken, dense("fc", ["x"])], [("fc", 0, 0)])
    refuse(path, net, r"x \(InputLayer\): the shape is .*, expected \[null, size")


def test_huge_inputs(path: Path) -> None:
    refuse(path, sequential((2**20, 2**20), dense()), r"x \(InputLayer\): shape .* more than")


def test_broken_calls(path: Path) -> None:
    def net(calls: Any) -> Config:
        return functional([placeholder((4,)), dense() | {"inbound_nodes": calls}], [("fc", 0, 0)])

    refuse(path, net(3), r"fc \(Dense\): inbound_nodes is 3, expected a list")
    refuse(path, net([3]), r"fc \(Dense\): a call is 3, expected an object")
    refuse(path, net([{"kwargs": {}}]), r"fc \(Dense\): args is None, expected a list")
    refuse(path, net([{"args": []}]), r"fc \(Dense\): kwargs is None, expected a dict")
    history = {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", -1, 0]}}
    refuse(path, net([{"args": [history], "kwargs": {}}]), r"a tensor is \['x', -1, 0\], expected")
    history["config"] = 3  # type: ignore[assignment]
    refuse(path, net([{"args": [history], "kwargs": {}}]), "config is 3, expected a dict")
    refuse(path, net([[["x"]]]), r"a tensor is \['x'\], expected \[layer, call, output\]")


def test_references_to_nothing(path: Path) -> None:
    def net(operand: Any = "x", output: Any = ("fc", 0, 0), start: Any = ("x", 0, 0)) -> Config:
        layers = [placeholder((4,)), dense("fc", [operand]), layer("ReLU", "unused")]
        return functional(layers, [output], [start])

    missing = r"takes \['no', 0, 0\], expected a result that exists"
    refuse(path, net(("no", 0, 0)), rf"fc \(Dense\): {missing}")
    refuse(path, net(output=("no", 0, 0)), f"outputs of net: {missing}")
    refuse(path, net(start=("no", 0, 0)), f"inputs of net: {missing}")
    refuse(path, net(("x", 1, 0)), r"takes \['x', 1, 0\], expected")
    refuse(path, net(("x", 0, 1)), r"takes \['x', 0, 1\], expected")
    refuse(path, net(output=("unused", 0, 0)), r"takes \['unused', 0, 0\], expected")
    refuse(path, net(start=("fc", 0, 0)), r"fc \(Dense\): is an input of net, expected an Input")
    broken = net()
    broken["config"]["output_layers"] = 3
    refuse(path, broken, r"outputs of net: a tensor is 3, expected \[layer, call, output\]")


def test_inputs_that_are_none_of_the_model(path: Path) -> None:
    layers = [placeholder((4,)), placeholder((4,), "y"), layer("ReLU", "relu", ["y"])]
    net = functional(layers, [("relu", 0, 0)])
    refuse(path, net, r"y \(InputLayer\): is no input of its model, expected all to be")
    refuse(path, sequential((4,), dense(), placeholder((3,), "y")), r"y \(InputLayer\): is no inp")


def test_cycles(path: Path) -> None:
    loop = [layer("Add", "a", [["x", "b"]]), layer("ReLU", "b", ["a"])]
    net = functional([placeholder((4,)), *loop], [("b", 0, 0)])
    refuse(path, net, r"b \(ReLU\): takes its own result|a \(Add\): takes its own result")


def test_many_calls(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that call the next one twice: 2^20 calls in a file of a few kB."""
    net = layer("ReLU", "m0")
    for depth in range(1, 20):
        before = f"m{depth - 1}"
        twice = layer(net["class_name"], before, ["i", (before, 0, 0)])["inbound_nodes"]
        layers = [placeholder((4,), "i"), net | {"inbound_nodes": twice}]
        last = (before, 1 + (depth > 1), 0)
        net = functional(layers, [last], [("i", 0, 0)], f"m{depth}")
    monkeypatch.setattr(keras_translation, "MAX_CALLS", 1000)
    refuse(path, net, r"is called after 1000 calls, expected fewer")
    monkeypatch.undo()
    monkeypatch.setattr(keras_draft, "MAX_NODES", 1000)
    refuse(path, net, "more than 1000 nodes, expected at most as many")


def test_numbers_of_operands(path: Path) -> None:
    layers = [placeholder((4,)), dense("fc", [["x", "x"]])]
    net = functional(layers, [("fc", 0, 0)])
    refuse(path, net, r"fc \(Dense\): is called with 2 tensors, expected 1")
    layers = [placeholder((4,)), layer("Add", "add", [[]])]
    net = functional(layers, [("add", 0, 0)])
    refuse(path, net, r"add \(Add\): is called with 0 tensors, expected >= 1")


def test_nested_models_called_with_other_shapes(path: Path) -> None:
    # Keras itself drops or adds a last axis of size 1 here.
    inner = sequential((4, 1), layer("Flatten", "flat"), name="inner")
    refuse(path, sequential((4,), inner), r"inner \(Sequential\): is called with shapes \[\(4,\)\]")
    free = sequential((None, 1), layer("Flatten", "flat"), name="inner")
    write_keras(path, sequential((4, 1), free))
    assert read(path).graph.types["inner/flat"].shape == (4,)


def test_calls_of_nested_models_that_cannot_be_told(path: Path) -> None:
    inner = sequential((4,), layer("ReLU", "relu"), name="inner")
    inner["inbound_nodes"] = [[["x", 0, 0, {}]], [["x", 0, 0, {}]]]
    net = functional([placeholder((4,)), inner], [("inner", 1, 0)])
    error = refuse(path, net, r"inner \(Sequential\): not all of its 2 calls are used")
    assert "Keras 3" in str(error.hint)
    net = functional([placeholder((4,)), inner], [("inner", 1, 0), ("inner", 2, 0)])
    write_keras(path, net)
    assert read(path).graph.outputs == ("inner/relu", "inner/2/relu")
    net = functional([placeholder((4,)), inner], [("inner", 0, 0), ("inner", 1, 0)])
    write_keras(path, net)
    assert read(path).graph.outputs == ("inner/relu", "inner/2/relu")


# Broken settings


CONV = {"filters": 2, "kernel_size": [2], "padding": "valid"}
POOL = {"pool_size": 2}
SETTINGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "units": ("Dense", {"units": 2.5}, "units is 2.5, expected a positive whole number"),
    "units-true": ("Dense", {"units": True}, "units is True, expected a positive whole number"),
    "units-huge": ("Dense", {"units": 2**40}, "units is 1099511627776, expected a positive"),
    "use_bias": ("Dense", {"units": 2, "use_bias": 1}, "use_bias is 1, expected true or false"),
    "kernel": ("Conv1D", {**CONV, "kernel_size": [2, 2]}, r"kernel_size is \[2, 2\], expected 1 p"),
    "strides": ("Conv1D", {**CONV, "strides": 0}, "strides is 0, expected 1 positive whole"),
    "groups": ("Conv1D", {**CONV, "groups": 3}, "has 3 groups for 4 channels in and 2 out"),
    "axes": ("Conv2D", {**CONV, "kernel_size": 2}, r"takes samples of shape \(8, 4\), expected 3"),
    "window": ("MaxPooling1D", {"pool_size": 9}, r"window \(9,\) does not fit"),
    "pool-strides": ("MaxPooling1D", {**POOL, "strides": "a"}, "strides is 'a', expected 1 posit"),
    "mode": ("MaxPooling1D", {**POOL, "padding": 1}, "padding is 1, expected a text"),
    "axis": ("BatchNormalization", {"axis": 3}, "axis is 3, expected an axis of samples of shape"),
    "batch-axis": ("Softmax", {"axis": 0}, "axis is 0, expected an axis of samples"),
    "axis-text": ("Softmax", {"axis": "a"}, "axis is 'a', expected whole numbers"),
    "two-axes": ("BatchNormalization", {"axis": [1, 2]}, r"axis is \[1, 2\], expected one axis"),
    "padding": ("ZeroPadding1D", {"padding": [-1, 0]}, r"padding is \[-1, 0\], expected 1 pairs"),
    "padding-2": ("ZeroPadding1D", {"padding": [1, 2, 3]}, "expected 1 pairs of sizes"),
    "huge-padding": ("ZeroPadding1D", {"padding": 2**30}, "more than 2147483648 elements"),
    "reshape": ("Reshape", {"target_shape": [5, -1]}, "32 entries, expected -5"),
    "reshape-zero": ("Reshape", {"target_shape": [0, -1]}, "expected 0 for shape"),
    "reshape-text": ("Reshape", {"target_shape": "a"}, "target_shape is 'a', expected whole"),
    "permute": ("Permute", {"dims": [1, 1]}, r"permutation \(0, 0\) does not fit"),
    "scale": ("Rescaling", {"scale": "1"}, "scale is '1', expected numbers"),
    "no-scale": ("Rescaling", {}, "scale is None, expected numbers"),
    "ragged": (
        "Rescaling",
        {"scale": [[1], [2, 3]]},
        r"scale is \[\[1\], \[2, 3\]\], expected num",
    ),
    "numpy": (
        "Rescaling",
        {"scale": {"class_name": "__numpy__", "config": 3}},
        "scale is .*, expected numbers",
    ),
    "scale-rank": ("Rescaling", {"scale": [[[1]]]}, r"scale has shape \(1, 1, 1\), expected one"),
    "scale-shape": ("Rescaling", {"scale": [1, 2]}, r"scale has shape \(1, 2\), expected one that"),
    "infinite": ("Rescaling", {"scale": 1e300}, "a parameter holds NaN or infinity"),
    "variance": (
        "Normalization",
        {"axis": -1, "mean": 0, "variance": -1},
        "a variance is negative, expected none",
    ),
    "mean-rank": (
        "Normalization",
        {"axis": None, "mean": [0], "variance": [1]},
        r"mean has shape \(1,\), expected one that broadcasts to \(1, 1\)",
    ),
    "mean-shape": (
        "Normalization",
        {"axis": -1, "mean": [0, 1], "variance": [1, 1]},
        r"mean has shape \(2,\), expected one that broadcasts to \(1, 4\)",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_broken_settings(path: Path, case: str) -> None:
    class_name, settings, match = SETTINGS[case]
    config = sequential((8, 4), layer(class_name, "broken", **settings))
    refuse(path, config, rf"broken \({class_name}\): .*{match}")


def test_broken_epsilon(path: Path) -> None:
    norm = layer("BatchNormalization", "norm", epsilon="a", scale=False, center=False)
    ones = (np.ones(4, np.float32),) * 2
    write_keras(path, sequential((4,), norm), {"layers/batch_normalization/vars": ones})
    with pytest.raises(FormatError, match=r"norm \(Batch.*: epsilon is 'a', expected a number"):
        read(path)
    zeros = (ones[0], 0 * ones[0])
    net = sequential(
        (4,), layer("BatchNormalization", "norm", epsilon=0, scale=False, center=False)
    )
    write_keras(path, net, {"layers/batch_normalization/vars": zeros})
    with pytest.raises(FormatError, match=r"norm \(Batch.*: variance \+ epsilon is not positive"):
        read(path)


# Networks that Keras wrote or holds


@pytest.fixture(scope="module")
def keras() -> Any:
    return pytest.importorskip("keras")


def test_a_malicious_file_executes_nothing(keras: Any, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    attack = lambda x, path=str(trap): Path(path).touch() or x  # noqa: E731 - saved as its bytes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(attack)])
        trap.unlink()  # building the model has run the code
        for suffix in (".keras", ".h5"):
            model.save(tmp_path / f"net{suffix}")
    for source in (tmp_path / "net.keras", tmp_path / "net.h5", model):
        with pytest.raises(UnsupportedOpError, match=r"\(Lambda\): holds Python code, which is ne"):
            read(source)
    assert not trap.exists()


def test_objects_hidden_in_settings_are_never_built(keras: Any, path: Path) -> None:
    """Keras would import and call what `module` and `class_name` name."""
    trap = path.with_name("trap")
    attack = {
        "module": "builtins",
        "class_name": "function",
        "config": "exec",
        "registered_name": f"open({str(trap)!r}, 'w')",
    }
    hidden = dense(kernel_initializer=attack, activity_regularizer=attack, kernel_constraint=attack)
    net = sequential((4,), hidden)
    net["compile_config"] = {"optimizer": attack, "loss": attack}
    net["build_config"] = attack
    write_keras(path, net)
    source = read(path)
    assert source.run((np.ones((1, 4), np.float32),))[0].tolist() == [[4.0] * 3]
    assert not trap.exists()


def test_custom_layers_in_memory(keras: Any, tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable(package="tests")
    class Twice(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    class Plain(keras.layers.Dense):
        pass

    layers = [keras.layers.Input((4,)), Twice(name="twice"), Plain(3, name="plain")]
    model = keras.Sequential(layers)
    model.save(tmp_path / "net.keras")
    for source in (model, tmp_path / "net.keras"):
        with pytest.raises(UnsupportedOpError) as caught:
            read(source)
        assert [each.split(" is ")[0] for each in caught.value.reasons] == [
            "twice (Twice):",
            "plain (Plain):",
        ]


def test_models_in_memory_that_cannot_be_serialized(keras: Any) -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(UnsupportedOpError, match=r"own \(Own\): is a custom class of module"):
        read(Own(name="own"))

    class Broken(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x

        def get_config(self) -> Any:
            raise ZeroDivisionError("broken")

    model = keras.Sequential([keras.layers.Input((4,)), Broken()], name="net")
    with pytest.raises(UnsupportedOpError, match="model net: cannot be serialized, expected a Seq"):
        read(model)


def test_layers_that_a_sequential_uses_twice(keras: Any) -> None:
    twice = keras.layers.Dense(4, name="twice")
    inner = keras.Sequential([keras.layers.Input((4,)), twice, keras.layers.ReLU(), twice])
    with pytest.raises(UnsupportedOpError, match="uses layers of a Sequential more than once") as e:
        read(keras.Sequential([keras.layers.Input((4,)), inner], name="net"))
    assert e.value.reasons == ("twice: is used 2 times",)
    assert "functional" in str(e.value.hint)


def test_what_is_no_model(keras: Any) -> None:
    with pytest.raises(FormatError, match=r"Dense: is no Keras model, expected keras.Model"):
        read(keras.layers.Dense(3))


def test_a_model_in_memory_that_was_never_built(keras: Any) -> None:
    with pytest.raises(UnsupportedOpError, match="has no input shape, expected a model that was"):
        read(keras.Sequential([keras.layers.Dense(3)]))
