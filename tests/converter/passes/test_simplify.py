import numpy as np
import pytest

from spikeport.converter.ir import Graph, Node, run
from spikeport.converter.ir.ops import (
    Dense,
    Flatten,
    Identity,
    Input,
    LogSoftmax,
    Pad,
    Relu,
    Reshape,
    Scale,
    Sigmoid,
    Softmax,
    Transpose,
)
from spikeport.converter.passes import PASSES
from spikeport.runtime.decoding import Readout


def graph_of(*nodes: Node, outputs: tuple[str, ...]) -> Graph:
    return Graph((Node("x", Input((2, 3))), *nodes), ("x",), outputs)


def names(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def test_no_ops_are_removed():
    ones = np.ones((1, 1), np.float32)
    graph = graph_of(
        Node("a", Identity(), ("x",)),
        Node("b", Pad(((0, 0), (0, 0))), ("a",)),
        Node("c", Reshape((2, 3)), ("b",)),
        Node("d", Transpose((0, 1)), ("c",)),
        Node("e", Scale(ones, 0 * ones), ("d",)),
        Node("relu", Relu(), ("e",)),
        Node("f", Identity(), ("relu",)),
        outputs=("f",),
    )
    result = PASSES["remove_no_ops"](graph)
    assert names(result) == ["x", "relu"]
    assert result.outputs == ("relu",)


def test_transpositions_that_cancel_are_removed():
    graph = graph_of(
        Node("a", Transpose((1, 0)), ("x",)),
        Node("b", Transpose((1, 0)), ("a",)),
        Node("relu", Relu(), ("b",)),
        outputs=("relu",),
    )
    assert names(PASSES["remove_no_ops"](graph)) == ["x", "relu"]


def test_transposition_that_is_still_needed_stays():
    graph = graph_of(
        Node("a", Transpose((1, 0)), ("x",)),
        Node("b", Transpose((1, 0)), ("a",)),
        Node("r1", Relu(), ("a",)),
        Node("r2", Relu(), ("b",)),
        outputs=("r1", "r2"),
    )
    assert names(PASSES["remove_no_ops"](graph)) == ["x", "a", "r1", "r2"]


@pytest.mark.parametrize(
    ("op", "readout"),
    [
        (Softmax(0), {"function": "softmax", "axis": 0}),
        (LogSoftmax(0), {"function": "log_softmax", "axis": 0}),
        (Sigmoid(), {"function": "sigmoid"}),
        (Relu(), {"function": "relu"}),
    ],
)
def test_output_activation_becomes_a_readout(op, readout):
    dense = Dense(np.ones((4, 6)), np.zeros(4))
    graph = graph_of(
        Node("flat", Reshape((6,)), ("x",)),
        Node("logits", dense, ("flat",)),
        Node("head", op, ("logits",)),
        outputs=("head",),
    )
    result = PASSES["strip_output_activation"](graph)
    assert result.outputs == ("logits",)
    assert result.metadata["readout"] == [readout]
    assert "head" not in names(result)


def test_activation_that_others_take_stays():
    graph = graph_of(
        Node("head", Relu(), ("x",)), Node("more", Relu(), ("head",)), outputs=("head", "more")
    )
    result = PASSES["strip_output_activation"](graph)
    assert result.outputs == ("head", "head")
    assert result.metadata["readout"] == [{"function": "linear"}, {"function": "relu"}]


def test_capped_relu_at_the_output_keeps_its_cap():
    graph = graph_of(Node("head", Relu(np.full((1, 1), 6.0)), ("x",)), outputs=("head",))
    result = PASSES["strip_output_activation"](graph)
    assert names(result) == ["x", "head"]
    assert result.metadata["readout"] == [{"function": "linear"}]


def test_activation_in_front_of_a_transposition_is_a_head_too():
    """A channels-last softmax over the channels of a map: the axis moves with the transposition."""
    graph = graph_of(
        Node("head", Softmax(0), ("x",)),
        Node("out", Transpose((1, 0)), ("head",)),
        outputs=("out",),
    )
    result = PASSES["strip_output_activation"](graph)
    assert names(result) == ["x", "out/potential"]
    assert result.metadata["readout"] == [{"function": "softmax", "axis": 1}]
    x = np.random.default_rng(0).normal(size=(3, 2, 3)).astype(np.float32)
    potential = Readout("softmax", 1).apply(run(result, (x,))[0])
    np.testing.assert_allclose(potential, run(graph, (x,))[0], rtol=1e-6)


def test_reshape_behind_a_softmax_keeps_it_inside():
    graph = graph_of(
        Node("head", Softmax(0), ("x",)), Node("out", Reshape((6,)), ("head",)), outputs=("out",)
    )
    assert names(PASSES["strip_output_activation"](graph)) == ["x", "head", "out"]


def test_reshape_behind_a_sigmoid_stays():
    graph = graph_of(
        Node("head", Sigmoid(), ("x",)), Node("out", Reshape((6,)), ("head",)), outputs=("out",)
    )
    result = PASSES["strip_output_activation"](graph)
    assert names(result) == ["x", "out/potential"]
    assert result.metadata["readout"] == [{"function": "sigmoid"}]


def test_flatten_of_a_vector_does_nothing():
    graph = Graph(
        (Node("x", Input((4,))), Node("r", Relu(), ("x",)), Node("f", Flatten(), ("r",))),
        ("x",),
        ("f",),
    )
    assert names(PASSES["remove_no_ops"](graph)) == ["x", "r"]
