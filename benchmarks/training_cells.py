"""One line of the table of trained networks: convert, run on the test images, say what it takes."""

from __future__ import annotations

import functools
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.converter.frontends import Source
from spikeport.converter.ir import Graph

N_TIMED = 500
"""Images of the time per image; one thread, CPU time."""
N_CALIBRATION = 1000
N_NOISE = 300
"""As many samples of noise as `binarize --post-training` takes where there are no data."""
WITHOUT_DATA = "binary weights, untrained, no data: thresholds of noise"
N_HELD_BACK = 5000
BATCH = 100
Images = tuple[tuple[Any, ...], Any]
"""Inputs and labels."""


@dataclass(frozen=True)
class Cell:
    """One route under one recipe.

    Attributes:
        network: A shipped one.
        route: NAME of a row with its seed behind it, or words for what needs no training.
        recipe: A key of RECIPES.
        n_steps: T that the conversion is asked for; a schedule takes as many steps per layer.
        settings: Options by pass.
        trained: NAME-SEED.snn; None for the shipped network as it is.
        n_levels: Of its activations.
        training: What is noted of the training.
    """

    network: str
    route: str
    recipe: str
    n_steps: int
    settings: dict[str, Any] = field(default_factory=dict)
    trained: Path | None = None
    n_levels: int = 0
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> list[Any]:
        """What no other cell has."""
        return [self.network, self.route, self.recipe, self.n_steps]


def list_untrained(network: str) -> list[Cell]:
    """Return the routes without training: recipes, and weights made binary as they are."""
    runs = (("rate", 4), ("rate", 8), ("exact", 2), ("exact", 4), ("differential", 4))
    cells = [Cell(network, "converted", recipe, n_steps) for recipe, n_steps in runs]
    for correct in ("none", "bias", "moments"):
        settings = {"binarize_weights": {"correct": correct}}
        route = f"binary weights, untrained, correction: {correct}"
        cells.append(Cell(network, route, "binary", 16, settings))
    settings = {"binarize_weights": {"correct": "none"}}
    return [*cells, Cell(network, WITHOUT_DATA, "binary", 16, settings)]


def list_trained(path: Path, record: dict[str, Any], graph: Graph) -> list[Cell]:
    """Return what a trained row is measured with: every schedule that is meant for it."""
    from spikeport.converter.ir.ops import QuantizedRelu

    trained: Any = graph.metadata["trained"]
    levels = max((n.op.n_levels for n in graph.nodes if isinstance(n.op, QuantizedRelu)), default=0)
    runs = [("trained", int(trained.get("n_steps", levels)))]
    if levels > 1:
        runs = [(recipe, levels) for recipe in ("trained_exact", "trained_integer", "trained")]
        runs += [("trained", 2 * levels)]
        if "weights" not in record["row"]:  # fitted weights are no longer binary
            runs += [("rate", levels), ("rate", 2 * levels)]
    network = record["row"].partition("-")[0]
    names = ("n_epochs", "seed", "seconds", "cpu_seconds", "learning_rate", "backend")
    facts = {key: record[key] for key in names if key in record}
    return [Cell(network, path.stem, *run, {}, path, levels, facts) for run in runs]


@functools.cache
def load_images(part: str, limit: int) -> Images:
    """Return the images of `test`, or of `held-back`: the last training images."""
    from spikeport.models.datasets import load_data

    name = "test" if part == "test" else "train"
    data = load_data(f"fashion-mnist:{name}", ((28, 28, 1),))
    start = 0 if part == "test" else len(data.inputs[0]) - N_HELD_BACK
    chosen = slice(start, start + limit if limit else None)
    labels = data.labels
    return tuple(array[chosen] for array in data.inputs), None if labels is None else labels[chosen]


def prepare(cell: Cell, folder: Path) -> tuple[Graph, Source]:
    """Return the spiking graph of a cell, and the network that it was made from."""
    from spikeport.converter.convert import convert
    from spikeport.converter.exports.snn import read_snn
    from spikeport.converter.frontends import read
    from spikeport.converter.training.finish import convert_trained, encode_trained
    from spikeport.models.datasets import load_data
    from spikeport.models.registry import weights_path

    data = load_data("fashion-mnist:train", ((28, 28, 1),), limit=N_CALIBRATION)
    if cell.trained is None:
        source = read(weights_path(cell.network))
        samples = data.inputs
        if cell.route == WITHOUT_DATA:
            noise = np.random.default_rng(0).uniform(0, 1, (N_NOISE, *samples[0].shape[1:]))
            samples = (noise.astype(np.float32),)
        return convert(
            source, samples, recipe=cell.recipe, n_steps=cell.n_steps, options=cell.settings
        ).graph, source
    graph = read_snn(cell.trained)
    path = folder / f"{cell.trained.stem}.keras"
    path.write_bytes(encode_trained(graph))
    spiking = convert_trained(
        path, graph, data.inputs[0], recipe=cell.recipe, n_steps=cell.n_steps
    ).graph
    return spiking, read(path)


def measure_cell(cell: Cell, folder: Path, part: str, limit: int) -> dict[str, Any]:
    """Return the line of a cell."""
    from spikeport.converter.exports.snn import encode_graph
    from spikeport.runtime.energy import Constants, energy_rows
    from spikeport.runtime.evaluate import evaluate

    started = time.process_time()
    graph, source = prepare(cell, folder)
    inputs, labels = load_images(part, limit)
    engine = "counts" if "schedule" in graph.metadata else "event"
    result = evaluate(graph, inputs, labels, ann=source.run, n_threads=1, engine=engine)
    energy = energy_rows(result.workload, Constants())
    milliseconds = time_engine(engine, graph, inputs, result.n_steps)
    entry = {
        "key": cell.key,
        "network": cell.network,
        "route": cell.route,
        "recipe": cell.recipe,
        "engine": engine,
        "asked_steps": cell.n_steps,
        "n_steps": result.n_steps,
        "part": part,
        "n_samples": result.n_samples,
        "accuracy": 100 * (result.accuracy or (0.0,))[-1],
        "source_accuracy": 100 * (result.ann_accuracy or 0.0),
        "agreement": 100 * (result.agreement or (0.0,))[-1],
        "synaptic_operations": result.synaptic_operations_per_sample,
        "energy_nj": {row.name: row.arithmetic_nj for row in energy},
        "file_bytes": len(encode_graph(graph)),
        "milliseconds": milliseconds,
        "quantised": quantised_baseline(cell, graph, inputs, labels, result),
    }
    if cell.recipe == "trained_integer":
        entry["oracle"] = ask_oracle(graph, inputs, result.decisions[-1])
    if cell.trained is not None:
        entry["training"] = cell.training | {"held_back_accuracy": 100 * _held_back(source)}
    return entry | {"process_seconds": round(time.process_time() - started, 1)}


def _held_back(source: Source) -> float:
    """Return the share of right decisions of a network on images that were held back."""
    inputs, labels = load_images("held-back", 0)
    parts = [
        source.run(tuple(array[start : start + BATCH] for array in inputs))[0].argmax(axis=1)
        for start in range(0, N_HELD_BACK, BATCH)
    ]
    return float((np.concatenate(parts) == labels).mean())


def time_engine(engine: str, graph: Graph, inputs: tuple[Any, ...], n_steps: int) -> float:
    """Return milliseconds per image: CPU time of one thread, second run."""
    from spikeport.runtime.engines import ENGINES

    runner = ENGINES[engine](graph, n_threads=1)
    chosen = tuple(array[:N_TIMED] for array in inputs)
    spent = 0.0
    for _ in range(2):
        started = time.process_time()
        for start in range(0, len(chosen[0]), BATCH):
            runner.run(tuple(array[start : start + BATCH] for array in chosen), n_steps)
        spent = time.process_time() - started
    return 1000 * spent / len(chosen[0])


def quantised_baseline(
    cell: Cell, graph: Graph, inputs: tuple[Any, ...], labels: Any, result: Any
) -> dict[str, Any] | None:
    """Return what the quantised ANN with as many values per activation decides.

    With as many steps as levels of the training that is the trained network itself; under an exact
    schedule without training, what the spikes compute. Else every neuron is replaced by a quantiser
    of T + 1 values.
    """
    from spikeport.runtime.energy import matched_bits
    from spikeport.runtime.quantised import evaluate_quantised

    bits = matched_bits(cell.n_steps)
    if cell.recipe.startswith("trained") and cell.n_steps == cell.n_levels:
        return {"bits": bits, "accuracy": 100 * result.ann_accuracy, "is": "the trained network"}
    if cell.recipe in {"exact", "binary"}:
        return {
            "bits": bits,
            "accuracy": 100 * result.accuracy[-1],
            "is": "what the spikes compute",
        }
    found = evaluate_quantised(graph, inputs, labels, result.decisions[-1], n_levels=cell.n_steps)
    if found is None:
        return None
    return {"bits": found.n_bits, "accuracy": 100 * found.accuracy, "is": "a quantiser per neuron"}


def ask_oracle(graph: Graph, inputs: tuple[Any, ...], decisions: Any) -> dict[str, int]:
    """Compare decisions with those of the tests' quantised network, which shares no code.

    Its numbers are float64 here, in which all sums of these integers are exact.
    """
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "runtime"))
    import quantised_ann

    same = 0
    for start in range(0, len(decisions), BATCH):
        chosen = slice(start, start + BATCH)
        batch = tuple(array[chosen] for array in inputs)
        expected = quantised_ann.run(graph, batch, np.float64, 1)[graph.outputs[0]]
        same += int((expected.argmax(axis=1) == decisions[chosen]).sum())
    return {"samples": len(decisions), "same_decisions": same}
