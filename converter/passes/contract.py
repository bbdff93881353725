"""What a pass is, and what it promises."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ..errors import ConversionError, PassError
from ..ir import Graph

SUPPLIED = frozenset({"calibration", "n_steps"})
"""Keyword-only parameters of passes that are no options: the caller gives them."""


class Keeps(IntEnum):
    """What a pass does not change; more is stricter."""

    SIGNATURE = 1
    """Same inputs, same shapes of the outputs."""
    DECISION = 2
    """Same order of the entries of every output."""
    FUNCTION = 3
    """Same outputs."""


@dataclass(frozen=True)
class Pass:
    """A function Graph -> Graph with its contract. Never changes its argument.

    Attributes:
        run: The function; its keyword-only parameters are the options, but for `calibration` and
            `n_steps`, which the caller supplies.
        keeps: What it does not change.
        needs_no: Names of ops that the argument must not have.
        leaves_no: Names of ops that the result does not have.
        source: The publication whose method it is; "" for plain algebra.
    """

    run: Callable[..., Graph]
    keeps: Keeps
    needs_no: tuple[str, ...] = ()
    leaves_no: tuple[str, ...] = ()
    source: str = ""

    @property
    def name(self) -> str:
        """The function's name, which is its file's name."""
        return self.run.__name__

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.run.__doc__ or "").splitlines()[0]

    @property
    def options(self) -> dict[str, Any]:
        """Options and their defaults."""
        return {
            name: parameter.default
            for name, parameter in inspect.signature(self.run).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and name not in SUPPLIED
        }

    @property
    def needs(self) -> frozenset[str]:
        """What the caller supplies: `calibration` samples, the `n_steps` that are meant."""
        return SUPPLIED & inspect.signature(self.run).parameters.keys()

    def __call__(self, graph: Graph, **options: Any) -> Graph:
        """Run the pass and check its contract.

        Raises:
            PassError: The graph has an op that the pass cannot take; or, a defect of spikeport, the
                pass broke its promise.
            ConversionError: What the pass itself raises.
        """
        self._expect_none(graph, self.needs_no, "expected a graph without it")
        try:
            result = self.run(graph, **options)
        except ConversionError as error:
            if str(error).startswith(f"{self.name}: "):
                raise
            raise error.at(self.name) from error
        self._expect_none(result, self.leaves_no, "which this pass promises to remove")
        for kind, before, after in (
            ("inputs", graph.inputs, result.inputs),
            ("outputs", graph.outputs, result.outputs),
        ):
            old = [graph.types[name].shape for name in before]
            new = [result.types[name].shape for name in after]
            if old != new:
                raise PassError(f"{self.name}: {kind} have shapes {new}, expected {old}")
        return result

    def _expect_none(self, graph: Graph, ops: tuple[str, ...], why: str) -> None:
        found = [str(node) for node in graph.nodes if type(node.op).__name__ in ops]
        if found:
            raise PassError(f"{self.name}: the graph has {', '.join(found[:5])}, {why}")
