"""RECIPES: named tuples of passes. A recipe is data; `convert` runs it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import PassError
from .passes import PASSES

SIMPLIFY = ("remove_no_ops", "strip_output_activation", "fold_batch_norm")


@dataclass(frozen=True)
class Recipe:
    """An order of passes.

    Attributes:
        passes: Keys of PASSES.
        summary: One line for people.
        options: Options that differ from the passes' defaults, by pass.
        source: The publication, author and year.
    """

    passes: tuple[str, ...]
    summary: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = ""


RECIPES: dict[str, Recipe] = {
    "rate": Recipe(
        (*SIMPLIFY, "normalize_weights", "insert_neurons"),
        "channel-wise 99.9 percentile, reset by subtraction, initial potential 1/2",
        source="Rueckauer et al. 2017",
    ),
    "classic": Recipe(
        (*SIMPLIFY, "normalize_weights", "insert_neurons"),
        "layer-wise 99.9 percentile, reset by subtraction, initial potential 0",
        {
            "normalize_weights": {"per_channel": False},
            "insert_neurons": {"initial_potential": 0.0},
        },
        source="Rueckauer et al. 2017",
    ),
    "diehl": Recipe(
        (*SIMPLIFY, "normalize_weights", "insert_neurons"),
        "layer-wise maximum, reset to zero, initial potential 0",
        {
            "normalize_weights": {"per_channel": False, "percentile": 100.0},
            "insert_neurons": {"initial_potential": 0.0, "reset": "zero"},
        },
        source="Diehl et al. 2015",
    ),
}
DEFAULT_RECIPE = "rate"


def find(table: Mapping[str, Any], name: str, kind: str) -> Any:
    """Return `table[name]`.

    Raises:
        PassError: There is no such entry; the nearest name is offered.
    """
    if name in table:
        return table[name]
    nearest = difflib.get_close_matches(name, table, n=1, cutoff=0.4)
    offer = f"did you mean {nearest[0]}? " if nearest else ""
    raise PassError(
        f"{kind} {name!r}: does not exist, expected one of {', '.join(table)}",
        hint=f"{offer}the names are {', '.join(table)}",
    )


def parse_options(settings: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return `PASS.OPTION=VALUE` settings as options by pass; a value has its default's type.

    Raises:
        PassError: Not of this form, no such pass or option, or a value of another type.
    """
    options: dict[str, dict[str, Any]] = {}
    for setting in settings:
        target, equals, text = setting.partition("=")
        pass_name, dot, option = target.partition(".")
        if not (equals and dot and option):
            raise PassError(
                f"--set {setting}: expected PASS.OPTION=VALUE",
                hint="for example --set normalize_weights.percentile=99.5",
            )
        defaults = find(PASSES, pass_name, "pass").options
        default = find(defaults, option, f"option of {pass_name}")
        options.setdefault(pass_name, {})[option] = _parse(setting, text, default)
    return options


def _parse(setting: str, text: str, default: Any) -> Any:
    kinds = {bool: "true or false", int: "an integer", float: "a number", str: "a name"}
    kind = next(kind for kind in kinds if isinstance(default, kind))
    if kind is bool and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    try:
        if kind is not bool:
            return kind(text)
    except ValueError:
        pass
    raise PassError(
        f"--set {setting}: {text!r} is not {kinds[kind]}, expected a value like {default}",
        hint="for example --set normalize_weights.per_channel=false",
    )
