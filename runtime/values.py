"""How near the values of every output come to the ANN's, for outputs that are no classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..converter.errors import DataError
from ..converter.ir import Array
from .decoding import Readout


@dataclass(frozen=True)
class OutputValues:
    """The values of one output after the last step, read-out applied, over all samples.

    Attributes:
        output: Its name.
        mean_error: Mean difference, in parts of the ANN's mean absolute value.
        largest_error: Largest difference, in parts of the ANN's largest absolute value.
        correlation: Pearson's, over the entries of all samples; None where one side is constant.
    """

    output: str
    mean_error: float | None
    largest_error: float | None
    correlation: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the attributes by name."""
        return asdict(self)


class ValueRecorder:
    """Collects both sides batch by batch, in float64: sample after sample, whatever the batches."""

    def __init__(self, outputs: Sequence[str], readouts: Sequence[Readout]) -> None:
        self.outputs = tuple(outputs)
        self.readouts = tuple(readouts)
        # Per output: entries, then sums of |a - b|, |a|, a, b, a a, b b, a b.
        self.sums = np.zeros((len(self.outputs), 8))
        self.largest = np.zeros((len(self.outputs), 2))

    def add(self, ann: Sequence[Array], potentials: Sequence[Array]) -> None:
        """Add one batch: what the ANN gives, and the potentials [N, ...] after the last step.

        Raises:
            DataError: The ANN has other outputs.
        """
        if len(ann) != len(self.outputs):
            raise DataError(
                f"ann: gives {len(ann)} outputs, expected {len(self.outputs)}",
                hint="compare with the network that was converted",
            )
        for number, (name, readout) in enumerate(zip(self.outputs, self.readouts, strict=True)):
            found = readout.apply(potentials[number])
            if ann[number].shape != found.shape:
                raise DataError(
                    f"ann: gives {ann[number].shape} for the output {name}, expected {found.shape}",
                    hint="compare with the network that was converted",
                )
            a, b = (each.astype(np.float64).reshape(len(each), -1) for each in (ann[number], found))
            apart, size = np.abs(a - b), np.abs(a)
            terms = (np.ones_like(a), apart, size, a, b, a * a, b * b, a * b)
            per_sample = np.stack([term.sum(axis=1) for term in terms], axis=1)
            # accumulate adds in order, where sum would pair samples of one batch
            in_order = np.add.accumulate(np.concatenate([self.sums[number, None], per_sample]))
            self.sums[number] = in_order[-1]
            pair = (apart.max(initial=0.0), size.max(initial=0.0))
            self.largest[number] = np.maximum(self.largest[number], pair)

    def result(self) -> tuple[OutputValues, ...]:
        """Return the values of every output."""
        found = []
        for name, sums, (apart, size) in zip(self.outputs, self.sums, self.largest, strict=True):
            n, differences, sizes, a, b, aa, bb, ab = map(float, sums)
            spread = np.sqrt(max(n * aa - a * a, 0.0)) * np.sqrt(max(n * bb - b * b, 0.0))
            correlation = float((n * ab - a * b) / spread) if spread > 0 else None
            found.append(
                OutputValues(
                    name,
                    differences / sizes if sizes else None,
                    float(apart / size) if size else None,
                    correlation,
                )
            )
        return tuple(found)
