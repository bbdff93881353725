"""The learning rate over the steps of a training."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from .settings import Settings

LAST_SHARE = 0.01
"""Of the learning rate that the exponential schedule ends at."""


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A rise along a line from 0 to a rate, and a schedule behind it.

    Args:
        rate: Where it begins.
        n_steps: Of the rise.
        behind: Begins behind it, with its own step 0.
    """

    def __init__(self, rate: float, n_steps: int, behind: Any) -> None:
        self.rate = rate
        self.n_steps = n_steps
        self.behind = behind

    def __call__(self, step: Any) -> Any:
        place = ops.cast(step, "float32")
        rising = self.rate * (place + 1) / self.n_steps
        later = self.behind(ops.maximum(place - self.n_steps, 0))
        return ops.where(place < self.n_steps, rising, later)

    def get_config(self) -> dict[str, Any]:
        return {"rate": self.rate, "n_steps": self.n_steps, "behind": self.behind}


def make_schedule(settings: Settings, n_steps: int) -> Any:
    """Return the learning rate as Keras' optimisers take it.

    Args:
        settings: Learning rate, schedule and warm-up.
        n_steps: Of the whole training.
    """
    schedules, rate = keras.optimizers.schedules, settings.learning_rate
    n_rising = round(settings.warmup * n_steps)
    n_left = max(n_steps - n_rising, 1)
    match settings.schedule:
        case "linear":
            behind = schedules.PolynomialDecay(rate, n_left, end_learning_rate=0.0)
        case "exponential":
            behind = schedules.ExponentialDecay(rate, n_left, LAST_SHARE)
        case "constant":
            behind = schedules.PolynomialDecay(rate, n_left, end_learning_rate=rate)
        case _:
            behind = schedules.CosineDecay(rate, n_left)
    return WarmUp(rate, n_rising, behind) if n_rising else behind
