"""Terms: what the events of some sites add to the currents of a layer, as links and weight rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...converter.ir import Array
from ...converter.ir.ops import Conv, Dense
from ...converter.ir.windows import Window
from .views import Ints, Part, Sites, View, split_shape, window_positions

Rows = Callable[[int, int], Array]


@dataclass(frozen=True, eq=False)
class Columns:
    """How the kernels of a term look from a line of outputs.

    Attributes:
        shifts: [K]: output j of the line is reached, by this kernel, from column j + shift.
        rows: [K]: what kernels that differ in the shift alone have in common; a column and a row
            make a position.
    """

    shifts: Ints
    rows: Ints

    @property
    def n_rows(self) -> int:
        """Return how many rows there are."""
        return int(self.rows.max(initial=-1)) + 1


@dataclass(frozen=True, eq=False)
class Term:
    """Links from positions of sites to output positions.

    Attributes:
        sites: Whose events.
        outputs: [links]: output position.
        positions: [links]: position of the sites.
        kernels: [links]: which of the kernels weighs the events.
        n_kernels: K.
        rows: (low, high) -> [K, C_in, high - low], the weights to those output channels, of an
            event that is worth 1.
        divisor: An event of n spikes is worth n / divisor.
        columns: None if the kernels cannot be arranged like that.
    """

    sites: Sites
    outputs: Ints
    positions: Ints
    kernels: Ints
    n_kernels: int
    rows: Rows
    divisor: int = 1
    columns: Columns | None = None


def dense_terms(view: View, op: Dense) -> tuple[Term, ...]:
    """Return the terms of a dense layer."""
    return tuple(_dense_term(part, op) for part in view.parts)


def _dense_term(part: Part, op: Dense) -> Term:
    n_positions = part.sites.n_positions
    everywhere = np.arange(n_positions)

    def rows(low: int, high: int) -> Array:
        chosen = op.weight[low:high][:, part.order]  # [channels, P, C_in]
        return np.asarray(np.moveaxis(chosen, 0, 2))

    outputs = np.zeros(n_positions, np.int64)
    return Term(part.sites, outputs, everywhere, everywhere, n_positions, rows, part.divisor)


def conv_terms(view: View, op: Conv) -> tuple[Term, ...] | None:
    """Return the terms of a convolution; None if the view is not arranged by channel."""
    terms = [_conv_term(part, view.shape, op) for part in view.parts]
    found = tuple(term for term in terms if term is not None)
    return found if len(found) == len(terms) else None


def _conv_term(part: Part, shape: tuple[int, ...], op: Conv) -> Term | None:
    arranged = part.channels_and_positions(shape)
    if arranged is None:
        return None
    channels, positions = arranged
    window = Window(op.weight.shape[2:], op.strides, op.dilation, op.padding)
    taken = window_positions(window, shape[1:])
    places = np.full(split_shape(shape)[0] + 1, -1)
    places[positions] = np.arange(len(positions))
    members = places[taken].T  # [outputs, kernels]
    outputs, kernels = np.nonzero(members >= 0)
    n_out, n_in = op.weight.shape[0] // op.groups, op.weight.shape[1]
    weight = op.weight.reshape(len(op.weight), n_in, -1)
    inside, group_in = channels % n_in, channels // n_in

    def rows(low: int, high: int) -> Array:
        groups = np.arange(low, high) // n_out
        chosen = weight[low:high][:, inside] * (groups[:, None] == group_in)[:, :, None]
        return np.asarray(chosen.transpose(2, 1, 0), np.float32)

    n_kernels = weight.shape[2]
    columns = None
    if op.dilation[-1] == 1:  # a column holds as many positions as the stride goes on by
        others, places = np.divmod(np.arange(n_kernels), op.weight.shape[-1])
        shifts, phases = np.divmod(places, op.strides[-1])
        columns = Columns(shifts, others * op.strides[-1] + phases)
    positions = members[outputs, kernels]
    return Term(part.sites, outputs, positions, kernels, n_kernels, rows, part.divisor, columns)


def scale_terms(view: View, scale: Array) -> tuple[Term, ...] | None:
    """Return the terms of a factor per entry, one connection each; None as in `conv_terms`.

    Args:
        view: Its shape is that of the result.
        scale: Broadcasts to the shape.
    """
    n_positions, _ = split_shape(view.shape)
    is_same = all(size == 1 for size in scale.shape[1:])
    full = np.broadcast_to(scale, view.shape).reshape(-1, n_positions)
    factors = full[:, :1] if is_same else full  # [channels, kernels]
    terms = []
    for part in view.parts:
        arranged = part.channels_and_positions(view.shape)
        if arranged is None:
            return None
        channels, positions = arranged
        kernels = np.zeros_like(positions) if is_same else positions
        rows = _diagonal(factors, channels)
        here = np.arange(part.sites.n_positions)
        zero = np.zeros(1, np.int64)
        columns = Columns(zero, zero) if is_same else None
        n_kernels = factors.shape[1]
        terms.append(
            Term(part.sites, positions, here, kernels, n_kernels, rows, part.divisor, columns)
        )
    return tuple(terms)


def _diagonal(factors: Array, channels: Ints) -> Rows:
    def rows(low: int, high: int) -> Array:
        hit = channels[:, None] == np.arange(low, high)
        return np.asarray(factors[channels].T[:, :, None] * hit, np.float32)

    return rows


@dataclass(frozen=True, eq=False)
class Current:
    """The value of a node without neurons: a sum that is not worked out yet.

    Attributes:
        terms: What comes from events.
        static: [positions or 1, channels].
        constants: Nodes that are the same at every step.
        blocks: Nodes that are there as values.
        convs: Small convolutions of nodes that are there as values.
    """

    terms: tuple[Term, ...]
    static: Array
    constants: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    convs: tuple[str, ...] = ()
