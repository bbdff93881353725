"""Accuracy of the shipped networks as spiking networks on the whole test split: recipe x T.

    .venv/bin/python benchmarks/accuracy.py [--store FILE] [--report-only]

Runs the sweep benchmarks/accuracy.toml, every T a conversion of its own, and writes
results/accuracy.json and results/accuracy.md. Killed, it goes on where it was. Calibrates on the
first 1000 training images; the test split is used for the figures only.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.progress import track

from spikeport.runtime.results import decode
from spikeport.runtime.sweep.cells import run_sweep
from spikeport.runtime.sweep.spec import read_sweep
from spikeport.runtime.sweep.store import Row, open_store

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
STORE = FOLDER.parent / ".cache" / "accuracy.sqlite"


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
    """Return two tables: accuracy by T, and every cell with its drop and cost."""
    steps = sorted({cell["n_steps"] for cell in cells})
    by_place = {(c["network"], c["recipe"], c["n_steps"]): c for c in cells}
    lines = [
        f"{cells[0]['data']}; calibrated on: {cells[0]['calibration']}. Accuracy in percent, every "
        "T a conversion of its own.",
        "",
        "| network | recipe | ANN | " + " | ".join(f"T={t}" for t in steps) + " |",
        "|---" * (3 + len(steps)) + "|",
    ]
    for network, recipe in dict.fromkeys((c["network"], c["recipe"]) for c in cells):
        found = [by_place.get((network, recipe, t)) for t in steps]
        ann = next(c["ann_accuracy"] for c in found if c)
        shown = [f"{c['accuracy']:.2f}" if c else "" for c in found]
        lines.append(f"| {network} | `{recipe}` | {ann:.2f} | " + " | ".join(shown) + " |")
    lines += [
        "",
        "| network | recipe | T | steps in all | points below the ANN (paired 95 % interval) | "
        "spikes | synaptic operations |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        low, high = cell["drop_interval"]
        lines.append(
            f"| {cell['network']} | `{cell['recipe']}` | {cell['n_steps']} | "
            f"{cell['latency_steps']} | {cell['drop']:.2f} ({low:.2f} .. {high:.2f}) | "
            f"{cell['spikes']:,.0f} | {cell['synaptic_operations']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--store", default=STORE, type=click.Path(path_type=Path), help="Where cells lie.")
@click.option("--report-only", is_flag=True, help="Run nothing; write what the store has.")
def main(store: Path, report_only: bool) -> None:
    """Run what is missing and write the results."""
    store.parent.mkdir(exist_ok=True)
    with open_store(store, create=True) as opened:
        if not report_only:
            cells = read_sweep(FOLDER / "accuracy.toml")
            for cell in track(cells, "cells"):
                for name, message in run_sweep([cell], opened).failures.items():
                    click.echo(f"{name}: {message}", err=True)
        rows = opened.rows()
    order = {name: place for place, name in enumerate(("mlp", "lenet", "vgg", "resnet"))}
    found = sorted(
        map(summarize, rows), key=lambda c: (order[c["network"]], c["recipe"], c["n_steps"])
    )
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "cells": found,
    }
    (RESULTS / "accuracy.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (RESULTS / "accuracy.md").write_text(to_markdown(found), "utf-8")
    click.echo(to_markdown(found))


if __name__ == "__main__":
    main()
