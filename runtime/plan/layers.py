"""Stages that work out currents: layers of neurons, and layers without."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...converter.ir import Array, IntegrateFire, Node, Reset
from .bits import Bits
from .constants import ConstantConv
from .gather import Gather
from .late import bit_kernels, dense_kernels, kernels
from .layouts import (
    aligned,
    by_position,
    channels_first,
    channels_last,
    fill_up,
    layer_masks,
    unpack,
)
from .memory import Memory
from .views import line_length, split_shape


@dataclass(frozen=True, eq=False)
class Bias:
    """The part of a layer's current that does not come from events.

    Attributes:
        static: [positions or 1, channels], filled up to whole blocks of channels.
        convs: Convolutions of what is the same at every step.
        constants: Other nodes whose value for the sample is added.
        blocks: Nodes whose values for every step are added.
        moving: Convolutions of such nodes.
        n_positions: Of the layer.
    """

    static: Array
    convs: tuple[ConstantConv, ...]
    constants: tuple[str, ...]
    blocks: tuple[str, ...]
    moving: tuple[ConstantConv, ...]
    n_positions: int

    def begin(self, memory: Memory, n_steps: int) -> None:
        """Add up what is the same at every step of each sample."""
        if not (self.convs or self.constants):
            memory.arrays[self] = self.static[None, None]
            return
        key = (self, "as steps" if memory.n_as_steps else "samples")
        if key not in memory.arrays:
            n_most = n_steps if memory.n_as_steps else len(memory.masks)
            shape = (n_most, self.n_positions, self.static.shape[1])
            memory.arrays[key] = aligned(shape, np.float32)
        total = memory.arrays[key][: memory.n_as_steps or memory.n_samples]
        total[:] = self.static
        for conv in self.convs:
            conv.add_to(total, memory.constants)
        for name in self.constants:
            value = channels_last(memory.constants[name])
            total[:, :, : value.shape[2]] += value
        memory.arrays[self] = total[None] if memory.n_as_steps else total[:, None]

    def current(self, memory: Memory, n_steps: int, n_stored: int) -> Array:
        """Return the current as what broadcasts to [samples, steps, positions, channels].

        Args:
            memory: After `begin`.
            n_steps: Steps to do.
            n_stored: Steps of a block.
        """
        same: Array = memory.arrays[self]
        if not self.blocks and not self.moving:
            return same
        key = (self, "blocks")
        if key not in memory.arrays:
            shape = (len(memory.masks), n_stored, self.n_positions, self.static.shape[1])
            memory.arrays[key] = aligned(shape, np.float32)
        total: Array = memory.arrays[key][: memory.n_samples, :n_steps]
        total[:] = same
        for name in self.blocks:
            values = memory.blocks[name].reshape(memory.n_samples, n_steps, -1, self.n_positions)
            total[..., : values.shape[2]] += values.swapaxes(2, 3)
        for conv in self.moving:
            by_sample = memory.blocks[conv.operand].reshape(memory.n_samples, n_steps, -1)
            for steps, now in zip(by_sample, total, strict=True):
                conv.add_to(now, {conv.operand: steps})
        return total


def _flat(current: Array) -> tuple[Array, int, int, int]:
    """Return all entries in a row, and how many it is to the next position, step and sample."""
    strides = [
        stride // current.itemsize if size > 1 else 0
        for stride, size in zip(current.strides, current.shape, strict=True)
    ]
    n_entries = 1 + sum((n - 1) * stride for n, stride in zip(current.shape, strides, strict=True))
    flat = np.lib.stride_tricks.as_strided(current, (n_entries,), (current.itemsize,))
    return flat, strides[2], strides[1], strides[0]


def add_currents(
    gather: Gather, memory: Memory, n_steps: int, out: Array, line_length: int
) -> None:
    """Add what comes from events to out [samples, steps, positions, channels]."""
    kernels().add_currents(
        *_events(gather, memory), memory.n_samples, n_steps, *_scratch(gather, memory), out,
        line_length, gather.lanes, gather.reach, gather.counted,
    )  # fmt: skip


def _events(gather: Gather, memory: Memory, *, with_table: bool = True) -> tuple[object, ...]:
    tables = (kernels().BYTE_PLACES,) if with_table else ()
    return (
        memory.unions if gather.counted else memory.masks,
        memory.source_levels,
        gather.taps,
        gather.tap_starts,
        gather.lines,
        gather.sets,
        *tables,
        gather.values,
    )


def _scratch(gather: Gather, memory: Memory) -> tuple[object, ...]:
    room = memory.room
    return (memory.ids, memory.levels, memory.offsets, room, gather.rows, gather.block_size)


@dataclass(frozen=True, eq=False)
class FireStage:
    """Currents to spikes: all neurons of a node.

    Attributes:
        node: Whose neurons.
        shape: Of a sample.
        gather: What comes from events.
        bias: What does not.
        threshold: [positions or 1, channels].
        initial: Likewise.
        to_zero: Reset to zero.
        n_steps: Steps of a block.
        first_word: Where its spikes begin in a memory's masks.
    """

    node: Node
    shape: tuple[int, ...]
    gather: Gather | Bits
    bias: Bias
    threshold: Array
    initial: Array
    to_zero: bool
    n_steps: int
    first_word: int

    def begin(self, memory: Memory) -> None:
        n_positions, _ = split_shape(self.shape)
        n_channels = self.gather.n_channels
        if self not in memory.arrays:
            masks = layer_masks(memory, self.first_word, self.shape, self.n_steps)
            memory.layers[self.node.name] = masks
            shape = (len(masks), n_positions, n_channels)
            memory.arrays[self] = aligned(shape, np.float32)
            if self.gather.is_split:
                size = (len(masks), self.n_steps, n_positions, n_channels)
                memory.arrays[self, "currents"] = aligned(size, np.float32)
        memory.arrays[self][: memory.n_samples] = self.initial
        self.bias.begin(memory, self.n_steps)

    def run(self, memory: Memory, n_steps: int) -> None:
        gather, masks = self.gather, memory.layers[self.node.name]
        n_samples = memory.n_samples
        current = self.bias.current(memory, n_steps, self.n_steps)
        if isinstance(gather, Gather) and gather.is_split:
            out = memory.arrays[self, "currents"]
            out[:n_samples, :n_steps] = current
            add_currents(gather, memory, n_steps, out, masks.shape[3])
            current = out[:n_samples, :n_steps]
        is_uniform = current.shape[2] == len(self.threshold) == 1
        neurons = (
            *_flat(current),
            memory.arrays[self],
            self.threshold.reshape(-1),
            gather.n_channels if len(self.threshold) > 1 else 0,
            memory.out,
            8 * self.first_word,
            masks.shape[3],
            masks.shape[2],
            masks.shape[4],
            (0,) * 2 if memory.n_as_steps else (0,) * self.to_zero,
        )
        if isinstance(gather, Bits):
            n_fired = bit_kernels().fire_bits(
                memory.masks, gather.step_words, gather.taps, gather.tap_starts, gather.n_words,
                n_samples, n_steps, memory.patches, gather.weights, gather.scale, *neurons,
                gather.lanes, gather.planes,
            )  # fmt: skip
        elif gather.is_split or not len(gather.taps):
            n_fired = kernels().fire_given(n_samples, n_steps, *neurons, gather.lanes)
        elif gather.together and gather.density(memory.rates) > gather.crossover:
            n_fired = dense_kernels().fire_dense(
                *_events(gather, memory, with_table=False), n_samples, n_steps, memory.spread,
                gather.n_rows, gather.rows, gather.block_size, *neurons,
                gather.together, gather.lanes, gather.reach, gather.counted,
            )  # fmt: skip
        else:
            n_fired = kernels().fire(
                *_events(gather, memory), n_samples, n_steps, *_scratch(gather, memory), *neurons,
                (0,) * is_uniform, gather.lanes, gather.reach, gather.counted,
            )  # fmt: skip
        memory.spikes[self.node.name] += n_fired
        memory.rates[self.node.name] = n_fired / (math.prod(self.shape) * n_samples * n_steps)
        if self.node.name in memory.counts:
            bits = unpack(masks[:n_samples, :, :n_steps], split_shape(self.shape)[1])
            memory.counts[self.node.name] += bits.sum(axis=1, dtype=np.int64)


def make_fire_stage(
    node: Node,
    shape: tuple[int, ...],
    gather: Gather | Bits,
    bias: Bias,
    n_steps: int,
    first_word: int,
) -> FireStage:
    """Return the stage for an IntegrateFire node; channels that only fill up never fire."""
    op = node.op
    if not isinstance(op, IntegrateFire):
        raise TypeError(f"{node}: expected IntegrateFire")
    threshold = fill_up(by_position(op.threshold, shape), gather.n_channels, np.float32(np.inf))
    initial = fill_up(by_position(op.initial_potential, shape), gather.n_channels, np.float32(0))
    to_zero = op.reset is Reset.ZERO
    return FireStage(node, shape, gather, bias, threshold, initial, to_zero, n_steps, first_word)


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
            shape = (len(memory.masks), self.n_steps, n_positions, self.gather.n_channels)
            memory.arrays[self] = aligned(shape, np.float32)
        self.bias.begin(memory, self.n_steps)

    def run(self, memory: Memory, n_steps: int) -> None:
        out = memory.arrays[self]
        now = out[: memory.n_samples, :n_steps]
        now[:] = self.bias.current(memory, n_steps, self.n_steps)
        if len(self.gather.taps):
            add_currents(self.gather, memory, n_steps, out, line_length(self.shape))
        n_positions, n_channels = split_shape(self.shape)
        found = now[..., :n_channels].reshape(-1, n_positions, n_channels)
        memory.blocks[self.name] = channels_first(found, self.shape)
