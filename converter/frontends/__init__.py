"""From a file or a model in memory to a graph: FRONTENDS, the table by file suffix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir import Array, Graph


@dataclass(frozen=True)
class Source:
    """A trained network as its own framework and as a graph.

    Attributes:
        graph: What was read; analog, nothing simplified.
        run: Computes the outputs [N, ...] for the inputs [N, ...] in the source's own framework.
        name: File name without folders, or the name of a model in memory.
        sha256: Of the file's bytes, or of the configuration and weights of a model in memory.
    """

    graph: Graph
    run: Callable[[tuple[Array, ...]], tuple[Array, ...]]
    name: str
    sha256: str
