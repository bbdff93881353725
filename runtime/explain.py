"""explain: which layer of a spiking network costs the accuracy, and why."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..converter.errors import SimulationError
from ..converter.ir import Array, Graph, IntegrateFire, Node, Reset, Samples, StatefulOp, run_nodes
from ..converter.ir.ops import Input, MaxPool
from .checks import check_samples, check_settings, count_cores
from .engines import DEFAULT_ENGINE, ENGINES
from .samples import SampleRecord, batches
from .simulation import Counts

BATCH_SIZE = 50

CAUSES: dict[str, str] = {
    "clipping": "calibrate with samples like these, scaled alike, take more steps (--n-steps), or "
    "raise the thresholds (in the recipe classic: --set normalize_weights.percentile=99.99)",
    "quantisation": "take more steps (--n-steps)",
    "reset": "let the neurons reset by subtraction (--set insert_neurons.reset=subtract)",
    "unevenness": "take more steps (--n-steps), or a schedule in which layers wait for all their "
    "spikes",
}
"""What a layer adds to the error by itself, and what helps against it."""


@dataclass(frozen=True)
class LayerReport:
    """How far the rates of one layer of neurons are from the ANN's activations, and why.

    Errors are root mean squares over neurons and samples, as shares of the root mean square of the
    ANN's activations.

    Attributes:
        node: Name of the neurons.
        firing_rate: Mean, in spikes per step.
        saturated: Share of the neurons (times samples) that fire at every step.
        silent: Share of the neurons that never fire though the ANN's are active.
        correlation: Of the rates with the ANN's activations.
        error: The whole difference.
        inherited: The part that comes with the mean current: from earlier layers, and from
            corrections on purpose.
        causes: What the layer adds, by key of CAUSES.
    """

    node: str
    firing_rate: float
    saturated: float
    silent: float
    correlation: float
    error: float
    inherited: float
    causes: Mapping[str, float]


@dataclass(frozen=True)
class Explanation:
    """Reports of all layers, in topological order, and the worst of all causes."""

    n_samples: int
    n_steps: int
    layers: tuple[LayerReport, ...]

    @property
    def worst(self) -> tuple[LayerReport, str]:
        """The layer and the cause that add most."""
        pairs = [(layer, cause) for layer in self.layers for cause in layer.causes]
        return max(pairs, key=lambda pair: pair[0].causes[pair[1]])

    @property
    def sentence(self) -> str:
        """What cost most, and what helps."""
        layer, cause = self.worst
        return (
            f"{layer.node}: {cause} costs most, {100 * layer.causes[cause]:.1f} % of the layer's "
            f"activations; to reduce it, {CAUSES[cause]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `spikeport explain --json` writes."""
        layer, cause = self.worst
        return {
            "n_samples": self.n_samples,
            "n_steps": self.n_steps,
            "worst": {"node": layer.node, "cause": cause, "advice": CAUSES[cause]},
            "layers": [{**vars(layer), "causes": dict(layer.causes)} for layer in self.layers],
        }


def explain(
    graph: Graph,
    ann: Graph,
    inputs: tuple[Samples, ...],
    *,
    n_steps: int,
    engine: str = DEFAULT_ENGINE,
    n_threads: int | None = None,
    progress: Callable[[int], None] = lambda n_done: None,
) -> Explanation:
    """Split the difference between rates and activations into causes, layer by layer.

    With a the ANN's activation in units of a spike per step, z the mean current that the neuron
    really got, and T steps, the difference of its rate from a is the sum of

        inherited      max(z, 0) - a
        clipping       clip(z / threshold, 0, 1) - max(z, 0)
        quantisation   clip(floor((z T + initial potential) / threshold), 0, T) / T - the above
        unevenness     the neuron's rate - the above

    A neuron that resets to zero loses what exceeds its threshold, more or less of it in other
    orders of the same spikes: the last difference is called `reset` there.

    Args:
        graph: Spiking, with IntegrateFire neurons.
        ann: The network it was converted from, as it was read.
        inputs: One array [N, ...] per input.
        n_steps: T.
        engine: Key of ENGINES.
        n_threads: None for every core.
        progress: Called with the number of samples done.

    Raises:
        SimulationError: A setting is out of range, or there are no neurons to explain.
        DataError: The samples do not fit the graph.

    Source: the split into clipping, quantisation and unevenness is that of Bu et al. 2022 (QCFS).
    """
    threads = count_cores() if n_threads is None else n_threads
    check_settings(n_steps=n_steps, batch_size=BATCH_SIZE, engine=engine, n_threads=threads)
    check_samples(graph, inputs, None)
    layers = [node for node in graph.nodes if isinstance(node.op, IntegrateFire)]
    layers = [node for node in layers if node.name in ann.by_name]
    if not layers:
        raise SimulationError(
            "graph: has no integrate-and-fire neurons that stand for activations of the network",
            hint="give the network that the graph was converted from",
        )
    runner = ENGINES[engine](graph, n_threads=threads)
    sums = {node.name: _Sums() for node in layers}
    record = SampleRecord(inputs)
    for chosen, batch in batches(inputs, BATCH_SIZE):
        record.add(batch)
        counts = runner.run(batch, n_steps, count_spikes=True).spike_counts
        activations = _activations(ann, batch, {node.name for node in layers})
        currents = _mean_currents(graph, batch, counts, n_steps)
        for node in layers:
            unit = _unit(graph, node.name)
            gain = _unit(graph, node.inputs[0]) / unit
            sums[node.name].add(
                activations[node.name] / unit,
                currents[node.name],
                counts[node.name],
                gain,
                node,
                n_steps,
            )
        progress(chosen.stop)
    reports = tuple(found.report(name) for name, found in sums.items())
    return Explanation(len(inputs[0]), n_steps, reports)


def _unit(graph: Graph, name: str) -> Array | np.float32:
    unit = graph.by_name[name].unit
    return np.float32(1) if unit is None else unit


def _activations(ann: Graph, batch: tuple[Array, ...], wanted: set[str]) -> dict[str, Array]:
    return {node.name: value for node, value in run_nodes(ann, batch) if node.name in wanted}


def _mean_currents(
    graph: Graph, batch: tuple[Array, ...], counts: Mapping[str, Counts], n_steps: int
) -> dict[str, Array]:
    """Return the mean current of every neuron [N, ...]: what the operations give for the rates."""
    values: dict[str, Array] = dict(zip(graph.inputs, batch, strict=True))
    currents = {}
    for node in graph.nodes:
        if isinstance(node.op, Input):
            continue
        operands = tuple(values[name] for name in node.inputs)
        if node.name in counts:
            currents[node.name] = operands[0]
            values[node.name] = (counts[node.name] / n_steps).astype(np.float32)
        elif isinstance(node.op, StatefulOp) and not isinstance(node.op, MaxPool):
            raise SimulationError(
                f"{node}: has no mean that its operands' means give, expected neurons and poolings",
                hint="explain takes graphs of the rate recipes",
            )
        else:
            values[node.name] = node.op.apply(*operands)
    return currents


class _Sums:
    """Sums over batches for one layer."""

    def __init__(self) -> None:
        self.n = 0
        self.squares = dict.fromkeys(("error", "inherited", *CAUSES), 0.0)
        self.n_saturated = 0
        self.most_spikes: Counts | int = 0
        self.most_active: Array | int = 0
        self.moments = np.zeros(5)  # of a, r: sums of a, r, a a, r r, a r
        self.n_steps = 1

    def add(
        self,
        activation: Array,
        current: Array,
        counts: Counts,
        gain: Array | np.float32,
        node: Node,
        n_steps: int,
    ) -> None:
        """Add one batch; arrays are [N, ...], `gain` is the ideal rate per current."""
        op = node.op
        if not isinstance(op, IntegrateFire):
            raise SimulationError(f"{node}: expected IntegrateFire")
        rate = counts / n_steps
        ideal = np.maximum(current * gain, 0)
        clipped = np.clip(current / op.threshold, 0, 1)
        start = op.initial_potential / op.threshold
        levels = np.floor(current.astype(np.float64) / op.threshold * n_steps + start)
        quantised = np.clip(levels, 0, n_steps) / n_steps
        behind_reset = rate if op.reset is Reset.ZERO else quantised
        stages = (activation, ideal, clipped, quantised, behind_reset, rate)
        parts = [after - before for before, after in itertools.pairwise(stages)]
        for name, part in zip(("inherited", *CAUSES), parts, strict=True):
            self.squares[name] += float(np.square(part, dtype=np.float64).sum())
        self.squares["error"] += float(np.square(rate - activation, dtype=np.float64).sum())
        self.n += rate.size
        self.n_steps = n_steps
        self.n_saturated += int((counts == n_steps).sum())
        self.most_spikes = np.maximum(self.most_spikes, counts.max(axis=0))
        self.most_active = np.maximum(self.most_active, activation.max(axis=0))
        a, r = activation.astype(np.float64).reshape(-1), rate.reshape(-1)
        self.moments += (a.sum(), r.sum(), a @ a, r @ r, a @ r)

    def report(self, node: str) -> LayerReport:
        """Return what the sums say."""
        a, r, aa, rr, ar = self.moments / self.n
        scale = float(np.sqrt(aa)) or 1.0
        errors = {
            key: float(np.sqrt(value / self.n)) / scale for key, value in self.squares.items()
        }
        spread = float(np.sqrt(max(aa - a * a, 0) * max(rr - r * r, 0)))
        is_silent = (np.asarray(self.most_spikes) == 0) & (
            np.asarray(self.most_active) > 1 / self.n_steps
        )
        return LayerReport(
            node=node,
            firing_rate=float(r),
            saturated=self.n_saturated / self.n,
            silent=float(is_silent.mean()),
            correlation=float((ar - a * r) / spread) if spread else 0.0,
            error=errors["error"],
            inherited=errors["inherited"],
            causes={cause: errors[cause] for cause in CAUSES},
        )
