"""Bounds on every sum in a graph of integers: the proof that float32 holds them exactly.

Integers below 2^24 are exact in float32. If no partial sum can leave that range, whatever the order
of its terms, then every engine, number of threads and machine gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .graded import BinaryWeighted, Burst
from .graph import Graph
from .integers import MAX_INTEGER, Quantize, SumPool
from .neurons import IntegrateFire, Neuron, SpikingMaxPool
from .ops import (
    Add,
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
    Scale,
    Select,
    Transpose,
)
from .scheduled import AddOnce, Pulse, SignedFire, WaitFire

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Bound:
    """Between what any part of a sum lies; arrays that broadcast to a sample, low <= 0 <= high.

    Attributes:
        low: Of one step.
        high: Of one step.
        total_low: Of all steps so far, at any step.
        total_high: Likewise.
    """

    low: Values
    high: Values
    total_low: Values
    total_high: Values

    @property
    def largest(self) -> float:
        """The largest magnitude of sums so far, with a part of the next step."""
        reach = np.maximum(self.high + self.total_high, -self.low - self.total_low)
        return float(np.max(reach))


def find_overflows(graph: Graph, n_steps: int) -> tuple[str, ...]:
    """Return why a run of the graph is not exact in float32, one line per node; () if it is.

    Args:
        graph: Spiking.
        n_steps: Steps of the whole run.
    """
    bounds: dict[str, Bound] = {}
    reasons: list[str] = []
    for node in graph.nodes:
        if isinstance(node.op, Input):
            continue
        rule = next((rule for kind, rule in _RULES if isinstance(node.op, kind)), None)
        operands = [bounds.get(name) for name in node.inputs]
        known = [bound for bound in operands if bound is not None]
        if rule is None or (len(known) < len(operands) and not isinstance(node.op, Quantize)):
            if rule is None or any(isinstance(graph.by_name[x].op, Input) for x in node.inputs):
                reasons.append(f"{node}: gives no integers")
            continue
        if node.name in graph.varying:
            known = [
                bound if name in graph.varying else _every_step(bound, n_steps)
                for name, bound in zip(node.inputs, known, strict=True)
            ]
        parameters = (getattr(node.op, name, None) for name in _PARAMETERS)
        if any(values is not None and (values != np.rint(values)).any() for values in parameters):
            reasons.append(f"{node}: has parameters that are no integers")
            continue
        shapes = [graph.types[name].shape for name in node.inputs]
        steps = n_steps if node.name in graph.varying else 1
        bound = bounds[node.name] = rule(node.op, known, shapes, steps)
        largest = bound.largest
        if isinstance(node.op, Neuron):
            charge = np.abs(node.op.initial_potential).max() + node.op.threshold.max()
            largest = max(largest, known[0].largest + float(charge))
        if largest >= MAX_INTEGER:
            reasons.append(f"{node}: sums may reach {largest:,.0f}, expected below {MAX_INTEGER:,}")
    return tuple(reasons)


_PARAMETERS = ("weight", "bias", "scale", "shift", "charge", "threshold", "initial_potential")

_Rule = Callable[[Any, list[Bound], list[tuple[int, ...]], int], Bound]


def _range(low: float, high: float, total_low: float, total_high: float, rank: int) -> Bound:
    return Bound(
        *(np.full((1,) * rank, value, float) for value in (low, high, total_low, total_high))
    )


def _every_step(bound: Bound, n_steps: int) -> Bound:
    """A constant, as a current that flows at every step."""
    return Bound(bound.low, bound.high, bound.low * n_steps, bound.high * n_steps)


def _each(function: Callable[[Values, Values], tuple[Values, Values]], bound: Bound) -> Bound:
    """Apply a map of intervals to one step and to all steps."""
    low, high = function(bound.low, bound.high)
    total_low, total_high = function(bound.total_low, bound.total_high)
    return Bound(low, high, total_low, total_high)


def _shifted(bound: Bound, shift: Values, n_steps: int) -> Bound:
    """Add a constant at each of n_steps; the total covers all steps."""
    below, above = np.minimum(shift, 0), np.maximum(shift, 0)
    return Bound(
        bound.low + below,
        bound.high + above,
        bound.total_low + n_steps * below,
        bound.total_high + n_steps * above,
    )


def _quantize(
    op: Quantize, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int
) -> Bound:
    if not bounds:  # of an input nothing is known
        low, high = min(op.low, 0), max(op.high, 0)
        return _range(low, high, low, high, len(shapes[0]))

    def mapped(low: Values, high: Values) -> tuple[Values, Values]:
        ends = (np.clip(np.rint(end / op.step), op.low, op.high) for end in (low, high))
        below, above = ends
        return np.minimum(below, 0), np.maximum(above, 0)

    return _each(mapped, bounds[0])


def _layer(
    op: Conv | Dense, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int
) -> Bound:
    groups = op.groups if isinstance(op, Conv) else 1
    n_axes = op.weight.ndim - 2
    weight = op.weight.astype(np.float64)
    above = np.maximum(weight, 0).sum(axis=tuple(range(2, weight.ndim)))
    below = np.minimum(weight, 0).sum(axis=tuple(range(2, weight.ndim)))

    def mapped(low: Values, high: Values) -> tuple[Values, Values]:
        axes = tuple(range(1, 1 + n_axes))
        n_in = shapes[0][0]
        low = np.broadcast_to(low.min(axis=axes), (n_in,)).reshape(groups, -1)
        high = np.broadcast_to(high.max(axis=axes), (n_in,)).reshape(groups, -1)
        n_out = len(weight) // groups
        low, high = (np.repeat(values, n_out, axis=0) for values in (low, high))
        results = (above * low + below * high).sum(axis=1), (above * high + below * low).sum(axis=1)
        first, second = (values.reshape(-1, *(1,) * n_axes) for values in results)
        return first, second

    bias = op.bias.astype(np.float64).reshape(-1, *(1,) * n_axes)
    return _shifted(_each(mapped, bounds[0]), bias, n_steps)


def _scale(op: Scale, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int) -> Bound:
    scale = op.scale.astype(np.float64)

    def mapped(low: Values, high: Values) -> tuple[Values, Values]:
        return np.minimum(scale * low, scale * high), np.maximum(scale * low, scale * high)

    return _shifted(_each(mapped, bounds[0]), op.shift.astype(np.float64), n_steps)


def _add(op: Add, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int) -> Bound:
    fields = ("low", "high", "total_low", "total_high")
    return Bound(*(np.sum([getattr(b, f) for b in _full(bounds, shapes)], axis=0) for f in fields))


def _full(bounds: list[Bound], shapes: list[tuple[int, ...]]) -> list[Bound]:
    return [
        _each(lambda low, high, s=shape: (np.broadcast_to(low, s), np.broadcast_to(high, s)), bound)  # type: ignore[misc]
        for bound, shape in zip(bounds, shapes, strict=True)
    ]


def _rearrange(op: Op, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int) -> Bound:
    full = _full(bounds, shapes)
    fields = ("low", "high", "total_low", "total_high")
    moved = []
    for field in fields:
        # what is below 2^24 is exact in float32, and larger values are refused at their node
        arrays = (getattr(bound, field)[None].astype(np.float32) for bound in full)
        moved.append(op.apply(*arrays)[0].astype(np.float64))
    return Bound(*moved)


def _sum_pool(
    op: SumPool, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int
) -> Bound:
    size = float(np.prod(op.kernel))
    axes = tuple(range(1, len(shapes[0])))

    def mapped(low: Values, high: Values) -> tuple[Values, Values]:
        return size * low.min(axis=axes, keepdims=True), size * high.max(axis=axes, keepdims=True)

    return _each(mapped, bounds[0])


def _max_pool(op: Op, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int) -> Bound:
    axes = tuple(range(1, len(shapes[0])))

    def mapped(low: Values, high: Values) -> tuple[Values, Values]:
        return low.min(axis=axes, keepdims=True), high.max(axis=axes, keepdims=True)

    return _each(mapped, bounds[0])


def _same(op: Op, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int) -> Bound:
    return bounds[0]


def _pulse(op: Pulse, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int) -> Bound:
    flowing = min(op.n_steps, n_steps)
    low, high = bounds[0].low * op.gain, bounds[0].high * op.gain
    return Bound(low, high, low * flowing, high * flowing)


def _add_once(
    op: AddOnce, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int
) -> Bound:
    return _shifted(bounds[0], op.charge.astype(np.float64), 1)


def _neuron(op: Neuron, bounds: list[Bound], shapes: list[tuple[int, ...]], n_steps: int) -> Bound:
    rank = len(shapes[0])
    match op:
        case WaitFire():
            return _range(0, 1, 0, min(op.n_steps, n_steps), rank)
        case SignedFire():
            return _range(-1, 1, 0, op.n_levels, rank)
        case Burst():
            return _range(0, op.n_levels, 0, n_steps * op.n_levels, rank)
        case BinaryWeighted():
            return _range(0, 2**op.n_bits - 1, 0, n_steps * (2**op.n_bits - 1), rank)
    return _range(0, 1, 0, n_steps, rank)


_RULES: tuple[tuple[type[Op] | tuple[type[Op], ...], _Rule], ...] = (
    (Quantize, _quantize),
    ((Conv, Dense), _layer),
    (Scale, _scale),
    (Add, _add),
    ((SpikingMaxPool, MaxPool, InsertZeros), _max_pool),
    (SumPool, _sum_pool),
    ((Flatten, Reshape, Transpose, Pad, Select, Concatenate), _rearrange),
    (Identity, _same),
    (Pulse, _pulse),
    (AddOnce, _add_once),
    ((IntegrateFire, WaitFire, SignedFire, Burst, BinaryWeighted), _neuron),
)
"""The first that fits. What is not here gives no integers."""
