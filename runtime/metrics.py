"""Figures of merit."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson_interval(n_right: int, n_samples: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share.

    Source: Wilson 1927.

    Args:
        n_right: 0 <= n_right <= n_samples.
        n_samples: At least 1.
    """
    share = n_right / n_samples
    spread = Z_95**2 / n_samples
    center = (share + spread / 2) / (1 + spread)
    half = Z_95 / (1 + spread) * math.sqrt(share * (1 - share) / n_samples + spread / n_samples / 4)
    return max(0.0, center - half), min(1.0, center + half)
