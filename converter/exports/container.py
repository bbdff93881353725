"""The outer layer of a `.snn` file: a safetensors file whose every byte is checked.

    8 bytes   length of the header, little endian
    header    {"__metadata__": {"spikeport": DOCUMENT}, TENSOR: {...}, ...}, spaces up to 8 bytes
    data      the tensors, one after the other: float32 little endian, or bytes of bits

DOCUMENT is canonical JSON. It lists the tensors, so that the whole header follows from it; its
`sha256` holds the hashes of the data and of the document without `sha256`. Hence no byte of the
file can change unnoticed. This layer is the same in every version of the format.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import FormatError
from .json_text import canonical_json, parse_object, spell
from .packing import Stored

KEY = "spikeport"
MAX_HEADER_BYTES = 2**23
"""Some fifty thousand nodes; parsed, it takes up to 40 times as much memory."""
MAX_AXES = 16
BITS = "U8"
SIZES = {"F32": 4, BITS: 1}
"""Bytes of an entry, by what a tensor's entries are; float32 unless the document says otherwise."""
MAX_NUMBERS = 2**30
"""Of all tensors, a bit being one: as many as a file of the largest size can hold as float32."""

Listed = Mapping[str, tuple[str, tuple[int, ...]]]
"""By name: what the entries are, and the shape."""

NOT_SNN = "give a file that `spikeport convert` wrote"
DAMAGED = "the file was cut or changed: copy it again, or convert the network again"


@dataclass(frozen=True)
class Opened:
    """A file whose document was parsed, nothing else.

    Attributes:
        document: The JSON object, as it stands in the file.
        text: Its spelling in the file.
        header: The JSON object around it.
        data_start: Where the tensors begin, in bytes.
    """

    document: dict[str, Any]
    text: str
    header: Mapping[str, Any]
    data_start: int


def pack(document: Mapping[str, Any], arrays: Sequence[tuple[str, Stored]]) -> bytes:
    """Return the bytes of a file; the same arguments give the same bytes.

    Args:
        document: JSON values, without `tensors` and `sha256`.
        arrays: Names and values, in the order in which they are stored; uint8 are bits.

    Raises:
        FormatError: The document is not JSON, or too large.
    """
    kinds = {name: BITS if array.dtype == np.uint8 else "F32" for name, array in arrays}
    tensors = {name: (kinds[name], array.shape) for name, array in arrays}
    data = b"".join(
        np.ascontiguousarray(array, "u1" if kinds[name] == BITS else "<f4").tobytes()
        for name, array in arrays
    )
    entries = [
        [name, list(shape), *([kind] if kind == BITS else [])]
        for name, (kind, shape) in tensors.items()
    ]
    listed = {**document, "tensors": entries}
    try:
        hashes = _hashes(canonical_json(listed), data)
    except FormatError as error:
        raise FormatError(
            f"the graph's names or metadata cannot be written: {error}",
            hint="metadata holds JSON values only: text, finite numbers, lists, dicts by text",
        ) from error
    text = spell({**listed, "sha256": hashes})
    header = _header(text, tensors)
    if len(header) > MAX_HEADER_BYTES:
        raise FormatError(
            f"the graph without its weights has {len(header)} bytes as JSON, "
            f"expected at most {MAX_HEADER_BYTES}",
            hint="shorten the names and the metadata",
        )
    return b"".join((len(header).to_bytes(8, "little"), header, data))


def open_document(file: bytes) -> Opened:
    """Find and parse the document of a file; nothing of it is trusted yet.

    Raises:
        FormatError: The bytes are no safetensors file, or one without a document.
    """
    n_header = int.from_bytes(file[:8], "little")
    if len(file) < 8 or n_header > MAX_HEADER_BYTES:
        raise FormatError(
            "is not a .snn file, expected 8 bytes that give the length of a header of at most "
            f"{MAX_HEADER_BYTES} bytes",
            hint=NOT_SNN,
        )
    start = 8 + n_header
    if start > len(file):
        raise FormatError(
            f"is cut, expected a header of {n_header} bytes, got {len(file) - 8}", hint=DAMAGED
        )
    try:
        header = parse_object(file[8:start].decode())
    except (UnicodeDecodeError, FormatError) as error:
        raise FormatError(f"is not a .snn file: header: {error}", hint=NOT_SNN) from error
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise FormatError(
            f"has no spiking graph, expected a safetensors file with the metadata {KEY!r}",
            hint=NOT_SNN,
        )
    try:
        document = parse_object(metadata[KEY])
    except FormatError as error:
        raise FormatError(f"graph: {error}", hint=DAMAGED) from error
    return Opened(document, metadata[KEY], header, start)


def extract(file: bytes, opened: Opened) -> tuple[dict[str, Any], dict[str, Stored]]:
    """Return the document without `sha256`, and the tensors by name.

    Raises:
        FormatError: Any byte of the file is not as `pack` would have written it.
    """
    from safetensors.numpy import load

    document = dict(opened.document)
    expected_hashes = document.pop("sha256", None)
    tensors = _listed_tensors(document)
    if spell(opened.document) != opened.text:
        raise FormatError("graph: is not spelled canonically", hint=DAMAGED)
    _check_header(opened, file[8 : opened.data_start], tensors)
    n_data = len(file) - opened.data_start
    n_listed = sum(SIZES[kind] * math.prod(shape) for kind, shape in tensors.values())
    if n_data != n_listed:
        raise FormatError(
            f"has {n_data} bytes of tensors, expected {n_listed} as its header says", hint=DAMAGED
        )
    data = memoryview(file)[opened.data_start :]
    hashes = _hashes(spell(document), data)
    if hashes != expected_hashes:
        raise FormatError(
            f"has the SHA-256 {hashes}, expected {expected_hashes} as the file says", hint=DAMAGED
        )
    # Only now, with every byte checked: the library by itself takes files that it should not.
    return document, load(file)


def _hashes(text: str, data: bytes | memoryview) -> dict[str, str]:
    return {
        "data": hashlib.sha256(data).hexdigest(),
        "graph": hashlib.sha256(text.encode()).hexdigest(),
    }


def _header(text: str, tensors: Listed) -> bytes:
    entries = {"__metadata__": {KEY: text}, **_entries(tensors)}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    return header + b" " * (-len(header) % 8)


def _entries(tensors: Listed) -> dict[str, Any]:
    entries = {}
    offset = 0
    for name, (kind, shape) in tensors.items():
        end = offset + SIZES[kind] * math.prod(shape)
        entries[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    return entries


def _listed_tensors(document: Mapping[str, Any]) -> Listed:
    listed = document.get("tensors")
    if not isinstance(listed, list):
        raise FormatError("graph: has no list of tensors", hint=DAMAGED)
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for entry in listed:
        match entry:
            case [str(name), list(sizes), *rest] if (
                name not in tensors and len(sizes) <= MAX_AXES and rest in ([], [BITS])
            ):
                tensors[name] = (BITS if rest else "F32", tuple(sizes))
            case _:
                raise FormatError(
                    f"graph: lists the tensor {entry}, expected a new name, at most "
                    f'{MAX_AXES} sizes, and "{BITS}" for bits',
                    hint=DAMAGED,
                )
        if not all(type(size) is int and size > 0 for size in sizes):
            raise FormatError(
                f"tensor {name!r}: has the shape {sizes}, expected positive integers", hint=DAMAGED
            )
    n_numbers = sum(
        (8 if kind == BITS else 1) * math.prod(shape) for kind, shape in tensors.values()
    )
    if n_numbers > MAX_NUMBERS:
        raise FormatError(
            f"graph: lists {n_numbers} numbers, expected at most {MAX_NUMBERS}", hint=DAMAGED
        )
    return tensors


def _check_header(opened: Opened, header: bytes, tensors: Listed) -> None:
    if header == _header(opened.text, tensors):
        return
    expected = _entries(tensors)
    found = {name: entry for name, entry in opened.header.items() if name != "__metadata__"}
    for name in (*expected, *found):
        if found.get(name) != expected.get(name):
            raise FormatError(
                f"tensor {name!r}: is {found.get(name)}, expected {expected.get(name)} "
                "as the graph says",
                hint=DAMAGED,
            )
    raise FormatError("header: is not spelled canonically", hint=DAMAGED)
