"""The analog network that stands behind a spiking one: every neuron becomes the rate it tends to.

IntegrateFire, current c       clip(c / threshold, 0, 1)
Burst, BinaryWeighted          clip(c / threshold, 0, the most of one step)
SpikingMaxPool                 MaxPool
OfMean                         the function itself
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...ir import BinaryWeighted, Burst, Graph, IntegrateFire, Node, Op, Reset, SpikingMaxPool
from ...ir.analog import ANALOG
from ...ir.ops import MaxPool, Relu, Scale
from ..refusals import REFUSED

LARGEST: dict[type[Op], Any] = {
    IntegrateFire: lambda op: 1.0,
    Burst: lambda op: float(op.n_levels),
    BinaryWeighted: lambda op: float(2**op.n_bits - 1),
}
"""By neuron: the largest rate."""

_PLAIN = {mean: op for op, mean in ANALOG.items() if mean.__name__ not in REFUSED["Keras"]}

REPLACED: frozenset[type[Op]] = frozenset({SpikingMaxPool, *LARGEST, *_PLAIN})
"""What `to_rates` knows."""


def to_rates(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """Return the analog graph, and what it does not say of the spiking one.

    Nodes of other kinds stay as they are. Outputs are in the source's units.
    """
    nodes: list[Node] = []
    taken = set(graph.types)
    fired: list[str] = []
    to_zero: list[str] = []
    for node in graph.nodes:
        op: Any = node.op
        if type(op) in LARGEST:
            fired.append(node.name)
            if getattr(op, "reset", Reset.SUBTRACT) is not Reset.SUBTRACT:
                to_zero.append(node.name)
            nodes += _rectify(node, LARGEST[type(op)](op), taken)
        elif type(op) is SpikingMaxPool:
            plain = MaxPool(op.kernel, op.strides, op.dilation, op.padding)
            nodes.append(dataclasses.replace(node, op=plain))
        elif type(op) in _PLAIN:
            fields = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
            nodes.append(dataclasses.replace(node, op=_PLAIN[type(op)](**fields)))
        else:
            nodes.append(node)
    outputs = []
    for name in graph.outputs:
        unit = graph.by_name[name].unit
        if unit is not None:
            scaled = Node(_fresh(f"{name}_in_units", taken), Scale(unit, 0 * unit), (name,))
            nodes.append(scaled)
            name = scaled.name
        outputs.append(name)
    losses = []
    if fired:
        losses.append(f"{', '.join(fired)}: spikes and time, the rate that they tend to is left")
    if to_zero:
        losses.append(f"{', '.join(to_zero)}: reset to zero, which fires less than this rate")
    return graph.replace(nodes=tuple(nodes), outputs=tuple(outputs)), tuple(losses)


def _rectify(node: Node, largest: float, taken: set[str]) -> list[Node]:
    op: Any = node.op
    one = np.full((1,) * op.threshold.ndim, largest, np.float32)
    if (op.threshold == 1).all():
        return [dataclasses.replace(node, op=Relu(one))]
    current = Node(
        _fresh(f"{node.name}_current", taken),
        Scale(1 / op.threshold, 0 * op.threshold),
        node.inputs,
        node.source,
    )
    return [current, dataclasses.replace(node, op=Relu(one), inputs=(current.name,))]


def _fresh(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name
