"""Stop a sample as soon as its decision is certain, and find out what certain is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import SimulationError

DEFAULT_EVERY = 4


@dataclass(frozen=True)
class ExitRule:
    """A sample is finished when the accumulated potential of its leading class leads by enough.

    The potential that an output neuron has accumulated grows with the steps, and so does the lead
    of the right class, while the quantisation error of spike counts stays where it is.

    Attributes:
        lead: Accumulated potential by which the first must lead the second, in the source's units
            times steps; of a single unit, its distance from zero.
        every: Steps between two looks.
    """

    lead: float
    every: int = DEFAULT_EVERY

    def __post_init__(self) -> None:
        if type(self.every) is not int or self.every < 1:
            raise SimulationError(
                f"early exit: looks every {self.every!r} steps, expected an integer >= 1",
                hint=f"{DEFAULT_EVERY} is the default",
            )
        if not self.lead >= 0:
            raise SimulationError(
                f"early exit: lead {self.lead!r}, expected a number >= 0",
                hint="let `calibrate` find it",
            )

    def is_certain(self, accumulated: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return which samples are finished, [N]; accumulated potentials are [N, ...]."""
        return leads(accumulated) >= self.lead


@dataclass(frozen=True)
class EarlyExit:
    """What an exit rule did.

    Attributes:
        rule: That was used.
        mean_steps: Over the samples.
        undecided: Share of the samples that took all T steps without being certain.
    """

    rule: ExitRule
    mean_steps: float
    undecided: float

    def to_json(self) -> dict[str, Any]:
        """Return the block `early_exit` of the JSON, without its calibration."""
        return {
            "lead": self.rule.lead,
            "every": self.rule.every,
            "mean_steps": self.mean_steps,
            "undecided": self.undecided,
        }


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was found on held-back samples.

    Attributes:
        rule: To be used.
        allowed_loss: Share of decisions that may get lost.
        loss: That was lost on these samples.
        is_accuracy: The loss is one of accuracy; else of decisions equal to those after T steps.
        mean_steps: On these samples.
        undecided: Share of the samples that took all T steps without being certain.
        n_samples: How many.
        curve: Mean steps and share of right (or equal) decisions, by growing lead.
        fixed: Share of right (or equal) decisions if all stop after step t, [T].
    """

    rule: ExitRule
    allowed_loss: float
    loss: float
    is_accuracy: bool
    mean_steps: float
    undecided: float
    n_samples: int
    curve: tuple[tuple[float, float], ...]
    fixed: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the block `calibration` of `early_exit` in the JSON."""
        return {
            "allowed_loss": self.allowed_loss,
            "loss": self.loss,
            "loss_of": "accuracy" if self.is_accuracy else "decisions after T steps",
            "mean_steps": self.mean_steps,
            "undecided": self.undecided,
            "n_samples": self.n_samples,
            "curve": [list(point) for point in self.curve],
            "fixed": list(self.fixed),
        }


def leads(potentials: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return by how much the largest entry leads the second, [N]; potentials are [N, ...]."""
    flat = potentials.reshape(len(potentials), -1).astype(np.float64)
    if flat.shape[1] == 1:
        return np.abs(flat[:, 0])
    first_two = np.partition(flat, -2, axis=1)[:, -2:]
    return np.asarray(first_two[:, 1] - first_two[:, 0])


def check_loss(loss: float) -> None:
    """Check an allowed loss.

    Raises:
        SimulationError: It is not in 0..1.
    """
    if not 0 <= loss < 1:
        raise SimulationError(
            f"early exit: allowed loss {loss!r}, expected a share 0 <= value < 1",
            hint="0.001 allows to lose the right decision of one sample in a thousand",
        )


def calibrate(
    lead: npt.NDArray[np.float64],
    decisions: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64] | None,
    *,
    allowed_loss: float,
    every: int = DEFAULT_EVERY,
) -> Calibration:
    """Find the smallest lead from which on no larger one loses more than is allowed.

    Args:
        lead: What `leads` says of accumulated potentials after every step, [T, N], of samples that
            are used for nothing else.
        decisions: After every step, [T, N].
        labels: [N]; None compares with the decisions after T steps.
        allowed_loss: Share of right decisions that may be fewer than after T steps.
        every: Steps between two looks.

    Raises:
        SimulationError: `allowed_loss` or `every` is out of range.
    """
    check_loss(allowed_loss)
    ExitRule(0.0, every)
    n_steps, n_samples = decisions.shape
    is_right = decisions == (decisions[-1] if labels is None else labels)
    looks = np.array([*range(every, n_steps, every), n_steps]) - 1
    seen = lead[looks]
    full = float(is_right[-1].mean())
    # a lead of infinity is the run of T steps; quantiles put the candidates where samples are
    shares = np.linspace(0, 1, 401)
    candidates = np.unique(np.quantile(seen, shares))
    steps, right = np.array([_exit(seen, looks, is_right, value) for value in candidates]).T
    allowed = full - right <= allowed_loss + 1e-12
    safe = np.flatnonzero(np.logical_and.accumulate(allowed[::-1])[::-1])
    chosen = float(candidates[safe[0]]) if len(safe) else math.inf
    mean_steps, kept = _exit(seen, looks, is_right, chosen)
    return Calibration(
        ExitRule(chosen, every),
        allowed_loss,
        round(full - kept, 12),
        labels is not None,
        mean_steps,
        float((seen < chosen).all(axis=0).mean()),
        n_samples,
        tuple((float(a), float(b)) for a, b in zip(steps, right, strict=True)),
        tuple(float(share) for share in is_right.mean(axis=1)),
    )


def _exit(
    seen: npt.NDArray[np.float64],
    looks: npt.NDArray[np.int64],
    is_right: npt.NDArray[np.bool_],
    lead: float,
) -> tuple[float, float]:
    """Return mean steps and share of right decisions with a lead."""
    certain = seen >= lead
    certain[-1] = True
    last = looks[certain.argmax(axis=0)]
    right = is_right[last, np.arange(is_right.shape[1])]
    return float((last + 1).mean()), float(right.mean())
