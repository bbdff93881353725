"""Every code of the input, read-out and neuron on lenet, at T = 4, 16, 64.

    python benchmarks/codes.py [N_IMAGES [T [NEURON ...]]]

Each T is a conversion of its own. One run is read in every way. What is done with as many images,
or more, is kept in benchmarks/results/codes.json and not done again; the table goes to codes.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from spikeport.converter.convert import convert
from spikeport.converter.errors import SimulationError
from spikeport.converter.frontends import read
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.decoding import DECODERS, find_scale, make_decoder, read_readouts
from spikeport.runtime.encoding import ENCODERS, Recorded, make_encoder
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.metrics import wilson_interval
from spikeport.runtime.samples import batches

RESULTS = Path(__file__).parent / "results"
STORE = RESULTS / "codes.json"
MODEL, STEPS, SEEDS, BATCH_SIZE = "lenet", (4, 16, 64), (0, 1, 2), 500
NEURONS: dict[str, tuple[str, dict[str, Any]]] = {
    "subtraction": ("light", {}),
    "to zero": ("light", {"insert_neurons": {"reset": "zero"}}),
    "leak 0.1": ("light", {"insert_neurons": {"leak": 0.1}}),
    "refractory 1": ("light", {"insert_neurons": {"refractory": 1}}),
    "relative 0.5": ("light", {"insert_neurons": {"relative": 0.5}}),
    "signed": ("light", {"insert_neurons": {"signed": True}}),
    "burst": ("graded", {}),
    "binary-weighted": ("graded", {"insert_graded_neurons": {"neuron": "binary"}}),
    "differential": ("differential", {}),
    "first spike": ("ttfs", {}),
    "wait": ("exact", {}),
}
"""Name in the table: recipe and options."""
CODES = [name for name, code in ENCODERS.items() if code is not Recorded]


ABOUT = """Accuracy in percent on the first test images of Fashion-MNIST, of which there are 10000,
each T a conversion of its own, with Wilson's 95 % interval; of `poisson` the mean over
the seeds, with the interval of as many images, and the seeds' smallest and largest accuracy.
In brackets: share of decisions that are ties or, of `count` and `first`, potentials of outputs that
never fired, where it is above half a percent. A dash is a code or read-out that the recipe refuses;
rows that are missing were not run."""


def measure(neuron: str, n_steps: int, n_images: int) -> None:
    """Add what the store lacks for one conversion: all codes, seeds and read-outs."""
    store = load()
    wanted = [
        (code, seed)
        for code in CODES
        for seed in (SEEDS if ENCODERS[code].is_random else SEEDS[:1])
        if store.get(f"{neuron}|{n_steps}|{code}|{seed}", {}).get("n_images", 0) < n_images
    ]
    if not wanted:
        return
    recipe, options = NEURONS[neuron]
    source = read(weights_path(MODEL))
    train = load_data("fashion-mnist:train", ((28, 28, 1),), limit=1000)
    test = load_data("fashion-mnist:test", ((28, 28, 1),), limit=n_images)
    graph = convert(source, train.inputs, recipe=recipe, n_steps=n_steps, options=options).graph
    for code, seed in wanted:
        started = time.process_time()
        try:
            entry = simulate(graph, test.inputs, test.labels, code, seed)
        except SimulationError as error:
            entry = {"refused": str(error)}
        entry |= {"n_images": n_images, "cpu_seconds": round(time.process_time() - started, 1)}
        keep(f"{neuron}|{n_steps}|{code}|{seed}", entry)
        print(neuron, n_steps, code, seed, entry, flush=True)


def simulate(graph: Any, inputs: Any, labels: Any, code: str, seed: int) -> dict[str, Any]:
    """Return what every read-out makes of one run."""
    names = ["potential"] if "schedule" in graph.metadata else list(DECODERS)
    readout, scale = read_readouts(graph)[0], find_scale(graph)
    runner = ENGINES["event"](graph, n_threads=1, encoder=make_encoder(code, seed))
    operations, parts = 0, {name: [] for name in names}
    for _, batch in batches(inputs, BATCH_SIZE):
        run = runner.run(batch, graph.metadata["n_steps"])
        operations += sum(int(steps.sum()) for steps in run.synaptic_operations.values())
        for name in names:
            found = make_decoder(name).decide(run.outputs[0], readout, scale)
            parts[name].append((found.decisions[-1], found.tied[-1], found.silent[-1]))
    entry: dict[str, Any] = {"operations": operations / len(labels)}
    for name in names:
        columns = zip(*parts[name], strict=True)
        decisions, tied, silent = (np.concatenate(each) for each in columns)
        entry[name] = {
            "right": int((decisions == labels).sum()),
            "ties": float(tied.mean()),
            "silent": float(silent.mean()),
        }
    return entry


def load() -> dict[str, Any]:
    """Return what was measured so far."""
    return json.loads(STORE.read_text()) if STORE.exists() else {}


def keep(key: str, entry: dict[str, Any]) -> None:
    """Add a cell to the store, which another process may have changed."""
    store = load() | {key: entry}
    fresh = STORE.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(dict(sorted(store.items())), indent=1) + "\n")
    fresh.replace(STORE)


def write_table(store: dict[str, Any]) -> str:
    """Return the tables as Markdown: one of potentials at every T, and all of each T."""
    lines = [f"# Codes, read-outs and neurons on {MODEL}", "", ABOUT, ""]
    lines += [f"By the potential, at T = {' / '.join(map(str, STEPS))}:", ""]
    lines += [f"| neuron | {' | '.join(f'`{code}`' for code in CODES)} |"]
    lines += ["|---" * (1 + len(CODES)) + "|"]
    for neuron in NEURONS:
        shown = (" / ".join(_potentials(store, neuron, code)) or "-" for code in CODES)
        lines.append(f"| {neuron} | {' | '.join(shown)} |")
    heads = " | ".join(f"`{name}`" for name in DECODERS)
    for n_steps in STEPS:
        lines += [
            "",
            f"## T = {n_steps}",
            "",
            f"| neuron | code | images | {heads} |",
            "|---" * 7 + "|",
        ]
        for neuron in NEURONS:
            for code in CODES:
                found = _entries(store, neuron, n_steps, code)
                if not found:
                    continue
                sizes = sorted({entry["n_images"] for entry in found})
                row = f"| {neuron} | `{code}` | {' or '.join(map(str, sizes))} |"
                if "refused" in found[0]:
                    lines.append(f"| {neuron} | `{code}` | - | - | - | - | - |")
                    continue
                shown = " | ".join(_cell(found, name) for name in DECODERS)
                lines.append(f"{row} {shown} |")
    return "\n".join([*lines, ""])


def _entries(store: dict[str, Any], neuron: str, n_steps: int, code: str) -> list[dict[str, Any]]:
    """Return what was measured, by seed."""
    start = f"{neuron}|{n_steps}|{code}|"
    return [entry for key, entry in store.items() if key.startswith(start)]


def _potentials(store: dict[str, Any], neuron: str, code: str) -> list[str]:
    """Return the accuracies by the potential, mean of the seeds, at every T that was run."""
    runs = (_entries(store, neuron, n_steps, code) for n_steps in STEPS)
    return [
        f"{100 * _mean_share(found, 'potential'):.1f}"
        for found in runs
        if found and "potential" in found[0]
    ]


def _mean_share(found: list[dict[str, Any]], name: str) -> float:
    rights = sum(entry[name]["right"] for entry in found)
    return float(rights / sum(entry["n_images"] for entry in found))


def _cell(found: list[dict[str, Any]], name: str) -> str:
    if name not in found[0]:
        return "-"
    rights = [entry[name]["right"] for entry in found]
    sizes = [entry["n_images"] for entry in found]
    # the seeds share their images: they are no more samples than one of them is
    low, high = wilson_interval(round(sum(rights) / len(rights)), sizes[0])
    text = f"{100 * _mean_share(found, name):.1f} ({100 * low:.1f} .. {100 * high:.1f})"
    if len(found) > 1:
        shares = [100 * right / size for right, size in zip(rights, sizes, strict=True)]
        text += f", {min(shares):.1f} to {max(shares):.1f}"
    open_ = float(np.mean([entry[name]["ties"] + entry[name]["silent"] for entry in found]))
    return text + (f" [{100 * open_:.0f} %]" if open_ > 0.005 else "")


def main() -> None:
    """Measure what is missing, and write the table."""
    n_images = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    steps = [int(sys.argv[2])] if len(sys.argv) > 2 else STEPS
    for n_steps in steps:
        for neuron in sys.argv[3:] or NEURONS:
            measure(neuron, n_steps, n_images)
            (RESULTS / "codes.md").write_text(write_table(load()))


if __name__ == "__main__":
    main()
