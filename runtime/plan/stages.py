"""Stages: what the event engine does for a block of steps of a sample, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array, IntegrateFire, Node, Reset, StatefulOp
from .constants import ConstantConv
from .gather import Gather, aligned
from .memory import Memory
from .views import WORD, Ints, Sites, line_length, n_words, split_shape


class Stage(Protocol):
    """One layer, or a part of it."""

    def begin(self, memory: Memory) -> None:
        """Get ready for a sample, whose constants are there."""

    def run(self, memory: Memory, n_steps: int) -> None:
        """Compute the next `n_steps` steps."""


@dataclass(frozen=True, eq=False)
class Bias:
    """The part of a layer's current that does not come from events.

    Attributes:
        static: [positions or 1, channels], filled up to whole blocks of channels.
        convs: Convolutions of what is the same at every step.
        constants: Other nodes whose value for the sample is added.
        blocks: Nodes whose values for every step are added.
        n_positions: Of the layer.
    """

    static: Array
    convs: tuple[ConstantConv, ...]
    constants: tuple[str, ...]
    blocks: tuple[str, ...]
    n_positions: int

    def begin(self, memory: Memory, n_steps: int) -> None:
        """Add up what is the same at every step of the sample."""
        if not (self.convs or self.constants or self.blocks):
            memory.arrays[self] = self.static.reshape(-1)
            return
        n_channels = self.static.shape[1]
        if self not in memory.arrays:
            memory.arrays[self] = aligned((self.n_positions, n_channels), np.float32).reshape(-1)
            if self.blocks:
                shape = (n_steps, self.n_positions, n_channels)
                memory.arrays[self, "blocks"] = aligned(shape, np.float32)
        total = memory.arrays[self].reshape(self.n_positions, n_channels)
        total[:] = self.static
        values = [conv.compute(memory.constants) for conv in self.convs]
        values += [_channels_last(memory.constants[name]) for name in self.constants]
        for value in values:
            total[:, : value.shape[1]] += value

    def current(self, memory: Memory) -> tuple[Array, int, int]:
        """Return the current, and its entries from one position and one step to the next."""
        same: Array = memory.arrays[self]
        n_channels = self.static.shape[1]
        stride = n_channels if len(same) > n_channels else 0
        if not self.blocks:
            return same, stride, 0
        total: Array = memory.arrays[self, "blocks"]
        for number, name in enumerate(self.blocks):
            value = memory.blocks[name]
            n_steps = len(value)
            flat = value.reshape(n_steps, -1, self.n_positions).transpose(0, 2, 1)
            if number == 0:
                total[:n_steps] = same.reshape(-1, n_channels)
            total[:n_steps, :, : flat.shape[2]] += flat
        return total.reshape(-1), n_channels, self.n_positions * n_channels


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
class FireStage:
    """Currents to spikes: all neurons of a node."""

    node: Node
    shape: tuple[int, ...]
    gather: Gather
    bias: Bias
    threshold: Array
    initial: Array
    to_zero: bool
    n_steps: int

    def begin(self, memory: Memory) -> None:
        n_positions, _ = split_shape(self.shape)
        n_channels = self.gather.n_channels
        if self not in memory.arrays:
            memory.arrays[self] = aligned((n_positions, n_channels), np.float32)
            memory.masks[self.node.name] = _make_masks(self.shape, self.n_steps)
        memory.arrays[self][:] = self.initial
        self.bias.begin(memory, self.n_steps)

    def run(self, memory: Memory, n_steps: int) -> None:
        from ..kernels.events import fire, fire_constant

        gather, masks = self.gather, memory.masks[self.node.name]
        current, position_stride, step_stride = self.bias.current(memory)
        neurons = (
            memory.arrays[self].reshape(-1),
            self.threshold.reshape(-1),
            self.threshold.shape[1] if len(self.threshold) > 1 else 0,
            self.to_zero,
            masks.reshape(-1).view(np.uint8),
            masks.shape[1],
            masks.shape[3],
            masks.shape[2],
        )
        if not len(gather.taps) and not step_stride:
            n_fired = fire_constant(
                gather.tap_starts.shape[1] - 1,
                current,
                position_stride,
                n_steps,
                *neurons,
                gather.rows,
                memory.index,
                gather.lanes,
            )
        else:
            n_fired = fire(
                gather.chunks,
                gather.tap_starts,
                gather.taps,
                memory.data,
                memory.offsets,
                gather.rows,
                gather.block_size,
                current,
                position_stride,
                step_stride,
                n_steps,
                memory.index,
                memory.starts,
                *neurons,
                gather.lanes,
            )
        memory.spikes[self.node.name] += n_fired
        if self.node.name in memory.counts:
            bits = _unpack(masks[:, :n_steps], split_shape(self.shape)[1])
            memory.counts[self.node.name] += bits.sum(axis=0, dtype=np.int64)


def make_fire_stage(
    node: Node, shape: tuple[int, ...], gather: Gather, bias: Bias, n_steps: int
) -> FireStage:
    """Return the stage for an IntegrateFire node; channels that only fill up never fire."""
    op = node.op
    if not isinstance(op, IntegrateFire):
        raise TypeError(f"{node}: expected IntegrateFire")
    threshold = fill_up(by_position(op.threshold, shape), gather.n_channels, np.float32(np.inf))
    initial = fill_up(by_position(op.initial_potential, shape), gather.n_channels, np.float32(0))
    to_zero = op.reset is Reset.ZERO
    return FireStage(node, shape, gather, bias, threshold, initial, to_zero, n_steps)


@dataclass(frozen=True, eq=False)
class CurrentStage:
    """Events to the values of a node without neurons."""

    name: str
    shape: tuple[int, ...]
    gather: Gather
    bias: Bias
    n_steps: int

    def begin(self, memory: Memory) -> None:
        n_positions, _ = split_shape(self.shape)
        if self not in memory.arrays:
            shape = (self.n_steps, n_positions * self.gather.n_channels)
            memory.arrays[self] = aligned(shape, np.float32)
        self.bias.begin(memory, self.n_steps)

    def run(self, memory: Memory, n_steps: int) -> None:
        from ..kernels.events import add_currents

        gather, out = self.gather, memory.arrays[self]
        current, position_stride, step_stride = self.bias.current(memory)
        add_currents(
            gather.chunks,
            gather.tap_starts,
            gather.taps,
            memory.data,
            memory.offsets,
            gather.rows,
            gather.block_size,
            current,
            position_stride,
            step_stride,
            n_steps,
            memory.index,
            memory.starts,
            out,
            gather.lanes,
        )
        n_positions, n_channels = split_shape(self.shape)
        values = out[:n_steps].reshape(n_steps, n_positions, -1)[:, :, :n_channels]
        memory.blocks[self.name] = _channels_first(values, self.shape)


@dataclass(frozen=True, eq=False)
class UnpackStage:
    """Spike masks to values 0 and 1."""

    name: str
    shape: tuple[int, ...]

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        bits = _unpack(memory.masks[self.name][:, :n_steps], split_shape(self.shape)[1])
        memory.blocks[self.name] = _channels_first(bits.astype(np.float32), self.shape)


@dataclass(frozen=True, eq=False)
class PackStage:
    """Values 0 and 1 to spike masks."""

    name: str
    shape: tuple[int, ...]
    n_steps: int

    def begin(self, memory: Memory) -> None:
        if self.name not in memory.masks:
            memory.masks[self.name] = _make_masks(self.shape, self.n_steps)

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


def by_position(values: Array, shape: tuple[int, ...]) -> Array:
    """Return values that broadcast to a sample as [positions or 1, channels]."""
    n_positions, n_channels = split_shape(shape)
    if all(size == 1 for size in values.shape[1:]):
        return np.broadcast_to(values.reshape(1, -1), (1, n_channels))
    return np.broadcast_to(values, shape).reshape(n_channels, n_positions).T


def fill_up(values: Array, n_channels: int, filler: np.float32) -> Array:
    """Return [positions, channels] with more channels, at the start of a cache line."""
    result = aligned((len(values), n_channels), np.float32)
    result[:] = filler
    result[:, : values.shape[1]] = values
    return result


def _channels_last(value: Array) -> Array:
    """Return a sample [1, C, ...] as [positions, C]."""
    n_positions, n_channels = split_shape(value.shape[1:])
    return value.reshape(n_channels, n_positions).T


def _channels_first(values: Array, shape: tuple[int, ...]) -> Array:
    """Return [steps, positions, channels] as [steps, *shape]."""
    return np.ascontiguousarray(values.transpose(0, 2, 1)).reshape(len(values), *shape)


def _make_masks(shape: tuple[int, ...], n_steps: int) -> npt.NDArray[np.uint64]:
    """Return no spikes, [lines, steps, positions of a line, words]."""
    n_positions, n_channels = split_shape(shape)
    length = line_length(shape)
    return np.zeros((n_positions // length, n_steps, length, n_words(n_channels)), np.uint64)


def _unpack(masks: npt.NDArray[np.uint64], n_channels: int) -> npt.NDArray[np.uint8]:
    """Return masks as bits [steps, positions, channels]."""
    bytes_ = np.ascontiguousarray(masks.transpose(1, 0, 2, 3)).view(np.uint8)
    bits = np.unpackbits(bytes_, axis=3, count=n_channels, bitorder="little")
    return bits.reshape(len(bits), -1, n_channels)
