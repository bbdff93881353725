"""Layers of several operations as spiking networks: they converge to the network as T grows."""

import keras
import numpy as np
import pytest
from keras import layers as kl

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.converter.ir import Graph, IntegrateFire, Node, run
from spikeport.converter.ir.ops import Conv, Input, InsertZeros
from spikeport.runtime.engines import ENGINES

RANDOM = np.random.default_rng(4)
X = RANDOM.uniform(0, 1, (6, 6, 6, 2)).astype(np.float32)
EXACT = {  # nothing is clipped on these samples
    "normalize_weights": {"percentile": 100.0, "per_channel": True},
    "insert_neurons": {"initial_potential": 0.5},
}
STEPS = (8, 64, 512)


def conv(n: int = 4, **options: object) -> kl.Layer:
    return kl.Conv2D(n, 3, padding="same", **options)


LAYERS = {
    "leaky relu": lambda h: kl.LeakyReLU(negative_slope=0.3)(conv()(h)),
    "prelu": lambda h: kl.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal")(conv()(h)),
    "maximum": lambda h: kl.Maximum()([conv()(h), conv()(h)]),
    "maximum of spikes": lambda h: kl.Maximum()([h, conv(h.shape[-1], activation="relu")(h)]),
    "minimum": lambda h: kl.Minimum()([conv()(h), conv()(h)]),
    "subtract": lambda h: kl.Subtract()([conv()(h), conv()(h)]),
    "upsampling": lambda h: kl.UpSampling2D(2)(h),
    "cropping": lambda h: kl.Cropping2D(((1, 0), (0, 2)))(h),
    "transposed convolution": lambda h: kl.Conv2DTranspose(3, 3, strides=2, padding="same")(h),
}


def build(name: str) -> keras.Model:
    keras.utils.set_random_seed(7)
    x = keras.Input((6, 6, 2))
    h = LAYERS[name](conv(3, activation="relu")(x))
    h = kl.Flatten()(kl.Conv2D(3, 3, strides=2, activation="relu")(h))
    return keras.Model(x, kl.Dense(5)(h))


@pytest.mark.parametrize("name", LAYERS)
def test_converges_on_both_engines(name: str) -> None:
    source = read(build(name))
    graph = convert(source, X, recipe="classic", options=EXACT).graph
    assert sum(isinstance(node.op, IntegrateFire) for node in graph.nodes) >= 2
    (expected,) = run(source.graph, (X,))
    found = {}
    for engine in ("event", "reference"):
        found[engine] = ENGINES[engine](graph).run((X,), STEPS[-1]).outputs[0]
    np.testing.assert_allclose(found["event"], found["reference"], atol=0.02 * abs(expected).max())
    errors = [np.abs(found["event"][step - 1] - expected).max() for step in STEPS]
    assert errors[2] < 0.02 * np.abs(expected).max()
    assert errors[2] < errors[1] / 3 < errors[0] / 9


def test_zeros_between_spikes_are_a_view() -> None:
    """The kernels see a transposed convolution; the same spikes as in the reference engine."""
    random = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return np.round(random.normal(0, 64, shape)) / 256

    one = np.ones((1, 1, 1))
    square = ((1, 1), (1, 1))
    nodes = (
        Node("x", Input((3, 5, 4))),
        Node("neuron", IntegrateFire(one, one / 2), ("x",)),
        Node("spread", InsertZeros((2, 3)), ("neuron",)),
        Node("conv", Conv(draw(4, 3, 3, 3), draw(4), (1, 1), (1, 1), square), ("spread",)),
        Node("again", IntegrateFire(one, one / 2), ("conv",)),
        Node("map", Conv(draw(2, 4, 1, 1), draw(2), (1, 1), (1, 1), ((0, 0),) * 2), ("again",)),
    )
    graph = Graph(nodes, ("x",), ("map",))
    inputs = (random.integers(0, 256, (3, 3, 5, 4)).astype(np.float32) / 256,)
    runner = ENGINES["event"](graph)
    assert runner.fallbacks == ()
    found = runner.run(inputs, 40, count_spikes=True)
    expected = ENGINES["reference"](graph).run(inputs, 40, count_spikes=True)
    np.testing.assert_array_equal(found.outputs[0], expected.outputs[0])
    assert found.n_spikes == expected.n_spikes
    for name, counts in expected.synaptic_operations.items():
        np.testing.assert_array_equal(found.synaptic_operations[name], counts)
