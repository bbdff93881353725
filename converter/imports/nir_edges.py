"""Nodes and edges of a NIR file: graphs inside graphs taken apart, operands first, no cycles."""

from __future__ import annotations

from typing import Any

from ..errors import FormatError


def flatten_graph(
    content: dict[str, Any], prefix: str, depth: int
) -> tuple[dict[str, dict[str, Any]], list[tuple[str, str]]]:
    """Return nodes and edges with graphs inside the graph taken apart."""
    where = prefix.rstrip(".") or "graph"
    if content.get("type") != "NIRGraph" or not isinstance(content.get("nodes"), dict):
        raise FormatError(
            f"{where}: is {content.get('type')!r:.60}, expected a NIRGraph with nodes"
        )
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[tuple[str, str]] = []
    begins: dict[str, str] = {}
    ends: dict[str, str] = {}
    for name, fields in content["nodes"].items():
        full = f"{prefix}{name}"
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            raise FormatError(f"{full}: has no type, expected one")
        if fields["type"] != "NIRGraph":
            nodes[full] = fields
            continue
        inner, inner_edges = flatten_graph(fields, f"{full}.", depth + 1)
        edges += inner_edges
        for kind, found in (("Input", begins), ("Output", ends)):
            own = [n for n in fields["nodes"] if inner.get(f"{full}.{n}", {}).get("type") == kind]
            if len(own) != 1:
                raise FormatError(f"{full}: has {len(own)} {kind} nodes, expected one")
            found[full] = f"{full}.{own[0]}"
            inner[found[full]] = {**inner[found[full]], "type": "Identity"}
        nodes.update(inner)
    for a, b in _list_edges(content, where):
        start, end = f"{prefix}{a}", f"{prefix}{b}"
        edges.append((ends.get(start, start), begins.get(end, end)))
    return nodes, edges


def _list_edges(content: dict[str, Any], where: str) -> list[tuple[str, str]]:
    stored = content.get("edges")
    shape, texts = stored if isinstance(stored, tuple) else (None, [])
    if shape is None or len(shape) != 2 or shape[1] != 2:
        raise FormatError(f"{where}: has no list of edges, expected pairs of names")
    return list(zip(texts[::2], texts[1::2], strict=True))


def sort_nodes(nodes: dict[str, dict[str, Any]], edges: list[tuple[str, str]]) -> list[str]:
    """Return the nodes, operands first.

    Raises:
        FormatError: Edges that lead nowhere or stand twice, nodes without an operand, cycles.
    """
    before: dict[str, set[str]] = {name: set() for name in nodes}
    after: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        for name in (a, b):
            if name not in nodes:
                raise FormatError(f"edge {a} -> {b}: there is no node {name!r}")
        if a in before[b]:
            raise FormatError(f"edge {a} -> {b}: stands there twice, expected it once")
        before[b].add(a)
        after[a].append(b)
    lonely = [n for n in nodes if not before[n] and nodes[n]["type"] != "Input"]
    if lonely:
        raise FormatError(f"{', '.join(lonely)}: no edge leads to it, expected one")
    waiting = {name: len(sources) for name, sources in before.items()}
    ready = [name for name in nodes if not waiting[name]]
    order: list[str] = []
    while ready:
        name = ready.pop(0)
        order.append(name)
        for other in after[name]:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    left = [name for name in nodes if waiting[name]]
    if left:
        at, path = left[0], []
        while at not in path:
            path.append(at)
            at = next(n for n in nodes if n in before[at] and waiting[n])
        cycle = list(reversed([*path[path.index(at) :], at]))
        raise FormatError(
            f"{' -> '.join(cycle)}: is recurrent, expected a network without cycles",
            hint="spikeport runs feed-forward networks",
        )
    return order
