"""The outer layer: files that are no .snn files, and headers that lie about their tensors."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from spikeport.converter.errors import FormatError
from spikeport.converter.exports import container
from spikeport.converter.exports.container import MAX_HEADER_BYTES, extract, open_document, pack
from spikeport.converter.exports.json_text import MAX_INTEGER
from spikeport.converter.exports.snn import decode_graph, read_snn


def assemble(header: object, data: bytes = b"") -> bytes:
    """A safetensors file around any header: bytes as they are, or JSON."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def parts(file: bytes) -> tuple[dict, bytes]:
    n_header = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + n_header]), file[8 + n_header :]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", r"is not a \.snn file, expected 8 bytes that give the length of a header of at most"),
        (b"1234567", r"is not a \.snn file, expected 8 bytes"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), r"is not a \.snn file, expected 8 bytes"),
        (b"PK\x03\x04" + bytes(100), r"is not a \.snn file, expected 8 bytes"),
        (b"\0\x04\0\0\0\0\0\0" + bytes(99), r"is cut, expected a header of 1024 bytes, got 99"),
        (b"\xff" * 100, r"is not a \.snn file, expected 8 bytes .* at most 8388608 bytes"),
        (struct.pack("<Q", 90) + b"{}", r"is cut, expected a header of 90 bytes, got 2"),
        (bytes(8), r"is not a \.snn file: header: JSON: cannot be parsed \(Expecting value"),
        (assemble(b"\xff\xfe"), r"is not a \.snn file: header: 'utf-8' codec can't decode"),
        (assemble(b"[]"), r"is not a \.snn file: header: JSON: is a list, expected an object"),
        (assemble(b"{" * 99), r"is not a \.snn file: header: JSON: cannot be parsed"),
        (assemble(b"[" * 5_000_000), r"is not a \.snn file: header: JSON: is nested too deeply"),
        (assemble(b'{"a":' + b"9" * 9999 + b"}"), r"header: JSON: cannot be parsed \(Exceeds"),
        (assemble({}), r"has no spiking graph, expected a safetensors file with the metadata 'sp"),
        (assemble({"__metadata__": 3}), r"has no spiking graph"),
        (assemble({"__metadata__": {"spikeport": {}}}), r"has no spiking graph"),
        (assemble({"__metadata__": {"spikeport": "x"}}), r"graph: JSON: cannot be parsed"),
        (assemble({"__metadata__": {"spikeport": "[]"}}), r"graph: JSON: is a list, expected an"),
        (assemble({"__metadata__": {"spikeport": "[" * 99999}}), r"graph: JSON: is nested too dee"),
        (
            safetensors.numpy.save({"w": np.ones(3)}),
            r"has no spiking graph, expected a safetensors",
        ),
    ],
)
def test_files_that_are_something_else(file, message, tmp_path):
    path = tmp_path / "a.snn"
    path.write_bytes(file)
    with pytest.raises(FormatError, match=rf"a\.snn: .*({message})") as caught:
        read_snn(path)
    assert caught.value.hint


def change_tensor(name: str, **changes: object):
    return lambda header: header[name].update(changes)


HEADERS = [
    (change_tensor("1.weight", dtype="F64"), r"tensor '1\.weight': is \{'dtype': 'F64'"),
    (change_tensor("1.weight", dtype="BF16"), r"expected \{'dtype': 'F32', 'shape': \[2, 3\]"),
    (change_tensor("1.weight", shape=[3, 2]), r"tensor '1\.weight': is .*'shape': \[3, 2\]"),
    (change_tensor("1.weight", shape=[0, 2**60]), r"tensor '1\.weight': is .*\[0, 1152921504"),
    (change_tensor("1.weight", shape=[-2, -3]), r"tensor '1\.weight': is .*\[-2, -3\]"),
    (change_tensor("1.weight", shape=[2**62, 2**62]), r"tensor '1\.weight': is "),
    (change_tensor("1.weight", data_offsets=[-24, 0]), r"tensor '1\.weight': is .*\[-24, 0\]"),
    (change_tensor("1.bias", data_offsets=[0, 8]), r"tensor '1\.bias': is .*\[0, 8\]"),
    (change_tensor("1.bias", data_offsets=[0, 2**62]), r"tensor '1\.bias': is "),
    (change_tensor("1.bias", extra=1), r"tensor '1\.bias': is .*'extra': 1"),
    (lambda header: header.pop("1.bias"), r"tensor '1\.bias': is None, expected \{'dtype'"),
    (lambda header: header.update(more={}), r"tensor 'more': is \{\}, expected None as the gra"),
    (lambda header: header.update({"1.bias": 3}), r"tensor '1\.bias': is 3, expected"),
    (lambda header: header["__metadata__"].update(a="b"), r"header: is not spelled canonically"),
    (lambda header: header.update(a=header.pop("1.bias")), r"tensor '1\.bias': is None"),
    (
        lambda header: header.update(
            zip(["1.bias", "1.unit"], [header["1.unit"], header["1.bias"]], strict=True)
        ),
        r"tensor '1\.bias': is ",
    ),
]


@pytest.mark.parametrize(("change", "message"), HEADERS)
def test_headers_that_do_not_follow_from_the_document(small_file, change, message):
    header, data = parts(small_file)
    change(header)
    with pytest.raises(FormatError, match=message) as caught:
        decode_graph(assemble(header, data))
    assert caught.value.hint == container.DAMAGED


def test_the_same_header_in_another_spelling(small_file):
    header, data = parts(small_file)
    compact = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    padded = compact + b" " * (-len(compact) % 8)
    assert assemble(padded, data) == small_file
    twice = compact[:-1] + b',"1.unit":' + json.dumps(header["1.unit"]).encode() + b"}"
    for other in (padded + b" " * 8, json.dumps(header).encode(), compact + b"\n", twice):
        with pytest.raises(FormatError, match=r"header: is not spelled canonically"):
            decode_graph(assemble(other, data))


def test_the_same_document_in_another_spelling(small_file):
    header, data = parts(small_file)
    text = header["__metadata__"]["spikeport"]
    shapes = {name: ("F32", tuple(shape)) for name, shape in json.loads(text)["tensors"]}
    assert assemble(container._header(text, shapes), data) == small_file
    for other in (
        text.replace(",", ", "),
        text.replace('"x"', '"\\u0078"'),
        text.replace("64", "64.0"),
        text.replace('"version":2', '"version":2,"version":2'),
        text + " ",
    ):
        assert other != text
        file = assemble(container._header(other, shapes), data)
        with pytest.raises(FormatError, match=r"graph: is not spelled canonically|has the SHA-256"):
            decode_graph(file)


def test_bytes_that_are_missing_or_too_many(small_file):
    with pytest.raises(FormatError, match=r"has 35 bytes of tensors, expected 36 as its header"):
        decode_graph(small_file[:-1])
    with pytest.raises(FormatError, match=r"has 37 bytes of tensors, expected 36 as its header"):
        decode_graph(small_file + b"\0")
    with pytest.raises(FormatError, match=r"is cut, expected a header of \d+ bytes, got 92"):
        decode_graph(small_file[:100])


def test_changed_numbers_have_another_hash(small_file):
    changed = small_file[:-1] + bytes([small_file[-1] ^ 1])
    with pytest.raises(FormatError, match=r"has the SHA-256 .*, expected .* as the file says"):
        decode_graph(changed)


def relisted(file: bytes, tensors: object) -> bytes:
    """The file with another list of tensors and whatever header and hashes follow from it."""
    header, data = parts(file)
    document = json.loads(header["__metadata__"]["spikeport"])
    del document["sha256"]
    document["tensors"] = tensors
    text = container.spell(document)
    document["sha256"] = container._hashes(text, data)
    text = container.spell(document)
    try:
        return assemble(container._header(text, {n: ("F32", tuple(s)) for n, s in tensors}), data)
    except (TypeError, ValueError):
        return assemble({"__metadata__": {"spikeport": text}}, data)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (None, r"graph: has no list of tensors"),
        ({}, r"graph: has no list of tensors"),
        ([3], r"graph: lists the tensor 3, expected a new name, at most 16 sizes"),
        ([["a"]], r"graph: lists the tensor \['a'\], expected a new name"),
        ([["a", [1], 2]], r"graph: lists the tensor \['a', \[1\], 2\]"),
        ([[1, [1]]], r"graph: lists the tensor \[1, \[1\]\]"),
        ([["a", [1]], ["a", [1]]], r"graph: lists the tensor \['a', \[1\]\], expected a new name"),
        ([["a", [1] * 17]], r"graph: lists the tensor .* at most 16 sizes"),
        ([["a", [0, MAX_INTEGER]]], r"tensor 'a': has the shape \[0, 92.*, expected positive"),
        ([["a", [-1]]], r"tensor 'a': has the shape \[-1\], expected positive integers"),
        ([["a", [1.0]]], r"tensor 'a': has the shape \[1\.0\], expected positive integers"),
        ([["a", [True]]], r"tensor 'a': has the shape \[True\], expected positive integers"),
        ([["a", [MAX_INTEGER] * 16]], r"JSON: holds an integer of more than 63 bits"),
        ([["a", [10]]], r"has 36 bytes of tensors, expected 40 as its header says"),
        ([["a", [9]]], r"tensor 'a': belongs to no node, expected a number below 2"),
        ([], r"has 36 bytes of tensors, expected 0 as its header says"),
    ],
)
def test_lists_of_tensors_that_break_a_rule(small_file, tensors, message):
    with pytest.raises(FormatError, match=message):
        decode_graph(relisted(small_file, tensors))


def test_a_document_without_hashes(small_file):
    header, data = parts(small_file)
    document = json.loads(header["__metadata__"]["spikeport"])
    for wrong in (None, 3, {}, {"data": "", "graph": ""}):
        document["sha256"] = wrong
        text = container.spell(document)
        shapes = {name: ("F32", tuple(shape)) for name, shape in document["tensors"]}
        with pytest.raises(FormatError, match=r"has the SHA-256 .*, expected"):
            decode_graph(assemble(container._header(text, shapes), data))


def test_pack_and_extract_are_inverse():
    arrays = [("b", np.arange(6, dtype=np.float32).reshape(2, 3)), ("a", np.float32(3).reshape(()))]
    file = pack({"key": ["ü", 1]}, arrays)
    assert pack({"key": ["ü", 1]}, arrays) == file
    document, found = extract(file, open_document(file))
    assert document == {"key": ["ü", 1], "tensors": [["b", [2, 3]], ["a", []]]}
    assert set(found) == {"b", "a"}
    for name, array in arrays:
        np.testing.assert_array_equal(found[name], array)


def test_what_is_too_large_to_read_is_not_packed():
    with pytest.raises(FormatError, match=r"the graph without its weights has \d+ bytes as JSON"):
        pack({"key": "a" * MAX_HEADER_BYTES}, [])
