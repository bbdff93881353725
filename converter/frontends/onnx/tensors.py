"""Arrays in ONNX files: sizes are checked before anything is decoded or read from another file."""

from __future__ import annotations

import math
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
    import onnx

    n_expected = element_count(tensor)
    is_elsewhere = tensor.data_location == onnx.TensorProto.EXTERNAL
    if tensor.data_type not in DTYPES or is_elsewhere:
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
