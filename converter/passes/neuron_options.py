"""Which neuron the options of a recipe ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import PassError
from ..ir import Array, IntegrateFire, LeakyFire, Neuron, Reset, SignedFire
from ..ir.scheduled import MAX_LEVELS

FIRING = (IntegrateFire, LeakyFire, SignedFire)
"""Neurons that `choose_neuron` makes."""

SHARES = {"leak": "0 is no leak", "decay": "0.5 is the default"}


def choose_neuron(
    *,
    initial_potential: float,
    reset: str,
    leak: float,
    refractory: int,
    relative: float,
    decay: float,
    signed: bool,
    n_steps: int | None,
) -> Callable[[int], Neuron]:
    """Return what makes a neuron of threshold 1 for a sample's rank; options as insert_neurons.

    Raises:
        PassError: An option is out of its range, or two of them exclude one another.
    """
    if reset not in set(Reset):
        raise PassError(
            f"reset {reset!r}, expected one of {', '.join(Reset)}",
            hint="reset by subtraction loses no charge and is what rate coding wants",
        )
    if not 0 <= initial_potential < 1:
        raise PassError(
            f"initial_potential {initial_potential}, expected 0 <= value < 1",
            hint="0.5, half the threshold, is the default",
        )
    for (name, hint), value in zip(SHARES.items(), (leak, decay), strict=True):
        if not 0 <= value < 1:
            raise PassError(f"{name} {value}, expected 0 <= value < 1", hint=hint)
    if not 0 <= relative < float("inf"):
        raise PassError(
            f"relative {relative}, expected a finite number >= 0", hint="in thresholds; 0 is none"
        )
    if refractory < 0 or (n_steps is not None and refractory >= n_steps and refractory > 0):
        raise PassError(
            f"refractory {refractory}, expected 0 <= value < n_steps {n_steps}",
            hint="a neuron that rests for a whole run fires once; rest less or take more --n-steps",
        )
    rests: dict[str, Any] = {"leak": leak, "refractory": refractory, "relative": relative}
    if signed and (any(rests.values()) or reset != Reset.SUBTRACT):
        raise PassError(
            "signed: goes with reset by subtraction, without leak and refractory periods",
            hint="set reset=subtract, or leave signed out",
        )

    def make(rank: int) -> Neuron:
        threshold: Array = np.ones((1,) * rank, np.float32)
        initial = threshold * np.float32(initial_potential)
        if signed:
            return SignedFire(threshold, initial, n_steps or MAX_LEVELS)
        if any(rests.values()):
            return LeakyFire(threshold, initial, **rests, decay=decay, reset=Reset(reset))
        return IntegrateFire(threshold, initial, Reset(reset))

    return make
