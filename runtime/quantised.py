"""The quantised network that a rate-coded one approximates: the baseline at matched bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..converter.errors import SimulationError
from ..converter.ir import Array, Graph, IntegrateFire, Reset, StatefulOp
from ..converter.ir.ops import Input, MaxPool
from .checks import Labels, check_samples
from .decoding import decide, read_readouts
from .energy import matched_bits

BATCH_SIZE = 50


@dataclass(frozen=True)
class Quantised:
    """What the quantised ANN decided.

    Attributes:
        n_samples: N.
        n_levels: An activation is one of 0, 1, ... n_levels, times a unit; T.
        n_bits: That many bits hold it.
        accuracy: Share of right decisions; of decisions that equal those given, without labels.
        agreement: Share of samples with the spiking network's decision.
    """

    n_samples: int
    n_levels: int
    n_bits: int
    accuracy: float
    agreement: float


def evaluate_quantised(
    graph: Graph,
    inputs: tuple[Array, ...],
    labels: Labels,
    decisions: Labels,
    *,
    n_levels: int,
    progress: Callable[[int], None] = lambda n_done: None,
) -> Quantised | None:
    """Run a spiking graph with every neuron replaced by a quantiser with as many values.

    A neuron that gets the constant current z for T steps fires
    clip(floor((z T + initial potential) / threshold), 0, T) times: activations with ceil(log2(T+1))
    bits, which an ANN computes in one pass. What the spiking network does worse is the price of
    time, what the quantised network does worse than the ANN that of the bits.

    Args:
        graph: Spiking, with IntegrateFire neurons.
        inputs: One array [N, ...] per input.
        labels: [N].
        decisions: Of the spiking network after T steps, [N].
        n_levels: T.
        progress: Called with the number of samples done.

    Returns:
        None where the graph has neurons that are no quantisers in time.

    Source: Bu et al. 2022 (QCFS), eq. 12.
    """
    check_samples(graph, inputs, labels)
    readout = read_readouts(graph)[0]
    found = np.empty(len(labels), np.int64)
    for start in range(0, len(labels), BATCH_SIZE):
        batch = tuple(array[start : start + BATCH_SIZE] for array in inputs)
        try:
            values = run_quantised(graph, batch, n_levels)
        except SimulationError:
            return None
        potential = values[graph.outputs[0]]
        found[start : start + BATCH_SIZE] = decide(readout.apply(potential), readout)
        progress(min(start + BATCH_SIZE, len(labels)))
    return Quantised(
        len(labels),
        n_levels,
        matched_bits(n_levels),
        float((found == labels).mean()),
        float((found == decisions).mean()),
    )


def run_quantised(graph: Graph, inputs: tuple[Array, ...], n_levels: int) -> dict[str, Array]:
    """Return every result [N, ...] of the quantised network, spikes as rates.

    Raises:
        SimulationError: A neuron is no IntegrateFire with reset by subtraction.
    """
    values = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        if isinstance(node.op, Input):
            continue
        operands = tuple(values[name] for name in node.inputs)
        op = node.op
        if isinstance(op, IntegrateFire) and op.reset is Reset.SUBTRACT:
            # float64: a current that is a multiple of the threshold must not fall below it
            charge = operands[0].astype(np.float64) * n_levels + op.initial_potential
            counts = np.clip(np.floor(charge / op.threshold), 0, n_levels)
            values[node.name] = (counts / n_levels).astype(np.float32)
        elif isinstance(op, StatefulOp) and not isinstance(op, MaxPool):
            raise SimulationError(
                f"{node}: is no quantiser over time, expected integrate-and-fire neurons",
                hint="the quantised baseline is for graphs of the rate recipes",
            )
        else:
            values[node.name] = op.apply(*operands)
    return values
