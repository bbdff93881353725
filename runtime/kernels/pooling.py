"""Kernels of max-pooling over spikes: over time, only neurons that have just fired matter."""

from __future__ import annotations

import numpy as np
from numba import njit

from .lists import lowest_bit


@njit(cache=True, nogil=True, boundscheck=False)
def pool_spikes(
    masks, step_words, places, n_steps, counts, members, first_member, best, pooled, pooled_words,
    pooled_places, n_words,
):  # fmt: skip
    """One block of steps of SpikingMaxPool: spikes in, spikes out.

    A window fires when the count of one of its neurons exceeds the largest count so far. Counts
    grow by single spikes, so that only windows with a spike at this step have to be looked at.

    Args:
        masks: uint64, flat: spikes to pool.
        step_words: Words between two steps.
        places: int64 [positions]: place of a position's masks at step 0.
        n_steps: Steps to do.
        counts: int32 [positions, 64 * words]: spikes so far, updated.
        members: int64: positions of the windows, one list after the other.
        first_member: int64 [windows + 1]: where each list begins.
        best: int32 [windows, 64 * words]: the largest count of every window, updated.
        pooled: uint64, flat: spikes to write.
        pooled_words: Words between two steps of them.
        pooled_places: int64 [windows]: place of a window's masks at step 0.
        n_words: Words per position.
    """
    one = np.uint64(1)
    for step in range(n_steps):
        for position in range(len(places)):
            place = places[position] + step * step_words
            for word in range(n_words):
                mask = masks[place + word]
                while mask:
                    counts[position, 64 * word + lowest_bit(mask)] += 1
                    mask &= mask - one
        for window in range(len(pooled_places)):
            place = pooled_places[window] + step * pooled_words
            for word in range(n_words):
                fired = np.uint64(0)
                for number in range(first_member[window], first_member[window + 1]):
                    member = members[number]
                    mask = masks[places[member] + step * step_words + word]
                    while mask:
                        bit = lowest_bit(mask)
                        channel = 64 * word + bit
                        if counts[member, channel] > best[window, channel]:
                            best[window, channel] = counts[member, channel]
                            fired |= one << np.uint64(bit)
                        mask &= mask - one
                pooled[place + word] = fired


@njit(cache=True, nogil=True, boundscheck=False)
def unite_spikes(
    masks, step_words, places, n_steps, members, first_member, pooled, pooled_words, pooled_places,
    n_words,
):  # fmt: skip
    """Max-pooling where every step is a sample of its own; arguments as in `pool_spikes`."""
    for window in range(len(pooled_places)):
        for step in range(n_steps):
            place = pooled_places[window] + step * pooled_words
            for word in range(n_words):
                fired = np.uint64(0)
                for number in range(first_member[window], first_member[window + 1]):
                    fired |= masks[places[members[number]] + step * step_words + word]
                pooled[place + word] = fired


@njit(cache=True, nogil=True, boundscheck=False)
def pool_values(values, totals, best, members, first_member, out):
    """One block of steps of SpikingMaxPool on any values: the increments of the largest totals.

    Args:
        values: float32 [samples, steps, channels, positions].
        totals: float32 [samples, channels, positions], so far, updated.
        best: float32 [samples, channels, windows]: the largest total of every window, updated.
        members: As in `pool_spikes`, like the next.
        first_member: See members.
        out: float32 [samples, steps, channels, windows], written.
    """
    n_samples, n_steps, n_channels, n_positions = values.shape
    for sample in range(n_samples):
        for step in range(n_steps):
            for channel in range(n_channels):
                for position in range(n_positions):
                    totals[sample, channel, position] += values[sample, step, channel, position]
                for window in range(len(first_member) - 1):
                    first = first_member[window]
                    largest = totals[sample, channel, members[first]]
                    for number in range(first + 1, first_member[window + 1]):
                        largest = max(largest, totals[sample, channel, members[number]])
                    out[sample, step, channel, window] = largest - best[sample, channel, window]
                    best[sample, channel, window] = largest
