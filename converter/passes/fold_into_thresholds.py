"""Binary weights become -1 and 1, and everything behind them an integer threshold."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..ir import Array, Graph, IntegrateFire, Node, SumPool
from ..ir.integers import MAX_INTEGER
from ..ir.ops import (
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    Identity,
    MaxPool,
    Pad,
    Reshape,
    Scale,
    Select,
    Transpose,
)
from .rescaling import compact

_MOVING = (Identity, Flatten, Reshape, Transpose, Pad, Select, Concatenate, MaxPool)
Numbers = npt.NDArray[np.float64]


def fold_into_thresholds(graph: Graph, *, n_steps: int) -> Graph:
    """Make weights that are -a, 0 or a per output channel -1, 0 or 1, for a graph of one step.

    A neuron fires in its one step if a (w x) + b + v >= threshold, where w x is an integer: if
    w x >= ceil((threshold - v - b) / a). So bias, batch norm and scales become an integer
    threshold, per channel or, where a shift differs from place to place, per neuron. Averages of
    spikes in front become sums of spikes. Thresholds below 1 become an initial potential.

    Before:  conv2 (Conv, weights -a, a, bias b) -> relu2 (IntegrateFire, threshold 1)
    After:   conv2 (Conv, weights -1, 1, bias 0) -> relu2 (IntegrateFire, threshold 17)

    Args:
        graph: Spiking, with reset by subtraction.
        n_steps: T; a graph of more steps stays as it is, because its neurons carry a remainder.

    Keeps: every spike, but for sums closer to the threshold than float32 resolves.
    Source: Courbariaux et al. 2016 (binary layers and integer thresholds).
    """
    if n_steps != 1 or "schedule" in graph.metadata:
        return graph
    counts = _find_counts(graph)
    nodes = {node.name: node for node in graph.nodes}
    for chain in _find_chains(graph, counts):
        _fold(graph, nodes, chain)
    return graph.replace(nodes=_order(graph, nodes))


@dataclass(frozen=True)
class _Chain:
    """A binary layer, what is scaled and shifted behind it, and the neurons at the end."""

    layer: Node
    scales: tuple[Node, ...]
    neuron: Node
    pool: Node | None
    size: int
    """Entries of a window of `pool`."""


def _find_counts(graph: Graph) -> frozenset[str]:
    """Return the results that are whole numbers of spikes: spikes, moved or not, and their sums."""
    found: set[str] = set()
    for node in graph.nodes:
        moves = isinstance(node.op, (*_MOVING, SumPool)) and bool(node.inputs)
        if graph.types[node.name].spiking or (moves and found.issuperset(node.inputs)):
            found.add(node.name)
    return frozenset(found)


def _find_chains(graph: Graph, counts: frozenset[str]) -> list[_Chain]:
    chains = []
    for node in graph.nodes:
        if not isinstance(node.op, IntegrateFire):
            continue
        scales: list[Node] = []
        before = graph.by_name[node.inputs[0]]
        while isinstance(before.op, Scale) and graph.is_only_use(before.name):
            scales.insert(0, before)
            before = graph.by_name[before.inputs[0]]
        if not isinstance(before.op, Conv | Dense) or not graph.is_only_use(before.name):
            continue
        if _amplitudes(before.op.weight) is None:
            continue
        operand, pool = before.inputs[0], None
        if operand not in counts:
            pool = _find_mean_of_spikes(graph, operand, counts)
            if pool is None:
                continue
        size = 1 if pool is None else int(np.prod(pool.op.kernel))  # type: ignore[attr-defined]
        chains.append(_Chain(before, tuple(scales), node, pool, size))
    return chains


def _find_mean_of_spikes(graph: Graph, name: str, counts: frozenset[str]) -> Node | None:
    """Return the average pooling of spikes that a result is, moved or not; nobody else takes it."""
    node = graph.by_name[name]
    while isinstance(node.op, Flatten | Reshape | Transpose) and graph.is_only_use(node.name):
        node = graph.by_name[node.inputs[0]]
    op = node.op
    if not isinstance(op, AveragePool) or not graph.is_only_use(node.name):
        return None
    is_even = op.count_padding or not any(map(any, op.padding))
    return node if is_even and node.inputs[0] in counts else None


def _amplitudes(weight: Array) -> Numbers | None:
    """Return a per output channel where all weights are -a, 0 or a, else None."""
    flat = np.abs(weight.reshape(len(weight), -1))
    largest = flat.max(axis=1, keepdims=True)
    if not (largest > 0).all() or not ((flat == largest) | (flat == 0)).all():
        return None
    return np.asarray(largest[:, 0], np.float64)


def _fold(graph: Graph, nodes: dict[str, Node], chain: _Chain) -> None:
    """Replace the nodes of a chain; the names of the layer and the neuron stay."""
    op, neuron = chain.layer.op, chain.neuron.op
    if not isinstance(op, Conv | Dense) or not isinstance(neuron, IntegrateFire):
        return
    rank = len(graph.types[chain.layer.name].shape)
    found = _amplitudes(op.weight)
    if found is None:
        return
    amplitude = found.reshape(-1, *(1,) * (rank - 1)) / chain.size
    offset: Numbers = op.bias.astype(np.float64).reshape(amplitude.shape)
    for node in chain.scales:
        if isinstance(node.op, Scale):
            amplitude = amplitude * node.op.scale
            offset = offset * node.op.scale + node.op.shift
    if (amplitude == 0).any() or any(size > 1 for size in amplitude.shape[1:]):
        return
    sign = np.sign(amplitude)
    needed = neuron.threshold.astype(np.float64) - neuron.initial_potential - offset
    least = np.ceil(needed / np.abs(amplitude))
    if not (np.abs(least) < MAX_INTEGER).all():
        return
    spread = sign.reshape(-1, *(1,) * (op.weight.ndim - 1))
    weight = np.sign(op.weight) * spread
    threshold = np.maximum(least, 1)
    layer = dataclasses.replace(
        op, weight=np.asarray(weight, np.float32), bias=np.zeros_like(op.bias)
    )
    nodes[chain.layer.name] = dataclasses.replace(chain.layer, op=layer, unit=None)
    for node in chain.scales:
        del nodes[node.name]
    fired = IntegrateFire(
        compact(threshold.astype(np.float32)), compact((threshold - least).astype(np.float32))
    )
    nodes[chain.neuron.name] = dataclasses.replace(
        chain.neuron, op=fired, inputs=(chain.layer.name,)
    )
    if chain.pool is not None and isinstance(chain.pool.op, AveragePool):
        pool = chain.pool.op
        summed = SumPool(pool.kernel, pool.strides, pool.padding)
        nodes[chain.pool.name] = dataclasses.replace(chain.pool, op=summed, unit=None)


def _order(graph: Graph, nodes: dict[str, Node]) -> tuple[Node, ...]:
    return tuple(nodes[node.name] for node in graph.nodes if node.name in nodes)
