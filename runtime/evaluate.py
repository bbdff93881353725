"""evaluate: accuracy at every step, agreement with the ANN, spikes and operations, from one run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError, SimulationError, find
from ..converter.ir import Array, Graph, Samples
from ..converter.ir.analog import analog_nodes
from ..converter.ir.types import DEFAULT_N_STEPS, MAX_N_STEPS
from .decoding import decide, read_readouts
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
from .schedule import Latency, Schedule, check_run
from .simulation import Counts, Runner, Simulation, check_threads, neurons
from .values import OutputValues, ValueRecorder
from .workload import Workload, WorkloadRecorder

Labels = npt.NDArray[np.int64]


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

    @property
    def latency(self) -> Latency:
        """What the steps of a sample are spent on."""
        return Latency(0, 0, self.n_steps, 0) if self.schedule is None else self.schedule.latency

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
        n_threads: Samples that are simulated at the same time; None takes every core. Does not
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

    Raises:
        SimulationError: As `check_settings` says, or the graph cannot be fed so.
        DataError: Inputs or labels do not fit the graph or the code, or hold NaN.
    """
    if n_steps is None:
        n_steps = graph.metadata.get("n_steps", DEFAULT_N_STEPS)
    check_settings(n_steps=n_steps, batch_size=batch_size, engine=engine, n_threads=n_threads)
    schedule = check_run(graph, n_steps, early_exit=exit_rule is not None)
    check_samples(graph, inputs, labels, encoder.shapes(graph, n_steps) if encoder else None)
    readouts = read_readouts(graph)
    readout = readouts[0]
    n_samples = len(inputs[0])
    values = ValueRecorder(graph.outputs, readouts)
    decisions = np.empty((n_steps, n_samples), np.int64)
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
        for step, potential in enumerate(simulation.outputs[0]):
            decisions[step, chosen] = decide(readout.apply(potential), readout)
        if ann is not None:
            outputs = ann(batch)
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
        quiet_after=np.concatenate(quiet_after) if quiet_after else None,
        code=DEFAULT_CODE if encoder is None else encoder.name,
        seed=encoder.seed if encoder is not None and encoder.is_random else None,
        poolings=describe_poolings(graph),
    )


def check_settings(*, n_steps: object, batch_size: int, engine: str, n_threads: int | None) -> None:
    """Check what needs neither graph nor samples.

    Raises:
        SimulationError: n_steps, batch_size or n_threads out of range, or no such engine.
    """
    if type(n_steps) is not int or not 1 <= n_steps <= MAX_N_STEPS:
        raise SimulationError(
            f"n_steps {n_steps!r}, expected an integer of at least 1 and at most {MAX_N_STEPS}",
            hint=f"try --n-steps {DEFAULT_N_STEPS}",
        )
    if batch_size < 1:
        raise SimulationError(
            f"batch_size {batch_size}, expected at least 1", hint="100 is the default"
        )
    find(ENGINES, engine, "engine", SimulationError)
    if n_threads is not None:
        check_threads(n_threads)


def count_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_samples(
    graph: Graph,
    inputs: tuple[Samples, ...],
    labels: Labels | None,
    shapes: tuple[tuple[int, ...], ...] | None = None,
) -> None:
    """Check that samples and labels can be evaluated; `shapes` of samples are the inputs' if None.

    Raises:
        DataError: They do not fit the graph, or there are none.
    """
    if len(inputs) != len(graph.inputs):
        raise DataError(
            f"data: has {len(inputs)} input arrays, expected {len(graph.inputs)}",
            hint="give one array per network input",
        )
    if shapes is None:
        shapes = tuple(graph.types[name].shape for name in graph.inputs)
    for name, array, shape in zip(graph.inputs, inputs, shapes, strict=True):
        if array.shape[1:] != shape:
            raise DataError(
                f"data: samples have shape {array.shape[1:]}, expected {shape} for input {name}",
                hint="the network is fed in exactly the layout that the source model takes",
            )
        if len(array) != len(inputs[0]) or not len(array):
            raise DataError(
                f"data: has {len(array)} samples for input {name}, expected {len(inputs[0]) or 1}",
                hint="every input needs the same number of samples, at least one",
            )
    if labels is None:
        return
    if labels.shape != (len(inputs[0]),):
        raise DataError(
            f"labels: have shape {labels.shape}, expected ({len(inputs[0])},)",
            hint="give one class index per sample",
        )
    type_ = graph.types[graph.outputs[0]]
    is_binary = type_.size == 1 and read_readouts(graph)[0].function == "sigmoid"
    n_classes = 2 if is_binary else type_.size
    if len(type_.shape) != 1:
        raise DataError(
            f"labels: the first output has shape {type_.shape}, expected a vector of classes",
            hint="leave y out: accuracy is measured for classes only, agreement for every output",
        )
    if n_classes == 1:
        raise DataError(
            "labels: the first output is one linear unit, expected a vector of classes or one "
            "sigmoid unit",
            hint="leave y out; a binary classifier needs its sigmoid in the model",
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise DataError(
            f"labels: lie in {labels.min()}..{labels.max()}, expected 0..{n_classes - 1}",
            hint="labels are indices of the network's outputs, counted from 0",
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
