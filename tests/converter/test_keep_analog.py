"""Functions that no neuron stands for, kept analog on the mean of what has arrived."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from spikeport.cli import main
from spikeport.converter.check import KEPT, REFUSED, check, refusals
from spikeport.converter.convert import convert
from spikeport.converter.errors import PassError, UnsupportedOpError
from spikeport.converter.exports.snn import decode_graph, encode_graph
from spikeport.converter.frontends import Source
from spikeport.converter.ir import Activation, Graph, Node, OfMean, run
from spikeport.converter.ir.analog import ANALOG, of_mean
from spikeport.converter.ir.ops import Conv, Dense, Flatten, Input, Relu, Sigmoid, Softmax
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.report.text import summary_lines

from .frontends.onnx_writer import Writer

RANDOM = np.random.default_rng(11)
X = RANDOM.uniform(0, 1, (30, 1, 6, 6)).astype(np.float32)
KEEP = ("gelu", "gate", "share")


def network() -> Graph:
    """A gelu behind a convolution of spikes, a sigmoid and a softmax behind dense layers."""
    random = np.random.default_rng(2)

    def dense(n_in: int, n_out: int) -> Dense:
        weight = random.normal(0, n_in**-0.5, (n_out, n_in))
        return Dense(weight, random.normal(0, 0.2, n_out))

    kernel = random.normal(0, 0.5, (4, 1, 3, 3))
    return Graph(
        (
            Node("x", Input((1, 6, 6))),
            Node("conv", Conv(kernel, np.zeros(4), (1, 1), (1, 1), ((0, 0),) * 2), ("x",)),
            Node("relu", Relu(), ("conv",)),
            Node("flat", Flatten(), ("relu",)),
            Node("dense1", dense(64, 20), ("flat",)),
            Node("gelu", Activation("gelu"), ("dense1",)),
            Node("dense2", dense(20, 12), ("gelu",)),
            Node("relu2", Relu(), ("dense2",)),
            Node("dense3", dense(12, 8), ("relu2",)),
            Node("gate", Sigmoid(), ("dense3",)),
            Node("dense4", dense(8, 6), ("gate",)),
            Node("share", Softmax(0), ("dense4",)),
            Node("logits", dense(6, 3), ("share",)),
        ),
        ("x",),
        ("logits",),
        {"source": {"sha256": "0" * 64, "name": "net"}},
    )


def source(graph: Graph | None = None) -> Source:
    graph = graph or network()
    return Source(graph, lambda inputs: run(graph, inputs), "net", "0" * 64)


def test_trace_by_hand():
    """f = tanh on currents 1, 0, 2: means 1, 1/2, 1."""
    op = of_mean(Activation("tanh"))
    state = op.start((1, 1))
    sent = []
    for current in (1.0, 0.0, 2.0):
        result, state = op.step(np.float32([[current]]), state)
        sent.append(result.item())
    one, half = np.tanh([1, 0.5])
    np.testing.assert_allclose(sent, [one, 2 * half - one, 3 * one - 2 * half], rtol=1e-6)


@pytest.mark.parametrize(
    "op", [Activation("elu", (0.7,)), Sigmoid(), Softmax(0)], ids=lambda op: type(op).__name__
)
def test_mean_of_what_is_sent_is_the_function_of_the_mean(op):
    """At every step, also after thousands: rounding errors do not add up."""
    assert type(op) in ANALOG
    kept = of_mean(op)
    state = kept.start((2, 3))
    arrived, sent = np.zeros((2, 2, 3))
    for step in range(1, 5001):
        current = RANDOM.normal(0.3, 1, (2, 3)).astype(np.float32)
        result, state = kept.step(current, state)
        arrived, sent = arrived + current, sent + result
        if step in {1, 2, 50, 5000}:
            expected = op.apply((arrived / step).astype(np.float32))
            np.testing.assert_allclose(sent / step, expected, atol=2e-5)


def test_converted_networks_run_on_both_engines_and_converge():
    graph = convert(source(), X, keep_analog=KEEP).graph
    kept = [node.name for node in graph.nodes if isinstance(node.op, OfMean)]
    assert kept == list(KEEP)
    assert graph.metadata["keep_analog"] == list(KEEP)
    assert not any(graph.types[name].spiking for name in KEEP)
    (expected,) = run(network(), (X,))
    outputs = {}
    for name in ("event", "reference"):
        outputs[name] = ENGINES[name](graph).run((X,), 400).outputs[0]
    np.testing.assert_allclose(outputs["event"], outputs["reference"], atol=1e-3)
    errors = [np.abs(outputs["event"][step - 1] - expected).max() for step in (4, 400)]
    assert errors[1] < 0.02 * np.abs(expected).max()
    assert errors[1] < errors[0] / 10


def test_evaluation_says_what_stayed_analog():
    graph = convert(source(), X, keep_analog=KEEP, n_steps=4).graph
    evaluation = evaluate(graph, (X,), ann=source().run)
    assert evaluation.analog == KEEP
    assert evaluation.to_json(graph="", data="")["analog"] == list(KEEP)
    assert "stays analog, no neurons: gelu, gate, share" in summary_lines(evaluation)
    assert set(KEEP) <= set(evaluation.fallbacks)


def test_files_keep_them():
    graph = convert(source(), X, keep_analog=KEEP).graph
    again = decode_graph(encode_graph(graph))
    assert [type(node.op) for node in again.nodes] == [type(node.op) for node in graph.nodes]
    assert again.by_name["gelu"].op.function == "gelu"
    a, b = (ENGINES["reference"](each).run((X,), 5).outputs[0] for each in (graph, again))
    assert np.array_equal(a, b)


def test_check_lists_them_all_and_says_what_to_do():
    findings = check(source())
    assert refusals(findings) == (
        "gelu (Activation): gelu is not a ReLU, no rate of spikes stands for it",
        "gate (Sigmoid): sigmoid inside the network, expected at an output only",
        "share (Softmax): softmax inside the network, expected at an output only",
    )
    with pytest.raises(UnsupportedOpError, match="3 of its operations have no spiking") as caught:
        convert(source(), X)
    assert caught.value.hint.endswith(
        "keep them analog: --keep-analog gelu --keep-analog gate --keep-analog share"
    )
    partly = {finding.node: finding for finding in check(source(), ("gelu",))}
    assert partly["gelu"].status == KEPT
    assert partly["gelu"].note == "stays analog: sends numbers, not spikes"
    assert partly["gate"].status == REFUSED


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gleu", r"--keep-analog gleu: does not exist, expected a node without a spiking"),
        ("relu", r"--keep-analog relu: becomes integrate-and-fire neurons, expected a node"),
        ("dense1", r"--keep-analog dense1: becomes synapses, expected a node without"),
    ],
)
def test_nodes_that_cannot_or_need_not_be_kept(name, message):
    with pytest.raises(PassError, match=message) as caught:
        convert(source(), X, keep_analog=("gelu", name))
    assert caught.value.hint == "these can be kept: gelu, gate, share"


@pytest.mark.parametrize("recipe", ["exact", "integer"])
def test_exact_recipes_keep_nothing_analog(recipe):
    with pytest.raises(PassError, match=f"recipe {recipe}: is exact, but gelu, gate, share would"):
        convert(source(), X, recipe=recipe, keep_analog=KEEP)


def test_a_network_without_such_nodes():
    graph = Graph((Node("x", Input((2,))), Node("y", Softmax(0), ("x",))), ("x",), ("y",))
    with pytest.raises(PassError, match="--keep-analog y: becomes read-out of the pot") as caught:
        check(source(graph), ("y",))
    assert "every node of this network has a spiking translation" in caught.value.hint


def test_on_constant_input_the_function_is_computed_once():
    nodes = (
        Node("x", Input((2,))),
        Node("tanh", Activation("tanh"), ("x",)),
        Node("y", Dense(np.eye(2), np.zeros(2)), ("tanh",)),
    )
    graph = Graph(nodes, ("x",), ("y",))
    assert check(source(graph), ("tanh",))[1].becomes == "the same, computed once"
    x = np.float32([[0.5, -1.0]])
    snn = convert(source(graph), x, keep_analog=("tanh",)).graph
    assert type(snn.by_name["tanh"].op) is Activation
    outputs = ENGINES["event"](snn).run((x,), 3).outputs[0]
    np.testing.assert_allclose(outputs, np.broadcast_to(np.tanh(x), (3, 1, 2)), rtol=1e-6)
    assert evaluate(snn, (x,), n_steps=2).analog == ("tanh",)


def test_command_line(tmp_path):
    w = Writer()
    h = w.op("Sigmoid", w.gemm(w.op("Relu", w.gemm(w.input(4), 4, 8)), 8, 6))
    path, out = w.save(tmp_path, w.gemm(h, 6, 3)), tmp_path / "net.snn"
    data = tmp_path / "data.npz"
    np.savez(data, x=RANDOM.uniform(0, 1, (20, 4)).astype(np.float32))

    def call(*args: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        return result.exit_code, result.output

    name = next(n.name for n in check_nodes(path) if isinstance(n.op, Sigmoid))
    code, text = call("check", path)
    assert code == 1
    assert f"Hint: take them out of the network, or keep them analog: --keep-analog {name}" in text
    code, text = call("check", path, "--keep-analog", name)
    assert code == 0
    assert "stays analog: sends numbers, not spikes" in text
    code, text = call("check", path, "--keep-analog", name, "--json")
    assert {n["status"] for n in json.loads(text)["nodes"]} >= {"analog", "exact", "approximate"}
    assert call("convert", path, "--calibration", data, "-o", out)[0] == 1
    assert not out.exists()
    assert call("convert", path, "--calibration", data, "-o", out, "--keep-analog", name)[0] == 0
    assert f"stays analog: {name}" in call("inspect", out)[1]
    assert f"stays analog, no neurons: {name}" in call("evaluate", out, "--data", data)[1]


def check_nodes(path) -> tuple[Node, ...]:
    from spikeport.converter.frontends import read

    return read(path).graph.nodes
