"""Neurons beside IntegrateFire: what they send as bits, or as levels of bits.

A level is a byte, how many of its smallest spikes a neuron sends in a step; where some are
negative, in two's complement. Levels of pooled positions add up as bytes do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...converter.ir import (
    Array,
    BinaryWeighted,
    Burst,
    DifferentialFire,
    FirstSpikeFire,
    LeakyFire,
    Neuron,
    Node,
    Reset,
    SignedFire,
)
from ...converter.ir.differential import FIRES_AT
from .gather import Gather
from .late import level_kernels, stepped_kernels
from .layers import Bias, add_currents
from .layouts import aligned, by_position, channels_first, channels_last, fill_up, layer_masks
from .memory import Arena, Memory
from .views import (
    MAX_SIGNED,
    WORD,
    Part,
    View,
    as_levels,
    line_length,
    n_words,
    split_shape,
    view_layer,
)

SIGNED = (SignedFire, DifferentialFire)


@dataclass(frozen=True)
class Levels:
    """What a neuron can send in a step.

    Attributes:
        most: Magnitude of the largest level.
        divisor: Levels that make 1.
    """

    most: int
    divisor: int = 1


def levels_of(op: Neuron) -> Levels | None:
    """Return what a neuron sends where it is a number of levels, in a byte."""
    found = None
    if isinstance(op, Burst):
        found = Levels(op.n_levels)
    elif isinstance(op, BinaryWeighted):
        found = Levels(2**op.n_bits - 1)
    elif isinstance(op, SignedFire):
        found = Levels(1)
    elif isinstance(op, FirstSpikeFire):
        found = Levels(op.n_steps)
    elif isinstance(op, DifferentialFire):
        top = 2 ** (op.n_thresholds - 1)
        found = Levels(top, top)
    return found


def _stepper(op: Neuron, fill: Callable[[Array], Array]) -> tuple[str, tuple[Any, ...]]:
    """Return the name of a neuron's kernel and what it takes beside currents and states."""
    one = np.float32
    match op:
        case LeakyFire():
            rests = (one(op.refractory), one(op.relative), one(op.decay))
            return "leaky_steps", (one(1 - op.leak), *rests, op.reset is Reset.ZERO)
        case Burst():
            return "burst_steps", (one(op.n_levels),)
        case BinaryWeighted():
            return "binary_steps", (op.n_bits,)
        case SignedFire():
            return "signed_steps", (one(op.n_levels),)
        case FirstSpikeFire():
            return "first_spike_steps", (op.first_step, op.n_steps)
        case DifferentialFire():
            none = np.full_like(op.threshold, np.inf)
            limits = fill(none if op.limit is None else op.limit)
            return "differential_steps", (limits, op.n_thresholds, FIRES_AT)
    raise TypeError(f"{type(op).__name__}: has no kernel")


@dataclass(frozen=True, eq=False)
class SteppedStage:
    """Currents to spikes or levels: all neurons of a node.

    Attributes:
        node: Whose neurons.
        op: Of the node.
        shape: Of a sample.
        gather: What of the current comes from events.
        bias: What does not.
        threshold: Of every neuron, flat, channels last, filled up; of the fillers 1.
        kernel: Name in kernels/stepped.py.
        parameters: It takes last.
        n_steps: Steps of a block.
        first_word: Where its spikes begin, in a memory's masks or, with levels, unions.
        levels: None if all it sends is 0 and 1.
    """

    node: Node
    op: Neuron
    shape: tuple[int, ...]
    gather: Gather
    bias: Bias
    threshold: Array
    kernel: str
    parameters: tuple[Any, ...]
    n_steps: int
    first_word: int
    levels: Levels | None

    def begin(self, memory: Memory) -> None:
        n_positions, n_channels = split_shape(self.shape)
        states = channels_last(self.op.start((1, *self.shape)).reshape(-1, *self.shape))
        if self not in memory.arrays:
            n_most, shape = len(memory.masks), (n_positions, self.gather.n_channels)
            memory.arrays[self] = aligned((n_most, len(states), *shape), np.float32)
            memory.arrays[self, "currents"] = aligned((n_most, self.n_steps, *shape), np.float32)
            memory.arrays[self, "sent"] = aligned((n_most, self.n_steps, *shape), np.uint8)
            memory.arrays[self, "active"] = np.zeros((n_most, self.n_steps), np.int64)
            if self.levels is None:
                masks = layer_masks(memory, self.first_word, self.shape, self.n_steps)
                memory.layers[self.node.name] = masks
        now = memory.arrays[self][: memory.n_samples]
        now[:] = 0
        now[..., :n_channels] = states
        self.bias.begin(memory, self.n_steps)

    def run(self, memory: Memory, n_steps: int) -> None:
        currents = memory.arrays[self, "currents"]
        currents[: memory.n_samples, :n_steps] = self.bias.current(memory, n_steps, self.n_steps)
        if len(self.gather.taps):
            add_currents(self.gather, memory, n_steps, currents, line_length(self.shape))
        step, pack = getattr(stepped_kernels(), self.kernel), level_kernels().pack_bytes
        words = memory.masks if self.levels is None else memory.unions
        layout = (self.first_word, line_length(self.shape), self.n_steps)
        for sample in range(memory.n_samples):
            states = memory.arrays[self][sample]
            sent = memory.arrays[self, "sent"][sample, :n_steps]
            step(
                currents[sample, :n_steps].reshape(n_steps, -1),
                states.reshape(len(states), -1),
                self.threshold,
                sent.reshape(n_steps, -1),
                *self.parameters,
            )
            pack(
                sent,
                words[sample],
                *layout,
                n_words(split_shape(self.shape)[1]),
                memory.source_levels[sample],
                memory.arrays[self, "active"][sample, :n_steps],
                self.gather.lanes,
                (0,) * (self.levels is not None),
            )
        self._tally(memory, n_steps)

    def _tally(self, memory: Memory, n_steps: int) -> None:
        name = self.node.name
        active = memory.arrays[self, "active"][: memory.n_samples, :n_steps]
        sent = memory.arrays[self, "sent"][: memory.n_samples, :n_steps]
        n_active = n_spikes = int(active.sum())
        if isinstance(self.op, Burst):
            n_spikes = sum(level_kernels().add_bytes(each.reshape(-1)) for each in sent)
        elif isinstance(self.op, BinaryWeighted):
            words = (each.reshape(-1).view(np.uint64) for each in sent)
            n_spikes = sum(level_kernels().add_bits(each) for each in words)
        memory.spikes[name] += n_spikes
        memory.rates[name] = n_active / (math.prod(self.shape) * active.size)
        last = (memory.first_step + np.arange(1, n_steps + 1)) * (active > 0)
        np.maximum(memory.last_spike, last.max(axis=1), out=memory.last_spike)
        if name in memory.counts:
            found = sent[..., : split_shape(self.shape)[1]]
            values: Any = found.view(np.int8) if isinstance(self.op, SIGNED) else found
            memory.counts[name] += self.op.sent(values).sum(axis=1, dtype=np.int64)


def make_stepped_stage(
    node: Node, shape: tuple[int, ...], gather: Gather, bias: Bias, arena: Arena, first_word: int
) -> SteppedStage:
    """Return the stage of a node with neurons of `levels_of`, or of LeakyFire."""
    op = node.op
    if not isinstance(op, Neuron):
        raise TypeError(f"{node}: expected neurons")
    n_positions, _ = split_shape(shape)

    def fill(values: Array) -> Array:
        filled = fill_up(by_position(values, shape), gather.n_channels, np.float32(1))
        return np.broadcast_to(filled, (n_positions, gather.n_channels)).reshape(-1).copy()

    kernel, parameters = _stepper(op, fill)
    return SteppedStage(
        node, op, shape, gather, bias, fill(op.threshold), kernel, parameters,
        arena.n_steps, first_word, levels_of(op),
    )  # fmt: skip


def view_levels(name: str, shape: tuple[int, ...], levels: Levels) -> View:
    """Return the levels of a layer as they are."""
    return as_levels(view_layer(name, shape), levels.most, levels.divisor)


def make_unpack_levels_stage(
    name: str, shape: tuple[int, ...], part: Part, arena: Arena
) -> UnpackLevelsStage:
    """Return the stage that gives the levels of a node, the part of its view, as values."""
    first, is_signed = arena.levels[name], arena.max_level == MAX_SIGNED
    return UnpackLevelsStage(name, shape, part.divisor, first, arena.n_steps, is_signed)


@dataclass(frozen=True, eq=False)
class UnpackLevelsStage:
    """Levels to values.

    Attributes:
        name: Of the node.
        shape: Of a sample.
        divisor: Levels that make 1.
        first_word: Of the node, in a memory's unions.
        n_steps: Steps of a block.
        is_signed: Levels are in two's complement.
    """

    name: str
    shape: tuple[int, ...]
    divisor: int
    first_word: int
    n_steps: int
    is_signed: bool

    def begin(self, memory: Memory) -> None:
        pass

    def run(self, memory: Memory, n_steps: int) -> None:
        n_positions, n_channels = split_shape(self.shape)
        length, words = line_length(self.shape), n_words(n_channels)
        first, size = WORD * self.first_word, WORD * n_positions * self.n_steps * words
        levels = memory.source_levels[: memory.n_samples, first : first + size]
        shape = (memory.n_samples, n_positions // length, self.n_steps, length, words * WORD)
        lines = levels.reshape(shape)[:, :, :n_steps, :, :n_channels]
        by_step = lines.swapaxes(1, 2).reshape(-1, n_positions, n_channels)
        values = by_step.view(np.int8) if self.is_signed else by_step
        found = values.astype(np.float32) / np.float32(self.divisor)
        memory.blocks[self.name] = channels_first(found, self.shape)
