"""explain: which layer of a spiking network costs the accuracy, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..converter.errors import SimulationError
from ..converter.ir import (
    Array,
    BinaryWeighted,
    Burst,
    Graph,
    IntegrateFire,
    LeakyFire,
    Neuron,
    Node,
    Samples,
    SignedFire,
    WaitFire,
)
from ..converter.ir.scheduled import FirstSpikeFire
from .advice import advise
from .checks import check_samples, check_settings, count_cores
from .encoding import DEFAULT_CODE, Encoder
from .engines import DEFAULT_ENGINE, ENGINES
from .error_split import LayerReport
from .layer_split import Split
from .samples import SampleRecord, batches
from .schedule import check_run

BATCH_SIZE = 50
BLOCK = 32
"""Steps whose input is there at a time."""

TOLERATED = 0.02
"""How far a threshold may be from one unit of activation: those of integers are rounded."""
BUSY = 0.5
"""Of all that a neuron can fire: where none does on any sample, thresholds are too high."""
EXPLAINED = (
    IntegrateFire, LeakyFire, WaitFire, FirstSpikeFire, SignedFire, Burst, BinaryWeighted,
)  # fmt: skip
"""Neurons whose count would be a quantised ReLU if their currents came evenly, less what they lose
by a reset to zero, a leak or rest."""


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
    def neurons(self) -> tuple[LayerReport, ...]:
        """The layers that fire, without those of outputs."""
        return tuple(layer for layer in self.layers if not layer.is_output)

    @property
    def worst(self) -> tuple[LayerReport, str]:
        """The layer and the cause that add most."""
        pairs = [(layer, cause) for layer in self.layers for cause in layer.causes]
        return max(pairs, key=lambda pair: pair[0].causes[pair[1]])

    @property
    def sentence(self) -> str:
        """What cost most, and what helps."""
        layer, cause = self.worst
        if not layer.causes[cause]:
            return "no layer adds an error: rates are the network's activations"
        named = {
            "code": f"the input's code {self.code} costs",
            "threshold": "too high a threshold costs",
            "weights": "other weights or biases than the network's cost",
        }.get(cause, f"{cause} costs")
        of = "outputs" if layer.is_output else "layer's activations"
        return (
            f"{layer.node}: {named} most, {100 * layer.causes[cause]:.1f} % of the {of}; "
            f"to reduce it, {self.help}"
        )

    @property
    def help(self) -> str:
        """What helps against the worst of all causes."""
        layer, cause = self.worst
        is_wrong = abs(layer.threshold - 1) > TOLERATED
        if is_wrong and cause in {"clipping", "threshold"}:
            verb = "raise" if cause == "clipping" else "lower"
            return (
                f"convert again, or {verb} the threshold: it is {layer.threshold:.3g} of what a "
                "spike stands for"
            )
        if cause == "quantisation" and layer.busiest < BUSY:
            return (
                f"{self.advice[cause]}, or calibrate with samples like these: thresholds are so "
                f"high that no neuron fires more than {100 * layer.busiest:.0f} % of what it can"
            )
        return self.advice[cause]

    def to_json(self) -> dict[str, Any]:
        """Return what `spikeport explain --json` writes."""
        layer, cause = self.worst
        return {
            "n_samples": self.n_samples,
            "n_steps": self.n_steps,
            "code": self.code,
            "seed": self.seed,
            "worst": {"node": layer.node, "cause": cause, "advice": self.help},
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

    With a the ANN's activation in units of a spike per step, f its ReLU, z the mean current that
    the neuron really got, and T steps, the difference of its rate from a is the sum of

        correction     f(y) - a,  y the current that the ANN's activations in front would give
        inherited      f(z') - f(y),  z' the current of the samples without a code
        code           f(z) - f(z')
        threshold      min(f(z), f(z / threshold)) - f(z)
        clipping       clip(f(z / threshold), 0, 1) - the above
        quantisation   clip(floor((z T + initial potential) / threshold), 0, T) / T - the above
        unevenness     the neuron's rate - the above

    A neuron that resets to zero loses what exceeds its threshold, more or less of it in other
    orders of the same spikes: the last difference is called `reset` there, and `leak` where it
    forgets or rests. Only the currents of
    first layers differ without a code; behind them z' is z. Where a threshold is one unit of
    activation, as it should be, f(z / threshold) is f(z). A neuron that sends up to L levels in a
    step clips at L in place of 1. Under a schedule T is the window of a layer, and what the
    initial potential exceeds half a threshold by is part of the current: the bias. So it is where
    `calibrate_neurons` chose it, whose biases take it back. The currents of outputs, the last
    rows, have corrections and what is inherited.

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
    split = Split(graph, ann, _find_layers(graph, ann), n_steps)
    runner = ENGINES[engine](graph, n_threads=threads, encoder=encoder)
    record = SampleRecord(inputs)
    for chosen, batch in batches(inputs, BATCH_SIZE):
        record.add(batch)
        counts = runner.run(batch, n_steps, count_spikes=True).spike_counts
        plain = encoder.constant(batch) if encoder else batch
        fed = None if encoder is None else _fed(graph, encoder, batch, n_steps)
        split.add(plain, fed, counts)
        progress(chosen.stop)
    reports = tuple(found.report(name) for name, found in split.sums.items())
    name = DEFAULT_CODE if encoder is None else encoder.name
    seed = encoder.seed if encoder is not None and encoder.is_random else None
    advice = advise(graph, name, n_steps)
    return Explanation(len(inputs[0]), n_steps, reports, advice, name, seed)


def _find_layers(graph: Graph, ann: Graph) -> list[Node]:
    """Return the neurons that stand for activations of the network; refuse other kinds."""
    neurons = [node for node in graph.nodes if isinstance(node.op, Neuron)]
    others = [node for node in neurons if not isinstance(node.op, EXPLAINED)]
    if others:
        raise SimulationError(
            f"{others[0]}: its count is not that of a quantised ReLU even where its current is "
            "even, expected neurons that send values, not differences",
            hint="explain takes recipes rate, light, ltb, classic, diehl, exact, integer, graded, "
            "ttfs and binary",
        )
    layers = [node for node in neurons if node.name in ann.by_name]
    if not layers:
        raise SimulationError(
            "graph: has no neurons that stand for activations of the network",
            hint="give the network that the graph was converted from",
        )
    return layers


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
