"""The loss: of the labels, of the teacher's outputs, of spikes and operations above a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from ..ir import Graph
from ..ir.ops import Concatenate, Conv, Dense
from .settings import Distillation
from .student import Student


class Objective(keras.Model):
    """What `fit` trains: the student, with a loss of its own.

    loss = (1 - w) cross entropy(labels) + w t^2 KL(teacher / t, student / t)
           + weight x mean over layers of max(0, rate - target)  + weight x max(0, s / target - 1)

    with s the synaptic operations of a sample as a share of the multiply-accumulates.

    Args:
        student: Its model gets trained.
        teacher: A model with the same outputs, or None.
        distillation: Of the teacher.
        constraints: As `choose_constraints` gives them.
    """

    def __init__(
        self,
        student: Student,
        teacher: Any,
        distillation: Distillation,
        constraints: Mapping[str, Mapping[str, Any]],
    ) -> None:
        super().__init__(name="objective")
        self.rates = constraints.get("firing_rate")
        self.operations = constraints.get("synaptic_operations")
        self.counts_spikes = self.rates is not None or self.operations is not None
        self.student = student.with_rates if self.counts_spikes else student.model
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False
        self.distillation = distillation
        layers = [student.inner.get_layer(name) for name in student.activations.values()]
        # Activations of -1 and 1 have no threshold: their neurons fire for 1.
        self.thresholds = [getattr(layer, "threshold", None) for layer in layers]
        self.costs = find_costs(student.graph, tuple(student.activations), student.n_steps)
        self.found = {
            name: keras.metrics.Mean(name=name)
            for name in ("firing_rate", "synaptic_operations") if name in constraints
        }  # fmt: skip
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.student(inputs, training=training)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None,
        training: bool = True,
    ) -> Any:  # fmt: skip
        potentials = y_pred[0] if self.counts_spikes else y_pred
        labels = ops.mean(
            keras.losses.sparse_categorical_crossentropy(y, potentials, from_logits=True)
        )
        share = self.distillation.weight if self.teacher is not None else 0.0
        loss = (1 - share) * labels
        if share:
            loss = loss + share * self._distance(x, potentials)
        if self.counts_spikes:
            loss = loss + self._activity(y_pred[1:])
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        self.accuracy.update_state(y, y_pred[0] if self.counts_spikes else y_pred)
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[Any]:
        return [self._loss_tracker, self.accuracy, *self.found.values()]

    def _distance(self, x: Any, potentials: Any) -> Any:
        t = self.distillation.temperature
        taught = ops.stop_gradient(self.teacher(x, training=False)) / t
        difference = ops.log_softmax(taught) - ops.log_softmax(potentials / t)
        return t * t * ops.mean(ops.sum(ops.softmax(taught) * difference, axis=-1))

    def _activity(self, results: Any) -> Any:
        """Return the loss of spikes and operations above their targets, and note what there is."""
        rates = [
            ops.mean((result + 1) / 2 if limit is None else result / limit)
            for result, limit in zip(results, self.thresholds, strict=True)
        ]
        loss = 0.0
        if self.rates is not None:
            above = [ops.maximum(rate - self.rates["target"], 0) for rate in rates]
            loss = loss + self.rates["weight"] * sum(above) / len(above)
            self.found["firing_rate"].update_state(sum(rates) / len(rates))
        if self.operations is not None:
            total = sum(rate * cost for rate, cost in zip(rates, self.costs, strict=True))
            above = ops.maximum(total / self.operations["target"] - 1, 0)
            loss = loss + self.operations["weight"] * above
            self.found["synaptic_operations"].update_state(total)
        return loss


def find_costs(graph: Graph, activations: tuple[str, ...], n_steps: int) -> list[float]:
    """Return what a rate of 1 in a layer costs: operations as a share of all connections.

    Args:
        graph: Analog, simplified.
        activations: Its ReLUs.
        n_steps: Spikes of a neuron of rate 1.
    """
    totals: dict[str, float] = dict.fromkeys(activations, 0.0)
    everything = 0.0
    # By result: which activations send it spikes, and the share of its entries that is theirs.
    senders: dict[str, dict[str, float]] = {name: {name: 1.0} for name in activations}
    for node in graph.nodes:
        if node.name in totals:
            continue
        found: dict[str, float] = {}
        for operand in node.inputs:
            sent = senders.get(operand, {})
            if isinstance(node.op, Conv | Dense):
                fan_out = node.op.fan_out(graph.types[operand])
                connections = float(np.sum(fan_out)) if fan_out is not None else 0.0
                everything += connections
                for name, share in sent.items():
                    totals[name] += share * connections
                continue
            part = 1.0
            if isinstance(node.op, Concatenate):
                part = graph.types[operand].size / graph.types[node.name].size
            for name, share in sent.items():
                found[name] = found.get(name, 0.0) + share * part
        senders[node.name] = found
    return [n_steps * totals[name] / max(everything, 1.0) for name in activations]
