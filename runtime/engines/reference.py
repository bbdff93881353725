"""The reference engine: numpy, one step after the other. It defines what a spiking graph means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ...converter.ir import Array, Graph, Neuron, StatefulOp, StepInput
from ...converter.ir.interpret import check_inputs
from ...converter.ir.ops import Input
from ..early_exit import ExitRule
from ..encoding import Encoder, feed_every_step
from ..simulation import (
    Simulation,
    check_threads,
    fan_outs,
    neurons,
    output_units,
    settles,
)


@dataclass(frozen=True, eq=False)
class ReferenceRunner:
    """See `simulation.Runner`."""

    graph: Graph
    notices: tuple[str, ...] = ()
    engine: str = "reference"
    fallbacks: tuple[str, ...] = ()
    encoder: Encoder | None = None

    def run(
        self,
        inputs: tuple[Array, ...],
        n_steps: int,
        *,
        count_spikes: bool = False,
        exit_rule: ExitRule | None = None,
    ) -> Simulation:
        return simulate(self.graph, inputs, n_steps, exit_rule, encoder=self.encoder)


def compile_graph(
    graph: Graph, *, n_threads: int = 1, encoder: Encoder | None = None
) -> ReferenceRunner:
    """Return the graph as a runner, which has one thread whatever is asked for.

    Raises:
        SimulationError: n_threads is below 1, or the graph needs constant currents.
    """
    check_threads(n_threads)
    feed_every_step(graph, encoder)
    return ReferenceRunner(graph, encoder=encoder)


def simulate(
    graph: Graph,
    inputs: tuple[Array, ...],
    n_steps: int,
    exit_rule: ExitRule | None = None,
    watch: Callable[[int, Mapping[str, Array], Mapping[str, Array]], None] | None = None,
    encoder: Encoder | None = None,
) -> Simulation:
    """Run a spiking graph with its inputs as constant currents, or as an encoder gives them.

    At every step each node is computed once, in topological order, from what its operands are at
    the same step: a spike crosses the whole network within one step. What does not lie behind a
    neuron is the same at every step and computed once.

    Args:
        graph: As `convert` gives it.
        inputs: One array [N, ...] per graph input.
        n_steps: T >= 1.
        exit_rule: When a sample is finished. It is computed on, but nothing of it is counted.
        watch: Called after every step, 0..T-1, with results and states by name, which the next
            step changes.
        encoder: Where inputs change at every step.

    Raises:
        GraphError: An array does not fit its input.
        SpikeportError: The encoder cannot express the samples, or the graph not be fed by it.
    """
    graph = feed_every_step(graph, encoder)
    n_samples = len(inputs[0])
    if encoder is None:
        fed = dict(zip(graph.inputs, check_inputs(graph, inputs), strict=True))
        values = _compute_constants(graph, fed)
    else:
        feed, values = encoder.open(graph, inputs, n_steps), {}
    moving = [
        node
        for node in graph.nodes
        if node.name in graph.varying and not isinstance(node.op, StepInput)
    ]
    states = {
        node.name: node.op.start((n_samples, *graph.types[node.inputs[0]].shape))
        for node in moving
        if isinstance(node.op, StatefulOp)
    }
    connections = fan_outs(graph, varying=True)
    firing = [(node.name, node.op) for node in neurons(graph) if isinstance(node.op, Neuron)]
    counts = {name: np.zeros((n_samples, *graph.types[name].shape), np.int64) for name, _ in firing}
    n_spikes = dict.fromkeys(counts, 0)
    quiet_after = np.zeros(n_samples, np.int64)
    operations = {name: np.zeros(n_steps, np.int64) for name in connections}
    shapes = [(n_samples, *graph.types[name].shape) for name in graph.outputs]
    totals = [np.zeros(shape, np.float64) for shape in shapes]
    units = output_units(graph)
    outputs = tuple(np.empty((n_steps, *shape), np.float32) for shape in shapes)
    steps = np.full(n_samples, n_steps)
    for step in range(n_steps):
        active = steps > step
        if not active.any():
            for output in outputs:
                output[step:] = output[step - 1]
            break
        if encoder is not None:
            now = feed(step, 1)
            values.update((name, each[0]) for name, each in zip(graph.inputs, now, strict=True))
        for node in moving:
            operands = tuple(values[name] for name in node.inputs)
            if isinstance(node.op, StatefulOp):
                values[node.name], states[node.name] = node.op.step(operands[0], states[node.name])
            else:
                values[node.name] = node.op.apply(*operands)
        if watch is not None:
            watch(step, values, states)
        for name, op in firing:
            fired = values[name] * active.reshape(-1, *(1,) * (values[name].ndim - 1))
            np.add(counts[name], op.sent(fired), out=counts[name], casting="unsafe")
            n_spikes[name] += op.count_spikes(fired)
            quiet_after[fired.reshape(n_samples, -1).any(axis=1)] = step + 1
        for name, pairs in connections.items():
            operations[name][step] = sum(
                _operations(values[x][active], fan_out) for x, fan_out in pairs
            )
        for total, output, unit, name in zip(totals, outputs, units, graph.outputs, strict=True):
            total += values[name]
            output[step] = total / (step + 1) * unit
            output[step, ~active] = output[step - 1, ~active]
        if exit_rule is not None and (step + 1) % exit_rule.every == 0:
            steps[active & exit_rule.is_certain(totals[0] * units[0])] = step + 1
    quiet = quiet_after if settles(graph) else None
    return Simulation(outputs, n_spikes, operations, counts, steps, quiet)


def _compute_constants(graph: Graph, fed: Mapping[str, Array]) -> dict[str, Array]:
    values: dict[str, Array] = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            values[node.name] = fed[node.name]
        elif node.name not in graph.varying:
            values[node.name] = node.op.apply(*(values[name] for name in node.inputs))
    return values


def _operations(values: Array, fan_out: Array) -> int:
    """Non-zero entries of [N, ...] times the connections that leave each entry of [...]."""
    n_active = np.count_nonzero(values, axis=0)
    return int(np.sum(n_active * fan_out, dtype=np.float64))
