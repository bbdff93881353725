"""RULES: what each op becomes in the event engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...converter.ir import (
    BinaryWeighted,
    Burst,
    DifferentialFire,
    FirstSpikeFire,
    IntegrateFire,
    LeakyFire,
    Neuron,
    Node,
    Op,
    SignedFire,
    SpikingMaxPool,
    StepInput,
    SumPool,
)
from ...converter.ir.ops import (
    Add,
    AveragePool,
    Concatenate,
    Conv,
    Dense,
    Flatten,
    GlobalAveragePool,
    Identity,
    InsertZeros,
    Pad,
    Reshape,
    Scale,
    Transpose,
)
from ...converter.ir.windows import Window
from .affine import Affine
from .bits import Bits, make_bits
from .gather import Gather
from .layers import make_fire_stage
from .layouts import by_position
from .pool_values import make_pool_values_stage
from .stages import make_max_pool_stage
from .stepped import levels_of, make_stepped_stage, view_levels
from .terms import Current, conv_terms, dense_terms, scale_terms
from .views import View, concatenate, layer_of, pool, rearrange, view_layer

if TYPE_CHECKING:
    from .planner import Planner

MAX_TAPS = 2**27
"""Taps of one layer; more would need too much memory for the lists of them."""


def _fire(planner: Planner, node: Node) -> View | None:
    shape = planner.graph.types[node.name].shape
    current, arena = planner.current(node.inputs[0]), planner.arena
    gather: Gather | Bits | None = make_bits(current.terms, shape, arena)
    gather = gather or planner.gather(current, shape)
    bias = planner.bias(current, shape, gather.n_channels)
    if gather.is_split:
        arena.add_values(shape, 4)
    arena.add_layer(node.name, shape)
    first_word = arena.layers[node.name]
    planner.stages.append(make_fire_stage(node, shape, gather, bias, arena.n_steps, first_word))
    planner.layers.add(node.name)
    return view_layer(node.name, shape)


def _stepped(planner: Planner, node: Node) -> View | None:
    if not isinstance(node.op, Neuron):
        raise TypeError(f"{node}: expected neurons")
    shape, arena = planner.graph.types[node.name].shape, planner.arena
    levels = levels_of(node.op)
    if levels is not None and levels.most > arena.max_level:
        planner.fall_back(node)
        return None
    current = planner.current(node.inputs[0])
    gather = planner.gather(current, shape)
    bias = planner.bias(current, shape, gather.n_channels)
    arena.add_values(shape, 5)
    if levels is None:
        view = view_layer(node.name, shape)
        arena.add_layer(node.name, shape)
        first_word = arena.layers[node.name]
        planner.layers.add(node.name)
    else:
        view = view_levels(node.name, shape, levels)
        (part,) = view.parts
        arena.add_levels(part.sites)
        first_word = arena.levels[node.name]
    planner.stages.append(make_stepped_stage(node, shape, gather, bias, arena, first_word))
    return view


def _conv(planner: Planner, node: Node) -> Current | None:
    op, affine = node.op, planner.affine(node.inputs[0])
    if affine is None or not isinstance(op, Conv | Dense):
        return None
    view = affine.view
    linear, static = affine.connect(op)
    if isinstance(linear, Dense):
        return Current(dense_terms(view, linear), static)
    window = Window(linear.weight.shape[2:], linear.strides, linear.dilation, linear.padding)
    n_outputs = math.prod(window.output_sizes(view.shape[1:]))
    if n_outputs * math.prod(window.kernel) > MAX_TAPS:
        return None
    terms = conv_terms(view, linear)
    return None if terms is None else Current(terms, static)


def _scale(planner: Planner, node: Node) -> Current | Affine | None:
    op, affine = node.op, planner.affine(node.inputs[0])
    if affine is None or not isinstance(op, Scale):
        return None
    scaled = affine.scaled(op)
    if scaled is not None:
        return scaled
    if affine.scale != 1 or affine.shift:
        return None
    view = affine.view
    terms = scale_terms(view, op.scale)
    return None if terms is None else Current(terms, by_position(op.shift, view.shape))


def _add(planner: Planner, node: Node) -> Current:
    currents = [planner.current(name) for name in node.inputs]
    return Current(
        tuple(term for current in currents for term in current.terms),
        np.asarray(sum(current.static for current in currents), np.float32),
        tuple(name for current in currents for name in current.constants),
        tuple(name for current in currents for name in current.blocks),
        tuple(name for current in currents for name in current.convs),
    )


def _rearrange(planner: Planner, node: Node) -> View | Affine | None:
    of_input = isinstance(planner.graph.by_name[node.inputs[0]].op, StepInput)
    if of_input and isinstance(node.op, Transpose):
        return None  # first put in order, then packed by the channels that layers see
    affine = planner.affine(node.inputs[0])
    if affine is None or (affine.shift and isinstance(node.op, Pad | InsertZeros)):
        return None
    view = rearrange(affine.view, node.op, planner.graph.types[node.name].shape)
    return _as_before(planner, node, affine, view)


def _as_before(planner: Planner, node: Node, affine: Affine, view: View) -> View | Affine | None:
    """Return another view as what the operand was: spikes, or scaled and shifted spikes."""
    if node.inputs[0] not in planner.affines:
        return view
    return replace(affine, view=view)


def _concatenate(planner: Planner, node: Node) -> View | None:
    views = [planner.view(name) for name in node.inputs]
    found = tuple(view for view in views if view is not None)
    if len(found) < len(views) or not isinstance(node.op, Concatenate):
        return None
    return concatenate(found, node.op.axis, planner.graph.types[node.name].shape)


def _pool(planner: Planner, node: Node) -> View | Affine | None:
    """Pooling adds spikes up; an average does so if every window has the same size."""
    op, affine = node.op, planner.affine(node.inputs[0])
    if affine is None:
        return None
    view = affine.view
    shape = planner.graph.types[node.name].shape
    if isinstance(op, GlobalAveragePool):
        sizes, ones = view.shape[1:], (1,) * (len(view.shape) - 1)
        window = Window(sizes, ones, ones, ((0, 0),) * len(sizes))
    elif isinstance(op, SumPool) or (
        isinstance(op, AveragePool) and (op.count_padding or not any(map(any, op.padding)))
    ):
        window = op.window
    else:
        return None
    if affine.shift and any(map(any, window.padding)):
        return None
    divisor = 1 if isinstance(op, SumPool) else math.prod(window.kernel)
    pooled = pool(view, window, divisor, shape, planner.arena.max_level)
    return pooled and _as_before(planner, node, affine, pooled)


def _max_pool(planner: Planner, node: Node) -> View | None:
    """Max-pooling counts the spikes of a layer; anything else it pools as values."""
    view = planner.view(node.inputs[0])
    layer = None if view is None else layer_of(view)
    shape = planner.graph.types[node.name].shape
    if view is None or layer is None:
        before = planner.graph.types[node.inputs[0]].shape
        planner.block(node.inputs[0])
        planner.blocks.add(node.name)
        planner.arena.add_values(shape, 8)
        planner.stages.append(make_pool_values_stage(node, shape, before))
        return None
    planner.arena.add_layer(node.name, shape)
    planner.stages.append(make_max_pool_stage(node, layer, shape, view.shape, planner.arena))
    planner.layers.add(node.name)
    return view_layer(node.name, shape)


Rule = Callable[["Planner", Node], View | Current | Affine | None]

RULES: dict[type[Op], Rule] = {
    IntegrateFire: _fire,
    LeakyFire: _stepped,
    Burst: _stepped,
    BinaryWeighted: _stepped,
    SignedFire: _stepped,
    FirstSpikeFire: _stepped,
    DifferentialFire: _stepped,
    Conv: _conv,
    Dense: _conv,
    Scale: _scale,
    Add: _add,
    Identity: _rearrange,
    Flatten: _rearrange,
    Reshape: _rearrange,
    Transpose: _rearrange,
    Pad: _rearrange,
    InsertZeros: _rearrange,
    Concatenate: _concatenate,
    SpikingMaxPool: _max_pool,
    AveragePool: _pool,
    GlobalAveragePool: _pool,
    SumPool: _pool,
}
"""What each op becomes: events, a sum, or None: it runs in the reference engine's code."""
