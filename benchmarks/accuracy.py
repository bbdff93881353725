"""Accuracy of the shipped networks as spiking networks on the whole test split: recipe x T.

    .venv/bin/python benchmarks/accuracy.py [--sweep NAME] [--store FILE] [--only TEXT] [--jobs N]
        [--report-only]

Runs the sweep benchmarks/NAME.toml (accuracy), every T a conversion of its own, and writes
results/NAME.json and results/NAME.md. Killed, it goes on where it was. Calibrates on the
first 1000 training images; the test split is used for the figures only.
"""

from __future__ import annotations

import json
import platform
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.progress import track

from spikeport.converter.recipes import RECIPES
from spikeport.runtime.results import decode
from spikeport.runtime.sweep.cells import describe, run_sweep
from spikeport.runtime.sweep.spec import Cell, read_sweep
from spikeport.runtime.sweep.store import Row, open_store

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
COSTS = {"mlp": 0.1, "lenet": 1.0, "vgg": 4.0, "resnet": 2.5}
CACHE = FOLDER.parent / ".cache"
ABOUT_COST = "Spikes / synaptic operations, mean per image, all steps together:"
AIMS = {
    ("vgg", "rate", 4): 2.0,
    ("vgg", "rate", 8): 0.7,
    ("vgg", "rate", 16): 0.3,
    ("vgg", "rate", 32): 0.1,
    ("resnet", "rate", 16): 1.5,
    ("resnet", "rate", 32): 0.5,
    ("vgg", "exact", 4): 1.2,
    ("vgg", "exact", 8): 0.3,
    ("vgg", "exact", 16): 0.1,
    ("resnet", "exact", 16): 0.5,
    ("vgg", "integer", 4): 1.2,
    ("vgg", "integer", 8): 0.3,
    ("vgg", "integer", 16): 0.1,
    ("resnet", "integer", 16): 0.5,
    ("vgg", "graded", 2): 0.3,
}
"""Points below the ANN at most, by network, recipe and T."""


def summarize(row: Row) -> dict[str, Any]:
    """Return the figures of one cell, in percent; the drop with its paired 95 % interval (Wald)."""
    result = row.result
    labels = decode(result["labels"], 1, "labels")
    is_right = decode(result["decisions"], 2, "decisions")[:, -1] == labels
    ann_is_right = decode(result["ann_decisions"], 1, "ann_decisions") == labels
    lost = ann_is_right.astype(np.float64) - is_right
    half = 1.96 * lost.std() / np.sqrt(len(lost))
    return {
        "network": row.settings["model"].removesuffix(".onnx"),
        "recipe": row.settings["recipe"],
        "n_steps": row.settings["n_steps"],
        "latency_steps": result["latency_steps"],
        "accuracy": 100 * float(is_right.mean()),
        "ann_accuracy": 100 * float(ann_is_right.mean()),
        "drop": 100 * float(lost.mean()),
        "drop_interval": [100 * float(lost.mean() - half), 100 * float(lost.mean() + half)],
        "synaptic_operations": result["synaptic_operations_per_sample"],
        "spikes": result["workload"]["n_neurons"]
        * result["n_steps"]
        * (1 - result["workload"]["activation_sparsity"]),
        "data": row.settings["data"],
        "calibration": row.settings["calibration"],
        "seconds": row.seconds,
    }


def to_markdown(cells: list[dict[str, Any]]) -> str:
    """Return the tables: accuracy by T, cost by T, every cell with its drop, and the aims."""
    steps = sorted({cell["n_steps"] for cell in cells})
    by_place = {(c["network"], c["recipe"], c["n_steps"]): c for c in cells}
    of_accuracy = _head("network", "recipe", "steps in all", "ANN", *(f"T={t}" for t in steps))
    of_cost = _head("network", "recipe", "steps in all", *(f"T={t}" for t in steps))
    for network, recipe in dict.fromkeys((c["network"], c["recipe"]) for c in cells):
        found = [by_place.get((network, recipe, t)) for t in steps]
        ann = next(c["ann_accuracy"] for c in found if c)
        (ratio,) = {c["latency_steps"] / c["n_steps"] for c in found if c}
        row = [network, f"`{recipe}`", "T" if ratio == 1 else f"{ratio:g} T"]
        accuracies = [f"{c['accuracy']:.2f}" if c else "" for c in found]
        of_accuracy.append(f"| {' | '.join([*row, f'{ann:.2f}', *accuracies])} |")
        of_cost.append(f"| {' | '.join([*row, *map(_cost, found)])} |")
    of_cells = _head(
        "network", "recipe", "T", "steps in all", "points below the ANN (paired 95 % interval)",
        "spikes", "synaptic operations",
    )  # fmt: skip
    for cell in cells:
        of_cells.append(
            f"| {cell['network']} | `{cell['recipe']}` | {cell['n_steps']} | "
            f"{cell['latency_steps']} | {_drop(cell)} | "
            f"{cell['spikes']:,.0f} | {cell['synaptic_operations']:,.0f} |"
        )
    of_aims = _head(
        "network", "recipe", "T", "aimed at", "points below the ANN (paired 95 % interval)"
    )
    for place, aim in AIMS.items():
        if place in by_place:
            network, recipe, n_steps = place
            drop = _drop(by_place[place])
            of_aims.append(f"| {network} | `{recipe}` | {n_steps} | {aim} | {drop} |")
    about = (
        f"{cells[0]['data']}; calibrated on: {cells[0]['calibration']}. Accuracy in percent, every "
        "T a conversion of its own. What was not run is empty."
    )
    parts = [[about], of_accuracy, [ABOUT_COST], of_cost, of_cells]
    if len(of_aims) > 2:
        parts += [["What was aimed at before it was measured:"], of_aims]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(*columns: str) -> list[str]:
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def _cost(cell: dict[str, Any] | None) -> str:
    return f"{_short(cell['spikes'])} / {_short(cell['synaptic_operations'])}" if cell else ""


def _short(number: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def _drop(cell: dict[str, Any]) -> str:
    low, high = cell["drop_interval"]
    return f"{cell['drop']:.2f} ({low:.2f} .. {high:.2f})"


def run_cell(cell: Cell, store: Path, n_threads: int | None) -> tuple[str, ...]:
    """Run a cell that the store lacks, in any process; return what went wrong."""
    with open_store(store, create=True) as opened:
        outcome = run_sweep([cell], opened, n_threads=n_threads)
    return tuple(f"{name}: {message}" for name, message in outcome.failures.items())


def run_cells(cells: list[Cell], store: Path, n_jobs: int) -> None:
    """Run cells in their order; n_jobs at a time on one thread each, then the longest first."""
    if n_jobs == 1:
        for cell in track(cells, "cells"):
            for message in run_cell(cell, store, None):
                click.echo(message, err=True)
        return
    with ProcessPoolExecutor(n_jobs) as pool:
        longest_first = sorted(cells, key=guess_cost, reverse=True)
        futures = [pool.submit(run_cell, cell, store, 1) for cell in longest_first]
        for future in track(as_completed(futures), "cells", total=len(futures)):
            for message in future.result():
                click.echo(message, err=True)


def guess_cost(cell: Cell) -> float:
    """Return about how long a cell takes, beside the others."""
    of_graded = 3 if cell.recipe == "graded" else 1
    return COSTS[cell.model.removesuffix(".onnx")] * (20 + cell.n_steps * of_graded)


def label(cell: Cell) -> str:
    """Return what --only searches."""
    return f"{cell.model.removesuffix('.onnx')} {cell.recipe} T={cell.n_steps} "


@click.command()
@click.option("--sweep", default="accuracy", help="Of the .toml file and the results.")
@click.option("--store", type=click.Path(path_type=Path), help="Where cells lie.")
@click.option("--only", multiple=True, help='Cells such as "vgg rate T=8 "; parts will do.')
@click.option("--jobs", default=1, show_default=True, help="Cells at a time.")
@click.option("--report-only", is_flag=True, help="Run nothing; write what the store has.")
def main(
    sweep: str, store: Path | None, only: tuple[str, ...], jobs: int, report_only: bool
) -> None:
    """Run what is missing and write the results."""
    store = store or CACHE / f"{sweep}.sqlite"
    store.parent.mkdir(exist_ok=True)
    cells = read_sweep(FOLDER / f"{sweep}.toml")
    if not report_only:
        chosen = [c for c in cells if not only or any(part in label(c) for part in only)]
        run_cells(chosen, store, jobs)
    wanted = {describe(cell)[0] for cell in cells}  # a store keeps what other options gave, too
    with open_store(store, create=True) as opened:
        rows = [row for row in opened.rows() if row.key in wanted]
    places = {name: place for place, name in enumerate(RECIPES)}
    found = sorted(
        (summarize(row) for row in rows),
        key=lambda c: (list(COSTS).index(c["network"]), places[c["recipe"]], c["n_steps"]),
    )
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "cells": found,
    }
    (RESULTS / f"{sweep}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (RESULTS / f"{sweep}.md").write_text(to_markdown(found), "utf-8")
    click.echo(to_markdown(found))


if __name__ == "__main__":
    main()
