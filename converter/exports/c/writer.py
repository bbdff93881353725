"""Where constants, results and states lie in C, each in the smallest type that holds its bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...ir import Graph, Node
from .bounds import Bounds
from .text import Integers, array_text, choose_type, indent

ALIASES = {"Identity", "Flatten", "Reshape", "Quantize"}
"""Ops that give their operand's numbers in their order: no code, no memory."""


class Writer:
    """Constants, buffers and states while the code is written."""

    def __init__(self, graph: Graph, bounds: Bounds) -> None:
        self.graph = graph
        self.bounds = bounds
        self.constants: list[str] = []
        self.states: list[str] = []
        self.resets: list[str] = []
        self.flash = 0
        self.ram = 0
        self.roots: dict[str, str] = {}
        for node in graph.nodes:
            is_alias = type(node.op).__name__ in ALIASES or keeps_order(graph, node)
            self.roots[node.name] = self.roots[node.inputs[0]] if is_alias else node.name
        self.places = {name: place for place, name in enumerate(self.roots)}
        self.last_uses = self._find_last_uses()
        self.slots: dict[str, int] = {}
        self.slot_types: list[tuple[str, int]] = []
        self.slot_sizes: list[int] = []
        self.free_after: list[int] = []
        for name in self.roots:
            if self.roots[name] == name:
                self._place(name)

    def _find_last_uses(self) -> dict[str, int]:
        """Return by root the place of the last node that reads it; results that stay never end."""
        forever = len(self.graph.nodes)
        last = {root: self.places[root] for root in self.roots.values()}
        for place, node in enumerate(self.graph.nodes):
            for name in node.inputs:
                root = self.roots[name]
                last[root] = max(last[root], place)
        for name, root in self.roots.items():
            if name not in self.graph.varying or name in self.graph.outputs:
                last[root] = forever
        return last

    def _place(self, name: str) -> None:
        """Give a result the first buffer of its type that nobody reads any more."""
        type_, width = choose_type(self.bounds.largest(name))
        place, size = self.places[name], self.graph.types[name].size
        for slot, until in enumerate(self.free_after):
            if until < place and self.slot_types[slot] == (type_, width):
                break
        else:
            slot = len(self.slot_sizes)
            self.slot_types.append((type_, width))
            self.slot_sizes.append(0)
            self.free_after.append(0)
        self.ram += max(0, size - self.slot_sizes[slot]) * width
        self.slot_sizes[slot] = max(size, self.slot_sizes[slot])
        self.free_after[slot] = self.last_uses[name]
        self.slots[name] = slot

    def buffer(self, name: str) -> str:
        """Return the array in which a result lies."""
        return f"b{self.slots[self.roots[name]]}"

    def type_name(self, name: str) -> str:
        """Return the type of a result's entries."""
        return self.slot_types[self.slots[self.roots[name]]][0]

    def is_alias(self, node: Node) -> bool:
        """Return whether a node's result lies where its operand does."""
        return self.roots[node.name] != node.name

    def number(self, node: Node) -> int:
        """Return a number that is the node's own, for names in C."""
        return self.places[node.name]

    def constant(self, node: Node, field: str, values: Any) -> str:
        """Add a const array of the smallest type, and return its name."""
        integers: Integers = np.asarray(values, np.float64).astype(np.int64)
        type_, width = choose_type(int(np.abs(integers).max(initial=0)))
        name = f"{field}{self.number(node)}"
        self.constants += array_text(name, integers, type_)
        self.flash += integers.size * width
        return name

    def state(self, node: Node, field: str, size: int, start: str) -> str:
        """Add an array of int32 that `start`, an expression in i, sets; and return its name."""
        name = f"{field}{self.number(node)}"
        self.states.append(f"static int32_t {name}[{size}];")
        self.resets.append(f"for (i = 0; i < {size}; i++) {name}[i] = {start};")
        self.ram += 4 * size
        return name

    def declarations(self) -> list[str]:
        """Return the buffers and the states."""
        buffers = [
            f"static {type_} b{slot}[{size}];"
            for slot, ((type_, _), size) in enumerate(
                zip(self.slot_types, self.slot_sizes, strict=True)
            )
        ]
        return buffers + self.states

    def per_entry(self, node: Node, field: str, values: Any) -> str:
        """Return an expression in i for a parameter that broadcasts to the operand's shape."""
        if (values == values.flat[0]).all():
            return str(int(values.flat[0]))
        shape = self.graph.types[node.inputs[0]].shape
        if values.shape == (shape[0], *(1,) * (len(shape) - 1)):
            return f"{self.constant(node, field, values)}[i / {int(np.prod(shape[1:]))}]"
        return f"{self.constant(node, field, np.broadcast_to(values, shape))}[i]"


def keeps_order(graph: Graph, node: Node) -> bool:
    """Whether a rearrangement leaves the entries in their order: axes of size 1 move freely."""
    if type(node.op).__name__ not in {"Transpose", "Select", "Add"}:
        return False
    if type(node.op).__name__ == "Add":
        return len(node.inputs) == 1
    if graph.types[node.name].size != graph.types[node.inputs[0]].size:
        return False
    return bool((find_sources(graph, node) == np.arange(graph.types[node.name].size)).all())


def find_sources(graph: Graph, node: Node) -> Integers:
    """Return for every entry of a rearrangement the operand's entry, -1 for a zero."""
    shape = graph.types[node.inputs[0]].shape
    places = np.arange(1, int(np.prod(shape)) + 1, dtype=np.float32).reshape(1, *shape)
    return node.op.apply(places).astype(np.int64).ravel() - 1


def entry_by_entry(writer: Writer, node: Node, *lines: str) -> list[str]:
    """Return a loop over all entries, with x the operand's and y the result's."""
    size = writer.graph.types[node.name].size
    body = [
        f"const int32_t x = {writer.buffer(node.inputs[0])}[i];",
        "int32_t y;",
        *lines,
        f"{writer.buffer(node.name)}[i] = y;",
    ]
    return [f"for (i = 0; i < {size}; i++) {{", *indent(body), "}"]
