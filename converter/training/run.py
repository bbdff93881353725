"""Run: a training in progress, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..frontends import Source
from .checkpoint import restore
from .data import Augment, Samples, draw_epoch
from .settings import Distillation, Settings
from .student import Binarization, Student, build_student, simplify

CHECK_EVERY = 20
"""Steps from one look at the loss to the next."""


class Run:
    """What changes from epoch to epoch: weights, the optimiser, history, the best weights."""

    def __init__(
        self,
        source: Source,
        constraints: Mapping[str, Mapping[str, Any]],
        settings: Settings,
        calibration: tuple[Any, ...],
        binarization: Binarization | None,
        n_samples: int,
    ) -> None:
        import keras

        from .objective import Objective
        from .schedules import make_schedule

        keras.utils.set_random_seed(settings.seed)
        self.settings = settings
        self.constraints = constraints
        self.student: Student = build_student(
            source.graph, constraints, calibration, binarization=binarization, seed=settings.seed
        )
        teacher = None
        if settings.distillation is not None:
            from ..exports.keras import build_keras

            teacher = build_keras(simplify(source.graph))
        self.objective = Objective(
            self.student, teacher, settings.distillation or Distillation(0.0), constraints
        )
        self.n_batches = -(-n_samples // settings.batch_size)
        schedule = make_schedule(settings, settings.n_epochs * self.n_batches)
        self.optimizer = keras.optimizers.Adam(schedule)
        # XLA takes longer to compile than a whole training of these networks.
        self.objective.compile(optimizer=self.optimizer, jit_compile=False)
        self.objective(calibration[0][:1])
        self.optimizer.build(self.objective.trainable_variables)
        self.epoch = 0
        self.history: list[dict[str, Any]] = []
        self.best: tuple[float, list[Any]] | None = None

    @property
    def is_over(self) -> bool:
        """Whether validation has not become better for `patience` epochs."""
        if self.settings.patience is None or not self.history:
            return False
        values = [
            entry["validation_accuracy"]
            for entry in self.history
            if self._is_final(entry["epoch"] - 1)
        ]
        return bool(values) and len(values) - 1 - int(np.argmax(values)) >= self.settings.patience

    def variables(self) -> list[Any]:
        """Return all that changes: weights, the optimiser's state, and the best weights."""
        weights = list(self.student.model.weights)
        best = [] if self.best is None else self.best[1]
        return [*best, *weights, *self.optimizer.variables]

    def facts(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a checkpoint says beside the variables."""
        best = None if self.best is None else self.best[0]
        return {"training": dict(training), "history": self.history, "best": best}

    def restore(self, path: Path, facts: Mapping[str, Any], values: list[Any]) -> None:
        """Go on from a checkpoint."""
        weights = list(self.student.model.weights)
        n_best = 0 if facts["best"] is None else len(weights)
        # The best weights come first, and are replaced by those behind them.
        restore(path, [*weights[:n_best], *weights, *self.optimizer.variables], values)
        self.history = list(facts["history"])
        self.epoch = len(self.history)
        self.best = (facts["best"], values[:n_best]) if n_best else None

    def train_epoch(
        self,
        samples: Samples,
        validation: Samples | None,
        augment: Augment | None,
        callbacks: tuple[Any, ...],
    ) -> dict[str, Any]:
        """Train one epoch and return its entry of the history."""
        from .failures import has_finite_weights

        started = time.perf_counter()
        settings, epoch = self.settings, self.epoch
        self._prepare(epoch)
        inputs, labels = draw_epoch(samples, settings.seed, epoch, augment)
        before = [np.array(value) for value in (*self.objective.weights, *self.optimizer.variables)]
        watch = self._make_watch()
        found = self.objective.fit(
            inputs, labels, batch_size=settings.batch_size, shuffle=False, verbose=0,
            initial_epoch=epoch, epochs=epoch + 1, callbacks=[watch, *callbacks],
        ).history  # fmt: skip
        loss = float(found["loss"][-1])
        if not (math.isfinite(loss) and has_finite_weights(self.student)):
            raise self._explain_failure(inputs, labels, before)
        accuracy = None
        if validation is not None:
            accuracy = measure(self.student.model, validation)
            is_best = self.best is None or accuracy > self.best[0]
            if settings.patience is not None and self._is_final(epoch) and is_best:
                weights = [np.array(each) for each in self.student.model.get_weights()]
                self.best = (accuracy, weights)
        entry = {
            "epoch": epoch + 1,
            "loss": loss,
            "accuracy": float(found["accuracy"][-1]),
            "validation_accuracy": accuracy,
            "seconds": round(time.perf_counter() - started, 2),
            **{name: float(found[name][-1]) for name in self.objective.found},
        }
        self.history.append(entry)
        self.epoch += 1
        return entry

    def _explain_failure(self, inputs: Any, labels: Any, before: list[Any]) -> DataError:
        """Return the error that names layer and batch: the epoch is repeated up to there."""
        from .failures import Finder, find_culprit

        variables = [*self.objective.weights, *self.optimizer.variables]
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        self._prepare(self.epoch)
        size, finder = self.settings.batch_size, Finder(self.student)
        watch = self._make_watch()
        self.objective.fit(
            inputs, labels, batch_size=size, shuffle=False, verbose=0, callbacks=[watch, finder]
        )
        where = f"epoch {self.epoch + 1}"
        if finder.batch is not None:
            where = f"batch {finder.batch + 1} of {where}"
            self.student.model.set_weights(finder.before)
            inputs = inputs[finder.batch * size :]
        return find_culprit(self.student, inputs[:size], where)

    def keep_best(self) -> None:
        """Go back to the best weights, where there is a choice."""
        if self.best is not None:
            self.student.model.set_weights(self.best[1])
        _sharpen(self.student, self.constraints, 1.0)

    def _prepare(self, epoch: int) -> None:
        """Set what depends on the epoch alone: random numbers, binary weights."""
        settings = self.settings
        _seed_layers(self.objective, settings.seed, epoch)
        is_binary = self._is_binary(epoch)
        for name in self.student.binary.values():
            layer = self.student.inner.get_layer(name)
            if layer.is_binary != is_binary:
                layer.is_binary = is_binary
                # Both were traced with what was.
                self.objective.train_function = None
                self.student.model.predict_function = None

    def _is_binary(self, epoch: int) -> bool:
        """Whether weights are binary in an epoch: never later than in the last one."""
        n_epochs = self.settings.n_epochs
        return epoch >= min(self.settings.progressive * n_epochs, n_epochs - 1)

    def _is_final(self, epoch: int) -> bool:
        """Whether the network after an epoch is of the form in which it ends: binary, sharp."""
        is_sharp = True
        if self.student.constraint == "whetstone":
            last = float(self.constraints["whetstone"]["last"])
            is_sharp = (epoch + 1) / self.settings.n_epochs >= last
        return is_sharp and (not self.student.binary or self._is_binary(epoch))

    def _make_watch(self) -> Any:
        """Return what is done between the steps of an epoch."""
        import keras

        run, epoch, n_epochs = self, self.epoch, self.settings.n_epochs

        class Watch(keras.callbacks.Callback):
            """Sharpens step by step, and stops as soon as the loss is no number."""

            def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
                done = (epoch + (batch + 1) / run.n_batches) / n_epochs
                _sharpen(run.student, run.constraints, done)

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                if batch % CHECK_EVERY == 0 and not math.isfinite(float((logs or {})["loss"])):
                    self.model.stop_training = True

        return Watch()


def measure(model: Any, samples: Samples) -> float:
    """Return the share of right decisions of a model from inputs to potentials."""
    outputs = model.predict(samples.inputs, batch_size=500, verbose=0)
    return float(np.mean(outputs.argmax(axis=1) == samples.labels))


def _seed_layers(model: Any, seed: int, epoch: int) -> None:
    """Set the state of every random layer from seed and epoch: no epoch depends on those before."""
    for place, layer in enumerate(model._flatten_layers()):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            drawn = np.random.default_rng((seed, epoch, place)).integers(0, 2**31, 2)
            generator.state.assign(drawn.astype(np.uint32))


def _sharpen(student: Student, constraints: Mapping[str, Mapping[str, Any]], done: float) -> None:
    """Set the sharpness of Whetstone's layers after a share of the training, bottom-up."""
    if student.constraint != "whetstone":
        return
    first, last = (float(constraints["whetstone"][key]) for key in ("first", "last"))
    n_layers = len(student.activations)
    share = min(max((done - first) / max(last - first, 1e-9), 0.0), 1.0) * n_layers
    for place, name in enumerate(student.activations.values()):
        sharpness = min(max(share - place, 0.0), 1.0)
        student.inner.get_layer(name).sharpness.assign(sharpness)
