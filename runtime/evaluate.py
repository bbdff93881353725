"""evaluate: accuracy at every step, agreement with the ANN, spikes and operations, from one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.ir import Array, Graph, Samples
from ..converter.ir.analog import analog_nodes
from ..converter.ir.types import DEFAULT_N_STEPS
from .checks import Labels, check_samples, check_settings, count_cores
from .decoding import Decoder, Potential, ReadOut, decide, find_scale, read_readouts
from .early_exit import EarlyExit, ExitRule
from .encoding import DEFAULT_CODE, Encoder, feed_every_step
from .energy import Constants
from .energy import to_json as energy_json
from .engines import DEFAULT_ENGINE, ENGINES
from .metrics import spread, stable_after, wilson_interval
from .poolings import Pooling, describe_poolings
from .ranges import warn_of_ranges
from .results import encode
from .samples import SampleRecord, batches
from .schedule import Latency, Schedule, check_run, read_delay
from .simulation import Counts, Runner, Simulation, neurons
from .values import OutputValues, ValueRecorder
from .workload import Workload, WorkloadRecorder


@dataclass(frozen=True)
class Evaluation:
    """What a spiking network did on a data set.

    Attributes:
        n_samples: N.
        n_steps: T.
        engine: Key of ENGINES; the one that ran.
        fallbacks: Nodes that the engine ran in the reference engine's code.
        analog: Nodes that compute a function which no neuron stands for.
        accuracy: Share of right decisions at every step, [T]; None without labels.
        agreement: Share of the ANN's decisions met at every step, [T]; None without the ANN.
        ann_accuracy: None without labels or ANN.
        decisions: The spiking network's, [T, N].
        firing_rate: Spikes per neuron and step, by node.
        synaptic_operations: Per sample and step, by node, [T].
        workload: Operations by NeuroBench's definitions, membrane updates, memory.
        seconds: Simulation alone.
        warnings: One line each.
        labels: [N], as given.
        ann_decisions: [N]; None without the ANN.
        samples: SHA-256 of inputs and labels.
        values: How near every output comes to the ANN's values; None without the ANN.
        steps: [N]: steps that were simulated; fewer than T where a sample ended early.
        early_exit: Rule and what came of it; None if every sample took T steps.
        schedule: Of the graph; None if it is causal. Decisions before its end mean nothing.
        quiet_after: [N]: steps after which no neuron fired; None without signed neurons.
        code: Key of ENCODERS.
        seed: Of a random code; None where nothing is random.
        poolings: How poolings behind neurons work, and what they keep and compare.
        read_out: How decisions were read, and how many were ties.
        read_from_step: From which on the outputs count, as the graph has it.
    """

    n_samples: int
    n_steps: int
    engine: str
    fallbacks: tuple[str, ...]
    analog: tuple[str, ...]
    accuracy: tuple[float, ...] | None
    agreement: tuple[float, ...] | None
    ann_accuracy: float | None
    decisions: npt.NDArray[np.int64]
    firing_rate: dict[str, float]
    synaptic_operations: dict[str, tuple[float, ...]]
    workload: Workload
    seconds: float
    warnings: tuple[str, ...]
    labels: Labels | None
    ann_decisions: Labels | None
    samples: str
    steps: Labels
    values: tuple[OutputValues, ...] | None = None
    early_exit: EarlyExit | None = None
    schedule: Schedule | None = None
    quiet_after: Counts | None = None
    code: str = DEFAULT_CODE
    seed: int | None = None
    poolings: tuple[Pooling, ...] = ()
    read_out: ReadOut | None = None
    read_from_step: int = 0

    @property
    def latency(self) -> Latency:
        """What the steps of a sample are spent on."""
        if self.schedule is not None:
            return self.schedule.latency
        unread = min(self.read_from_step, self.n_steps)
        return Latency(0, unread, self.n_steps - unread, 0)

    @property
    def macs_per_sample(self) -> int:
        """Multiply-accumulates of the analog network."""
        return self.workload.dense_macs

    @property
    def input_macs_per_sample(self) -> int:
        """Those on constant input, done once; not synaptic operations."""
        return self.workload.input_macs

    @property
    def synaptic_operations_per_sample(self) -> float:
        """Over all steps and nodes."""
        return float(sum(sum(steps) for steps in self.synaptic_operations.values()))

    def interval(self, accuracy: float) -> tuple[float, float]:
        """Return the 95 % confidence interval (Wilson) of an accuracy on these samples."""
        return wilson_interval(round(accuracy * self.n_samples), self.n_samples)

    def to_json(
        self, *, graph: str, data: str, constants: Constants | None = None
    ) -> dict[str, Any]:
        """Return the JSON that `spikeport evaluate --json` writes (docs/evaluation.md).

        Args:
            graph: SHA-256 of the .snn file.
            data: What was evaluated.
            constants: Energy of single operations; None for the defaults.
        """
        stable = stable_after(self.decisions)
        return {
            "format": "spikeport-evaluation",
            "version": 1,
            "n_samples": self.n_samples,
            "n_steps": self.n_steps,
            "latency_steps": self.n_steps,
            "latency": self.latency.to_json(),
            "schedule": None if self.schedule is None else self.schedule.name,
            "quiet_after": None if self.quiet_after is None else spread(self.quiet_after),
            "ann_accuracy": self.ann_accuracy,
            "accuracy": None if self.accuracy is None else list(self.accuracy),
            "agreement": None if self.agreement is None else list(self.agreement),
            "synaptic_operations_per_sample": self.synaptic_operations_per_sample,
            "macs_per_sample": self.macs_per_sample,
            "input_macs_per_sample": self.input_macs_per_sample,
            "firing_rate": self.firing_rate,
            "seconds": self.seconds,
            "engine": self.engine,
            "fallbacks": list(self.fallbacks),
            "analog": list(self.analog),
            "poolings": [each.to_json() for each in self.poolings],
            "graph": graph,
            "data": data,
            "code": self.code,
            "seed": self.seed,
            "read_out": None if self.read_out is None else self.read_out.to_json(),
            "warnings": list(self.warnings),
            "stable_after": spread(stable),
            "workload": self.workload.to_json(),
            "energy": energy_json(self.workload, constants or Constants()),
            "samples_sha256": self.samples,
            "labels": None if self.labels is None else encode(self.labels),
            "ann_decisions": None if self.ann_decisions is None else encode(self.ann_decisions),
            "decisions": encode(self.decisions.T),
            "early_exit": None if self.early_exit is None else self.early_exit.to_json(),
            "values": None if self.values is None else [each.to_json() for each in self.values],
            "steps": None if self.early_exit is None else encode(self.steps),
        }


def evaluate(
    graph: Graph,
    inputs: tuple[Samples, ...],
    labels: Labels | None = None,
    *,
    ann: Callable[[tuple[Array, ...]], tuple[Array, ...]] | None = None,
    n_steps: int | None = None,
    batch_size: int = 100,
    engine: str = DEFAULT_ENGINE,
    n_threads: int | None = None,
    progress: Callable[[int], None] = lambda n_done: None,
    observe: Callable[[Simulation], None] | None = None,
    exit_rule: ExitRule | None = None,
    runner: Runner | None = None,
    encoder: Encoder | None = None,
    decoder: Decoder | None = None,
) -> Evaluation:
    """Simulate a spiking graph on samples and compare it with labels and the ANN.

    Args:
        graph: As `convert` or `read_snn` gives it.
        inputs: One array [N, ...] per graph input, as the source takes them; or something that
            gives slices of it when asked for them.
        labels: [N], index into the entries of the first output; None if unknown.
        ann: The source's own framework, as `Source.run`; None to leave it out.
        n_steps: T; None takes the file's.
        batch_size: Samples that are simulated at a time; does not change the result.
        engine: A key of ENGINES.
        n_threads: Groups of samples simulated at the same time; None takes every core. Does not
            change the result.
        progress: Called with the number of samples done, 0 when the graph is compiled, then
            after every batch.
        observe: Called with the simulation of every batch, spike counts of single neurons
            included.
        exit_rule: Ends a sample before T steps; its decision then stays what it is, and the rest
            is neither simulated nor counted.
        runner: The graph made ready elsewhere, with `encoder`, in place of `engine` and
            `n_threads`.
        encoder: What flows at every step; None is the samples as constant currents.
        decoder: How decisions are read; None is by the accumulated potential.

    Raises:
        SimulationError: As `check_settings` says, or the graph cannot be fed so.
        DataError: Inputs or labels do not fit the graph or the code, or hold NaN.
    """
    if n_steps is None:
        n_steps = graph.metadata.get("n_steps", DEFAULT_N_STEPS)
    check_settings(n_steps=n_steps, batch_size=batch_size, engine=engine, n_threads=n_threads)
    schedule = check_run(graph, n_steps, early_exit=exit_rule is not None)
    decoder = decoder or Potential()
    decoder.check(graph, n_steps, early_exit=exit_rule is not None)
    check_samples(graph, inputs, labels, encoder.shapes(graph, n_steps) if encoder else None)
    readouts = read_readouts(graph)
    readout = readouts[0]
    scale = find_scale(graph)
    n_samples = len(inputs[0])
    values = ValueRecorder(graph.outputs, readouts)
    decisions = np.empty((n_steps, n_samples), np.int64)
    n_tied, n_silent = np.zeros(n_steps, np.int64), np.zeros(n_steps, np.int64)
    ann_decisions = np.empty(n_samples, np.int64)
    if runner is None:
        runner = ENGINES[engine](
            graph, n_threads=count_cores() if n_threads is None else n_threads, encoder=encoder
        )
    graph = feed_every_step(graph, encoder)
    progress(0)
    spikes = {node.name: 0 for node in neurons(graph)}
    operations: dict[str, npt.NDArray[np.int64]] = {}
    recorder = WorkloadRecorder(graph)
    count_spikes = observe is not None or recorder.needs_counts
    steps = np.full(n_samples, n_steps)
    certain = np.zeros(n_samples, np.bool_)
    quiet_after: list[Counts] = []
    seconds = 0.0
    record = SampleRecord(inputs)
    for chosen, batch in batches(inputs, batch_size):
        record.add(batch)
        started = time.perf_counter()
        simulation = runner.run(batch, n_steps, count_spikes=count_spikes, exit_rule=exit_rule)
        seconds += time.perf_counter() - started
        _collect(simulation, spikes, operations)
        recorder.add(batch, simulation)
        if observe is not None:
            observe(simulation)
        if simulation.quiet_after is not None:
            quiet_after.append(simulation.quiet_after)
        if simulation.steps is not None:
            steps[chosen] = simulation.steps
        if exit_rule is not None:
            last = simulation.outputs[0][-1]
            taken = steps[chosen].reshape(-1, *(1,) * (last.ndim - 1))
            certain[chosen] = exit_rule.is_certain(last.astype(np.float64) * taken)
        read = decoder.decide(simulation.outputs[0], readout, scale)
        decisions[:, chosen] = read.decisions
        n_tied += read.tied.sum(axis=1)
        n_silent += read.silent.sum(axis=1)
        if ann is not None:
            outputs = ann(batch if encoder is None else encoder.constant(batch))
            ann_decisions[chosen] = decide(outputs[0], readout)
            values.add(outputs, [potentials[-1] for potentials in simulation.outputs])
        progress(chosen.stop)
    sizes = {name: graph.types[name].size for name in spikes}
    return Evaluation(
        n_samples=n_samples,
        n_steps=n_steps,
        engine=runner.engine,
        fallbacks=runner.fallbacks,
        analog=analog_nodes(graph),
        accuracy=None if labels is None else _shares(decisions == labels),
        agreement=None if ann is None else _shares(decisions == ann_decisions),
        ann_accuracy=(
            None if ann is None or labels is None else float((ann_decisions == labels).mean())
        ),
        decisions=decisions,
        firing_rate={
            name: count / (recorder.n_simulated * sizes[name]) for name, count in spikes.items()
        },
        synaptic_operations={
            name: tuple(float(count) / n_samples for count in counts)
            for name, counts in operations.items()
        },
        workload=recorder.result(spikes, n_steps),
        seconds=seconds,
        warnings=(*runner.notices, *warn_of_ranges(graph, record.low, record.high)),
        labels=labels,
        ann_decisions=None if ann is None else ann_decisions,
        samples=record.sha256(labels),
        steps=steps,
        values=None if ann is None else values.result(),
        early_exit=None
        if exit_rule is None
        else EarlyExit(
            exit_rule, float(steps.mean()), float(((steps == n_steps) & ~certain).mean())
        ),
        schedule=schedule,
        read_from_step=read_delay(graph),
        quiet_after=np.concatenate(quiet_after) if quiet_after else None,
        code=DEFAULT_CODE if encoder is None else encoder.name,
        seed=encoder.seed if encoder is not None and encoder.is_random else None,
        poolings=describe_poolings(graph),
        read_out=decoder.report(n_tied / n_samples, n_silent / n_samples, n_steps),
    )


def _collect(
    simulation: Simulation, spikes: dict[str, int], operations: dict[str, npt.NDArray[np.int64]]
) -> None:
    for name, n_spikes in simulation.n_spikes.items():
        spikes[name] += n_spikes
    for name, per_step in simulation.synaptic_operations.items():
        operations[name] = operations.get(name, 0) + per_step


def _shares(hits: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    return tuple(float(share) for share in hits.mean(axis=1))
