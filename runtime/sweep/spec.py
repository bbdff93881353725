"""The file that describes a sweep: grids of settings as TOML, read into cells."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...converter.errors import DataError, find
from ...converter.files import read_bounded
from ...converter.ir.preprocessing import (
    NO_PREPROCESSING,
    Preprocessing,
    choose_preprocessing,
)
from ...converter.ir.types import DEFAULT_N_STEPS
from ...converter.recipes import DEFAULT_RECIPE, choose_options
from ..encoding import DEFAULT_CODE, make_encoder
from ..engines import DEFAULT_ENGINE

MAX_BYTES = 2**20
MAX_CELLS = 100_000

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Cell:
    """One conversion and its evaluation.

    Attributes:
        model: MODEL, as on the command line.
        calibration: DATA to calibrate on.
        data: DATA to evaluate on.
        recipe: Key of RECIPES.
        n_steps: T of the conversion; exact schedules then run for as many steps as they take.
        options: By pass, over those of the recipe.
        calibration_samples: The first so many.
        limit: Samples to evaluate; None for all.
        engine: Key of ENGINES.
        preprocess: Key of PREPROCESSINGS; "" for the two numbers that follow.
        input_scale: Factor on inputs.
        input_offset: Added behind it.
        shipped: Named data: only the shipped subset.
        code: Key of ENCODERS: how samples are fed.
        seed: Of a random code; means nothing for others.
    """

    model: str
    calibration: str
    data: str
    recipe: str = DEFAULT_RECIPE
    n_steps: int = DEFAULT_N_STEPS
    options: Options = field(default_factory=dict)
    calibration_samples: int = 1000
    limit: int | None = None
    engine: str = DEFAULT_ENGINE
    preprocess: str = ""
    input_scale: float = 1.0
    input_offset: float = 0.0
    shipped: bool = False
    code: str = DEFAULT_CODE
    seed: int = 0

    def choose_preprocessing(self) -> Preprocessing:
        """Return what samples go through.

        Raises:
            DataError: See `choose_preprocessing`.
        """
        if not self.preprocess:
            return Preprocessing((self.input_scale,), (self.input_offset,))
        scale = None if self.input_scale == 1 else (self.input_scale,)
        offset = None if self.input_offset == 0 else (self.input_offset,)
        return choose_preprocessing(NO_PREPROCESSING, self.preprocess, scale, offset)


KINDS: dict[str, tuple[type, ...]] = {
    "model": (str,), "calibration": (str,), "data": (str,), "recipe": (str,), "n_steps": (int,),
    "options": (dict,), "calibration_samples": (int,), "limit": (int,), "engine": (str,),
    "preprocess": (str,), "input_scale": (int, float), "input_offset": (int, float),
    "shipped": (bool,), "code": (str,), "seed": (int,),
}  # fmt: skip
"""By key of a grid: the types of its values in the file."""

REQUIRED = ("model", "calibration", "data")


def read_sweep(path: Path) -> tuple[Cell, ...]:
    """Read a sweep file: the cells of all its grids, in order, each once.

    A grid has keys of KINDS; a list of values is an axis, and a grid has a cell for every
    combination of its axes. Keys above the first [[grid]] hold for every grid; a file without
    [[grid]] is one grid.

    Raises:
        FormatError: The file cannot be read.
        DataError: It is no TOML, has an unknown key, a value of another type, or too many cells.
        PassError: A recipe, a pass or an option does not exist.
        SimulationError: A code does not exist, or a seed is below 0.
    """
    try:
        content = tomllib.loads(read_bounded(path, MAX_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"{path}: is not TOML ({error}), expected keys and values", hint="see docs/sweeps.md"
        ) from error
    shared = {key: value for key, value in content.items() if key != "grid"}
    grids = content.get("grid", [{}])
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise DataError(f"{path}: grid is no table, expected [[grid]]", hint="see docs/sweeps.md")
    cells: list[Cell] = []
    for number, grid in enumerate(grids, start=1):
        where = f"{path}: grid {number}"
        try:
            _check_keys(shared | grid)
            axes = _find_axes(shared | grid)
            cells += _combine(axes, MAX_CELLS - len(cells))
        except DataError as error:
            raise error.at(where) from error
    for cell in cells:
        choose_options(cell.recipe, cell.options)
        make_encoder(cell.code, cell.seed)
        if cell.preprocess:  # a scale that does not do fails when its cell is run
            cell.choose_preprocessing()
    unique = {repr(cell): cell for cell in cells}
    return tuple(unique.values())


def _check_keys(grid: Mapping[str, Any]) -> None:
    for key in grid:
        find(KINDS, key, "key", DataError)
    for key in REQUIRED:
        if key not in grid:
            raise DataError(
                f"{key} is missing, expected a value for every grid",
                hint="write it at the top of the file, where it holds for all grids",
            )


def _find_axes(grid: Mapping[str, Any]) -> dict[tuple[str, ...], list[Any]]:
    """Return the values by key; by "options", pass and option for options."""
    axes: dict[tuple[str, ...], list[Any]] = {
        (key,): _values(key, value) for key, value in grid.items() if key != "options"
    }
    options = grid.get("options", {})
    if not isinstance(options, dict):
        raise DataError(
            f"options is {options!r}, expected a table",
            hint="for example options.normalize_weights.percentile = [99, 99.9]",
        )
    for pass_name, settings in options.items():
        if not isinstance(settings, dict):
            raise DataError(
                f"options.{pass_name} is {settings!r}, expected PASS.OPTION = VALUE",
                hint="for example options.normalize_weights.percentile = [99, 99.9]",
            )
        for option, value in settings.items():
            axes["options", pass_name, option] = value if isinstance(value, list) else [value]
    for place, values in axes.items():
        if not values:
            raise DataError(
                f"{'.'.join(place)} is an empty list, expected at least one value",
                hint="leave the key out for its default",
            )
    return axes


def _values(key: str, value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    kinds = KINDS[key]
    for each in values:
        if not isinstance(each, kinds) or isinstance(each, bool) is not (kinds == (bool,)):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise DataError(
                f"{key} is {each!r}, expected {names}, or a list of them", hint="see docs/sweeps.md"
            )
    return values


def _combine(axes: Mapping[tuple[str, ...], list[Any]], allowed: int) -> Iterator[Cell]:
    n_cells = 1
    for values in axes.values():
        n_cells *= len(values)
    if n_cells > allowed:
        raise DataError(
            f"has {n_cells} cells, expected at most {MAX_CELLS} in a file", hint="split the sweep"
        )
    for chosen in itertools.product(*axes.values()):
        settings: dict[str, Any] = {}
        options: dict[str, dict[str, Any]] = {}
        for place, value in zip(axes, chosen, strict=True):
            if len(place) == 1:
                settings[place[0]] = value
            else:
                options.setdefault(place[1], {})[place[2]] = value
        for key in ("input_scale", "input_offset"):
            if key in settings:
                settings[key] = float(settings[key])
        yield Cell(**settings, options=options)
