"""A loss that is no number: in which layer, and in which batch."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from ..errors import DataError
from .student import Student


class Finder(keras.callbacks.Callback):
    """Stops at the first batch whose loss is no number.

    Attributes:
        batch: Its number, from 0; None if there is none.
        before: Weights of the student before it; or, without one, before the last batch.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.batch: int | None = None
        self.before: list[Any] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.before = [np.array(value) for value in self.student.model.get_weights()]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not math.isfinite(float((logs or {})["loss"])):
            self.batch = batch
            self.model.stop_training = True


def has_finite_weights(student: Student) -> bool:
    """Return whether every weight is a number."""
    return _is_finite(student.model.weights)


def find_culprit(student: Student, inputs: Any, where: str) -> DataError:
    """Return the error that says in which layer the first number is that is none.

    Args:
        student: As it was before the batch whose loss is no number.
        inputs: This batch, [N, ...].
        where: Of the batch, for people.
    """
    layers = student.inner.layers
    found = f"{student.inner.name}: its loss"
    broken = [layer for layer in layers if not _is_finite(layer.weights)]
    if broken:  # gradients go from the end to the beginning, and break what they pass
        found = f"{_name(broken[-1])}: a weight"
    else:
        steps = student.n_steps if student.constraint == "surrogate" else 1
        rows = np.concatenate([inputs] * steps)
        for layer in layers:
            probe = keras.Model(student.inner.input, layer.output)
            if not _is_finite([probe(rows, training=True)]):
                found = f"{_name(layer)}: its result"
                break
    return DataError(
        f"{found} is NaN or infinite in {where}, expected finite numbers",
        hint="lower --learning-rate; a run that has a checkpoint goes on from the epoch before",
    )


def _is_finite(values: list[Any]) -> bool:
    return all(np.isfinite(keras.ops.convert_to_numpy(value)).all() for value in values)


def _name(layer: Any) -> str:
    return f"{layer.name} ({type(layer).__name__})"
