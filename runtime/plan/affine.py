"""Affine: spikes that were scaled and shifted alike, as signs +1, -1 are: 2 spikes - 1."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...converter.ir import Array
from ...converter.ir.ops import Conv, Dense, Scale
from .layouts import by_position
from .terms import Term, scale_terms
from .views import View


@dataclass(frozen=True, eq=False)
class Affine:
    """A tensor that is `scale * view + shift`.

    Attributes:
        view: Spikes, or sums of spikes.
        scale: The same everywhere, like the next.
        shift: See scale.
    """

    view: View
    scale: float = 1.0
    shift: float = 0.0

    def scaled(self, op: Scale) -> Affine | None:
        """Return what a Scale makes of it, or None if that is not the same everywhere."""
        values = []
        for array in (op.scale, op.shift):
            if (array != array.flat[0]).any():
                return None
            values.append(float(array.flat[0]))
        scale, shift = values
        return Affine(self.view, self.scale * scale, self.shift * scale + shift)

    @property
    def is_never_zero(self) -> bool:
        """Whether no entry is zero, whatever the spikes are."""
        are_spikes = all(part.sites.is_layer for part in self.view.parts)
        return are_spikes and self.shift != 0 and self.scale + self.shift != 0

    def connect(self, op: Conv | Dense) -> tuple[Conv | Dense, Array]:
        """Return the op with weights for spikes, and the rest of its current.

        Returns:
            The op, and [positions or 1, channels]: its bias, and what the shift adds, which is less
            where an output sees padding.
        """
        linear = replace(op, weight=np.asarray(op.weight * np.float32(self.scale), np.float32))
        if not self.shift:
            return linear, op.bias[None]
        (rest,) = op.apply(np.full((1, *self.view.shape), self.shift, np.float32))
        return linear, by_position(rest, rest.shape)

    def terms(self) -> tuple[Term, ...] | None:
        """Return its entries as the currents of a layer of its shape; see `scale_terms`."""
        ones = np.ones((1,) * len(self.view.shape), np.float32)
        return scale_terms(self.view, np.float32(self.scale) * ones)

    def static(self) -> Array:
        """Return what the entries are without spikes, [1, channels]."""
        return np.full((1, self.view.shape[0]), self.shift, np.float32)
