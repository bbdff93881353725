"""Arrays, and the type of one node's result."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import GraphError

Array = np.ndarray[tuple[Any, ...], np.dtype[np.float32]]

MAX_ELEMENTS = 2**31
"""Elements of one sample of one tensor; more is a damaged or hostile file."""

DEFAULT_N_STEPS = 64
MAX_N_STEPS = 10**6
"""Time steps of one run; a result is kept for every one."""

MAX_AXES = 16
"""Of one sample; numpy has 64, and the products of more sizes than that take long to multiply."""


@dataclass(frozen=True)
class TensorType:
    """Shape of one sample at one time step: no batch axis, no time axis, channels first.

    Attributes:
        shape: Positive sizes; () is a scalar.
        spiking: Every entry is 0 or 1 at every step.
    """

    shape: tuple[int, ...]
    spiking: bool = False

    def __post_init__(self) -> None:
        if len(self.shape) > MAX_AXES:
            raise GraphError(f"shape: has {len(self.shape)} axes, expected at most {MAX_AXES}")
        if not all(isinstance(size, int) and size > 0 for size in self.shape):
            raise GraphError(f"shape {self.shape}: has a size that is not a positive integer")
        if self.size > MAX_ELEMENTS:
            raise GraphError(f"shape {self.shape}: more than {MAX_ELEMENTS} elements per sample")

    @property
    def size(self) -> int:
        """Number of elements of one sample."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{'spikes' if self.spiking else 'float32'}{list(self.shape)}"


def freeze(values: Any) -> Array:
    """Return a read-only, contiguous float32 copy of `values`.

    Raises:
        GraphError: An entry is NaN or infinite, in `values` or once it is float32.
    """
    with np.errstate(over="ignore"):
        array = np.array(values, np.float32, order="C")
    if not np.isfinite(array).all():
        raise GraphError("a parameter holds NaN or infinity, expected finite float32 numbers")
    array.setflags(write=False)
    return array


class Samples(Protocol):
    """An array [N, ...], or what is read only when a part of it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """N, and the shape of one sample."""

    def __len__(self) -> int:
        """Return N."""

    def __getitem__(self, part: slice, /) -> Array:
        """Return some samples as an array of numbers."""
