"""What is the same at every step: computed once for a group of samples, on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...converter.ir import Array, Graph
from ...converter.ir.ops import Conv
from ...converter.ir.windows import Window
from .late import product_kernels
from .views import Ints, split_shape, window_positions

MAX_ENTRIES = 2**22
"""Entries of the matrix of windows of one sample; a larger one is left to the reference code."""
VECTOR = 16
"""Channels of a vector; layers are filled up to whole ones."""
MAX_PRODUCTS = 64
"""Entries of a window up to which our own loop is faster than a matrix library."""


class Constants:
    """Values of the nodes that do not lie behind a neuron, [N, ...], by name, for N samples."""

    def __init__(self, graph: Graph, inputs: tuple[Array, ...]) -> None:
        self._graph = graph
        self._values = dict(zip(graph.inputs, inputs, strict=True))

    def __getitem__(self, name: str) -> Array:
        if name not in self._values:
            node = self._graph.by_name[name]
            operands = (self[operand] for operand in node.inputs)
            self._values[name] = node.op.apply(*operands)
        return self._values[name]


@dataclass(frozen=True, eq=False)
class ConstantConv:
    """A convolution of an operand that is there as values; its result has channels last.

    Attributes:
        operand: Name of the operand.
        index: [positions, C_in * kernel]: entry of the flat operand, counted from 1; 0 is padding.
        weight: [C_in * kernel, C_out], filled up to whole vectors.
        bias: [C_out], likewise.
    """

    operand: str
    index: Ints
    weight: Array
    bias: Array

    def add_to(self, total: Array, constants: Constants | Mapping[str, Array]) -> None:
        """Add the results to total [N, positions, C_out or more]; samples are independent."""
        value = constants[self.operand]
        flat = value.reshape(len(value), -1)
        padded = np.empty((len(flat), flat.shape[1] + 1), np.float32)
        padded[:, 0], padded[:, 1:] = 0, flat
        if len(self.weight) <= MAX_PRODUCTS:
            lanes = (0,) * (2 * VECTOR if len(self.bias) % (2 * VECTOR) == 0 else VECTOR)
            product_kernels().add_products(padded, self.index, self.weight, self.bias, total, lanes)
            return
        products = np.matmul(padded.take(self.index, axis=1), self.weight)
        total[:, :, : len(self.bias)] += products + self.bias


def find_constant_conv(graph: Graph, name: str) -> ConstantConv | None:
    """Return how to compute a node if it is a convolution of one group that is not too large."""
    node = graph.by_name[name]
    op = node.op
    if not isinstance(op, Conv) or op.groups != 1:
        return None
    shape = graph.types[node.inputs[0]].shape
    n_positions, n_channels = split_shape(shape)
    if split_shape(graph.types[name].shape)[0] * op.weight[0].size > MAX_ENTRIES:
        return None
    window = Window(op.weight.shape[2:], op.strides, op.dilation, op.padding)
    taken = window_positions(window, shape[1:])
    places = np.arange(n_channels)[:, None, None] * n_positions + taken + 1
    index = np.where(taken >= 0, places, 0).reshape(-1, taken.shape[1])
    filled = -(-len(op.weight) // VECTOR) * VECTOR
    weight = np.zeros((op.weight[0].size, filled), np.float32)
    weight[:, : len(op.weight)] = op.weight.reshape(len(op.weight), -1).T
    bias = np.zeros(filled, np.float32)
    bias[: len(op.bias)] = op.bias
    return ConstantConv(
        node.inputs[0],
        np.ascontiguousarray(index.T),
        weight,
        bias,
    )
