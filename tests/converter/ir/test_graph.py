import dataclasses

import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import Graph, IntegrateFire, Node, TensorType
from spikeport.converter.ir.ops import Add, Concatenate, Conv, Dense, Identity, Input, Relu


def node(name: str, *inputs: str) -> Node:
    return Node(name, Identity(), inputs)


X = Node("x", Input((3,)))
DIAMOND = Graph(
    (X, node("a", "x"), node("b", "a"), Node("sum", Add(), ("a", "b", "a"))), ("x",), ("sum", "a")
)


def test_types_and_names():
    assert DIAMOND.types["sum"] == TensorType((3,))
    assert DIAMOND.by_name["b"].inputs == ("a",)
    assert str(DIAMOND.by_name["sum"]) == "sum (Add)"


def test_consumers_repeat_a_node_that_takes_a_result_twice():
    assert [n.name for n in DIAMOND.consumers["a"]] == ["b", "sum", "sum"]
    assert DIAMOND.consumers["sum"] == ()


def test_only_use():
    assert DIAMOND.is_only_use("b")
    assert not DIAMOND.is_only_use("a")
    chain = Graph((X, node("a", "x"), node("b", "a")), ("x",), ("b", "a"))
    assert chain.is_only_use("x")
    assert not chain.is_only_use("a")  # an output, too
    assert not chain.is_only_use("b")


def test_varying_is_what_stands_behind_a_neuron():
    neuron = IntegrateFire(np.ones(1), np.zeros(1))
    graph = Graph(
        (
            X,
            node("before", "x"),
            Node("neuron", neuron, ("before",)),
            node("behind", "neuron"),
            Node("both", Concatenate(0), ("before", "behind")),
        ),
        ("x",),
        ("both",),
    )
    assert graph.varying == {"neuron", "behind", "both"}
    assert not DIAMOND.varying


def test_replace_checks_again_and_leaves_the_original():
    other = DIAMOND.replace(outputs=("b",), metadata={"key": 1})
    assert other.outputs == ("b",)
    assert DIAMOND.outputs == ("sum", "a")
    assert DIAMOND.metadata == {}
    with pytest.raises(GraphError, match="output c: no node has this name"):
        DIAMOND.replace(outputs=("c",))


def test_caches_do_not_travel_into_a_copy():
    assert set(DIAMOND.by_name) == {"x", "a", "b", "sum"}
    smaller = DIAMOND.replace(nodes=DIAMOND.nodes[:2], outputs=("a",))
    assert set(smaller.by_name) == set(smaller.types) == {"x", "a"}


def test_fresh_name():
    graph = Graph((X, node("a", "x"), node("a_2", "x")), ("x",), ("a",))
    assert graph.fresh_name("a") == "a_3"
    assert graph.fresh_name("b") == "b"


def test_graphs_and_nodes_never_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DIAMOND.outputs = ()
    with pytest.raises(dataclasses.FrozenInstanceError):
        X.name = "y"


def test_unit_is_a_frozen_copy_that_broadcasts():
    unit = np.full((1,), 2.0)
    with_unit = Node("a", Identity(), ("x",), unit=unit)
    unit[0] = 3
    assert with_unit.unit[0] == 2
    with pytest.raises(ValueError, match="read-only"):
        with_unit.unit[0] = 3
    Graph((X, with_unit), ("x",), ("a",))


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs", "message"),
    [
        ((X, node("", "x")), ("x",), ("x",), r" \(Identity\): has no name"),
        ((X, X), ("x",), ("x",), r"x \(Input\): the name is used twice, expected unique names"),
        (
            (X, node("a", "b"), node("b", "x")),
            ("x",),
            ("b",),
            r"a \(Identity\): operand 'b' is not the result of an earlier node",
        ),
        ((X, node("a", "a")), ("x",), ("a",), r"a \(Identity\): operand 'a' is not the result"),
        ((X, node("a")), ("x",), ("a",), r"a \(Identity\): has 0 operands, expected 1"),
        ((X, node("a", "x", "x")), ("x",), ("a",), r"a \(Identity\): has 2 operands, expected 1"),
        ((X, Node("a", Add())), ("x",), ("a",), r"a \(Add\): has 0 operands, expected >= 1"),
        (
            (X, Node("y", Input((3,)), ("x",))),
            ("x", "y"),
            ("y",),
            r"y \(Input\): has 1 operands, expected 0",
        ),
        (
            (X, Node("d", Dense(np.ones((2, 4)), np.ones(2)), ("x",))),
            ("x",),
            ("d",),
            r"d \(Dense\): operand has shape \(3,\), expected \(4,\)",
        ),
        (
            (X, Node("c", Conv(np.ones((1, 1, 1)), np.ones(1), (0,), (1,), ((0, 0),)), ("x",))),
            ("x",),
            ("c",),
            r"c \(Conv\): operand has shape \(3,\)",
        ),
        (
            (X, Node("a", Identity(), ("x",), unit=np.ones(2))),
            ("x",),
            ("a",),
            r"a \(Identity\): scale has shape \(2,\), expected one that broadcasts to \(3,\)",
        ),
        ((X, node("a", "x")), (), ("a",), r"inputs \[\]: expected each Input node once: \['x'\]"),
        ((X, node("a", "x")), ("x", "x"), ("a",), r"inputs \['x', 'x'\]: expected each Input node"),
        ((X, node("a", "x")), ("x", "a"), ("a",), r"inputs \['x', 'a'\]: expected each Input node"),
        ((X, node("a", "x")), ("x",), (), r"graph: has no output, expected at least one"),
        ((X, node("a", "x")), ("x",), ("b",), r"output b: no node has this name"),
        ((), (), (), r"graph: has no output"),
        (
            (X, Node("r", Relu(np.zeros(1)), ("x",))),
            ("x",),
            ("r",),
            r"r \(Relu\): max_value is not positive",
        ),
    ],
)
def test_a_graph_that_breaks_a_rule_does_not_exist(nodes, inputs, outputs, message):
    with pytest.raises(GraphError, match=message):
        Graph(nodes, inputs, outputs)


def test_nan_in_a_unit():
    with pytest.raises(GraphError, match="holds NaN or infinity"):
        Node("a", Identity(), ("x",), unit=np.array([np.nan]))


def test_an_output_may_stand_twice_and_be_an_input():
    graph = Graph((X,), ("x",), ("x", "x"))
    assert graph.outputs == ("x", "x")
