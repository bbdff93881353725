"""Currents of wide layers rounded to fewer bits, so that their sums over T steps stay exact."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..ir import Array, Graph, Neuron, Node, Pulse
from ..ir.bounds import find_overflows
from ..ir.integers import MAX_INTEGER, Quantize
from ..ir.ops import Input

MAX_SHIFT = 12


def narrow_currents(graph: Graph, n_steps: int) -> Graph:
    """Round constant currents that grow too large over T steps, by as few bits as will do.

    A current c that is the same at every step, of a layer behind the input, becomes
    round(c / 2^k); thresholds and initial potentials of its neurons are divided by 2^k, too. k is
    the least for which all sums stay below 2^24; a graph that needs none is returned as it is.

    Before:  dense1 (Dense) -> dense1/pulse (Pulse) -> relu1 (WaitFire, threshold 12000)
    After:   dense1 (Dense) -> dense1/rounded (Quantize by 2^k) -> dense1/pulse -> relu1 (12000/2^k)

    Args:
        graph: Of integers.
        n_steps: Steps of the whole run.
    """
    chains = _find_chains(graph)
    shifts: dict[str, int] = {}
    narrowed = graph
    while True:
        reasons = find_overflows(narrowed, n_steps)
        large = {
            name
            for name, behind in chains.items()
            if any(reason.startswith(f"{graph.by_name[x]}:") for x in behind for reason in reasons)
        }
        if not large or max(shifts.get(name, 0) for name in large) == MAX_SHIFT:
            return narrowed
        shifts |= {name: shifts.get(name, 0) + 1 for name in large}
        narrowed = _shift(graph, chains, shifts)


def _find_chains(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Return the constant currents that reach neurons only, and what is behind each of them."""
    chains = {}
    for node in graph.nodes:
        if node.name in graph.varying or isinstance(node.op, Input | Quantize):
            continue
        behind = list(graph.consumers[node.name])
        for each in tuple(behind):
            if isinstance(each.op, Pulse):
                behind += graph.consumers[each.name]
        if behind and all(
            isinstance(each.op, Pulse | Neuron) and each.name not in graph.outputs
            for each in behind
        ):
            chains[node.name] = tuple(each.name for each in behind)
    return chains


def _shift(graph: Graph, chains: Mapping[str, tuple[str, ...]], shifts: Mapping[str, int]) -> Graph:
    divisors = {name: 2 ** shifts[root] for root in shifts for name in chains[root]}
    renamed = {root: graph.fresh_name(f"{root}/rounded") for root in shifts}
    nodes: list[Node] = []
    for node in graph.nodes:
        divisor = divisors.get(node.name, 1)
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        op, unit = node.op, node.unit
        if isinstance(op, Neuron) and divisor > 1:
            threshold = np.maximum(2, 2 * np.rint(op.threshold / np.float32(2 * divisor)))
            initial = np.rint(op.initial_potential / np.float32(divisor))
            op = dataclasses.replace(op, threshold=threshold, initial_potential=initial)
        elif divisor > 1:
            unit = _times(graph, node, divisor)
        nodes.append(dataclasses.replace(node, op=op, inputs=inputs, unit=unit))
        if node.name in shifts:
            divisor = 2 ** shifts[node.name]
            limit = (MAX_INTEGER - 1) // divisor
            rounded = Quantize(float(divisor), -limit, limit)
            unit = _times(graph, node, divisor)
            nodes.append(Node(renamed[node.name], rounded, (node.name,), unit=unit))
    return graph.replace(nodes=tuple(nodes))


def _times(graph: Graph, node: Node, divisor: int) -> Array:
    """Return what one integer of a result stands for, once it is divided."""
    one = np.ones((1,) * len(graph.types[node.name].shape), np.float32)
    return np.asarray((one if node.unit is None else node.unit) * np.float32(divisor), np.float32)
