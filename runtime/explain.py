"""explain: which layer of a spiking network costs the accuracy, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..converter.errors import SimulationError
from ..converter.ir import (
    AddOnce,
    Array,
    BinaryWeighted,
    Burst,
    Graph,
    IntegrateFire,
    LeakyFire,
    Neuron,
    Node,
    Pulse,
    Samples,
    SignedFire,
    StatefulOp,
    WaitFire,
    run_nodes,
)
from ..converter.ir.ops import Input, MaxPool
from ..converter.ir.scheduled import FirstSpikeFire
from .advice import advise
from .checks import check_samples, check_settings, count_cores
from .encoding import DEFAULT_CODE, Encoder
from .engines import DEFAULT_ENGINE, ENGINES
from .error_split import LayerReport, Sums, levels_of
from .samples import SampleRecord, batches
from .schedule import check_run
from .simulation import Counts

BATCH_SIZE = 50
BLOCK = 32
"""Steps whose input is there at a time."""

EXPLAINED = (IntegrateFire, WaitFire, FirstSpikeFire, SignedFire, Burst, BinaryWeighted)
"""Neurons whose count would be a quantised ReLU if their currents came evenly."""


@dataclass(frozen=True)
class Explanation:
    """Reports of all layers, in topological order, and the worst of all causes.

    Attributes:
        n_samples: N.
        n_steps: Of the run.
        layers: In topological order.
        advice: What helps, by key of CAUSES.
        code: Key of ENCODERS.
        seed: Of a random code; None where nothing is random.
    """

    n_samples: int
    n_steps: int
    layers: tuple[LayerReport, ...]
    advice: Mapping[str, str]
    code: str = DEFAULT_CODE
    seed: int | None = None

    @property
    def worst(self) -> tuple[LayerReport, str]:
        """The layer and the cause that add most."""
        pairs = [(layer, cause) for layer in self.layers for cause in layer.causes]
        return max(pairs, key=lambda pair: pair[0].causes[pair[1]])

    @property
    def sentence(self) -> str:
        """What cost most, and what helps."""
        layer, cause = self.worst
        named = f"the input's code {self.code}" if cause == "code" else cause
        return (
            f"{layer.node}: {named} costs most, {100 * layer.causes[cause]:.1f} % of the layer's "
            f"activations; to reduce it, {self.advice[cause]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `spikeport explain --json` writes."""
        layer, cause = self.worst
        return {
            "n_samples": self.n_samples,
            "n_steps": self.n_steps,
            "code": self.code,
            "seed": self.seed,
            "worst": {"node": layer.node, "cause": cause, "advice": self.advice[cause]},
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
    encoder: Encoder | None = None,
) -> Explanation:
    """Split the difference between rates and activations into causes, layer by layer.

    With a the ANN's activation in units of a spike per step, z the mean current that the neuron
    really got, and T steps, the difference of its rate from a is the sum of

        inherited      max(z', 0) - a
        code           max(z, 0) - max(z', 0),  z' the current of the samples without a code
        clipping       clip(z / threshold, 0, 1) - max(z, 0)
        quantisation   clip(floor((z T + initial potential) / threshold), 0, T) / T - the above
        unevenness     the neuron's rate - the above

    A neuron that resets to zero loses what exceeds its threshold, more or less of it in other
    orders of the same spikes: the last difference is called `reset` there. Only the currents of
    first layers differ without a code; behind them z' is z. A neuron that sends up
    to L levels in a step clips at L in place of 1. Under a schedule T is the window of a layer, and
    what the initial potential exceeds half a threshold by is part of the current: the bias.

    Args:
        graph: Spiking, with neurons of EXPLAINED.
        ann: The network it was converted from, as it was read.
        inputs: One array [N, ...] per input.
        n_steps: Of the run: T, or as many as the schedule takes.
        engine: Key of ENGINES.
        n_threads: None for every core.
        progress: Called with the number of samples done.
        encoder: What flows at every step; None is the samples as constant currents.

    Raises:
        SimulationError: A setting is out of range, there are no neurons to explain, one is of
            another kind, or the graph cannot be fed so.
        DataError: The samples do not fit the graph or the code.

    Source: the split into clipping, quantisation and unevenness is that of Bu et al. 2022 (QCFS).
    """
    threads = count_cores() if n_threads is None else n_threads
    check_settings(n_steps=n_steps, batch_size=BATCH_SIZE, engine=engine, n_threads=threads)
    check_samples(graph, inputs, None, encoder.shapes(graph, n_steps) if encoder else None)
    check_run(graph, n_steps, early_exit=False)
    layers = _find_layers(graph, ann)
    runner = ENGINES[engine](graph, n_threads=threads, encoder=encoder)
    sums = {node.name: Sums() for node in layers}
    record = SampleRecord(inputs)
    for chosen, batch in batches(inputs, BATCH_SIZE):
        record.add(batch)
        counts = runner.run(batch, n_steps, count_spikes=True).spike_counts
        plain = encoder.constant(batch) if encoder else batch
        activations = _activations(ann, plain, {node.name for node in layers})
        uncoded = _mean_currents(graph, plain, counts, n_steps)
        currents = uncoded
        if encoder is not None:
            currents = _mean_currents(graph, _fed(graph, encoder, batch, n_steps), counts, n_steps)
        for node in layers:
            unit = _unit(graph, node.name)
            gain = _unit(graph, node.inputs[0]) / unit
            levels = levels_of(node.op, n_steps)
            sums[node.name].add(
                activations[node.name] / unit,
                currents[node.name] * np.float32(n_steps / levels.n_steps),
                counts[node.name],
                gain,
                levels,
                uncoded[node.name] * np.float32(n_steps / levels.n_steps),
            )
        progress(chosen.stop)
    reports = tuple(found.report(name) for name, found in sums.items())
    name = DEFAULT_CODE if encoder is None else encoder.name
    advice = advise(graph, name)
    seed = encoder.seed if encoder is not None and encoder.is_random else None
    return Explanation(len(inputs[0]), n_steps, reports, advice, name, seed)


def _find_layers(graph: Graph, ann: Graph) -> list[Node]:
    """Return the neurons that stand for activations of the network; refuse other kinds."""
    neurons = [node for node in graph.nodes if isinstance(node.op, Neuron)]
    others = [node for node in neurons if not isinstance(node.op, EXPLAINED)]
    if others:
        raise SimulationError(
            f"{others[0]}: its count is not that of a quantised ReLU even where its current is "
            "even, expected neurons without leak, rest and memory of time",
            hint=_hint(others[0]),
        )
    layers = [node for node in neurons if node.name in ann.by_name]
    if not layers:
        raise SimulationError(
            "graph: has no neurons that stand for activations of the network",
            hint="give the network that the graph was converted from",
        )
    return layers


def _hint(node: Node) -> str:
    if isinstance(node.op, LeakyFire):
        return "leave out leak, refractory and relative to see what the rest of the network costs"
    return (
        "explain takes the recipes rate, light, ltb, classic, diehl, exact, integer, graded, ttfs"
    )


def _fed(
    graph: Graph, encoder: Encoder, batch: tuple[Array, ...], n_steps: int
) -> tuple[Array, ...]:
    """Return the mean of what flows in over the steps, [N, ...] per input."""
    feed = encoder.open(graph, batch, n_steps)
    totals: list[Array | float] = [0.0] * len(batch)
    for first in range(0, n_steps, BLOCK):
        parts = feed(first, min(BLOCK, n_steps - first))
        sums = (part.sum(axis=0, dtype=np.float64) for part in parts)
        totals = [total + part for total, part in zip(totals, sums, strict=True)]
    return tuple(np.asarray(total / n_steps, np.float32) for total in totals)


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
    return currents
