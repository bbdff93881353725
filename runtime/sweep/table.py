"""A store as a table: chosen rows in order, their settings and their figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from ...converter.errors import DataError, find
from .store import Row

SETTINGS = (
    "model", "recipe", "n_steps", "code", "seed", "data", "calibration", "engine", "model_sha256",
    "data_sha256",
)  # fmt: skip
FIGURES = (
    "n_samples", "accuracy", "ann_accuracy", "agreement", "steps", "synaptic_operations",
    "energy_nj",
)  # fmt: skip
HASHES = ("model_sha256", "data_sha256")
SHARES = ("accuracy", "ann_accuracy", "agreement")

Entry = dict[str, Any]


def tabulate(rows: Sequence[Row], where: Sequence[str] = ()) -> list[Entry]:
    """Return the chosen rows as settings and figures, sorted; figures are those of the last step.

    Every entry has the same keys: SETTINGS, PASS.OPTION, FIGURES; None where a row has no value.

    Args:
        rows: Of a store.
        where: `KEY=VALUE` each; the rows in which all hold. Keys are those of SETTINGS, and
            PASS.OPTION.

    Raises:
        DataError: A condition is not of this form, no row has its key, or a row is damaged.
    """
    table = [_flatten(row) for row in rows]
    for condition in where:
        key, equals, value = condition.partition("=")
        if not equals:
            raise DataError(
                f"--where {condition}: expected KEY=VALUE", hint="for example --where recipe=rate"
            )
        known = {name: None for entry in table for name in entry if name not in FIGURES}
        find(known, key, "--where", DataError)
        table = [entry for entry in table if str(entry.get(key)) == value]
    options = sorted({key for entry in table for key in entry if "." in key})
    codes = [key for key in ("code", "seed") if all(entry[key] is None for entry in table)]
    keys = [key for key in (*SETTINGS, *options, *FIGURES) if key not in codes]
    table = [{key: entry.get(key) for key in keys} for entry in table]
    return sorted(table, key=lambda entry: [_order(entry[key]) for key in keys])


def to_csv(table: Sequence[Entry]) -> str:
    """Return a table as comma-separated values with a line of headings."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]) if table else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def split_common(table: Sequence[Entry]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that all entries share, and the keys of the columns worth showing.

    Options that follow from the recipe are left out of both, and so are hashes.
    """
    common, shown = {}, []
    for key in table[0] if table else ():
        values = {str(entry[key]) for entry in table}
        if key in HASHES or all(entry[key] is None for entry in table):
            continue
        if "." in key and _follows_recipe(table, key):
            continue
        if len(values) == 1 and key not in FIGURES[1:]:
            common[key] = table[0][key]
        else:
            shown.append(key)
    return common, shown


def format_rows(table: Sequence[Entry], keys: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows of these columns for people: shares in percent.

    Returns:
        The headings, and a row of texts per entry.
    """
    rows = [[format_value(key, entry[key]) for key in keys] for entry in table]
    return [key.replace("_", " ") for key in keys], rows


def format_value(key: str, value: Any) -> str:
    """Return a value of a column as text."""
    if value is None:
        return ""
    if key in SHARES:
        return f"{100 * value:.2f} %"
    if key in FIGURES:
        return f"{value:,.0f}"
    return str(value)


def _follows_recipe(table: Sequence[Entry], key: str) -> bool:
    found: dict[str, set[str]] = {}
    for entry in table:
        found.setdefault(entry["recipe"], set()).add(str(entry[key]))
    return all(len(values) == 1 for values in found.values())


def _order(value: Any) -> tuple[int, float, str]:
    """Return what sorts numbers by their size, in front of texts."""
    if isinstance(value, int | float):
        return 1, float(value), ""
    return (0, 0.0, "") if value is None else (2, 0.0, str(value))


def _flatten(row: Row) -> Entry:
    settings, result = row.settings, row.result
    try:
        entry: Entry = {key: settings.get(key) for key in SETTINGS}
        for pass_name, options in settings["options"].items():
            for option, value in options.items():
                entry[f"{pass_name}.{option}"] = value
        for key in ("accuracy", "agreement"):
            entry[key] = None if result[key] is None else result[key][-1]
        entry["n_samples"] = result["n_samples"]
        entry["ann_accuracy"] = result["ann_accuracy"]
        entry["steps"] = result["latency"]["total"]
        entry["synaptic_operations"] = result["synaptic_operations_per_sample"]
        entry["energy_nj"] = result["energy"]["spiking_nj_per_step"][-1]
    except (LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"row {row.key[:16]}: is not what a sweep keeps ({error!r}), expected settings and "
            "figures",
            hint="the file was changed; start another store",
        ) from error
    return entry
