"""EXAMPLES: for every op a small spiking graph that has it, in integers where the op has an integer
form: sums are exact in float32, and do not depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spikeport.converter.ir import (
    OPS,
    AddOnce,
    Array,
    BinaryWeighted,
    Burst,
    DifferentialFire,
    DifferentialMaxPool,
    FirstSpikeFire,
    FromDifferences,
    Graph,
    IntegrateFire,
    LeakyFire,
    Node,
    Op,
    Pulse,
    Reset,
    SignedFire,
    SpikingMaxPool,
    WaitFire,
)
from spikeport.converter.ir.analog import of_mean
from spikeport.converter.ir.ops import (
    Activation,
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
    InsertZeros,
    LocalResponseNorm,
    LogSoftmax,
    MaxPool,
    Pad,
    QuantizedRelu,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Softmax,
    Transpose,
)

SHAPE = (2, 6, 6)


def draw(*shape: int, seed: int = 0, scale: float = 0.5) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, scale, shape)
    return np.clip(np.round(values * 64), -127, 127).astype(np.float32)


def fire(
    shape: tuple[int, ...], reset: Reset = Reset.SUBTRACT, threshold: float = 64
) -> IntegrateFire:
    """Neurons of one threshold, with half of it as initial potential."""
    one = np.ones((1,) * len(shape), np.float32)
    return IntegrateFire(threshold * one, threshold // 2 * one, reset)


def conv(n_out: int, n_in: int, kernel: tuple[int, ...], **options: object) -> Conv:
    n = len(kernel)
    settings = {"strides": (1,) * n, "dilation": (1,) * n, "padding": ((0, 0),) * n, **options}
    weight = draw(n_out, n_in, *kernel, seed=n_out, scale=0.4)
    return Conv(weight, draw(n_out, seed=1, scale=0.1), **settings)


class Chain:
    """Appends nodes, each to the one before unless told otherwise."""

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        self.nodes = [Node("x", Input(shape))]

    def add(self, name: str, op: Op, *inputs: str) -> Chain:
        self.nodes.append(Node(name, op, inputs or (self.nodes[-1].name,)))
        return self

    def shape(self, name: str = "") -> tuple[int, ...]:
        graph = Graph(tuple(self.nodes), ("x",), (self.nodes[-1].name,))
        return graph.types[name or self.nodes[-1].name].shape

    def fire(self, name: str, reset: Reset = Reset.SUBTRACT) -> Chain:
        """Add neurons; behind the input, whose entries go up to 16, with a higher threshold."""
        is_first = all(not isinstance(node.op, IntegrateFire) for node in self.nodes)
        return self.add(name, fire(self.shape(), reset, 512 if is_first else 64))

    def finish(self, n_out: int = 3) -> Graph:
        """End with a dense layer, whose potentials are the output."""
        if len(self.shape()) > 1:
            self.add("flatten", Flatten())
        (n_in,) = self.shape()
        self.add("logits", Dense(draw(n_out, n_in, seed=9), draw(n_out, seed=8, scale=0.1)))
        outputs = (self.nodes[-1].name,)
        return Graph(tuple(self.nodes), ("x",), outputs, {"n_steps": 16})


def _behind(op: Op, name: str = "op") -> Graph:
    """The op between neurons, and a convolution behind it where it gives a feature map."""
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first").add(name, op)
    if len(start.shape()) == 3:
        start.add("behind", conv(4, start.shape()[0], (1, 1)))
    else:
        gain = np.full((1,) * len(start.shape()), 80, np.float32)
        start.add("behind", Scale(gain, 0 * gain))
    return start.fire("second").finish()


def _two(op: Op) -> Graph:
    """The op on two trains of spikes."""
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first")
    start.add("other", conv(4, 4, (1, 1)), "first").fire("second")
    start.add("op", op, "first", "second")
    return start.add("behind", conv(4, start.shape()[0], (1, 1))).fire("third").finish()


def _dense() -> Graph:
    start = Chain((12,)).add("dense", Dense(draw(8, 12), draw(8, scale=0.1))).fire("first")
    return start.finish()


def _convs() -> Graph:
    """Strides, dilation, groups, padding that differs at the sides."""
    options = {"strides": (2, 1), "padding": ((0, 1), (2, 1)), "dilation": (1, 2)}
    start = Chain().add("conv", conv(4, 2, (3, 3), **options)).fire("first")
    start.add("group", conv(6, 2, (3, 2), groups=2, padding=((1, 1), (1, 0)))).fire("second")
    return start.finish()


def _batch_norm() -> Graph:
    one = np.ones(4, np.float32)
    return _behind(BatchNorm(0.25 * one, 4 * one, 64 * one, 0.5 * one, 0.0))


def _scale() -> Graph:
    gains = np.array([32, 96, 40, -16], np.float32).reshape(4, 1, 1)
    return _behind(Scale(gains, np.abs(gains) - 10))


def _relu() -> Graph:
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first").add("again", conv(4, 4, (1, 1)))
    return start.add("op", Relu(np.full((1, 1, 1), 40, np.float32))).fire("second").finish()


def _quantized_relu() -> Graph:
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first").add("again", conv(4, 4, (1, 1)))
    return start.add("op", QuantizedRelu(THRESHOLDS, 4)).fire("second").finish()


def _flatten() -> Graph:
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first").add("op", Flatten())
    return start.finish()


def _reset_to_zero() -> Graph:
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first", Reset.ZERO)
    thresholds = np.array([32, 64, 128, 48], np.float32).reshape(4, 1, 1)
    op = IntegrateFire(thresholds, thresholds / 4, Reset.ZERO)
    return start.add("again", conv(4, 4, (2, 2))).add("op", op).finish()


def _at_the_end(op: Op) -> Graph:
    graph = _dense()
    small = Scale(np.full(1, 2**-6, np.float32), np.zeros(1, np.float32))
    nodes = (*graph.nodes, Node("small", small, ("logits",)), Node("op", op, ("small",)))
    return Graph(nodes, ("x",), ("op",), graph.metadata)


def _analog_parts() -> Graph:
    """Max-pooling, a ReLU and a sum before the first neuron, and an output there."""
    start = Chain().add("pool", MaxPool((3, 2), (1, 2), (1, 2), ((1, 1), (0, 1))))
    start.add("relu", Relu()).add("twice", Add(), "relu", "relu")
    graph = start.add("conv", conv(4, 2, (3, 2))).fire("first").finish()
    return graph.replace(outputs=("logits", "twice"))


def _neurons(op: Op) -> Graph:
    """Neurons of another kind behind spikes."""
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first")
    return start.add("again", conv(4, 4, (2, 2))).add("op", op).finish()


def _quantized(op: Op) -> Graph:
    return Chain().add("op", op).add("conv", conv(4, 2, (3, 3))).fire("first").finish()


def _of(values: list[float]) -> Array:
    return np.array(values, np.float32).reshape(-1, 1, 1)


def _of_mean(op: Op) -> Graph:
    """A function that stays analog, between neurons."""
    start = Chain().add("conv", conv(4, 2, (3, 3))).fire("first")
    start.add("small", Scale(np.full((1, 1, 1), 2, np.float32), np.full((1, 1, 1), -0.5)))
    start.add("op", of_mean(op)).add("behind", conv(4, 4, (1, 1)))
    return start.fire("second").finish()


TANH = Activation("tanh")
NORM = LocalResponseNorm(3, 0.5, 0.75, 1.0)
THRESHOLDS, INITIAL = _of([32, 64, 128, 48]), _of([16, 32, 64, 24])

EXAMPLES: dict[str, Callable[[], Graph]] = {
    "Input": _dense,
    "Identity": lambda: _behind(Identity()),
    "Dense": _dense,
    "Conv": _convs,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Relu": _relu,
    "QuantizedRelu": _quantized_relu,
    "MaxPool": lambda: _behind(MaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2)),
    "AveragePool": lambda: _behind(AveragePool((2, 2), (2, 2), ((0, 0),) * 2)),
    "GlobalAveragePool": lambda: _behind(GlobalAveragePool()),
    "Flatten": _flatten,
    "Reshape": lambda: _behind(Reshape((8, 8))),
    "Transpose": lambda: _behind(Transpose((1, 2, 0))),
    "Pad": lambda: _behind(Pad(((0, 0), (1, 0), (0, 3)))),
    "Add": lambda: _two(Add()),
    "Concatenate": lambda: _two(Concatenate(0)),
    "Softmax": lambda: _at_the_end(Softmax(0)),
    "LogSoftmax": lambda: _at_the_end(LogSoftmax(0)),
    "LocalResponseNorm": lambda: _quantized(NORM),
    "LocalResponseNormOfMean": lambda: _of_mean(NORM),
    "Sigmoid": lambda: _at_the_end(Sigmoid()),
    "Activation": lambda: _at_the_end(TANH),
    "ActivationOfMean": lambda: _of_mean(TANH),
    "SigmoidOfMean": lambda: _of_mean(Sigmoid()),
    "SoftmaxOfMean": lambda: _of_mean(Softmax(0)),
    "LogSoftmaxOfMean": lambda: _of_mean(LogSoftmax(0)),
    "IntegrateFire": _reset_to_zero,
    "Select": lambda: _behind(Select(((3, 0), None, (0, 2, 2, 3)))),
    "InsertZeros": lambda: _behind(InsertZeros((2, 3))),
    "Burst": lambda: _neurons(Burst(THRESHOLDS, INITIAL, 3)),
    "BinaryWeighted": lambda: _neurons(BinaryWeighted(THRESHOLDS / 4, INITIAL / 4, 3)),
    "WaitFire": lambda: _neurons(WaitFire(THRESHOLDS, INITIAL, 3, 5)),
    "FirstSpikeFire": lambda: _neurons(FirstSpikeFire(THRESHOLDS / 4, INITIAL / 4, 3, 5)),
    "LeakyFire": lambda: _neurons(
        LeakyFire(THRESHOLDS, INITIAL, 0.25, 1, 0.5, 0.5, Reset.SUBTRACT)
    ),
    "DifferentialFire": lambda: _neurons(
        DifferentialFire(THRESHOLDS, INITIAL, _of([1, 2, 3, -4]), 3)
    ),
    "DifferentialMaxPool": lambda: _behind(
        DifferentialMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2, _of([1, 2, 3, -4]))
    ),
    "FromDifferences": lambda: _behind(FromDifferences(THRESHOLDS)),
    "SignedFire": lambda: _neurons(SignedFire(THRESHOLDS / 4, INITIAL / 4, 3)),
    "AddOnce": lambda: _behind(AddOnce(THRESHOLDS)),
    "Pulse": lambda: _behind(Pulse(4, 2.0)),
    "SpikingMaxPool": lambda: _behind(SpikingMaxPool((2, 2), (2, 2), (1, 1), ((0, 0),) * 2)),
}


if "Quantize" in OPS:
    EXAMPLES["Quantize"] = lambda: _quantized(OPS["Quantize"](0.5, 0, 15))
    EXAMPLES["SumPool"] = lambda: _behind(OPS["SumPool"]((2, 3), (2, 1), ((0, 1), (1, 0))))


def draw_inputs(graph: Graph, n_samples: int = 6, seed: int = 3) -> tuple[Array, ...]:
    """Integers, 0 to 16."""
    random = np.random.default_rng(seed)
    return tuple(
        random.integers(0, 17, (n_samples, *graph.types[name].shape)).astype(np.float32)
        for name in graph.inputs
    )


MORE = {"analog parts": _analog_parts}
"""Graphs that are no example of one op."""
