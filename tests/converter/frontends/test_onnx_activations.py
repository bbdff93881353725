"""Activations, bounds, comparisons and arithmetic of tensors: what is read equals onnxruntime."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from spikeport.converter.check import check as find
from spikeport.converter.check import refusals
from spikeport.converter.convert import convert
from spikeport.converter.errors import UnsupportedOpError
from spikeport.converter.frontends.onnx import read_onnx
from spikeport.converter.ir import Activation, run

from .onnx_writer import NEWEST, Case, Writer, cases_of, check, on, op_names


def with_slope(*sizes: int) -> Case:
    return lambda w: w.op("PRelu", w.input(3, 4, 5), w.draw(*sizes))


def bounded(low: float | None, high: float | None, relu: bool = False) -> Case:
    def build(w: Writer) -> str:
        x = w.op("Relu", w.input(3, 4)) if relu else w.input(3, 4)
        if w.opset < 11:
            bounds = {"min": low, "max": high}
            return w.op("Clip", x, **{k: v for k, v in bounds.items() if v is not None})
        return w.op("Clip", x, *("" if v is None else w.constant(v) for v in (low, high)))

    return build


def tensors(op_type: str, *shapes: tuple[int, ...]) -> Case:
    return lambda w: w.op(op_type, *(w.input(*s, name="xyz"[i]) for i, s in enumerate(shapes)))


def mixed(op_type: str) -> Case:
    """Two tensors and two constants."""
    return lambda w: w.op(
        op_type, w.input(3, 4), w.draw(4, scale=0.1), w.input(3, 4, name="y"), w.draw(3, 1)
    )


def selected(comparison: str, bound: float, inside: str, outside: str, first: bool = False) -> Case:
    """Where(x > bound, inside, outside) of x, a multiple of x, or zero."""

    def build(w: Writer) -> str:
        x, c = w.input(3, 4), w.constant(bound)
        values = {
            "x": lambda: x,
            "0": lambda: w.constant(0.0),
            "ax": lambda: w.op("Mul", x, w.constant(0.3)),
            "ex": lambda: w.op("Mul", w.positive(4), x),
        }
        mask = w.op(comparison, *((c, x) if first else (x, c)))
        return w.op("Where", mask, values[inside](), values[outside]())

    return build


def keras_threshold(w: Writer) -> str:
    """ReLU(threshold=0.5) as Keras exports it."""
    x = w.input(3, 4)
    mask = w.op("Greater", x, w.constant(0.5))
    below = w.op("Mul", w.constant(0.0), w.op("Cast", w.op("Not", mask), to=1))
    return w.op("Add", w.op("Mul", w.op("Cast", mask, to=1), x), below)


def keras_leaky(w: Writer) -> str:
    """PReLU as Keras exports it."""
    x = w.conv(w.input(2, 5, 5), 3, 2, 3, 3)
    y = w.op("Mul", w.op("Relu", w.op("Neg", x)), w.draw(3, 1, 1))
    return w.op("Add", w.op("Relu", x), y)


def scaled_mask(w: Writer) -> str:
    x = w.input(3, 4)
    mask = w.op("Cast", w.op("Less", w.constant(0.0), x), to=1)
    return w.op("Mul", x, w.op("Mul", mask, w.constant(2.5)))


def erf_gelu(order: str) -> Case:
    """x / 2 (1 + erf(x / sqrt(2))): x, g (the gate) and h (a half) multiplied in an order."""

    def build(w: Writer) -> str:
        x = w.input(3, 4)
        error = w.op("Erf", w.op("Div", x, w.constant(2**0.5)))
        factors = {"x": x, "g": w.op("Add", error, w.constant(1.0)), "h": w.constant(0.5)}
        a, b, c = (factors[letter] for letter in order)
        return w.op("Mul", w.op("Mul", a, b), c)

    return build


def tanh_gelu(power: bool) -> Case:
    def build(w: Writer) -> str:
        x = w.input(3, 4)
        cube = w.op("Pow", x, w.constant(3.0)) if power else w.op("Mul", x, w.op("Mul", x, x))
        inner = w.op("Add", x, w.op("Mul", w.constant(0.044715), cube))
        gate = w.op("Tanh", w.op("Mul", inner, w.constant(0.7978845608)))
        gate = w.op("Add", gate, w.constant(1.0))
        return w.op("Mul", w.op("Mul", w.constant(0.5), x), gate)

    return build


def clip_swish(w: Writer) -> str:
    """As torchvision's MobileNetV3 is exported."""
    x = w.conv(w.input(2, 5, 5), 3, 2, 3, 3)
    gate = bounded_by(w, w.op("Add", x, w.constant(3.0)), 0.0, 6.0)
    return w.op("Div", w.op("Mul", x, gate), w.constant(6.0))


def bounded_by(w: Writer, x: str, low: float, high: float) -> str:
    if w.opset < 11:
        return w.op("Clip", x, min=low, max=high)
    return w.op("Clip", x, w.constant(low), w.constant(high))


def mish(w: Writer) -> str:
    x = w.op("Relu", w.input(3, 4))
    return w.op("Mul", w.op("Tanh", w.op("Softplus", x)), x)


def behind_log_softmax(op_type: str) -> Case:
    """What is not negative is not bounded from below; a LogSoftmax is negative."""
    return lambda w: w.op(op_type, w.op("LogSoftmax", w.input(3), axis=1), w.constant(-1.0))


CASES = cases_of(
    (9, NEWEST, {
        "gelu gate": erf_gelu("ghx"),
        "gelu half": erf_gelu("hxg"),
        "gelu last": erf_gelu("xgh"),
    }),
    (8, NEWEST, {
        "max of log softmax": behind_log_softmax("Max"),
        "min of log softmax": behind_log_softmax("Min"),
    }),
    (7, NEWEST, {
        "gelu by tanh": tanh_gelu(power=False),
        "gelu by tanh and pow": tanh_gelu(power=True),
        "hard swish by clip": clip_swish,
        "hard swish by hard sigmoid": lambda w: w.op(
            "Mul", w.op("HardSigmoid", w.input(3, 4), alpha=1 / 6, beta=0.5), "x"
        ),
        "lrn": on("LRN", 5, 4, 3, size=3, alpha=0.5, beta=0.6, bias=1.5),
        "lrn default": on("LRN", 7, 4, 3, size=5),
        "mish by tanh": mish,
        "abs": on("Abs", 3, 4),
        "add broadcast": tensors("Add", (3, 1, 5), (1, 4, 5)),
        "add constant larger": lambda w: w.op("Add", w.input(3, 1), w.draw(3, 4)),
        "clip all": bounded(None, None),
        "clip behind relu": bounded(-1.0, 0.5, relu=True),
        "clip both": bounded(-0.5, 0.25),
        "clip high": bounded(None, 0.5),
        "clip low": bounded(-0.5, None),
        "clip positive": bounded(0.25, 1.5),
        "elu": on("Elu", 3, 4, alpha=0.7),
        "exp": on("Exp", 3, 4),
        "hard sigmoid": on("HardSigmoid", 3, 4, alpha=0.3, beta=0.4),
        "leaky relu": on("LeakyRelu", 3, 4, alpha=0.2),
        "leaky relu default": on("LeakyRelu", 3, 4),
        "leaky relu rows": lambda w: w.op(
            "Reshape",
            w.op("LeakyRelu", w.op("Reshape", w.input(3, 4), w.integers(-1, 4))),
            w.integers(-1, 3, 4),
        ),
        "mul constant larger": lambda w: w.op("Mul", w.draw(2, 4), w.input(2, 1)),
        "prelu channels": with_slope(3, 1, 1),
        "prelu entries": with_slope(3, 4, 5),
        "prelu keras": keras_leaky,
        "prelu one": with_slope(1),
        "selu": on("Selu", 3, 4),
        "selu factors": on("Selu", 3, 4, alpha=1.2, gamma=0.9),
        "silu": lambda w: w.op("Mul", w.input(3, 4), w.op("Sigmoid", "x")),
        "silu gate first": lambda w: w.op("Mul", w.op("Sigmoid", w.input(3, 4)), "x"),
        "softplus": on("Softplus", 3, 4),
        "softsign": on("Softsign", 3, 4),
        "sub broadcast": tensors("Sub", (3, 4), (3, 1)),
        "tanh": on("Tanh", 3, 4),
    }),
    (8, NEWEST, {
        "max and min": lambda w: w.op(
            "Max", w.op("Min", w.op("Relu", w.input(3, 4)), w.constant(0.7)), w.constant(0.0)
        ),
        "max constant": lambda w: w.op("Max", w.input(3, 4), w.draw(4)),
        "max of one": on("Max", 3, 4),
        "max tensors": tensors("Max", (3, 4, 5), (3, 4, 5), (3, 4, 5)),
        "max tensors broadcast": tensors("Max", (3, 1), (3, 4)),
        "max vectors": tensors("Max", (5,), (5,)),
        "mean constants": mixed("Mean"),
        "mean one": on("Mean", 3, 4),
        "mean tensors": tensors("Mean", (3, 4), (3, 4), (3, 1)),
        "min and max": lambda w: w.op(
            "Max", w.op("Min", w.input(3, 4), w.constant(0.5)), w.constant(-0.5)
        ),
        "min constant": lambda w: w.op("Min", w.draw(3, 1), w.input(3, 4)),
        "min of one": on("Min", 3, 4),
        "min tensors": tensors("Min", (3, 4), (3, 4)),
        "mixed max": mixed("Max"),
        "mixed min": mixed("Min"),
        "sum constants": mixed("Sum"),
        "sum of one": on("Sum", 3, 4),
    }),
    (9, NEWEST, {
        "scaled mask": scaled_mask,
        "thresholded keras": keras_threshold,
        "where leaky above": selected("Greater", 0.0, "x", "ax"),
        "where below": selected("Less", 0.0, "x", "0"),
        "where leaky": selected("Less", 0.0, "ex", "x"),
        "where leaky below": selected("Less", 0.0, "ax", "0"),
        "where relu": selected("Greater", 0.0, "x", "0"),
        "where reversed": selected("Greater", 0.0, "0", "x", first=True),
        "where thresholded": selected("Greater", -0.3, "x", "0"),
    }),
    (10, NEWEST, {
        "thresholded relu": on("ThresholdedRelu", 3, 4, alpha=0.4),
        "thresholded relu at zero": on("ThresholdedRelu", 3, 4, alpha=0.0),
    }),
    (12, NEWEST, {
        "celu": on("Celu", 3, 4, alpha=0.6),
        "where or equal": selected("GreaterOrEqual", 0.0, "x", "0"),
        "where not above": selected("LessOrEqual", 0.5, "0", "x"),
    }),
    (14, NEWEST, {"hard swish": on("HardSwish", 3, 4)}),
    (18, NEWEST, {"mish": on("Mish", 3, 4)}),
    (20, NEWEST, {
        "gelu": on("Gelu", 3, 4),
        "gelu tanh": on("Gelu", 3, 4, approximate="tanh"),
    }),
)  # fmt: skip


@pytest.mark.parametrize(("case", "opset"), CASES)
def test_operator_equals_onnxruntime(case: str, opset: int, tmp_path: Path) -> None:
    w = Writer(opset)
    check(w.save(tmp_path, CASES[case, opset](w)))


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("leaky relu", ["Relu", "Scale", "Relu", "Scale", "Add"]),
        ("where leaky", ["Relu", "Scale", "Relu", "Scale", "Add"]),
        ("where reversed", ["Relu"]),
        ("where leaky below", ["Scale", "Relu", "Scale"]),
        ("where relu", ["Relu"]),
        ("scaled mask", ["Relu", "Scale"]),
        ("max and min", ["Relu", "Relu", "Identity"]),
        ("min and max", ["Scale", "Relu", "Scale", "Scale", "Relu", "Scale"]),
        ("clip both", ["Scale", "Relu", "Scale"]),
        ("clip behind relu", ["Relu", "Relu"]),
        ("hard sigmoid", ["Scale", "Relu"]),
        ("max tensors", ["Input"] * 2 + ["Reshape"] * 3 + ["Concatenate", "Transpose", "MaxPool"]
         + ["Reshape"]),
        ("thresholded keras", ["Activation", "Identity"]),
        ("silu", ["Activation"]),
        ("gelu half", ["Activation"]),
        ("gelu by tanh", ["Activation"]),
        ("hard swish by clip", ["Conv", "Activation"]),
        ("mish by tanh", ["Relu", "Activation"]),
    ],
)  # fmt: skip
def test_what_an_operator_becomes(case: str, expected: list[str], tmp_path: Path) -> None:
    w = Writer(NEWEST)
    assert op_names(check(w.save(tmp_path, CASES[case, NEWEST](w))))[1:] == expected


@pytest.mark.parametrize(
    ("case", "function"),
    [
        ("thresholded relu", "thresholded_relu"),
        ("elu", "elu"),
        ("gelu tanh", "gelu_tanh"),
        ("gelu last", "gelu"),
        ("gelu by tanh and pow", "gelu_tanh"),
        ("mish by tanh", "mish"),
        ("hard swish by clip", "hard_silu"),
        ("hard swish by hard sigmoid", "hard_silu"),
    ],
)
def test_functions_without_a_spiking_translation_are_refused_by_check(
    case: str, function: str, tmp_path: Path
) -> None:
    w = Writer(NEWEST)
    source = read_onnx(w.save(tmp_path, w.op("Relu", CASES[case, NEWEST](w))))
    (node,) = [node for node in source.graph.nodes if isinstance(node.op, Activation)]
    assert node.op.function == function
    (reason,) = refusals(find(source))
    assert reason.startswith(f"{node.name} (Activation): {function} ")


def test_threshold_itself_is_not_above(tmp_path: Path) -> None:
    """ONNX and Keras agree: x > threshold."""
    w = Writer(NEWEST)
    x = w.input(3)
    y = w.op("ThresholdedRelu", x, alpha=0.5)
    mask = w.op("Cast", w.op("Greater", x, w.constant(0.5)), to=onnx.TensorProto.FLOAT)
    source = read_onnx(w.save(tmp_path, y, w.op("Mul", mask, x)))
    values = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.25]], np.float32)
    for expected, found in zip(source.run((values,)), run(source.graph, (values,)), strict=True):
        np.testing.assert_array_equal(expected, found)
        assert expected[0, 0] == 0


def mask_of(w: Writer) -> str:
    return w.op("Greater", w.input(3, 4), w.constant(0.5))


REASONS: list[tuple[str, Case]] = [
    (
        "operand 1 is a comparison of x with 0.5, expected a value",
        lambda w: w.op("Relu", w.op("Cast", mask_of(w), to=1)),
    ),
    ("greater0a (output): is a comparison, expected a value", mask_of),
    (
        "adds a comparison to a value, expected values only",
        lambda w: w.op("Add", w.op("Cast", mask_of(w), to=1), "x"),
    ),
    (
        "multiplies a comparison of one value by another, expected what is compared",
        lambda w: w.op("Mul", w.op("Cast", mask_of(w), to=1), w.op("Relu", "x")),
    ),
    (
        "selects by what is no comparison, expected one with a number",
        lambda w: w.op("Where", w.constant([True, False], np.bool_), w.input(2), "x"),
    ),
    (
        "selects between other values than the one that is compared, expected that or zero",
        lambda w: w.op("Where", mask_of(w), "x", w.constant(1.0)),
    ),
    (
        "selects between other values",
        lambda w: w.op("Where", mask_of(w), w.op("Relu", "x"), w.constant(0.0)),
    ),
    (
        "jumps at 0.5 between two functions, expected a ReLU with that threshold",
        selected("Greater", 0.5, "x", "ax"),
    ),
    ("jumps at 0.5 between two functions", selected("GreaterOrEqual", 0.5, "x", "0")),
    (
        "negates what is no comparison",
        lambda w: w.op("Where", w.op("Not", w.op("Relu", w.input(3))), "x", "x"),
    ),
    (
        "the bound depends on the input, expected a constant",
        lambda w: w.op("Where", w.op("Greater", w.input(3), "x"), "x", "x"),
    ),
    (
        "slope depends on the input, expected a constant",
        lambda w: w.op("PRelu", w.input(3), w.input(3, name="y")),
    ),
    ("alpha is 2, expected 1", on("Swish", 3, alpha=2.0)),
    ("erf1 (Erf): is part of a GELU, which no rate", lambda w: w.op(
        "Relu", w.op("Erf", w.op("Relu", w.input(3))))),
    ("(Erf): is part of a GELU", lambda w: w.op("Erf", w.input(3))),
    ("(Erf): is part of a GELU", lambda w: w.op("Mul", erf_gelu("xgh")(w), w.op("Erf", "x"))),
    ("takes two values that depend on the input, as gates do", lambda w: w.op(
        "Mul", w.op("Sigmoid", w.input(3)), w.op("Min", "x", w.constant(50.0)))),
    ("(Erf): is part of a GELU", lambda w: w.op(
        "Mul", w.op("Add", w.op("Erf", w.input(3)), w.constant(1.0)), w.input(3, name="other"))),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "build"), REASONS, ids=[reason[:40] for reason, _ in REASONS])
def test_reason(reason: str, build: Case, tmp_path: Path) -> None:
    w = Writer(NEWEST)
    with pytest.raises(UnsupportedOpError, match=r"reasons why it cannot be translated") as error:
        read_onnx(w.save(tmp_path, build(w)))
    assert any(reason in found for found in error.value.reasons), error.value.reasons


def test_parts_of_a_function_are_no_reasons(tmp_path: Path) -> None:
    """Where another node is refused, a Mish is one reason, not three."""
    w = Writer()
    y = w.op("Shrink", mish(w))
    with pytest.raises(UnsupportedOpError) as error:
        read_onnx(w.save(tmp_path, y))
    parts = [each.split(" ", 1)[1] for each in error.value.reasons]
    assert parts == [
        "(Mul): mish is not a ReLU, no rate of spikes stands for it",
        "(Shrink): has no translation, expected an operator with a translation",
    ]


def test_gelu_in_several_nodes_stays_analog(tmp_path: Path) -> None:
    w = Writer()
    path = w.save(tmp_path, w.op("MatMul", erf_gelu("xgh")(w), w.draw(4, 2)))
    (name,) = [node.name for node in read_onnx(path).graph.nodes if isinstance(node.op, Activation)]
    x = np.random.default_rng(0).normal(0, 1, (20, 3, 4)).astype(np.float32)
    graph = convert(path, x, keep_analog=(name,)).graph
    assert graph.metadata["keep_analog"] == [name]


def test_swish(tmp_path: Path) -> None:
    """The installed onnxruntime has no kernel for it."""
    w = Writer(24)
    graph = read_onnx(w.save(tmp_path, w.op("Swish", w.input(3)))).graph
    x = np.array([[-2.0, 0.5, 3.0]], np.float32)
    np.testing.assert_allclose(run(graph, (x,))[0], x / (1 + np.exp(-x)), rtol=1e-6)
