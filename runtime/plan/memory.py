"""What one thread needs to simulate one sample: its spikes, events and potentials."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from .constants import Constants
from .views import Ints, Sites, n_words

SLACK = 64
"""Entries behind the last event, and behind the last row, that kernels may overwrite."""
MAX_STEPS = 32
MAX_EVENTS = 2**28
"""Events of a block of steps that may come to be if every neuron fires at every step."""


@dataclass(eq=False)
class Arena:
    """Where the lists of events of all sites lie; grows while a plan is made.

    Attributes:
        n_steps: Steps of a block.
        first_offset: Place of the first offset, by sites.
        first_event: Likewise, of the first event.
        n_offsets: Of all sites.
        n_events: Of all sites, if every neuron fires at every step.
        n_rows: The most rows that an output position adds in one step.
    """

    n_steps: int
    first_offset: dict[Sites, int] = field(default_factory=dict)
    first_event: dict[Sites, int] = field(default_factory=dict)
    n_offsets: int = 0
    n_events: int = 0
    n_rows: int = 0

    def place(self, sites: Sites) -> int:
        """Return the place of the first offset; make room if these sites are new."""
        if sites not in self.first_offset:
            self.first_offset[sites] = self.n_offsets
            self.first_event[sites] = self.n_events
            n_words_per_step = sites.n_positions * n_words(sites.n_channels)
            self.n_offsets += n_words_per_step * self.n_steps + 1
            self.n_events += len(sites.sources) * sites.n_channels * self.n_steps + SLACK
        return self.first_offset[sites]


@dataclass(eq=False)
class Memory:
    """State of one sample; made once per thread.

    Attributes:
        data: Events of all sites.
        offsets: Where the events of a site and step begin, for all sites.
        index: Rows that one output position needs, for all steps of a block.
        starts: [steps + 1]: where those of a step begin.
        constants: What is the same at every step, for this sample.
        masks: Spikes by node, [lines, steps, positions of a line, words].
        blocks: Values by node of the steps of this block, [steps, ...].
        arrays: Potentials, states and buffers, by their stage.
        operations: Synaptic operations by node, [T], of all samples so far.
        spikes: Spikes by node, of all samples so far.
        counts: Spikes by node of this sample, [positions, channels]; empty if not wanted.
        first_step: Of this block.
        last_spike: Steps of this sample after which no neuron of TallyStage has fired so far.
    """

    data: npt.NDArray[np.uint16]
    offsets: npt.NDArray[np.int32]
    index: npt.NDArray[np.int32]
    starts: Ints
    constants: Constants
    masks: dict[str, npt.NDArray[np.uint64]] = field(default_factory=dict)
    blocks: dict[str, Array] = field(default_factory=dict)
    arrays: dict[object, Any] = field(default_factory=dict)
    operations: dict[str, Ints] = field(default_factory=dict)
    spikes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Ints] = field(default_factory=dict)
    first_step: int = 0
    last_spike: int = 0

    def count(self, name: str, operations: Ints) -> None:
        """Add synaptic operations of the steps of this block."""
        chosen = slice(self.first_step, self.first_step + len(operations))
        self.operations[name][chosen] += operations


def make_memory(arena: Arena, constants: Constants) -> Memory:
    """Return memory for one thread; pages are taken from the system when they are first used."""
    return Memory(
        np.empty(arena.n_events + SLACK, np.uint16),
        np.zeros(arena.n_offsets, np.int32),
        np.empty(arena.n_rows * arena.n_steps + SLACK, np.int32),
        np.zeros(arena.n_steps + 1, np.int64),
        constants,
    )


def steps_per_block(n_entries: int) -> int:
    """Return how many steps to simulate at a time, for so many spiking entries per step."""
    return max(1, min(MAX_STEPS, MAX_EVENTS // max(1, n_entries)))
