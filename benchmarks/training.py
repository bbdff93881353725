"""Training under constraints and binarisation: train every row, measure it on the test split.

    .venv/bin/python benchmarks/training.py train [--folder FOLDER] [--jobs N] [ROW ...]
    .venv/bin/python benchmarks/training.py measure [--folder FOLDER]

`train` fine-tunes the shipped networks on the first 55000 training images of Fashion-MNIST; the
last 5000 are what choices are made on. A row that is there already is left out, one that was killed
goes on. KERAS_BACKEND=torch trains on a GPU. `measure` converts every row, runs it on the 10000
test images and writes results/training.json and results/training.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from spikeport.converter.frontends import Source
from spikeport.converter.ir import Graph

FOLDER = Path(__file__).parents[1] / ".cache" / "training"
RESULTS = Path(__file__).parent / "results"
N_HELD_BACK = 5000
ORACLE_SAMPLES = 1000
SHIFTS = {"vgg": 2, "lenet": 1}
"""Pixels, as the shipped networks were trained."""


@dataclass(frozen=True)
class Row:
    """One way to train one network.

    Attributes:
        network: A shipped one.
        constraints: Names.
        settings: As `--set` takes them.
        scheme: Of binary weights; "" for full precision.
        n_epochs: Passes over the 55000 images.
        progressive: As Settings.
        learning_rate: As Settings.
        n_seeds: How often, with seeds 1, 2, ...
    """

    network: str
    constraints: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    scheme: str = ""
    n_epochs: int = 20
    progressive: float = 0.0
    learning_rate: float = 1e-3
    n_seeds: int = 1


def _rows(network: str, n_seeds: int) -> dict[str, Row]:
    def row(*constraints: str, n_epochs: int, sets: tuple[str, ...] = (), **options: Any) -> Row:
        return Row(network, constraints, sets, n_epochs=n_epochs, n_seeds=n_seeds, **options)

    return {
        f"{network}-qcfs4": row("qcfs", n_epochs=3),
        f"{network}-step": row("step", n_epochs=5),
        f"{network}-both": row("step", n_epochs=6, scheme="scaled", progressive=0.3),
        f"{network}-weights": row("qcfs", n_epochs=4, sets=("qcfs.n_levels=8",), scheme="scaled"),
        f"{network}-qcfs2": row("qcfs", n_epochs=3, sets=("qcfs.n_levels=2",)),
        f"{network}-whetstone": row("whetstone", n_epochs=6),
        f"{network}-surrogate4": row("surrogate", n_epochs=2),
        f"{network}-sparse": row(
            "qcfs", "synaptic_operations", n_epochs=3, sets=("synaptic_operations.target=0.2",)
        ),
    }


ROWS: dict[str, Row] = {**_rows("vgg", 1), **_rows("lenet", 3)}


def train_row(name: str, seed: int, folder: Path, n_epochs: int, limit: int | None) -> None:
    """Train one row with one seed and write NAME-SEED.snn (the trained network) and .json."""
    from spikeport.converter.exports.snn import write_snn
    from spikeport.converter.files import write_atomically
    from spikeport.converter.frontends import read
    from spikeport.converter.training.constraints import choose_constraints, parse_settings
    from spikeport.converter.training.data import Samples, hold_back, make_augmentation
    from spikeport.converter.training.student import Binarization
    from spikeport.converter.training.train import Settings, train
    from spikeport.models.datasets import load_data
    from spikeport.models.registry import weights_path

    started = time.perf_counter()
    row = ROWS[name]
    source = read(weights_path(row.network))
    data = load_data("fashion-mnist:train", ((28, 28, 1),), limit=limit)
    if data.labels is None:
        raise click.ClickException("the training split has no labels")
    n_held = min(N_HELD_BACK, len(data.labels) // 4)
    samples, validation = hold_back(Samples(data.inputs[0], data.labels, data.name), n_held)
    stem = f"{name}-{seed}"
    result = train(
        source,
        samples,
        choose_constraints(row.constraints, parse_settings(row.settings)),
        Settings(
            n_epochs=n_epochs, seed=seed, progressive=row.progressive,
            learning_rate=row.learning_rate,
        ),
        validation=validation,
        binarization=Binarization(row.scheme) if row.scheme else None,
        augment=make_augmentation(source.graph, SHIFTS[row.network], flip=True),
        augmentation="as the shipped network",
        checkpoint=folder / f"{stem}.checkpoint",
        progress=lambda line: print(stem, line, flush=True),
    )  # fmt: skip
    record = {
        "row": name,
        "seed": seed,
        "n_epochs": n_epochs,
        "history": list(result.history),
        "seconds": round(time.perf_counter() - started, 1),
        "backend": _backend(),
    }
    write_atomically(folder / f"{stem}.json", json.dumps(record, indent=2).encode())
    write_snn(result.graph, folder / f"{stem}.snn")
    (folder / f"{stem}.checkpoint").unlink(missing_ok=True)


def _backend() -> str:
    import keras

    name = str(keras.backend.backend())
    if name == "torch":
        import torch

        if torch.cuda.is_available():
            return f"torch {torch.__version__}, {torch.cuda.get_device_name()}"
    return name


@dataclass
class Pool:
    """Processes that train rows, so many at a time."""

    folder: Path
    n_jobs: int
    pending: list[list[str]]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def run(self, until: float) -> None:
        """Train all that is pending; end what still runs at `until`, seconds of time.monotonic."""
        while (self.pending or self.running) and time.monotonic() < until:
            while self.pending and len(self.running) < self.n_jobs:
                command = self.pending.pop(0)
                name = f"{command[0]}-{command[1]}"
                log = (self.folder / f"{name}.log").open("ab")
                arguments = [sys.executable, __file__, "row", *command]
                self.running[name] = subprocess.Popen(arguments, stdout=log, stderr=log)
            for name, process in list(self.running.items()):
                if process.poll() is not None:
                    print(f"{name}: exit code {process.returncode}", flush=True)
                    del self.running[name]
            time.sleep(0.5)
        for name, process in self.running.items():
            print(f"{name}: ended, it goes on from its last epoch", flush=True)
            process.kill()


@click.group()
def main() -> None:
    """Train and measure."""


@main.command("row")
@click.argument("name", type=click.Choice(list(ROWS)))
@click.argument("seed", type=int)
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("n_epochs", type=int)
@click.argument("limit", type=int)
def run_row(name: str, seed: int, folder: Path, n_epochs: int, limit: int) -> None:
    """Train one row in this process."""
    train_row(name, seed, folder, n_epochs, limit or None)


@main.command("train")
@click.argument("rows", nargs=-1)
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), show_default=True)
@click.option("--jobs", default=1, show_default=True)
@click.option("--seconds", default=1e9, help="End what is not done by then.")
@click.option("--factor", default=1.0, help="On the numbers of epochs.")
@click.option("--limit", default=0, help="Of training images, to try it out.")
def train_rows(
    rows: tuple[str, ...], folder: Path, jobs: int, seconds: float, factor: float, limit: int
) -> None:
    """Train the rows, by default all, in processes of their own."""
    until = time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pending = []
    for name in rows or ROWS:
        row = ROWS[name]
        for seed in range(1, row.n_seeds + 1):
            if not (folder / f"{name}-{seed}.snn").exists():
                n_epochs = max(1, round(factor * row.n_epochs))
                pending.append([name, str(seed), str(folder), str(n_epochs), str(limit)])
    Pool(folder, jobs, pending).run(until)


def measure_network(network: str, limit: int) -> list[dict[str, Any]]:
    """Return the routes without training: recipes, and weights made binary as they are."""
    found = []
    for recipe, n_steps in (("rate", 4), ("rate", 8), ("exact", 2), ("exact", 4)):
        found.append(_measure(network, f"converted, {recipe}", recipe, n_steps, {}, limit))
    for correct in ("none", "bias", "moments"):
        settings = {"binarize_weights": {"correct": correct}}
        name = f"binary weights without training, correction {correct}"
        found.append(_measure(network, name, "binary", 16, settings, limit))
    return found


def _measure(
    network: str, route: str, recipe: str, n_steps: int, settings: dict[str, Any], limit: int
) -> dict[str, Any]:
    from spikeport.converter.convert import convert
    from spikeport.converter.frontends import read
    from spikeport.models.datasets import load_data
    from spikeport.models.registry import weights_path

    source = read(weights_path(network))
    calibration = load_data("fashion-mnist:train", ((28, 28, 1),), limit=1000).inputs
    graph = convert(source, calibration, recipe=recipe, n_steps=n_steps, options=settings).graph
    return _evaluate(network, route, graph, source, limit)


def measure_trained(path: Path, limit: int, folder: Path) -> list[dict[str, Any]]:
    """Return what a trained row reaches under every schedule that is meant for it."""
    from spikeport.converter.exports.snn import read_snn
    from spikeport.converter.frontends import read
    from spikeport.converter.ir.ops import QuantizedRelu
    from spikeport.converter.training.finish import convert_trained, encode_trained
    from spikeport.models.datasets import load_data

    graph = read_snn(path)
    record = json.loads(path.with_suffix(".json").read_text("utf-8"))
    network = record["row"].partition("-")[0]
    keras_path = folder / f"{path.stem}.keras"
    keras_path.write_bytes(encode_trained(graph, name=path.stem))
    source = read(keras_path)
    calibration = load_data("fashion-mnist:train", ((28, 28, 1),), limit=1000).inputs[0]
    levels = max((n.op.n_levels for n in graph.nodes if isinstance(n.op, QuantizedRelu)), default=0)
    runs: list[tuple[str | None, int | None]] = [(None, None)]
    if levels > 1:
        runs += [("trained_integer", levels), ("trained", levels), ("trained", 2 * levels)]
    found = []
    for recipe, n_steps in runs:
        spiking = convert_trained(keras_path, graph, calibration, recipe=recipe, n_steps=n_steps)
        result = _evaluate(network, path.stem, spiking.graph, source, limit)
        training = {key: record[key] for key in ("n_epochs", "seed", "seconds", "backend")}
        training["validation"] = record["history"][-1]["validation_accuracy"]
        found.append(result | {"training": training})
    return found


def _evaluate(network: str, route: str, graph: Graph, source: Source, limit: int) -> dict[str, Any]:
    from spikeport.converter.exports.snn import encode_graph
    from spikeport.models.datasets import load_data
    from spikeport.runtime.energy import Constants, energy_rows
    from spikeport.runtime.evaluate import evaluate
    from spikeport.runtime.quantised import evaluate_quantised

    test = load_data("fashion-mnist:test", ((28, 28, 1),), limit=limit or None)
    started = time.thread_time()
    recipe = graph.metadata["recipe"]
    engine = "counts" if recipe in {"exact", "binary", "trained_exact"} else "event"
    result = evaluate(graph, test.inputs, test.labels, ann=source.run, n_threads=1, engine=engine)
    spent = time.thread_time() - started
    rows = energy_rows(result.workload, Constants())
    entry = {
        "network": network,
        "route": route,
        "recipe": recipe,
        "engine": engine,
        "n_steps": result.n_steps,
        "n_samples": result.n_samples,
        "accuracy": 100 * (result.accuracy or (0.0,))[-1],
        "source_accuracy": 100 * (result.ann_accuracy or 0.0),
        "agreement": 100 * (result.agreement or (0.0,))[-1],
        "synaptic_operations": result.synaptic_operations_per_sample,
        "energy_nj": {row.name: row.arithmetic_nj for row in rows},
        "file_bytes": len(encode_graph(graph)),
        "milliseconds": 1000 * result.seconds / result.n_samples,
        "process_seconds": spent,
    }
    if recipe == "trained_integer":
        entry["oracle"] = _ask_oracle(graph, test.inputs, result.decisions[-1])
    if recipe in {"trained", "rate"} and test.labels is not None:
        quantised = evaluate_quantised(
            graph, test.inputs, test.labels, result.decisions[-1], n_levels=result.n_steps
        )
        if quantised is not None:
            entry["quantised"] = {
                "bits": quantised.n_bits,
                "accuracy": 100 * quantised.accuracy,
                "agreement": 100 * quantised.agreement,
            }
    print(f"{route} {entry['recipe']} T={entry['n_steps']}: {entry['accuracy']:.2f}", flush=True)
    return entry


def _ask_oracle(graph: Graph, inputs: tuple[Any, ...], decisions: Any) -> dict[str, int]:
    """Compare decisions with the quantised network of the tests, int64, which is slow."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "runtime"))
    import quantised_ann

    n_samples = min(ORACLE_SAMPLES, len(decisions))
    same = 0
    for start in range(0, n_samples, 50):
        chosen = slice(start, start + 50)
        expected = quantised_ann.run(graph, tuple(array[chosen] for array in inputs), np.int64, 1)
        same += int((expected[graph.outputs[0]].argmax(axis=1) == decisions[chosen]).sum())
    return {"samples": n_samples, "same_decisions": same}


def to_markdown(entries: list[dict[str, Any]]) -> str:
    """Return the table of routes."""
    head = (
        "| route | recipe | T | network, % | spiking, % | same decisions, % | synaptic operations "
        "| energy, nJ | file, KB |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for entry in entries:
        spiking = next(v for k, v in entry["energy_nj"].items() if k.startswith("spiking, 8"))
        cells = [
            entry["route"], f"`{entry['recipe']}`", str(entry["n_steps"]),
            f"{entry['source_accuracy']:.2f}", f"{entry['accuracy']:.2f}",
            f"{entry['agreement']:.2f}", f"{entry['synaptic_operations']:,.0f}", f"{spiking:,.0f}",
            f"{entry['file_bytes'] / 1000:,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@main.command("measure")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), show_default=True)
@click.option("--limit", default=0, help="Of test images, to try it out.")
@click.option("--network", multiple=True, help="Measure what needs no training, too; repeatable.")
@click.option("--only", default="*", help="Rows to measure, a pattern.")
def measure(folder: Path, limit: int, network: tuple[str, ...], only: str) -> None:
    """Measure on the test images; results that are there already are kept."""
    path = RESULTS / "training.json"
    known: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    done = {entry["route"] for entry in known}
    parts = [(f"{name} as it is", name) for name in network]
    for label, name in parts:
        if not any(entry["network"] == name and "training" not in entry for entry in known):
            print(label, flush=True)
            known += measure_network(name, limit)
            _write(path, known)
    for found in sorted(folder.glob(f"{only}.snn")):
        if found.stem not in done:
            known += measure_trained(found, limit, folder)
            _write(path, known)


def _write(path: Path, entries: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")
    path.with_suffix(".md").write_text(to_markdown(entries), "utf-8")


if __name__ == "__main__":
    main()
