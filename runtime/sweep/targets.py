"""What a search is to reach: `--target accuracy-drop=0.5`, `--target n-steps=16`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...converter.errors import SimulationError, find
from ...converter.ir.types import MAX_N_STEPS

DEFAULT_DROP = 0.5


@dataclass(frozen=True)
class Targets:
    """What has to hold. With an accuracy, fewest steps are wanted; without, the best accuracy.

    Attributes:
        accuracy_drop: Share of right decisions that may be lost against the ANN, 0..1; None for
            any.
        n_steps: Most steps of a sample, counted in full; None for any.
    """

    accuracy_drop: float | None = None
    n_steps: int | None = None

    def __str__(self) -> str:
        parts = []
        if self.accuracy_drop is not None:
            parts.append(f"accuracy-drop={100 * self.accuracy_drop:g}")
        if self.n_steps is not None:
            parts.append(f"n-steps={self.n_steps}")
        return " ".join(parts)


def parse_targets(texts: Sequence[str]) -> Targets:
    """Return targets as the command line gives them, `NAME=NUMBER` each; drops are in points.

    Raises:
        SimulationError: Not of this form, no such target, one given twice, or out of range.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SimulationError(
                f"--target {text}: expected NAME=NUMBER",
                hint=f"for example --target accuracy-drop={DEFAULT_DROP}",
            )
        field, parse = find(_PARSERS, name, "--target", SimulationError)
        if field in found:
            raise SimulationError(
                f"--target {name}: is given twice, expected each target once",
                hint="leave one of them out",
            )
        found[field] = parse(text, value)
    return Targets(**found) if found else Targets(accuracy_drop=DEFAULT_DROP / 100)


def _parse_drop(text: str, value: str) -> float:
    try:
        points = float(value)
    except ValueError:
        points = math.nan
    if not 0 <= points <= 100:
        raise SimulationError(
            f"--target {text}: expected percentage points from 0 to 100",
            hint=f"for example --target accuracy-drop={DEFAULT_DROP}",
        )
    return points / 100


def _parse_steps(text: str, value: str) -> int:
    n_steps = int(value) if value.isascii() and value.isdecimal() else 0
    if not 1 <= n_steps <= MAX_N_STEPS:
        raise SimulationError(
            f"--target {text}: expected an integer from 1 to {MAX_N_STEPS}",
            hint="for example --target n-steps=16",
        )
    return n_steps


_PARSERS: dict[str, tuple[str, Callable[[str, str], float]]] = {
    "accuracy-drop": ("accuracy_drop", _parse_drop),
    "n-steps": ("n_steps", _parse_steps),
}
