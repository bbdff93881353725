"""plan_graph: a spiking graph as stages."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...converter.ir import (
    Array,
    Graph,
    Neuron,
    Node,
    StatefulOp,
    StepInput,
)
from ..simulation import fan_outs
from .affine import Affine
from .constants import MAX_PRODUCTS, find_constant_conv
from .gather import Gather, make_gather
from .layers import Bias, CurrentStage
from .layouts import fill_up
from .memory import Arena, steps_per_block
from .pool_values import PoolValuesStage
from .rules import RULES
from .stages import (
    ApplyStage,
    CountStage,
    FixedCountStage,
    PackStage,
    Stage,
    TallyStage,
    UnpackStage,
    make_operations_stage,
    make_sum_stage,
)
from .stepped import SIGNED, SteppedStage, make_unpack_levels_stage
from .terms import Current, scale_terms
from .views import (
    MAX_LEVEL,
    MAX_SIGNED,
    Ints,
    Sites,
    View,
    split_shape,
    view_layer,
)


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

    @property
    def takes_samples(self) -> bool:
        """Whether the steps of a block may be samples that are simulated for one step each."""
        return not any(
            isinstance(stage, TallyStage | SteppedStage | PoolValuesStage)
            or (isinstance(stage, ApplyStage) and isinstance(stage.node.op, StatefulOp))
            for stage in self.stages
        )


def plan_graph(graph: Graph) -> Plan:
    """Compile a spiking graph.

    Raises:
        SimulationError: A layer is too large.
    """
    planner = Planner(graph)
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
class Planner:
    """The plan so far.

    Attributes:
        graph: What is planned.
        stages: In order.
        views: Results that are events, by name.
        currents: Results that are sums not worked out.
        affines: Results that are events but for a scale and a shift.
        blocks: Results that are there as values.
        layers: Results that are there as spike masks.
        fallbacks: Nodes that run in the reference engine's code.
        consumers: Connections per position, by node with synapses, by sites.
    """

    graph: Graph
    stages: list[Stage] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    currents: dict[str, Current] = field(default_factory=dict)
    affines: dict[str, Affine] = field(default_factory=dict)
    blocks: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    fallbacks: list[str] = field(default_factory=list)
    consumers: dict[Sites, dict[str, Ints]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spiking = (type_.size for type_ in self.graph.types.values() if type_.spiking)
        signed = any(isinstance(node.op, SIGNED) for node in self.graph.nodes)
        self.arena = Arena(
            steps_per_block(sum(spiking)), max_level=MAX_SIGNED if signed else MAX_LEVEL
        )

    def add(self, node: Node) -> None:
        """Find out how a node is computed; neurons are planned at once, others when needed."""
        rule = RULES.get(type(node.op))
        result = None if rule is None else rule(self, node)
        if rule is None and isinstance(node.op, Neuron):
            self.fall_back(node)
        if isinstance(result, View):
            self.views[node.name] = result
        elif isinstance(result, Current):
            self.currents[node.name] = result
            if len(self.graph.consumers[node.name]) > 1:
                self.block(node.name)
        elif isinstance(result, Affine):
            self.affines[node.name] = result
        self.count(node)

    def fall_back(self, node: Node) -> None:
        """Let neurons run in the reference engine's code."""
        if not isinstance(node.op, Neuron):
            raise TypeError(f"{node}: expected neurons")
        self.block(node.name)
        self.stages.append(TallyStage(node.name, node.op))

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

    def affine(self, name: str) -> Affine | None:
        """Return a result as scaled and shifted events, if it is."""
        if name in self.affines:
            return self.affines[name]
        view = self.view(name)
        return None if view is None else Affine(view)

    def current(self, name: str) -> Current:
        """Return a result as a sum that a layer can work out."""
        shape = self.graph.types[name].shape
        nothing = np.zeros((1, split_shape(shape)[1]), np.float32)
        if name not in self.graph.varying:
            return Current((), nothing, constants=(name,))
        if name in self.blocks and name not in self.views:
            return Current((), nothing, blocks=(name,))
        known = self.sum(name)
        if known is not None:
            return known
        view = self.view(name)
        if view is None and self.is_small_conv(name):
            self.block(self.graph.by_name[name].inputs[0])
            return Current((), nothing, convs=(name,))
        if view is None:
            self.block(name)
            return Current((), nothing, blocks=(name,))
        terms = scale_terms(view, np.ones((1,) * len(shape), np.float32))
        if terms is None:
            self.block(name)
            return Current((), nothing, blocks=(name,))
        return Current(terms, nothing)

    def is_small_conv(self, name: str) -> bool:
        """Return whether a result is a convolution that one layer takes, of few entries each."""
        conv = find_constant_conv(self.graph, name)
        is_used_once = len(self.graph.consumers[name]) == 1 and name not in self.graph.outputs
        return conv is not None and len(conv.weight) <= MAX_PRODUCTS and is_used_once

    def sum(self, name: str) -> Current | None:
        """Return a result that was planned as a sum, or as scaled and shifted events."""
        affine = self.affines.get(name)
        if affine is None:
            return self.currents.get(name)
        terms = affine.terms()
        return None if terms is None else Current(terms, affine.static())

    def block(self, name: str) -> None:
        """Make sure that a result is there as values."""
        if name in self.blocks or name not in self.graph.varying:
            return
        self.blocks.add(name)
        node = self.graph.by_name[name]
        shape = self.graph.types[name].shape
        self.arena.add_values(shape, 8)
        if isinstance(node.op, StepInput):  # the engine puts it there
            return
        known = self.sum(name)
        if known is not None:
            gather, bias = self.compile(known, shape)
            self.stages.append(CurrentStage(name, shape, gather, bias, self.arena.n_steps))
        elif name in self.layers:
            self.stages.append(UnpackStage(name, shape))
        elif name in self.arena.levels:
            (part,) = self.views[name].parts
            self.stages.append(make_unpack_levels_stage(name, shape, part, self.arena))
        else:
            for operand in node.inputs:
                self.block(operand)
            shapes = tuple(self.graph.types[operand].shape for operand in node.inputs)
            self.stages.append(ApplyStage(node, shapes))
            self.fallbacks.append(name)

    def compile(self, current: Current, shape: tuple[int, ...]) -> tuple[Gather, Bias]:
        """Turn a sum into what the kernels take."""
        gather = self.gather(current, shape)
        return gather, self.bias(current, shape, gather.n_channels)

    def gather(self, current: Current, shape: tuple[int, ...]) -> Gather:
        """Return how the events of a sum are added up."""
        sites = dict.fromkeys(term.sites for term in current.terms)
        if any(not found.is_layer or found in self.arena.poolings for found in sites):
            for found in sites:  # events of a sum are spikes or levels, not both
                self.add_up(found)
        return make_gather(current.terms, shape, self.arena)

    def bias(self, current: Current, shape: tuple[int, ...], n_channels: int) -> Bias:
        """Return the rest of a sum, filled up to so many channels."""
        static = fill_up(current.static, n_channels, np.float32(0))
        convs = {name: find_constant_conv(self.graph, name) for name in current.constants}
        known = tuple(conv for conv in convs.values() if conv is not None)
        others = tuple(name for name in current.constants if convs[name] is None)
        moving = (find_constant_conv(self.graph, name) for name in current.convs)
        found = tuple(conv for conv in moving if conv is not None)
        return Bias(static, known, others, current.blocks, found, split_shape(shape)[0])

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
            affine = self.affines.get(operand)
            if affine is not None and affine.is_never_zero:
                self.stages.append(FixedCountStage(node.name, int(fan_out.sum(dtype=np.float64))))
                continue
            view = affine.view if affine and not affine.shift else self.views.get(operand)
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
