"""Arrays whose entries differ in the sign alone, or are zero: stored as bits and a scale per row.

A row is what lies behind one index of the first axis: the weights to one output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError
from ..ir import Array

SCALE, SIGNS, NONZERO = ".scale", ".signs", ".nonzero"
"""What is appended to a field's name: the magnitudes, float32; bits of negative entries; bits of
entries that are not zero, only if some are."""
BYTE = 8
Stored = Array | npt.NDArray[np.uint8]


def pack(name: str, array: Array) -> dict[str, Stored]:
    """Return what to store for an array: itself, or bits where they say the same and take less.

    Row r of the array is scale[r] times +1, -1 or 0. Bit r % 8 of byte [r // 8, ...] belongs to row
    r, so that the array's shape follows from the scale's and the bits'.

    Args:
        name: Of the field.
        array: Any shape.
    """
    whole: dict[str, Stored] = {name: array}
    if array.ndim < 2 or not np.isfinite(array).all():
        return whole
    rows = array.reshape(len(array), -1)
    scale = np.abs(rows).max(axis=1)
    nonzero, signs = rows != 0, np.signbit(rows)
    exact = np.where(nonzero, np.where(signs, -scale[:, None], scale[:, None]), np.float32(0))
    if exact.astype(np.float32).tobytes() != np.ascontiguousarray(rows).tobytes():
        return whole
    planes = {SIGNS: signs}
    if not (nonzero | (scale == 0)[:, None]).all():
        planes[NONZERO] = nonzero
    packed: dict[str, Stored] = {name + SCALE: scale}
    for suffix, plane in planes.items():
        bits = np.packbits(plane, axis=0, bitorder="little")
        packed[name + suffix] = bits.reshape(-1, *array.shape[1:])
    return packed if sum(part.nbytes for part in packed.values()) < array.nbytes else whole


def unpack(stored: Mapping[str, npt.NDArray[Any]]) -> dict[str, Array]:
    """Return the arrays of one node by field, float32.

    Raises:
        FormatError: Bits are there without a scale or the other way round, do not fit each other,
            or are set where there is no row.
    """
    arrays: dict[str, Array] = {}
    for name, array in stored.items():
        field = next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), None)
        if field is None:
            if array.dtype != np.float32:
                raise FormatError(f"{name}: holds bits, expected float32")
            arrays[name] = array
        elif field in stored:
            raise FormatError(f"{field}: is there as numbers and as bits, expected one of them")
        elif field not in arrays:
            arrays[field] = _unpack_field(field, stored)
    return arrays


SUFFIXES = (SCALE, SIGNS, NONZERO)


def _unpack_field(field: str, stored: Mapping[str, npt.NDArray[Any]]) -> Array:
    scale, signs, nonzero = (stored.get(field + suffix) for suffix in SUFFIXES)
    if scale is None or signs is None:
        raise FormatError(f"{field}: has {_listed(field, stored)}, expected {SCALE} and {SIGNS}")
    planes = [plane for plane in (signs, nonzero) if plane is not None]
    n_rows = len(scale) if scale.ndim == 1 else -1
    shape = (-(-n_rows // BYTE), *signs.shape[1:])
    if (
        scale.dtype != np.float32
        or any(plane.dtype != np.uint8 or plane.shape != shape for plane in planes)
        or len(shape) < 2
    ):
        raise FormatError(
            f"{field}: has {_listed(field, stored)}, expected a scale per row, and bytes of bits "
            "for 8 rows each"
        )
    if not (np.isfinite(scale) & (scale >= 0)).all():
        raise FormatError(f"{field}{SCALE}: is negative or not finite, expected magnitudes")
    factors = scale.reshape(-1, *(1,) * (len(shape) - 1))
    bits = [np.unpackbits(plane, axis=0, bitorder="little").astype(np.bool_) for plane in planes]
    if any(plane[n_rows:].any() for plane in bits):
        raise FormatError(f"{field}: has bits set behind its {n_rows} rows, expected none")
    used = bits[1][:n_rows] if len(bits) > 1 else factors != 0
    negative = bits[0][:n_rows]
    if (negative & ~used).any() or (used & (factors == 0)).any():
        raise FormatError(f"{field}: has bits for entries that are zero, expected none")
    return np.where(negative, -factors, np.where(used, factors, np.float32(0)))


def _listed(field: str, stored: Mapping[str, npt.NDArray[Any]]) -> str:
    parts = [
        f"{name.removeprefix(field)} {array.dtype} {list(array.shape)}"
        for name, array in stored.items()
        if name.removesuffix(SCALE).removesuffix(SIGNS).removesuffix(NONZERO) == field
    ]
    return ", ".join(parts)
