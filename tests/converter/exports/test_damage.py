"""Files after an accident, and files from an enemy: refused, quickly, with a FormatError."""

import json
import random
import struct
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeport.converter.errors import FormatError
from spikeport.converter.exports.snn import decode_graph, encode_graph
from spikeport.converter.ir import Graph, StatefulOp, run

from ...fuzz.mutations import SNN_BYTES, tamper

VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**20, 2**31, 2**62, -(2**62), 0.5, 1e308, -0.0, "", "x",
    "subtract", "Dense", "Input", "\ud7ff", [], [1], [[1, 1]], [2, 2], [[0, 0], [0, 0]], {},
]  # fmt: skip

SECONDS = 10
"""Of the processor, for one hostile file."""


def refuse(file: bytes) -> None:
    started = time.process_time()
    with pytest.raises(FormatError) as caught:
        decode_graph(file)
    assert str(caught.value)
    assert time.process_time() - started < SECONDS


def test_every_single_bit_counts(small_file):
    for position in range(len(small_file)):
        for bit in range(8):
            damaged = bytearray(small_file)
            damaged[position] ^= 1 << bit
            refuse(bytes(damaged))


def test_every_cut_is_noticed(small_file):
    for n_bytes in range(len(small_file)):
        refuse(small_file[:n_bytes])


@pytest.fixture(scope="module")
def golden_file(golden_graph) -> bytes:
    return encode_graph(golden_graph)


@pytest.mark.parametrize("mutate", SNN_BYTES, ids=lambda mutate: mutate.__name__)
def test_mutations(golden_file, mutate):
    r = random.Random(mutate.__name__)
    n_changed = 0
    for _ in range(150):
        damaged = bytearray(golden_file)
        for _ in range(r.choice([1, 1, 3])):
            mutate(damaged, r)
        if bytes(damaged) != golden_file:
            n_changed += 1
            refuse(bytes(damaged))
    assert n_changed > 100


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_splices(golden_file, data):
    """Any piece replaced by any bytes."""
    start = data.draw(st.integers(0, len(golden_file)))
    stop = data.draw(st.integers(start, min(len(golden_file), start + 64)))
    piece = data.draw(st.binary(max_size=64))
    spliced = golden_file[:start] + piece + golden_file[stop:]
    if spliced == golden_file:
        decode_graph(spliced)
    else:
        refuse(spliced)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(raw):
    refuse(raw)
    refuse(struct.pack("<Q", len(raw)) + raw)


def tamper_arrays(arrays: dict, r: random.Random) -> None:
    if arrays and r.random() < 0.3:
        name = r.choice(list(arrays))
        array = arrays.pop(name)
        others = [array.T, array[:1], np.full(array.shape, np.nan), np.ones((2, 3)), array * 0]
        arrays[r.choice([name, "0.weight", "1.unit", "9.threshold"])] = r.choice(others)


def test_lies_with_the_right_hashes(golden_file, forge):
    """Either refused, or a graph that exists is valid: it runs, and is written and read again."""
    r = random.Random(8)
    n_accepted = n_run = 0
    for _ in range(500):
        forged = forge(
            golden_file,
            lambda document: tamper(document, r, VALUES),
            lambda arrays: tamper_arrays(arrays, r),
        )
        try:
            graph = decode_graph(forged)
        except FormatError:
            continue
        n_accepted += 1
        assert encode_graph(decode_graph(encode_graph(graph))) == encode_graph(graph)
        n_run += can_run(graph)
    assert n_accepted > 5
    assert n_run > 3


def can_run(graph: Graph) -> bool:
    """Compute the part without neurons on two samples, if it is small."""
    kept = []
    for node in graph.nodes:
        small = graph.types[node.name].size < 10_000 and "1048576" not in repr(node.op)
        known = {node.name for node in kept}
        if small and not isinstance(node.op, StatefulOp) and known.issuperset(node.inputs):
            kept.append(node)
    inputs = tuple(name for name in graph.inputs if name in {node.name for node in kept})
    if not kept:
        return False
    part = Graph(tuple(kept), inputs, (kept[-1].name,))
    run(part, tuple(np.ones((2, *part.types[name].shape), np.float32) for name in inputs))
    return True


def file_of(text: str) -> bytes:
    """A file around a document of any size; hashes and tensors are the least of its lies."""
    header = json.dumps({"__metadata__": {"spikeport": text}}).encode()
    return struct.pack("<Q", len(header)) + header


START = '{"format":"spikeport-graph","version":2,"a":'
BOMBS = {
    "lists": START + "[" + "[]," * 2_000_000 + "[]]}",
    "objects": START + "[" + "{}," * 2_000_000 + "{}]}",
    "numbers": START + "[" + "1," * 3_000_000 + "1]}",
    "floats": START + "[" + "1.5," * 1_200_000 + "1]}",
    "texts": START + "[" + '"",' * 1_200_000 + '""]}',
    "keys": START + "{" + ",".join(f'"{i}":0' for i in range(200_000)) + "}}",
    "deep": START + "[" * 4_000_000,
    "deep objects": START + '{"a":' * 1_000_000,
    "digits": START + "1" * 4_000_000 + "}",
    "exponent": START + "1e" + "9" * 1_000_000 + "}",
    "tensors": START[:-4] + '"tensors":[' + '["a",[1]],' * 300_000 + '["b",[1]]]}',
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name):
    refuse(file_of(BOMBS[name]))


def test_many_operands(forge, small_file):
    """Messages about many operands are not built many times."""

    def change(document):
        document["nodes"][1] = {
            "name": "d",
            "op": "Concatenate",
            "inputs": ["x"] * 200_000,
            "source": "",
            "parameters": {"axis": 0},
        }
        document["nodes"][0]["parameters"]["shape"] = [1, 1]

    started = time.process_time()
    graph = decode_graph(forge(small_file, change, lambda arrays: arrays.clear()))
    assert graph.types["d"].shape == (200_000, 1)
    assert time.process_time() - started < SECONDS


def test_fifty_thousand_nodes(forge, small_file):
    def change(document):
        del document["nodes"][1:]
        document["nodes"] += [
            {
                "name": f"n{i}",
                "op": "Identity",
                "inputs": [f"n{i - 1}" if i else "x"],
                "source": "",
                "parameters": {},
            }
            for i in range(49_999)
        ]
        document["outputs"] = ["n49998"]

    file = forge(small_file, change, lambda arrays: arrays.clear())
    started = time.process_time()
    assert len(decode_graph(file).nodes) == 50_000
    assert time.process_time() - started < SECONDS
