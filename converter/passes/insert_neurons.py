"""From activations to integrate-and-fire neurons."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import PassError, UnsupportedOpError
from ..ir import Graph, IntegrateFire, Node, Reset, SpikingMaxPool
from ..ir.analog import ANALOG, of_mean
from ..ir.ops import BatchNorm, MaxPool, Relu


def insert_neurons(
    graph: Graph, *, initial_potential: float = 0.5, reset: str = Reset.SUBTRACT
) -> Graph:
    """Replace ReLUs by neurons with threshold 1, max-pooling behind them by SpikingMaxPool.

    Before:  conv1 (Conv) -> relu1 (Relu)               activations in [0, 1]
    After:   conv1 (Conv) -> relu1 (IntegrateFire)      spikes; rates in [0, 1]

    Nodes that `metadata["keep_analog"]` names stay analog, on the mean so far (OfMean).

    Args:
        graph: Normalised, so that activations reach about 1.
        initial_potential: In thresholds; 1/2 makes the expected quantisation error zero.
        reset: `subtract` or `zero`.

    Raises:
        PassError: `reset` is not one of the two, or the initial potential is not in [0, 1).
        UnsupportedOpError: An op has no meaning per time step; all of them are listed.

    Keeps: the inputs and the shapes of the outputs.
    Source: Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682.
    """
    if reset not in set(Reset):
        raise PassError(
            f"insert_neurons: reset {reset!r}, expected one of {', '.join(Reset)}",
            hint="reset by subtraction loses no charge and is what rate coding wants",
        )
    if not 0 <= initial_potential < 1:
        raise PassError(
            f"insert_neurons: initial_potential {initial_potential}, expected 0 <= value < 1",
            hint="0.5, half the threshold, is the default",
        )
    kept = set(graph.metadata.get("keep_analog", ()))
    reasons = tuple(
        f"{node}: changes its result with the sum over time steps, expected at an output only"
        for node in graph.nodes
        if isinstance(node.op, BatchNorm) or (type(node.op) in ANALOG and node.name not in kept)
    )
    if reasons:
        raise UnsupportedOpError("no spiking translation", reasons=reasons)
    nodes: list[Node] = []
    varying: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, Relu):
            rank = len(graph.types[node.name].shape)
            threshold = np.ones((1,) * rank, np.float32)
            neuron = IntegrateFire(threshold, threshold * initial_potential, Reset(reset))
            node = dataclasses.replace(node, op=neuron)
            varying.add(node.name)
        elif varying.intersection(node.inputs):
            varying.add(node.name)
            if isinstance(node.op, MaxPool):
                pool = node.op
                op = SpikingMaxPool(pool.kernel, pool.strides, pool.dilation, pool.padding)
                node = dataclasses.replace(node, op=op)
            elif type(node.op) in ANALOG:
                node = dataclasses.replace(node, op=of_mean(node.op))
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))
