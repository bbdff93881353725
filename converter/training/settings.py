"""Settings: how to train; SCHEDULES of the learning rate; Distillation: what the source teaches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..errors import PassError, find

SCHEDULES = {
    "cosine": "half a cosine, down to 0",
    "linear": "a line, down to 0",
    "exponential": "by the same factor at every step, down to a hundredth",
    "constant": "as it is",
}
"""What becomes of the learning rate (schedules.py), by name."""


@dataclass(frozen=True)
class Distillation:
    """How much the source network counts.

    Source: Hinton et al. 2015.

    Attributes:
        weight: 0 to 1; what is left is the labels'.
        temperature: By which potentials are divided before the softmax, > 0.
    """

    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise PassError(
                f"--distillation {self.weight}: expected a share from 0 to 1",
                hint="0.5 is the default, 0 trains on labels alone",
            )
        if not 0 < self.temperature < 1000:
            raise PassError(
                f"--temperature {self.temperature}: expected a positive number",
                hint="2 is the default",
            )


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        n_epochs: Passes over the samples.
        batch_size: Samples per step.
        learning_rate: Of Adam, at the start.
        schedule: A key of SCHEDULES: what becomes of it.
        warmup: Share of the steps in which it rises from 0, before the schedule begins.
        seed: Of order, augmentation and noise.
        distillation: Of the source network; None for labels alone.
        patience: Stop after so many epochs without a better validation accuracy, and keep the best
            ones; None for all epochs and the last.
        progressive: Share of the epochs in which weights stay as they are, only activations are
            binary.
    """

    n_epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.0
    seed: int = 1
    distillation: Distillation | None = field(default_factory=Distillation)
    patience: int | None = None
    progressive: float = 0.0

    def __post_init__(self) -> None:
        limits = {"n_epochs": 1, "batch_size": 1, "patience": 1, "seed": 0}
        for name, least in limits.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise PassError(
                    f"{_OPTIONS[name]} {value}: expected at least {least}",
                    hint="leave it out for the default",
                )
        if not (0 < self.learning_rate < math.inf):
            raise PassError(
                f"--learning-rate {self.learning_rate}: expected a positive number",
                hint="0.001 is the default",
            )
        find(SCHEDULES, self.schedule, "--schedule")
        if not 0 <= self.warmup < 1:
            raise PassError(
                f"--warmup {self.warmup}: expected 0 <= share < 1",
                hint="0.1 rises for one epoch of ten",
            )
        if not 0 <= self.progressive < 1:
            raise PassError(
                f"--progressive {self.progressive}: expected 0 <= share < 1",
                hint="0.3 keeps the weights as they are for three epochs of ten",
            )


_OPTIONS = {
    "n_epochs": "--epochs", "batch_size": "--batch-size", "patience": "--patience",
    "seed": "--seed",
}  # fmt: skip
