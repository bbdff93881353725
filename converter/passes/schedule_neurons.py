"""From causal neurons to schedules under which spike counts are those of a quantised network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from ..errors import PassError, UnsupportedOpError
from ..ir import (
    AddOnce,
    Array,
    FirstSpikeFire,
    Graph,
    IntegrateFire,
    Neuron,
    Node,
    Op,
    Pulse,
    Reset,
    SignedFire,
    SpikingMaxPool,
    WaitFire,
)
from ..ir.ops import Conv, Dense, MaxPool, Scale
from ..ir.scheduled import AFFINE
from ..ir.sorted_trains import find_sorted
from ..ir.types import MAX_N_STEPS
from .place_poolings import MaxPooling
from .rescaling import compact


class Schedule(StrEnum):
    """When neurons fire. All of them give the same counts, once they have come to an end."""

    WAIT = "wait"
    """Layer after layer; the input flows for T steps, while the first layer fires."""
    PARALLEL = "parallel"
    """Layer after layer; the input comes at once. A layer's spikes come in thermometer code: its T
    comparisons could be made at the same time."""
    TTFS = "ttfs"
    """As PARALLEL, but with one spike instead of many: the earlier in its window, the more."""
    SETTLE = "settle"
    """All layers at once, with signed spikes that take back what was sent too early."""


def schedule_neurons(graph: Graph, *, n_steps: int, schedule: str = Schedule.WAIT) -> Graph:
    """Give every layer of neurons its own window of T steps, or signed spikes until all is quiet.

    The current of the input flows for T steps only (WAIT) or comes at once, T times as large. The
    bias of all T steps is in the initial potential of the neurons, so that a run of any length sums
    up to T steps of the network. Spikes of shortcuts wait in the potential of the neurons behind.
    The run takes T steps per layer on the longest path; `metadata["schedule"]` has the figures.

    Before:  conv2 (Conv, bias b) -> relu2 (IntegrateFire)
    After:   conv2 (Conv) -> relu2 (WaitFire of window 1, initial potential + T b)

    Args:
        graph: Spiking, with reset by subtraction.
        n_steps: T: steps of a window, levels of the quantised ReLU.
        schedule: `wait`, `parallel`, `ttfs` or `settle`.

    Raises:
        PassError: No such schedule, neurons of another kind, initial potentials outside
            [0, threshold), or T steps per layer are too many.
        UnsupportedOpError: An op behind neurons is not linear, or place_poolings asked for an OR
            of spikes that are not sorted; all of them are listed.

    Keeps: the inputs and the shapes of the outputs, whose unit makes up for the longer run.
    Source: Hao et al. 2025 (parallel), Rueckauer and Liu 2018 (ttfs), You et al. 2024 (settle).
    """
    if schedule not in set(Schedule):
        raise PassError(
            f"schedule_neurons: schedule {schedule!r}, expected one of {', '.join(Schedule)}",
            hint="wait is the default",
        )
    if "schedule" in graph.metadata:
        return graph
    _check(graph)
    depths = _find_depths(graph)
    n_layers = max((depths[node.name] for node in graph.nodes if _fires(node)), default=1)
    if n_layers * n_steps > MAX_N_STEPS:
        raise PassError(
            f"schedule_neurons: {n_layers} layers of {n_steps} steps, "
            f"expected at most {MAX_N_STEPS} steps in all",
            hint="use fewer steps: --n-steps 16",
        )
    builder = _Builder(graph, n_steps, Schedule(schedule), depths)
    for node in graph.nodes:
        builder.add(node)
    outputs = tuple(builder.output(name, n_layers) for name in graph.outputs)
    latency = {"pre_run": 0, "pipeline": (n_layers - 1) * n_steps, "read_out": n_steps, "drain": 0}
    if schedule == Schedule.SETTLE:
        latency = {"pre_run": 0, "pipeline": 0, "read_out": 1, "drain": n_layers * n_steps - 1}
    facts = {
        "name": str(schedule),
        "n_levels": n_steps,
        "n_layers": n_layers,
        "n_steps": n_layers * n_steps,
        "latency": latency,
    }
    scheduled = graph.replace(
        nodes=tuple(builder.nodes), outputs=outputs, metadata={**graph.metadata, "schedule": facts}
    )
    is_or = graph.metadata.get("max_pool") == MaxPooling.OR
    return _without_counters(scheduled) if is_or else scheduled


def _without_counters(graph: Graph) -> Graph:
    """Let every max-pooling be the OR of a step's spikes, which it is for sorted trains."""
    trains = find_sorted(graph)
    nodes: list[Node] = []
    reasons = []
    for node in graph.nodes:
        op = node.op
        if isinstance(op, SpikingMaxPool):
            op = MaxPool(op.kernel, op.strides, op.dilation, op.padding)
            if node.name not in trains:
                reasons.append(f"{node}: takes no spikes in the first steps of one window")
        nodes.append(dataclasses.replace(node, op=op))
    if reasons:
        raise UnsupportedOpError(
            "schedule_neurons: max_pool 'or' is not exact",
            reasons=tuple(reasons),
            hint="with schedule_neurons.schedule=parallel spikes of all neurons are sorted; "
            "place_poolings.max_pool=counts works everywhere",
        )
    return graph.replace(nodes=tuple(nodes))


def _fires(node: Node) -> bool:
    return isinstance(node.op, Neuron)


def _check(graph: Graph) -> None:
    reasons = tuple(
        f"{node}: computes a function of what has arrived so far, "
        "expected linear operations and max-pooling behind neurons"
        for node in graph.nodes
        if node.name in graph.varying and not isinstance(node.op, (Neuron, SpikingMaxPool, *AFFINE))
    )
    if reasons:
        raise UnsupportedOpError(
            f"schedule_neurons: {len(reasons)} nodes have no exact schedule",
            reasons=reasons,
            hint="use a causal recipe such as rate for networks that keep analog nodes",
        )
    for node in graph.nodes:
        if not _fires(node):
            continue
        op = node.op
        if not isinstance(op, IntegrateFire) or op.reset is not Reset.SUBTRACT:
            hint = "leave out the options of insert_neurons, or use a causal recipe such as rate"
            if isinstance(op, SignedFire):
                hint = "schedule_neurons.schedule=settle has signed neurons, without such an option"
            raise PassError(
                f"{node}: is no integrate-and-fire neuron with reset by subtraction, without leak "
                "and refractory periods, expected one",
                hint=hint,
            )
        if not ((op.initial_potential >= 0) & (op.initial_potential < op.threshold)).all():
            raise PassError(
                f"{node}: initial potential outside of 0..threshold, expected half the threshold",
                hint="leave out what calibrates initial potentials: schedules need none",
            )


def _find_depths(graph: Graph) -> dict[str, int]:
    """Return the most neurons on a path to a result, its own included."""
    depths: dict[str, int] = {}
    for node in graph.nodes:
        before = max((depths[operand] for operand in node.inputs), default=0)
        depths[node.name] = before + _fires(node)
    return depths


class _Builder:
    """The nodes made so far, and what of each result comes later in one charge."""

    def __init__(
        self, graph: Graph, n_steps: int, schedule: Schedule, depths: Mapping[str, int]
    ) -> None:
        self.graph = graph
        self.n_steps = n_steps
        self.schedule = schedule
        self.depths = depths
        self.nodes: list[Node] = []
        self.charges: dict[str, Array] = {}
        self.pulses: dict[str, str] = {}

    def add(self, node: Node) -> None:
        """Append a node as it is under the schedule."""
        if node.name not in self.graph.varying:
            self.nodes.append(node)
            return
        inputs = tuple(self.operand(name) for name in node.inputs)
        op = node.op
        if isinstance(op, IntegrateFire):
            charge = self.charges.get(inputs[0])
            op = self.neuron(op, self.depths[node.name] - 1, charge)
        elif isinstance(op, SpikingMaxPool):
            inputs = (self.charged(inputs[0]),)
        else:
            shapes = [self.graph.types[name].shape for name in node.inputs]
            zeros = (np.zeros(shape, np.float32) for shape in shapes)
            charges = [self.charges.get(*pair) for pair in zip(inputs, zeros, strict=True)]
            charge = with_bias(op, self.n_steps).apply(*(each[None] for each in charges))[0]
            if charge.any():
                self.charges[node.name] = charge
            op = with_bias(op, 0)
        self.nodes.append(dataclasses.replace(node, op=op, inputs=inputs))

    def neuron(self, op: IntegrateFire, layer: int, charge: Array | None) -> Op:
        """Return the neuron of a layer, counted from 0, with the bias of all steps in it."""
        initial = op.initial_potential if charge is None else op.initial_potential + charge
        initial = compact(initial)
        if self.schedule is Schedule.SETTLE:
            return SignedFire(op.threshold, initial, self.n_steps)
        if self.schedule is Schedule.TTFS:
            return FirstSpikeFire(op.threshold, initial, layer * self.n_steps, self.n_steps)
        return WaitFire(op.threshold, initial, layer * self.n_steps, self.n_steps)

    def operand(self, name: str) -> str:
        """Return what is fed to a node that changes over time: a result, or a pulse of it."""
        if name in self.graph.varying:
            return name
        if name not in self.pulses:
            n_steps = self.n_steps if self.schedule is Schedule.WAIT else 1
            op = Pulse(n_steps, float(self.n_steps // n_steps))
            self.pulses[name] = self.graph.fresh_name(f"{name}/pulse")
            unit = self.graph.by_name[name].unit
            self.nodes.append(Node(self.pulses[name], op, (name,), unit=unit))
        return self.pulses[name]

    def charged(self, name: str) -> str:
        """Return the result with its charge."""
        charge = self.charges.get(name)
        if charge is None:
            return name
        fresh = self.graph.fresh_name(f"{name}/charged")
        if all(node.name != fresh for node in self.nodes):
            unit = self.graph.by_name[name].unit
            self.nodes.append(Node(fresh, AddOnce(compact(charge)), (name,), unit=unit))
        return fresh

    def output(self, name: str, n_layers: int) -> str:
        """Return the output with its charge, in a unit that makes the mean that over T steps."""
        if name not in self.graph.varying:
            return name
        charged = self.charged(name)
        for place, node in enumerate(self.nodes):
            if node.name == charged:
                rank = len(self.graph.types[name].shape)
                old = self.graph.by_name[name].unit
                unit = np.ones((1,) * rank, np.float32) if old is None else old
                self.nodes[place] = dataclasses.replace(node, unit=unit * np.float32(n_layers))
        return charged


def with_bias(op: Op, factor: int) -> Op:
    """Return an affine op with its constant part times `factor`."""
    if isinstance(op, Conv | Dense):
        return dataclasses.replace(op, bias=_times(op.bias, factor))
    if isinstance(op, Scale):
        return dataclasses.replace(op, shift=_times(op.shift, factor))
    return op


def _times(values: Array, factor: int) -> Array:
    return values * np.float32(factor) if factor else np.zeros_like(values)
