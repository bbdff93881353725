"""Steps: what one integer of every result of a graph stands for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import PassError
from ..ir import AddOnce, Array, Graph, Neuron, Node, Pulse, SpikingMaxPool
from ..ir.integers import SumPool
from ..ir.ops import (
    Add,
    AveragePool,
    Conv,
    Dense,
    GlobalAveragePool,
    Identity,
    Input,
    InsertZeros,
    MaxPool,
    Pad,
    Scale,
)
from .rescaling import compact

Values = npt.NDArray[np.float64]

MAX_THRESHOLD = 2**18
"""Weights far below the threshold are rounded away rather than made integers of their own."""

MIN_FACTOR = 64
"""What the finest of several integers is multiplied by, at most, where they are no multiples."""
MAX_LOSS = 1 / 256
"""Of a factor by rounding it: as weights of 8 bits have it."""
MAX_RATIO = 8
"""Of the steps of what one layer takes; a pooling of 2x2 means has 4."""

PASSED_ON = (Add, AddOnce, Identity, MaxPool, Pulse, SpikingMaxPool)
"""What leaves the step of a sum as it is."""


def pool_counts(op: AveragePool, shape: tuple[int, ...]) -> tuple[Array, int]:
    """Return how many entries every window divides by, [1, windows...], and a common multiple."""
    ones = np.ones((1, 1, *shape[1:]), np.float32)
    sums = SumPool(op.kernel, op.strides, op.padding).apply(ones)[0]
    if op.count_padding or not any(map(any, op.padding)):
        sums = np.full_like(sums, math.prod(op.kernel))
    return sums, math.lcm(*(int(count) for count in np.unique(sums)))


def fine_enough(factors: Values) -> int:
    """Return the least power of two that makes whole numbers of factors, but for MAX_LOSS."""
    power = 1
    while power < MIN_FACTOR:
        scaled = factors * power
        if (np.abs(scaled - np.rint(scaled)) <= MAX_LOSS * scaled).all():
            break
        power *= 2
    return power


def _fit_streams(steps: Values, streams: list[Values]) -> tuple[Values, Values]:
    """Return the step of a sum, near the wanted one, and how many of it are the layers' step.

    The finest stream, h, is a whole multiple of the new step, or a multiple of it is the wanted
    step. Where streams differ, the step is fine enough that rounding their factors hardly matters.
    """
    stacked = np.stack(streams)
    finest = np.where(stacked > 0, stacked, np.inf).min(axis=0)
    finest = np.where(np.isfinite(finest), finest, steps)
    finest = finest / fine_enough(stacked / finest)
    found = finest / np.maximum(1, np.floor(finest / steps))
    return found, np.ceil(steps / found * (1 - 1e-9))


def _sort_results(graph: Graph) -> tuple[frozenset[str], frozenset[str]]:
    """Return which results are sums already, or come of the input: no spikes, far larger integers.

    And which are spikes, have weights of spikes, or are sums with such.
    """
    currents: set[str] = set()
    on_spikes: set[str] = set()
    for node in graph.nodes:
        is_layer = isinstance(node.op, Conv | Dense | Scale)
        is_current = not currents.isdisjoint(node.inputs)
        is_sum = is_layer or isinstance(node.op, Add | Input)
        if is_sum or (is_current and not isinstance(node.op, Neuron)):
            currents.add(node.name)
        takes = not is_current if is_layer else not on_spikes.isdisjoint(node.inputs)
        if takes or isinstance(node.op, Neuron):
            on_spikes.add(node.name)
    return frozenset(currents), frozenset(on_spikes)


class Steps:
    """Steps of a graph's results, in the units that its results have now.

    The layers and shortcuts whose sums reach the same neurons share the step of a channel; their
    common end (the neurons, an output, or what is used more than once) stands for the group.

    Currents that pass into a sum without weights (shortcuts around neurons) are integers far larger
    than spikes: rounding their factor would cost as much as they are larger. So they decide the
    step of the sum, and layers beside them have a whole multiple of it, their own.
    """

    def __init__(self, graph: Graph, largest: int) -> None:
        self.graph = graph
        self.largest = largest
        self.units: dict[str, Values] = {}
        self._currents, self._on_spikes = _sort_results(graph)
        self.ends = {node.name: self._find_end(node) for node in graph.nodes}
        self.groups: dict[str, list[Node]] = {}
        for node in graph.nodes:
            if isinstance(node.op, Conv | Dense | Scale | Add):
                self.groups.setdefault(self.ends[node.name], []).append(node)
        self._group_units: dict[str, Values] = {}
        self._multiples: dict[str, Values] = {}
        self._divisors: dict[str, float] = {}

    def unit(self, name: str) -> Values:
        """Return what an integer of this result stands for; broadcasts to a sample."""
        if name not in self.units:
            self.units[name] = np.asarray(compact(self._find_unit(self.graph.by_name[name])))
        return self.units[name]

    def weight(self, node: Node) -> Values:
        """Return the weights of a layer, or the factors of a Scale, for integers in front."""
        op = node.op
        if isinstance(op, Scale):
            return np.asarray(op.scale * self.unit(node.inputs[0]), np.float64)
        unit, _ = self.arriving(node)
        if not isinstance(op, Conv | Dense):
            raise TypeError(f"{node}: expected Conv, Dense or Scale")
        groups = op.groups if isinstance(op, Conv) else 1
        n_in = op.weight.shape[1] * groups
        n_axes = op.weight.ndim - 2
        before = np.broadcast_to(unit.reshape(-1), (n_in,)).reshape(groups, 1, -1, *(1,) * n_axes)
        grouped = op.weight.astype(np.float64).reshape(groups, -1, *op.weight.shape[1:])
        return np.asarray((grouped * before).reshape(op.weight.shape))

    def arriving(self, node: Node) -> tuple[Values, Values]:
        """Return what an integer in front of a layer stands for, and what it is multiplied by.

        Spikes beside sums of many (means of large windows, the input) would take all bits of the
        weights: they are made integers of the same step, where that is more than MAX_RATIO as fine.
        """
        unit = self.unit(node.inputs[0])
        self._expect_even(node, unit)
        if unit.max() <= MAX_RATIO * unit.min():
            return unit, np.ones_like(unit)
        factors = unit / unit.min()
        factors = np.rint(factors * fine_enough(factors))
        return np.full_like(unit, (unit / factors).max()), factors

    def is_weighted(self, name: str, end: str) -> bool:
        """Return whether a result reaches `end` from weights, which have the group's step."""
        node = self.graph.by_name[name]
        if self.ends[name] != end:
            return False
        if isinstance(node.op, Conv | Dense | Scale | Add):
            return True
        return isinstance(node.op, PASSED_ON) and self.is_weighted(node.inputs[0], end)

    def divisor(self, node: Node) -> float:
        """Return by what a constant current is divided before it flows: 1 unless a sum is coarse.

        Args:
            node: The Pulse that it flows through.
        """
        for behind in self.graph.consumers[node.name]:
            if isinstance(behind.op, Add):
                self.unit(behind.name)
        return self._divisors.get(node.name, 1.0)

    def _find_end(self, node: Node) -> str:
        graph = self.graph
        while graph.is_only_use(node.name):
            (behind,) = graph.consumers[node.name]
            if isinstance(behind.op, Neuron):
                return behind.name
            if not isinstance(behind.op, PASSED_ON):
                break
            if behind.name in self._on_spikes and node.name not in self._on_spikes:
                break  # a sum with layers behind spikes, which this is no layer of
            node = behind
        return node.name

    def _find_unit(self, node: Node) -> Values:
        op = node.op
        rank = len(self.graph.types[node.name].shape)
        if isinstance(op, Neuron):
            return np.ones((1,) * rank)
        if isinstance(op, Conv | Dense | Scale | Add):
            unit = self._group_unit(self.ends[node.name])
            return unit if isinstance(op, Add) else unit * self._multiple(self.ends[node.name])
        units = [self.unit(name) for name in node.inputs]
        if isinstance(op, AveragePool | GlobalAveragePool):
            self._expect_even(node, units[0])
            shape = self.graph.types[node.inputs[0]].shape
            size = int(np.prod(shape[1:]))
            if isinstance(op, AveragePool):
                size = pool_counts(op, shape)[1]
            return np.asarray(units[0].reshape(units[0].shape[:rank]) / size)
        if isinstance(op, PASSED_ON):
            if isinstance(op, MaxPool):
                self._expect_even(node, units[0])
            return units[0]
        if isinstance(op, InsertZeros):
            self._expect_even(node, units[0])
            return units[0]
        if isinstance(op, Pad) and all(
            size == 1 for size, pair in zip(units[0].shape, op.padding, strict=True) if any(pair)
        ):
            return units[0]
        shapes = (self.graph.types[name].shape for name in node.inputs)
        full = [
            np.broadcast_to(unit, shape)[None] for unit, shape in zip(units, shapes, strict=True)
        ]
        moved: Any = op.apply(*full)[0]  # type: ignore[arg-type]
        return np.asarray(np.where(moved > 0, moved, 1.0))  # padding stands for nothing

    def _group_unit(self, end: str) -> Values:
        """Return the step of a group: of the largest weight per channel, one for an output."""
        if end not in self._group_units:
            free = self._free_unit(end)
            if free is not None:
                self._group_units[end] = free
                return free
            graph = self.graph
            shape = graph.types[self.groups[end][0].name].shape
            n_channels = shape[0]
            tops = np.zeros(n_channels)
            for node in self.groups[end]:
                if not isinstance(node.op, Add):
                    tops = np.maximum(tops, self._top(self.weight(node), node))
                    continue
                for name in node.inputs:  # what reaches the sum without a weight
                    if not self.is_weighted(name, end):
                        unit = np.broadcast_to(self.unit(name), graph.types[name].shape)
                        tops = np.maximum(tops, unit.reshape(n_channels, -1).max(axis=1))
            op = graph.by_name[end].op
            if end in graph.outputs and not isinstance(op, Neuron):
                tops = np.full(n_channels, tops.max())
            steps = np.where(tops > 0, tops, 1.0) / self.largest
            if isinstance(op, Neuron):
                full = np.broadcast_to(op.threshold, graph.types[end].shape).astype(np.float64)
                threshold = full.reshape(len(full), -1).min(axis=1)
                steps = np.where(tops > 0, steps, threshold / self.largest)
                steps = np.maximum(steps, threshold / self._max_threshold(end))
                steps = np.maximum(steps, threshold / np.maximum(2, 2 * (threshold // (2 * steps))))
            sizes = (-1, *(1,) * (len(shape) - 1))
            self._divide_constants(end, steps.reshape(sizes))
            streams = self._streams(end, shape)
            if streams:
                steps, multiple = _fit_streams(steps, streams)
                self._multiples[end] = multiple.reshape(sizes)
            self._group_units[end] = steps.reshape(sizes)
        return self._group_units[end]

    def _max_threshold(self, end: str) -> float:
        """Return a larger limit where a layer's integers are far larger than spikes."""
        layers = [node for node in self.groups[end] if isinstance(node.op, Conv | Dense)]
        varying = [node for node in layers if node.inputs[0] in self.graph.varying]
        largest = max((1 / self.arriving(node)[0].min() for node in varying), default=1.0)
        return MAX_THRESHOLD * float(np.clip(largest / 256, 1, 4))

    def _divide_constants(self, end: str, steps: Values) -> None:
        """Let constant currents that reach the sum of a group only be hardly finer than it."""
        for node in self.groups[end]:
            for name in node.inputs if isinstance(node.op, Add) else ():
                pulse = self.graph.by_name[name]
                is_constant = isinstance(pulse.op, Pulse) and self.graph.is_only_use(name)
                if is_constant and name not in self._divisors:
                    divisor = float(np.floor((steps / self.unit(name)).min()))
                    if divisor > 1:
                        self._divisors[name] = divisor
                        self.units[name] = self.unit(name) * divisor

    def _streams(self, end: str, shape: tuple[int, ...]) -> list[Values]:
        """Return per channel what an integer of every current stands for that gets no weight."""
        units = [
            np.broadcast_to(self.unit(name), shape)
            for node in self.groups[end]
            for name in node.inputs
            if isinstance(node.op, Add) and end in self._on_spikes and self._passes(name, end)
        ]
        return [each.reshape(len(each), -1).min(axis=1) for each in units]

    def _passes(self, name: str, end: str) -> bool:
        return not self.is_weighted(name, end) and name in self._currents

    def _multiple(self, end: str) -> Values | int:
        """Return of how many steps of its sum the step of a layer is."""
        self._group_unit(end)
        return self._multiples.get(end, 1)

    def _free_unit(self, end: str) -> Values | None:
        """Return the step with which a Scale of fine integers is no multiplication, if there is."""
        (node, *others) = self.groups[end]
        if others or not isinstance(node.op, Scale):
            return None
        op, behind = node.op, self.graph.by_name[end].op
        unit = self.unit(node.inputs[0])
        scaled = np.asarray(compact(np.where(op.scale == 0, 1.0, np.abs(op.scale)) * unit))
        if any(size > 1 for size in scaled.shape[1:]) or end in self.graph.outputs:
            return None
        if isinstance(behind, Neuron) and (behind.threshold / scaled).min() < self.largest:
            return None
        return scaled

    def _top(self, weight: Values, node: Node) -> Values:
        n_channels = self.graph.types[node.name].shape[0]
        full = (
            weight
            if len(weight) == n_channels
            else np.broadcast_to(weight, (n_channels, *weight.shape[1:]))
        )
        return np.asarray(np.abs(full).reshape(n_channels, -1).max(axis=1))

    def _expect_even(self, node: Node, unit: Values) -> None:
        if any(size > 1 for size in unit.shape[1:]):
            raise PassError(
                f"{node}: integers in front stand for other values at other positions, "
                "expected one step per channel",
                hint="use recipe exact, which computes in float32",
            )
