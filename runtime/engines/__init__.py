"""ENGINES: ways to run a spiking graph, all with the same spikes."""

from __future__ import annotations

from collections.abc import Callable

from ...converter.ir import Array, Graph
from ..simulation import Simulation
from . import reference

Engine = Callable[[Graph, tuple[Array, ...], int], Simulation]

ENGINES: dict[str, Engine] = {"reference": reference.simulate}
DEFAULT_ENGINE = "reference"
