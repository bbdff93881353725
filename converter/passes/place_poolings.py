"""Where poolings stand among neurons: behind them, in front of them, with neurons of their own."""

from __future__ import annotations

import dataclasses
from enum import StrEnum

from ..errors import PassError, UnsupportedOpError
from ..ir import Graph, Node
from ..ir.ops import (
    AveragePool,
    Concatenate,
    Flatten,
    GlobalAveragePool,
    Identity,
    InsertZeros,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Select,
    Transpose,
)

_MOVING = (Concatenate, Flatten, Identity, InsertZeros, Pad, Reshape, Select, Transpose)
_AVERAGING = (AveragePool, GlobalAveragePool)


class MaxPooling(StrEnum):
    """How a maximum is taken of what changes over time steps."""

    COUNTS = "counts"
    """Behind neurons: a spike passes if its neuron takes the lead of its window by it (gating by
    accumulated counts). Exact on the counts at every step."""
    OR = "or"
    """Behind neurons of an exact schedule: a window fires if one of its neurons does. Exact, and
    without counters, because every neuron of a window fires in the first steps of its time."""
    BEFORE = "before"
    """In front of the neurons, on accumulated currents: fewer neurons, but the pooling takes
    currents, not spikes."""


class AveragePooling(StrEnum):
    """What average pooling behind neurons sends."""

    LINEAR = "linear"
    """Means of spikes, at once: part of the weights behind."""
    NEURONS = "neurons"
    """Spikes: it gets neurons of its own."""


def place_poolings(
    graph: Graph, *, max_pool: str = MaxPooling.COUNTS, average_pool: str = AveragePooling.LINEAR
) -> Graph:
    """Choose how poolings behind ReLUs will work on spikes; the function stays the same.

    `before` swaps max-pooling with the ReLU in front of it, which it commutes with; `neurons` puts
    a ReLU behind average pooling of what is never negative, which changes nothing. `or` is left to
    schedule_neurons, in `metadata["max_pool"]`.

    Before:  conv1 (Conv) -> relu1 (Relu) -> pool1 (MaxPool)
    After:   conv1 (Conv) -> pool1/currents (MaxPool) -> pool1 (Relu)

    Args:
        graph: Analog.
        max_pool: `counts`, `or` or `before`.
        average_pool: `linear` or `neurons`.

    Raises:
        PassError: No such choice.
        UnsupportedOpError: `before`, and a max-pooling behind ReLUs is not directly behind one;
            `neurons`, and an average pooling behind ReLUs may be negative.

    Keeps: the function.
    Source: Rueckauer et al. 2017 (gating by counts); Hao et al. 2025 (sorted spikes).
    """
    for option, value, choices in (
        ("max_pool", max_pool, MaxPooling),
        ("average_pool", average_pool, AveragePooling),
    ):
        if value not in set(choices):
            default = next(iter(choices))
            raise PassError(
                f"place_poolings: {option} {value!r}, expected one of {', '.join(choices)}",
                hint=f"{default} is the default; docs/methods.md says what each does",
            )
    if max_pool == MaxPooling.BEFORE:
        graph = _swap(graph)
    if average_pool == AveragePooling.NEURONS:
        graph = _add_neurons(graph)
    if max_pool == MaxPooling.OR:
        graph = graph.replace(metadata={**graph.metadata, "max_pool": str(max_pool)})
    return graph


def _swap(graph: Graph) -> Graph:
    """Put max-poolings in front of the ReLUs; ReLUs that nothing takes any more are left out."""
    done: dict[str, Node] = {}
    behind: set[str] = set()
    reasons = []
    for node in graph.nodes:
        if isinstance(node.op, Relu) or behind.intersection(node.inputs):
            behind.add(node.name)
        before = done.get(node.inputs[0]) if node.inputs else None
        if not isinstance(node.op, MaxPool) or node.name not in behind or before is None:
            done[node.name] = node
        elif isinstance(before.op, Relu) and _commutes(before.op):
            name = graph.fresh_name(f"{node.name}/currents")
            done[name] = dataclasses.replace(node, name=name, inputs=before.inputs)
            done[node.name] = dataclasses.replace(node, op=before.op, inputs=(name,))
        else:
            done[node.name] = node
            if not _is_before(graph, node):
                reasons.append(f"{node}: follows {before}, expected a ReLU directly in front of it")
    if reasons:
        raise UnsupportedOpError(
            "place_poolings: max_pool 'before' cannot be done",
            reasons=tuple(reasons),
            hint="leave it out: max_pool=counts works behind anything",
        )
    used = {name for node in done.values() for name in node.inputs} | set(graph.outputs)
    kept = (n for n in done.values() if n.name in used or not isinstance(n.op, Relu))
    return graph.replace(nodes=tuple(kept))


def _commutes(op: Relu) -> bool:
    """Whether a ReLU is the same function all over a window: its cap does not depend on places."""
    return op.max_value is None or op.max_value.size == len(op.max_value)


def _is_before(graph: Graph, node: Node) -> bool:
    return any(isinstance(behind.op, Relu) for behind in graph.consumers[node.name])


def _add_neurons(graph: Graph) -> Graph:
    """Put a ReLU behind average poolings that lie behind ReLUs."""
    nodes: list[Node] = []
    behind: set[str] = set()
    positive: set[str] = set()
    reasons = []
    for node in graph.nodes:
        is_kept = isinstance(node.op, (*_MOVING, *_AVERAGING, MaxPool))
        if isinstance(node.op, Relu) or (is_kept and positive.issuperset(node.inputs)):
            positive.add(node.name)
        if isinstance(node.op, Relu) or behind.intersection(node.inputs):
            behind.add(node.name)
        is_pool = isinstance(node.op, _AVERAGING) and node.name in behind
        if is_pool and not _is_before(graph, node):
            if node.name in positive:
                name = graph.fresh_name(f"{node.name}/mean")
                nodes.append(dataclasses.replace(node, name=name))
                node = dataclasses.replace(node, op=Relu(), inputs=(name,))
            else:
                reasons.append(f"{node}: may be negative, expected ReLUs in front of it")
        nodes.append(node)
    if reasons:
        raise UnsupportedOpError(
            "place_poolings: average_pool 'neurons' cannot be done",
            reasons=tuple(reasons),
            hint="leave it out: average_pool=linear works behind anything",
        )
    return graph.replace(nodes=tuple(nodes))
