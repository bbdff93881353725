"""Op: what every operation has, and what several of them share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...errors import GraphError
from ..types import Array, TensorType, freeze

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Op:
    """One operation. Fields annotated `Array` are frozen on construction (float32, read-only)."""

    n_inputs: ClassVar[int | None] = 1
    """Number of operands; None for one or more."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, freeze(value))

    def infer(self, *types: TensorType) -> TensorType:
        """Return the type of the result.

        Raises:
            GraphError: The operands do not fit the op or one another.
        """
        raise NotImplementedError

    def apply(self, *arrays: Array) -> Array:
        """Return the result for a batch; all operands are [N, ...]."""
        raise NotImplementedError

    def fan_out(self, type_: TensorType) -> Array | None:
        """Return how many connections leave each entry of an operand; None: the op has no synapses.

        Exact at borders and strides: the sum over all entries is the op's number of
        multiply-accumulates, products with padded zeros not counted.
        """
        return None


def per_channel(values: Array, n_axes: int) -> Array:
    """[C] -> [C, 1, ...] with `n_axes` ones."""
    return values.reshape(-1, *(1,) * n_axes)


def expect(condition: bool, message: str) -> None:
    """Raise a GraphError with this message unless the condition holds."""
    if not condition:
        raise GraphError(message)
