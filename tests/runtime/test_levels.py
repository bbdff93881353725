"""Neurons that send levels, in kernels: what stands behind them, and when they cannot be bytes."""

import numpy as np
import pytest

from spikeport.converter.ir import (
    BinaryWeighted,
    Burst,
    DifferentialFire,
    FirstSpikeFire,
    Graph,
    IntegrateFire,
    LeakyFire,
    Node,
    SignedFire,
    SpikingMaxPool,
)
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Input,
    Scale,
)
from spikeport.runtime.encoding import FirstSpike, Poisson
from spikeport.runtime.engines import ENGINES

from .test_neurons import assert_same_run

ONE = np.ones((1, 1, 1), np.float32)
NEURONS = {
    "leaky": LeakyFire(ONE, ONE / 2, 0.25, 1, 0.5, 0.5),
    "burst": Burst(ONE, ONE / 2, 15),
    "binary": BinaryWeighted(ONE, ONE / 2, 4),
    "signed": SignedFire(ONE, ONE / 2, 40),
    "first_spike": FirstSpikeFire(ONE, 4 * ONE, 3, 20),
    "differential": DifferentialFire(ONE, 0 * ONE, ONE / 4, 4, 2 * ONE),
}


def draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.integers(-6, 7, shape) / 8).astype(np.float32)


def conv(rng: np.random.Generator, n_out: int, n_in: int) -> Conv:
    weight = draw(rng, n_out, n_in, 3, 3)
    return Conv(weight, draw(rng, n_out), (1, 1), (1, 1), ((1, 1), (1, 1)))


def network(op, *behind: Node, output: str) -> Graph:
    """Neurons behind a convolution of 12 inputs, so that it is none of values; 70 channels."""
    rng = np.random.default_rng(3)
    nodes = (Node("x", Input((12, 6, 6))), Node("c", conv(rng, 70, 12), ("x",)))
    return Graph((*nodes, Node("n", op, ("c",)), *behind), ("x",), (output,))


def branches() -> tuple[Node, ...]:
    """Joined, pooled, scaled and added up; then a dense layer."""
    rng = np.random.default_rng(4)
    half = np.full((1, 1, 1), 0.5, np.float32)
    return (
        Node("both", Concatenate(0), ("n", "n")),
        Node("p", AveragePool((2, 2), (2, 2), ((0, 0), (0, 0))), ("both",)),
        Node("half", Scale(half, 0 * half), ("p",)),
        Node("c2", conv(rng, 9, 140), ("half",)),
        Node("p1", AveragePool((2, 2), (2, 2), ((0, 0), (0, 0))), ("n",)),
        Node("c3", conv(rng, 9, 70), ("p1",)),
        Node("sum", Add(), ("c2", "c3")),
        Node("fire", IntegrateFire(8 * ONE, 4 * ONE), ("sum",)),
        Node("f", Flatten(), ("fire",)),
        Node("d", Dense(draw(rng, 5, 81), draw(rng, 5)), ("f",)),
    )


def inputs(n: int = 3) -> np.ndarray:
    return (np.random.default_rng(0).integers(0, 9, (n, 12, 6, 6)) / 16).astype(np.float32)


def assert_engines_agree(graph: Graph, n_steps: int = 40, encoder=None) -> tuple[str, ...]:
    """Return what ran in the reference engine's code."""
    expected = ENGINES["reference"](graph, encoder=encoder).run((inputs(),), n_steps)
    runner = ENGINES["event"](graph, encoder=encoder)
    found = runner.run((inputs(),), n_steps, count_spikes=True)
    assert_same_run(found, expected)
    if found.quiet_after is not None:
        np.testing.assert_array_equal(found.quiet_after, expected.quiet_after)
    assert min(expected.n_spikes.values()) > 100
    return runner.fallbacks


@pytest.mark.parametrize("name", NEURONS)
def test_poolings_sums_and_dense_layers_behind(name):
    assert assert_engines_agree(network(NEURONS[name], *branches(), output="d")) == ()


@pytest.mark.parametrize("name", NEURONS)
def test_as_values_where_an_op_has_no_kernel(name):
    pool = SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0), (0, 0)))
    behind = (Node("m", pool, ("n",)), Node("g", GlobalAveragePool(), ("n",)))
    for output in ("m", "g", "n"):
        assert_engines_agree(network(NEURONS[name], *behind, output=output))


@pytest.mark.parametrize("name", ["burst", "signed", "differential"])
@pytest.mark.parametrize("code", [Poisson(1), FirstSpike()])
def test_under_codes_of_the_input(name, code):
    assert_engines_agree(network(NEURONS[name], *branches(), output="d"), 40, code)


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Burst(ONE / 16, ONE / 2, 255), "p"),  # pooled levels may exceed a byte
        (Burst(ONE / 16, ONE / 2, 256), "n"),
        (BinaryWeighted(ONE / 16, ONE / 2, 9), "n"),
        (DifferentialFire(ONE, 0 * ONE, ONE / 4, 7, None), "p"),  # 2 x 2 x 64 > 127
        (DifferentialFire(ONE, 0 * ONE, ONE / 4, 8, None), "n"),
        (FirstSpikeFire(ONE / 64, 4 * ONE, 0, 300), "n"),
    ],
)
def test_levels_that_are_no_bytes_run_in_the_reference_engines_code(op, expected):
    assert expected in assert_engines_agree(network(op, *branches(), output="d"), 12)


def test_signed_and_other_levels_in_one_sum():
    """Bytes of the whole graph are in two's complement then: Burst sends 127 levels at most."""
    rng = np.random.default_rng(5)
    for most, fallbacks in ((127, ()), (128, ("b",))):
        nodes = (
            Node("c1", conv(rng, 70, 12), ("x",)),
            Node("b", Burst(ONE / 64, ONE / 2, most), ("c1",)),
            Node("sum", Add(), ("n", "b")),
            Node("fire", IntegrateFire(16 * ONE, 8 * ONE), ("sum",)),
        )
        graph = network(NEURONS["signed"], *nodes, output="fire")
        assert assert_engines_agree(graph) == fallbacks
