"""From a graph to a file: FORMATS, the table by file suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..ir import Graph
from .snn import write_snn

FORMATS: dict[str, Callable[[Graph, Path], str]] = {".snn": write_snn}
"""Each writes a graph and returns the file's SHA-256; it refuses what its format cannot express."""
