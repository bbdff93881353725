"""Kernel of neurons that forget and rest: the arithmetic of LeakyFire.step, entry by entry."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, boundscheck=False)
def leaky_steps(
    currents, potentials, rises, rests, thresholds, keep, refractory, relative, decay, to_zero,
    spikes,
):  # fmt: skip
    """One block of steps; every operation rounds to float32 as numpy's do.

    Args:
        currents: float32 [steps, neurons].
        potentials: float32 [neurons], updated like the next two.
        rises: Of the thresholds, in thresholds.
        rests: Steps to rest.
        thresholds: float32 [neurons].
        keep: float32, 1 - leak.
        refractory: float32, steps.
        relative: float32.
        decay: float32.
        to_zero: Reset to zero.
        spikes: float32 [steps, neurons], written.
    """
    one, nothing = np.float32(1), np.float32(0)
    for step in range(len(currents)):
        for neuron in range(len(potentials)):
            potential = potentials[neuron] * keep + currents[step, neuron]
            rise, rest = rises[neuron], rests[neuron]
            fires = potential >= thresholds[neuron] * (one + rise) and rest <= nothing
            if rest > nothing:
                rest -= one
            rise *= decay
            if fires:
                potential = nothing if to_zero else potential - thresholds[neuron]
                rest = refractory
                rise += relative
            potentials[neuron], rises[neuron], rests[neuron] = potential, rise, rest
            spikes[step, neuron] = one if fires else nothing
