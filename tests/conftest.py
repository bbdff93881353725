"""Analog graphs that tests of passes, files and engines share: one fixture for each, one for all.

Every weight is a multiple of 2^-8 and every input is meant to lie in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from spikeport.converter.ir import Graph, Node, Op
from spikeport.converter.ir.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    Input,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Sigmoid,
    Softmax,
    Transpose,
)


class Builder:
    """Appends nodes; weights are drawn from one seeded stream."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Node] = []

    def add(self, name: str, op: Op, *inputs: str) -> str:
        self.nodes.append(Node(name, op, inputs, source=f"layers/{name}"))
        return name

    def draw(self, *shape: int, scale: float) -> np.ndarray:
        values = self.random.normal(0, scale, shape)
        return (np.round(values * 256) / 256).astype(np.float32)

    def dense(self, name: str, x: str, n_in: int, n_out: int) -> str:
        weight = self.draw(n_out, n_in, scale=(2 / n_in) ** 0.5)
        return self.add(name, Dense(weight, self.draw(n_out, scale=0.1)), x)

    def conv(
        self,
        name: str,
        x: str,
        shape: tuple[int, ...],
        *,
        padding: int = 0,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> str:
        """Add a convolution with a weight [C_out, C_in / groups, K...] of `shape`."""
        n_axes = len(shape) - 2
        weight = self.draw(*shape, scale=(2 / np.prod(shape[1:])) ** 0.5)
        op = Conv(
            weight,
            self.draw(shape[0], scale=0.1),
            (stride,) * n_axes,
            (dilation,) * n_axes,
            ((padding, padding),) * n_axes,
            groups,
        )
        return self.add(name, op, x)

    def batch_norm(self, name: str, x: str, n: int) -> str:
        mean, shift = self.draw(n, scale=0.2), self.draw(n, scale=0.2)
        variance, scale = (np.abs(self.draw(n, scale=0.3)) + 0.5 for _ in range(2))
        return self.add(name, BatchNorm(mean, variance, scale, shift, 1e-3), x)

    def relu(self, name: str, x: str, max_value: np.ndarray | None = None) -> str:
        return self.add(name, Relu(max_value), x)

    def build(self, *outputs: str) -> Graph:
        inputs = tuple(node.name for node in self.nodes if isinstance(node.op, Input))
        return Graph(tuple(self.nodes), inputs, outputs)


def mlp(b: Builder) -> Graph:
    x = b.add("x", Input((12,)))
    h = b.relu("relu1", b.dense("dense1", x, 12, 16))
    h = b.relu("relu2", b.dense("dense2", b.add("drop", Identity(), h), 16, 8))
    return b.build(b.add("softmax", Softmax(0), b.dense("logits", h, 8, 5)))


def cnn(b: Builder) -> Graph:
    """Channels last outside, batch norm, average pooling, flattening in the source's order."""
    h = b.add("nchw", Transpose((2, 0, 1)), b.add("x", Input((8, 8, 2))))
    h = b.batch_norm("bn1", b.conv("conv1", h, (4, 2, 3, 3), padding=1), 4)
    h = b.relu("relu1", h)
    h = b.add("pool1", AveragePool((2, 2), (2, 2), ((0, 0),) * 2), h)
    h = b.relu("relu2", b.batch_norm("bn2", b.conv("conv2", h, (6, 4, 3, 3), padding=1), 6))
    pool = AveragePool((3, 3), (2, 2), ((0, 1), (1, 0)), count_padding=False)
    h = b.add("nhwc", Transpose((1, 2, 0)), b.add("pool2", pool, h))
    h = b.dense("logits", b.add("flatten", Flatten(), h), 24, 5)
    return b.build(b.add("softmax", Softmax(0), h))


def residual(b: Builder) -> Graph:
    """A ReLU behind the sum; the identity branch and one with a strided 1x1 convolution."""
    h = b.relu("relu0", b.conv("conv0", b.add("x", Input((2, 6, 6))), (4, 2, 3, 3), padding=1))
    y = b.batch_norm("bn1", b.conv("conv1", h, (4, 4, 3, 3), padding=1), 4)
    h = b.relu("relu1", b.add("sum1", Add(), y, h))
    y = b.relu("relu2", b.conv("conv2", h, (6, 4, 3, 3), padding=1, stride=2))
    y = b.batch_norm("bn3", b.conv("conv3", y, (6, 6, 3, 3), padding=1), 6)
    shortcut = b.batch_norm("bn4", b.conv("conv4", h, (6, 4, 1, 1), stride=2), 6)
    h = b.relu("relu3", b.add("sum2", Add(), y, shortcut))
    return b.build(b.dense("logits", b.add("gap", GlobalAveragePool(), h), 6, 4))


def concat(b: Builder) -> Graph:
    """An Inception block, and DenseNet's batch norm behind a concatenation."""
    x = b.add("x", Input((3, 6, 6)))
    one = b.relu("relu1", b.conv("conv1", x, (2, 3, 1, 1)))
    three = b.relu("relu2", b.conv("conv2", one, (3, 2, 3, 3), padding=1))
    pooled = b.add("pool", MaxPool((3, 3), (1, 1), (1, 1), ((1, 1),) * 2), one)
    h = b.add("cat", Concatenate(0), one, three, pooled)
    h = b.relu("relu3", b.batch_norm("bn", h, 7))
    h = b.relu("relu4", b.conv("conv3", h, (4, 7, 3, 3)))
    return b.build(b.dense("logits", b.add("flatten", Flatten(), h), 64, 3))


def depthwise(b: Builder) -> Graph:
    """MobileNet: explicit padding, depthwise and pointwise convolutions, ReLU6."""
    six = np.full((1, 1, 1), 6.0, np.float32)
    h = b.add("pad", Pad(((0, 0), (0, 1), (0, 1))), b.add("x", Input((2, 7, 7))))
    h = b.relu("relu1", b.batch_norm("bn1", b.conv("conv1", h, (4, 2, 3, 3), stride=2), 4), six)
    h = b.conv("depthwise", h, (4, 1, 3, 3), padding=1, groups=4)
    h = b.relu("relu2", b.batch_norm("bn2", h, 4), six)
    h = b.relu("relu3", b.conv("pointwise", h, (6, 4, 1, 1)), six)
    return b.build(b.dense("logits", b.add("gap", GlobalAveragePool(), h), 6, 4))


def one_dimensional(b: Builder) -> Graph:
    h = b.conv("conv1", b.add("x", Input((2, 20))), (4, 2, 3), dilation=2, padding=2)
    h = b.add("pool1", MaxPool((2,), (2,), (1,), ((0, 0),)), b.relu("relu1", h))
    h = b.relu("relu2", b.conv("conv2", h, (6, 2, 3), groups=2))
    h = b.add("pool2", AveragePool((2,), (2,), ((0, 0),)), h)
    h = b.add("flat", Reshape((24,)), h)
    return b.build(b.add("sigmoid", Sigmoid(), b.dense("logit", h, 24, 1)))


def max_pool(b: Builder) -> Graph:
    """Max-pooling before and behind the first ReLU, and on the input."""
    h = b.add("pool0", MaxPool((2, 2), (1, 1), (1, 1), ((0, 0),) * 2), b.add("x", Input((1, 9, 9))))
    h = b.conv("conv1", h, (3, 1, 3, 3), padding=1)
    h = b.relu("relu1", b.add("pool1", MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2), h))
    h = b.relu("relu2", b.conv("conv2", h, (4, 3, 3, 3), padding=1))
    h = b.add("pool2", MaxPool((3, 3), (2, 2), (1, 1), ((1, 1),) * 2), h)
    return b.build(b.dense("logits", b.add("flatten", Flatten(), h), 16, 4))


def three_dimensional(b: Builder) -> Graph:
    h = b.relu("relu1", b.conv("conv1", b.add("x", Input((1, 4, 4, 4))), (3, 1, 3, 3, 3)))
    h = b.add("pool", AveragePool((2, 2, 2), (1, 1, 1), ((0, 0),) * 3), h)
    return b.build(b.dense("values", b.add("flatten", Flatten(), h), 3, 2))


def relu6(b: Builder) -> Graph:
    """Caps that differ per channel, and one that is reached often."""
    caps = np.array([[0.25], [0.5], [6.0]], np.float32).reshape(3, 1, 1)
    h = b.relu("relu1", b.conv("conv1", b.add("x", Input((2, 5, 5))), (3, 2, 3, 3)), caps)
    h = b.dense("dense1", b.add("flatten", Flatten(), h), 27, 8)
    return b.build(b.dense("logits", b.relu("relu2", h, np.full(1, 0.5, np.float32)), 8, 3))


def several(b: Builder) -> Graph:
    """Two inputs of different ranks, three outputs: inside the network, a head, one used twice."""
    image, vector = b.add("image", Input((1, 6, 6))), b.add("vector", Input((4,)))
    h = b.relu("relu1", b.conv("conv1", image, (2, 1, 3, 3), stride=2))
    h = b.add("flatten", Flatten(), h)
    other = b.relu("relu2", b.dense("dense1", vector, 4, 6))
    h = b.add("cat", Concatenate(0), h, other)
    trunk = b.dense("dense2", h, 14, 6)
    left = b.add("classes", Softmax(0), b.dense("logits", b.relu("relu3", trunk), 6, 3))
    return b.build(left, b.dense("values", h, 14, 2), trunk)


def relu_head(b: Builder) -> Graph:
    h = b.relu("relu1", b.dense("dense1", b.add("x", Input((6,))), 6, 10))
    return b.build(b.relu("relu2", b.dense("dense2", h, 10, 4)))


def scaled_input(b: Builder) -> Graph:
    """Normalization of the input, scales and shifts between layers, a dense map as output."""
    half = np.full((1, 1, 1), 0.5, np.float32)
    h = b.add("normalize", Scale(4 * half, -half), b.add("x", Input((2, 5, 5))))
    h = b.relu("relu1", b.conv("conv1", h, (3, 2, 3, 3), padding=1))
    gains = np.array([0.5, 1.5, 2.0], np.float32).reshape(3, 1, 1)
    h = b.add("scale", Scale(gains, gains - 1), h)
    h = b.relu("relu2", b.conv("conv2", h, (2, 3, 3, 3), padding=1))
    return b.build(b.conv("map", h, (1, 2, 1, 1)))


SAMPLES: dict[str, Callable[[Builder], Graph]] = {
    build.__name__: build
    for build in (
        mlp, cnn, residual, concat, depthwise, one_dimensional, max_pool, three_dimensional,
        relu6, several, relu_head, scaled_input,
    )
}  # fmt: skip


def build_sample(name: str) -> Graph:
    return SAMPLES[name](Builder(seed=list(SAMPLES).index(name)))


@pytest.fixture(params=SAMPLES)
def sample_graph(request: pytest.FixtureRequest) -> Graph:
    """One of the sample graphs; the test runs once for each."""
    return build_sample(request.param)


@pytest.fixture(scope="session")
def sample_graphs() -> dict[str, Graph]:
    """All sample graphs by name."""
    return {name: build_sample(name) for name in SAMPLES}
