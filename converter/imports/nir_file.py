"""The HDF5 of a NIR file as plain dictionaries: every size is bounded before it is read."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from ..errors import FormatError
from ..frontends.keras import hdf5
from ..frontends.keras.heaps import check_heaps

MAX_FILE_BYTES = 2**32
MAX_DEPTH = 8
MAX_ENTRIES = 200_000
MAX_TEXT = 2**23
HINT = "write the file again: nir.write(...)"


def open_nir(data: bytes) -> dict[str, Any]:
    """Return the group `node` of a file, and its `version`.

    Groups are dictionaries, datasets are texts or arrays.

    Raises:
        FormatError: Damaged, cut or hostile.
    """
    file = io.BytesIO(data)
    try:
        check_heaps(file, "file", HINT)
        with hdf5.open_hdf5(file, "file") as opened:
            group = hdf5.find_group(opened, "node", "file")
            reader = _Reader(100 * len(data) + 2**26)
            content = reader.read(group, "node", 0)
            content["version"] = reader.read_text(opened, "version")
            return content
    except FormatError as error:
        raise FormatError(str(error).removeprefix("file: "), hint=HINT) from error


class _Reader:
    """Counts what was read, so that many small things do not become one large one."""

    def __init__(self, n_bytes: int) -> None:
        self.n_bytes = min(n_bytes, MAX_FILE_BYTES)
        self.n_entries = MAX_ENTRIES

    def read(self, group: Any, path: str, depth: int) -> dict[str, Any]:
        import h5py

        if depth > MAX_DEPTH:
            raise FormatError(f"{path}: is nested deeper than {MAX_DEPTH} levels")
        self.n_entries -= hdf5.count_entries(group, path)
        if self.n_entries < 0:
            raise FormatError(f"{path}: more than {MAX_ENTRIES} entries in the file")
        found: dict[str, Any] = {}
        with hdf5.hdf5_errors(path):
            names = list(group)
        for name in names:
            where = f"{path}/{name}"
            with hdf5.hdf5_errors(where):
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise FormatError(f"{where}: is a link, expected data in the file itself")
                entry = group[name]
            if isinstance(entry, h5py.Group):
                found[name] = self.read(entry, where, depth + 1)
            else:
                found[name] = self._read_dataset(group, name, entry, where)
        return found

    def read_text(self, group: Any, name: str) -> str:
        """Return a text, "" where there is none."""
        with hdf5.hdf5_errors(name):
            is_there = name in group
        value = self._read_dataset(group, name, group[name], name) if is_there else ""
        return value if isinstance(value, str) else ""

    def _read_dataset(self, group: Any, name: str, entry: Any, where: str) -> Any:
        import h5py

        with hdf5.hdf5_errors(where):
            if not isinstance(entry, h5py.Dataset) or entry.shape is None:
                raise FormatError(f"{where}: holds nothing, expected numbers or text")
            size = math.prod(entry.shape)
            is_text = h5py.check_string_dtype(entry.dtype) is not None or entry.dtype.kind == "S"
            self.n_bytes -= size * max(entry.dtype.itemsize, 1)
            if self.n_bytes < 0 or (is_text and size > MAX_ENTRIES):
                raise FormatError(f"{where}: declares more than the file can hold")
            if is_text:
                if entry.external or entry.is_virtual or entry.dtype.itemsize > MAX_TEXT:
                    raise FormatError(f"{where}: lies in other files, or is too long")
                value = np.asarray(entry[()], dtype=object)
                texts = [v.decode() if isinstance(v, bytes) else str(v) for v in value.ravel()]
                return texts[0] if value.shape == () else (value.shape, texts)
        return hdf5.find_dataset(group, name, where).read()
