"""What one thread needs to simulate a few samples: spikes, lists of events and potentials."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from .constants import Constants
from .views import MAX_LEVEL, WORD, Ints, Sites, n_words, split_shape

SLACK = 64
"""Entries behind the last event, and behind the last level, that kernels may overwrite."""
MAX_STEPS = 32
MAX_SPIKES = 2**28
"""Neurons times steps of a block."""
MAX_SAMPLES = 8
"""Samples side by side."""
SIDE_BY_SIDE_BYTES = 2**23
"""Of spikes, that samples side by side may take; if one takes more, it is alone."""
VALUE_BYTES = 2**26
"""Likewise of currents and other values of a block of steps."""


@dataclass(eq=False)
class Arena:
    """Where the spikes of all layers and poolings lie; grows while a plan is made.

    Attributes:
        n_steps: Steps of a block.
        layers: Place of the first word, by node.
        poolings: Likewise, by sites, of sums and of levels; among other words.
        levels: Likewise, by node that sends levels.
        max_level: Of sums of spikes or levels, in magnitude; MAX_SIGNED if some are negative.
        n_layer_words: Of all layers.
        n_pooling_words: Of all poolings.
        n_ids: The most events of a line of outputs in one step.
        n_offsets: The most columns of a line, in all steps.
        n_patch_words: The most words that a neuron whose weights are bits sees, in all steps.
        n_spread: The most rows of weights of a line's columns, for the steps done at a time.
        n_value_bytes: Of a sample's currents and other values of all steps, about.
    """

    n_steps: int
    layers: dict[str, int] = field(default_factory=dict)
    poolings: dict[Sites, int] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    max_level: int = MAX_LEVEL
    n_layer_words: int = 0
    n_pooling_words: int = 0
    n_ids: int = 0
    n_offsets: int = 0
    n_patch_words: int = 0
    n_spread: int = 0
    n_value_bytes: int = 0

    def add_values(self, shape: tuple[int, ...], n_bytes: int) -> None:
        """Note that a stage keeps so many bytes per step and entry."""
        self.n_value_bytes += n_bytes * math.prod(shape) * self.n_steps

    def add_layer(self, name: str, shape: tuple[int, ...]) -> None:
        """Make room for the spikes of a node."""
        n_positions, n_channels = split_shape(shape)
        self.layers[name] = self.n_layer_words
        self.n_layer_words += n_positions * n_words(n_channels) * self.n_steps

    def add_pooling(self, sites: Sites) -> None:
        """Make room for sums of spikes."""
        self.poolings[sites] = self.n_pooling_words
        self.n_pooling_words += sites.n_positions * n_words(sites.n_channels) * self.n_steps

    def add_levels(self, sites: Sites) -> None:
        """Make room for the levels of a node."""
        self.levels[sites.layer] = self.n_pooling_words
        self.add_pooling(sites)

    def first_word(self, sites: Sites) -> int:
        """Return where the words of sites begin, among those of poolings if they are one."""
        return self.poolings[sites] if sites in self.poolings else self.layers[sites.layer]

    @property
    def n_spike_bytes(self) -> int:
        """Bytes of the spikes of one sample."""
        return 8 * self.n_layer_words + (8 + WORD) * self.n_pooling_words

    @property
    def n_samples(self) -> int:
        """How many samples to simulate side by side, so that kernels are called less often."""
        of_spikes = SIDE_BY_SIDE_BYTES // max(1, self.n_spike_bytes)
        of_values = VALUE_BYTES // max(1, self.n_value_bytes)
        return max(1, min(MAX_SAMPLES, of_spikes, of_values))

    @property
    def n_bytes(self) -> int:
        """Bytes of spikes, values and lists, per thread."""
        lists = 3 * self.room * self.n_steps + 4 * self.n_offsets
        seen = 8 * self.n_patch_words + 4 * self.n_spread
        return self.n_samples * (self.n_spike_bytes + self.n_value_bytes) + seen + lists

    @property
    def room(self) -> int:
        """Entries for the events of a line in one step, and for what is written behind them."""
        return self.n_ids + SLACK


@dataclass(eq=False)
class Memory:
    """State of a few samples side by side; made once per thread.

    Attributes:
        masks: Spikes of all layers, [samples, words].
        unions: Which sums of spikes are not zero, for all poolings, [samples, words].
        source_levels: Those sums, and levels, [samples, 64 per word].
        ids: Events of a line of outputs, for all steps of a block, like the next two.
        levels: How many spikes they stand for.
        offsets: Where those of a column and step begin.
        room: Entries of `ids` for one step.
        patches: Words that the neurons of a position see, for all steps.
        spread: What rows of weights are worth, for a line's columns.
        rates: Firing rates of layers in this block of steps, by node.
        constants: What is the same at every step, for these samples.
        layers: Spikes by node, [samples, lines, steps, positions of a line, words], in `masks`.
        blocks: Values by node of the steps of this block, [samples * steps, ...], the steps of a
            sample one after the other.
        arrays: Potentials, states and buffers, by their stage.
        operations: Synaptic operations by node, [T], of all samples so far.
        operations_table: The same, [nodes, T].
        spikes: Spikes by node, of all samples so far.
        counts: Spikes by node of these samples, [samples, positions, channels]; empty if not
            wanted.
        first_step: Of this block.
        last_spike: Steps of each sample after which no neuron of TallyStage or SteppedStage
            has fired so far.
        n_samples: How many are simulated.
        n_as_steps: If not 0, the steps are so many samples, simulated for one step each.
    """

    masks: npt.NDArray[np.uint64]
    unions: npt.NDArray[np.uint64]
    source_levels: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.uint16]
    levels: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int32]
    room: int
    patches: npt.NDArray[np.uint64]
    spread: Array
    constants: Constants
    layers: dict[str, npt.NDArray[np.uint64]] = field(default_factory=dict)
    blocks: dict[str, Array] = field(default_factory=dict)
    arrays: dict[object, Any] = field(default_factory=dict)
    operations: dict[str, Ints] = field(default_factory=dict)
    operations_table: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    spikes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Ints] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    first_step: int = 0
    last_spike: Ints = field(default_factory=lambda: np.zeros(1, np.int64))
    n_samples: int = 1
    n_as_steps: int = 0

    @property
    def out(self) -> npt.NDArray[np.uint8]:
        """The spikes of all layers as bytes, [samples, bytes]."""
        return self.masks.view(np.uint8)

    def count(self, name: str, operations: Ints) -> None:
        """Add synaptic operations [samples * steps] of the steps of this block."""
        by_step = operations.reshape(self.n_samples, -1).sum(axis=0)
        self.operations[name][self.first_step : self.first_step + len(by_step)] += by_step

    def operand(self, name: str, n_steps: int, shape: tuple[int, ...]) -> Array:
        """Return the values of a node in this block of steps, [samples * steps, *shape]."""
        if name in self.blocks:
            return self.blocks[name]
        same = self.constants[name]
        if not self.n_as_steps:
            same = np.repeat(same, n_steps, axis=0)
        return np.broadcast_to(same, (self.n_samples * n_steps, *shape))


def make_memory(arena: Arena, constants: Constants) -> Memory:
    """Return memory for one thread; pages are taken from the system when they are first used."""
    n_samples = arena.n_samples
    return Memory(
        np.zeros((n_samples, arena.n_layer_words), np.uint64),
        np.zeros((n_samples, arena.n_pooling_words), np.uint64),
        np.zeros((n_samples, WORD * arena.n_pooling_words + SLACK), np.uint8),
        np.empty(arena.room * arena.n_steps, np.uint16),
        np.empty(arena.room * arena.n_steps, np.uint8),
        np.zeros(arena.n_offsets, np.int32),
        arena.room,
        np.zeros(arena.n_patch_words, np.uint64),
        np.zeros(arena.n_spread, np.float32),
        constants,
    )


def steps_per_block(n_entries: int) -> int:
    """Return how many steps to simulate at a time, for so many spiking entries per step."""
    return max(1, min(MAX_STEPS, MAX_SPIKES // max(1, n_entries)))
