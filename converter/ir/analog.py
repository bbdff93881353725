"""Functions that stay analog inside a spiking network: ANALOG, the table of what they become."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from .graph import Graph
from .neurons import StatefulOp
from .ops import OPS, Activation, LocalResponseNorm, LogSoftmax, Op, Sigmoid, Softmax
from .types import Array


@dataclass(frozen=True, eq=False)
class OfMean(StatefulOp):
    """The function f of the mean of what has arrived so far, sent on as increments.

        total(t) = total(t-1) + current(t)
        y(t)     = t f(total(t) / t) - (t-1) f(total(t-1) / (t-1))

    The mean of what t steps have sent is f of the mean of what has arrived, at every t. Rates stand
    for activations, so this is what the function computes in the source network. Nothing of it
    is spikes: results are any numbers, and every step costs an evaluation of f.
    """

    def start(self, shape: tuple[int, ...]) -> Array:
        # What has arrived, what was sent, and the number of steps.
        return np.zeros((3, *shape), np.float32)

    def step(self, current: Array, state: Array) -> tuple[Array, Array]:
        arrived, sent, n_steps = state
        arrived += current
        n_steps += 1
        # The difference to what was sent indeed: rounding errors of the steps do not add up.
        result = self.apply(arrived / n_steps) * n_steps - sent
        sent += result
        return result, state


@dataclass(frozen=True, eq=False)
class ActivationOfMean(OfMean, Activation):
    """Activation of the mean so far, see OfMean."""


@dataclass(frozen=True, eq=False)
class SigmoidOfMean(OfMean, Sigmoid):
    """Sigmoid of the mean so far, see OfMean."""


@dataclass(frozen=True, eq=False)
class SoftmaxOfMean(OfMean, Softmax):
    """Softmax of the mean so far, see OfMean."""


@dataclass(frozen=True, eq=False)
class LogSoftmaxOfMean(OfMean, LogSoftmax):
    """LogSoftmax of the mean so far, see OfMean."""


@dataclass(frozen=True, eq=False)
class LocalResponseNormOfMean(OfMean, LocalResponseNorm):
    """LocalResponseNorm of the mean so far, see OfMean."""


ANALOG: dict[type[Op], type[OfMean]] = {
    Activation: ActivationOfMean,
    Sigmoid: SigmoidOfMean,
    Softmax: SoftmaxOfMean,
    LogSoftmax: LogSoftmaxOfMean,
    LocalResponseNorm: LocalResponseNormOfMean,
}
"""By analog op: what stands for it where its operand changes over time steps."""

OPS.update({op.__name__: op for op in ANALOG.values()})


def of_mean(op: Op) -> OfMean:
    """Return what stands for an op of ANALOG where its operand changes over time steps."""
    fields = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
    return ANALOG[type(op)](**fields)


def analog_nodes(graph: Graph) -> tuple[str, ...]:
    """Return the nodes of a spiking graph that compute a function that no neuron stands for."""
    return tuple(node.name for node in graph.nodes if isinstance(node.op, tuple(ANALOG)))


def explain(op: Op) -> str:
    """Return why no neuron stands for an op of ANALOG."""
    if isinstance(op, Activation):
        return f"{op.function} is not a ReLU, no rate of spikes stands for it"
    if isinstance(op, LocalResponseNorm):
        return "divides by the energy of neighboring channels, which no rate of spikes stands for"
    return f"{type(op).__name__.lower()} inside the network, expected at an output only"
