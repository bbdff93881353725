import numpy as np

from spikeport.converter.check import APPROXIMATE, EXACT, REFUSED, check, findings_of, refusals
from spikeport.converter.errors import UnsupportedOpError
from spikeport.converter.frontends import Source
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
