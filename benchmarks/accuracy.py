"""Accuracy of the shipped networks as spiking networks: every recipe, on the whole test split.

    .venv/bin/python benchmarks/accuracy.py [--limit N] [--recipes rate,classic] [--networks ...]

Writes benchmarks/results/accuracy.json and benchmarks/results/accuracy.md. Calibrates on the first
1000 training images; the test split is used for the figures only.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path

import click

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.converter.ir import Graph
from spikeport.converter.recipes import RECIPES
from spikeport.models.datasets import load_data
from spikeport.models.registry import MODELS, weights_path
from spikeport.runtime.evaluate import Evaluation, evaluate

RESULTS = Path(__file__).parent / "results"
STEPS = (1, 2, 4, 8, 16, 32, 64)


def measure(network: str, recipe: str, limit: int | None) -> dict:
    """Convert and evaluate one network with one recipe for T = 64."""
    source = read(weights_path(network, ".onnx"))
    shapes = tuple(source.graph.types[name].shape for name in source.graph.inputs)
    calibration = load_data("fashion-mnist:train", shapes, limit=1000)
    conversion = convert(source, calibration.inputs, recipe=recipe, n_steps=STEPS[-1])
    test = load_data("fashion-mnist:test", shapes, limit=limit)
    evaluation = evaluate(
        conversion.graph, test.inputs, test.labels, ann=source.run, engine="event"
    )
    return {
        "network": network,
        "recipe": recipe,
        "data": test.name,
        "calibration": calibration.name,
        **_figures(evaluation, conversion.graph),
    }


def _figures(evaluation: Evaluation, graph: Graph) -> dict:
    accuracy, agreement = evaluation.accuracy or (), evaluation.agreement or ()
    low, high = evaluation.interval(evaluation.ann_accuracy or 0.0)
    operations = [0.0] * evaluation.n_steps
    for per_step in evaluation.synaptic_operations.values():
        operations = [total + one for total, one in zip(operations, per_step, strict=True)]
    return {
        "n_samples": evaluation.n_samples,
        "ann_accuracy": evaluation.ann_accuracy,
        "ann_interval": [low, high],
        "accuracy": {step: accuracy[step - 1] for step in STEPS},
        "agreement": {step: agreement[step - 1] for step in STEPS},
        "interval": {step: evaluation.interval(accuracy[step - 1]) for step in STEPS},
        "synaptic_operations": {step: sum(operations[:step]) for step in STEPS},
        "macs_per_sample": evaluation.macs_per_sample,
        "firing_rate": evaluation.firing_rate,
        "engine": evaluation.engine,
        "seconds": evaluation.seconds,
    }


def to_markdown(results: list[dict]) -> str:
    """Return one table: recipe x network x steps."""
    lines = [
        f"{results[0]['data']}; calibrated on: {results[0]['calibration']}; "
        "accuracy in percent after T steps, 95 % intervals in accuracy.json.",
        "",
        "| network | recipe | ANN | " + " | ".join(f"T={step}" for step in STEPS) + " |",
        "|---" * (3 + len(STEPS)) + "|",
    ]
    for row in results:
        cells = [f"{100 * row['accuracy'][step]:.2f}" for step in STEPS]
        lines.append(
            f"| {row['network']} | `{row['recipe']}` | {100 * row['ann_accuracy']:.2f} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--limit", type=int, help="Only the first so many test images.")
@click.option("--recipes", default=",".join(RECIPES), show_default=True)
@click.option("--networks", default=",".join(MODELS), show_default=True)
def main(limit: int | None, recipes: str, networks: str) -> None:
    """Measure and write the results."""
    results = []
    for network in networks.split(","):
        for recipe in recipes.split(","):
            row = measure(network, recipe, limit)
            results.append(row)
            shown = "  ".join(f"{100 * row['accuracy'][step]:.2f}" for step in STEPS)
            ann = f"ANN {100 * row['ann_accuracy']:.2f}"
            click.echo(f"{network:8} {recipe:8} {ann}  {shown}  {row['seconds']:.0f} s")
    RESULTS.mkdir(exist_ok=True)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    content = {"about": about, "results": results}
    (RESULTS / "accuracy.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (RESULTS / "accuracy.md").write_text(to_markdown(results), "utf-8")


if __name__ == "__main__":
    main()
