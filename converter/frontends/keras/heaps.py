"""Refuses HDF5 files on which the HDF5 library would never end.

The library walks the objects of a global heap, where texts of any length lie, by the sizes that
the file declares. One that is zero, or that leads back, is walked forever.
"""

from __future__ import annotations

import io
import mmap
import struct
from typing import Any

from ...errors import FormatError

MAX_OBJECTS = 1_000_000
"""Of all heaps of a file; Keras writes a handful."""

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\x01"
_HEADER = struct.Struct("<Q")
_OBJECT = struct.Struct("<H6xQ")
_SIZE = 8
"""Bytes of a length, in every file that h5py writes."""


def check_heaps(file: Any, where: str, hint: str) -> None:
    """Check the global heaps of a binary file object.

    Raises:
        FormatError: The library would walk one of them forever, or sizes are not of 8 bytes.
    """
    if isinstance(file, io.BytesIO):
        _check(file.getvalue(), where, hint)
        return
    try:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:  # an empty file
        return
    with mapped:
        _check(mapped, where, hint)


def _check(content: Any, where: str, hint: str) -> None:
    start = content.find(SIGNATURE)
    if start < 0 or len(content) < start + 16:
        return  # h5py says so
    place = 14 if content[start + 8] < 2 else 10
    if content[start + place] != _SIZE:
        raise FormatError(
            f"{where}: the HDF5 data has lengths of {content[start + place]} bytes, expected 8",
            hint=hint,
        )
    n_objects = 0
    heap = content.find(_HEAP)
    while heap >= 0 and heap + 16 <= len(content):
        (size,) = _HEADER.unpack_from(content, heap + 8)
        end = min(heap + size, len(content))
        place = heap + 16
        while place + 16 <= end:
            n_objects += 1
            step = _step(*_OBJECT.unpack_from(content, place))
            if not 0 < step < 2**63 or n_objects > MAX_OBJECTS:
                raise FormatError(
                    f"{where}: the HDF5 data is damaged (a heap of texts that does not end)",
                    hint=hint,
                )
            place += step
        heap = content.find(_HEAP, heap + 1)


def _step(number: int, size: int) -> int:
    """Return how far the library goes on behind an object, as it computes that in 64 bits."""
    if number == 0:  # free space, whose size counts its own header
        return size
    return int((16 + (size + 7) // 8 * 8) % 2**64)
