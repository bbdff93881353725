"""plan_graph: a spiking graph as stages. RULES says what each op becomes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...converter.ir import (
    Array,
    Graph,
    IntegrateFire,
    Neuron,
    Node,
    Op,
    SpikingMaxPool,
    StepInput,
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
from ..simulation import fan_outs
from .constants import find_constant_conv
from .gather import Gather, make_gather
from .layers import Bias, CurrentStage, make_fire_stage
from .layouts import by_position, fill_up
from .memory import Arena, steps_per_block
from .stages import (
    ApplyStage,
    CountStage,
    PackStage,
    Stage,
    TallyStage,
    UnpackStage,
    make_max_pool_stage,
    make_operations_stage,
    make_sum_stage,
)
from .terms import Term, conv_terms, dense_terms, scale_terms
from .views import (
    Ints,
    Sites,
    View,
    concatenate,
    layer_of,
    pool,
    rearrange,
    split_shape,
    view_layer,
)

MAX_TAPS = 2**27
"""Taps of one layer; more would need too much memory for the lists of them."""


@dataclass(frozen=True, eq=False)
class Current:
    """The value of a node without neurons: a sum that is not worked out yet.

    Attributes:
        terms: What comes from events.
        static: [positions or 1, channels].
        constants: Nodes that are the same at every step.
        blocks: Nodes that are there as values.
    """

    terms: tuple[Term, ...]
    static: Array
    constants: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """What the event engine runs.

    Attributes:
        stages: In order.
        arena: Where spikes lie.
        outputs: Names of the graph's outputs.
        fallbacks: Nodes that run in the reference engine's code.
    """

    stages: tuple[Stage, ...]
    arena: Arena
    outputs: tuple[str, ...]
    fallbacks: tuple[str, ...]


def plan_graph(graph: Graph) -> Plan:
    """Compile a spiking graph.

    Raises:
        SimulationError: A layer is too large.
    """
    planner = _Planner(graph)
    for node in graph.nodes:
        if node.name in graph.varying:
            planner.add(node)
    for name in graph.outputs:
        if name in graph.varying:
            planner.block(name)
    names = tuple(fan_outs(graph, varying=True))
    counting = make_operations_stage(planner.consumers, names, planner.arena)
    stages = [*planner.stages, counting]
    return Plan(tuple(stages), planner.arena, graph.outputs, tuple(planner.fallbacks))


@dataclass(eq=False)
class _Planner:
    """The plan so far.

    Attributes:
        graph: What is planned.
        stages: In order.
        views: Results that are events, by name.
        currents: Results that are sums not worked out.
        blocks: Results that are there as values.
        layers: Results that are there as spike masks.
        fallbacks: Nodes that run in the reference engine's code.
        consumers: Connections per position, by node with synapses, by sites.
    """

    graph: Graph
    stages: list[Stage] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    currents: dict[str, Current] = field(default_factory=dict)
    blocks: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    fallbacks: list[str] = field(default_factory=list)
    consumers: dict[Sites, dict[str, Ints]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spiking = (type_.size for type_ in self.graph.types.values() if type_.spiking)
        self.arena = Arena(steps_per_block(sum(spiking)))

    def add(self, node: Node) -> None:
        """Find out how a node is computed; neurons are planned at once, others when needed."""
        rule = RULES.get(type(node.op))
        result = None if rule is None else rule(self, node)
        if rule is None and isinstance(node.op, Neuron):
            self.block(node.name)
            self.stages.append(TallyStage(node.name, node.op))
        if isinstance(result, View):
            self.views[node.name] = result
        elif isinstance(result, Current):
            self.currents[node.name] = result
            if len(self.graph.consumers[node.name]) > 1:
                self.block(node.name)
        self.count(node)

    def view(self, name: str) -> View | None:
        """Return a result as events, if it can be."""
        if name not in self.views and name in self.graph.varying:
            type_ = self.graph.types[name]
            if type_.spiking:
                self.block(name)
                self.arena.add_layer(name, type_.shape)
                first_word = self.arena.layers[name]
                self.stages.append(PackStage(name, type_.shape, self.arena.n_steps, first_word))
                self.views[name] = view_layer(name, type_.shape)
        return self.views.get(name)

    def current(self, name: str) -> Current:
        """Return a result as a sum that a layer can work out."""
        shape = self.graph.types[name].shape
        nothing = np.zeros((1, split_shape(shape)[1]), np.float32)
        if name not in self.graph.varying:
            return Current((), nothing, constants=(name,))
        if name in self.blocks and name not in self.views:
            return Current((), nothing, blocks=(name,))
        if name in self.currents:
            return self.currents[name]
        view = self.view(name)
        if view is None:
            self.block(name)
            return Current((), nothing, blocks=(name,))
        terms = scale_terms(view, np.ones((1,) * len(shape), np.float32))
        if terms is None:
            self.block(name)
            return Current((), nothing, blocks=(name,))
        return Current(terms, nothing)

    def block(self, name: str) -> None:
        """Make sure that a result is there as values."""
        if name in self.blocks or name not in self.graph.varying:
            return
        self.blocks.add(name)
        node = self.graph.by_name[name]
        shape = self.graph.types[name].shape
        if isinstance(node.op, StepInput):  # the engine puts it there
            return
        if name in self.currents:
            gather, bias = self.compile(self.currents[name], shape)
            self.stages.append(CurrentStage(name, shape, gather, bias, self.arena.n_steps))
        elif name in self.layers:
            self.stages.append(UnpackStage(name, shape))
        else:
            for operand in node.inputs:
                self.block(operand)
            shapes = tuple(self.graph.types[operand].shape for operand in node.inputs)
            self.stages.append(ApplyStage(node, shapes))
            self.fallbacks.append(name)

    def compile(self, current: Current, shape: tuple[int, ...]) -> tuple[Gather, Bias]:
        """Turn a sum into what the kernels take."""
        sites = dict.fromkeys(term.sites for term in current.terms)
        if not all(found.is_layer for found in sites):
            for found in sites:
                self.add_up(found)
        gather = make_gather(current.terms, shape, self.arena)
        static = fill_up(current.static, gather.n_channels, np.float32(0))
        convs = {name: find_constant_conv(self.graph, name) for name in current.constants}
        known = tuple(conv for conv in convs.values() if conv is not None)
        others = tuple(name for name in current.constants if convs[name] is None)
        return gather, Bias(static, known, others, current.blocks, split_shape(shape)[0])

    def add_up(self, sites: Sites) -> None:
        """Make sure that sums of spikes are there."""
        if sites not in self.arena.poolings:
            self.arena.add_pooling(sites)
            self.stages.append(make_sum_stage(sites, self.arena))

    def counted(self, sites: Sites) -> dict[str, Ints]:
        """Make sure that operations are counted; return who counts, to be added to."""
        if not sites.is_layer:
            self.add_up(sites)
        return self.consumers.setdefault(sites, {})

    def count(self, node: Node) -> None:
        """Plan how the node's synaptic operations are counted."""
        for operand in node.inputs:
            fan_out = node.op.fan_out(self.graph.types[operand])
            if operand not in self.graph.varying or fan_out is None:
                continue
            view = self.views.get(operand)
            shares = None if view is None else _fan_out_by_position(view, fan_out)
            if view is None or shares is None:
                self.block(operand)
                self.stages.append(CountStage(node.name, operand, fan_out))
                continue
            for part, share in zip(view.parts, shares, strict=True):
                counted = self.counted(part.sites)
                counted[node.name] = counted.get(node.name, 0) + share


def _fan_out_by_position(view: View, fan_out: Array) -> list[Ints] | None:
    """Return the connections of an event for every position of every part, if channels agree."""
    flat = fan_out.reshape(-1).astype(np.int64)
    shares = []
    for part in view.parts:
        values = flat[part.order]
        if (values != values[:, :1]).any():
            return None
        shares.append(values[:, 0])
    return shares


def _fire(planner: _Planner, node: Node) -> View | None:
    shape = planner.graph.types[node.name].shape
    gather, bias = planner.compile(planner.current(node.inputs[0]), shape)
    arena = planner.arena
    arena.add_layer(node.name, shape)
    first_word = arena.layers[node.name]
    planner.stages.append(make_fire_stage(node, shape, gather, bias, arena.n_steps, first_word))
    planner.layers.add(node.name)
    return view_layer(node.name, shape)


def _conv(planner: _Planner, node: Node) -> Current | None:
    op, view = node.op, planner.view(node.inputs[0])
    if view is None or not isinstance(op, Conv | Dense):
        return None
    if isinstance(op, Dense):
        return Current(dense_terms(view, op), op.bias[None])
    window = Window(op.weight.shape[2:], op.strides, op.dilation, op.padding)
    n_outputs = math.prod(window.output_sizes(view.shape[1:]))
    if n_outputs * math.prod(window.kernel) > MAX_TAPS:
        return None
    terms = conv_terms(view, op)
    return None if terms is None else Current(terms, op.bias[None])


def _scale(planner: _Planner, node: Node) -> Current | None:
    op, view = node.op, planner.view(node.inputs[0])
    if view is None or not isinstance(op, Scale):
        return None
    terms = scale_terms(view, op.scale)
    return None if terms is None else Current(terms, by_position(op.shift, view.shape))


def _add(planner: _Planner, node: Node) -> Current:
    currents = [planner.current(name) for name in node.inputs]
    return Current(
        tuple(term for current in currents for term in current.terms),
        np.asarray(sum(current.static for current in currents), np.float32),
        tuple(name for current in currents for name in current.constants),
        tuple(name for current in currents for name in current.blocks),
    )


def _rearrange(planner: _Planner, node: Node) -> View | None:
    view = planner.view(node.inputs[0])
    return view and rearrange(view, node.op, planner.graph.types[node.name].shape)


def _concatenate(planner: _Planner, node: Node) -> View | None:
    views = [planner.view(name) for name in node.inputs]
    found = tuple(view for view in views if view is not None)
    if len(found) < len(views) or not isinstance(node.op, Concatenate):
        return None
    return concatenate(found, node.op.axis, planner.graph.types[node.name].shape)


def _average_pool(planner: _Planner, node: Node) -> View | None:
    """Average pooling adds spikes up, if every window has the same size."""
    op, view = node.op, planner.view(node.inputs[0])
    if view is None:
        return None
    shape = planner.graph.types[node.name].shape
    if isinstance(op, GlobalAveragePool):
        sizes, ones = view.shape[1:], (1,) * (len(view.shape) - 1)
        window = Window(sizes, ones, ones, ((0, 0),) * len(sizes))
    elif isinstance(op, AveragePool) and (op.count_padding or not any(map(any, op.padding))):
        window = op.window
    else:
        return None
    return pool(view, window, math.prod(window.kernel), shape)


def _max_pool(planner: _Planner, node: Node) -> View | None:
    """Max-pooling counts the spikes of a layer; of anything else it is left as it is."""
    view = planner.view(node.inputs[0])
    layer = None if view is None else layer_of(view)
    if view is None or layer is None:
        return None
    shape = planner.graph.types[node.name].shape
    planner.arena.add_layer(node.name, shape)
    planner.stages.append(make_max_pool_stage(node, layer, shape, view.shape, planner.arena))
    planner.layers.add(node.name)
    return view_layer(node.name, shape)


Rule = Callable[[_Planner, Node], View | Current | None]

RULES: dict[type[Op], Rule] = {
    IntegrateFire: _fire,
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
    AveragePool: _average_pool,
    GlobalAveragePool: _average_pool,
}
"""What each op becomes: events, a sum, or None: it runs in the reference engine's code."""
