"""A store as a table: chosen rows, and one column per setting that differs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from ...converter.errors import DataError, find
from .store import Row

SETTINGS = ("model", "recipe", "n_steps", "data", "calibration", "engine")
FIGURES = ("accuracy", "ann_accuracy", "agreement", "synaptic_operations")


def tabulate(rows: Sequence[Row], where: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the chosen rows as settings and figures; figures are those of the last step.

    Args:
        rows: Of a store.
        where: `KEY=VALUE` each; the rows in which all hold. Keys are those of SETTINGS, and
            PASS.OPTION.

    Raises:
        DataError: A condition is not of this form, or no row has its key.
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
    options = {key for entry in table for key in entry if "." in key}
    for key in sorted(options):
        if len({str(entry.get(key)) for entry in table}) == 1:
            for entry in table:
                entry.pop(key, None)
    return table


def to_csv(table: Sequence[dict[str, Any]]) -> str:
    """Return a table as comma-separated values with a line of headings."""
    headings = list(dict.fromkeys(key for entry in table for key in entry))
    text = io.StringIO()
    writer = csv.DictWriter(text, headings, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def format_rows(table: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return headings and rows for people: names of data without their hashes, shares in percent.

    Returns:
        The headings, and a row of texts per entry.
    """
    headings = list(dict.fromkeys(key for entry in table for key in entry))
    rows = [[_format(key, entry.get(key)) for key in headings] for entry in table]
    return [heading.replace("_", " ") for heading in headings], rows


def _format(key: str, value: Any) -> str:
    if value is None:
        return ""
    if key in {"accuracy", "ann_accuracy", "agreement"}:
        return f"{100 * value:.2f} %"
    return f"{value:,.0f}" if key == "synaptic_operations" else str(value)


def _flatten(row: Row) -> dict[str, Any]:
    settings, result = row.settings, row.result
    entry: dict[str, Any] = {key: settings[key] for key in SETTINGS}
    for pass_name, options in settings["options"].items():
        for option, value in options.items():
            entry[f"{pass_name}.{option}"] = value
    entry["accuracy"] = None if result["accuracy"] is None else result["accuracy"][-1]
    entry["ann_accuracy"] = result["ann_accuracy"]
    entry["agreement"] = None if result["agreement"] is None else result["agreement"][-1]
    entry["synaptic_operations"] = result["synaptic_operations_per_sample"]
    return entry
