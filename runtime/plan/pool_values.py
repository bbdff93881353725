"""Max-pooling over time of values that are no spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...converter.ir import Node, SpikingMaxPool
from .memory import Memory
from .views import Ints, split_shape, window_positions


@dataclass(frozen=True, eq=False)
class PoolValuesStage:
    """Values to the values of a SpikingMaxPool.

    Attributes:
        name: Of the node.
        operand: Node whose values are pooled.
        shape: Of the result.
        operand_shape: Of the operand.
        members: As `pool_values` takes them, like the next.
        first_member: See members.
    """

    name: str
    operand: str
    shape: tuple[int, ...]
    operand_shape: tuple[int, ...]
    members: Ints
    first_member: Ints

    def begin(self, memory: Memory) -> None:
        if self not in memory.arrays:
            memory.arrays[self] = tuple(
                np.zeros((len(memory.masks), *split_shape(shape)[::-1]), np.float32)
                for shape in (self.operand_shape, self.shape)
            )
        for array in memory.arrays[self]:
            array[:] = 0

    def run(self, memory: Memory, n_steps: int) -> None:
        from ..kernels.pooling import pool_values

        values = memory.operand(self.operand, n_steps, self.operand_shape)
        n_windows, n_channels = split_shape(self.shape)
        shape = (memory.n_samples, n_steps, n_channels)
        out = np.empty((*shape, n_windows), np.float32)
        pool_values(
            np.ascontiguousarray(values, np.float32).reshape(*shape, -1),
            *memory.arrays[self],
            self.members,
            self.first_member,
            out,
        )
        memory.blocks[self.name] = out.reshape(-1, *self.shape)


def make_pool_values_stage(
    node: Node, shape: tuple[int, ...], operand_shape: tuple[int, ...]
) -> PoolValuesStage:
    """Return the stage for a SpikingMaxPool of what is there as values."""
    op = node.op
    if not isinstance(op, SpikingMaxPool):
        raise TypeError(f"{node}: expected SpikingMaxPool")
    taken = window_positions(op.window, operand_shape[1:]).T
    inside = taken >= 0
    first = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    return PoolValuesStage(node.name, node.inputs[0], shape, operand_shape, taken[inside], first)
