"""What a report shows beyond an evaluation: gathered from a few samples, memory bounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...converter.errors import SimulationError
from ...converter.ir import Array, Graph, Samples
from ...converter.ir.ops import Sigmoid, Softmax
from ..decoding import read_readouts
from ..early_exit import Calibration
from ..encoding import Encoder
from ..energy import Constants
from ..engines import DEFAULT_ENGINE, ENGINES
from ..evaluate import Evaluation
from ..explain import Explanation, explain
from ..metrics import stable_after
from ..quantised import Quantised, evaluate_quantised
from ..samples import pick
from ..simulation import Counts, Simulation

EXPLAINED, QUANTISED, EXAMPLES = 100, 1000, 6
"""Samples, the first so many, for the error budget and the quantised ANN; single ones shown."""


@dataclass(frozen=True, eq=False)
class Example:
    """One sample over time.

    Attributes:
        number: Of the sample, from 0.
        label: Its class, if known.
        decision: After T steps.
        stable: Steps until the decision no longer changed.
        image: [H, W] or [H, W, 3] in 0..1; None where the input is no image.
        scores: [T, classes]: softmax (or sigmoid) of the mean potential so far.
    """

    number: int
    label: int | None
    decision: int
    stable: int
    image: Array | None
    scores: Array


@dataclass(frozen=True, eq=False)
class Content:
    """Everything that a report shows.

    Attributes:
        title: Of the page.
        evaluation: Its figures.
        constants: Energy of single operations.
        n_classes: Entries of the first output; 2 for one sigmoid unit.
        rates: Spikes per step of every neuron, [neurons], by node.
        explanation: Error budget and correlation by layer; None without the source network.
        quantised: The quantised ANN; None without labels or where neurons are no quantisers.
        calibration: Of the early exit.
        examples: Single samples.
        provenance: Pairs of name and value.
    """

    title: str
    evaluation: Evaluation
    constants: Constants
    n_classes: int
    rates: Mapping[str, Array] = field(default_factory=dict)
    explanation: Explanation | None = None
    quantised: Quantised | None = None
    calibration: Calibration | None = None
    examples: tuple[Example, ...] = ()
    provenance: tuple[tuple[str, str], ...] = ()


class RateRecorder:
    """Adds up the spikes of single neurons over samples; pass it to `evaluate` as `observe`."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self._n_simulated = 0

    def __call__(self, simulation: Simulation) -> None:
        """Add one batch."""
        n_steps, n_samples = simulation.outputs[0].shape[:2]
        steps = simulation.steps
        self._n_simulated += n_steps * n_samples if steps is None else int(steps.sum())
        for name, counts in simulation.spike_counts.items():
            self._counts[name] = self._counts.get(name, 0) + counts.sum(axis=0)

    @property
    def rates(self) -> dict[str, Array]:
        """Spikes per step, [neurons], by node."""
        return {
            name: (np.abs(counts).reshape(-1) / max(1, self._n_simulated)).astype(np.float32)
            for name, counts in self._counts.items()
        }


def gather(
    graph: Graph,
    evaluation: Evaluation,
    inputs: tuple[Samples, ...],
    *,
    title: str,
    constants: Constants,
    ann: Graph | None = None,
    rates: Mapping[str, Array] | None = None,
    calibration: Calibration | None = None,
    provenance: tuple[tuple[str, str], ...] = (),
    n_threads: int | None = None,
    encoder: Encoder | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Content:
    """Compute what a report shows beyond an evaluation.

    Args:
        graph: That was evaluated.
        evaluation: Of it.
        inputs: That it was evaluated on.
        title: Of the page.
        constants: Energy of single operations.
        ann: The graph of the source network.
        rates: By `RateRecorder`.
        calibration: Of the early exit.
        provenance: Pairs of name and value.
        n_threads: As for `evaluate`.
        encoder: Likewise.
        progress: Called with what is done next.
    """
    type_ = graph.types[graph.outputs[0]]
    explanation, quantised = None, None
    if ann is not None:
        progress("error budget")
        some = tuple(array[:EXPLAINED] for array in inputs)
        try:
            explanation = explain(
                graph,
                ann,
                some,
                n_steps=evaluation.n_steps,
                n_threads=n_threads,
                encoder=encoder,
            )
        except SimulationError:  # neurons that it knows nothing about
            explanation = None
    if evaluation.labels is not None:
        progress("quantised ANN")
        some = tuple(np.asarray(array[:QUANTISED], np.float32) for array in inputs)
        some = some if encoder is None else encoder.constant(some)
        quantised = evaluate_quantised(
            graph,
            some,
            evaluation.labels[:QUANTISED],
            evaluation.decisions[-1, :QUANTISED],
            n_levels=evaluation.n_steps,
        )
    progress("examples")
    return Content(
        title=title,
        evaluation=evaluation,
        constants=constants,
        n_classes=max(2, type_.size),
        rates=rates or {},
        explanation=explanation,
        quantised=quantised,
        calibration=calibration,
        examples=find_examples(graph, evaluation, inputs, encoder),
        provenance=provenance,
    )


def find_examples(
    graph: Graph,
    evaluation: Evaluation,
    inputs: tuple[Samples, ...],
    encoder: Encoder | None = None,
) -> tuple[Example, ...]:
    """Return the samples that decide first and last, and wrong ones, over time."""
    numbers = choose_examples(evaluation)
    make_ready = ENGINES.get(evaluation.engine, ENGINES[DEFAULT_ENGINE])
    runner = make_ready(graph, n_threads=1, encoder=encoder)
    chosen = pick(inputs, numbers)
    shown = chosen if encoder is None else encoder.constant(chosen)
    rule = None if evaluation.early_exit is None else evaluation.early_exit.rule
    run = runner.run(chosen, evaluation.n_steps, exit_rule=rule)
    scores = _scores(graph, run.outputs[0])
    stable = stable_after(evaluation.decisions)
    return tuple(
        Example(
            number=number,
            label=None if evaluation.labels is None else int(evaluation.labels[number]),
            decision=int(evaluation.decisions[-1, number]),
            stable=int(stable[number]),
            image=to_image(shown[0][place]),
            scores=scores[:, place],
        )
        for place, number in enumerate(numbers)
    )


def choose_examples(evaluation: Evaluation) -> list[int]:
    """Return numbers of samples: early and late right ones, then wrong ones, no more than six."""
    stable = stable_after(evaluation.decisions)
    order = np.argsort(stable, kind="stable")
    if evaluation.labels is None:
        return sorted({int(order[0]), int(order[len(order) // 2]), int(order[-1])})
    right = evaluation.decisions[-1] == evaluation.labels
    hits, misses = order[right[order]], order[~right[order]]
    picks = [*hits[:1], *hits[len(hits) // 2 : len(hits) // 2 + 1], *hits[-1:], *misses[:1],
             *misses[len(misses) // 2 : len(misses) // 2 + 1], *misses[-1:]]  # fmt: skip
    return list(dict.fromkeys(int(number) for number in picks))[:EXAMPLES]


def to_image(sample: Array) -> Array | None:
    """Return one input as an image [H, W] or [H, W, 3] in 0..1, or None where it is none."""
    shape = sample.shape
    if len(shape) == 3 and shape[0] in {1, 3} and shape[2] not in {1, 3}:
        sample = sample.transpose(1, 2, 0)
    if sample.ndim == 3 and sample.shape[2] == 1:
        sample = sample[:, :, 0]
    is_image = sample.ndim == 2 or (sample.ndim == 3 and sample.shape[2] == 3)
    if not is_image or min(sample.shape[:2]) < 2 or max(sample.shape[:2]) > 512:
        return None
    low, high = float(sample.min()), float(sample.max())
    return np.asarray((sample - low) / ((high - low) or 1.0), np.float32)


def _scores(graph: Graph, potentials: Array) -> npt.NDArray[np.float32]:
    """Return [T, N, classes] in 0..1 of mean potentials [T, N, ...]."""
    n_steps, n_samples = potentials.shape[:2]
    flat = potentials.reshape(n_steps * n_samples, -1)
    if flat.shape[1] == 1 and read_readouts(graph)[0].function == "sigmoid":
        one = Sigmoid().apply(flat)
        scores = np.concatenate([1 - one, one], axis=1)
    else:
        scores = Softmax(0).apply(flat)
    return scores.reshape(n_steps, n_samples, -1)
