"""Everything that spikeport raises on purpose.

    SpikeportError              WHERE: what is wrong, expected what; and a hint: what to do
    ├── ConversionError         a network cannot become a spiking graph
    │   ├── UnsupportedOpError  operations without a translation; lists every one
    │   ├── GraphError          a graph breaks a rule of the IR
    │   ├── PassError           a pass cannot do its work on this graph
    │   └── FormatError         a file is damaged, hostile or of a newer version
    ├── DataError               samples or labels that do not fit the network, or an unusable file
    └── SimulationError         a spiking graph cannot be run as asked

The command line prints the message on standard error, the hint on a line of its own, and exits
with 1. Nothing else is caught there: any other exception is a defect of spikeport.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from .meanings import SourceNode


class SpikeportError(Exception):
    """Root of the tree.

    Args:
        message: `WHERE: what is wrong with the value, expected ...`.
        hint: What the user can do about it.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def at(self, where: str) -> Self:
        """Return the same error with `where: ` in front, for the caller that knows where it was."""
        located = copy.copy(self)
        located.args = (f"{where}: {self}",)
        return located


class ConversionError(SpikeportError):
    """A network cannot become a spiking graph."""


class UnsupportedOpError(ConversionError):
    """The source has operations without a translation; `reasons` has one line for each of them.

    `nodes` are all layers or operators of the source, those with a translation included, if known.
    """

    def __init__(
        self,
        message: str,
        *,
        reasons: tuple[str, ...] = (),
        hint: str | None = None,
        nodes: tuple[SourceNode, ...] = (),
    ) -> None:
        super().__init__("\n  ".join((message, *reasons)), hint=hint)
        self.reasons = reasons
        self.nodes = nodes


class GraphError(ConversionError):
    """A graph breaks a rule of the IR."""


class PassError(ConversionError):
    """A pass cannot do its work on this graph."""


class FormatError(ConversionError):
    """A file is damaged, hostile, or of a version this spikeport does not know."""


class DataError(SpikeportError):
    """Samples or labels do not fit the network, or the file they came from is unusable."""


class SimulationError(SpikeportError):
    """A spiking graph cannot be run as asked."""


def find(
    table: Mapping[str, Any], name: str, kind: str, error: type[SpikeportError] = PassError
) -> Any:
    """Return `table[name]`.

    Raises:
        SpikeportError: Of the given kind: there is no such entry; the nearest name is offered.
    """
    if isinstance(name, str) and name in table:
        return table[name]
    nearest = difflib.get_close_matches(str(name), table, n=1, cutoff=0.4)
    raise error(
        f"{kind} {name!r}: does not exist, expected one of {', '.join(table)}",
        hint=f"did you mean {nearest[0]}?"
        if nearest
        else "no name is like it: choose one of those",
    )
