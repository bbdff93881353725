"""Stages: what the event engine does for a block of steps of some samples, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...converter.ir import Array, Neuron, Node, SpikingMaxPool, StatefulOp
from .late import kernels, level_kernels
from .layouts import channels_first, layer_masks, mask_places, unpack
from .memory import Arena, Memory
from .views import WORD, Ints, Sites, line_length, n_words, split_shape, window_positions


class Stage(Protocol):
    """One layer, or a part of it."""

    def begin(self, memory: Memory) -> None:
        """Get ready for samples, whose constants are there."""

    def run(self, memory: Memory, n_steps: int) -> None:
        """Compute the next `n_steps` steps."""


@dataclass(frozen=True, eq=False)
class OperationsStage:
    """Synaptic operations of all nodes whose operands are spikes or sums of spikes.

    Attributes:
        n_steps: Steps of a block.
        counted: [rows, 6], as `count_operations` takes it, like the next.
        fan_outs: Connections that leave an entry of a word, row after row.
    """

    n_steps: int
    counted: Ints
    fan_outs: Ints

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        first = memory.first_step
        kernels().count_operations(
            memory.masks,
            memory.unions,
            self.counted,
            self.fan_outs,
            memory.n_samples,
            n_steps,
            self.n_steps,
            memory.operations_table[:, first : first + n_steps],
        )


def make_operations_stage(
    consumers: dict[Sites, dict[str, Ints]], names: tuple[str, ...], arena: Arena
) -> OperationsStage:
    """Return the stage that counts.

    Args:
        consumers: By sites and by node: connections that leave an entry of each position.
        names: Nodes in the order of a memory's table.
        arena: Where the spikes lie.
    """
    rows, fan_outs = [], [np.empty(0, np.int64)]
    for sites, by_node in consumers.items():
        words = n_words(sites.n_channels)
        n_sites = sites.line_length * words
        first, is_pooling = arena.first_word(sites), sites in arena.poolings
        for name, fan_out in by_node.items():
            n_lines = sites.n_positions // sites.line_length
            place = sum(map(len, fan_outs))
            rows.append([is_pooling, first, n_lines, n_sites, place, names.index(name)])
            fan_outs.append(np.repeat(fan_out, words).astype(np.int64))
    table = np.array(rows, np.int64).reshape(-1, 6)
    return OperationsStage(arena.n_steps, table, np.concatenate(fan_outs))


@dataclass(frozen=True, eq=False)
class SumStage:
    """Spikes of a layer to sums over several of its positions, word by word.

    Attributes:
        first_word: Of the sums.
        step_words: Words between two steps of the layer.
        n_steps: Steps of a block.
        n_sites: Words of a line.
        sources: As `add_up_spikes` takes them, like the next.
        first_source: See sources.
        are_levels: The layer's spikes are levels, which are added up.
    """

    first_word: int
    step_words: int
    n_steps: int
    n_sites: int
    sources: Ints
    first_source: Ints
    are_levels: bool

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        if self.are_levels:
            level_kernels().add_up_levels(
                memory.source_levels,
                self.step_words,
                self.sources,
                self.first_source,
                memory.n_samples,
                n_steps,
                self.n_steps,
                self.n_sites,
                memory.unions,
                self.first_word,
            )
            return
        kernels().add_up_spikes(
            memory.masks,
            self.step_words,
            self.sources,
            self.first_source,
            memory.n_samples,
            n_steps,
            self.n_steps,
            self.n_sites,
            memory.unions,
            memory.source_levels,
            self.first_word,
        )


def make_sum_stage(sites: Sites, arena: Arena) -> SumStage:
    """Return the stage that adds up the spikes of `sites`."""
    words, n_steps = n_words(sites.n_channels), arena.n_steps
    counts = np.diff(sites.first_source)
    layers = arena.levels if sites.are_levels else arena.layers
    first = layers[sites.layer] + mask_places(sites.layer_shape, n_steps)[sites.sources]
    places = (first[:, None] + np.arange(words)).T
    owners = np.repeat(np.arange(sites.n_positions), counts)
    # the lists of one position's words follow one another, each with the position's sources
    order = np.argsort((owners * words + np.arange(words)[:, None]).reshape(-1), kind="stable")
    return SumStage(
        arena.poolings[sites],
        line_length(sites.layer_shape) * words,
        n_steps,
        sites.line_length * words,
        places.reshape(-1)[order].astype(np.int64),
        np.concatenate([[0], np.cumsum(np.repeat(counts, words))]).astype(np.int64),
        sites.are_levels,
    )


@dataclass(frozen=True, eq=False)
class MaxPoolStage:
    """Spike masks to the spike masks of a SpikingMaxPool.

    Attributes:
        name: Of the node.
        layer: Whose spikes are pooled.
        shape: Of the result.
        layer_shape: Of the layer.
        n_steps: Steps of a block.
        first_word: Where its spikes begin in a memory's masks.
        members: As `pool_spikes` takes them, like the rest.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    layer_shape: tuple[int, ...]
    n_steps: int
    first_word: int
    members: Ints
    first_member: Ints

    def begin(self, memory: Memory) -> None:
        if self not in memory.arrays:
            masks = layer_masks(memory, self.first_word, self.shape, self.n_steps)
            memory.layers[self.name] = masks
            n_channels = WORD * n_words(self.shape[0])
            memory.arrays[self] = tuple(
                np.zeros((len(masks), split_shape(shape)[0], n_channels), np.int32)
                for shape in (self.layer_shape, self.shape)
            )
        for counts in memory.arrays[self]:
            counts[:] = 0

    def run(self, memory: Memory, n_steps: int) -> None:
        from ..kernels.pooling import pool_spikes, unite_spikes

        places = mask_places(self.layer_shape, self.n_steps)
        pooled_places = mask_places(self.shape, self.n_steps)
        for sample in range(memory.n_samples):
            masks = memory.layers[self.layer][sample]
            pooled = memory.layers[self.name][sample]
            n_words, n_pooled_words = (m.shape[2] * m.shape[3] for m in (masks, pooled))
            windows = (self.members, self.first_member)
            written = (pooled.reshape(-1), n_pooled_words, pooled_places, masks.shape[3])
            if memory.n_as_steps:  # of one step each, in which the largest count is one
                unite_spikes(masks.reshape(-1), n_words, places, n_steps, *windows, *written)
                continue
            counts, best = (array[sample] for array in memory.arrays[self])
            pool_spikes(
                masks.reshape(-1), n_words, places, n_steps, counts, *windows, best, *written
            )


def make_max_pool_stage(
    node: Node,
    layer: str,
    shape: tuple[int, ...],
    layer_shape: tuple[int, ...],
    arena: Arena,
) -> MaxPoolStage:
    """Return the stage for a SpikingMaxPool behind the spikes of a layer."""
    op = node.op
    if not isinstance(op, SpikingMaxPool):
        raise TypeError(f"{node}: expected SpikingMaxPool")
    taken = window_positions(op.window, layer_shape[1:]).T
    inside = taken >= 0
    first = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    return MaxPoolStage(
        node.name,
        layer,
        shape,
        layer_shape,
        arena.n_steps,
        arena.layers[node.name],
        taken[inside],
        first,
    )


@dataclass(frozen=True, eq=False)
class UnpackStage:
    """Spike masks to values 0 and 1."""

    name: str
    shape: tuple[int, ...]

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        masks = memory.layers[self.name][: memory.n_samples, :, :n_steps]
        bits = unpack(masks, split_shape(self.shape)[1]).astype(np.float32)
        memory.blocks[self.name] = channels_first(bits.reshape(-1, *bits.shape[2:]), self.shape)


@dataclass(frozen=True, eq=False)
class PackStage:
    """Values 0 and 1 to spike masks."""

    name: str
    shape: tuple[int, ...]
    n_steps: int
    first_word: int

    def begin(self, memory: Memory) -> None:
        if self.name not in memory.layers:
            masks = layer_masks(memory, self.first_word, self.shape, self.n_steps)
            memory.layers[self.name] = masks

    def run(self, memory: Memory, n_steps: int) -> None:
        n_positions, n_channels = split_shape(self.shape)
        shape = (memory.n_samples, n_steps, n_channels, n_positions)
        level_kernels().pack_values(
            np.ascontiguousarray(memory.blocks[self.name].reshape(shape), np.float32),
            memory.masks,
            self.first_word,
            line_length(self.shape),
            self.n_steps,
            n_words(n_channels),
        )


@dataclass(frozen=True, eq=False)
class ApplyStage:
    """The reference code of a node, for all steps of a block at once, or one by one if it must."""

    node: Node
    shapes: tuple[tuple[int, ...], ...]

    def begin(self, memory: Memory) -> None:
        if isinstance(self.node.op, StatefulOp):
            memory.arrays[self] = self.node.op.start((memory.n_samples, *self.shapes[0]))

    def run(self, memory: Memory, n_steps: int) -> None:
        operands = [
            memory.operand(name, n_steps, shape)
            for name, shape in zip(self.node.inputs, self.shapes, strict=True)
        ]
        op = self.node.op
        if not isinstance(op, StatefulOp):
            memory.blocks[self.node.name] = op.apply(*operands)
            return
        results = []
        values = operands[0].reshape(memory.n_samples, n_steps, *self.shapes[0])
        for step in range(n_steps):
            result, memory.arrays[self] = op.step(values[:, step], memory.arrays[self])
            results.append(result)
        found = np.stack(results, axis=1)
        memory.blocks[self.node.name] = found.reshape(-1, *found.shape[2:])


@dataclass(frozen=True, eq=False)
class TallyStage:
    """Spikes of a neuron that runs in the reference engine's code."""

    name: str
    op: Neuron

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        values = memory.blocks[self.name]
        memory.spikes[self.name] += self.op.count_spikes(values)
        active = values.reshape(memory.n_samples, n_steps, -1).any(axis=2)
        last = (memory.first_step + np.arange(1, n_steps + 1)) * active
        np.maximum(memory.last_spike, last.max(axis=1), out=memory.last_spike)
        if self.name in memory.counts:
            counts = memory.counts[self.name]
            sent = self.op.sent(values).reshape(memory.n_samples, n_steps, counts.shape[2], -1)
            counts += sent.sum(axis=1).astype(np.int64).swapaxes(1, 2)


@dataclass(frozen=True, eq=False)
class CountStage:
    """Synaptic operations of a node whose operand is there as values."""

    name: str
    operand: str
    fan_out: Array

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        active = (memory.blocks[self.operand] != 0).reshape(memory.n_samples * n_steps, -1)
        counted = active @ self.fan_out.reshape(-1).astype(np.float64)
        memory.count(self.name, counted.astype(np.int64))


@dataclass(frozen=True, eq=False)
class FixedCountStage:
    """Synaptic operations of a node none of whose operand's entries is ever zero.

    Attributes:
        name: Of the node.
        n_operations: At every step.
    """

    name: str
    n_operations: int

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        memory.count(self.name, np.full(memory.n_samples * n_steps, self.n_operations))
