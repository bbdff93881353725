"""From other tools' spiking networks to a graph: IMPORTS, the table by file suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import FormatError
from ..ir import Graph
from .nir import read_nir

IMPORTS: dict[str, Callable[[Path, float | None], Graph]] = {".nir": read_nir, ".h5": read_nir}


def read_graph(path: Path, *, dt: float | None = None) -> Graph:
    """Read a spiking network that another tool wrote.

    Args:
        path: With a suffix of IMPORTS.
        dt: Length of a time step in the file's unit of time; None is what the file says, else 1.

    Raises:
        FormatError: No such file, damaged, hostile, or of another kind.
        UnsupportedOpError: It has nodes without a meaning here; lists all of them.
    """
    if dt is not None and not 0 < dt < float("inf"):
        raise FormatError(f"dt {dt}, expected a positive number", hint="1 is the default")
    if path.suffix.lower() not in IMPORTS:
        raise FormatError(
            f"{path}: has the suffix {path.suffix!r}, expected {' or '.join(IMPORTS)}",
            hint="trained analog networks are converted: spikeport convert",
        )
    return IMPORTS[path.suffix.lower()](path, dt)
