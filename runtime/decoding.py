"""From accumulated potentials to decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..converter.errors import SimulationError
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
