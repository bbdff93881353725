"""Operands of operators that broadcast: tensors of one shape, and one constant for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...errors import GraphError
from ...ir.ops import Scale, Select
from .draft import Tensor
from .folding import Constant
from .reasons import GATE, UnsupportedNodeError
from .site import Site, fit
from .tensors import Numbers

MAX_CONSTANT = 2**26
"""Entries of several constants merged into one."""


def is_constant(site: Site, place: int) -> bool:
    """Whether an operand does not depend on the input."""
    return isinstance(site.operand(place), Constant)


def read_operands(
    site: Site, merge: Callable[[Numbers, Numbers], Numbers]
) -> tuple[list[Tensor], Numbers | None]:
    """Return the tensors, broadcast to one shape, and the constants merged into one, if any.

    Raises:
        GraphError: There are no operands.
        UnsupportedNodeError: No operand depends on the input, or they do not broadcast to samples
            of one shape.
    """
    if not site.n_operands:
        raise GraphError("has no operands")
    places = range(site.n_operands)
    tensors = [site.tensor(place, rows=True) for place in places if not is_constant(site, place)]
    constants = [
        site.weights(place, "the constant") for place in places if is_constant(site, place)
    ]
    if not tensors:
        raise UnsupportedNodeError("takes only constants, expected a value of the input")
    constant: Numbers | None = None
    for each in constants:
        constant = each if constant is None else _merge(merge, constant, each)
    tensors = broadcast(site, tensors)
    if constant is None:
        return tensors, None
    sizes = _sample_sizes(constant, tensors[0])
    tensors = [enlarge(site, tensor, sizes) for tensor in tensors]
    return tensors, fit(constant, tensors[0])


def _merge(
    merge: Callable[[Numbers, Numbers], Numbers], first: Numbers, second: Numbers
) -> Numbers:
    try:
        shape = np.broadcast_shapes(first.shape, second.shape)
    except ValueError as error:
        raise GraphError(
            f"constants have shapes {first.shape} and {second.shape}, which do not broadcast"
        ) from error
    if math.prod(shape) > MAX_CONSTANT:
        raise GraphError(f"constants give {math.prod(shape)} entries, expected {MAX_CONSTANT}")
    return merge(first, second)


def with_constant(site: Site) -> tuple[Tensor, Numbers, bool]:
    """Return the tensor, the constant with the rank of a sample, and whether that comes first."""
    is_first = is_constant(site, 0)
    if not is_first and not is_constant(site, 1):
        raise UnsupportedNodeError(GATE)
    x = site.tensor(1 if is_first else 0, rows=True)
    constant = site.weights(0 if is_first else 1, "the constant")
    x = enlarge(site, x, _sample_sizes(constant, x))
    return x, fit(constant, x), is_first


def broadcast(site: Site, tensors: list[Tensor]) -> list[Tensor]:
    """Repeat entries along axes of size 1 until all tensors have one shape.

    Raises:
        UnsupportedNodeError: They have other ranks or sizes.
    """
    shapes = [tensor.shape for tensor in tensors]
    if len(set(shapes)) == 1 and len({tensor.has_rows for tensor in tensors}) == 1:
        return tensors
    try:
        if len({len(shape) for shape in shapes}) > 1 or any(each.has_rows for each in tensors):
            raise ValueError
        sizes = np.broadcast_shapes(*shapes)
    except ValueError as error:
        shown = " and ".join(str([*shape]) for shape in shapes)
        raise UnsupportedNodeError(
            f"takes samples of shapes {shown}, expected one shape"
        ) from error
    return [enlarge(site, tensor, sizes) for tensor in tensors]


def enlarge(site: Site, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Repeat entries along axes of size 1 where `sizes` has more."""
    if len(sizes) != len(x.shape) or x.has_rows:
        return x
    indices = tuple(
        (0,) * wanted if size == 1 and wanted > 1 else None
        for size, wanted in zip(x.shape, sizes, strict=True)
    )
    return site.add(Select(indices), x, inner="repeated") if any(indices) else x


def constant_like(x: Tensor, value: float) -> Numbers:
    """Return one number with the rank of a sample."""
    return np.full((1,) * len(x.shape), value, np.float32)


def scaled(site: Site, x: Tensor, scale: float, shift: Numbers, *, inner: str = "") -> Tensor:
    """Append scale x + shift."""
    return site.map(Scale(constant_like(x, scale), shift), x, inner=inner)


def _sample_sizes(constant: Numbers, x: Tensor) -> tuple[int, ...]:
    """Return a constant's sizes as those of a sample, if it has any of its own."""
    rank = len(x.shape)
    sizes = constant.shape
    if len(sizes) == rank + 1 and sizes[0] == 1:
        sizes = sizes[1:]
    if len(sizes) > rank or math.prod(sizes) == 0:
        return ()
    return (1,) * (rank - len(sizes)) + sizes
