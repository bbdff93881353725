"""EMITTERS: the C of every op, with its sizes as literals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...ir import Node
from .neurons import NEURONS
from .text import choose_type, indent
from .writer import Writer, entry_by_entry, find_sources


def _alias(writer: Writer, node: Node) -> list[str]:
    return []


def _rearrange(writer: Writer, node: Node) -> list[str]:
    if writer.is_alias(node):
        return []
    sources = find_sources(writer.graph, node)
    table = writer.constant(node, "from", sources)
    source, target = writer.buffer(node.inputs[0]), writer.buffer(node.name)
    value = f"{source}[{table}[i]]"
    if (sources < 0).any():
        value = f"{table}[i] < 0 ? 0 : {value}"
    return [f"for (i = 0; i < {sources.size}; i++) {target}[i] = {value};"]


def _concatenate(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    shape = writer.graph.types[node.name].shape
    inner = int(np.prod(shape[op.axis :]))
    lines, start = ["int32_t j;"], 0
    for name in node.inputs:
        part = int(np.prod(writer.graph.types[name].shape[op.axis :]))
        outer = int(np.prod(shape[: op.axis]))
        source, target = writer.buffer(name), writer.buffer(node.name)
        lines += [
            f"for (i = 0; i < {outer}; i++)",
            f"    for (j = 0; j < {part}; j++)",
            f"        {target}[i * {inner} + {start} + j] = {source}[i * {part} + j];",
        ]
        start += part
    return lines


def _add(writer: Writer, node: Node) -> list[str]:
    if writer.is_alias(node):
        return []
    size = writer.graph.types[node.name].size
    total = " + ".join(f"(int32_t){writer.buffer(name)}[i]" for name in node.inputs)
    return [f"for (i = 0; i < {size}; i++) {writer.buffer(node.name)}[i] = {total};"]


def _scale(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    scale = writer.per_entry(node, "scale", op.scale)
    shift = writer.per_entry(node, "shift", op.shift)
    return entry_by_entry(writer, node, f"y = x * {scale} + {shift};")


def _relu(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    lines = ["y = x > 0 ? x : 0;"]
    if op.max_value is not None:
        cap = writer.per_entry(node, "cap", op.max_value)
        lines.append(f"y = y < {cap} ? y : {cap};")
    return entry_by_entry(writer, node, *lines)


def _dense(writer: Writer, node: Node) -> list[str]:
    op: Any = node.op
    n_out, n_in = op.weight.shape
    weight = writer.constant(node, "weight", op.weight.T)
    bias = writer.constant(node, "bias", op.bias)
    source, target = writer.buffer(node.inputs[0]), writer.buffer(node.name)
    return [
        "int32_t o;",
        f"for (o = 0; o < {n_out}; o++) {target}[o] = {bias}[o];",
        f"for (i = 0; i < {n_in}; i++) {{",
        f"    const int32_t x = {source}[i];",
        "    if (!x) continue;",
        f"    for (o = 0; o < {n_out}; o++) {target}[o] += x * {weight}[i * {n_out} + o];",
        "}",
    ]


def _conv(writer: Writer, node: Node) -> list[str]:
    """Add the weights of every entry that is not zero to the outputs it reaches."""
    op: Any = node.op
    types = writer.graph.types
    (n_in, *sizes), (n_out, *results) = types[node.inputs[0]].shape, types[node.name].shape
    kernel = op.weight.shape[2:]
    n_axes, per_group = len(kernel), n_out // op.groups
    grouped = op.weight.reshape(op.groups, per_group, n_in // op.groups, -1)
    weight = writer.constant(node, "weight", grouped.transpose(0, 2, 3, 1))
    bias = writer.constant(node, "bias", op.bias)
    source, target = writer.buffer(node.inputs[0]), writer.buffer(node.name)
    plane = int(np.prod(results))
    axes = range(n_axes)
    lines = [
        "int32_t o, c, " + ", ".join(f"i{a}, k{a}, y{a}" for a in axes) + ";",
        f"for (o = 0; o < {n_out}; o++)",
        f"    for (i = 0; i < {plane}; i++) {target}[o * {plane} + i] = {bias}[o];",
        f"for (c = 0; c < {n_in}; c++)",
        *(f"for (i{a} = 0; i{a} < {sizes[a]}; i{a}++)" for a in axes),
        "{",
    ]
    body = [f"const int32_t x = {source}[{_flat('c', sizes, 'i')}];", "if (!x) continue;"]
    for a in axes:
        (before, _), dilation, stride = op.padding[a], op.dilation[a], op.strides[a]
        body += [
            f"for (k{a} = 0; k{a} < {kernel[a]}; k{a}++) {{",
            f"y{a} = i{a} + {before} - k{a} * {dilation};",
            f"if (y{a} < 0 || y{a} % {stride} || y{a} / {stride} >= {results[a]}) continue;",
            f"y{a} /= {stride};",
        ]
    channel = f"c / {n_in // op.groups} * {per_group}"
    body += [
        "{",
        f"{writer.type_name(node.name)} *to = {target} + {_flat(channel, results, 'y')};",
        f"const {_type_of(op.weight)} *w = {weight} + ({_flat('c', kernel, 'k')}) * {per_group};",
        f"for (o = 0; o < {per_group}; o++) to[o * {plane}] += x * w[o];",
        "}",
        *("}" for _ in axes),
    ]
    return [*lines, *indent(body), "}"]


def _type_of(values: Any) -> str:
    return choose_type(int(np.abs(values).max(initial=0)))[0]


def _flat(first: str, sizes: Any, letter: str) -> str:
    """Return the flat index of entry [first, letter0, letter1, ...]."""
    text = first
    for axis, size in enumerate(sizes):
        text = f"({text}) * {size} + {letter}{axis}"
    return text


def _windows(
    writer: Writer, node: Node, first: str, each: str, last: str, source: str
) -> list[str]:
    """Return loops over windows: `first` before an entry x, `each` for each, `last` at the end."""
    op: Any = node.op
    types = writer.graph.types
    (n_channels, *sizes), (_, *results) = types[node.inputs[0]].shape, types[node.name].shape
    dilations = getattr(op, "dilation", (1,) * len(op.kernel))
    axes = range(len(op.kernel))
    lines = [
        "int32_t c, " + ", ".join(f"p{a}, k{a}, i{a}" for a in axes) + ";",
        f"for (c = 0; c < {n_channels}; c++)",
        *(f"for (p{a} = 0; p{a} < {results[a]}; p{a}++)" for a in axes),
        "{",
    ]
    body = ["int32_t y;", first]
    for a in axes:
        start = f"p{a} * {op.strides[a]} - {op.padding[a][0]}"
        body += [
            f"for (k{a} = 0; k{a} < {op.kernel[a]}; k{a}++) {{",
            f"i{a} = {start} + k{a} * {dilations[a]};",
            f"if (i{a} < 0 || i{a} >= {sizes[a]}) continue;",
        ]
    body += [
        f"{{ const int32_t x = {source}[{_flat('c', sizes, 'i')}]; {each} }}",
        *("}" for _ in axes),
        f"i = {_flat('c', results, 'p')};",
        last,
    ]
    return [*lines, *indent(body), "}"]


LEAST = "(-2147483647 - 1)"


def _max_pool(writer: Writer, node: Node) -> list[str]:
    source, target = writer.buffer(node.inputs[0]), writer.buffer(node.name)
    return _windows(writer, node, f"y = {LEAST};", "if (x > y) y = x;", f"{target}[i] = y;", source)


def _sum_pool(writer: Writer, node: Node) -> list[str]:
    source, target = writer.buffer(node.inputs[0]), writer.buffer(node.name)
    return _windows(writer, node, "y = 0;", "y += x;", f"{target}[i] = y;", source)


def _spiking_max_pool(writer: Writer, node: Node) -> list[str]:
    source, target = writer.buffer(node.inputs[0]), writer.buffer(node.name)
    size = writer.graph.types[node.inputs[0]].size
    total = writer.state(node, "total", size, "0")
    sent = writer.state(node, "sent", writer.graph.types[node.name].size, "0")
    pooled = _windows(
        writer, node, f"y = {LEAST};", "if (x > y) y = x;",
        f"{target}[i] = y - {sent}[i]; {sent}[i] = y;", total,
    )  # fmt: skip
    declaration, *loops = pooled
    return [declaration, f"for (i = 0; i < {size}; i++) {total}[i] += {source}[i];", *loops]


EMITTERS: dict[str, Callable[[Writer, Node], list[str]]] = {
    "Identity": _alias,
    "Flatten": _alias,
    "Reshape": _alias,
    "Quantize": _alias,
    "Transpose": _rearrange,
    "Pad": _rearrange,
    "Select": _rearrange,
    "InsertZeros": _rearrange,
    "Concatenate": _concatenate,
    "Dense": _dense,
    "Conv": _conv,
    "Scale": _scale,
    "Relu": _relu,
    "Add": _add,
    "MaxPool": _max_pool,
    "SumPool": _sum_pool,
    "SpikingMaxPool": _spiking_max_pool,
    **NEURONS,
}
"""(writer, node) -> lines of C in a block of their own, in which i is declared."""
