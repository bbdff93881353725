"""Weights of two or three values per output channel: SCHEMES, and which layers get them."""

from __future__ import annotations

import numpy as np

from ..ir import Array, Graph
from ..ir.ops import Conv, Dense, QuantizedRelu, Relu

SCHEMES = {
    "connect": "one value -a, a per layer (BinaryConnect, Courbariaux et al. 2015)",
    "stochastic": "the same, drawn with probability hard-sigmoid(w / a) while training",
    "scaled": "-a, a with a = mean |w| per output channel (XNOR-Net, Rastegari et al. 2016)",
    "ternary": "-a, 0, a with 0 where |w| < 0.7 mean |w| (TWN, Li et al. 2016)",
}
TERNARY_SHARE = 0.7
LEAST = 1e-6
"""Of a: a channel whose weights are all zero stays a channel."""


def binarize(weight: Array, scheme: str) -> Array:
    """Return the weights as -a, a or, ternary, -a, 0, a.

    Args:
        weight: [C_out, ...].
        scheme: A key of SCHEMES.

    Returns:
        Of the same shape; 0 counts as positive.
    """
    flat = weight.reshape(len(weight), -1)
    size = np.abs(flat)
    signs = np.where(flat >= 0, np.float32(1), np.float32(-1))
    if scheme in {"connect", "stochastic"}:
        scale = np.full((len(flat), 1), size.mean())
    elif scheme == "scaled":
        scale = size.mean(axis=1, keepdims=True)
    else:
        is_large = size > TERNARY_SHARE * size.mean(axis=1, keepdims=True)
        n_large = np.maximum(is_large.sum(axis=1, keepdims=True), 1)
        scale = (size * is_large).sum(axis=1, keepdims=True) / n_large
        signs = signs * is_large
    result = signs * np.maximum(scale, LEAST).astype(np.float32) + np.float32(0)  # no -0
    return np.asarray(result.reshape(weight.shape), np.float32)


def find_binarizable(graph: Graph, *, all_layers: bool) -> tuple[str, ...]:
    """Return the layers whose weights become binary: all but the first and the last ones.

    The first are those that no neuron is in front of, the last those with none behind.
    Convolutions of a single input channel per group keep their weights: too little is summed up.
    """
    behind: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, Relu | QuantizedRelu) or behind.intersection(node.inputs):
            behind.add(node.name)
    before: set[str] = set()
    for node in reversed(graph.nodes):
        if isinstance(node.op, Relu | QuantizedRelu) or node.name in before:
            before.update(node.inputs)
    return tuple(
        node.name
        for node in graph.nodes
        if isinstance(node.op, Conv | Dense)
        and not (isinstance(node.op, Conv) and node.op.groups > 1 and node.op.weight.shape[1] == 1)
        and (all_layers or (node.name in behind and node.name in before))
    )
