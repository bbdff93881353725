"""Compare evaluations of the same samples, so that nobody mistakes noise for progress."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import DataError, FormatError
from .metrics import mcnemar, wilson_interval
from .results import HINT, Run

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Compared:
    """One run beside the first one.

    Attributes:
        name: File.
        step: After which it was read out.
        n_samples: N.
        accuracy: Share of right decisions.
        interval: Its 95 % confidence interval (Wilson).
        lost: Samples that the first run has right and this one has not; 0 for the first itself.
        won: The other way round.
        p_value: Of McNemar's exact test; None for the first.
        adjusted: The same for all comparisons together (Holm 1979); None for the first.
    """

    name: str
    step: int
    n_samples: int
    accuracy: float
    interval: tuple[float, float]
    lost: int = 0
    won: int = 0
    p_value: float | None = None
    adjusted: float | None = None

    @property
    def verdict(self) -> str:
        """What the test says."""
        if self.adjusted is None:
            return "compared with"
        if self.adjusted >= SIGNIFICANT:
            return "no difference shown"
        return "better" if self.won > self.lost else "worse"

    def to_json(self) -> dict[str, Any]:
        """Return an entry of what `spikeport compare --json` prints."""
        return {**vars(self), "interval": list(self.interval), "verdict": self.verdict}


def compare_runs(runs: Sequence[Run], *, step: int | None = None) -> list[Compared]:
    """Compare runs with the first one, sample by sample.

    Args:
        runs: Two or more, on the same samples with labels.
        step: Read out after so many steps; None for every run's last.

    Raises:
        DataError: Fewer than two runs, other samples, no labels, or a step that a run has not.
    """
    if len(runs) < 2:
        raise DataError(
            f"compare: got {len(runs) or 'no'} file, expected two or more",
            hint="spikeport compare A.json B.json",
        )
    first = runs[0]
    labels = first.labels
    for run in runs:
        _check(run, first, step)
    right = [_right(run, step) for run in runs]
    tests = [mcnemar(right[0], other) for other in right[1:]]
    adjusted = adjust([test.p_value for test in tests])
    n_samples = 0 if labels is None else len(labels)
    result = []
    for number, run in enumerate(runs):
        n_right = int(right[number].sum())
        entry = Compared(
            name=run.name,
            step=step or len(run.decisions),
            n_samples=n_samples,
            accuracy=n_right / n_samples,
            interval=wilson_interval(n_right, n_samples),
        )
        if number:
            test = tests[number - 1]
            entry = Compared(
                **{**vars(entry), "lost": test.only_first, "won": test.only_second,
                   "p_value": test.p_value, "adjusted": adjusted[number - 1]}
            )  # fmt: skip
        result.append(entry)
    return result


def adjust(p_values: Sequence[float]) -> list[float]:
    """Return p-values that hold for all tests together.

    Source: Holm 1979.
    """
    order = np.argsort(p_values, kind="stable")
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def per_step(run: Run, *path: str) -> npt.NDArray[np.float64]:
    """Return a list of T numbers >= 0 of a run's JSON.

    Raises:
        FormatError: It is not there or something else.
    """
    value: Any = run.document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    n_steps = len(run.decisions)
    is_list = isinstance(value, list) and len(value) == n_steps
    if not is_list or not all(type(one) in {int, float} and 0 <= one < 1e300 for one in value):
        raise FormatError(
            f"{run.name}: {'.'.join(path)} is no list of {n_steps} numbers >= 0, expected one per "
            "step",
            hint=HINT,
        )
    return np.array(value, np.float64)


def accuracies(run: Run) -> npt.NDArray[np.float64]:
    """Return the share of right decisions after every step, [T], of a run with labels."""
    return np.asarray((run.decisions == run.labels).mean(axis=1), np.float64)


def _check(run: Run, first: Run, step: int | None) -> None:
    if run.document["samples_sha256"] != first.document["samples_sha256"]:
        raise DataError(
            f"{run.name}: is about other samples ({run.document.get('data')}) than {first.name} "
            f"({first.document.get('data')}), expected the same ones",
            hint="evaluate all of them with the same --data and --limit",
        )
    if run.labels is None:
        raise DataError(
            f"{run.name}: has no labels, expected them to tell right from wrong",
            hint="evaluate on data with labels: an .npz with y, or a folder per class",
        )
    if step is not None and not 1 <= step <= len(run.decisions):
        raise DataError(
            f"--step {step}: {run.name} has {len(run.decisions)} steps, expected one of them",
            hint="leave --step out to take every run's last step",
        )


def _right(run: Run, step: int | None) -> npt.NDArray[np.bool_]:
    return np.asarray(run.decisions[(step or len(run.decisions)) - 1] == run.labels)
