"""What one thread needs to simulate one sample: its spikes, lists of events and potentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from .constants import Constants
from .views import WORD, Ints, Sites, n_words, split_shape

SLACK = 64
"""Entries behind the last event, and behind the last level, that kernels may overwrite."""
MAX_STEPS = 32
MAX_SPIKES = 2**28
"""Neurons times steps of a block."""


@dataclass(eq=False)
class Arena:
    """Where the spikes of all layers and poolings lie; grows while a plan is made.

    Attributes:
        n_steps: Steps of a block.
        layers: Place of the first word, by node.
        poolings: Likewise, by sites; among other words.
        n_layer_words: Of all layers.
        n_pooling_words: Of all poolings.
        n_ids: The most events of a line of outputs in one step.
        n_offsets: The most columns of a line, in all steps.
        n_patch_words: The most words that a neuron whose weights are bits sees, in all steps.
        n_spread: The most rows of weights of a line's columns, for the steps done at a time.
    """

    n_steps: int
    layers: dict[str, int] = field(default_factory=dict)
    poolings: dict[Sites, int] = field(default_factory=dict)
    n_layer_words: int = 0
    n_pooling_words: int = 0
    n_ids: int = 0
    n_offsets: int = 0
    n_patch_words: int = 0
    n_spread: int = 0

    def add_layer(self, name: str, shape: tuple[int, ...]) -> None:
        """Make room for the spikes of a node."""
        n_positions, n_channels = split_shape(shape)
        self.layers[name] = self.n_layer_words
        self.n_layer_words += n_positions * n_words(n_channels) * self.n_steps

    def add_pooling(self, sites: Sites) -> None:
        """Make room for sums of spikes."""
        self.poolings[sites] = self.n_pooling_words
        self.n_pooling_words += sites.n_positions * n_words(sites.n_channels) * self.n_steps

    def first_word(self, sites: Sites) -> int:
        """Return where the words of sites begin, among those of poolings if they are one."""
        return self.poolings[sites] if sites in self.poolings else self.layers[sites.layer]

    @property
    def n_bytes(self) -> int:
        """Bytes of spikes and lists, per thread."""
        pooled = (8 + WORD) * self.n_pooling_words
        lists = 3 * self.room * self.n_steps + 4 * self.n_offsets
        seen = 8 * self.n_patch_words + 4 * self.n_spread
        return 8 * self.n_layer_words + seen + pooled + lists

    @property
    def room(self) -> int:
        """Entries for the events of a line in one step, and for what is written behind them."""
        return self.n_ids + SLACK


@dataclass(eq=False)
class Memory:
    """State of one sample; made once per thread.

    Attributes:
        masks: Spikes of all layers.
        unions: Which sums of spikes are not zero, for all poolings.
        source_levels: Those sums.
        ids: Events of a line of outputs, for all steps of a block, like the next two.
        levels: How many spikes they stand for.
        offsets: Where those of a column and step begin.
        room: Entries of `ids` for one step.
        patches: Words that the neurons of a position see, for all steps.
        spread: What rows of weights are worth, for a line's columns.
        rates: Firing rates of layers in this block of steps, by node.
        constants: What is the same at every step, for this sample.
        layers: Spikes by node, [lines, steps, positions of a line, words], in `masks`.
        blocks: Values by node of the steps of this block, [steps, ...].
        arrays: Potentials, states and buffers, by their stage.
        operations: Synaptic operations by node, [T], of all samples so far.
        operations_table: The same, [nodes, T].
        spikes: Spikes by node, of all samples so far.
        counts: Spikes by node of this sample, [positions, channels]; empty if not wanted.
        first_step: Of this block.
        last_spike: Steps of this sample after which no neuron of TallyStage has fired so far.
        n_samples: If not 0, the steps are so many samples, simulated for one step each.
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
    last_spike: int = 0
    n_samples: int = 0

    def count(self, name: str, operations: Ints) -> None:
        """Add synaptic operations of the steps of this block."""
        chosen = slice(self.first_step, self.first_step + len(operations))
        self.operations[name][chosen] += operations


def make_memory(arena: Arena, constants: Constants) -> Memory:
    """Return memory for one thread; pages are taken from the system when they are first used."""
    return Memory(
        np.zeros(arena.n_layer_words, np.uint64),
        np.zeros(arena.n_pooling_words, np.uint64),
        np.zeros(WORD * arena.n_pooling_words + SLACK, np.uint8),
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
