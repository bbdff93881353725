"""Threshold, initial potential and bias of a channel, chosen on the currents that it will see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numba
import numpy as np
import numpy.typing as npt

from ..ir import Array

THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.85, 1.0, 1.15)
"""Thresholds that are tried, in 99.9 percentiles of the positive activations."""
HELD_BACK = (0.0, 0.25, 0.5, 1.0)
"""Charges that are taken from the initial potential and given back by the bias, in thresholds."""
MAX_HELD = 8
"""Steps: where T is larger, charges are smaller by as much. It costs nothing after T steps, and
early decisions are better."""
N_JUDGED, N_LEAST = 256_000, 300
"""Entries times steps that a candidate is judged on; the least number of entries."""
SOFTNESS = 0.1
"""A candidate whose squared error is larger than the least by this share of it counts 1/e as much
as the best: a mean of near ties, so that no rounding error decides between them."""
N_ROUNDS = 2
"""Corrections of the bias."""
BLOCK = 512
"""Entries that are simulated side by side."""


@dataclass(frozen=True)
class Neuron:
    """Parameters of the neurons of one channel, in the units of the activations.

    Attributes:
        threshold: What a spike stands for, divided by T.
        initial_potential: In the same units.
        bias: Added to the current at every step.
    """

    threshold: float
    initial_potential: float
    bias: float


class Firing(Protocol):
    """What `fit_neuron` needs to know of neurons that fire in another way."""

    @property
    def slowness(self) -> int:
        """Steps from one spike to the next at least."""

    def measure_errors(
        self,
        currents: Array,
        activations: Array,
        thresholds: Array,
        potentials: Array,
        biases: Array,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Do what the function `measure_errors` does."""


def draw_entries(n_entries: int, n_steps: int) -> npt.NDArray[np.int64]:
    """Return which entries of a channel `fit_neuron` is to see, the same ones every time."""
    random = np.random.default_rng(0)
    return random.permutation(n_entries)[: max(N_LEAST, N_JUDGED // n_steps)]


def fit_neuron(
    currents: Array,
    activations: Array,
    *,
    start: float = 0.5,
    hold_back: bool = True,
    dynamics: Firing | None = None,
) -> Neuron | None:
    """Return the neuron whose spike counts come closest to the activations; None if all are 0.

    Every pair of a threshold and a charge h that is held back is simulated on the currents as they
    arrive, with initial potential (start - h) threshold and bias h threshold / T: after T steps the
    sum is the same, but a spike that would have to be taken back is sent more rarely. Then the bias
    is moved by the mean error, N_ROUNDS times. The result is the mean of the candidates, weighted
    by how close each one's mean square error is to the least.

    Args:
        currents: [T, M], of the spiking layers in front.
        activations: [M], of the ANN.
        start: Initial potential in thresholds, with nothing held back.
        hold_back: Try all of HELD_BACK, else 0 only, which is right for constant currents.
        dynamics: How the neurons fire; None is reset by subtraction and nothing else.
    """
    n_steps = len(currents)
    positive = activations[activations > 0]
    if not len(positive):
        return None
    scale = np.percentile(positive, 99.9)
    held = np.asarray(HELD_BACK) * min(1.0, MAX_HELD / n_steps)
    held = held if hold_back and n_steps > 1 else held[:1]
    if dynamics is not None:
        scale = scale * dynamics.slowness
    measure = measure_errors if dynamics is None else dynamics.measure_errors
    thresholds = np.repeat(np.asarray(scale * np.asarray(THRESHOLDS), np.float32), len(held))
    charges = thresholds * np.tile(held.astype(np.float32), len(THRESHOLDS))
    potentials = np.asarray(start * thresholds - charges, np.float32)
    biases = np.asarray(charges / n_steps, np.float32)
    for _ in range(N_ROUNDS):
        _, mean = measure(currents, activations, thresholds, potentials, biases)
        biases = np.asarray(biases - mean, np.float32)
    square, _ = measure(currents, activations, thresholds, potentials, biases)
    least = max(square.min(), (1e-6 * scale) ** 2)
    shares = np.exp((1 - square / least) / SOFTNESS)
    shares /= shares.sum()
    return Neuron(*(float(shares @ values) for values in (thresholds, potentials, biases)))


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def measure_errors(
    currents: Array, activations: Array, thresholds: Array, potentials: Array, biases: Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean square and the mean of  threshold * count / T - activation  of K neurons.

    Args:
        currents: [T, M].
        activations: [M].
        thresholds: [K]; reset by subtraction.
        potentials: [K], initial.
        biases: [K], added to every current.
    """
    n_steps, n_entries = currents.shape
    square = np.zeros(len(thresholds))
    mean = np.zeros(len(thresholds))
    potential = np.empty(BLOCK, np.float32)
    count = np.empty(BLOCK, np.float32)
    for k in range(len(thresholds)):
        threshold, bias = thresholds[k], biases[k]
        for start in range(0, n_entries, BLOCK):
            n_here = min(BLOCK, n_entries - start)
            potential[:] = potentials[k]
            count[:] = 0
            for t in range(n_steps):
                current = currents[t, start : start + n_here]
                for m in range(n_here):
                    u = potential[m] + (current[m] + bias)
                    fired = u >= threshold
                    potential[m] = u - threshold if fired else u
                    count[m] += np.float32(1) if fired else np.float32(0)
            for m in range(n_here):
                error = count[m] * threshold / n_steps - activations[start + m]
                square[k] += error * error
                mean[k] += error
    return square / n_entries, mean / n_entries


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def fire(
    currents: Array,
    thresholds: Array,
    potentials: Array,
    biases: Array,
    spikes: npt.NDArray[np.uint8],
) -> npt.NDArray[np.int64]:
    """Simulate neurons that are alike in a channel; return the number of spikes per channel.

    Args:
        currents: [T, N, C, M], or [1, N, C, M] if they are the same at all steps.
        thresholds: [C]; reset by subtraction.
        potentials: [C], initial.
        biases: [C], added to every current.
        spikes: [T, N, C, M]; filled.
    """
    n_steps, n_samples, n_channels, n_places = spikes.shape
    counts = np.zeros(n_channels, np.int64)
    for n in range(n_samples):
        for c in range(n_channels):
            potential = np.full(n_places, potentials[c])
            threshold, bias = thresholds[c], biases[c]
            count = 0
            for t in range(n_steps):
                current = currents[min(t, len(currents) - 1), n, c]
                for m in range(n_places):
                    u = potential[m] + (current[m] + bias)
                    fired = u >= threshold
                    potential[m] = u - threshold if fired else u
                    spikes[t, n, c, m] = fired
                    count += fired
            counts[c] += count
    return counts
