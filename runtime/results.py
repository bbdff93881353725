"""Evaluations as files: decisions packed into JSON, and read back with every size bounded."""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..converter.errors import FormatError

FORMAT, VERSION = "spikeport-evaluation", 1
DTYPES = ("uint8", "uint16", "int64")
MAX_FILE = 512 * 2**20
"""Bytes; what the caller reads at most."""
MAX_VALUES = 2**31
HINT = "write it again with this spikeport: spikeport evaluate ... --json FILE"


@dataclass(frozen=True, eq=False)
class Run:
    """One file of `evaluate --json`, checked.

    Attributes:
        name: Path of the file, as given.
        document: The JSON as it is.
        decisions: [T, N].
        labels: [N], or None.
    """

    name: str
    document: dict[str, Any]
    decisions: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None


def encode(values: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Pack integers >= 0 for JSON: the bytes of the smallest type, zlib, base64."""
    top = int(values.max(initial=0))
    dtype = "uint8" if top < 2**8 else "uint16" if top < 2**16 else "int64"
    raw = np.ascontiguousarray(values, f"<{np.dtype(dtype).str[1:]}").tobytes()
    data = base64.b64encode(zlib.compress(raw, 9)).decode()
    return {"dtype": dtype, "shape": list(values.shape), "zlib": data}


def decode(entry: Any, rank: int, where: str) -> npt.NDArray[np.int64]:
    """Return what `encode` packed.

    Raises:
        FormatError: It is something else; nothing larger than it says is unpacked.
    """
    wrong = FormatError(f"{where}: is not what `evaluate` packs, expected integers", hint=HINT)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "zlib"}:
        raise wrong
    dtype, shape, data = entry["dtype"], entry["shape"], entry["zlib"]
    if dtype not in DTYPES or not isinstance(data, str) or not isinstance(shape, list):
        raise wrong
    if len(shape) != rank or not all(type(size) is int and size > 0 for size in shape):
        raise wrong
    kind = np.dtype(dtype).newbyteorder("<")
    n_bytes = math.prod(shape) * kind.itemsize
    if n_bytes > MAX_VALUES:
        raise wrong
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(base64.b64decode(data, validate=True), n_bytes + 1)
    except (binascii.Error, zlib.error, ValueError, MemoryError) as error:
        raise wrong from error
    if len(raw) != n_bytes:
        raise wrong
    values = np.frombuffer(raw, kind).reshape(shape).astype(np.int64)
    if values.min() < 0:
        raise wrong
    return values


def read_run(path: str, content: bytes) -> Run:
    """Read a file that `evaluate --json` wrote.

    Args:
        path: What messages call it.
        content: Its bytes.

    Raises:
        FormatError: No evaluation, of another version, or damaged.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{path}: is not JSON, expected what `spikeport evaluate --json` writes", hint=HINT
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise FormatError(
            f"{path}: is no evaluation, expected the format {FORMAT!r}",
            hint="give files that `spikeport evaluate --json FILE` wrote",
        )
    version = document.get("version")
    if version != VERSION:
        raise FormatError(
            f"{path}: has version {version!r}, expected {VERSION}",
            hint=HINT if type(version) is not int or version < VERSION else "use its spikeport",
        )
    if "decisions" not in document:
        raise FormatError(
            f"{path}: holds no decisions of single samples, expected them for a comparison",
            hint=HINT,
        )
    decisions = decode(document["decisions"], 2, f"{path}: decisions").T
    labels = None
    if document.get("labels") is not None:
        labels = decode(document["labels"], 1, f"{path}: labels")
    n_steps, n_samples = decisions.shape
    fits = labels is None or len(labels) == n_samples
    if (document.get("n_steps"), document.get("n_samples")) != (n_steps, n_samples) or not fits:
        raise FormatError(
            f"{path}: n_steps, n_samples and labels do not fit its decisions {decisions.shape}",
            hint=HINT,
        )
    if not isinstance(document.get("samples_sha256"), str):
        raise FormatError(f"{path}: does not say which samples it is about", hint=HINT)
    return Run(path, document, decisions, labels)
