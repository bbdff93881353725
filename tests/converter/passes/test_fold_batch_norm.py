import numpy as np
import pytest

from spikeport.converter.ir import Graph, Node, run
from spikeport.converter.ir.ops import AveragePool, BatchNorm, Conv, Dense, Input, Relu, Scale
from spikeport.converter.passes import PASSES

RANDOM = np.random.default_rng(3)


def norm(n_channels: int) -> BatchNorm:
    return BatchNorm(
        RANDOM.normal(size=n_channels),
        RANDOM.uniform(0.5, 2, n_channels),
        RANDOM.uniform(0.5, 2, n_channels),
        RANDOM.normal(size=n_channels),
        1e-3,
    )


def conv(n_in: int, n_out: int, padding: int, groups: int = 1) -> Conv:
    weight = RANDOM.normal(size=(n_out, n_in // groups, 3, 3))
    return Conv(weight, RANDOM.normal(size=n_out), (1, 1), (1, 1), ((padding,) * 2,) * 2, groups)


def chain(shape: tuple[int, ...], *ops, outputs: tuple[str, ...] | None = None) -> Graph:
    nodes = [Node("x", Input(shape))]
    for place, op in enumerate(ops):
        nodes.append(Node(f"n{place}", op, (nodes[-1].name,)))
    return Graph(tuple(nodes), ("x",), outputs or (nodes[-1].name,))


def fold(graph: Graph) -> tuple[list[str], Graph]:
    result = PASSES["fold_batch_norm"](graph)
    x = RANDOM.normal(size=(4, *graph.types["x"].shape)).astype(np.float32)
    for expected, found in zip(run(graph, (x,)), run(result, (x,)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    return [type(node.op).__name__ for node in result.nodes], result


def test_into_the_layer_before():
    ops, graph = fold(chain((4, 6, 6), conv(4, 8, 1), norm(8), Relu()))
    assert ops == ["Input", "Conv", "Relu"]
    assert [node.name for node in graph.nodes] == ["x", "n1", "n2"]


def test_two_in_a_row_and_dense():
    dense = Dense(RANDOM.normal(size=(5, 7)), RANDOM.normal(size=5))
    assert fold(chain((7,), dense, norm(5), norm(5)))[0] == ["Input", "Dense"]


def test_into_the_layer_behind_without_padding():
    assert fold(chain((4, 6, 6), norm(4), conv(4, 8, 0)))[0] == ["Input", "Conv"]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_into_the_layer_behind_with_padding_leaves_a_shift_per_place(groups):
    ops, graph = fold(chain((4, 6, 6), Relu(), norm(4), conv(4, 8, 1, groups), Relu()))
    assert ops == ["Input", "Relu", "Conv", "Scale", "Relu"]
    shift = graph.by_name["n2"].op
    assert isinstance(shift, Scale)
    assert (shift.scale == 1).all()
    assert shift.fan_out(graph.types["n2"]) is None


def test_layer_with_two_consumers_is_not_folded_into():
    x, c = Node("x", Input((4, 6, 6))), Node("c", conv(4, 4, 1), ("x",))
    n = Node("n", norm(4), ("c",))
    assert fold(Graph((x, c, n), ("x",), ("c", "n")))[0] == ["Input", "Conv", "Scale"]


def test_between_pooling_and_relu_stays_as_a_scale():
    pool = AveragePool((2, 2), (2, 2), ((0, 0),) * 2)
    assert fold(chain((4, 6, 6), pool, norm(4), Relu()))[0] == [
        "Input", "AveragePool", "Scale", "Relu",
    ]  # fmt: skip
