"""Our counts of operations beside NeuroBench's own: the same spiking network, weights and images.

    .venv/bin/python benchmarks/neurobench_metrics.py [--n-images 100] [--n-steps 16]

Writes neurobench.json and neurobench.md into benchmarks/results. NeuroBench runs in an environment
of its own (made on first use, under .cache/bench-envs), on the network rebuilt of snnTorch's
neurons. Weights, thresholds and pixels are multiples of 2^-8, so that sums are exact in whatever
order: every spike must be the same. Behind average pooling, our effective MACs include connections
whose weight is zero; there, one of the networks has none of these.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
from peers.environments import find_reason, make_environment
from peers.exchange import chain_layers
from peers.machine import PEERS, RESULTS

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.converter.ir import Array, Graph
from spikeport.converter.ir.ops import AveragePool
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.trace import trace

UNIT = 2.0**-8
ROUNDED = ("weight", "bias", "threshold", "initial_potential")
NETWORKS = (("mlp", True), ("lenet", False), ("lenet", True))
"""And whether weights behind average pooling may be zero: our counts have these connections."""
TOLERANCE = 1e-6
"""Relative: NeuroBench adds up in float32."""


def round_graph(graph: Graph, *, zeros: bool) -> Graph:
    """Return the graph with all its numbers multiples of UNIT.

    Args:
        graph: Spiking.
        zeros: Weights that are rounded to zero stay zero behind average pooling, too.
    """
    nodes = []
    is_behind = False
    for node in graph.nodes:
        changes = {
            name: np.round(getattr(node.op, name) / UNIT).astype(np.float32) * np.float32(UNIT)
            for name in ROUNDED
            if hasattr(node.op, name)
        }
        if is_behind and not zeros and "weight" in changes:
            changes["weight"] = np.where(changes["weight"] == 0, UNIT, changes["weight"])
        is_behind = isinstance(node.op, AveragePool) or (is_behind and "weight" not in changes)
        nodes.append(dataclasses.replace(node, op=dataclasses.replace(node.op, **changes)))
    return graph.replace(nodes=tuple(nodes))


def count_changes(graph: Graph, images: Array, n_steps: int) -> float:
    """Return NeuroBench's membrane updates per sample, of our own potentials.

    All of the first step, and later ones after which a potential, looked at before the reset, is
    another one than a step before.
    """
    total = 0
    for number in range(len(images)):
        sample = (images[number : number + 1],)
        found = trace(graph, sample, n_steps=n_steps, n_neurons=10**6, sample=number)
        for node in found.nodes:
            before_reset = node.potentials + node.spikes * node.thresholds
            total += node.n_neurons + int((np.diff(before_reset, axis=0) != 0).sum())
    return total / len(images)


def run_neurobench(graph: Graph, images: Array, labels: Array, n_steps: int) -> dict[str, Any]:
    """Return what NeuroBench says of the graph, as `run_neurobench` prints it."""
    python = make_environment("neurobench")
    layers, arrays = chain_layers(graph)
    settings = {"n_steps": n_steps, "batch_size": len(images), "n_threads": 1, "layers": layers}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder) / "ann.npz",
            settings=np.array(json.dumps(settings)),
            x=images.transpose(0, 3, 1, 2),
            y=labels,
            **arrays,
        )
        done = subprocess.run(
            [str(python), str(PEERS / "run_neurobench.py"), folder],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    if done.returncode:
        raise click.ClickException(find_reason(done.stderr))
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(network: str, zeros: bool, n_images: int, n_steps: int) -> dict[str, Any]:
    """Measure one network with both; return the rows of its table."""
    source = read(weights_path(network, ".onnx"))
    shape = source.graph.types[source.graph.inputs[0]].shape
    calibration = load_data("fashion-mnist:train", (shape,), limit=1000)
    test = load_data("fashion-mnist:test", (shape,), limit=n_images)
    graph = convert(source, calibration.inputs, n_steps=n_steps).graph
    graph = round_graph(graph, zeros=zeros)
    images = np.round(test.inputs[0] * 255).astype(np.float32) / np.float32(256)
    labels = np.asarray(test.labels)
    theirs = run_neurobench(graph, images, labels, n_steps)
    found = evaluate(graph, (images,), labels, n_steps=n_steps, n_threads=1)
    ours, metrics = found.workload.to_json(), theirs["metrics"]
    rows = [
        ("accuracy", found.accuracy[-1], metrics["ClassificationAccuracy"]),
        ("dense", ours["dense"], metrics["Dense"]),
        ("effective MACs, the input's at every step", ours["effective_macs_input_every_step"],
         metrics["Effective_MACs"]),
        ("effective ACs", ours["effective_acs"], metrics["Effective_ACs"]),
        ("activation sparsity", ours["activation_sparsity"], metrics["ActivationSparsity"]),
        ("connection sparsity, 4 digits", round(ours["connection_sparsity"], 4),
         metrics["ConnectionSparsity"]),
        ("bytes of parameters", ours["parameter_bytes"], 4 * metrics["ParameterCount"]),
        ("footprint, without snnTorch's constants", ours["footprint_bytes"],
         metrics["Footprint"] - theirs["constants_bytes"]),
        ("membrane updates that change a potential", count_changes(graph, images, n_steps),
         metrics["MembraneUpdates"]),
    ]  # fmt: skip
    return {
        "network": network if zeros else f"{network} without zero weights behind pooling",
        "data": test.name,
        "n_steps": n_steps,
        "rows": [
            {
                "metric": name,
                "spikeport": a,
                "neurobench": b,
                "equal": bool(np.isclose(a, b, TOLERANCE, 0)),
            }
            for name, a, b in rows
        ],
        "differing_decisions": int((found.decisions[-1] != theirs["decisions"]).sum()),
        "constants_bytes": theirs["constants_bytes"],
        "membrane_updates": ours["membrane_updates"],
        "effective_macs": ours["effective_macs"],
        "versions": theirs["versions"],
    }


def to_markdown(results: list[dict[str, Any]]) -> str:
    """Return the tables."""
    lines = []
    for result in results:
        versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        lines += [
            f"{result['network']}, {result['data']}, T = {result['n_steps']} ({versions}); "
            f"{result['differing_decisions']} decisions differ:",
            "",
            "| per sample | spikeport | NeuroBench | equal |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {row['metric']} | {_number(row['spikeport'])} | {_number(row['neurobench'])} | "
            f"{'yes' if row['equal'] else 'no'} |"
            for row in result["rows"]
        ]
        lines += [
            "",
            f"Beside these, ours: {_number(result['effective_macs'])} effective MACs with the "
            f"input's once, {_number(result['membrane_updates'])} membrane updates with those that "
            f"change nothing. snnTorch's constants: {result['constants_bytes']} bytes.",
            "",
        ]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.4f}" if value < 1 else f"{value:,.2f}".removesuffix(".00")


@click.command()
@click.option("--n-images", default=100, show_default=True)
@click.option("--n-steps", default=16, show_default=True)
def main(n_images: int, n_steps: int) -> None:
    """Compare and write."""
    results = [compare(*network, n_images, n_steps) for network in NETWORKS]
    about = {"date": datetime.now(UTC).date().isoformat()}
    text = json.dumps({"about": about, "networks": results}, indent=1) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "neurobench.json").write_text(text, "utf-8")
    (RESULTS / "neurobench.md").write_text(to_markdown(results), "utf-8")
    click.echo(to_markdown(results))


if __name__ == "__main__":
    main()
