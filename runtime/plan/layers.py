"""Stages that work out currents: layers of neurons, and layers without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...converter.ir import Array, IntegrateFire, Node, Reset
from .constants import ConstantConv
from .gather import Gather, aligned
from .layouts import by_position, channels_first, channels_last, fill_up, make_masks, unpack
from .memory import Memory
from .views import split_shape


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
        values += [channels_last(memory.constants[name]) for name in self.constants]
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
            memory.masks[self.node.name] = make_masks(self.shape, self.n_steps)
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
            bits = unpack(masks[:, :n_steps], split_shape(self.shape)[1])
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
        memory.blocks[self.name] = channels_first(values, self.shape)
