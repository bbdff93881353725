import numpy as np

from spikeport.converter.ir import Graph, IntegrateFire, Node, Reset
from spikeport.converter.ir.ops import Add, BatchNorm, Dense, Input, Relu
from spikeport.converter.ir.text import count_parameters, format_graph, format_parameters

GRAPH = Graph(
    (
        Node("x", Input((3,))),
        Node("dense-", Dense(np.arange(6).reshape(2, 3), np.zeros(2)), ("x",)),
        Node("n", IntegrateFire(np.full(1, 2.0), np.arange(2)), ("dense-",)),
        Node("sum", Add(), ("n", "dense-")),
    ),
    ("x",),
    ("sum", "n"),
)


def test_graph_as_text():
    lines = format_graph(GRAPH).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "x (Input) float32[3] shape=(3,)",
        "dense- (Dense) float32[2] weight=[2, 3] bias=0 <- x",
        "n (IntegrateFire) spikes[2] threshold=2 initial_potential=[2] reset=subtract <- dense-",
        "sum (Add) float32[2] <- n, dense-",
        "outputs: sum, n",
    ]
    for column in ("float32[3]", "float32[2]", "spikes[2]"):
        assert {line.index(column) for line in lines if column in line} == {19}
    assert len({line.index("<-") for line in lines if "<-" in line}) == 1
    assert all(line == line.rstrip() for line in lines)


def test_parameters_by_shape_or_by_value():
    assert format_parameters(Relu()) == ""
    assert format_parameters(Relu(np.full((1, 1), 6.0))) == "max_value=6"
    op = IntegrateFire(np.ones(1), np.zeros(1), Reset.ZERO)
    assert format_parameters(op) == "threshold=1 initial_potential=0 reset=zero"


def test_only_trained_numbers_are_counted():
    assert count_parameters(GRAPH) == 6 + 2
    norm = BatchNorm(*np.ones((4, 3)), 1e-3)
    graph = Graph((Node("x", Input((3,))), Node("bn", norm, ("x",))), ("x",), ("bn",))
    assert count_parameters(graph) == 12
