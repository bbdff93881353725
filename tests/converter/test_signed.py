"""Values with a sign: two layers of neurons, one for each, so that no sign is lost."""

import numpy as np
import pytest

from spikeport.converter.calibration.thresholds import find_halves
from spikeport.converter.check import APPROXIMATE, check
from spikeport.converter.convert import convert
from spikeport.converter.errors import PassError
from spikeport.converter.frontends import Source
from spikeport.converter.frontends.lowering import leaky_relu
from spikeport.converter.ir import Graph, Node, run
from spikeport.converter.ir.ops import Dense, Input, Op, Relu, Scale
from spikeport.converter.recipes import RECIPES
from spikeport.runtime.engines import ENGINES

N_STEPS = 256
X = np.random.default_rng(0).uniform(0.1, 1, (40, 6)).astype(np.float32)


def network(sign: float, slope: float = 0.25) -> Graph:
    """A dense layer whose values all have one sign on X, then x or slope x, then another one."""
    random = np.random.default_rng(1)
    weight = sign * random.uniform(0.1, 1, (5, 6))
    nodes = [Node("x", Input((6,))), Node("dense", Dense(weight, np.zeros(5)), ("x",))]

    def emit(inner: str, op: Op, operands: tuple[str, ...]) -> str:
        nodes.append(Node(f"leaky/{inner}".strip("/"), op, operands))
        return nodes[-1].name

    leaky_relu(emit, "dense", np.full(1, slope, np.float32))
    nodes.append(Node("out", Dense(random.normal(0, 0.5, (3, 5)), np.zeros(3)), ("leaky",)))
    return Graph(tuple(nodes), ("x",), ("out",), {"source": {"sha256": "0" * 64, "name": "net"}})


def source(graph: Graph) -> Source:
    return Source(graph, lambda inputs: run(graph, inputs), "net", "0" * 64)


def outputs_of(graph: Graph, x: np.ndarray) -> np.ndarray:
    return ENGINES["event"](graph).run((x,), graph.metadata["n_steps"]).outputs[0][-1]


@pytest.mark.parametrize("slope", [0.25, -0.5, 1.5])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "recipe", [name for name in RECIPES if name.split("_")[0] not in {"diehl", "ltb", "trained"}]
)
def test_a_sign_that_never_comes_on_calibration(recipe: str, sign: float, slope: float) -> None:
    graph = network(sign, slope)
    snn = convert(source(graph), X, recipe=recipe, n_steps=16 if recipe in LEVELS else N_STEPS)
    found = outputs_of(snn.graph, X)
    (expected,) = run(graph, (X,))
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_reset_to_zero_takes_it_too() -> None:
    """It loses what is above the threshold, as ltb does on purpose: rates are too low."""
    graph = network(-1, 0.5)
    for recipe in ("diehl", "ltb"):
        found = outputs_of(convert(source(graph), X, recipe=recipe).graph, X)
        assert np.corrcoef(found.ravel(), run(graph, (X,))[0].ravel())[0, 1] > 0.9


LEVELS = {"exact", "integer", "graded"}
"""Recipes with a schedule or levels, for few steps."""


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("recipe", ["rate", "light", "classic"])
def test_the_sign_that_comes_afterwards_is_not_lost(recipe: str, sign: float) -> None:
    graph = network(sign)
    snn = convert(source(graph), X, recipe=recipe, n_steps=N_STEPS)
    found = outputs_of(snn.graph, -X)
    (expected,) = run(graph, (-X,))
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_a_layer_that_is_never_active_is_refused_all_the_same() -> None:
    nodes = (
        Node("x", Input((2,))),
        Node("dense", Dense(-np.ones((2, 2)), np.zeros(2)), ("x",)),
        Node("relu", Relu(), ("dense",)),
        Node("shifted", Scale(-np.ones(1), -np.ones(1)), ("dense",)),
        Node("other", Relu(), ("shifted",)),
        Node("out", Dense(np.ones((1, 2)), np.zeros(1)), ("relu",)),
    )
    graph = Graph(nodes, ("x",), ("out", "other"))
    assert find_halves(graph) == {}
    for recipe in ("rate", "light"):
        with pytest.raises(PassError, match=r"relu \(Relu\).*never active on the"):
            convert(source(graph), X[:, :2], recipe=recipe)


def test_no_sign_ever_comes() -> None:
    with pytest.raises(PassError, match=r"leaky/positive.*never active on the"):
        convert(source(network(0)), X)


def test_check_says_that_a_pair_is_signed() -> None:
    found = {each.node: each for each in check(source(network(1)))}
    for half, other in (("positive", "negative"), ("negative", "positive")):
        finding = found[f"leaky/{half}"]
        assert finding.status == APPROXIMATE
        assert finding.becomes == "neurons of one sign"
        assert finding.note.startswith(f"signed: leaky/{other} has the other sign; T+1 rates")
