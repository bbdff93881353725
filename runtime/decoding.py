"""DECODERS: from what outputs have accumulated to decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..converter.errors import SimulationError, find
from ..converter.ir import Array, Graph
from ..converter.ir.ops import LogSoftmax, Relu, Sigmoid, Softmax

Decisions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Readout:
    """What the source applies to an output, and a spiking network to its potential.

    Attributes:
        function: `linear`, `softmax`, `log_softmax`, `sigmoid` or `relu`.
        axis: Of a (log-)softmax, in a sample; else None.
    """

    function: str = "linear"
    axis: int | None = None

    def apply(self, potential: Array) -> Array:
        """Return what the source would give; potential and result are [N, ...]."""
        match self.function:
            case "softmax":
                return Softmax(self.axis or 0).apply(potential)
            case "log_softmax":
                return LogSoftmax(self.axis or 0).apply(potential)
            case "sigmoid":
                return Sigmoid().apply(potential)
            case "relu":
                return Relu().apply(potential)
        return potential


def read_readouts(graph: Graph) -> tuple[Readout, ...]:
    """Return the read-out of every output, as the graph's metadata say.

    Raises:
        SimulationError: The metadata do not say it in the way that `convert` writes it.
    """
    entries = graph.metadata.get("readout", [{"function": "linear"}] * len(graph.outputs))
    try:
        readouts = tuple(Readout(**entry) for entry in entries)
        ranks = [len(graph.types[name].shape) for name in graph.outputs]
        for readout, rank in zip(readouts, ranks, strict=True):
            axis = readout.axis
            has_axis = readout.function in {"softmax", "log_softmax"}
            is_softmax = has_axis and type(axis) is int and 0 <= axis < rank
            is_other = readout.function in {"linear", "sigmoid", "relu"} and axis is None
            if not (is_softmax or is_other):
                raise ValueError
    except (TypeError, ValueError) as error:
        raise SimulationError(
            f"metadata: readout is {entries!r}, expected one function per output",
            hint="convert the network again",
        ) from error
    return readouts


def decide(outputs: Array, readout: Readout) -> Decisions:
    """Return the place of every sample's largest value, flattened; the first one if tied.

    Args:
        outputs: [N, ...], with the read-out's function applied. A single sigmoid unit decides
            between class 0 and class 1 by the sign of its logit.
        readout: Of this output.
    """
    flat = outputs.reshape(len(outputs), -1)
    if flat.shape[1] == 1 and readout.function == "sigmoid":
        return (flat[:, 0] >= 0.5).astype(np.int64)
    return np.asarray(flat.argmax(axis=1), np.int64)


@dataclass(frozen=True, eq=False)
class Decided:
    """Decisions of a batch at every step, [T, N].

    Attributes:
        decisions: Places in the first output, flattened.
        tied: Another place had as much: the first of them was taken.
        silent: No output neuron had fired: the place of the largest potential was taken.
    """

    decisions: Decisions
    tied: npt.NDArray[np.bool_]
    silent: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ReadOut:
    """What a run's read-out was and did.

    Attributes:
        name: Key of DECODERS.
        delay: Steps that were left out; None where the read-out knows none.
        ties: Share of the samples whose decision was a tie, after every step.
        silent: Share of them without a spike of the outputs so far, after every step.
    """

    name: str
    delay: int | None
    ties: tuple[float, ...]
    silent: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the attributes by name."""
        return {**vars(self), "ties": list(self.ties), "silent": list(self.silent)}


@dataclass(frozen=True)
class Decoder:
    """A way to read decisions from the first output."""

    name: ClassVar[str] = ""
    needs_scale: ClassVar[bool] = False
    """Whether outputs get neurons of their own, whose threshold is the scale of the outputs."""

    def check(self, graph: Graph, n_steps: int, *, early_exit: bool) -> None:
        """Check that a run can be read so.

        Raises:
            SimulationError: It cannot.
        """
        reason = ""
        if "schedule" in graph.metadata:
            reason = "the graph has an exact schedule, whose outputs mean something at its end only"
        elif early_exit:
            reason = "early exit looks at the accumulated potential"
        elif graph.types[graph.outputs[0]].size == 1:
            reason = "the first output is a single unit, which has no rivals"
        elif self.needs_scale and find_scale(graph) is None:
            reason = "the file does not say how large outputs become"
        if reason:
            raise SimulationError(
                f"read-out {self.name}: {reason}, expected another run",
                hint="use --read-out potential, or convert again with a causal recipe such as rate",
            )

    def decide(self, means: Array, readout: Readout, scale: float | None) -> Decided:
        """Return the decisions of a batch.

        Args:
            means: Of the first output so far, [T, N, ...]: accumulated potentials divided by steps.
            readout: Of this output.
            scale: Threshold of output neurons, in the output's units.
        """
        raise NotImplementedError

    def report(self, ties: npt.NDArray[Any], silent: npt.NDArray[Any], n_steps: int) -> ReadOut:
        """Return what a run of T steps did; shares of the samples after every step, [T]."""
        shares = (tuple(map(float, each)) for each in (ties, silent))
        return ReadOut(self.name, None, *shares)


@dataclass(frozen=True)
class Potential(Decoder):
    """The largest accumulated potential."""

    name: ClassVar[str] = "potential"

    def check(self, graph: Graph, n_steps: int, *, early_exit: bool) -> None:
        pass

    def decide(self, means: Array, readout: Readout, scale: float | None) -> Decided:
        decisions = np.empty(means.shape[:2], np.int64)
        tied = np.zeros(means.shape[:2], np.bool_)
        for step, mean in enumerate(means):
            values = readout.apply(mean)
            decisions[step] = decide(values, readout)
            tied[step] = _count_largest(values.reshape(len(values), -1)) > 1
        return Decided(decisions, tied, np.zeros_like(tied))


@dataclass(frozen=True)
class Window(Potential):
    """The largest potential accumulated behind the first steps, when spikes have come through.

    Source: the delayed evaluation of Bu et al. 2025 (LTB), with a number of steps that is given.

    Attributes:
        delay: Steps that are left out; None is a quarter of the run. Decisions before the end of
            the delay are those of Potential.
    """

    delay: int | None = None
    name: ClassVar[str] = "window"

    def check(self, graph: Graph, n_steps: int, *, early_exit: bool) -> None:
        Decoder.check(self, graph, n_steps, early_exit=early_exit)
        if self.delay is not None and not 0 <= self.delay < n_steps:
            raise SimulationError(
                f"read-out window: begins behind step {self.delay}, expected 0 to {n_steps - 1}",
                hint="leave --delay out for a quarter of the run",
            )

    def steps(self, n_steps: int) -> int:
        """Return the steps that are left out of a run."""
        return n_steps // 4 if self.delay is None else self.delay

    def decide(self, means: Array, readout: Readout, scale: float | None) -> Decided:
        totals = _totals(means)
        first = self.steps(len(means))
        numbers = np.arange(1, len(means) + 1).astype(np.float64)
        if first:
            totals[first:] -= totals[first - 1]
            numbers[first:] -= first
        inside = totals / numbers.reshape(-1, *(1,) * (totals.ndim - 1))
        return super().decide(inside.astype(np.float32), readout, scale)

    def report(self, ties: npt.NDArray[Any], silent: npt.NDArray[Any], n_steps: int) -> ReadOut:
        found = super().report(ties, silent, n_steps)
        return ReadOut(self.name, self.steps(n_steps), found.ties, found.silent)


@dataclass(frozen=True)
class Count(Decoder):
    """The most spikes of output neurons, which integrate and fire like those of the network.

    Their threshold is the scale of the outputs, their initial potential half of it.

    Source: Diehl et al. 2015 and others.
    """

    name: ClassVar[str] = "count"
    needs_scale: ClassVar[bool] = True

    def decide(self, means: Array, readout: Readout, scale: float | None) -> Decided:
        currents = np.diff(_totals(means), axis=0, prepend=0) / (scale or 1.0)
        potentials = np.full(currents.shape[1:], 0.5)
        counts = np.zeros_like(potentials)
        decisions = np.empty(means.shape[:2], np.int64)
        tied, silent = (np.zeros(means.shape[:2], np.bool_) for _ in range(2))
        for step, current in enumerate(currents):
            potentials += current
            fired = potentials >= 1
            potentials -= fired
            counts += fired
            flat = counts.reshape(len(counts), -1)
            silent[step] = ~flat.any(axis=1)
            tied[step] = ~silent[step] & (_count_largest(flat) > 1)
            leading = np.where(silent[step, :, None], potentials.reshape(flat.shape), flat)
            decisions[step] = leading.argmax(axis=1)
        return Decided(decisions, tied, silent)


@dataclass(frozen=True)
class FirstSpike(Decoder):
    """The output neuron that fires first, which ends the matter.

    Threshold as with Count, initial potential 0, for time to count.

    Source: Rueckauer and Liu 2018 and others.
    """

    name: ClassVar[str] = "first"
    needs_scale: ClassVar[bool] = True

    def decide(self, means: Array, readout: Readout, scale: float | None) -> Decided:
        totals = _totals(means).reshape(*means.shape[:2], -1) / (scale or 1.0)
        fired = np.maximum.accumulate(totals, axis=0) >= 1
        silent = np.asarray(~fired.any(axis=2))
        decisions = np.empty(means.shape[:2], np.int64)
        tied = np.zeros(means.shape[:2], np.bool_)
        for step in range(len(totals)):
            decisions[step] = np.where(
                silent[step], totals[step].argmax(axis=1), fired[step].argmax(axis=1)
            )
            tied[step] = fired[step].sum(axis=1) > 1
            if step:  # what was decided stays so
                known = ~silent[step - 1]
                decisions[step, known] = decisions[step - 1, known]
                tied[step, known] = tied[step - 1, known]
        return Decided(decisions, tied, silent)


DECODERS: dict[str, type[Decoder]] = {
    decoder.name: decoder for decoder in (Potential, Count, FirstSpike, Window)
}
DEFAULT_READ_OUT = "potential"


def make_decoder(name: str, delay: int | None = None) -> Decoder:
    """Return the decoder of a name.

    Raises:
        SimulationError: No such decoder, or a delay for one that knows none.
    """
    decoder: type[Decoder] = find(DECODERS, name, "read-out", SimulationError)
    if decoder is Window:
        return Window(delay)
    if delay is not None:
        raise SimulationError(
            f"--delay {delay}: read-out {name} looks at all steps, expected read-out window",
            hint="use --read-out window, or leave --delay out",
        )
    return decoder()


def find_scale(graph: Graph) -> float | None:
    """Return how large the first output becomes, as conversion noted it; None if it did not."""
    scales: Any = graph.metadata.get("output_scale")
    scale: Any = scales[0] if isinstance(scales, list) and scales else None
    is_number = type(scale) in {int, float} and 0 < scale < float("inf")
    return float(scale) if is_number else None


def _totals(means: Array) -> npt.NDArray[np.float64]:
    """Return accumulated potentials, [T, N, ...], of their means."""
    numbers = np.arange(1, len(means) + 1).reshape(-1, *(1,) * (means.ndim - 1))
    return means.astype(np.float64) * numbers


def _count_largest(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return how many entries of each row are its largest, [N]."""
    return np.asarray((values == values.max(axis=1, keepdims=True)).sum(axis=1), np.int64)
