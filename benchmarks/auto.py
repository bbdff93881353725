"""--recipe auto: what a search takes, and whether its promise holds on the test split.

    .venv/bin/python benchmarks/auto.py [--model vgg] [--target accuracy-drop=0.5]

Runs `spikeport convert MODEL --recipe auto` on the training images in a process of its own, with
one thread for linear algebra, and measures its CPU time; the result stays in .cache. Then the
chosen network is evaluated on the whole test split, which no choice has seen. Writes
results/auto.json and results/auto.md.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from spikeport.converter.exports.snn import read_snn
from spikeport.converter.frontends import read
from spikeport.models.datasets import load_data
from spikeport.models.registry import find_model
from spikeport.runtime.evaluate import evaluate

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
CACHE = FOLDER.parent / ".cache"


def search(model: str, target: str, calibration: str) -> tuple[dict[str, Any], Path]:
    """Return what a search printed, with its times, and the file that it wrote."""
    output = CACHE / f"auto-{model}-{target}.snn"
    record = output.with_suffix(".json")
    if not record.exists():
        command = [sys.executable, "-m", "spikeport.cli", "convert", model, "-o", str(output)]
        command += ["--calibration", calibration, "--recipe", "auto", "--target", target, "--json"]
        started = time.perf_counter()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = json.loads(run.stdout)
        found["wall_seconds"] = time.perf_counter() - started
        found["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        record.write_text(json.dumps(found) + "\n", "utf-8")
    return json.loads(record.read_text("utf-8")), output


def measure(model: str, path: Path) -> dict[str, Any]:
    """Return accuracy and drop on the test split, the drop with its paired 95 % interval (Wald)."""
    graph, source = read_snn(path), read(find_model(model))
    shapes = tuple(graph.types[name].shape for name in graph.inputs)
    data = load_data("fashion-mnist:test", shapes)
    engine = "counts" if "schedule" in graph.metadata else "event"
    found = evaluate(graph, data.inputs, data.labels, ann=source.run, engine=engine)
    ann_is_right = found.ann_decisions == data.labels
    lost = ann_is_right.astype(np.float64) - (found.decisions[-1] == data.labels)
    half = 1.96 * lost.std() / np.sqrt(len(lost))
    return {
        "data": data.name,
        "ann_accuracy": 100 * float(ann_is_right.mean()),
        "accuracy": 100 * float((found.decisions[-1] == data.labels).mean()),
        "drop": 100 * float(lost.mean()),
        "drop_interval": [100 * float(lost.mean() - half), 100 * float(lost.mean() + half)],
        "synaptic_operations": found.synaptic_operations_per_sample,
    }


def to_markdown(cells: list[dict[str, Any]]) -> str:
    """Return one table, a row per search."""
    lines = [
        "`convert --recipe auto` on training images, and the chosen network on the whole test "
        "split. CPU time of the whole command.",
        "",
        "| network | target | chosen | steps | promised: points lost at most | test split: points "
        "lost (paired 95 % interval) | accuracy | ANN | points tried | CPU seconds |",
        "|---" * 10 + "|",
    ]
    for cell in cells:
        chosen, test = cell["chosen"], cell["test"]
        low, high = test["drop_interval"]
        lines.append(
            f"| {cell['model']} | `{cell['target']}` | `{chosen['recipe']}` T={chosen['n_steps']} "
            f"| {chosen['latency_steps']} | {100 * chosen['drop_at_most']:.2f} | "
            f"{test['drop']:.2f} ({low:.2f} .. {high:.2f}) | {test['accuracy']:.2f} | "
            f"{test['ann_accuracy']:.2f} | {len(cell['points'])} | {cell['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--model", default="vgg", show_default=True)
@click.option("--target", default="accuracy-drop=0.5", show_default=True)
@click.option("--calibration", default="fashion-mnist:train", show_default=True)
def main(model: str, target: str, calibration: str) -> None:
    """Search, evaluate once, and put the result beside those that are there."""
    CACHE.mkdir(exist_ok=True)
    found, path = search(model, target, calibration)
    file = RESULTS / "auto.json"
    cells = json.loads(file.read_text("utf-8"))["cells"] if file.exists() else []
    cells = [cell for cell in cells if (cell["model"], cell["target"]) != (model, target)]
    cells.append({"model": model, "target": target, **found, "test": measure(model, path)})
    document = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "date": datetime.now(UTC).date().isoformat(),
        "cells": sorted(cells, key=lambda cell: (cell["model"], cell["target"])),
    }
    file.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (RESULTS / "auto.md").write_text(to_markdown(document["cells"]), "utf-8")
    click.echo(to_markdown(document["cells"]))


if __name__ == "__main__":
    main()
