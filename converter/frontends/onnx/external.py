"""External data: weights that lie in other files of the model's folder.

Nothing outside of that folder is opened, and nothing is larger than the files are.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import FormatError
from .structure import all_nodes, tensors_of
from .tensors import DAMAGED, DTYPES, MAX_BYTES, ONE_FILE, Numbers, element_count, type_name

if TYPE_CHECKING:
    import onnx

MAX_EXTERNAL_BYTES = 2**34
"""Of all external data of a network."""
MAX_INLINE_BYTES = 2**16
"""Of a tensor that is put into the encoded network where not all of them fit: onnxruntime wants to
see shapes there."""


@dataclass(frozen=True)
class _Place:
    tensor: onnx.TensorProto
    path: Path
    offset: int
    length: int


def load_external_data(
    model: onnx.ModelProto, folder: Path, n_bytes: int, digest: Any
) -> tuple[int, dict[str, Numbers]]:
    """Move external data into the model as far as one encoded message holds it.

    Args:
        model: Changed.
        folder: Of the model; nothing outside of it is opened.
        n_bytes: Of the model without external data.
        digest: Updated with all external data.

    Returns:
        How many tensors have external data, and the arrays that stay outside, by name.

    Raises:
        FormatError: A place is outside the folder, no regular file, too short, or does not fit
            the declared shape; or all is too large.
    """
    import onnx

    external = onnx.TensorProto.EXTERNAL
    for node in all_nodes(model):
        for tensor in tensors_of(node):
            if tensor.data_location == external:
                raise FormatError(
                    f"{node.name} ({node.op_type}): has a constant with external data, expected "
                    "only initializers to have some",
                    hint=ONE_FILE,
                )
    tensors = [each for each in model.graph.initializer if each.data_location == external]
    places = [_find(tensor, folder) for tensor in tensors]
    total = n_bytes + sum(place.length for place in places)
    if total > MAX_BYTES:
        # More than the files hold is one place that is used again and again.
        n_stored = sum(map(_size_of, {place.path for place in places}))
        largest = min(MAX_EXTERNAL_BYTES, n_bytes + n_stored)
        if total > max(largest, MAX_BYTES):
            raise FormatError(
                f"{tensors[-1].name}: the network has {total} bytes with its external data, "
                f"expected at most {max(largest, MAX_BYTES)}",
                hint=DAMAGED,
            )
    arrays = {}
    for place in places:
        data = _read(place)
        digest.update(data)
        tensor = place.tensor
        tensor.ClearField("external_data")
        if total <= MAX_BYTES or place.length <= MAX_INLINE_BYTES:
            tensor.raw_data = data
            tensor.ClearField("data_location")
        else:
            dtype = np.dtype(DTYPES[tensor.data_type][0]).newbyteorder("<")
            arrays[tensor.name] = np.frombuffer(data, dtype).reshape(tuple(tensor.dims))
            # For onnxruntime, which is given the array: no file has this name.
            tensor.external_data.add(key="location", value="given")
    return len(tensors), arrays


def _find(tensor: onnx.TensorProto, folder: Path) -> _Place:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    path = _inside(folder, entries.get("location", ""), tensor.name)
    if tensor.data_type not in DTYPES:
        raise FormatError(
            f"{tensor.name}: external data of {type_name(tensor.data_type)}, expected numbers "
            "of 1 to 8 bytes",
            hint=ONE_FILE,
        )
    expected = element_count(tensor) * DTYPES[tensor.data_type][1]
    offset = _number(entries.get("offset", "0"), "offset", tensor.name)
    length = _number(entries.get("length", str(expected)), "length", tensor.name)
    if length != expected:
        raise FormatError(
            f"{tensor.name}: external data of {length} bytes, expected {expected} for "
            f"{type_name(tensor.data_type)} {list(tensor.dims)}",
            hint=DAMAGED,
        )
    return _Place(tensor, path, offset, length)


def _read(place: _Place) -> bytes:
    n_left = _size_of(place.path) - place.offset
    try:
        with place.path.open("rb") as handle:
            handle.seek(place.offset)
            content = handle.read(min(place.length, max(n_left, 0)))
    except OSError as error:
        raise FormatError(f"{place.path}: cannot be read ({error.strerror})") from error
    if len(content) < place.length:
        raise FormatError(
            f"{place.tensor.name}: {place.path.name} ends after {len(content)} of {place.length} "
            f"bytes from {place.offset}, expected all of them",
            hint="copy the data file again, it belongs to the .onnx file",
        )
    return content


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def _inside(folder: Path, location: str, name: str) -> Path:
    is_plain = (
        location
        and "\0" not in location
        and not PureWindowsPath(location).anchor
        and not PurePosixPath(location).is_absolute()
        and ".." not in PureWindowsPath(location).parts
    )
    if not is_plain:
        raise FormatError(
            f"{name}: has external data in {location!r}, expected a file in the model's folder",
            hint=ONE_FILE,
        )
    try:
        root = folder.resolve(strict=True)
        path = (root / location).resolve(strict=True)
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except (OSError, RuntimeError) as error:
        raise FormatError(
            f"{name}: has external data in {location!r}, which is missing, expected it in the "
            "model's folder",
            hint="copy the data file beside the .onnx file",
        ) from error
    if not path.is_relative_to(root) or not is_regular:
        raise FormatError(
            f"{name}: has external data in {location!r}, which is no regular file in the "
            "model's folder, expected one",
            hint=ONE_FILE,
        )
    return path


def _number(text: str, what: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise FormatError(
            f"{name}: external data with {what} {text[:30]!r}, expected a number >= 0",
            hint=DAMAGED,
        )
    return int(text)
