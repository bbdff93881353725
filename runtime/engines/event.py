"""The event engine: spikes as bits and lists of events, a few samples at a time on each thread.

Within a layer all steps of a block are done before the next layer begins, which is the same as
step by step because no result flows back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ...converter.errors import SimulationError
from ...converter.ir import Array, Graph
from ...converter.ir.interpret import check_inputs
from ..early_exit import ExitRule
from ..encoding import Encoder, feed_every_step
from ..plan.constants import Constants
from ..plan.memory import Memory, make_memory
from ..plan.planner import Plan, plan_graph
from ..simulation import (
    Counts,
    Runner,
    Simulation,
    check_threads,
    fan_outs,
    neurons,
    output_units,
    settles,
)
from . import counts, reference

MIN_SAMPLES = 4
"""Of a group, where there are enough for all threads."""


def compile_graph(graph: Graph, *, n_threads: int = 1, encoder: Encoder | None = None) -> Runner:
    """Compile a spiking graph; without numba, return the reference engine's runner and say so.

    Args:
        graph: As `convert` gives it.
        n_threads: Groups of samples that are simulated at the same time.
        encoder: Where inputs change at every step.

    Raises:
        SimulationError: n_threads is below 1, a layer is too large, or the graph needs constant
            currents.
    """
    check_threads(n_threads)
    fed = feed_every_step(graph, encoder)
    try:
        from ..kernels.cache import prepare_cache
    except ImportError:
        notice = "numba is not installed: the reference engine runs instead, many times slower"
        return reference.ReferenceRunner(graph, (notice,), encoder=encoder)
    notices = prepare_cache()
    try:
        from ..kernels import events  # noqa: F401
    except RuntimeError as error:  # what numba raises if there is nowhere to keep compiled code
        notice = f"{error}: the reference engine runs instead, many times slower"
        return reference.ReferenceRunner(graph, (notice,), encoder=encoder)
    try:
        plan = plan_graph(fed)
    except MemoryError as error:
        raise _too_large() from error
    short = counts.compile_graph(graph, n_threads=n_threads) if counts.is_exact(graph) else None
    fallbacks = () if short else plan.fallbacks
    runner = EventRunner(fed, plan, n_threads, fallbacks, notices, short=short, encoder=encoder)
    # zeros compile the kernels, or load them from the cache
    shapes = tuple(graph.types[name].shape for name in graph.inputs)
    if encoder is not None:
        shapes = encoder.shapes(graph, 1)
    for n_samples in (1, 2) if graph.metadata.get("n_steps") == 1 else (1,):  # see `_run`
        runner.run(tuple(np.zeros((n_samples, *shape), np.float32) for shape in shapes), 1)
    return runner


def has_compiled() -> bool:
    """Return whether this process has compiled a kernel, or is doing so: none was kept on disk."""
    start = f"{__name__.rpartition('.engines')[0]}.kernels."
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(start)]
    kernels = [value for module in modules for value in vars(module).values()]
    return any(
        sum(kernel.stats.cache_misses.values()) for kernel in kernels if hasattr(kernel, "stats")
    )


@dataclass(frozen=True, eq=False)
class EventRunner:
    """See `simulation.Runner`.

    Attributes:
        idle: Memory that no thread uses.
        short: What gives the same bits faster for a run of its schedule's length, if anything does.
    """

    graph: Graph
    plan: Plan
    n_threads: int
    fallbacks: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    engine: str = "event"
    idle: list[Memory] = field(default_factory=list)
    short: counts.CountsRunner | None = None
    encoder: Encoder | None = None

    def run(
        self,
        inputs: tuple[Array, ...],
        n_steps: int,
        *,
        count_spikes: bool = False,
        exit_rule: ExitRule | None = None,
    ) -> Simulation:
        arrays = check_inputs(self.graph, inputs) if self.encoder is None else inputs
        if self.short and exit_rule is None and n_steps == counts.latency(self.graph):
            return self.short.run(arrays, n_steps, count_spikes=count_spikes)
        try:
            return self._run(arrays, n_steps, count_spikes, exit_rule)
        except MemoryError as error:
            raise _too_large() from error

    def _run(
        self,
        arrays: tuple[Array, ...],
        n_steps: int,
        count_spikes: bool,
        exit_rule: ExitRule | None,
    ) -> Simulation:
        n_samples = len(arrays[0])
        results = _Results(self.graph, n_samples, n_steps, count_spikes)
        is_plain = self.encoder is None and exit_rule is None and not count_spikes
        # one step each: the steps of a block are samples, so that kernels are called less often
        are_steps = is_plain and n_steps == 1 and n_samples > 1 and self.plan.takes_samples
        n_together = self.plan.arena.n_steps if are_steps else self.plan.arena.n_samples
        if exit_rule is not None:  # each sample ends by itself
            n_together = 1
        groups = iter(list(_split(n_samples, n_together, self.n_threads)))  # threads share it
        stop = threading.Event()

        def work() -> Memory:
            memory = self._take_memory(n_steps, Constants(self.graph, arrays))
            while not stop.is_set() and (group := next(groups, None)) is not None:
                fed = tuple(array[group] for array in arrays)
                if are_steps:
                    self._simulate_once(memory, fed, group, results)
                else:
                    self._simulate(memory, fed, n_steps, group, results, stop, exit_rule)
            return memory

        n_workers = min(self.n_threads, n_samples)
        if n_workers <= 1:
            memories = [work()]
        else:
            with ThreadPoolExecutor(n_workers, "spikeport") as pool:
                try:
                    futures = [pool.submit(work) for _ in range(n_workers)]
                    memories = [future.result() for future in futures]
                finally:
                    stop.set()
        simulation = results.collect(memories)
        self.idle.extend(memories)
        return simulation

    def _take_memory(self, n_steps: int, constants: Constants) -> Memory:
        try:
            memory = self.idle.pop()
        except IndexError:
            memory = self._make_memory(constants)
        names = fan_outs(self.graph, varying=True)
        memory.operations_table = np.zeros((len(names), n_steps), np.int64)
        memory.operations = dict(zip(names, memory.operations_table, strict=True))
        for node in neurons(self.graph):
            memory.spikes[node.name] = 0
        return memory

    def _make_memory(self, constants: Constants) -> Memory:
        try:
            return make_memory(self.plan.arena, constants)
        except MemoryError as error:
            raise SimulationError(
                f"graph: the spikes of {self.plan.arena.n_steps} steps need "
                f"{self.plan.arena.n_bytes:,} bytes per thread, more than there are",
                hint="use fewer --threads, or --engine reference with a small --batch-size",
            ) from error

    def _simulate_once(
        self, memory: Memory, inputs: tuple[Array, ...], group: slice, results: _Results
    ) -> None:
        """Simulate a group of samples for one step each."""
        memory.constants = Constants(self.graph, inputs)
        memory.counts = {}
        memory.first_step, memory.n_samples = 0, 1
        memory.n_as_steps = n_now = len(inputs[0])
        wanted = memory.operations_table
        memory.operations_table = np.zeros((len(wanted), n_now), np.int64)
        memory.operations = dict(zip(memory.operations, memory.operations_table, strict=True))
        for stage in self.plan.stages:
            stage.begin(memory)
        for stage in self.plan.stages:
            stage.run(memory, n_now)
        for number, (name, unit) in enumerate(
            zip(self.plan.outputs, output_units(self.graph), strict=True)
        ):
            is_block = name in memory.blocks
            values = memory.blocks[name] if is_block else memory.constants[name]
            results.outputs[number][0, group] = values.astype(np.float64) * unit
        results.steps[group] = 1
        wanted[:, 0] += memory.operations_table.sum(axis=1)
        memory.operations_table = wanted
        memory.operations = dict(zip(memory.operations, wanted, strict=True))
        memory.n_as_steps = 0

    def _simulate(
        self,
        memory: Memory,
        inputs: tuple[Array, ...],
        n_steps: int,
        group: slice,
        results: _Results,
        stop: threading.Event,
        exit_rule: ExitRule | None,
    ) -> None:
        """Simulate a group of samples side by side."""
        memory.constants = Constants(self.graph, inputs)
        feed = None if self.encoder is None else self.encoder.open(self.graph, inputs, n_steps)
        memory.counts = results.counts_of(group)
        memory.n_samples = n_samples = len(inputs[0])
        memory.last_spike = np.zeros(n_samples, np.int64)
        for stage in self.plan.stages:
            stage.begin(memory)
        totals = [np.zeros((n_samples, *out.shape[2:]), np.float64) for out in results.outputs]
        units = output_units(self.graph)
        first = 0
        while first < n_steps:
            n_now = min(self.plan.arena.n_steps, n_steps - first)
            if exit_rule is not None:  # not beyond the next look
                n_now = min(n_now, exit_rule.every - first % exit_rule.every)
            memory.first_step = first
            if feed is not None:
                for name, steps in zip(self.graph.inputs, feed(first, n_now), strict=True):
                    by_sample = steps.swapaxes(0, 1)
                    memory.blocks[name] = by_sample.reshape(-1, *steps.shape[2:])
            for stage in self.plan.stages:
                if stop.is_set():
                    return
                stage.run(memory, n_now)
            divisors = np.arange(first + 1, first + n_now + 1)
            for number, name in enumerate(self.plan.outputs):
                total = totals[number]
                values = memory.operand(name, n_now, total.shape[1:])
                by_step = values.reshape(n_samples, n_now, *total.shape[1:])
                sums = np.cumsum(np.concatenate([total[:, None], by_step], axis=1), axis=1)[:, 1:]
                totals[number] = sums[:, -1]
                means = sums / divisors.reshape(-1, *(1,) * (total.ndim - 1)) * units[number]
                results.outputs[number][first : first + n_now, group] = means.swapaxes(0, 1)
            first += n_now
            if exit_rule is None or first % exit_rule.every:
                continue
            if exit_rule.is_certain(totals[0] * units[0])[0]:
                break
        results.steps[group] = first
        results.quiet_after[group] = memory.last_spike
        for output in results.outputs:
            output[first:, group] = output[first - 1, group]


def _split(n_samples: int, n_together: int, n_threads: int) -> Iterator[slice]:
    """Yield groups of at most `n_together` samples, smaller at the end: threads finish together."""
    first = 0
    while first < n_samples:
        left = size = n_samples - first
        if n_threads > 1:
            size = max(left // (2 * n_threads), min(MIN_SAMPLES, left // n_threads), 1)
        yield slice(first, first + min(size, n_together))
        first += min(size, n_together)


def _too_large() -> SimulationError:
    return SimulationError(
        "graph: does not fit into memory",
        hint="use fewer --threads, fewer --steps, or --engine reference with a small --batch-size",
    )


class _Results:
    """The arrays of a batch, which threads fill group by group."""

    def __init__(self, graph: Graph, n_samples: int, n_steps: int, count_spikes: bool) -> None:
        shapes = [graph.types[name].shape for name in graph.outputs]
        self.outputs = [np.empty((n_steps, n_samples, *shape), np.float32) for shape in shapes]
        self.steps = np.zeros(n_samples, np.int64)
        self.settles = settles(graph)
        self.quiet_after = np.zeros(n_samples, np.int64)
        self.counts: dict[str, Counts] = {}
        if count_spikes:
            self.counts = {
                node.name: np.zeros((n_samples, *graph.types[node.name].shape), np.int64)
                for node in neurons(graph)
            }

    def counts_of(self, group: slice) -> dict[str, Counts]:
        """Return views [samples, positions, channels] of the counts of a group."""
        return {
            name: counts[group]
            .reshape(len(counts[group]), counts.shape[1] if counts.ndim > 1 else 1, -1)
            .swapaxes(1, 2)
            for name, counts in self.counts.items()
        }

    def collect(self, memories: list[Memory]) -> Simulation:
        """Add up what the threads counted."""
        operations = {
            name: np.sum([memory.operations[name] for memory in memories], axis=0)
            for name in memories[0].operations
        }
        n_spikes = {
            name: sum(memory.spikes[name] for memory in memories) for name in memories[0].spikes
        }
        quiet = self.quiet_after if self.settles else None
        return Simulation(tuple(self.outputs), n_spikes, operations, self.counts, self.steps, quiet)
