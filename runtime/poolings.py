"""describe_poolings: how the poolings of a spiking graph work over time, and what they keep."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..converter.ir import DifferentialMaxPool, Graph, Neuron, Node, SpikingMaxPool, StepInput
from ..converter.ir.ops import (
    AveragePool,
    Concatenate,
    Flatten,
    GlobalAveragePool,
    Identity,
    MaxPool,
    Pad,
    Reshape,
    Scale,
    Select,
    Transpose,
)

REARRANGING = (Concatenate, Flatten, Identity, Pad, Reshape, Select, Transpose)

HOW: dict[str, str] = {
    "counts": "max-pooling by accumulated counts, exact on the counts of every step",
    "or": "max-pooling by OR, exact on the sorted spikes of the schedule",
    "before": "max-pooling of accumulated currents in front of the neurons",
    "means": "max-pooling of the means so far, exact on what differences add up to at every step",
    "linear": "average pooling of spikes, linear",
    "neurons": "average pooling with neurons of its own",
}
"""What a choice of place_poolings, or what a recipe makes of it, is called in results."""


@dataclass(frozen=True)
class Pooling:
    """One pooling of what changes over time.

    Attributes:
        node: Its name.
        how: A key of HOW.
        counters: Numbers that it keeps from step to step, per sample: counts, means or sums of
            currents.
        comparisons: Per sample and step, at most: entries of all its windows; 0 of averages.
        neurons: Behind it: those that pooling in front of neurons leaves, or that it got itself.
    """

    node: str
    how: str
    counters: int
    comparisons: int
    neurons: int

    def to_json(self) -> dict[str, Any]:
        """Return an entry of `poolings` in the JSON (docs/evaluation.md)."""
        return dict(vars(self))


def describe_poolings(graph: Graph) -> tuple[Pooling, ...]:
    """Return a description per pooling behind neurons, in topological order."""
    found = (_describe(graph, node) for node in graph.nodes if node.name in graph.varying)
    return tuple(pooling for pooling in found if pooling is not None)


def pooling_lines(poolings: Iterable[Pooling]) -> list[str]:
    """Return one line per kind of pooling: which nodes, and what they cost."""
    lines = []
    by_kind: dict[str, list[Pooling]] = {}
    for pooling in poolings:
        by_kind.setdefault(pooling.how, []).append(pooling)
    for how, members in by_kind.items():
        costs = [
            f"{sum(values):,} {name}"
            for name, values in (
                ("counters", [each.counters for each in members]),
                ("comparisons per step at most", [each.comparisons for each in members]),
                ("neurons", [each.neurons for each in members]),
            )
            if sum(values)
        ]
        names = ", ".join(each.node for each in members)
        lines.append(f"{HOW[how]} ({names})" + (f": {', '.join(costs)}" if costs else ""))
    return lines


def _describe(graph: Graph, node: Node) -> Pooling | None:
    op = node.op
    firing = _feeds_neurons(graph, node)
    n_neurons = graph.types[node.name].size if firing else 0
    if isinstance(op, MaxPool):
        operand = graph.types[node.inputs[0]]
        n_entries = graph.types[node.name].size * math.prod(op.kernel)
        if isinstance(op, DifferentialMaxPool):
            return Pooling(node.name, "means", operand.size, n_entries, n_neurons)
        if not isinstance(op, SpikingMaxPool):
            return Pooling(node.name, "or", 0, n_entries, n_neurons)
        how = "counts" if _is_sent(graph, node.inputs[0]) else "before"
        return Pooling(node.name, how, operand.size, n_entries, n_neurons)
    if isinstance(op, AveragePool | GlobalAveragePool):
        return Pooling(node.name, "neurons" if firing else "linear", 0, 0, n_neurons)
    return None


def _feeds_neurons(graph: Graph, node: Node) -> bool:
    """Return whether neurons take a result, with corrections of their current in between."""
    behind = graph.consumers[node.name]
    return any(
        isinstance(each.op, Neuron) or (isinstance(each.op, Scale) and _feeds_neurons(graph, each))
        for each in behind
    )


def _is_sent(graph: Graph, name: str) -> bool:
    """Return whether a result is what neurons send, in any order; else it is a current."""
    node = graph.by_name[name]
    if isinstance(node.op, Neuron | StepInput):
        return True
    moves = isinstance(node.op, (*REARRANGING, MaxPool))
    return moves and all(_is_sent(graph, each) for each in node.inputs)
