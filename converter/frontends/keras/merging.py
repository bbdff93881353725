"""Merging layers, and the functions of keras.ops that do the same: several operands, one shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...ir.ops import Add, Concatenate, Scale, Select
from .. import lowering
from .calls import Constant
from .draft import Site, UnsupportedLayerError, Value
from .model import Layer
from .sampling import check_length
from .settings import get_axis, get_number

PRODUCT = "multiplies tensors with one another, which rates of spikes cannot, expected a constant"


def emit_add(site: Site, *operands: Value) -> Value:
    """Add."""
    operands = broadcast(site, operands)
    return site.add(Add(), *operands, moved=operands[0].moved)


def emit_subtract(site: Site, *operands: Value) -> Value:
    """Subtract."""
    a, b = broadcast(site, operands)
    node = lowering.subtract(site.emit, a.node, b.node, len(a.shape))
    return site.value(node, moved=a.moved)


def emit_average(site: Site, *operands: Value) -> Value:
    """Average."""
    operands = broadcast(site, operands)
    nodes = [operand.node for operand in operands]
    node = lowering.average(site.emit, nodes, len(operands[0].shape))
    return site.value(node, moved=operands[0].moved)


def emit_maximum(site: Site, *operands: Value) -> Value:
    """Maximum."""
    return _emit_extreme(site, operands, lowering.maximum)


def emit_minimum(site: Site, *operands: Value) -> Value:
    """Minimum."""
    return _emit_extreme(site, operands, lowering.minimum)


def emit_custom_scale(site: Site, *operands: Value) -> Value:
    """CustomScaleLayer of keras.applications.InceptionResNetV2: a + scale b."""
    a, b = broadcast(site, operands)
    scale = np.full((1,) * len(b.shape), get_number(site.layer, "scale", 1.0), np.float32)
    scaled = site.add(Scale(scale, 0 * scale), b, inner="scaled", moved=b.moved)
    return site.add(Add(), a, scaled, moved=a.moved)


def emit_concatenate(site: Site, *operands: Value | Constant) -> Value:
    """Concatenate."""
    tensors = only_tensors(operands)
    axis = get_axis(site.layer, tensors[0].shape)
    tensors = unify(site, tensors)
    op = Concatenate(tensors[0].axis(axis))
    return site.add(op, *tensors, moved=tensors[0].moved)


def emit_product(site: Site, *operands: Value) -> Value:
    """Multiply, which is refused; only shapes come out."""
    operands = broadcast(site, operands)
    return site.add(Add(), *operands, moved=operands[0].moved)


def refuse_product(layer: Layer) -> Iterator[str]:
    """Yield that tensors are multiplied, if any call has more than one."""
    if not layer.calls or any(len(call) > 1 for call in layer.calls):
        yield PRODUCT


def only_tensors(operands: tuple[Value | Constant, ...]) -> tuple[Value, ...]:
    """Return the operands of a function, all of which must be tensors.

    Raises:
        UnsupportedLayerError: One is a constant.
    """
    tensors = tuple(operand for operand in operands if isinstance(operand, Value))
    if len(tensors) < len(operands):
        raise UnsupportedLayerError("joins a constant, expected tensors", result=tensors[0])
    return tensors


def unify(site: Site, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the operands in one layout: channels in front if any has them there."""
    if any(operand.moved for operand in operands):
        return tuple(site.channels_first(operand) for operand in operands)
    return operands


def broadcast(site: Site, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the operands in one layout and one shape; entries along axes of size 1 are repeated.

    Raises:
        UnsupportedLayerError: The shapes have different numbers of axes, or do not broadcast.
    """
    shapes = [operand.shape for operand in operands]
    largest = max(operands, key=lambda operand: len(operand.shape))
    if len({len(shape) for shape in shapes}) > 1:
        raise UnsupportedLayerError(
            f"takes shapes {shapes}, expected the same number of axes", result=largest
        )
    sizes = tuple(max(each) for each in zip(*shapes, strict=True))
    if any(a not in {1, b} for shape in shapes for a, b in zip(shape, sizes, strict=True)):
        raise UnsupportedLayerError(
            f"takes shapes {shapes}, expected shapes that broadcast", result=largest
        )
    return tuple(_spread(site, operand, sizes) for operand in unify(site, operands))


def _spread(site: Site, x: Value, sizes: tuple[int, ...]) -> Value:
    if x.shape == sizes:
        return x
    places: list[tuple[int, ...] | None] = [None] * len(sizes)
    for axis, (size, wanted) in enumerate(zip(x.shape, sizes, strict=True)):
        if size != wanted:
            check_length(wanted)
            places[x.axis(axis)] = (0,) * wanted
    return site.add(Select(tuple(places)), x, inner="repeated", moved=x.moved)


def _emit_extreme(site: Site, operands: tuple[Value, ...], lower: Callable[..., str]) -> Value:
    operands = broadcast(site, operands)
    shape = site.draft.types[operands[0].node].shape
    node = lower(site.emit, [operand.node for operand in operands], shape)
    return site.value(node, moved=operands[0].moved)
