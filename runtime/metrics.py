"""Figures of merit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson_interval(n_right: int, n_samples: int, z: float = Z_95) -> tuple[float, float]:
    """Return the confidence interval of a share, 95 % unless told otherwise.

    Source: Wilson 1927.

    Args:
        n_right: 0 <= n_right <= n_samples.
        n_samples: At least 1.
        z: Quantile of the normal distribution at both ends.
    """
    share = n_right / n_samples
    spread = z**2 / n_samples
    center = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / n_samples + spread / n_samples / 4)
    return max(0.0, center - half), min(1.0, center + half)


def paired_limit(n_lost: int, n_won: int, n_samples: int, z: float) -> float:
    """Return the upper confidence limit of the difference of two shares of the same samples.

    Source: Agresti and Min 2005 (Wald's interval, half a sample added to each of the four cells).

    Args:
        n_lost: Samples that only the first decider has right.
        n_won: Samples that only the second has right.
        n_samples: At least 1.
        z: Quantile of the normal distribution.
    """
    n = n_samples + 2
    difference = (n_lost - n_won) / n
    spread = math.sqrt(n_lost + n_won + 1 - (n_lost - n_won) ** 2 / n) / n
    return min(1.0, difference + z * spread)


@dataclass(frozen=True)
class McNemar:
    """Two deciders on the same samples.

    Attributes:
        only_first: Samples that only the first has right.
        only_second: Samples that only the second has right.
        p_value: Probability of a difference at least as large if both are equally good.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> McNemar:
    """Test whether two shares of right decisions on the same samples differ; exact, two-sided.

    Source: McNemar 1947; exact binomial form.

    Args:
        first: Whether the first decided right, [N].
        second: Likewise.
    """
    only_first = int((first & ~second).sum())
    only_second = int((second & ~first).sum())
    n, k = only_first + only_second, min(only_first, only_second)
    # sum of binomial probabilities up to k, in logarithms: 2^-n is 0 in floats from n = 1075 on
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(k + 1)]
    tail = sum(math.exp(log - n * math.log(2)) for log in logs)
    return McNemar(only_first, only_second, min(1.0, 2 * tail))


def stable_after(decisions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return after how many steps a sample's decision no longer changed, 1..T, [N].

    Args:
        decisions: [T, N].
    """
    differs = decisions != decisions[-1]
    n_steps = len(decisions)
    last = n_steps - np.argmax(differs[::-1], axis=0)
    return np.where(differs.any(axis=0), last + 1, 1).astype(np.int64)


def spread(steps: npt.NDArray[np.int64]) -> dict[str, float]:
    """Return mean, median, 95 % point and largest of numbers of steps."""
    return {
        "mean": float(steps.mean()),
        "median": float(np.median(steps)),
        "percentile_95": float(np.percentile(steps, 95)),
        "largest": float(steps.max()),
    }


def confusion_matrix(
    labels: npt.NDArray[np.int64], decisions: npt.NDArray[np.int64], n_classes: int
) -> npt.NDArray[np.int64]:
    """Return how often class (row) was decided as class (column), [n_classes, n_classes]."""
    places = labels * n_classes + decisions
    counts = np.bincount(places, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def correlation(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float | None:
    """Return Pearson's correlation of two arrays of one shape; None where one is constant."""
    a, b = (array.astype(np.float64).reshape(-1) for array in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else None
