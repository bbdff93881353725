"""A graph as text, for people."""

from __future__ import annotations

import dataclasses

import numpy as np

from .graph import Graph
from .ops import Op


def format_graph(graph: Graph) -> str:
    """Return one line per node: name (Op), result type, parameters, operands."""
    rows = [
        (str(node), str(graph.types[node.name]), format_parameters(node.op), ", ".join(node.inputs))
        for node in graph.nodes
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join((
            *(cell.ljust(width) for cell, width in zip(row, widths, strict=False)),
            f"<- {row[3]}" if row[3] else "",
        )).rstrip()
        for row in rows
    ]
    return "\n".join((*lines, f"outputs: {', '.join(graph.outputs)}"))


def format_parameters(op: Op) -> str:
    """Return an op's parameters in short: arrays by shape, or by value where it is one."""
    parts = []
    for field in dataclasses.fields(op):
        value = getattr(op, field.name)
        if isinstance(value, np.ndarray):
            value = f"{value.flat[0]:g}" if _is_uniform(value) else list(value.shape)
        if value is not None:
            parts.append(f"{field.name}={value}")
    return " ".join(parts)


def count_parameters(graph: Graph) -> int:
    """Return the number of trained numbers in the graph's weights, biases, scales and shifts."""
    return sum(
        getattr(node.op, field.name).size
        for node in graph.nodes
        for field in dataclasses.fields(node.op)
        if field.name in {"weight", "bias", "mean", "variance", "scale", "shift"}
    )


def _is_uniform(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> bool:
    return bool((values == values.flat[0]).all())
