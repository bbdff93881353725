"""Draft: a Keras model while it is built; Value: a result in it, with its own order of axes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UnsupportedOpError
from ...ir import Graph

Create = Callable[..., Any]
"""(class name of keras.layers, settings) -> layer; `name` is among the settings."""


@dataclass(frozen=True)
class Value:
    """A result.

    Attributes:
        tensor: As Keras has it, [N, ...].
        axes: Axis k of a sample of the tensor is axis axes[k] of the graph's result.
    """

    tensor: Any
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of a sample in Keras' order."""
        return tuple(self.tensor.shape[1:])


class Draft:
    """What the translations of nodes write to; every layer's name is used once."""

    def __init__(self, graph: Graph, create: Create) -> None:
        self.graph = graph
        self.create = create
        self.names = layer_names(graph)
        self.taken = set(self.names.values())
        self.arranged: dict[tuple[int, tuple[int, ...]], Any] = {}

    def layer(self, kind: str, node: str, *, part: str = "", **settings: Any) -> Any:
        """Return a new layer, called like the node; with `part`, one of its helpers."""
        name = self.names[node]
        if part:
            name = wanted = f"{name}_{part}"
            number = 2
            while name in self.taken:
                name, number = f"{wanted}_{number}", number + 1
            self.taken.add(name)
        return self.create(kind, name=name, **settings)

    def arrange(self, value: Value, axes: tuple[int, ...], node: str) -> Any:
        """Return the value's tensor in another order of axes; once per order."""
        if value.axes == axes:
            return value.tensor
        key = (id(value.tensor), axes)
        if key not in self.arranged:
            order = [value.axes.index(axis) for axis in axes]
            moved = [place for place in order if value.shape[place] > 1]
            if moved == sorted(moved):  # axes of size 1 move: no entry changes its place
                shape = tuple(value.shape[place] for place in order)
                layer = self.layer("Reshape", node, part="axes", target_shape=shape)
            else:
                dims = tuple(place + 1 for place in order)
                layer = self.layer("Permute", node, part="axes", dims=dims)
            self.arranged[key] = layer(value.tensor)
        return self.arranged[key]

    def plain(self, value: Value, node: str) -> Any:
        """Return the value's tensor in the graph's order of axes."""
        return self.arrange(value, tuple(range(len(value.axes))), node)

    def channels_last(self, value: Value, node: str) -> Any:
        """Return the value's tensor with the graph's first axis at the end."""
        return self.arrange(value, channels_last(len(value.axes)), node)


def channels_last(rank: int) -> tuple[int, ...]:
    """Return the axes of a sample in Keras' order."""
    return (*range(1, rank), *range(min(rank, 1)))


def layer_names(graph: Graph) -> dict[str, str]:
    """Return by node the name of its layer: what Keras and TensorFlow take, and no two the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for node in graph.nodes:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", node.name)
        plain = plain if re.match(r"[A-Za-z0-9]", plain) else f"n{plain}"
        name, number = plain, 2
        while name in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name)
        found[node.name] = name
    return found


def spread(values: Any, axes: tuple[int, ...]) -> Any:
    """Return values of a sample's rank, in the graph's order, as a tensor with `axes` has them."""
    return np.asarray(values, np.float32).transpose(axes)


def refuse(reason: str) -> UnsupportedOpError:
    """Return the error that says what Keras has no layer for; the node is put in front later."""
    return UnsupportedOpError(reason)
