"""Threshold, initial potential and bias of a channel, chosen on the currents that it will see."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from ..ir import Array

POTENTIALS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
"""Initial potentials that are tried, in thresholds."""
N_THRESHOLDS = 12
LOWEST, HIGHEST = 0.25, 1.15
"""Thresholds that are tried, in 99.9 percentiles of the positive activations."""
N_COARSE, N_FINE, N_LEAST = 24_000, 96_000, 300
"""Entries times steps that a candidate is judged on, in the first round and in the second; the
least number of entries."""
N_KEPT = 6
"""Candidates that reach the second round."""


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


def draw_entries(n_entries: int, n_steps: int) -> npt.NDArray[np.int64]:
    """Return which entries of a channel `fit_neuron` is to see, the same ones every time."""
    random = np.random.default_rng(0)
    return random.permutation(n_entries)[: max(N_LEAST, N_FINE // n_steps)]


def fit_neuron(currents: Array, activations: Array, *, mean_weight: float) -> Neuron | None:
    """Return the neuron whose spike counts come closest to the activations; None if all are 0.

    Every pair of a threshold and an initial potential is simulated on the currents as they arrive,
    unevenness included, and its bias moved until the mean error vanishes; what is smallest is
    mean square error + mean_weight * (mean error)^2.

    Args:
        currents: [T, M], of the spiking layers in front.
        activations: [M], of the ANN.
        mean_weight: How much an error that all entries share counts; deeper layers add it up.
    """
    n_steps, n_entries = currents.shape
    positive = activations[activations > 0]
    if not len(positive):
        return None
    scale = np.percentile(positive, 99.9)
    tried = np.asarray(scale * np.geomspace(LOWEST, HIGHEST, N_THRESHOLDS), np.float32)
    thresholds = np.repeat(tried, len(POTENTIALS))
    potentials = thresholds * np.tile(np.asarray(POTENTIALS, np.float32), N_THRESHOLDS)
    biases = np.zeros_like(thresholds)
    slope = max(0.25, len(positive) / n_entries)
    for n_judged, n_rounds in ((max(N_LEAST, N_COARSE // n_steps), 3), (n_entries, 4)):
        errors, biases = _judge(
            np.ascontiguousarray(currents[:, :n_judged].T, np.float32), activations[:n_judged],
            (thresholds, potentials, biases),
            mean_weight=mean_weight, slope=slope, n_rounds=n_rounds,
        )  # fmt: skip
        best = np.argsort(errors, kind="stable")[:N_KEPT]
        thresholds, potentials, biases = thresholds[best], potentials[best], biases[best]
    return Neuron(float(thresholds[0]), float(potentials[0]), float(biases[0]))


def _judge(
    currents: Array,
    activations: Array,
    candidates: tuple[Array, Array, Array],
    *,
    mean_weight: float,
    slope: float,
    n_rounds: int,
) -> tuple[npt.NDArray[np.float64], Array]:
    """Return for every candidate the smallest error over a few biases, and that bias."""
    thresholds, potentials, biases = candidates
    lowest = np.full(len(thresholds), np.inf)
    chosen = biases
    for _ in range(n_rounds):
        square, mean = measure_errors(currents, activations, thresholds, potentials, biases)
        total = square + mean_weight * mean**2
        chosen = np.where(total < lowest, biases, chosen)
        lowest = np.minimum(lowest, total)
        biases = np.asarray(biases - 0.8 / slope * mean, np.float32)
    return lowest, chosen


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def measure_errors(
    currents: Array, activations: Array, thresholds: Array, potentials: Array, biases: Array
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean square and the mean of  threshold * count / T - activation  of K neurons.

    Args:
        currents: [M, T].
        activations: [M].
        thresholds: [K]; reset by subtraction.
        potentials: [K], initial.
        biases: [K], added to every current.
    """
    n_entries, n_steps = currents.shape
    square = np.zeros(len(thresholds))
    mean = np.zeros(len(thresholds))
    for k in range(len(thresholds)):
        threshold, bias = thresholds[k], biases[k]
        for m in range(n_entries):
            potential, count = potentials[k], 0
            for t in range(n_steps):
                potential += currents[m, t] + bias
                if potential >= threshold:
                    potential -= threshold
                    count += 1
            error = count * threshold / n_steps - activations[m]
            square[k] += error * error
            mean[k] += error
    return square / n_entries, mean / n_entries
