"""Arrays in ONNX files: sizes are checked before anything is decoded or read from another file."""

from __future__ import annotations

import math
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError, UnsupportedOpError

if TYPE_CHECKING:
    import onnx

Numbers = npt.NDArray[Any]

MAX_DIMENSIONS = 32
MAX_ELEMENTS = 2**40
"""Of one tensor, and of any part of its axes where another one is empty."""
MAX_BYTES = 2**31 - 1
"""Of a network with all its weights: what the encoding (protobuf) allows."""
DAMAGED = "the file is damaged: export the network again"
ONE_FILE = "save the network as one file: onnx.save_model(model, path)"

DTYPES: dict[int, tuple[str, int, str]] = {
    1: ("float32", 4, "float_data"),
    2: ("uint8", 1, "int32_data"),
    3: ("int8", 1, "int32_data"),
    4: ("uint16", 2, "int32_data"),
    5: ("int16", 2, "int32_data"),
    6: ("int32", 4, "int32_data"),
    7: ("int64", 8, "int64_data"),
    9: ("bool", 1, "int32_data"),
    10: ("float16", 2, "int32_data"),
    11: ("float64", 8, "double_data"),
    12: ("uint32", 4, "uint64_data"),
    13: ("uint64", 8, "uint64_data"),
}
"""By ONNX' number of a data type: its name, bytes, and the field that holds it if not raw."""


def type_name(number: int) -> str:
    """Return the name of an ONNX data type."""
    return DTYPES[number][0] if number in DTYPES else f"data type {number}"


def element_count(tensor: onnx.TensorProto) -> int:
    """Return how many entries a tensor declares.

    Raises:
        FormatError: The declared shape is impossible.
    """
    dims = list(tensor.dims)
    if (
        len(dims) > MAX_DIMENSIONS
        or min(dims, default=0) < 0
        or math.prod(max(size, 1) for size in dims) > MAX_ELEMENTS
    ):
        raise FormatError(
            f"{tensor.name}: is declared with shape {dims[: MAX_DIMENSIONS + 1]}, expected at "
            f"most {MAX_DIMENSIONS} sizes >= 0 and {MAX_ELEMENTS} entries",
            hint=DAMAGED,
        )
    return math.prod(dims)


def check_tensor(tensor: onnx.TensorProto) -> None:
    """Compare the declared size of a tensor with what the file holds.

    Raises:
        FormatError: They differ.
    """
    n_expected = element_count(tensor)
    if tensor.data_type not in DTYPES:
        return
    name, n_bytes, field = DTYPES[tensor.data_type]
    if tensor.HasField("raw_data"):
        unit, found, expected = "bytes", len(tensor.raw_data), n_expected * n_bytes
    else:
        unit, found, expected = "numbers", len(getattr(tensor, field)), n_expected
    if found != expected:
        raise FormatError(
            f"{tensor.name}: holds {found} {unit}, expected {expected} for {name} "
            f"{list(tensor.dims)}",
            hint=DAMAGED,
        )


def decode(tensor: onnx.TensorProto) -> Numbers:
    """Return the numbers of a checked tensor.

    Raises:
        UnsupportedOpError: They are of a type without a meaning here.
    """
    from onnx import numpy_helper

    if tensor.data_type not in DTYPES:
        raise UnsupportedOpError(
            f"{tensor.name}: holds {type_name(tensor.data_type)}, expected one of "
            f"{' '.join(name for name, _, _ in DTYPES.values())}",
            hint="export the network with float32 weights",
        )
    return np.asarray(numpy_helper.to_array(tensor))


def read_external(tensor: onnx.TensorProto, folder: Path, n_bytes_left: int) -> bytes:
    """Return the bytes of a tensor that lie in another file of the model's folder.

    Args:
        tensor: Says where: file, offset, length.
        folder: Of the model; nothing outside of it is opened.
        n_bytes_left: What all further tensors may take.

    Raises:
        FormatError: The place is outside the folder, no regular file, too short, or does not fit
            the declared shape.
    """
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
    if length > n_bytes_left:
        raise FormatError(
            f"{tensor.name}: the network has more than {MAX_BYTES} bytes with its external data, "
            "expected at most as many",
        )
    try:
        with path.open("rb") as handle:
            handle.seek(offset)
            content = handle.read(length)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) < length:
        raise FormatError(
            f"{tensor.name}: {path.name} ends after {len(content)} of {length} bytes from "
            f"{offset}, expected all of them",
            hint="copy the data file again, it belongs to the .onnx file",
        )
    return content


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
