"""How many sums are held in registers; the one module here that needs no numba."""

from __future__ import annotations

CHAINS = 6
"""Vectors of AVX-512 that are added to independently, to hide the latency of an addition."""
ACCUMULATORS = 24
"""Vectors of AVX-512 that hold sums where several steps are done at a time."""


def n_sums(n_lanes: int, reach: int) -> int:
    """Return how many events are added side by side; part of what defines the result's rounding."""
    return min(4, max(1, CHAINS * 16 // (n_lanes * reach)))


def n_together(n_lanes: int, reach: int) -> int:
    """Return how many steps of a line are done at a time if all rows of weights are added.

    0 if that would add up in another order than `sweep` does, or saves no reading.
    """
    n_steps = ACCUMULATORS * 16 // (n_lanes * reach)
    return n_steps if reach > 1 and n_steps > 1 and n_sums(n_lanes, reach) == 1 else 0
