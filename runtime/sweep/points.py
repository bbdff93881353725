"""What a search tries and what it measures: methods, points, and the front of the best points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...converter.errors import find
from ...converter.recipes import RECIPES, format_value
from ..metrics import paired_limit, wilson_interval


@dataclass(frozen=True)
class Method:
    """A recipe with options; the number of steps is still open.

    Attributes:
        recipe: Key of RECIPES.
        options: By pass, over those of the recipe.
    """

    recipe: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = (
            f"{name}.{option}={format_value(value)}"
            for name, options in self.options.items()
            for option, value in options.items()
        )
        return " ".join([self.recipe, *settings])

    @property
    def is_scheduled(self) -> bool:
        """Whether T is the window of a layer: a sample then takes T steps per layer."""
        return "schedule_neurons" in RECIPES[self.recipe].passes


METHODS: tuple[Method, ...] = (
    Method("rate"),
    Method("rate", {"calibrate_neurons": {"hold_back": False}}),
    Method("rate", {"calibrate_neurons": {"fit_weights": False}}),
    Method("light"),
    Method("ltb"),
    Method("classic"),
    Method("exact"),
)
"""What is searched unless told otherwise: spikes are 0 or 1. The first is the one to beat."""


def choose_methods(recipes: Sequence[str]) -> tuple[Method, ...]:
    """Return the methods of some recipes, or METHODS for none; a recipe outside of it as it is.

    Raises:
        PassError: No such recipe.
    """
    chosen: list[Method] = []
    for name in dict.fromkeys(recipes):
        find(RECIPES, name, "recipe")
        chosen += [method for method in METHODS if method.recipe == name] or [Method(name)]
    return tuple(chosen) or METHODS


def with_options(
    methods: Sequence[Method], options: Mapping[str, Mapping[str, Any]]
) -> tuple[Method, ...]:
    """Return the methods with the given options over their own, each once."""
    merged = {}
    for method in methods:
        names = dict.fromkeys((*method.options, *options))
        every = {n: {**method.options.get(n, {}), **options.get(n, {})} for n in names}
        merged[str(Method(method.recipe, every))] = Method(method.recipe, every)
    return tuple(merged.values())


@dataclass(frozen=True)
class Point:
    """One conversion, measured.

    Attributes:
        method: Recipe and options.
        n_steps: T of the conversion.
        latency: Steps of a sample, counted in full.
        operations: Synaptic operations per sample.
        n_samples: It was measured on.
        n_right: Decided right; without labels: like the ANN.
        n_lost: Of those that the ANN has right, decided wrong.
        n_won: Decided right, and wrong by the ANN.
        z: Quantile of the normal distribution for accuracy, at both ends.
        z_drop: The same for the drop, at its upper end.
        is_held_out: The samples took no part in the search.
    """

    method: Method
    n_steps: int
    latency: int
    operations: float
    n_samples: int
    n_right: int
    n_lost: int
    n_won: int
    z: float
    z_drop: float
    is_held_out: bool = False

    def __str__(self) -> str:
        return f"{self.method} T={self.n_steps}"

    @property
    def short(self) -> str:
        """The point with options without their passes, for tables."""
        settings = (
            f"{option}={format_value(value)}"
            for options in self.method.options.values()
            for option, value in options.items()
        )
        return " ".join([self.method.recipe, f"T={self.n_steps}", *settings])

    @property
    def accuracy(self) -> float:
        """Share of right decisions."""
        return self.n_right / self.n_samples

    @property
    def interval(self) -> tuple[float, float]:
        """Confidence interval of the accuracy."""
        return wilson_interval(self.n_right, self.n_samples, self.z)

    @property
    def drop(self) -> float:
        """Share of right decisions lost against the ANN; negative where some are won."""
        return (self.n_lost - self.n_won) / self.n_samples

    @property
    def drop_at_most(self) -> float:
        """Upper confidence limit of the drop."""
        return paired_limit(self.n_lost, self.n_won, self.n_samples, self.z_drop)

    def to_json(self) -> dict[str, Any]:
        """Return the point as `convert --recipe auto --json` prints it (docs/auto.md)."""
        return {
            "recipe": self.method.recipe,
            "options": {name: dict(options) for name, options in self.method.options.items()},
            "n_steps": self.n_steps,
            "latency_steps": self.latency,
            "accuracy": self.accuracy,
            "accuracy_interval": list(self.interval),
            "drop": self.drop,
            "drop_at_most": self.drop_at_most,
            "synaptic_operations_per_sample": self.operations,
            "n_samples": self.n_samples,
            "held_out": self.is_held_out,
        }


def find_front(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in drop, steps and operations, by steps.

    Drops are compared, not accuracies: points may be measured on different samples.
    """
    every = tuple(points)
    front = [p for p in every if not any(_beats(other, p) for other in every)]
    return tuple(sorted(front, key=lambda p: (p.latency, p.operations)))


def _beats(first: Point, second: Point) -> bool:
    a = (first.drop, first.latency, first.operations)
    b = (second.drop, second.latency, second.operations)
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
