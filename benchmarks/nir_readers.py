"""Measures what simulators make of our NIR files: spike counts, layer by layer, against our engine.

    .venv/bin/python benchmarks/nir_readers.py

Every simulator reads the file with its own importer, in an environment of its own, once as it is,
and once with what the file cannot say put in after loading. Writes results/nir_readers.json and
.md; rows of other networks and cases are kept.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
from peers.environments import ENVIRONMENTS, InstallError, find_reason, make_environment
from peers.machine import RESULTS

from spikeport.converter.convert import convert
from spikeport.converter.errors import SpikeportError
from spikeport.converter.exports.nir import encode_nir
from spikeport.converter.ir import Graph
from spikeport.models.datasets import load_data
from spikeport.models.registry import MODELS, weights_path
from spikeport.runtime.engines.reference import simulate
from spikeport.runtime.simulation import Simulation

WORKER = Path(__file__).parent / "peers" / "run_nir.py"
OUTPUT = RESULTS / "nir_readers.json"
SHAPES = ((28, 28, 1),)
SECONDS = 900


@dataclass(frozen=True)
class Case:
    """One file, and how it is read.

    Attributes:
        reader: A key of ENVIRONMENTS.
        recipe: Of the conversion.
        rewrites: Of the writer.
        adjust: Put in after loading what the file cannot say, see peers/run_nir.py.
    """

    reader: str
    recipe: str
    rewrites: tuple[str, ...]
    adjust: bool = False


CASES = (
    Case("norse", "diehl", ()),
    Case("norse", "diehl", ("sum-pool",)),
    Case("norse", "classic", ("sum-pool",)),
    Case("norse", "rate", ("sum-pool",)),
    Case("norse", "diehl", ("sum-pool", "scale-conv"), adjust=True),
    Case("norse", "rate", ("sum-pool", "scale-conv"), adjust=True),
    Case("snntorch", "diehl", ()),
    Case("snntorch", "diehl", ("leakless-lif", "unit-thresholds")),
    Case("snntorch", "classic", ("leakless-lif", "unit-thresholds")),
    Case("snntorch", "rate", ("leakless-lif", "unit-thresholds")),
    Case("snntorch", "rate", ("leakless-lif", "unit-thresholds", "scale-conv"), adjust=True),
    Case("sinabs", "diehl", ("sum-pool",)),
    Case("sinabs", "classic", ("nir-1.0.5", "sum-pool")),
    Case("sinabs", "rate", ("nir-1.0.5", "sum-pool")),
    Case("sinabs", "rate", ("nir-1.0.5", "sum-pool", "scale-conv"), adjust=True),
)


def measure(case: Case, graph: Graph, images: np.ndarray, expected: Simulation) -> dict[str, Any]:
    """Return what a reader makes of a file, or `failure`, the reason why it cannot."""
    n_steps = len(expected.outputs[0])
    try:
        python = make_environment(case.reader)
        data = encode_nir(graph, lossy=True, rewrites=case.rewrites).files[".nir"]
    except InstallError as error:
        return {"failure": f"not installed: {error}"}
    except SpikeportError as error:
        return {"failure": f"not written: {' '.join(str(error).split())}"}
    with tempfile.TemporaryDirectory(prefix="nir-readers-") as name:
        folder = Path(name)
        (folder / "net.nir").write_bytes(data)
        (folder / "n_steps").write_text(str(n_steps))
        np.save(folder / "x.npy", as_written(graph, images))
        command = [str(python), str(WORKER), case.reader, name, *(["adjust"] * case.adjust)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode:
            return {"failure": find_reason(done.stderr)}
        with np.load(folder / "counts.npz") as stored:
            counts = dict(stored)
    layers = []
    for node, wanted in expected.spike_counts.items():
        found = counts[node.replace("/", "_")].reshape(wanted.shape)
        layers.append({
            "node": node,
            "neurons": int(wanted.size),
            "our_spikes": int(wanted.sum()),
            "their_spikes": float(found.sum()),
            "different": int((found != wanted).sum()),
        })
    ours = expected.outputs[0][-1].reshape(len(images), -1).argmax(axis=1)
    theirs = counts["output"].reshape(len(images), -1).argmax(axis=1)
    return {"layers": layers, "different_decisions": int((ours != theirs).sum())}


def as_written(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Return images as the file's input takes them: channels first, if the graph turns them so."""
    first = graph.consumers[graph.inputs[0]][0]
    permutation = getattr(first.op, "permutation", None)
    if permutation is None:
        return images
    return np.ascontiguousarray(images.transpose(0, *(axis + 1 for axis in permutation)))


def to_markdown(results: dict[str, Any]) -> str:
    """Return one row per network and case."""
    lines = [
        "| network | recipe | reader | rewrites | after loading | spikes, of ours | neurons with "
        "another count | other decisions |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results["rows"]:
        start = f"| {row['network']} | `{row['recipe']}` | {row['reader']} | "
        start += f"{', '.join(f'`{name}`' for name in row['rewrites']) or 'none'} | "
        start += f"{'adjusted' if row['adjust'] else 'as read'} | "
        if "failure" in row:
            lines.append(f"{start}{row['failure'].replace('|', '/')} | | |")
            continue
        layers = row["layers"]
        ratios = [layer["their_spikes"] / max(layer["our_spikes"], 1) for layer in layers]
        shares = [layer["different"] / layer["neurons"] for layer in layers]
        lines.append(
            f"{start}{_per_layer(ratios)} | {_per_layer(shares)} | "
            f"{row['different_decisions']} of {results['n_images']} |"
        )
    return "\n".join(lines) + "\n"


def _per_layer(values: list[float]) -> str:
    """Return percentages, one per layer; one for all where they are the same."""
    texts = [f"{100 * value:.4g}" for value in values]
    return f"{texts[0] if len(set(texts)) == 1 else ' '.join(texts)} %"


@click.command()
@click.option("--networks", default="mlp,lenet,vgg,resnet", show_default=True)
@click.option("--readers", default="norse,snntorch,sinabs", show_default=True)
@click.option("--steps", default=16, show_default=True)
@click.option("--images", default=20, show_default=True)
@click.option("--adjusted", is_flag=True, help="Only what is put in after loading.")
def main(networks: str, readers: str, steps: int, images: int, adjusted: bool) -> None:
    """Measure, and write the results."""
    train = load_data("fashion-mnist:train", SHAPES, limit=1000)
    test = load_data("fashion-mnist:test", SHAPES, limit=images).inputs[0]
    for network in networks.split(","):
        known: dict[str, tuple[Graph, Simulation]] = {}
        for case in CASES:
            if case.reader not in readers.split(",") or (adjusted and not case.adjust):
                continue
            if case.recipe not in known:
                graph = convert(
                    weights_path(network), train.inputs, n_steps=steps, recipe=case.recipe
                ).graph
                known[case.recipe] = graph, simulate(graph, (test,), steps)
            graph, expected = known[case.recipe]
            found = measure(case, graph, test, expected)
            row = {"network": network, **asdict(case), **found}
            click.echo(to_markdown({"rows": [row], "n_images": images}).splitlines()[-1])
            _store(row, steps, images)


def _store(row: dict[str, Any], n_steps: int, n_images: int) -> None:
    """Write the results with a row; one of the same network and case is replaced."""
    keys = ("network", *(field.name for field in fields(Case)))
    rows = json.loads(OUTPUT.read_text("utf-8"))["rows"] if OUTPUT.exists() else []
    row = json.loads(json.dumps(row))
    rows = [other for other in rows if any(other[key] != row[key] for key in keys)] + [row]
    cases = [json.loads(json.dumps(asdict(case))) for case in CASES]
    places = {json.dumps(case): place for place, case in enumerate(cases)}
    named = [(json.dumps({key: other[key] for key in keys[1:]}), other) for other in rows]
    rows = [other for case, other in named if case in places]
    rows.sort(
        key=lambda other: (
            list(MODELS).index(other["network"]),
            places[json.dumps({key: other[key] for key in keys[1:]})],
        )
    )
    results = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "n_steps": n_steps,
        "n_images": n_images,
        "packages": {
            name: [*ENVIRONMENTS[name].packages, *ENVIRONMENTS[name].alone]
            for name in dict.fromkeys(case.reader for case in CASES)
        },
        "spikeport": version("spikeport"),
        "rows": rows,
    }
    OUTPUT.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    OUTPUT.with_suffix(".md").write_text(to_markdown(results), "utf-8")


if __name__ == "__main__":
    main()
