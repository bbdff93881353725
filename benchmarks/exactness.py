"""Exact schedules and graded neurons on the whole test split, and whether exact means equal.

    .venv/bin/python benchmarks/exactness.py [--limit N] [--networks vgg,resnet] [--settle N]

Writes benchmarks/results/exactness.json and benchmarks/results/exactness.md. Calibrates on the
first 1000 training images; the test split is used for the figures only. The quantised network that
`exact` and `integer` are compared with is the oracle of the tests, which shares no code with the
engines.
"""

from __future__ import annotations

import json
import math
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np

from spikeport.converter.convert import convert
from spikeport.converter.frontends import Source, read
from spikeport.converter.ir import Graph
from spikeport.models.datasets import Data, load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.compare import CountRecorder
from spikeport.runtime.evaluate import Evaluation, evaluate
from spikeport.runtime.metrics import spread
from spikeport.runtime.simulation import neurons

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"
STEPS = {
    "exact": (1, 2, 4, 8, 16, 32, 64),
    "integer": (1, 2, 4, 8, 16, 32, 64),
    "graded": (1, 2, 4),
}
ENGINES = {"exact": "counts", "integer": "event", "graded": "event"}
ORACLE_SAMPLES = 200
"""Images whose every count is compared with the oracle's, which is slow."""


def paired_interval(first: np.ndarray, second: np.ndarray) -> list[float]:
    """Return the 95 % interval of the difference of two shares on the same samples, in points."""
    differences = first.astype(float) - second
    half = 1.96 * differences.std() / math.sqrt(len(differences))
    return [100 * (differences.mean() - half), 100 * (differences.mean() + half)]


def measure(
    network: str, recipe: str, n_steps: int, source: Source, test: Data, train: Data
) -> dict:
    """Convert and evaluate one network with one recipe for one T."""
    graph = convert(source, train.inputs, recipe=recipe, n_steps=n_steps).graph
    run = evaluate(graph, test.inputs, test.labels, ann=source.run, engine=ENGINES[recipe])
    right, ann_right = run.decisions[-1] == test.labels, run.ann_decisions == test.labels
    return {
        "network": network,
        "recipe": recipe,
        "n_steps": n_steps,
        "latency": run.latency.to_json(),
        "n_samples": run.n_samples,
        "ann_accuracy": run.ann_accuracy,
        "accuracy": run.accuracy[-1],
        "drop_points": 100 * (run.ann_accuracy - run.accuracy[-1]),
        "drop_interval": paired_interval(ann_right, right),
        "agreement": run.agreement[-1],
        "spikes_per_sample": _spikes(run, graph),
        "synaptic_operations_per_sample": run.synaptic_operations_per_sample,
        "seconds": run.seconds,
        **compare(graph, recipe, test, run),
    }


def _spikes(run: Evaluation, graph: Graph) -> float:
    sizes = {node.name: graph.types[node.name].size for node in neurons(graph)}
    return sum(rate * sizes[name] * run.n_steps for name, rate in run.firing_rate.items())


def compare(graph: Graph, recipe: str, test: Data, run: Evaluation) -> dict:
    """Compare decisions and counts with the quantised network."""
    if recipe == "graded":
        return {}
    sys.path.insert(0, str(ROOT.parent / "tests" / "runtime"))
    import quantised_ann

    kind = np.int64 if recipe == "integer" else np.float64
    n_samples = min(ORACLE_SAMPLES, run.n_samples)
    inputs = tuple(array[:n_samples] for array in test.inputs)
    recorder = CountRecorder()
    evaluate(graph, inputs, engine=ENGINES[recipe], observe=recorder)
    wrong = compared = same = 0
    for start in range(0, n_samples, 50):
        chosen = slice(start, start + 50)
        expected = quantised_ann.run(graph, tuple(array[chosen] for array in inputs), kind, 1)
        for node, counts in zip(neurons(graph), recorder.counts, strict=True):
            wrong += int((counts[chosen] != expected[node.name]).sum())
            compared += expected[node.name].size
        same += int((expected[graph.outputs[0]].argmax(axis=1) == run.decisions[-1, chosen]).sum())
    return {
        "oracle_samples": n_samples,
        "oracle_same_decisions": same,
        "oracle_counts": compared,
        "oracle_wrong_counts": wrong,
    }


def settle(network: str, n_steps: int, source: Source, test: Data, train: Data, n: int) -> dict:
    """Run signed neurons step by step until all is quiet, on the first n test images."""
    inputs, labels = tuple(array[:n] for array in test.inputs), test.labels[:n]
    graphs, recorders = {}, {}
    for name in ("settle", "wait"):
        options = {"schedule_neurons": {"schedule": name}}
        graphs[name] = convert(
            source, train.inputs, recipe="integer", n_steps=n_steps, options=options
        ).graph
        recorders[name] = CountRecorder()
    runs = {
        name: evaluate(graph, inputs, labels, observe=recorders[name])
        for name, graph in graphs.items()
    }
    pairs = zip(recorders["settle"].counts, recorders["wait"].counts, strict=True)
    return {
        "network": network,
        "n_steps": n_steps,
        "n_samples": n,
        "bound": runs["settle"].n_steps,
        "quiet_after": spread(runs["settle"].quiet_after),
        "spikes": _spikes(runs["settle"], graphs["settle"]),
        "spikes_of_wait": _spikes(runs["wait"], graphs["wait"]),
        "counts_that_differ_from_wait": int(sum((a != b).sum() for a, b in pairs)),
        "accuracy": runs["settle"].accuracy[-1],
        "accuracy_at_steps": {
            step: runs["settle"].accuracy[step - 1]
            for step in (1, 2, 4, 8, 16, 32, 64)
            if step <= runs["settle"].n_steps
        },
    }


def to_markdown(results: list[dict], settled: list[dict]) -> str:
    """Return the tables of docs/exactness.md."""
    lines = [
        "| network | recipe | T | steps in all | ANN | accuracy | below the ANN, points (95 %) | "
        "spikes | synaptic operations | decisions and counts unlike the quantised network's |",
        "|---" * 10 + "|",
    ]
    for row in results:
        low, high = row["drop_interval"]
        unlike = "-"
        if "oracle_counts" in row:
            n_decisions = row["oracle_samples"] - row["oracle_same_decisions"]
            unlike = (
                f"{n_decisions} of {row['oracle_samples']:,}; "
                f"{row['oracle_wrong_counts']:,} of {row['oracle_counts']:,}"
            )
        lines.append(
            f"| {row['network']} | `{row['recipe']}` | {row['n_steps']} | "
            f"{row['latency']['total']} | {100 * row['ann_accuracy']:.2f} | "
            f"{100 * row['accuracy']:.2f} | {row['drop_points']:.2f} ({low:.2f} .. {high:.2f}) | "
            f"{row['spikes_per_sample']:,.0f} | {row['synaptic_operations_per_sample']:,.0f} | "
            f"{unlike} |"
        )
    lines += [
        "",
        "| network | L | images | bound, steps | quiet after: mean | 95 % | most | spikes | "
        "of `wait` | counts unlike `wait` |",
        "|---" * 10 + "|",
    ]
    for row in settled:
        quiet = row["quiet_after"]
        lines.append(
            f"| {row['network']} | {row['n_steps']} | {row['n_samples']} | {row['bound']} | "
            f"{quiet['mean']:.1f} | {quiet['percentile_95']:.0f} | {quiet['largest']:.0f} | "
            f"{row['spikes']:,.0f} | {row['spikes_of_wait']:,.0f} | "
            f"{row['counts_that_differ_from_wait']} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--limit", type=int, help="Only the first so many test images.")
@click.option("--networks", default="vgg,resnet", show_default=True)
@click.option("--recipes", default=",".join(STEPS), show_default=True)
@click.option("--steps", help="For example 4,8; otherwise every recipe's.")
@click.option("--settle", "n_settle", default=100, show_default=True, help="Images; 0 for none.")
def main(limit: int | None, networks: str, recipes: str, steps: str | None, n_settle: int) -> None:
    """Measure and write the results."""
    results, settled = [], []
    for network in networks.split(","):
        source = read(weights_path(network, ".onnx"))
        shapes = tuple(source.graph.types[name].shape for name in source.graph.inputs)
        train = load_data("fashion-mnist:train", shapes, limit=1000)
        test = load_data("fashion-mnist:test", shapes, limit=limit)
        for recipe in recipes.split(","):
            for n_steps in map(int, steps.split(",")) if steps else STEPS[recipe]:
                started = time.perf_counter()
                row = measure(network, recipe, n_steps, source, test, train)
                results.append(row)
                shown = f"{100 * row['accuracy']:.2f}, {row['drop_points']:.2f} below the ANN"
                took = time.perf_counter() - started
                click.echo(f"{network:8} {recipe:8} T={n_steps:<3} {shown}  {took:.0f} s")
        for n_steps in (4, 8, 16) if n_settle else ():
            settled.append(settle(network, n_steps, source, test, train, n_settle))
            click.echo(f"{network:8} settle   L={n_steps:<3} {settled[-1]['quiet_after']}")
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "data": test.name,
        "calibration": train.name,
    }
    RESULTS.mkdir(exist_ok=True)
    content = {"about": about, "results": results, "settle": settled}
    (RESULTS / "exactness.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (RESULTS / "exactness.md").write_text(to_markdown(results, settled), "utf-8")


if __name__ == "__main__":
    main()
