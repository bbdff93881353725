"""What one thread needs to simulate one sample: its spikes, events and potentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...converter.ir import Array
from .views import Ints, Sites, n_words

SLACK = 64
"""Bytes behind the last event, and entries behind the last row, that kernels may overwrite."""
MAX_STEPS = 32
MAX_BYTES = 2**28
"""The size of all lists of events that blocks of MAX_STEPS steps may reach, at worst."""


@dataclass(eq=False)
class Arena:
    """Where the lists of events of all sites lie; grows while a plan is made.

    Attributes:
        n_steps: Steps of a block.
        first_site: Number of the first site, by sites.
        first_byte: Likewise, place of the first event.
    """

    n_steps: int
    first_site: dict[Sites, int] = field(default_factory=dict)
    first_byte: dict[Sites, int] = field(default_factory=dict)
    n_sites: int = 0
    n_bytes: int = 0
    n_rows: int = 0

    def place(self, sites: Sites) -> int:
        """Return the number of the first site."""
        if sites not in self.first_site:
            self.first_site[sites] = self.n_sites
            self.first_byte[sites] = self.n_bytes
            self.n_sites += sites.n_positions * n_words(sites.n_channels)
            self.n_bytes += len(sites.sources) * sites.n_channels * self.n_steps + SLACK
        return self.first_site[sites]

    @property
    def stride(self) -> int:
        """Entries of the offsets per site."""
        return self.n_steps + 1


@dataclass(eq=False)
class Memory:
    """State of one sample; made once per thread.

    Attributes:
        data: Events of all sites.
        offsets: [sites, steps + 1]: where the events of a step begin.
        index: Rows that one output position needs, for all steps of a block.
        starts: [steps + 1]: where those of a step begin.
        masks: Spikes by node, [positions, steps, words].
        blocks: Values by node of the steps of this block, [steps, ...].
        constants: Values by node that are the same at every step, for this sample.
        arrays: Potentials, states and buffers, by their stage.
        operations: Synaptic operations by node, [T], of all samples so far.
        spikes: Spikes by node, of all samples so far.
        counts: Spikes by node of this sample, [positions, channels]; empty if not wanted.
        first_step: Of this block.
    """

    data: npt.NDArray[np.uint8]
    offsets: Ints
    index: npt.NDArray[np.int32]
    starts: Ints
    masks: dict[str, npt.NDArray[np.uint64]] = field(default_factory=dict)
    blocks: dict[str, Array] = field(default_factory=dict)
    constants: Mapping[str, Array] = field(default_factory=dict)
    arrays: dict[object, Any] = field(default_factory=dict)
    operations: dict[str, Ints] = field(default_factory=dict)
    spikes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Ints] = field(default_factory=dict)
    first_step: int = 0

    def count(self, name: str, operations: Ints) -> None:
        """Add synaptic operations of the steps of this block."""
        chosen = slice(self.first_step, self.first_step + len(operations))
        self.operations[name][chosen] += operations


def make_memory(arena: Arena) -> Memory:
    """Return memory for one thread; pages are taken from the system when they are first used."""
    return Memory(
        np.empty(arena.n_bytes + SLACK, np.uint8),
        np.zeros((arena.n_sites, arena.stride), np.int64),
        np.empty(arena.n_rows * arena.n_steps + SLACK, np.int32),
        np.zeros(arena.stride, np.int64),
    )


def steps_per_block(n_bytes: int) -> int:
    """Return how many steps to simulate at a time, for so many spiking entries per step."""
    return max(1, min(MAX_STEPS, MAX_BYTES // max(1, n_bytes)))
