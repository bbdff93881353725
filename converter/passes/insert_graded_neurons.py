"""From activations to neurons that send more than one level per step."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

import numpy as np

from ..errors import PassError
from ..ir import BinaryWeighted, Burst, Graph, IntegrateFire, Op
from ..ir.graded import MAX_BITS
from ..ir.ops import Relu
from .insert_neurons import insert_neurons, refuse_leaks
from .rescaling import multiply_units, rescale


class GradedNeuron(StrEnum):
    """How a number of levels is sent in one step."""

    BURST = "burst"
    """As so many spikes."""
    BINARY = "binary"
    """As its bits: spikes of sizes 1, 2, 4, ..."""


def insert_graded_neurons(
    graph: Graph, *, neuron: str = GradedNeuron.BURST, levels_per_step: int = 15
) -> Graph:
    """Replace ReLUs by neurons that send 0 to levels_per_step at every step; 15 is 4 bits.

    Activations are counted in levels: weights absorb the factor, thresholds are 1.

    Before:  conv1 (Conv) -> relu1 (Relu)         activations in [0, 1]
    After:   conv1 (Conv) -> relu1 (Burst)        0 ... levels_per_step at every step

    Args:
        graph: Normalised for as many levels per step.
        neuron: `burst` or `binary`.
        levels_per_step: The most that a neuron sends in one step; 2^bits - 1 for `binary`.

    Raises:
        PassError: No such neuron, levels outside their range, or trained leaks.
        UnsupportedOpError: As insert_neurons.

    Keeps: the inputs and the shapes of the outputs.
    Source: Hao et al. 2024, arXiv:2402.00411 (equidistant levels).
    """
    if neuron not in set(GradedNeuron):
        raise PassError(
            f"insert_graded_neurons: neuron {neuron!r}, expected one of {', '.join(GradedNeuron)}",
            hint="burst is the default",
        )
    is_binary = neuron == GradedNeuron.BINARY
    fits = 1 <= levels_per_step < 2**MAX_BITS
    if not fits or (is_binary and levels_per_step & (levels_per_step + 1)):
        raise PassError(
            f"insert_graded_neurons: levels_per_step {levels_per_step}, expected 1 to "
            f"{2**MAX_BITS - 1}" + (", one less than a power of two" if is_binary else ""),
            hint="15 is the default, 4 bits",
        )
    refuse_leaks(graph, "insert_graded_neurons")
    if not any(isinstance(node.op, Relu) for node in graph.nodes):
        return graph
    step = np.float32(1 / levels_per_step)
    relus = (node.name for node in graph.nodes if isinstance(node.op, Relu))
    ranks = {name: len(graph.types[name].shape) for name in relus}
    units = {name: np.full((1,) * rank, step) for name, rank in ranks.items()}
    scaled = multiply_units(rescale(graph, units), graph)
    nodes = []
    for node in insert_neurons(scaled).nodes:
        op: Op = node.op
        if isinstance(op, IntegrateFire):
            op = Burst(op.threshold, op.initial_potential, levels_per_step)
            if is_binary:
                n_bits = levels_per_step.bit_length()
                op = BinaryWeighted(op.threshold, op.initial_potential, n_bits)
        nodes.append(dataclasses.replace(node, op=op))
    return scaled.replace(nodes=tuple(nodes))
