"""The `.snn` file: one graph as a safetensors file with its structure as JSON. docs/format.md.

    op     <->  JSON values + arrays       parameters.py: by the annotations of its fields
    array  <->  itself, or bits + scales   packing.py: where signs say all
    graph  <->  document + arrays          here: nodes, names, limits, versions
    file   <->  document + arrays          container.py: header, offsets, hashes
    JSON   <->  values                     json_text.py: one spelling, bounded

No bit of a file can change unnoticed, and the same graph always gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, GraphError, SpikeportError
from ..files import read_bounded, write_atomically
from ..ir import Graph, Node
from . import container, packing, parameters
from .container import DAMAGED, NOT_SNN
from .packing import Stored

FORMAT = "spikeport-graph"
FORMAT_VERSION = 2


def expect_no_bits(document: dict[str, Any]) -> dict[str, Any]:
    """Version 1 has no bits; otherwise it is as version 2."""
    if any(len(entry) > 2 for entry in document["tensors"]):
        raise ValueError("it lists bits, which came with version 2")
    return {**document, "version": 2}


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: expect_no_bits}
"""From the version that is the key to the next. Released ones are never edited."""

MAX_FILE_BYTES = 2**32
MAX_NODES = 50_000
MAX_NAME = 4096
MAX_MESSAGE = 400

UNIT = "unit"


def write_snn(graph: Graph, path: Path) -> str:
    """Write a graph.

    The file is complete or not there. It is read back in memory first: what is written can be read.

    Args:
        graph: Analog or spiking.
        path: Where to; an existing file is replaced.

    Returns:
        The SHA-256 of the file, 64 hexadecimal digits.

    Raises:
        FormatError: The folder is missing or not writable, the disk is full, or the graph holds
            what the file cannot: an unknown op, metadata that is not JSON, sizes above the limits.
    """
    try:
        data = encode_graph(graph)
        decode_graph(data)
    except FormatError as error:
        raise _located(path, error) from error
    write_atomically(path, data)
    return hashlib.sha256(data).hexdigest()


def read_snn(path: Path) -> Graph:
    """Read a graph.

    Raises:
        FormatError: No such file, no `.snn` file, damaged in any bit, hostile, or of a newer
            version.
    """
    data = read_bounded(path, MAX_FILE_BYTES)
    try:
        return decode_graph(data)
    except FormatError as error:
        raise _located(path, error) from error
    except MemoryError as error:
        raise FormatError(
            f"{path}: its graph does not fit into memory",
            hint="use a machine with more memory, or end other programs",
        ) from error


def encode_graph(graph: Graph) -> bytes:
    """Return the bytes of the graph's file.

    Raises:
        FormatError: The graph holds what the file cannot.
    """
    nodes: list[dict[str, Any]] = []
    arrays: list[tuple[str, Stored]] = []
    for index, node in enumerate(graph.nodes):
        try:
            values, named = parameters.encode(node.op)
        except FormatError as error:
            raise error.at(str(node)) from error
        if node.unit is not None:
            named[UNIT] = node.unit
        for field, array in named.items():
            stored = packing.pack(field, array)
            arrays.extend((f"{index}.{name}", part) for name, part in stored.items())
        nodes.append({
            "name": node.name,
            "op": type(node.op).__name__,
            "inputs": node.inputs,
            "source": node.source,
            "parameters": values,
        })
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "nodes": nodes,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "metadata": dict(graph.metadata),
    }
    # numbers before bits, so that every number lies at a multiple of its size
    return container.pack(document, sorted(arrays, key=lambda named: named[1].dtype == np.uint8))


def decode_graph(data: bytes) -> Graph:
    """Return the graph of a file's bytes.

    Raises:
        FormatError: The bytes are not exactly what `encode_graph` gives for some graph, or are of
            a newer version.
    """
    opened = container.open_document(data)
    version = _version(opened.document)
    document, arrays = container.extract(data, opened)
    for older in range(version, FORMAT_VERSION):
        document = _upgrade(document, older)
    _expect_fields(
        document,
        {
            "format": str,
            "version": int,
            "nodes": list,
            "inputs": list,
            "outputs": list,
            "metadata": dict,
            "tensors": list,
        },
        "graph",
    )
    if len(document["nodes"]) > MAX_NODES:
        raise FormatError(
            f"graph: has {len(document['nodes'])} nodes, expected at most {MAX_NODES}",
            hint="convert a smaller network",
        )
    named = _arrays_by_node(arrays, len(document["nodes"]))
    nodes = tuple(
        _read_node(entry, index, named.get(index, {}))
        for index, entry in enumerate(document["nodes"])
    )
    inputs, outputs = (_names(document[key], f"graph: {key}") for key in ("inputs", "outputs"))
    try:
        return Graph(nodes, inputs, outputs, document["metadata"])
    except GraphError as error:
        raise FormatError(str(error), hint=DAMAGED) from error


def _version(document: Mapping[str, Any]) -> int:
    kind, version = document.get("format"), document.get("version")
    if kind != FORMAT:
        raise FormatError(f"graph: has the format {kind!r}, expected {FORMAT!r}", hint=NOT_SNN)
    if type(version) is not int or version < 1:
        raise FormatError(
            f"graph: has the version {version!r}, expected an integer from 1 to {FORMAT_VERSION}",
            hint=DAMAGED,
        )
    if version > FORMAT_VERSION:
        raise FormatError(
            f"has version {version} of the format, expected at most {FORMAT_VERSION}, "
            "the newest that this spikeport knows",
            hint="upgrade spikeport: pip install --upgrade spikeport",
        )
    return version


def _upgrade(document: dict[str, Any], version: int) -> dict[str, Any]:
    try:
        return UPGRADES[version](document)
    # The document's hash is right, but nothing has looked at its structure yet.
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"graph: cannot be upgraded from version {version} ({type(error).__name__}: {error})",
            hint=DAMAGED,
        ) from error


def _arrays_by_node(arrays: Mapping[str, Stored], n_nodes: int) -> dict[int, dict[str, Stored]]:
    named: dict[int, dict[str, Stored]] = {}
    known = {str(index): index for index in range(n_nodes)}
    for name, array in arrays.items():
        prefix, _, field = name.partition(".")
        if prefix not in known:
            raise FormatError(
                f"tensor {name!r}: belongs to no node, expected a number below {n_nodes}, "
                "a dot and a field",
                hint=DAMAGED,
            )
        named.setdefault(known[prefix], {})[field] = array
    return named


def _read_node(entry: Any, index: int, stored: dict[str, Stored]) -> Node:
    where = f"node {index}"
    _expect_fields(
        entry,
        {"name": str, "op": str, "inputs": list, "source": str, "parameters": dict},
        where,
    )
    name, op_name = _name(entry["name"], where), entry["op"]
    try:
        arrays = packing.unpack(stored)
        unit = arrays.pop(UNIT, None)
        op = parameters.decode(op_name, entry["parameters"], arrays)
        operands = _names(entry["inputs"], "inputs")
        return Node(name, op, operands, _name(entry["source"], "source"), unit)
    except SpikeportError as error:
        raise FormatError(f"{name} ({op_name}): {error}", hint=error.hint or DAMAGED) from error


def _expect_fields(entry: Any, fields: Mapping[str, type], where: str) -> None:
    if not isinstance(entry, dict) or entry.keys() != fields.keys():
        found = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise FormatError(f"{where}: has {found}, expected {sorted(fields)}", hint=DAMAGED)
    for key, kind in fields.items():
        if type(entry[key]) is not kind:
            raise FormatError(
                f"{where}: {key} is a {type(entry[key]).__name__}, expected a {kind.__name__}",
                hint=DAMAGED,
            )


def _names(values: list[Any], where: str) -> tuple[str, ...]:
    return tuple(_name(value, where) for value in values)


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{where}: holds a {type(value).__name__}, expected names", hint=DAMAGED)
    if len(value) > MAX_NAME:
        raise FormatError(
            f"{where}: holds a name of {len(value)} characters, expected at most {MAX_NAME}",
            hint="shorten the layers' names",
        )
    return value


def _located(path: Path, error: FormatError) -> FormatError:
    """Put the file in front; what a hostile file says is cut and made printable."""
    text = str(error)
    if len(text) > MAX_MESSAGE:
        text = f"{text[:MAX_MESSAGE]} ..."
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return FormatError(f"{path}: {printable}", hint=error.hint)
