"""Reads and verifies .snn files without spikeport: Python's library and numpy. docs/format.md.

Usage: python read_snn.py FILE.snn
"""

import hashlib
import json
import struct
import sys

import numpy as np


def spell(value, sort=True):
    """Return the one spelling of a JSON value that hashes are taken of."""
    return json.dumps(value, sort_keys=sort, separators=(",", ":"), ensure_ascii=False)


def expect(condition, message):
    """Refuse the file unless the condition holds."""
    if not condition:
        raise ValueError(message)


def unpack(stored):
    """Return a node's tensors by field; bits say where a row is +scale, -scale or 0."""
    arrays = {name: array for name, array in stored.items() if "." not in name}
    for name in (name.removesuffix(".signs") for name in stored if name.endswith(".signs")):
        scale, signs = stored[f"{name}.scale"], stored[f"{name}.signs"]
        factors = scale.reshape(-1, *[1] * (signs.ndim - 1))
        kept = stored.get(f"{name}.nonzero", np.full_like(signs, 255))
        negative, kept = (
            np.unpackbits(plane, axis=0, bitorder="little")[: len(scale)] for plane in (signs, kept)
        )
        arrays[name] = np.where(negative, -factors, factors) * kept.astype("<f4")
    return arrays


def read_snn(path):
    """Return the document, and its nodes with their tensors: [(node, {field: array}), ...]."""
    with open(path, "rb") as file:
        content = file.read()
    expect(len(content) >= 8, "no header")
    (length,) = struct.unpack("<Q", content[:8])
    expect(length <= min(2**23, len(content) - 8), "the header is cut")
    header, data = content[8 : 8 + length], content[8 + length :]
    text = json.loads(header)["__metadata__"]["spikeport"]
    document = json.loads(text)
    expect(document["format"] == "spikeport-graph", "not a spiking graph")
    expect(document["version"] in {1, 2}, f"version {document['version']}, expected 1 or 2")
    hashes = document.pop("sha256")
    expect(spell({**document, "sha256": hashes}) == text, "the document is not canonical")
    expect(hashlib.sha256(data).hexdigest() == hashes["data"], "the tensors were changed")
    digest = hashlib.sha256(spell(document).encode()).hexdigest()
    expect(digest == hashes["graph"], "the graph was changed")
    stored = [{} for _ in document["nodes"]]
    listed, end = {"__metadata__": {"spikeport": text}}, 0
    for name, shape, *kind in document["tensors"]:
        size = int(np.prod(shape, dtype=object)) * (1 if kind else 4)
        start, end = end, end + size
        listed[name] = {"dtype": (*kind, "F32")[0], "shape": shape, "data_offsets": [start, end]}
        array = np.frombuffer(data[start:end], "u1" if kind else "<f4").reshape(shape)
        expect(np.isfinite(array).all(), f"tensor {name} has numbers that are not finite")
        index, _, field = name.partition(".")
        stored[int(index)][field] = array
    expect(end == len(data), f"{len(data)} bytes of tensors, expected {end}")
    expect(spell(listed, sort=False).encode() == header.rstrip(b" "), "the header is another one")
    known = set()
    for node in document["nodes"]:
        expect(known.issuperset(node["inputs"]), f"{node['name']}: an operand comes later")
        expect(node["name"] not in known, f"{node['name']}: the name is used twice")
        known.add(node["name"])
    expect(known.issuperset(document["inputs"] + document["outputs"]), "unknown inputs or outputs")
    return document, [
        (node, unpack(arrays)) for node, arrays in zip(document["nodes"], stored, strict=True)
    ]


if __name__ == "__main__":
    graph, listed_nodes = read_snn(sys.argv[1])
    for node, arrays in listed_nodes:
        shapes = {field: list(array.shape) for field, array in arrays.items()}
        print(node["name"], node["op"], *node["inputs"], node["parameters"], shapes)
    print("inputs", *graph["inputs"], "outputs", *graph["outputs"])
