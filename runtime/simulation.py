"""What every engine gives: Simulation, and the arrays in which it is collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..converter.errors import SimulationError
from ..converter.ir import Array, Graph, Neuron, Node, SignedFire
from ..converter.ir.ops import Conv, Dense
from .early_exit import ExitRule

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Simulation:
    """One batch of N samples, simulated for T steps.

    Attributes:
        outputs: Per graph output, [T, N, ...]: the mean over the steps so far, in the source's
            units: the accumulated potential divided by the number of steps, times `Node.unit`.
        n_spikes: Per neuron node: spikes of all steps, samples and neurons; signed ones and those
            of a burst count one by one.
        synaptic_operations: Per node with synapses, [T]: spikes (non-zero inputs) times the
            connections that leave them, all samples together. Inputs that are the same at every
            step are not counted here.
        spike_counts: Per neuron node, [N, ...]: the sum of what it sent at all steps, for binary
            spikes and those of differences their number; empty if not asked for.
        steps: [N]: steps that were simulated; None for T. Behind them the outputs stay what they
            were, and nothing is counted.
        quiet_after: Per sample, [N]: the number of steps after which no neuron fired any more; None
            for a graph without signed neurons, which does not come to rest.
    """

    outputs: tuple[Array, ...]
    n_spikes: Mapping[str, int]
    synaptic_operations: Mapping[str, Counts]
    spike_counts: Mapping[str, Counts]
    steps: Counts | None = None
    quiet_after: Counts | None = None


class Runner(Protocol):
    """A graph made ready by an engine, to be run on any number of batches."""

    @property
    def engine(self) -> str:
        """The engine that runs it, a key of ENGINES."""

    @property
    def fallbacks(self) -> tuple[str, ...]:
        """Names of the nodes that run in the reference engine's code."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know, one line each."""

    def run(
        self,
        inputs: tuple[Array, ...],
        n_steps: int,
        *,
        count_spikes: bool = False,
        exit_rule: ExitRule | None = None,
    ) -> Simulation:
        """Simulate one batch; `count_spikes` asks for the counts of single neurons.

        With an exit rule, a sample ends when the rule says so of the first output.

        Raises:
            GraphError: An array does not fit its input.
        """


def check_threads(n_threads: int) -> None:
    """Check a number of threads.

    Raises:
        SimulationError: It is below 1.
    """
    if n_threads < 1:
        raise SimulationError(
            f"n_threads {n_threads}, expected at least 1",
            hint="leave --threads out to use every core",
        )


def neurons(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that fire."""
    return tuple(node for node in graph.nodes if isinstance(node.op, Neuron))


def settles(graph: Graph) -> bool:
    """Return whether the graph has signed neurons: they come to rest under currents that end."""
    return any(isinstance(node.op, SignedFire) for node in graph.nodes)


def output_units(graph: Graph) -> tuple[Array, ...]:
    """Return per output what one unit of its mean stands for in the source's units."""
    found = (graph.by_name[name].unit for name in graph.outputs)
    return tuple(np.ones((), np.float32) if unit is None else unit for unit in found)


def fan_outs(graph: Graph, *, varying: bool) -> dict[str, tuple[tuple[str, Array], ...]]:
    """Return for every node with synapses its operands and the connections that leave each entry.

    Args:
        graph: Spiking or analog.
        varying: Operands that change over time steps; else those that do not.
    """
    found = {}
    for node in graph.nodes:
        pairs = tuple(
            (operand, fan_out)
            for operand in node.inputs
            if (operand in graph.varying) == varying
            and (fan_out := node.op.fan_out(graph.types[operand])) is not None
        )
        if pairs:
            found[node.name] = pairs
    return found


def count_macs(graph: Graph, *, varying: bool) -> int:
    """Return the multiply-accumulates of one sample and step in dense and convolutional layers.

    The number of their connections: products with padded zeros are not counted.

    Args:
        graph: Spiking or analog.
        varying: Of the layers whose operands change over time steps; else of the others.
    """
    return sum(
        int(fan_out.sum(dtype=np.float64))
        for name, pairs in fan_outs(graph, varying=varying).items()
        for _, fan_out in pairs
        if isinstance(graph.by_name[name].op, Dense | Conv)
    )
