"""Stages: what the event engine does for a block of steps of a sample, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array, Neuron, Node, SpikingMaxPool, StatefulOp
from .layouts import channels_first, make_masks, mask_places, unpack
from .memory import Memory
from .views import WORD, Ints, Sites, line_length, n_words, split_shape, window_positions


class Stage(Protocol):
    """One layer, or a part of it."""

    def begin(self, memory: Memory) -> None:
        """Get ready for a sample, whose constants are there."""

    def run(self, memory: Memory, n_steps: int) -> None:
        """Compute the next `n_steps` steps."""


@dataclass(frozen=True, eq=False)
class ListStage:
    """Spike masks to lists of events, and synaptic operations.

    Attributes:
        sites: What to list.
        first_offset: Place of the first offset.
        first_event: Place of the first event.
        consumers: Nodes with synapses.
        fan_outs: As `list_events` takes them, like the rest.
    """

    sites: Sites
    first_offset: int
    first_event: int
    n_steps: int
    consumers: tuple[str, ...]
    fan_outs: Ints
    sources: Ints
    first_source: Ints
    n_bytes: Ints
    numbers: npt.NDArray[np.uint16]

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        from ..kernels.events import BYTE_PLACES, list_events

        operations = np.zeros((len(self.consumers), n_steps), np.int64)
        masks = memory.masks[self.sites.layer]
        list_events(
            masks.reshape(-1),
            masks.shape[2] * masks.shape[3],
            self.sources,
            self.first_source,
            self.n_bytes,
            self.numbers,
            BYTE_PLACES,
            n_steps,
            self.n_steps,
            memory.data,
            self.first_event,
            memory.offsets[self.first_offset :],
            self.fan_outs,
            operations,
            np.empty(len(self.n_bytes), np.int64),
        )
        for name, counted in zip(self.consumers, operations, strict=True):
            memory.count(name, counted)


def make_list_stage(
    sites: Sites,
    first_offset: int,
    first_event: int,
    consumers: dict[str, Ints],
    n_steps: int,
) -> ListStage:
    """Return the stage for `sites`; consumers are connections per position, by node."""
    words = n_words(sites.n_channels)
    counts = np.diff(sites.first_source)
    length = line_length(sites.layer_shape)
    line, position = np.divmod(sites.sources, length)
    places = ((line * n_steps * length + position)[:, None] * words + np.arange(words)).T
    owners = np.repeat(np.arange(sites.n_positions), counts)
    # the lists of one position's words follow one another, each with the position's sources
    order = np.argsort((owners * words + np.arange(words)[:, None]).reshape(-1), kind="stable")
    first_channel = WORD * np.arange(words)
    n_bytes = np.minimum(8, -(-(sites.n_channels - first_channel) // 8))
    positions = np.arange(sites.line_length)[:, None]
    fan_outs = [np.repeat(fan_out, words) for fan_out in consumers.values()]
    return ListStage(
        sites,
        first_offset,
        first_event,
        n_steps,
        tuple(consumers),
        np.array(fan_outs, np.int64).reshape(len(consumers), sites.n_positions * words),
        places.reshape(-1)[order].astype(np.int64),
        np.concatenate([[0], np.cumsum(np.repeat(counts, words))]).astype(np.int64),
        np.tile(n_bytes, sites.line_length).astype(np.int64),
        (positions * sites.n_channels + first_channel).reshape(-1).astype(np.uint16),
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
        members: As `pool_spikes` takes them, like the rest.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    layer_shape: tuple[int, ...]
    n_steps: int
    members: Ints
    first_member: Ints

    def begin(self, memory: Memory) -> None:
        if self not in memory.arrays:
            memory.masks[self.name] = make_masks(self.shape, self.n_steps)
            n_channels = WORD * n_words(self.shape[0])
            memory.arrays[self] = tuple(
                np.zeros((split_shape(shape)[0], n_channels), np.int32)
                for shape in (self.layer_shape, self.shape)
            )
        for counts in memory.arrays[self]:
            counts[:] = 0

    def run(self, memory: Memory, n_steps: int) -> None:
        from ..kernels.pooling import pool_spikes

        masks, pooled = memory.masks[self.layer], memory.masks[self.name]
        counts, best = memory.arrays[self]
        pool_spikes(
            masks.reshape(-1),
            masks.shape[2] * masks.shape[3],
            mask_places(self.layer_shape, self.n_steps),
            n_steps,
            counts,
            self.members,
            self.first_member,
            best,
            pooled.reshape(-1),
            pooled.shape[2] * pooled.shape[3],
            mask_places(self.shape, self.n_steps),
            masks.shape[3],
        )


def make_max_pool_stage(
    node: Node,
    layer: str,
    shape: tuple[int, ...],
    layer_shape: tuple[int, ...],
    n_steps: int,
) -> MaxPoolStage:
    """Return the stage for a SpikingMaxPool behind the spikes of a layer."""
    op = node.op
    if not isinstance(op, SpikingMaxPool):
        raise TypeError(f"{node}: expected SpikingMaxPool")
    taken = window_positions(op.window, layer_shape[1:]).T
    inside = taken >= 0
    first = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    return MaxPoolStage(node.name, layer, shape, layer_shape, n_steps, taken[inside], first)


@dataclass(frozen=True, eq=False)
class UnpackStage:
    """Spike masks to values 0 and 1."""

    name: str
    shape: tuple[int, ...]

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        bits = unpack(memory.masks[self.name][:, :n_steps], split_shape(self.shape)[1])
        memory.blocks[self.name] = channels_first(bits.astype(np.float32), self.shape)


@dataclass(frozen=True, eq=False)
class PackStage:
    """Values 0 and 1 to spike masks."""

    name: str
    shape: tuple[int, ...]
    n_steps: int

    def begin(self, memory: Memory) -> None:
        if self.name not in memory.masks:
            memory.masks[self.name] = make_masks(self.shape, self.n_steps)

    def run(self, memory: Memory, n_steps: int) -> None:
        n_positions, n_channels = split_shape(self.shape)
        values = memory.blocks[self.name].reshape(n_steps, n_channels, n_positions)
        bits = np.packbits(values.transpose(2, 0, 1) != 0, axis=2, bitorder="little")
        masks = memory.masks[self.name]
        lines = bits.reshape(masks.shape[0], masks.shape[2], n_steps, -1).transpose(0, 2, 1, 3)
        masks.view(np.uint8)[:, :n_steps, :, : lines.shape[3]] = lines


@dataclass(frozen=True, eq=False)
class ApplyStage:
    """The reference code of a node, for all steps of a block at once, or one by one if it must."""

    node: Node
    shapes: tuple[tuple[int, ...], ...]

    def begin(self, memory: Memory) -> None:
        if isinstance(self.node.op, StatefulOp):
            memory.arrays[self] = self.node.op.start((1, *self.shapes[0]))

    def run(self, memory: Memory, n_steps: int) -> None:
        operands = [
            memory.blocks[name]
            if name in memory.blocks
            else np.broadcast_to(memory.constants[name], (n_steps, *shape))
            for name, shape in zip(self.node.inputs, self.shapes, strict=True)
        ]
        op = self.node.op
        if not isinstance(op, StatefulOp):
            memory.blocks[self.node.name] = op.apply(*operands)
            return
        results = []
        for step in range(n_steps):
            result, memory.arrays[self] = op.step(operands[0][step : step + 1], memory.arrays[self])
            results.append(result)
        memory.blocks[self.node.name] = np.concatenate(results)


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
        active = np.flatnonzero(values.reshape(n_steps, -1).any(axis=1))
        if len(active):
            last = memory.first_step + int(active[-1]) + 1
            memory.last_spike = max(memory.last_spike, last)
        if self.name in memory.counts:
            counts = memory.counts[self.name]
            counts += values.sum(axis=0).astype(np.int64).reshape(counts.T.shape).T


@dataclass(frozen=True, eq=False)
class CountStage:
    """Synaptic operations of a node whose operand is there as values."""

    name: str
    operand: str
    fan_out: Array

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        active = (memory.blocks[self.operand] != 0).reshape(n_steps, -1)
        counted = active @ self.fan_out.reshape(-1).astype(np.float64)
        memory.count(self.name, counted.astype(np.int64))
