"""ENGINES: ways to run a spiking graph, all with the same spikes."""

from __future__ import annotations

from typing import Protocol

from ...converter.ir import Graph
from ..encoding import Encoder
from ..simulation import Runner
from . import counts, event, reference


class Engine(Protocol):
    """Makes a graph ready to run."""

    def __call__(
        self, graph: Graph, *, n_threads: int = 1, encoder: Encoder | None = None
    ) -> Runner:
        """Return a runner; the number of threads never changes a result.

        An encoder says what flows at every step; None is constant currents.
        """


ENGINES: dict[str, Engine] = {
    "event": event.compile_graph,
    "reference": reference.compile_graph,
    "counts": counts.compile_graph,
}
DEFAULT_ENGINE = "event"
