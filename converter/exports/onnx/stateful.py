"""STATEFUL: what ops with a state are in ONNX: neurons, currents of schedules, sums so far.

The clock of an op is the index of the step, which the whole model shares; so a current of a
schedule has no state of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ...ir import Graph, IntegrateFire, Node, Reset
from ...ir.analog import ANALOG
from .coded import (
    differential_fire,
    differential_max_pool,
    differential_states,
    first_spike_fire,
    from_differences,
    leaky_fire,
    leaky_states,
)
from .draft import Draft, States
from .operators import OPERATORS, window_attributes

RESETS = frozenset({Reset.SUBTRACT, Reset.ZERO})


@dataclass(frozen=True)
class Stateful:
    """How an op with a state is written.

    Attributes:
        write: (draft, graph, node, current, states, step) -> names of the result and of the next
            states by key; `step` is the index of the step, int64.
        initial: From the op to its states before the first step, by key; they broadcast to the
            operand's shape.
    """

    write: Callable[..., tuple[str, States]]
    initial: Callable[[Any], Mapping[str, Any]]


def _integrate_fire(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    op: Any = node.op
    threshold = draft.constant(op.threshold[None], name=f"{node.name}.threshold")
    reached = draft.add("Add", states["state"], current, name=f"{node.name}.reached")
    fires = draft.add("GreaterOrEqual", reached, threshold, name=f"{node.name}.fires")
    spikes = draft.add("Cast", fires, name=node.name, to=onnx.TensorProto.FLOAT)
    if op.reset is Reset.SUBTRACT:
        return spikes, {"state": _subtract(draft, node, reached, spikes, threshold)}
    one = draft.constant(np.float32(1), name=f"{node.name}.one")
    kept = draft.add("Sub", one, spikes, name=f"{node.name}.kept")
    return spikes, {"state": draft.add("Mul", reached, kept, name=f"{node.name}.next_state")}


def _wait_fire(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    op: Any = node.op
    threshold = draft.constant(op.threshold[None], name=f"{node.name}.threshold")
    reached = draft.add("Add", states["state"], current, name=f"{node.name}.reached")
    fires = draft.add("GreaterOrEqual", reached, threshold, name=f"{node.name}.above")
    is_open = _is_before(draft, node, step, op.first_step + op.n_steps, "last")
    if op.first_step:
        waits = _is_before(draft, node, step, op.first_step, "first")
        waited = draft.add("Not", waits, name=f"{node.name}.waited")
        is_open = draft.add("And", waited, is_open, name=f"{node.name}.is_open")
    fires = draft.add("And", fires, is_open, name=f"{node.name}.fires")
    spikes = draft.add("Cast", fires, name=node.name, to=onnx.TensorProto.FLOAT)
    return spikes, {"state": _subtract(draft, node, reached, spikes, threshold)}


def _signed_fire(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    op: Any = node.op
    threshold = draft.constant(op.threshold[None], name=f"{node.name}.threshold")
    zero = draft.constant(np.float32(0), name=f"{node.name}.zero")
    most = draft.constant(np.float32(op.n_levels), name=f"{node.name}.n_levels")
    reached = draft.add("Add", states["state"], current, name=f"{node.name}.reached")

    def both(name: str, *pairs: tuple[str, str, str]) -> str:
        ends = [draft.add(operator, a, b, name=f"{node.name}.{name}") for operator, a, b in pairs]
        fires = draft.add("And", *ends, name=f"{node.name}.{name}")
        return draft.add("Cast", fires, name=f"{node.name}.{name}", to=onnx.TensorProto.FLOAT)

    sent = states["sent"]
    up = both("up", ("GreaterOrEqual", reached, threshold), ("Less", sent, most))
    down = both("down", ("Less", reached, zero), ("Greater", sent, zero))
    spikes = draft.add("Sub", up, down, name=node.name)
    after = draft.add("Add", sent, spikes, name=f"{node.name}.next_sent")
    return spikes, {"state": _subtract(draft, node, reached, spikes, threshold), "sent": after}


def _burst(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    op: Any = node.op
    threshold = draft.constant(op.threshold[None], name=f"{node.name}.threshold")
    reached = draft.add("Add", states["state"], current, name=f"{node.name}.reached")
    quotient = draft.add("Div", reached, threshold, name=f"{node.name}.quotient")
    whole = draft.add("Floor", quotient, name=f"{node.name}.whole")
    least, most = (
        draft.constant(np.float32(value), name=f"{node.name}.{name}")
        for name, value in (("least", 0), ("most", op.n_levels))
    )
    levels = draft.add("Clip", whole, least, most, name=node.name)
    return levels, {"state": _subtract(draft, node, reached, levels, threshold)}


def _binary_weighted(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    op: Any = node.op
    potential = draft.add("Add", states["state"], current, name=f"{node.name}.reached")
    result = ""
    for bit in reversed(range(op.n_bits)):
        weight = np.float32(2**bit)
        size = draft.constant((op.threshold * weight)[None], name=f"{node.name}.size")
        factor = draft.constant(weight, name=f"{node.name}.weight")
        fires = draft.add("GreaterOrEqual", potential, size, name=f"{node.name}.fires")
        spikes = draft.add("Cast", fires, name=f"{node.name}.bit", to=onnx.TensorProto.FLOAT)
        potential = _subtract(draft, node, potential, spikes, size)
        value = draft.add("Mul", spikes, factor, name=f"{node.name}.value")
        result = draft.add("Add", result, value, name=f"{node.name}.number") if result else value
    return result, {"state": potential}


def _spiking_max_pool(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    total = draft.add("Add", states["state"], current, name=f"{node.name}.next_state")
    before, after = (
        draft.add("MaxPool", name, name=f"{node.name}.{when}", **window_attributes(node.op))
        for name, when in ((states["state"], "before"), (total, "after"))
    )
    return draft.add("Sub", after, before, name=node.name), {"state": total}


def _pulse(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    op: Any = node.op
    gain = draft.constant(np.float32(op.gain), name=f"{node.name}.gain")
    zero = draft.constant(np.float32(0), name=f"{node.name}.zero")
    scaled = draft.add("Mul", current, gain, name=f"{node.name}.scaled")
    flows = _is_before(draft, node, step, op.n_steps, "last")
    return draft.add("Where", flows, scaled, zero, name=node.name), {}


def _add_once(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    op: Any = node.op
    charge = draft.constant(op.charge[None], name=f"{node.name}.charge")
    charged = draft.add("Add", current, charge, name=f"{node.name}.charged")
    is_first = _is_before(draft, node, step, 1, "first")
    return draft.add("Where", is_first, charged, current, name=node.name), {}


def _of_mean(
    draft: Draft, graph: Graph, node: Node, current: str, states: States, step: str
) -> tuple[str, States]:
    one = draft.constant(np.ones((), np.int64), name=f"{node.name}.one", dtype=np.int64)
    done = draft.add("Add", step, one, name=f"{node.name}.done")
    n_steps = draft.add("Cast", done, name=f"{node.name}.n_steps", to=onnx.TensorProto.FLOAT)
    arrived = draft.add("Add", states["state"], current, name=f"{node.name}.arrived")
    mean = draft.add("Div", arrived, n_steps, name=f"{node.name}.mean")
    function = OPERATORS[type(node.op).__name__.removesuffix("OfMean")]
    value = draft.add(
        "Mul", function(draft, graph, node, mean), n_steps, name=f"{node.name}.so_far"
    )
    result = draft.add("Sub", value, states["sent"], name=f"{node.name}.increment")
    sent = draft.add("Add", states["sent"], result, name=f"{node.name}.next_sent")
    return result, {"state": arrived, "sent": sent}


def _subtract(draft: Draft, node: Node, potential: str, spikes: str, threshold: str) -> str:
    taken = draft.add("Mul", spikes, threshold, name=f"{node.name}.taken")
    return draft.add("Sub", potential, taken, name=f"{node.name}.next_state")


def _is_before(draft: Draft, node: Node, step: str, end: int, name: str) -> str:
    """Add whether the step is one of 0..end-1."""
    bound = draft.constant(np.int64(end), name=f"{node.name}.{name}_step", dtype=np.int64)
    return draft.add("Less", step, bound, name=f"{node.name}.before_{name}")


def _potential(op: Any) -> Mapping[str, Any]:
    return {"state": op.initial_potential}


_ZERO = np.zeros((), np.float32)

STATEFUL: dict[str, Stateful] = {
    IntegrateFire.__name__: Stateful(_integrate_fire, _potential),
    "WaitFire": Stateful(_wait_fire, _potential),
    "SignedFire": Stateful(_signed_fire, lambda op: {**_potential(op), "sent": _ZERO}),
    "Burst": Stateful(_burst, _potential),
    "BinaryWeighted": Stateful(_binary_weighted, _potential),
    "SpikingMaxPool": Stateful(_spiking_max_pool, lambda op: {"state": _ZERO}),
    "LeakyFire": Stateful(leaky_fire, leaky_states),
    "FirstSpikeFire": Stateful(first_spike_fire, lambda op: {**_potential(op), "fired": _ZERO}),
    "DifferentialFire": Stateful(differential_fire, differential_states),
    "DifferentialMaxPool": Stateful(differential_max_pool, lambda op: {"mean": op.bias}),
    "FromDifferences": Stateful(from_differences, lambda op: {"mean": op.bias}),
    "Pulse": Stateful(_pulse, lambda op: {}),
    "AddOnce": Stateful(_add_once, lambda op: {}),
    **{
        op.__name__: Stateful(_of_mean, lambda op: {"state": _ZERO, "sent": _ZERO})
        for op in ANALOG.values()
    },
}
