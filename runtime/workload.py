"""What a network costs: operations as NeuroBench defines them, updates, memory, sparsity.

NeuroBench (Yik et al. 2025) counts in dense and convolutional layers the operations whose
activation and whose weight are not zero. They are accumulates where every operand is 0, 1 or -1,
else multiply-accumulates. Pooling, additions and normalisation are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.ir import Array, Graph, Node
from ..converter.ir.neurons import SpikingMaxPool, StatefulOp
from ..converter.ir.ops import (
    Concatenate,
    Conv,
    Dense,
    Flatten,
    Identity,
    Input,
    InsertZeros,
    MaxPool,
    Op,
    Pad,
    Reshape,
    Select,
    Transpose,
)
from ..converter.ir.scheduled import SignedFire
from ..converter.ir.sorted_trains import find_sorted
from ..converter.ir.text import count_parameters
from ..converter.ir.types import TensorType
from ..converter.ir.windows import Window
from .schedule import read_schedule
from .simulation import Counts, Simulation, count_macs, neurons

FLOAT_BYTES = 4
"""Parameters and potentials are float32."""


@dataclass(frozen=True)
class Workload:
    """Operations of one sample (means over the samples) and what has to be stored.

    Attributes:
        n_steps: T.
        n_levels: Steps in which one layer fires: T, or those of its window in a schedule.
        n_neurons: That fire.
        dense_macs: Connections of dense and convolutional layers: the ANN's multiply-accumulates,
            and NeuroBench's `Dense` of one step.
        input_macs: Those of them on operands that are the same at every step.
        input_effective_macs: Of these, those with an activation and a weight that are not zero;
            done once, where NeuroBench counts them at every step.
        effective_macs: At every step, [T], of operands that are no spikes.
        effective_acs: At every step, [T], of spikes.
        membrane_updates: Of every neuron at every step that was simulated.
        activation_sparsity: 1 minus spikes per neuron and step: the share of neurons and steps
            without one where there is at most one; 1.0 without neurons, at least 0.0.
        connection_sparsity: Share of the weights that are zero.
        parameter_bytes: Weights, biases, scales and shifts, float32.
        state_bytes: What is kept from step to step for one sample, float32.
    """

    n_steps: int
    n_levels: int
    n_neurons: int
    dense_macs: int
    input_macs: int
    input_effective_macs: float
    effective_macs: tuple[float, ...]
    effective_acs: tuple[float, ...]
    membrane_updates: float
    activation_sparsity: float
    connection_sparsity: float
    parameter_bytes: int
    state_bytes: int

    @property
    def footprint_bytes(self) -> int:
        """Parameters and state."""
        return self.parameter_bytes + self.state_bytes

    def to_json(self) -> dict[str, Any]:
        """Return the block `workload` of the JSON (docs/evaluation.md)."""
        return {
            "definition": "NeuroBench",
            "n_neurons": self.n_neurons,
            "dense_per_step": self.dense_macs,
            "dense": self.dense_macs * self.n_steps,
            "input_macs": self.input_macs,
            "input_effective_macs": self.input_effective_macs,
            "effective_macs": sum(self.effective_macs) + self.input_effective_macs,
            "effective_macs_input_every_step": sum(self.effective_macs)
            + self.n_steps * self.input_effective_macs,
            "effective_acs": sum(self.effective_acs),
            "effective_macs_per_step": list(self.effective_macs),
            "effective_acs_per_step": list(self.effective_acs),
            "membrane_updates": self.membrane_updates,
            "activation_sparsity": self.activation_sparsity,
            "connection_sparsity": self.connection_sparsity,
            "footprint_bytes": self.footprint_bytes,
            "parameter_bytes": self.parameter_bytes,
            "state_bytes": self.state_bytes,
        }


class WorkloadRecorder:
    """Counts batch by batch what a workload needs; `result` gives it."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._inputs = [(node, node.inputs[0]) for node in _layers(graph, varying=False)]
        self._moving = list(_layers(graph, varying=True))
        self._fan_outs = {
            node.name: active_fan_out(node.op, graph.types[node.inputs[0]])
            for node in (*(node for node, _ in self._inputs), *self._moving)
        }
        self._signs = find_signs(graph)
        self._n_samples = 0
        self._n_simulated = 0
        self._on_input = 0.0
        self._steps: dict[str, npt.NDArray[np.float64]] = {}
        self._exact: dict[str, float] = {}

    @property
    def needs_counts(self) -> bool:
        """Whether `add` needs spike counts of single neurons: some weights are zero."""
        return any(
            (node.op.weight == 0).any()
            for node in self._moving
            if isinstance(node.op, Dense | Conv)
        )

    def add(self, inputs: tuple[Array, ...], simulation: Simulation) -> None:
        """Count one batch, inputs [N, ...]; with spike counts if `needs_counts`."""
        self._n_samples += len(inputs[0])
        n_steps = len(simulation.outputs[0])
        self._n_simulated += (
            len(inputs[0]) * n_steps if simulation.steps is None else int(simulation.steps.sum())
        )
        if self._inputs:
            values = _constants(self._graph, inputs, {name for _, name in self._inputs})
            for node, operand in self._inputs:
                self._on_input += _weigh(values[operand] != 0, self._fan_outs[node.name])
        for node in self._moving:
            steps = simulation.synaptic_operations[node.name].astype(np.float64)
            self._steps[node.name] = self._steps.get(node.name, 0) + steps
        if self.needs_counts:
            totals = count_values(self._graph, simulation.spike_counts)
            for node in self._moving:
                operand = node.inputs[0]
                if operand in totals:
                    found = _weigh(totals[operand], self._fan_outs[node.name])
                    self._exact[node.name] = self._exact.get(node.name, 0.0) + found

    @property
    def n_simulated(self) -> int:
        """Steps that were simulated, of all samples together."""
        return self._n_simulated

    def result(self, n_spikes: Mapping[str, int], n_steps: int) -> Workload:
        """Return the workload of all batches.

        Args:
            n_spikes: Per neuron node, of all samples and steps.
            n_steps: T.
        """
        graph = self._graph
        macs, acs = np.zeros(n_steps), np.zeros(n_steps)
        for node in self._moving:
            steps = self._steps[node.name] / self._n_samples
            if node.name in self._exact and steps.sum():
                steps *= self._exact[node.name] / self._n_samples / steps.sum()
            if node.inputs[0] in self._signs:
                acs += steps
            else:
                macs += steps
        n_neurons = sum(graph.types[node.name].size for node in neurons(graph))
        n_places = n_neurons * self._n_simulated
        n_weights, n_zeros = _count_weights(graph)
        schedule = read_schedule(graph)
        return Workload(
            n_steps=n_steps,
            n_levels=n_steps if schedule is None else schedule.n_levels,
            n_neurons=n_neurons,
            dense_macs=count_macs(graph, varying=False) + count_macs(graph, varying=True),
            input_macs=count_macs(graph, varying=False),
            input_effective_macs=self._on_input / max(1, self._n_samples),
            effective_macs=tuple(macs.tolist()),
            effective_acs=tuple(acs.tolist()),
            membrane_updates=n_neurons * self._n_simulated / self._n_samples,
            activation_sparsity=max(0.0, 1 - sum(n_spikes.values()) / n_places)
            if n_places
            else 1.0,
            connection_sparsity=n_zeros / n_weights if n_weights else 0.0,
            parameter_bytes=FLOAT_BYTES * count_parameters(graph),
            state_bytes=FLOAT_BYTES
            * sum(
                _state_size(node.op, graph.types[node.inputs[0]].shape)
                for node in graph.nodes
                if isinstance(node.op, StatefulOp)
            ),
        )


def _state_size(op: StatefulOp, shape: tuple[int, ...]) -> int:
    """Return the numbers that an op keeps for one sample; what all samples share is not counted."""
    return op.start((1, *shape)).size - op.start((0, *shape)).size


def active_fan_out(op: Op, type_: TensorType) -> Array:
    """Return how many connections with a weight that is not zero leave each entry of an operand.

    Args:
        op: Dense or Conv.
        type_: Of the operand.
    """
    if isinstance(op, Dense):
        return np.asarray((op.weight != 0).sum(axis=0), np.float32)
    if not isinstance(op, Conv):
        raise TypeError(f"{type(op).__name__}: expected Dense or Conv")
    per_group = op.weight.reshape(op.groups, -1, *op.weight.shape[1:])
    n_active = np.count_nonzero(per_group, axis=1)  # [groups, C_in / groups, K...]
    n_active = n_active.reshape(type_.shape[0], *op.weight.shape[2:])
    window = Window(op.weight.shape[2:], op.strides, op.dilation, op.padding)
    places = np.arange(1, type_.size + 1, dtype=np.float64).reshape(1, *type_.shape)
    # float64, because float32 cannot number more than 2^24 entries; patches only moves values
    taken = window.patches(places, fill=0.0)[0].astype(np.int64)  # type: ignore[arg-type]
    n_axes = taken.ndim - n_active.ndim  # taken is [C_in, K..., windows...]
    weights = np.broadcast_to(n_active.reshape(*n_active.shape, *(1,) * n_axes), taken.shape)
    counts = np.bincount(taken.reshape(-1), weights.reshape(-1), minlength=type_.size + 1)
    return counts[1:].reshape(type_.shape).astype(np.float32)


def find_signs(graph: Graph) -> frozenset[str]:
    """Return the names of results whose entries are 0, 1 or -1 at every step.

    The entries of signed spikes stay so where they are only put in another order, and where the
    increments of a maximum of counts are sent: it grows or falls by at most one per step.
    """
    moving = (Identity, Flatten, Reshape, Transpose, Pad, Select, InsertZeros, Concatenate)
    found: set[str] = set()
    for node in graph.nodes:
        keeps = isinstance(node.op, (*moving, SpikingMaxPool)) and node.inputs
        is_sign = isinstance(node.op, SignedFire) or graph.types[node.name].spiking
        if is_sign or (keeps and found.issuperset(node.inputs)):
            found.add(node.name)
    return frozenset(found)


def count_values(graph: Graph, spike_counts: Mapping[str, Counts]) -> dict[str, Counts]:
    """Return for every result that is spikes how often each entry was 1, [N, ...] by name.

    Rearranging spikes rearranges their counts, and the increments that max-pooling sends add up to
    the maximum of the counts, as the OR of sorted spikes does. Of other spikes it does not.
    """
    trains = find_sorted(graph)
    totals = {name: counts for name, counts in spike_counts.items() if graph.types[name].spiking}
    for node in graph.nodes:
        known = all(operand in totals for operand in node.inputs)
        if node.name in totals or not node.inputs or not known:
            continue
        is_or = type(node.op) is MaxPool and node.name not in trains
        if graph.types[node.name].spiking and not is_or:
            operands = (totals[operand].astype(np.float32) for operand in node.inputs)
            totals[node.name] = node.op.apply(*operands).astype(np.int64)
    return totals


def _layers(graph: Graph, *, varying: bool) -> Iterator[Node]:
    for node in graph.nodes:
        is_layer = isinstance(node.op, Dense | Conv)
        if is_layer and (node.inputs[0] in graph.varying) == varying:
            yield node


def _constants(graph: Graph, inputs: tuple[Array, ...], wanted: set[str]) -> dict[str, Array]:
    """Return what `wanted` is for a batch; none of it changes over time steps."""
    needed = set(wanted)
    for node in reversed(graph.nodes):
        if node.name in needed:
            needed.update(node.inputs)
    values = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        if node.name in needed and not isinstance(node.op, Input):
            values[node.name] = node.op.apply(*(values[name] for name in node.inputs))
    return values


def _weigh(values: npt.NDArray[Any], fan_out: Array) -> float:
    return float((values.sum(axis=0, dtype=np.float64) * fan_out).sum(dtype=np.float64))


def _count_weights(graph: Graph) -> tuple[int, int]:
    weights = [
        getattr(node.op, field.name)
        for node in graph.nodes
        for field in dataclasses.fields(node.op)
        if isinstance(node.op, Dense | Conv) and field.name == "weight"
    ]
    return sum(w.size for w in weights), sum(int(w.size - np.count_nonzero(w)) for w in weights)
