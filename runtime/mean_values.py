"""propagate: what the nodes of a spiking graph give on the mean of a run, for given rates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..converter.errors import SimulationError
from ..converter.ir import AddOnce, Array, Graph, Neuron, Node, Pulse, StatefulOp
from ..converter.ir.ops import Input, MaxPool


def propagate(
    graph: Graph,
    inputs: tuple[Array, ...],
    n_steps: int,
    fire: Callable[[Node, Array], Array],
) -> dict[str, Array]:
    """Return the mean over the steps of a run of every node's results, [N, ...].

    Operations between neurons are linear over time, so they give means of means; a maximum is that
    of what has been accumulated.

    Args:
        graph: Spiking.
        inputs: What flows in on the mean, [N, ...] per graph input.
        n_steps: Of the run.
        fire: Gives what neurons send on the mean, of their node and mean current.

    Raises:
        SimulationError: A node has no mean that its operands' means give.
    """
    values: dict[str, Array] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        if isinstance(node.op, Input):
            continue
        operands = tuple(values[name] for name in node.inputs)
        if isinstance(node.op, Neuron):
            values[node.name] = fire(node, operands[0])
        elif isinstance(node.op, Pulse):
            flows = np.float32(node.op.gain * node.op.n_steps / n_steps)
            values[node.name] = operands[0] * flows
        elif isinstance(node.op, AddOnce):
            values[node.name] = operands[0] + node.op.charge / np.float32(n_steps)
        elif isinstance(node.op, StatefulOp) and not isinstance(node.op, MaxPool):
            raise SimulationError(
                f"{node}: has no mean that its operands' means give, expected neurons and poolings",
                hint="explain takes networks without nodes that stay analog",
            )
        else:
            values[node.name] = node.op.apply(*operands)
    return values
