"""Node and Graph. A Graph that exists is valid: every rule is checked on construction."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import GraphError
from .neurons import StatefulOp, StepInput
from .ops import Input, Op, Scale
from .types import Array, TensorType, freeze


@dataclass(frozen=True, eq=False)
class Node:
    """One operation in a graph; its only result is named like the node.

    A name stands for a value: a pass that keeps the function keeps `result x unit` of every name
    that it keeps, and drops a name whose value it changes.

    Attributes:
        name: Unique in the graph.
        op: What is computed.
        inputs: Names of the operands.
        source: The name of the layer or node in the source model; "" for what passes add.
        unit: What one unit of the result stands for in the source's units; has the rank of a
            sample and broadcasts to it. None is 1.
    """

    name: str
    op: Op
    inputs: tuple[str, ...] = ()
    source: str = ""
    unit: Array | None = None

    def __post_init__(self) -> None:
        if self.unit is not None:
            object.__setattr__(self, "unit", freeze(self.unit))

    def __str__(self) -> str:
        return f"{self.name} ({type(self.op).__name__})"


@dataclass(frozen=True, eq=False)
class Graph:
    """A network, analog or spiking.

    Attributes:
        nodes: In topological order.
        inputs: Names of the Input nodes, in the order of the source model.
        outputs: Names of the results, in the order of the source model.
        metadata: Where the graph comes from and how to read its outputs; JSON values only.

    Raises:
        GraphError: A name is used twice, an operand is missing or comes later, an op does not fit
            its operands, an input or output does not exist.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        types: dict[str, TensorType] = {}
        for node in self.nodes:
            if not node.name:
                raise GraphError(f"{node}: has no name")
            if node.name in types:
                raise GraphError(f"{node}: the name is used twice, expected unique names")
            types[node.name] = _infer(node, types)
        placeholders = {node.name for node in self.nodes if isinstance(node.op, Input)}
        if set(self.inputs) != placeholders or len(set(self.inputs)) != len(self.inputs):
            raise GraphError(
                f"inputs {list(self.inputs)}: expected each Input node once: {sorted(placeholders)}"
            )
        if not self.outputs:
            raise GraphError("graph: has no output, expected at least one")
        for name in self.outputs:
            if name not in types:
                raise GraphError(f"output {name}: no node has this name")
        object.__setattr__(self, "types", types)

    types: Mapping[str, TensorType] = field(init=False, repr=False)
    """Type of every node's result, by name."""

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return {node.name: node for node in self.nodes}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that take a result, by its name; one that takes it twice is there twice."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for operand in node.inputs:
                found[operand].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def varying(self) -> frozenset[str]:
        """Names of the results that change over time steps: those behind neurons or StepInputs."""
        found: set[str] = set()
        for node in self.nodes:
            if isinstance(node.op, StatefulOp | StepInput) or found.intersection(node.inputs):
                found.add(node.name)
        return frozenset(found)

    def is_only_use(self, name: str) -> bool:
        """Whether exactly one node takes the result, and it is no output of the graph."""
        return len(self.consumers[name]) == 1 and name not in self.outputs

    def replace(self, **changes: Any) -> Graph:
        """Return a checked copy with other nodes, inputs, outputs or metadata."""
        return dataclasses.replace(self, **changes)

    def fresh_name(self, wanted: str) -> str:
        """Return `wanted`, or `wanted` with the first number that makes it unique."""
        name, number = wanted, 2
        while name in self.types:
            name, number = f"{wanted}_{number}", number + 1
        return name


def _infer(node: Node, types: Mapping[str, TensorType]) -> TensorType:
    for operand in node.inputs:
        if operand not in types:
            raise GraphError(f"{node}: operand {operand!r} is not the result of an earlier node")
    expected = node.op.n_inputs
    if (expected is None and not node.inputs) or expected not in {None, len(node.inputs)}:
        wanted = ">= 1" if expected is None else expected
        raise GraphError(f"{node}: has {len(node.inputs)} operands, expected {wanted}")
    try:
        type_ = node.op.infer(*(types[operand] for operand in node.inputs))
        if node.unit is not None:
            Scale(node.unit, node.unit).infer(type_)
    except GraphError as error:
        raise error.at(str(node)) from error
    return type_
