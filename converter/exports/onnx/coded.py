"""Neurons that forget, rest, fire once or send differences, as ONNX: see stateful.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from ...ir import Graph, Node, Reset
from ...ir.differential import FIRES_AT
from .draft import Draft, States
from .operators import window_attributes

FLOAT = onnx.TensorProto.FLOAT


class _Writer:
    """Shorthand for the operators of one node."""

    def __init__(self, draft: Draft, node: Node) -> None:
        self.draft = draft
        self.name = node.name

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self.draft.add(operator, *inputs, name=f"{self.name}.value", **attributes)

    def number(self, values: Any) -> str:
        """Add a constant, float32; arrays get the batch axis."""
        array = np.asarray(values, np.float32)
        return self.draft.constant(array[None] if array.ndim else array, name=f"{self.name}.number")

    def as_float(self, value: str) -> str:
        """Return booleans or integers as float32."""
        return self("Cast", value, to=FLOAT)

    def clock(self, step: str) -> str:
        """Return the number of steps with this one."""
        return self("Add", self.as_float(step), self.number(1))


def leaky_fire(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    """LeakyFire; without a period it has no state for it."""
    op: Any = node.op
    add = _Writer(draft, node)
    threshold, potential = add.number(op.threshold), states["state"]
    if op.leak:
        potential = add("Mul", potential, add.number(1 - op.leak))
    potential = add("Add", potential, current)
    limit = threshold
    if op.relative:
        limit = add("Mul", threshold, add("Add", add.number(1), states["rise"]))
    fires = add("GreaterOrEqual", potential, limit)
    following: dict[str, str] = {}
    if op.refractory:
        rest, zero = states["rest"], add.number(0)
        fires = add("And", fires, add("LessOrEqual", rest, zero))
        shorter = add("Sub", rest, add.as_float(add("Greater", rest, zero)))
        following["rest"] = add("Where", fires, add.number(op.refractory), shorter)
    spikes = add.as_float(fires)
    if op.reset is Reset.SUBTRACT:
        following["state"] = add("Sub", potential, add("Mul", spikes, threshold))
    else:
        following["state"] = add("Mul", potential, add("Sub", add.number(1), spikes))
    if op.relative:
        risen = add("Mul", states["rise"], add.number(op.decay))
        following["rise"] = add("Add", risen, add("Mul", spikes, add.number(op.relative)))
    return spikes, following


def leaky_states(op: Any) -> dict[str, Any]:
    """Return the states of a LeakyFire."""
    zero = np.zeros((), np.float32)
    states = {"state": op.initial_potential}
    if op.relative:
        states["rise"] = zero
    if op.refractory:
        states["rest"] = zero
    return states


def first_spike_fire(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    """FirstSpikeFire."""
    op: Any = node.op
    add = _Writer(draft, node)
    threshold = add.number(op.threshold)
    potential = add("Add", states["state"], current)
    left = add("Sub", add.number(op.first_step + op.n_steps), add.as_float(step))
    fires = add("GreaterOrEqual", potential, add("Mul", left, threshold))
    for condition in (
        add("Equal", states["fired"], add.number(0)),
        add("GreaterOrEqual", left, add.number(1)),
        add("LessOrEqual", left, add.number(op.n_steps)),
    ):
        fires = add("And", fires, condition)
    fired = add.as_float(fires)
    charges = add("Mul", fired, left)
    return charges, {
        "state": add("Sub", potential, add("Mul", charges, threshold)),
        "fired": add("Add", states["fired"], fired),
    }


def differential_fire(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    """DifferentialFire."""
    op: Any = node.op
    add = _Writer(draft, node)
    threshold, clock = add.number(op.threshold), add.clock(step)
    behind = add("Sub", states["mean"], add("Mul", threshold, states["sent"]))
    potential = add("Add", states["state"], add("Add", current, behind))
    total = add("Add", states["total"], states["sent"])
    spikes = add("Mul", total, add.number(0))
    for exponent in reversed(range(op.n_thresholds)):
        size = np.float32(2.0**-exponent)
        enough = FIRES_AT * size * op.threshold
        up = add("GreaterOrEqual", potential, add.number(enough))
        if op.limit is not None:
            most = add("Mul", clock, add.number(op.limit))
            up = add("And", up, add("LessOrEqual", add("Add", total, add.number(size)), most))
        down = add("LessOrEqual", potential, add.number(-enough))
        down = add("And", down, add("GreaterOrEqual", total, add.number(size)))
        spikes = add("Where", up, add.number(size), spikes)
        spikes = add("Where", down, add.number(-size), spikes)
    return spikes, {
        "state": add("Sub", potential, add("Mul", threshold, spikes)),
        "total": add("Add", total, spikes),
        "mean": add("Add", states["mean"], add("Div", current, clock)),
        "sent": add("Add", states["sent"], add("Div", spikes, clock)),
    }


def differential_states(op: Any) -> dict[str, Any]:
    """Return the states of a DifferentialFire."""
    zero = np.zeros((), np.float32)
    return {"state": op.initial_potential, "total": zero, "mean": op.bias, "sent": zero}


def differential_max_pool(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    """DifferentialMaxPool."""
    add = _Writer(draft, node)
    clock = add.clock(step)
    mean = add("Add", states["mean"], add("Div", current, clock))
    before, after = (
        add("MaxPool", value, **window_attributes(node.op)) for value in (states["mean"], mean)
    )
    grown = add("Mul", add("Sub", after, before), clock)
    is_first = add("Equal", clock, add.number(1))
    return add("Where", is_first, after, grown), {"mean": mean}


def from_differences(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    """FromDifferences."""
    add = _Writer(draft, node)
    value = add("Add", current, states["mean"])
    mean = add("Add", states["mean"], add("Div", current, add.clock(step)))
    return value, {"mean": mean}
