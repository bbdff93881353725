"""Read the outputs once the spikes of all layers arrive."""

from __future__ import annotations

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph, Node, OfMean, Pulse, SpikingMaxPool, StatefulOp
from ..ir.ops import Add, Input, Scale
from .biases import apply_in_parts, channel_means
from .insert_neurons import activation_of
from .neuron_options import FIRING

MIN_READ = 4
"""Steps that are read at least."""
N_SAMPLES = 100


def delay_readout(
    graph: Graph, *, calibration: tuple[Array, ...], n_steps: int, first_step: int = -1
) -> Graph:
    """Let the outputs' currents count from a step on; the run stays T steps long.

        first step = sum_l (theta_l - v0_l) / max_i mean(a_l,i),   at most T - 4

    is when the first spikes have come through: until a neuron of layer l that has the layer's
    largest mean activation fires. With less than five steps all are read.

    Before:  logits (Dense)
    After:   logits (Dense) -> logits/early (Pulse of the first steps) -> logits/taken (Scale by -1)
             logits, logits/taken -> logits/read (Add), unit times T / (T - first step)

    Args:
        graph: With neurons of insert_neurons.
        calibration: Inputs, one array [N, ...] per graph input.
        n_steps: T.
        first_step: That is read, 0 the first; -1 for the formula above.

    Raises:
        PassError: first_step is not below T, or there are neurons of other passes.

    Keeps: the inputs and the shapes of the outputs; the mean over T steps is that over those read.
    Source: Bu et al. 2025 (delayed evaluation).
    """
    if not -1 <= first_step < n_steps:
        raise PassError(
            f"delay_readout: first_step {first_step}, expected -1 or 0 to {n_steps - 1}",
            hint="-1 chooses it",
        )
    if "read_from_step" in graph.metadata:
        return graph
    first = first_step if first_step >= 0 else _find_first(graph, calibration, n_steps)
    outputs = [name for name in graph.outputs if name in graph.varying]
    if not first or not outputs:
        return graph
    nodes, renamed = list(graph.nodes), {}
    for name in dict.fromkeys(outputs):
        old = graph.by_name[name].unit
        one = np.ones((1,) * len(graph.types[name].shape), np.float32)
        unit = (one if old is None else old) * np.float32(n_steps / (n_steps - first))
        early, taken, read = (graph.fresh_name(f"{name}/{x}") for x in ("early", "taken", "read"))
        nodes += (
            Node(early, Pulse(first, 1.0), (name,), unit=old),
            Node(taken, Scale(-one, 0 * one), (early,)),
            Node(read, Add(), (name, taken), unit=unit),
        )
        renamed[name] = read
    return graph.replace(
        nodes=tuple(nodes),
        outputs=tuple(renamed.get(name, name) for name in graph.outputs),
        metadata={**graph.metadata, "read_from_step": first},
    )


def _find_first(graph: Graph, calibration: tuple[Array, ...], n_steps: int) -> int:
    """Return the step of the formula, with the activations of the network without time."""
    values = dict(zip(graph.inputs, (array[:N_SAMPLES] for array in calibration), strict=True))
    last_use = {name: node.name for node in graph.nodes for name in node.inputs}
    total = 0.0
    for node in graph.nodes:
        op = node.op
        if isinstance(op, Input):
            continue
        operands = [values[name] for name in node.inputs]
        for name in set(node.inputs):
            if last_use[name] == node.name:
                del values[name]
        if isinstance(op, FIRING):
            values[node.name] = activation_of(graph, node).apply(operands[0])
            means = channel_means(values[node.name])
            missing = float((op.threshold - op.initial_potential).mean())
            total += missing / max(float(means.max()), 1e-6)
        elif isinstance(op, StatefulOp) and not isinstance(op, SpikingMaxPool | OfMean):
            raise PassError(
                f"delay_readout: {node} is no neuron of insert_neurons",
                hint="delays come behind insert_neurons, before other passes",
            )
        else:
            values[node.name] = apply_in_parts(op, operands)
    return max(0, min(int(total), n_steps - MIN_READ))
