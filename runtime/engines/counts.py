"""The counts engine: exact schedules in one pass over sums of spikes, no matter how many steps.

Under a schedule that waits (ir/scheduled.py) a neuron's count follows from the sum of its currents,
and its spikes from its count. So every layer is computed once, on counts; what happens at single
steps (operations, outputs) is found afterwards. On graphs of integers the result is that of the
reference engine bit by bit; on others the order of additions differs, so that a count may.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ...converter.errors import SimulationError
from ...converter.ir import AddOnce, Array, Graph, Node, Op, Pulse, SpikingMaxPool, WaitFire
from ...converter.ir.bounds import find_overflows
from ...converter.ir.integers import SumPool
from ...converter.ir.interpret import check_inputs
from ...converter.ir.ops import Conv, Dense, Input, MaxPool, Scale
from ...converter.ir.scheduled import AFFINE
from ...converter.ir.sorted_trains import find_sorted
from ..early_exit import ExitRule
from ..encoding import Encoder, feed_every_step
from ..simulation import Counts, Simulation, check_threads, fan_outs, neurons, output_units
from .trains import Trains

CHUNK = 10
"""Samples that are computed at a time."""


def compile_graph(
    graph: Graph, *, n_threads: int = 1, encoder: Encoder | None = None
) -> CountsRunner:
    """Make a scheduled graph ready.

    Raises:
        SimulationError: n_threads is below 1, or the graph has no schedule that waits.
    """
    check_threads(n_threads)
    feed_every_step(graph, encoder)
    reason = find_obstacle(graph)
    if reason is not None:
        raise SimulationError(
            f"{reason}: not a schedule that waits, which the counts engine needs",
            hint="use --engine event, or convert with recipe exact or integer",
        )
    return CountsRunner(graph, n_threads)


def is_exact(graph: Graph) -> bool:
    """Return whether counts give the bits of a simulation step by step: it is all integers."""
    return find_obstacle(graph) is None and not find_overflows(graph, latency(graph))


def find_obstacle(graph: Graph) -> str | None:
    """Return the first node whose result does not follow from sums alone; None if all do."""
    ends: dict[str, int] = {}
    trains = find_sorted(graph)
    for node in graph.nodes:
        if node.name not in graph.varying:
            continue
        op, operands = node.op, node.inputs
        is_pulse = isinstance(op, Pulse)
        if any((name in graph.varying) is is_pulse for name in operands):
            return str(node)
        end = max(ends.get(name, 0) for name in operands)
        if isinstance(op, WaitFire):
            if end > op.first_step + 1 and not _is_even(op, graph.by_name[operands[0]].op):
                return str(node)
            end = op.first_step + op.n_steps
        elif isinstance(op, Pulse):
            end = op.n_steps
        elif isinstance(op, AddOnce):
            end = max(end, 1)
        elif isinstance(op, MaxPool) and node.name in trains:
            pass  # one of a window fires as often as the neuron of it that fires most
        elif not isinstance(op, (SpikingMaxPool, SumPool, *AFFINE)) or _has_bias(op):
            return str(node)
        ends[node.name] = end
    return None if graph.varying else "graph"


def _is_even(op: WaitFire, before: object) -> bool:
    """Whether a neuron fires while a constant current flows through its whole window."""
    flows = isinstance(before, Pulse) and before.n_steps == op.n_steps and op.first_step == 0
    return flows and bool(
        ((op.initial_potential >= 0) & (op.initial_potential < op.threshold)).all()
    )


def _has_bias(op: Op) -> bool:
    if isinstance(op, Conv | Dense):
        return bool(op.bias.any())
    return isinstance(op, Scale) and bool(op.shift.any())


def latency(graph: Graph) -> int:
    """Return after how many steps a graph that waits has come to its end."""
    ops = (node.op for node in graph.nodes)
    return max(op.first_step + op.n_steps for op in ops if isinstance(op, WaitFire))


@dataclass(frozen=True, eq=False)
class CountsRunner:
    """See `simulation.Runner`."""

    graph: Graph
    n_threads: int = 1
    notices: tuple[str, ...] = ()
    engine: str = "counts"
    fallbacks: tuple[str, ...] = ()

    def run(
        self,
        inputs: tuple[Array, ...],
        n_steps: int,
        *,
        count_spikes: bool = False,
        exit_rule: ExitRule | None = None,
    ) -> Simulation:
        if n_steps != latency(self.graph) or exit_rule is not None:
            raise SimulationError(
                f"n_steps {n_steps}: the schedule takes {latency(self.graph)} steps, no fewer or "
                "more, and no early exit",
                hint="leave --n-steps out, or convert again with another T",
            )
        arrays = check_inputs(self.graph, inputs)
        starts = range(0, len(arrays[0]), CHUNK)
        chunks = [tuple(array[start : start + CHUNK] for array in arrays) for start in starts]

        def work(chunk: tuple[Array, ...]) -> Simulation:
            return _simulate(self.graph, chunk, n_steps)

        if self.n_threads == 1 or len(chunks) == 1:
            parts = [work(chunk) for chunk in chunks]
        else:
            with ThreadPoolExecutor(self.n_threads, "spikeport") as pool:
                parts = list(pool.map(work, chunks))
        return _join(parts)


def _simulate(graph: Graph, inputs: tuple[Array, ...], n_steps: int) -> Simulation:
    """Run one chunk of samples."""
    fed = dict(zip(graph.inputs, inputs, strict=True))
    connections = fan_outs(graph, varying=True)
    trains = Trains(graph, n_steps)
    sums: dict[str, Array] = {}
    operations: dict[str, Counts] = {}
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    for node in graph.nodes:
        if isinstance(node.op, Input):
            sums[node.name] = fed[node.name]
            continue
        operands = [sums[name] for name in node.inputs]
        value = sums[node.name] = _sum(node, operands)
        if node.name in graph.varying:
            trains.add(node, operands, value)
        if node.name in connections:
            operations[node.name] = np.sum(
                [trains.count(name, fan_out) for name, fan_out in connections[node.name]], axis=0
            )
        for name in node.inputs:
            uses[name] -= 1
            if not uses[name] and name not in graph.outputs:
                del sums[name]
    outputs = []
    divisors = np.arange(1, n_steps + 1)
    for name, unit in zip(graph.outputs, output_units(graph), strict=True):
        steps = trains.every_step(name) if name in graph.varying else sums[name][None]
        steps = np.broadcast_to(steps, (n_steps, *steps.shape[1:]))
        totals = np.cumsum(steps, axis=0, dtype=np.float64)
        means = totals / divisors.reshape(-1, *(1,) * (totals.ndim - 1)) * unit
        outputs.append(means.astype(np.float32))
    counts = {node.name: trains.counts[node.name].astype(np.int64) for node in neurons(graph)}
    n_spikes = {name: int(found.sum()) for name, found in counts.items()}
    return Simulation(tuple(outputs), n_spikes, operations, counts)


def _sum(node: Node, operands: list[Array]) -> Array:
    """Return what a node has given in all once the run is over."""
    op = node.op
    if isinstance(op, Pulse):
        return np.asarray(operands[0] * np.float32(op.gain * op.n_steps), np.float32)
    if isinstance(op, AddOnce):
        return np.asarray(operands[0] + op.charge, np.float32)
    if isinstance(op, WaitFire):
        levels = np.floor((operands[0] + op.initial_potential) / op.threshold)
        return np.asarray(np.clip(levels, 0, op.n_steps), np.float32)
    return op.apply(*operands)


def _join(parts: list[Simulation]) -> Simulation:
    """Put chunks of samples together."""
    first = parts[0]
    return Simulation(
        tuple(
            np.concatenate([part.outputs[place] for part in parts], axis=1)
            for place in range(len(first.outputs))
        ),
        {name: sum(part.n_spikes[name] for part in parts) for name in first.n_spikes},
        {
            name: np.sum([part.synaptic_operations[name] for part in parts], axis=0)
            for name in first.synaptic_operations
        },
        {
            name: np.concatenate([part.spike_counts[name] for part in parts])
            for name in first.spike_counts
        },
    )
