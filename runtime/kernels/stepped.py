"""Kernels of neurons beside IntegrateFire: the arithmetic of their `step`, entry by entry.

Every operation rounds to float32 as numpy's do. All take currents, float32 [steps, neurons], and
states as `start` gives them, float32 [..., neurons], which they update, and write what is sent as
bytes [steps, neurons], in units of the smallest spike.
"""

from __future__ import annotations

import numpy as np
from numba import njit

ONE, NOTHING = np.float32(1), np.float32(0)


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def leaky_steps(
    currents, states, thresholds, sent, keep, refractory, relative, decay, to_zero
):  # fmt: skip
    """LeakyFire.

    Args:
        currents: See the module, like the next.
        states: Potentials, rises of thresholds in thresholds, steps to rest.
        thresholds: float32 [neurons].
        sent: uint8, written.
        keep: float32, 1 - leak.
        refractory: float32, steps.
        relative: float32.
        decay: float32.
        to_zero: Reset to zero.
    """
    potentials, rises, rests = states[0], states[1], states[2]
    for step in range(len(currents)):
        for neuron in range(len(potentials)):
            potential = potentials[neuron] * keep + currents[step, neuron]
            rise, rest = rises[neuron], rests[neuron]
            fires = potential >= thresholds[neuron] * (ONE + rise) and rest <= NOTHING
            if rest > NOTHING:
                rest -= ONE
            rise *= decay
            if fires:
                potential = NOTHING if to_zero else potential - thresholds[neuron]
                rest = refractory
                rise += relative
            potentials[neuron], rises[neuron], rests[neuron] = potential, rise, rest
            sent[step, neuron] = fires


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def burst_steps(currents, states, thresholds, sent, most):
    """Burst; `most` is float32, the levels of a step. For the others see `leaky_steps`."""
    potentials = states[0]
    for step in range(len(currents)):
        for neuron in range(len(potentials)):
            potential = potentials[neuron] + currents[step, neuron]
            levels = np.floor(potential / thresholds[neuron])
            levels = NOTHING if levels < NOTHING else levels
            levels = most if levels > most else levels
            potentials[neuron] = potential - levels * thresholds[neuron]
            sent[step, neuron] = np.uint8(levels)


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def binary_steps(currents, states, thresholds, sent, n_bits):
    """BinaryWeighted. For the others see `leaky_steps`."""
    potentials = states[0]
    numbers = np.empty(len(potentials), np.float32)
    for step in range(len(currents)):
        for neuron in range(len(potentials)):
            potentials[neuron] += currents[step, neuron]
            numbers[neuron] = NOTHING
        for bit in range(n_bits - 1, -1, -1):
            worth = np.float32(1 << bit)
            for neuron in range(len(potentials)):
                fires = potentials[neuron] >= thresholds[neuron] * worth
                potentials[neuron] -= thresholds[neuron] * worth if fires else NOTHING
                numbers[neuron] += worth if fires else NOTHING
        for neuron in range(len(potentials)):
            sent[step, neuron] = np.uint8(np.int32(numbers[neuron]))


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def signed_steps(currents, states, thresholds, sent, n_levels):
    """SignedFire; `n_levels` is float32. States are potentials and totals. See `leaky_steps`."""
    potentials, totals = states[0], states[1]
    for step in range(len(currents)):
        for neuron in range(len(potentials)):
            potential, total = potentials[neuron] + currents[step, neuron], totals[neuron]
            up = potential >= thresholds[neuron] and total < n_levels
            down = potential < NOTHING and total > NOTHING
            spike = ONE if up else (-ONE if down else NOTHING)
            potentials[neuron] = potential - spike * thresholds[neuron]
            totals[neuron] = total + spike
            sent[step, neuron] = np.uint8(1 if up else (255 if down else 0))


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def first_spike_steps(currents, states, thresholds, sent, first_step, n_steps):
    """FirstSpikeFire. States are potentials, who has fired, steps. See `leaky_steps`."""
    potentials, fired, clocks = states[0], states[1], states[2]
    for step in range(len(currents)):
        left = first_step + n_steps - int(clocks[0])
        is_open = 1 <= left <= n_steps
        worth = np.float32(left)
        for neuron in range(len(potentials)):
            potential = potentials[neuron] + currents[step, neuron]
            fires = is_open and potential >= worth * thresholds[neuron] and fired[neuron] == NOTHING
            if fires:
                potential -= worth * thresholds[neuron]
                fired[neuron] = ONE
            potentials[neuron] = potential
            clocks[neuron] += ONE
            sent[step, neuron] = np.uint8(left if fires else 0)


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def differential_steps(currents, states, thresholds, sent, limits, n_thresholds, fires_at):
    """DifferentialFire; bytes are two's complement, in units of the smallest of n spikes.

    States are potentials, totals, means, what was sent, steps; `limits` is float32 [neurons],
    infinity for none. See `leaky_steps`.
    """
    potentials, totals, means, rates, clocks = states[0], states[1], states[2], states[3], states[4]
    spikes = np.empty(len(potentials), np.float32)
    unit = np.float32(1 << (n_thresholds - 1))
    for step in range(len(currents)):
        clock = clocks[0] + ONE
        for neuron in range(len(potentials)):
            driven = means[neuron] - thresholds[neuron] * rates[neuron]
            potentials[neuron] += currents[step, neuron] + driven
            totals[neuron] += rates[neuron]
            means[neuron] += currents[step, neuron] / clock
            spikes[neuron] = NOTHING
        for exponent in range(n_thresholds - 1, -1, -1):
            size = np.float32(1.0 / (1 << exponent))
            for neuron in range(len(potentials)):
                enough = fires_at * size * thresholds[neuron]
                potential, total = potentials[neuron], totals[neuron]
                up = potential >= enough and total + size <= clock * limits[neuron]
                down = potential <= -enough and total >= size
                spike = size if up else spikes[neuron]
                spikes[neuron] = -size if down else spike
        for neuron in range(len(potentials)):
            spike = spikes[neuron]
            potentials[neuron] -= thresholds[neuron] * spike
            totals[neuron] += spike
            rates[neuron] += spike / clock
            clocks[neuron] = clock
            sent[step, neuron] = np.uint8(np.int32(spike * unit))
