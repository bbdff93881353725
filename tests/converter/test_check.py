import numpy as np
import onnx
import pytest

from spikeport.converter.check import APPROXIMATE, EXACT, REFUSED, check, findings_of, refusals
from spikeport.converter.errors import UnsupportedOpError
from spikeport.converter.frontends import Source, read
from spikeport.converter.ir import OPS, Activation, Graph, Node, StatefulOp, run
from spikeport.converter.ir.ops import (
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Identity,
    Input,
    MaxPool,
    Relu,
    Softmax,
)
from spikeport.converter.meanings import SourceNode, describe

from .frontends import keras_writer, onnx_writer

ONES = np.ones(2, np.float32)


def findings(*ops):
    nodes = [Node("x", Input((2, 4)))]
    for place, op in enumerate(ops):
        nodes.append(Node(f"n{place}", op, (nodes[-1].name,)))
    graph = Graph(tuple(nodes), ("x",), (nodes[-1].name,))
    return check(Source(graph, lambda inputs: run(graph, inputs), "test", ""))[1:]


def pool() -> MaxPool:
    return MaxPool((2,), (1,), (1,), ((0, 0),))


def test_what_each_node_becomes():
    conv = Conv(np.ones((2, 2, 1)), 0 * ONES, (1,), (1,), ((0, 0),))
    norm = BatchNorm(0 * ONES, ONES, ONES, 0 * ONES, 0.001)
    capped = Relu(np.full((1, 1), 6.0))
    head = Dense(np.ones((2, 4)), 0 * ONES)
    found = findings(pool(), conv, norm, capped, pool(), norm, Flatten(), head, Softmax(0))
    assert [finding.status for finding in found] == [
        EXACT, EXACT, EXACT, APPROXIMATE, APPROXIMATE, EXACT, EXACT, EXACT, EXACT,
    ]  # fmt: skip
    assert found[0].becomes == "max-pool of the constant input"
    assert found[2].becomes == "weights of n1"
    assert found[3].note.endswith("or the cap")
    assert found[4].becomes == "max-pool of accumulated spikes"
    assert found[8].becomes == "read-out of the potential"


def test_reasons_why_a_network_cannot_be_read_are_findings():
    reasons = ("a/b (Erf): is (odd): really", "x (y) (Loop): runs a network", "inputs: differ")
    found = findings_of(UnsupportedOpError("net: 3 reasons", reasons=reasons))
    assert [(f.node, f.op, f.note) for f in found] == [
        ("a/b", "Erf", "is (odd): really"), ("x (y)", "Loop", "runs a network"),
        ("inputs", "", "differ"),
    ]  # fmt: skip
    assert {f.status for f in found} == {REFUSED}


def test_every_layer_of_a_network_that_cannot_be_read_has_a_row(tmp_path):
    dense = {"kernel": np.ones((4, 3), np.float32), "bias": np.zeros(3, np.float32)}
    layers = [
        keras_writer.placeholder((4,)),
        keras_writer.dense("fc", ["x"], activation="relu"),
        keras_writer.layer("LSTM", "odd", ["fc"]),
        keras_writer.layer("LayerNormalization", "norm", ["odd"]),
        keras_writer.layer("Activation", "act", ["norm"], activation="leaky_relu"),
        keras_writer.layer("ELU", "elu", ["act"]),
        keras_writer.layer("MaxPooling2D", "pool", ["elu"]),
        keras_writer.dense("out", ["pool"], activation="softmax"),
    ]
    net = keras_writer.functional(layers, [("out", 0, 0)])
    path = keras_writer.write_h5(tmp_path / "net.h5", net, {"fc": dense})
    with pytest.raises(UnsupportedOpError) as error:
        read(path)
    rows = [(f.node, f.becomes, f.status) for f in findings_of(error.value)]
    assert rows == [
        ("x", "constant current at every step", EXACT),
        ("fc", "synapses, then integrate-and-fire neurons", APPROXIMATE),
        ("odd", "nothing", REFUSED),
        ("norm", "nothing", REFUSED),
        ("act", "neurons of two signs", APPROXIMATE),
        ("elu", "nothing", REFUSED),
        ("pool", "max-pool of accumulated spikes", APPROXIMATE),
        ("out", "synapses, then read-out at an output", EXACT),
    ]


def test_every_node_of_an_onnx_file_that_cannot_be_read_has_a_row(tmp_path):
    w = onnx_writer.Writer()
    y = w.op("Relu", w.conv(w.input(2, 5, 5), 3, 2, 3, 3))
    y = w.op("Gelu", w.op("Loop", y, body=onnx.helper.make_graph([], "body", [], [])))
    y = w.op("Reshape", w.op("MaxPool", y, kernel_shape=[2, 2]), w.op("Neg", w.integers(1, -12)))
    with pytest.raises(UnsupportedOpError) as error:
        read(w.save(tmp_path, w.op("Acosh", y)))
    rows = [(f.op, f.becomes, f.status) for f in findings_of(error.value)]
    assert rows == [
        ("input", "constant current at every step", EXACT),
        ("Conv", "synapses", EXACT),
        ("Relu", "integrate-and-fire neurons", APPROXIMATE),
        ("Loop", "nothing", REFUSED),
        ("Gelu", "analog function", REFUSED),
        ("MaxPool", "max-pool of accumulated spikes", APPROXIMATE),
        ("Neg", "a constant, computed while reading", EXACT),
        ("Reshape", "the same", EXACT),
        ("Acosh", "nothing", REFUSED),
    ]


def test_what_has_no_type_that_is_known():
    node = SourceNode("n", "New", ("New",))
    assert describe(node) == ("nothing", REFUSED, "was not looked at, behind what is refused")


def test_softmax_inside_is_refused():
    found = findings(Softmax(0), Relu(), Relu())
    assert [finding.status for finding in found] == [REFUSED, APPROXIMATE, EXACT]
    assert found[0].note == "softmax inside the network, expected at an output only"
    assert refusals(found) == (f"n0 (Softmax): {found[0].note}",)


def test_what_is_no_relu_is_refused_by_its_name():
    (found,) = findings(Activation("gelu"))
    assert refusals((found,)) == (
        "n0 (Activation): gelu is not a ReLU, no rate of spikes stands for it",
    )


def test_softmax_in_front_of_what_does_nothing_is_a_head():
    assert [finding.status for finding in findings(Softmax(0), Identity())] == [EXACT, EXACT]


def test_every_analog_op_has_a_rule():
    from spikeport.converter.check import _RULES
    from spikeport.converter.ir import Quantize, SumPool

    analog = {op for op in OPS.values() if not issubclass(op, StatefulOp)}
    assert set(_RULES) == analog - {Quantize, SumPool}  # which only passes make
