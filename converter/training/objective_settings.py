"""How much the source network counts in the loss."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PassError


@dataclass(frozen=True)
class Distillation:
    """How much the source network counts.

    Source: Hinton et al. 2015.

    Attributes:
        weight: 0 to 1; what is left is the labels'.
        temperature: By which potentials are divided before the softmax, > 0.
    """

    weight: float = 0.5
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise PassError(
                f"--distillation {self.weight}: expected a share from 0 to 1",
                hint="0.5 is the default, 0 trains on labels alone",
            )
        if not 0 < self.temperature < 1000:
            raise PassError(
                f"--temperature {self.temperature}: expected a positive number",
                hint="2 is the default",
            )
