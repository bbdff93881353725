"""Reading HDF5 from strangers: nothing is followed out of the file, every size is bounded first.

`where` in the arguments is the file, the start of every message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import FormatError
from .heaps import check_heaps

if TYPE_CHECKING:
    import h5py

Numbers = npt.NDArray[Any]

MAX_EXPANSION = 100
"""Declared bytes per stored byte of compressed data; trained weights shrink to half at best."""
SLACK_BYTES = 2**20
"""What compressed data may expand to in any case: a bias of zeros compresses without limit."""
MAX_NAMES = 100_000
"""Entries of an attribute that lists names."""
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32"}
"""Filters that every HDF5 library has built in; any other would load a plugin."""
DAMAGED = "save the model again: model.save('name.keras')"


@dataclass(frozen=True)
class Stored:
    """An array of numbers that lies somewhere, not read yet.

    Attributes:
        shape: As declared.
        read: Returns the numbers.
    """

    shape: tuple[int, ...]
    read: Callable[[], Numbers]


@contextmanager
def hdf5_errors(where: str) -> Iterator[None]:
    """Turn what the HDF5 library raises on damaged files into a FormatError."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise FormatError(
            f"{where}: the HDF5 data is damaged or cut ({_first_line(error)})", hint=DAMAGED
        ) from error


def open_hdf5(file: Any, where: str) -> h5py.File:
    """Open a binary file object for reading."""
    import h5py

    check_heaps(file, where, DAMAGED)
    with hdf5_errors(where):
        return h5py.File(file, "r")


def find_group(parent: h5py.Group, path: str, where: str) -> h5py.Group:
    """Return the group at `path`, one hard link after the other.

    Raises:
        FormatError: There is none, or the way leads through a link out of the file.
    """
    import h5py

    found = _follow(parent, path, where)
    if not isinstance(found, h5py.Group):
        raise FormatError(f"{where}: {path} is no group, expected one", hint=DAMAGED)
    return found


def has(parent: h5py.Group, name: str, where: str) -> bool:
    """Return whether the group has an entry `name`, links of every kind included."""
    with hdf5_errors(where):
        return bool(parent.get(name, getlink=True) is not None)


def count_entries(group: h5py.Group, where: str) -> int:
    """Return how many entries a group has."""
    with hdf5_errors(where):
        return len(group)


def find_dataset(parent: h5py.Group, path: str, where: str) -> Stored:
    """Return the dataset at `path`, checked but not read.

    Raises:
        FormatError: There is none, its data lies in other files, its dtype is no number, or it
            declares far more bytes than the file stores.
    """
    import h5py

    found = _follow(parent, path, where)
    if not isinstance(found, h5py.Dataset):
        raise FormatError(f"{where}: {path} is no dataset, expected one", hint=DAMAGED)
    with hdf5_errors(where):
        _check_dataset(found, f"{where}: dataset {path}")
        shape = tuple(int(size) for size in found.shape)

    def read() -> Numbers:
        with hdf5_errors(where):
            return np.asarray(found[()])

    return Stored(shape, read)


def read_names(group: h5py.Group, name: str, where: str) -> tuple[str, ...]:
    """Return an attribute that lists names; Keras splits a long one into `name0`, `name1`, ..."""
    with hdf5_errors(where):
        if name in group.attrs:
            return _decode_names(group, name, where)
        found: list[str] = []
        part = 0
        while f"{name}{part}" in group.attrs:
            found.extend(_decode_names(group, f"{name}{part}", where))
            if len(found) > MAX_NAMES:
                raise FormatError(f"{where}: {name} lists more than {MAX_NAMES} names")
            part += 1
        return tuple(found)


def read_text(group: h5py.Group, name: str, where: str) -> str | None:
    """Return a text attribute, None where there is none."""
    import h5py

    with hdf5_errors(where):
        if name not in group.attrs:
            return None
        attribute = group.attrs.get_id(name)
        is_text = h5py.check_string_dtype(attribute.dtype) is not None
        if attribute.shape != () or not is_text:
            raise FormatError(
                f"{where}: attribute {name} has shape {attribute.shape} and dtype "
                f"{attribute.dtype}, expected one text",
                hint=DAMAGED,
            )
        value = group.attrs[name]
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _follow(parent: h5py.Group, path: str, where: str) -> h5py.Group | h5py.Dataset:
    import h5py

    found: Any = parent
    for part in path.split("/"):
        with hdf5_errors(where):
            link = found.get(part, getlink=True) if part and isinstance(found, h5py.Group) else None
            if link is None:
                raise FormatError(f"{where}: has no {path}, expected it", hint=DAMAGED)
            if not isinstance(link, h5py.HardLink):
                kind = {"ExternalLink": "an external", "SoftLink": "a soft"}
                raise FormatError(
                    f"{where}: {path} is {kind.get(type(link).__name__, 'an unknown')} link, "
                    "expected data in the file itself",
                    hint=DAMAGED,
                )
            found = found[part]
    checked: h5py.Group | h5py.Dataset = found
    return checked


def _check_dataset(dataset: h5py.Dataset, where: str) -> None:
    if dataset.external:
        raise FormatError(f"{where} lies in other files, expected it in the file", hint=DAMAGED)
    if dataset.is_virtual:
        raise FormatError(f"{where} is virtual, expected data in the file itself", hint=DAMAGED)
    if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8 or dataset.shape is None:
        raise FormatError(
            f"{where} has dtype {dataset.dtype} and shape {dataset.shape}, expected numbers",
            hint=DAMAGED,
        )
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(index)[0] for index in range(plist.get_nfilters())]
    for identifier in filters:
        if identifier not in FILTERS:
            known = ", ".join(FILTERS.values())
            raise FormatError(
                f"{where} uses the filter {identifier}, expected none or {known}",
                hint=DAMAGED,
            )
    declared = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    # What is not compressed is stored in full; a chunk is allocated whole, however little is in it.
    limit = stored * MAX_EXPANSION + SLACK_BYTES if filters else stored
    chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
    if declared > limit or chunk > 2 * declared + SLACK_BYTES:
        raise FormatError(
            f"{where} declares {max(declared, chunk)} bytes, but {stored} are stored", hint=DAMAGED
        )


def _decode_names(group: h5py.Group, name: str, where: str) -> tuple[str, ...]:
    import h5py

    attribute = group.attrs.get_id(name)
    if math.prod(attribute.shape) == 0:
        return ()
    is_text = h5py.check_string_dtype(attribute.dtype) is not None
    if len(attribute.shape) != 1 or attribute.shape[0] > MAX_NAMES or not is_text:
        raise FormatError(
            f"{where}: attribute {name} has shape {attribute.shape} and dtype {attribute.dtype}, "
            f"expected a list of at most {MAX_NAMES} names",
            hint=DAMAGED,
        )
    return tuple(
        value.decode("utf-8") if isinstance(value, bytes) else str(value)
        for value in group.attrs[name]
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
