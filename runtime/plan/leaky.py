"""The stage of neurons that forget and rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...converter.ir import Array, LeakyFire, Node, Reset
from .memory import Memory


@dataclass(frozen=True, eq=False)
class LeakyStage:
    """Currents to spikes, both as values, [steps, ...].

    Attributes:
        node: Whose neurons.
        op: Of the node.
        shape: Of a sample.
        threshold: Of every neuron, flat.
    """

    node: Node
    op: LeakyFire
    shape: tuple[int, ...]
    threshold: Array

    def begin(self, memory: Memory) -> None:
        memory.arrays[self] = self.op.start((memory.n_samples, *self.shape))

    def run(self, memory: Memory, n_steps: int) -> None:
        from ..kernels.leaky import leaky_steps

        op, (name,) = self.op, self.node.inputs
        found = memory.operand(name, n_steps, self.shape)
        currents = np.ascontiguousarray(found).reshape(memory.n_samples, n_steps, -1)
        spikes = np.empty(currents.shape, np.float32)
        state = memory.arrays[self].reshape(3, memory.n_samples, -1)
        for sample in range(memory.n_samples):
            leaky_steps(
                currents[sample], *state[:, sample], self.threshold,
                np.float32(1 - op.leak), np.float32(op.refractory), np.float32(op.relative),
                np.float32(op.decay), op.reset is Reset.ZERO, spikes[sample],
            )  # fmt: skip
        memory.blocks[self.node.name] = spikes.reshape(-1, *self.shape)


def make_leaky_stage(node: Node, shape: tuple[int, ...]) -> LeakyStage:
    """Return the stage of a LeakyFire node."""
    op = node.op
    if not isinstance(op, LeakyFire):
        raise TypeError(f"{node}: expected LeakyFire")
    threshold = np.broadcast_to(op.threshold, shape).reshape(-1).copy()
    return LeakyStage(node, op, shape, threshold)
