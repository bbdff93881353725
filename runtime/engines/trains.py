"""Trains: what a scheduled graph sends at single steps, found from the counts of whole windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...converter.ir import AddOnce, Array, Graph, Node, Pulse, SpikingMaxPool, WaitFire
from ...converter.ir.integers import SumPool
from ...converter.ir.ops import (
    AveragePool,
    Concatenate,
    Flatten,
    GlobalAveragePool,
    Identity,
    InsertZeros,
    MaxPool,
    Pad,
    Reshape,
    Select,
    Transpose,
)
from ..simulation import Counts

REARRANGING = (Concatenate, Flatten, Identity, InsertZeros, Pad, Reshape, Select, Transpose)


@dataclass(frozen=True, eq=False)
class Sorted:
    """Entries that are non-zero from the first step of their window on, then zero.

    Attributes:
        counts: At how many steps, [N, ...].
        starts: First step of the window, [1, ...] of the full shape of a sample.
        are_spikes: The entries are 0 or 1; else only where they are non-zero is known.
    """

    counts: Array
    starts: Array
    are_spikes: bool


class Trains:
    """The steps of one run; nodes are added in order."""

    def __init__(self, graph: Graph, n_steps: int) -> None:
        self.graph = graph
        self.n_steps = n_steps
        self.counts: dict[str, Array] = {}
        """Spikes by neuron, [N, ...]."""
        self._currents: dict[str, Array] = {}
        """Sums by neuron that fires while they flow, and by pulse."""
        self._sorted: dict[str, Sorted] = {}
        self._last: dict[str, tuple[int, Array]] = {}
        """By node a step, and the sum up to it: steps are mostly asked for in order."""
        self._active: dict[str, frozenset[int]] = {}

    def add(self, node: Node, operands: list[Array], value: Array) -> None:
        """Note what a node that changes over time has taken and given in all."""
        op = node.op
        active = frozenset[int]().union(*(self._active.get(name, ()) for name in node.inputs))
        if isinstance(op, Pulse):
            self._currents[node.name] = np.asarray(operands[0] * np.float32(op.gain), np.float32)
            active = frozenset(range(min(op.n_steps, self.n_steps)))
        elif isinstance(op, AddOnce):
            active |= {0}
        elif isinstance(op, WaitFire):
            self.counts[node.name] = value
            active = frozenset(range(op.first_step, op.first_step + op.n_steps))
            before = self.graph.by_name[node.inputs[0]].op
            if isinstance(before, Pulse) and before.n_steps > 1:
                self._currents[node.name] = self._currents[node.inputs[0]]
            else:
                starts = np.full((1, *value.shape[1:]), op.first_step, np.float32)
                self._sorted[node.name] = Sorted(value, starts, are_spikes=True)
        else:
            found = self._rearranged(node)
            if found is not None:
                self._sorted[node.name] = found
        self._active[node.name] = active

    def _rearranged(self, node: Node) -> Sorted | None:
        """Return the train of a node behind trains, if it is one."""
        op = node.op
        found = [self._sorted.get(name) for name in node.inputs]
        trains = [train for train in found if train is not None]
        if len(trains) < len(found):
            return None
        if isinstance(op, REARRANGING):
            counts = op.apply(*(train.counts for train in trains))
            starts = op.apply(*(train.starts for train in trains))
            return Sorted(counts, starts, all(train.are_spikes for train in trains))
        (train, *_) = trains
        is_pool = isinstance(op, AveragePool | SumPool | GlobalAveragePool)
        is_pool |= isinstance(op, MaxPool) and train.are_spikes
        if not is_pool or (train.starts != train.starts.flat[0]).any():
            return None
        if isinstance(op, GlobalAveragePool):
            counts = train.counts.reshape(*train.counts.shape[:2], -1).max(axis=2)
        else:
            window = op.window  # type: ignore[attr-defined]
            pool = MaxPool(window.kernel, window.strides, window.dilation, window.padding)
            counts = pool.apply(train.counts)
        starts = np.full((1, *counts.shape[1:]), train.starts.flat[0], np.float32)
        return Sorted(counts, starts, isinstance(op, MaxPool))

    def count(self, name: str, fan_out: Array) -> Counts:
        """Return non-zero entries times connections that leave them, at every step, [T]."""
        result = np.zeros(self.n_steps, np.float64)
        train = self._sorted.get(name)
        if train is None:
            for step in sorted(self._active[name]):
                n_active = np.count_nonzero(self.at(name, step, {}), axis=0)
                result[step] = np.sum(n_active * fan_out, dtype=np.float64)
            return result.astype(np.int64)
        counts = train.counts.reshape(len(train.counts), -1).astype(np.int64)
        starts, weights = train.starts.reshape(-1), fan_out.reshape(-1).astype(np.float64)
        for start in np.unique(starts):
            chosen = starts == start
            part = counts if chosen.all() else counts[:, chosen]
            spread = np.broadcast_to(weights[chosen], part.shape)
            histogram = np.bincount(part.reshape(-1), spread.reshape(-1))
            # of the entries with a count of k or more, one spike comes at step k - 1
            per_step = np.cumsum(histogram[::-1])[::-1][1:]
            first = int(start)
            result[first : first + len(per_step)] += per_step
        return result.astype(np.int64)

    def every_step(self, name: str) -> Array:
        """Return what a node gives at every step, [T, N, ...]."""
        first = self.at(name, 0, {})
        result = np.zeros((self.n_steps, *first.shape), np.float32)
        for step in self._active[name]:
            result[step] = self.at(name, step, {})
        return result

    def at(self, name: str, step: int, known: dict[str, Array]) -> Array:
        """Return what a node gives at one step, [N, ...]; `known` holds what was found for it."""
        if name not in known:
            node = self.graph.by_name[name]
            if name in self.counts or isinstance(node.op, SpikingMaxPool):
                last, before = self._last.get(name, (-1, np.zeros(1, np.float32)))
                if last != step - 1:
                    before = self._until(name, step - 1)
                now = self._until(name, step)
                self._last[name] = step, now
                known[name] = now - before
            elif isinstance(node.op, Pulse):
                flows = np.float32(step < node.op.n_steps)
                known[name] = self._currents[name] * flows
            elif isinstance(node.op, AddOnce):
                charge = node.op.charge if step == 0 else np.zeros_like(node.op.charge)
                known[name] = self.at(node.inputs[0], step, known) + charge
            else:
                known[name] = node.op.apply(*(self.at(x, step, known) for x in node.inputs))
        return known[name]

    def _until(self, name: str, step: int) -> Array:
        """Return the sum of what a node has given up to a step, this one included; -1 is none."""
        node = self.graph.by_name[name]
        op = node.op
        if isinstance(op, SpikingMaxPool):
            return op.apply(self._until(node.inputs[0], step))
        if not isinstance(op, WaitFire):
            steps = (self.at(name, each, {}) for each in range(step + 1))
            return np.asarray(sum(steps, start=np.zeros_like(self.at(name, 0, {}))))
        n_now = min(max(step + 1 - op.first_step, 0), op.n_steps)
        if name not in self._currents:
            return np.minimum(self.counts[name], np.float32(n_now))
        charge = self._currents[name] * np.float32(n_now) + op.initial_potential
        return np.asarray(np.clip(np.floor(charge / op.threshold), 0, n_now), np.float32)
