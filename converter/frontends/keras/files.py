"""Opening .keras and .h5 files from strangers: their configuration, and where the weights lie.

Nothing of a file is run, and nothing is unpacked or allocated before its size is known.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import FormatError
from .hdf5 import DAMAGED, MAX_EXPANSION, SLACK_BYTES, open_hdf5, read_text
from .heaps import SIGNATURE
from .weights import ArchiveWeights, LegacyWeights, Weights

MAX_FILE_BYTES = 2**32
MAX_JSON_BYTES = 2**25
MAX_JSON_DEPTH = 100
MAX_DIRECTORY_BYTES = 2**22
"""Of a zip archive's list of members: some ten thousand, where Keras writes three."""

ARCHIVE_SUFFIX = ".keras"


@dataclass(frozen=True)
class ModelFile:
    """What a file says about a model, before any of it was checked.

    Attributes:
        config: The model as Keras serialized it.
        weights: Where to find the weights of its layers.
        version: Of the Keras that wrote the file; "" if it does not say.
        sha256: Of the file's bytes.
        is_archive: Whether it is one of Keras 3's archives, not HDF5.
    """

    config: Mapping[str, Any]
    weights: Weights
    version: str
    sha256: str
    is_archive: bool


@contextmanager
def open_model_file(path: Path) -> Iterator[ModelFile]:
    """Open a .keras, .h5 or .hdf5 file; the weights are read while it is open.

    Raises:
        FormatError: The file cannot be read, or is damaged, hostile or no Keras model.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FormatError(f"{path}: has {size} bytes, expected at most {MAX_FILE_BYTES}")
        handle = path.open("rb")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    with handle:
        sha256 = hash_file(handle)
        # Keras 2 wrote HDF5 into files of any name, up to version 2.12 of this one, too.
        is_hdf5 = handle.read(len(SIGNATURE)) == SIGNATURE
        handle.seek(0)
        is_archive = path.suffix.lower() == ARCHIVE_SUFFIX and not is_hdf5
        opened = _open_archive if is_archive else _open_legacy
        with opened(handle, str(path)) as (config, weights, version):
            yield ModelFile(config, weights, version, sha256, is_archive)


def hash_file(handle: io.BufferedReader) -> str:
    """Return the SHA-256 of a file's bytes; the file is at its start afterwards."""
    handle.seek(0)
    digest = hashlib.file_digest(handle, "sha256")
    handle.seek(0)
    return digest.hexdigest()


def parse_json(text: str | bytes, where: str) -> Mapping[str, Any]:
    """Return a JSON object of bounded size and depth.

    Raises:
        FormatError: It is too large, nested too deeply, no JSON, or no object.
    """
    if len(text) > MAX_JSON_BYTES:
        raise FormatError(f"{where} has {len(text)} bytes, expected at most {MAX_JSON_BYTES}")
    too_deep = f"{where} is nested too deeply, expected at most {MAX_JSON_DEPTH} levels"
    try:
        parsed = json.loads(text)
    except RecursionError as error:
        raise FormatError(too_deep, hint=DAMAGED) from error
    except ValueError as error:
        raise FormatError(f"{where} is no valid JSON ({error})", hint=DAMAGED) from error
    if not isinstance(parsed, dict):
        raise FormatError(f"{where} is no JSON object, expected one", hint=DAMAGED)
    level: list[Any] = [parsed]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return parsed
    raise FormatError(too_deep, hint=DAMAGED)


_Parts = tuple[Mapping[str, Any], Weights, str]


@contextmanager
def _open_archive(handle: io.BufferedReader, where: str) -> Iterator[_Parts]:
    try:
        bounded = _BoundedReads(handle)
        with zipfile.ZipFile(bounded) as archive:
            bounded.limit = MAX_FILE_BYTES
            config = _read_member(archive, "config.json", MAX_JSON_BYTES, where)
            metadata = _read_member(archive, "metadata.json", MAX_JSON_BYTES, where)
            weights = _read_member(archive, "model.weights.h5", MAX_FILE_BYTES, where)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
    ) as e:
        raise FormatError(
            f"{where}: is damaged, cut or no .keras archive ({e})", hint=DAMAGED
        ) from e
    version = parse_json(metadata, f"{where}: metadata.json").get("keras_version", "")
    with open_hdf5(io.BytesIO(weights), f"{where}: model.weights.h5") as file:
        found = ArchiveWeights(file, f"{where}: model.weights.h5")
        yield parse_json(config, f"{where}: config.json"), found, str(version)


@contextmanager
def _open_legacy(handle: io.BufferedReader, where: str) -> Iterator[_Parts]:
    with open_hdf5(handle, where) as file:
        config = read_text(file, "model_config", where)
        if config is None:
            raise FormatError(
                f"{where}: has no attribute model_config, expected a whole model",
                hint="a file of weights alone does not say what the layers are: "
                "save with model.save('name.keras')",
            )
        version = read_text(file, "keras_version", where) or ""
        yield parse_json(config, f"{where}: model_config"), LegacyWeights(file, where), version


def _read_member(archive: zipfile.ZipFile, name: str, limit: int, where: str) -> bytes:
    members = [info for info in archive.infolist() if info.filename == name]
    if len(members) != 1:
        raise FormatError(f"{where}: has {len(members)} members {name}, expected one", hint=DAMAGED)
    (info,) = members
    if info.flag_bits & 1 or info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise FormatError(
            f"{where}: {name} is encrypted or of compression type {info.compress_type}, "
            "expected stored or deflated",
            hint=DAMAGED,
        )
    if info.file_size > min(limit, info.compress_size * MAX_EXPANSION + SLACK_BYTES):
        raise FormatError(
            f"{where}: {name} declares {info.file_size} bytes, but {info.compress_size} are stored "
            f"and {limit} are allowed",
            hint=DAMAGED,
        )
    return archive.read(info)


class _BoundedReads:
    """A file that refuses single reads above `limit` bytes.

    zipfile reads the list of members at once, however long the file says that it is.
    """

    def __init__(self, handle: io.BufferedReader) -> None:
        self.handle = handle
        self.limit = MAX_DIRECTORY_BYTES

    def read(self, n_bytes: int = -1) -> bytes:
        data = self.handle.read(min(n_bytes, self.limit + 1) if n_bytes >= 0 else self.limit + 1)
        if len(data) > self.limit:
            raise zipfile.BadZipFile(f"its list of members has more than {self.limit} bytes")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.handle.seek(offset, whence)

    def tell(self) -> int:
        return self.handle.tell()

    def seekable(self) -> bool:
        return True
