"""Fold batch norm, and every other multiplication and addition per channel, into weights."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..ir import Array, Graph, Node
from ..ir.ops import BatchNorm, Conv, Dense, Op, Scale


def fold_batch_norm(graph: Graph) -> Graph:
    """Fold batch norm and scales into the layer before, else into the layer behind.

    y = a x + c behind  x = W z + b  becomes  y = (a W) z + (a b + c);  before  v = W y + b  it
    becomes  v = (W a) x + (W c + b).  Where padding makes W c differ from place to place (a padded
    zero is a zero of y, not of x), W c stays behind the layer as a Scale of 1 and a shift for every
    place. What cannot be folded exactly stays as a Scale.

    Before:  conv1 (Conv) -> conv1_norm (BatchNorm) -> conv1_relu (Relu)
    After:   conv1_norm (Conv) -> conv1_relu (Relu)

    Keeps: the function.
    """
    kept: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, BatchNorm):
            rank = len(graph.types[node.inputs[0]].shape)
            node = dataclasses.replace(node, op=node.op.as_scale(rank))
        if isinstance(node.op, Scale):
            before = kept[node.inputs[0]]
            folded = _after(before.op, node.op)
            if folded is not None and graph.is_only_use(before.name):
                del kept[before.name]
                node = dataclasses.replace(before, name=node.name, op=folded, unit=node.unit)
        elif isinstance(node.op, Conv | Dense):
            before = kept[node.inputs[0]]
            if isinstance(before.op, Scale) and graph.is_only_use(before.name):
                layers = _before(node.op, before.op, graph.types[before.name].shape)
                if layers:
                    del kept[before.name]
                    operands = before.inputs
                    for op in layers[:-1]:
                        name = graph.fresh_name(f"{node.name}/unshifted")
                        kept[name] = Node(name, op, operands, node.source)
                        operands = (name,)
                    node = dataclasses.replace(node, op=layers[-1], inputs=operands)
        kept[node.name] = node
    return graph.replace(nodes=tuple(kept.values()))


def _after(op: Op, scale: Scale) -> Op | None:
    """Return `op` followed by `scale` as one op, or None."""
    if isinstance(op, Scale):
        return Scale(op.scale * scale.scale, op.shift * scale.scale + scale.shift)
    if not isinstance(op, Conv | Dense):
        return None
    n_channels = len(op.weight)
    factor, shift = _per_channel(scale.scale, n_channels), _per_channel(scale.shift, n_channels)
    if factor is None or shift is None:
        return None
    weight = op.weight * factor.reshape(-1, *(1,) * (op.weight.ndim - 1))
    return dataclasses.replace(op, weight=weight, bias=op.bias * factor + shift)


def _before(op: Conv | Dense, scale: Scale, shape: tuple[int, ...]) -> tuple[Op, ...]:
    """Return ops that do what `scale` of samples of `shape` and then `op` do; () if none can."""
    groups = op.groups if isinstance(op, Conv) else 1
    n_channels = op.weight.shape[1] * groups
    factor, shift = _per_channel(scale.scale, n_channels), _per_channel(scale.shift, n_channels)
    if factor is None or shift is None:
        return ()
    n_axes = op.weight.ndim - 2
    grouped = op.weight.reshape(groups, -1, *op.weight.shape[1:])  # [groups, out, in, K...]
    weight = (grouped * factor.reshape(groups, 1, -1, *(1,) * n_axes)).reshape(op.weight.shape)
    constant = np.broadcast_to(shift.reshape(-1, *(1,) * n_axes), shape)
    shifts = op.apply(constant[None])[0]
    if not shift.any() or not isinstance(op, Conv) or not any(map(any, op.padding)):
        per_channel = shifts.reshape(len(shifts), -1)[:, 0]
        return (dataclasses.replace(op, weight=weight, bias=per_channel),)
    unshifted = dataclasses.replace(op, weight=weight, bias=np.zeros_like(op.bias))
    return unshifted, Scale(np.ones((1,) * len(shape), np.float32), shifts)


def _per_channel(values: Array, n_channels: int) -> Array | None:
    """Return `values` as [C] if they are the same at all positions of a channel, else None."""
    flat = values.reshape(len(values), -1)
    if not (flat == flat[:, :1]).all():
        return None
    return np.broadcast_to(flat[:, 0], (n_channels,))
