"""Ways of pooling, by T, on the whole test split: accuracy, neurons, counters, operations.

    .venv/bin/python benchmarks/poolings.py [--store FILE] [--report-only]

Runs the sweep benchmarks/poolings.toml, every T a conversion of its own, and writes
results/poolings.json and results/poolings.md. Killed, it goes on where it was. Calibrates on the
first 1000 training images; the test split is used for the figures only.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from accuracy import RESULTS, summarize
from rich.progress import track

from spikeport.runtime.sweep.cells import describe as describe_cell
from spikeport.runtime.sweep.cells import run_sweep
from spikeport.runtime.sweep.spec import read_sweep
from spikeport.runtime.sweep.store import Row, open_store

FOLDER = Path(__file__).parent
STORE = FOLDER.parent / ".cache" / "poolings.sqlite"


def describe(row: Row) -> dict[str, Any]:
    """Return the figures of one cell, with what its poolings are and cost."""
    poolings = row.result["poolings"]
    found = summarize(row)
    chosen = row.settings["options"]["place_poolings"]
    is_max = found["network"] == "vgg_max"
    return {
        **found,
        "pooling": chosen["max_pool" if is_max else "average_pool"],
        "n_neurons": row.result["workload"]["n_neurons"],
        "counters": sum(each["counters"] for each in poolings),
        "comparisons": sum(each["comparisons"] for each in poolings),
    }


def to_markdown(cells: list[dict[str, Any]]) -> str:
    """Return one table, a row per cell."""
    lines = [
        f"{cells[0]['data']}; calibrated on: {cells[0]['calibration']}. Every T a conversion of "
        "its own; comparisons of poolings per step.",
        "",
        "| network | recipe | pooling | T | steps in all | ANN | accuracy | points below the ANN "
        "(paired 95 % interval) | neurons | counters | comparisons | synaptic operations |",
        "|---" * 12 + "|",
    ]
    for cell in cells:
        low, high = cell["drop_interval"]
        lines.append(
            f"| {cell['network']} | `{cell['recipe']}` | `{cell['pooling']}` | {cell['n_steps']} | "
            f"{cell['latency_steps']} | {cell['ann_accuracy']:.2f} | {cell['accuracy']:.2f} | "
            f"{cell['drop']:.2f} ({low:.2f} .. {high:.2f}) | {cell['n_neurons']:,} | "
            f"{cell['counters']:,} | {cell['comparisons']:,} | {cell['synaptic_operations']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--store", default=STORE, type=click.Path(path_type=Path), help="Where cells lie.")
@click.option("--report-only", is_flag=True, help="Run nothing; write what the store has.")
def main(store: Path, report_only: bool) -> None:
    """Run what is missing and write the results."""
    store.parent.mkdir(exist_ok=True)
    cells = read_sweep(FOLDER / "poolings.toml")
    with open_store(store, create=True) as opened:
        if not report_only:
            for cell in track(cells, "cells"):
                for name, message in run_sweep([cell], opened).failures.items():
                    click.echo(f"{name}: {message}", err=True)
        wanted = {describe_cell(cell)[0] for cell in cells}  # a store keeps older versions, too
        rows = [row for row in opened.rows() if row.key in wanted]
    keys = ("network", "recipe", "pooling", "n_steps")
    found = sorted(map(describe, rows), key=lambda cell: [cell[key] for key in keys])
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "cells": found,
    }
    (RESULTS / "poolings.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (RESULTS / "poolings.md").write_text(to_markdown(found), "utf-8")
    click.echo(to_markdown(found))


if __name__ == "__main__":
    main()
