"""Whether exact means equal: shipped networks against the oracle, and how long they take to settle.

    .venv/bin/python benchmarks/exactness.py [--networks mlp,vgg] [--steps 4,8] [--images N]

Every decision and every count of `exact` (float32) and `integer` on the first test images, beside
the quantised network of the tests, which shares no code with the engines; and signed neurons in
integers (schedule settle), beside theirs, and how many spikes they send more than `wait`. Writes
results/exactness.json and results/exactness.md; rows that were there and are not measured again
stay. How accurate the recipes are is in accuracy.py. Calibrates on the first 1000 training images.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from spikeport.converter.convert import convert
from spikeport.converter.frontends import Source, read
from spikeport.converter.ir import Array, Graph
from spikeport.models.datasets import Data, load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.compare import CountRecorder
from spikeport.runtime.evaluate import Evaluation, evaluate
from spikeport.runtime.metrics import spread
from spikeport.runtime.simulation import neurons

ROOT = Path(__file__).parent
RESULTS = ROOT / "results"
KINDS = {"exact": np.float64, "integer": np.int64}
PART, CHUNK = 500, 50
"""Images that are simulated, and compared, at a time."""


def compare(
    network: str, recipe: str, n_steps: int, source: Source, test: Data, train: Data
) -> Any:
    """Compare decisions and counts with the quantised network."""
    graph = convert(source, train.inputs, recipe=recipe, n_steps=n_steps).graph
    wrong = compared = same = 0
    for start in range(0, len(test.inputs[0]), PART):
        images = tuple(array[start : start + PART] for array in test.inputs)
        recorder = CountRecorder()
        run = evaluate(graph, images, None, engine="counts", observe=recorder, n_threads=1)
        for first in range(0, run.n_samples, CHUNK):
            chosen = slice(first, first + CHUNK)
            inputs = tuple(array[chosen] for array in images)
            expected = expect(graph, inputs, KINDS[recipe])
            for node, counts in zip(neurons(graph), recorder.counts, strict=True):
                wrong += int((counts[chosen] != expected[node.name]).sum())
                compared += expected[node.name].size
            decided = expected[graph.outputs[0]].argmax(axis=1)
            same += int((decided == run.decisions[-1, chosen]).sum())
    return {
        "network": network,
        "recipe": recipe,
        "n_steps": n_steps,
        "latency": run.latency.to_json(),
        "n_samples": len(test.inputs[0]),
        "same_decisions": same,
        "counts": compared,
        "wrong_counts": wrong,
    }


def expect(graph: Graph, inputs: tuple[Array, ...], kind: type) -> dict[str, Any]:
    """Return what the quantised network gives, by node."""
    sys.path.insert(0, str(ROOT.parent / "tests" / "runtime"))
    import quantised_ann

    return quantised_ann.run(graph, inputs, kind, 1)  # type: ignore[no-any-return]


def settle(network: str, n_steps: int, source: Source, test: Data, train: Data) -> Any:
    """Run signed neurons step by step until all is quiet."""
    graphs, recorders = {}, {}
    for name in ("settle", "wait"):
        options = {"schedule_neurons": {"schedule": name}}
        graphs[name] = convert(
            source, train.inputs, recipe="integer", n_steps=n_steps, options=options
        ).graph
        recorders[name] = CountRecorder()
    runs = {
        name: evaluate(graph, test.inputs, test.labels, observe=recorders[name])
        for name, graph in graphs.items()
    }
    # its own quantised network: the first layer's wide sums may be rounded otherwise under wait
    expected = expect(graphs["settle"], test.inputs, np.int64)
    names = [node.name for node in neurons(graphs["settle"])]
    pairs = list(zip(names, recorders["settle"].counts, strict=True))
    return {
        "network": network,
        "n_steps": n_steps,
        "n_samples": runs["settle"].n_samples,
        "bound": runs["settle"].n_steps,
        "quiet_after": spread(runs["settle"].quiet_after),
        "spikes": _spikes(runs["settle"], graphs["settle"]),
        "spikes_of_wait": _spikes(runs["wait"], graphs["wait"]),
        "counts": sum(counts.size for _, counts in pairs),
        "wrong_counts": sum(int((counts != expected[name]).sum()) for name, counts in pairs),
    }


def _spikes(run: Evaluation, graph: Graph) -> float:
    sizes = {node.name: graph.types[node.name].size for node in neurons(graph)}
    return sum(rate * sizes[name] * run.n_steps for name, rate in run.firing_rate.items())


def merge(kept: list[Any], found: list[Any], *keys: str) -> list[Any]:
    """Return the rows with those of another run replaced."""
    rows = {tuple(row[key] for key in keys): row for row in (*kept, *found)}
    return [rows[key] for key in sorted(rows)]


def to_markdown(results: list[Any], settled: list[Any]) -> str:
    """Return the tables of docs/exactness.md."""
    lines = [
        "| network | recipe | T | steps in all | images | decisions like the quantised network's | "
        "counts unlike it |",
        "|---" * 7 + "|",
    ]
    for row in results:
        share = 100 * row["same_decisions"] / row["n_samples"]
        lines.append(
            f"| {row['network']} | `{row['recipe']}` | {row['n_steps']} | "
            f"{row['latency']['total']} | {row['n_samples']:,} | {row['same_decisions']:,} "
            f"({share:.2f} %) | {row['wrong_counts']:,} of {row['counts']:,} |"
        )
    lines += [
        "",
        "| network | L | images | bound, steps | quiet after: mean | 95 % | most | spikes | "
        "of `wait` | counts unlike the quantised network's |",
        "|---" * 10 + "|",
    ]
    for row in settled:
        quiet = row["quiet_after"]
        lines.append(
            f"| {row['network']} | {row['n_steps']} | {row['n_samples']} | {row['bound']} | "
            f"{quiet['mean']:.1f} | {quiet['percentile_95']:.0f} | {quiet['largest']:.0f} | "
            f"{row['spikes']:,.0f} | {row['spikes_of_wait']:,.0f} | "
            f"{row['wrong_counts']} of {row['counts']:,} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--networks", default="mlp,lenet,vgg,resnet", show_default=True)
@click.option("--recipes", default=",".join(KINDS), show_default=True)
@click.option("--steps", default="4,8,16", show_default=True)
@click.option("--images", default=10000, show_default=True, help="The first of the test split.")
@click.option("--settle", "n_settle", default=100, show_default=True, help="Images; 0 for none.")
def main(networks: str, recipes: str, steps: str, images: int, n_settle: int) -> None:
    """Measure and write the results."""
    path = RESULTS / "exactness.json"
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    for network in networks.split(","):
        source = read(weights_path(network, ".onnx"))
        shapes = tuple(source.graph.types[name].shape for name in source.graph.inputs)
        train = load_data("fashion-mnist:train", shapes, limit=1000)
        test, few = (
            load_data("fashion-mnist:test", shapes, limit=max(1, n)) for n in (images, n_settle)
        )
        for n_steps in map(int, steps.split(",")):
            results = [
                compare(network, recipe, n_steps, source, test, train)
                for recipe in filter(None, recipes.split(","))
            ]
            settled = [settle(network, n_steps, source, few, train)] if n_settle else []
            keys = ("network", "recipe", "n_steps")
            known = {
                "about": {
                    "date": datetime.now(UTC).date().isoformat(),
                    "python": platform.python_version(),
                    "machine": platform.machine(),
                    "calibration": train.name,
                },
                "results": merge(known.get("results", []), results, *keys),
                "settle": merge(known.get("settle", []), settled, "network", "n_steps"),
            }
            path.write_text(json.dumps(known, indent=1) + "\n", "utf-8")
            text = to_markdown(known["results"], known["settle"])
            (RESULTS / "exactness.md").write_text(text, "utf-8")
            click.echo(f"{network} T={n_steps}: done")


if __name__ == "__main__":
    main()
