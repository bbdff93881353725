"""What NIR has no node for, said with what it has: layouts, uneven padding, means over everything.

Every function keeps what the graph computes; what is not of its kind is left as it is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...ir import Graph, IntegrateFire, Node
from ...ir.ops import AveragePool, Conv, Dense, Flatten, GlobalAveragePool, Input, Pad, Transpose


def replace_nodes(graph: Graph, changed: dict[str, Node | None], **more: Any) -> Graph:
    """Return the graph with other nodes by name; None takes a node out, its operand replaces it."""
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        new = changed.get(node.name, node)
        if new is None:
            renamed[node.name] = renamed.get(node.inputs[0], node.inputs[0])
        else:
            inputs = tuple(renamed.get(name, name) for name in new.inputs)
            nodes.append(dataclasses.replace(new, inputs=inputs))
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    return graph.replace(nodes=tuple(nodes), outputs=outputs, **more)


def rearrange_inputs(graph: Graph) -> tuple[Graph, dict[str, tuple[tuple[int, ...], list[int]]]]:
    """Let inputs take what a transposition behind them makes of them.

    Returns:
        The graph, and by input: the shape that the source takes, and its permutation.
    """
    found: dict[str, tuple[tuple[int, ...], list[int]]] = {}
    changed: dict[str, Node | None] = {}
    for node in graph.nodes:
        (name,) = node.inputs if len(node.inputs) == 1 else ("",)
        source = graph.by_name.get(name)
        if not (source and type(node.op) is Transpose and isinstance(source.op, Input)):
            continue
        if graph.is_only_use(name) and node.name not in graph.outputs and node.unit is None:
            found[name] = (source.op.shape, list(node.op.permutation))
            changed[name] = dataclasses.replace(source, op=Input(graph.types[node.name].shape))
            changed[node.name] = None
    return replace_nodes(graph, changed), found


def fold_transpositions(graph: Graph) -> Graph:
    """Take a transposition before flattening and a dense layer into the order of its columns."""
    changed: dict[str, Node | None] = {}
    for node in graph.nodes:
        if type(node.op) is not Dense:
            continue
        flatten = graph.by_name[node.inputs[0]]
        if type(flatten.op) is not Flatten or not graph.is_only_use(flatten.name):
            continue
        moved = graph.by_name[flatten.inputs[0]]
        if type(moved.op) is not Transpose or not graph.is_only_use(moved.name):
            continue
        shape = graph.types[moved.inputs[0]].shape
        places = np.arange(np.prod(shape)).reshape(shape).transpose(moved.op.permutation).ravel()
        weight = np.empty_like(node.op.weight)
        weight[:, places] = node.op.weight
        changed[node.name] = dataclasses.replace(node, op=Dense(weight, node.op.bias))
        changed[moved.name] = None
    return replace_nodes(graph, changed)


def fold_padding(graph: Graph) -> Graph:
    """Take zeros around a convolution's operand into its padding."""
    changed: dict[str, Node | None] = {}
    for node in graph.nodes:
        if type(node.op) is not Conv:
            continue
        pad = graph.by_name[node.inputs[0]]
        if type(pad.op) is not Pad or any(pad.op.padding[0]) or not graph.is_only_use(pad.name):
            continue
        pairs = zip(node.op.padding, pad.op.padding[1:], strict=True)
        padding = tuple((a[0] + b[0], a[1] + b[1]) for a, b in pairs)
        changed[node.name] = dataclasses.replace(
            node, op=dataclasses.replace(node.op, padding=padding)
        )
        changed[pad.name] = None
    return replace_nodes(graph, changed)


def even_padding(graph: Graph) -> Graph:
    """Make padding the same on both sides, and kernels square: zeros in the kernel are the rest.

    The package nir takes the first size of a kernel for all of them.
    """
    changed: dict[str, Node | None] = {}
    for node in graph.nodes:
        op = node.op
        if type(op) is not Conv:
            continue
        gaps = [abs(before - after) for before, after in op.padding]
        if any(gap % dilation for gap, dilation in zip(gaps, op.dilation, strict=True)):
            continue  # the kernel's entries do not reach there
        grown = [
            ((max(pair) - pair[0]) // dilation, (max(pair) - pair[1]) // dilation)
            for pair, dilation in zip(op.padding, op.dilation, strict=True)
        ]
        sizes = [k + sum(pair) for k, pair in zip(op.weight.shape[2:], grown, strict=True)]
        missing = [max(sizes) - size for size in sizes]
        if any(count % 2 for count in missing):
            missing = [0] * len(sizes)
        if not any(gaps) and not any(missing):
            continue
        sides = [count // 2 for count in missing]
        zeros = [(a + side, b + side) for (a, b), side in zip(grown, sides, strict=True)]
        padding = tuple(
            (max(pair) + side * dilation,) * 2
            for pair, side, dilation in zip(op.padding, sides, op.dilation, strict=True)
        )
        weight = np.pad(op.weight, ((0, 0), (0, 0), *zeros))
        changed[node.name] = dataclasses.replace(
            node, op=dataclasses.replace(op, weight=weight, padding=padding)
        )
    return replace_nodes(graph, changed)


def pool_globally(graph: Graph) -> Graph:
    """Say a mean over two spatial axes as a pooling over all of them, and flatten."""
    nodes: list[Node] = []
    taken = set(graph.types)
    for node in graph.nodes:
        if type(node.op) is GlobalAveragePool and len(graph.types[node.inputs[0]].shape) == 3:
            sizes = graph.types[node.inputs[0]].shape[1:]
            name = f"{node.name}_mean"
            while name in taken:
                name += "_"
            taken.add(name)
            pool = AveragePool(sizes, (1, 1), ((0, 0), (0, 0)))
            nodes.append(Node(name, pool, node.inputs, node.source))
            node = dataclasses.replace(node, op=Flatten(), inputs=(name,))
        nodes.append(node)
    return graph.replace(nodes=tuple(nodes))


def normalize_thresholds(graph: Graph) -> tuple[Graph, list[str]]:
    """Divide the weights before a neuron by its threshold, which becomes 1.

    Returns:
        The graph, and a reason for every neuron for which that is not possible.
    """
    changed: dict[str, Node | None] = {}
    reasons = []
    for node in graph.nodes:
        op = node.op
        if type(op) is not IntegrateFire or (op.threshold == 1).all():
            continue
        before = graph.by_name[node.inputs[0]]
        layer = before.op
        per_channel = op.threshold.size in {1, op.threshold.shape[0]}
        if type(layer) not in {Conv, Dense} or not graph.is_only_use(before.name):
            reasons.append(
                f"{node}: unit-thresholds needs a layer before it that nothing else uses"
            )
            continue
        if not per_channel:
            reasons.append(f"{node}: unit-thresholds needs one threshold per channel")
            continue
        scaled: Any = layer
        rows = np.broadcast_to(op.threshold.ravel(), scaled.bias.shape)
        weight = scaled.weight / rows.reshape(-1, *(1,) * (scaled.weight.ndim - 1))
        new = dataclasses.replace(scaled, weight=weight, bias=scaled.bias / rows)
        changed[before.name] = dataclasses.replace(before, op=new, unit=None)
        fires = dataclasses.replace(
            op,
            threshold=np.ones_like(op.threshold),
            initial_potential=op.initial_potential / op.threshold,
        )
        changed[node.name] = dataclasses.replace(node, op=fires)
    return replace_nodes(graph, changed), reasons
