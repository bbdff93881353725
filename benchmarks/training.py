"""Training under constraints and binarisation: train every row, measure it on the test split.

    .venv/bin/python benchmarks/training.py train [--folder FOLDER] [--jobs N] [ROW ...]
    .venv/bin/python benchmarks/training.py measure [--folder FOLDER] [--network NAME ...]

`train` fine-tunes the shipped networks on the first 55000 training images of Fashion-MNIST; the
last 5000 are what choices are made on. A row that is there already is left out, one that was killed
goes on; every row comes with seed 1 before any comes with seed 2. KERAS_BACKEND=torch trains on a
GPU. `measure` converts every row with every recipe that is meant for it, runs it on the 10000 test
images and writes results/training.json and results/training.md; what is there is left out.
`measure --held-back` runs on the last 5000 training images and only prints.
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
from training_cells import N_HELD_BACK, Cell, list_trained, list_untrained, measure_cell
from training_table import to_markdown

FOLDER = Path(__file__).parents[1] / ".cache" / "training"
RESULTS = Path(__file__).parent / "results"
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


def _rows(network: str, n_seeds: int, qcfs4_epochs: int) -> dict[str, Row]:
    def row(*constraints: str, n_epochs: int, sets: tuple[str, ...] = (), **options: Any) -> Row:
        return Row(network, constraints, sets, n_epochs=n_epochs, n_seeds=n_seeds, **options)

    return {
        f"{network}-qcfs4": row("qcfs", n_epochs=qcfs4_epochs),
        f"{network}-step": row("step", n_epochs=5),
        f"{network}-both": row("step", n_epochs=6, scheme="scaled", progressive=0.3),
        f"{network}-weights": row("qcfs", n_epochs=4, sets=("qcfs.n_levels=8",), scheme="scaled"),
        f"{network}-qcfs2": row("qcfs", n_epochs=3, sets=("qcfs.n_levels=2",)),
        f"{network}-whetstone": row("whetstone", n_epochs=10),
        f"{network}-published": row("whetstone", n_epochs=10, sets=("whetstone.gradient_width=0",)),
        f"{network}-surrogate4": row("surrogate", n_epochs=2),
        f"{network}-sign": row("sign", n_epochs=5),
        f"{network}-ternary": row("step", n_epochs=6, scheme="ternary", progressive=0.3),
        f"{network}-sparse": row(
            "qcfs", "synaptic_operations", n_epochs=3, sets=("synaptic_operations.target=0.2",)
        ),
    }


ROWS: dict[str, Row] = {**_rows("vgg", 1, 11), **_rows("lenet", 3, 3)}


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
        "learning_rate": row.learning_rate,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time(), 1),
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
    for seed in range(1, max(row.n_seeds for row in ROWS.values()) + 1):
        for name in rows or ROWS:
            row = ROWS[name]
            if seed <= row.n_seeds and not (folder / f"{name}-{seed}.snn").exists():
                n_epochs = max(1, round(factor * row.n_epochs))
                pending.append([name, str(seed), str(folder), str(n_epochs), str(limit)])
    Pool(folder, jobs, pending).run(until)


def list_cells(folder: Path, networks: tuple[str, ...], only: str) -> list[Cell]:
    """Return what is to be measured: networks as they are, and the rows that are trained."""
    from spikeport.converter.exports.snn import read_snn

    cells = [cell for network in networks for cell in list_untrained(network)]
    for path in sorted(folder.glob(f"{only}.snn"), key=_seed_first):
        record = json.loads(path.with_suffix(".json").read_text("utf-8"))
        cells += list_trained(path, record, read_snn(path))
    return cells


def _seed_first(path: Path) -> tuple[str, str]:
    name, _, seed = path.stem.rpartition("-")
    return seed, name


@main.command("measure")
@click.option("--folder", default=FOLDER, type=click.Path(path_type=Path), show_default=True)
@click.option("--limit", default=0, help="Of images, to try it out: prints only.")
@click.option("--network", multiple=True, help="Measure what needs no training, too; repeatable.")
@click.option("--only", default="*", help="Rows to measure, a pattern.")
@click.option("--recipe", default="", help="Of these recipes only, a text that they begin with.")
@click.option("--held-back", is_flag=True, help="On training images held back; prints only.")
@click.option("--seconds", default=1e9, help="Begin nothing later than that.")
def measure(
    folder: Path,
    limit: int,
    network: tuple[str, ...],
    only: str,
    recipe: str,
    held_back: bool,
    seconds: float,
) -> None:
    """Measure on the test images, one line after the other; what is there already is kept."""
    from spikeport.converter.files import write_atomically

    until = time.monotonic() + seconds
    path = RESULTS / "training.json"
    known: list[dict[str, Any]] = json.loads(path.read_text("utf-8")) if path.exists() else []
    prints_only = held_back or limit > 0
    done = [] if prints_only else [entry["key"] for entry in known]
    for cell in list_cells(folder, network, only):
        if cell.key in done or not cell.recipe.startswith(recipe):
            continue
        if time.monotonic() > until:
            print("time is over; the same command goes on", flush=True)
            break
        found = measure_cell(cell, folder, "held-back" if held_back else "test", limit)
        shown = ("accuracy", "source_accuracy", "agreement", "milliseconds", "process_seconds")
        print(cell.key, {key: round(found[key], 2) for key in shown}, found["quantised"],
              found.get("oracle", ""), flush=True)  # fmt: skip
        if not prints_only:
            known.append(found)
            write_atomically(path, (json.dumps(known, indent=2) + "\n").encode())
            write_atomically(path.with_suffix(".md"), to_markdown(known).encode())


if __name__ == "__main__":
    main()
