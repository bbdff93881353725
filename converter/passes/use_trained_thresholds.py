"""Weight normalisation by the thresholds that training found."""

from __future__ import annotations

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph
from ..ir.ops import QuantizedRelu, Relu
from .rescaling import rescale


def use_trained_thresholds(graph: Graph) -> Graph:
    """Scale every layer so that the threshold that it was trained with is 1; needs no data.

    The threshold of a quantised ReLU is its own, that of a ReLU with an upper bound the bound.

    Before:  conv1 (Conv) -> relu1 (QuantizedRelu, threshold s)   activations 0, s/n, ... s
    After:   conv1 (Conv) -> relu1 (QuantizedRelu, threshold 1)   activations 0, 1/n, ... 1

    Args:
        graph: ANN without batch norm, every ReLU quantised or bounded.

    Raises:
        PassError: A ReLU has no trained threshold; all of them are listed.

    Keeps: the function; `Node.unit` of a ReLU is its threshold.
    Source: Bu et al. 2022 (the trained threshold is the neurons').
    """
    units: dict[str, Array] = {}
    missing = []
    for node in graph.nodes:
        match node.op:
            case QuantizedRelu(threshold=threshold):
                units[node.name] = np.asarray(threshold)
            case Relu(max_value=None):
                missing.append(str(node))
            case Relu(max_value=bound):
                units[node.name] = np.asarray(bound)
    if missing:
        raise PassError(
            f"use_trained_thresholds: {', '.join(missing[:5])} of {len(missing)} without a "
            "threshold, expected quantised or bounded ReLUs",
            hint="train it first: spikeport train MODEL --constraint qcfs; or use recipe rate",
        )
    return rescale(graph, units)
