"""Bias correction against the spikes themselves."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

import numpy as np

from ..errors import PassError, find
from ..ir import (
    Array,
    Graph,
    Neuron,
    Node,
    SpikingMaxPool,
    StatefulOp,
)
from ..ir.analog import OfMean
from ..ir.ops import Conv, Dense, Input
from .biases import add_biases, apply_in_parts, channel_means
from .insert_neurons import activation_of
from .neuron_options import FIRING

MAX_BYTES = 400_000_000
"""Of the currents of one layer; fewer samples are taken where more would not fit."""
MAX_STEPS = 1600
"""Of all samples together: the more steps, the less there is to correct, and the less it varies."""
MIN_SAMPLES = 16


class Into(StrEnum):
    """Where the corrections of neurons go."""

    BIASES = "biases"
    """Into the current of every step."""
    POTENTIALS = "potentials"
    """Into the initial potential, those of all steps at once."""


def correct_biases(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    n_samples: int = 300,
    n_rounds: int = 2,
    per_neuron: bool = False,
    into: str = Into.BIASES,
) -> Graph:
    """Shift biases so that firing rates after T steps have the mean of the ANN's activations.

    Layer by layer, in order, simulated for T steps behind the corrected layers before it:
    b += mean(a - rate)  with a the activation of the ANN, n_rounds times. Outputs are shifted by
    the mean of their difference. What is corrected is the mean of clipping, rounding and uneven
    spikes together. With `into=potentials` it is the initial potential, v += T mean(a - rate),
    that is calibrated, and biases stay.

    Before:  conv1 (Conv, bias b) -> relu1 (IntegrateFire)
    After:   conv1 (Conv, bias b) -> relu1/bias (Scale, + shift) -> relu1 (IntegrateFire)
             or, per channel: conv1 (Conv, bias b + shift) -> relu1 (IntegrateFire)

    Args:
        graph: With neurons that stand for ReLUs of the same inputs, threshold 1.
        calibration: Inputs, one array [N, ...] per graph input.
        n_steps: T.
        n_samples: The first so many calibration samples; fewer where T or the layers are large.
        n_rounds: Corrections per layer.
        per_neuron: A shift for every neuron, else for every channel.
        into: `biases` or `potentials`.

    Raises:
        PassError: n_samples or n_rounds is below 1, no such `into`, or a node is neither a neuron
            of insert_neurons nor without state.

    Keeps: the inputs and the shapes of the outputs.
    Source: Li et al. 2021 (light calibration, there per channel and once; calibration of initial
    potentials, there per neuron).
    """
    goes_into = find({str(entry): entry for entry in Into}, into, "correct_biases.into")
    for option, value in (("n_samples", n_samples), ("n_rounds", n_rounds)):
        if value < 1:
            raise PassError(
                f"correct_biases: {option} {value}, expected at least 1",
                hint="leave the option out for its default",
            )
    largest = max((type_.size for type_ in graph.types.values()), default=1)
    n_used = min(n_samples, MAX_STEPS // n_steps, MAX_BYTES // (4 * largest * n_steps))
    n_used = max(n_used, min(n_samples, MIN_SAMPLES))
    values = _Values(graph, tuple(array[:n_used] for array in calibration))
    shifts: dict[str, Array] = {}
    neurons: dict[str, Neuron] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            continue
        activation, currents = values.compute(node)
        if isinstance(node.op, FIRING):
            shift = np.zeros((1,) * (activation.ndim - 1), np.float32)
            for done in range(n_rounds + 1):
                charge, current = (0, shift) if goes_into is Into.BIASES else (n_steps * shift, 0)
                op = _charged(node.op, charge)
                spikes = _fire(op, currents, current, n_steps)
                if done < n_rounds:
                    missing = activation - spikes.mean(axis=0, dtype=np.float32)
                    shift = shift + (
                        missing.mean(axis=0, dtype=np.float32)
                        if per_neuron
                        else channel_means(missing)
                    )
            if goes_into is Into.POTENTIALS:
                neurons[node.name] = op
            else:
                shifts[node.name] = shift
            values.keep(node, activation, spikes)
        else:
            is_output = isinstance(node.op, Conv | Dense) and node.name in graph.outputs
            if is_output and not graph.consumers[node.name]:
                shifts[node.name] = channel_means(
                    activation - currents.mean(axis=0, dtype=np.float32)
                )
            values.keep(node, activation, currents)
    nodes = (dataclasses.replace(n, op=neurons.get(n.name, n.op)) for n in graph.nodes)
    return add_biases(graph.replace(nodes=tuple(nodes)), shifts)


def _charged(op: Neuron, charge: Array | int) -> Neuron:
    return dataclasses.replace(op, initial_potential=op.initial_potential + charge)


class _Values:
    """Results of the ANN [N, ...] and of the spiking network [T or 1, N, ...], while needed."""

    def __init__(self, graph: Graph, inputs: tuple[Array, ...]) -> None:
        self._last_use = {name: node.name for node in graph.nodes for name in node.inputs}
        self._graph = graph
        self._exact = dict(zip(graph.inputs, inputs, strict=True))
        self._trains = {name: array[None] for name, array in self._exact.items()}

    def compute(self, node: Node) -> tuple[Array, Array]:
        """Return the ANN's result and the spiking network's; of neurons: their currents."""
        exact = [self._exact[name] for name in node.inputs]
        trains = [self._trains[name] for name in node.inputs]
        if isinstance(node.op, FIRING):
            return activation_of(self._graph, node).apply(exact[0]), trains[0]
        if isinstance(node.op, SpikingMaxPool | OfMean):  # apply is what they are without time
            return apply_in_parts(node.op, exact), _send(node.op, trains[0])
        if isinstance(node.op, StatefulOp):
            raise PassError(
                f"{node}: has no activation to compare with, expected neurons of insert_neurons",
                hint="corrections come behind insert_neurons, before other passes",
            )
        n_different = max(len(train) for train in trains)
        steps = [
            apply_in_parts(node.op, [np.asarray(t[min(k, len(t) - 1)], np.float32) for t in trains])
            for k in range(n_different)
        ]
        return apply_in_parts(node.op, exact), np.stack(steps)

    def keep(self, node: Node, exact: Array, train: Array) -> None:
        """Keep the results of a node; drop what nobody needs any more."""
        self._exact[node.name], self._trains[node.name] = exact, train
        for name in set(node.inputs):
            if self._last_use[name] == node.name:
                del self._exact[name], self._trains[name]


def _send(op: StatefulOp, train: Array) -> Array:
    """Return what an op sends, [T, N, ...], for what arrives."""
    state = op.start(train.shape[1:])
    sent = []
    for arriving in train:
        result, state = op.step(np.asarray(arriving, np.float32), state)
        sent.append(result)
    return np.stack(sent)


def _fire(op: Neuron, currents: Array, shift: Array | int, n_steps: int) -> Array:
    """Return the spikes [T, N, ...], one byte each, of neurons with shifted currents."""
    state = op.start(currents.shape[1:])
    spikes = np.empty((n_steps, *currents.shape[1:]), np.int8)
    for step in range(n_steps):
        current = currents[min(step, len(currents) - 1)]
        spikes[step], state = op.step(current + shift, state)
    return spikes
