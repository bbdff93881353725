"""From activations to neurons that send how their rate changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from ..errors import PassError, UnsupportedOpError
from ..ir import (
    Array,
    DifferentialFire,
    DifferentialMaxPool,
    FromDifferences,
    Graph,
    Neuron,
    Node,
    Pulse,
    SpikingMaxPool,
)
from ..ir.differential import MAX_THRESHOLDS
from ..ir.ops import Relu
from ..ir.scheduled import AFFINE
from .insert_neurons import insert_neurons, refuse_leaks
from .rescaling import compact
from .schedule_neurons import with_bias


def insert_differential_neurons(graph: Graph, *, n_thresholds: int = 4) -> Graph:
    """Replace ReLUs by neurons that send differences, in spikes of 1, 1/2, 1/4, ... of either sign.

    The input's current flows in the first step, as the difference to nothing; biases are where
    the means of the neurons begin. Outputs turn differences back into values.

    Before:  conv2 (Conv, bias b) -> relu2 (Relu)
    After:   conv2 (Conv) -> relu2 (DifferentialFire, bias b)

    Args:
        graph: Normalised for T times 2^n_thresholds levels.
        n_thresholds: Sizes of spikes.

    Raises:
        PassError: n_thresholds is out of range, or leaks were trained.
        UnsupportedOpError: An op behind neurons is not linear; all of them are listed.

    Keeps: the inputs and the shapes of the outputs.
    Source: Huang et al. 2025 (differential coding; thresholds here by normalize_for_steps).
    """
    if not 1 <= n_thresholds <= MAX_THRESHOLDS:
        raise PassError(
            f"insert_differential_neurons: n_thresholds {n_thresholds}, expected 1 to "
            f"{MAX_THRESHOLDS}",
            hint="4 is the default",
        )
    refuse_leaks(graph, "insert_differential_neurons")
    if not any(isinstance(node.op, Relu) for node in graph.nodes):
        return graph
    spiking = insert_neurons(graph)
    reasons = tuple(
        f"{node}: is no linear operation, expected these and max-pooling behind neurons"
        for node in spiking.nodes
        if node.name in spiking.varying
        and not isinstance(node.op, (Neuron, SpikingMaxPool, *AFFINE))
    )
    if reasons:
        raise UnsupportedOpError(
            f"insert_differential_neurons: {len(reasons)} nodes do not pass differences",
            reasons=reasons,
            hint="use a causal recipe such as rate for networks that keep analog nodes",
        )
    limits = {node.name: node.op.max_value for node in graph.nodes if isinstance(node.op, Relu)}
    builder = _Builder(spiking, n_thresholds, limits)
    for node in spiking.nodes:
        builder.add(node)
    outputs = tuple(builder.output(name) for name in spiking.outputs)
    metadata = {**spiking.metadata, "differential": n_thresholds}
    return spiking.replace(nodes=tuple(builder.nodes), outputs=outputs, metadata=metadata)


class _Builder:
    """The nodes made so far, and what each result is without spikes: where its mean begins."""

    def __init__(self, graph: Graph, n_thresholds: int, limits: Mapping[str, Array | None]) -> None:
        self.graph = graph
        self.limits = limits
        self.n_thresholds = n_thresholds
        self.nodes: list[Node] = []
        self.begins: dict[str, Array] = {}
        self.pulses: dict[str, str] = {}

    def add(self, node: Node) -> None:
        """Append a node as it is for differences."""
        if node.name not in self.graph.varying:
            self.nodes.append(node)
            return
        inputs = tuple(self.operand(name) for name in node.inputs)
        op = node.op
        begins = [self.begin(*pair) for pair in zip(inputs, node.inputs, strict=True)]
        if isinstance(op, Neuron):
            nothing = np.zeros_like(op.threshold)
            begin, limit = compact(begins[0]), self.limits.get(node.name)
            op = DifferentialFire(op.threshold, nothing, begin, self.n_thresholds, limit)
        elif isinstance(op, SpikingMaxPool):
            settings = (op.kernel, op.strides, op.dilation, op.padding)
            op = DifferentialMaxPool(*settings, compact(begins[0]))
        else:
            begin = op.apply(*(each[None] for each in begins))[0]
            if begin.any():
                self.begins[node.name] = begin
            op = with_bias(op, 0)
        self.nodes.append(dataclasses.replace(node, op=op, inputs=inputs))

    def begin(self, name: str, old_name: str) -> Array:
        """Return where the mean of a result begins, in the shape of a sample."""
        nothing = np.zeros(self.graph.types[old_name].shape, np.float32)
        return self.begins.get(name, nothing)

    def operand(self, name: str) -> str:
        """Return what is fed to a node that changes over time: a result, or a pulse of it."""
        if name in self.graph.varying:
            return name
        if name not in self.pulses:
            self.pulses[name] = self.graph.fresh_name(f"{name}/pulse")
            unit = self.graph.by_name[name].unit
            self.nodes.append(Node(self.pulses[name], Pulse(1, 1.0), (name,), unit=unit))
        return self.pulses[name]

    def output(self, name: str) -> str:
        """Return the values of an output that differences tell."""
        if name not in self.graph.varying:
            return name
        fresh = self.graph.fresh_name(f"{name}/values")
        if all(node.name != fresh for node in self.nodes):
            op = FromDifferences(compact(self.begin(name, name)))
            self.nodes.append(Node(fresh, op, (name,), unit=self.graph.by_name[name].unit))
        return fresh
