"""Every code of the input, read-out and neuron on lenet, at T = 4, 16, 64.

    python benchmarks/codes.py [N_IMAGES [T [NEURON]]]

Each T is a conversion of its own. One run is read in every way. What is done is kept in
benchmarks/results/codes.json and not done again; the table goes to codes.md.
"""

from __future__ import annotations

import json
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
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.metrics import wilson_interval

RESULTS = Path(__file__).parent / "results"
STORE = RESULTS / "codes.json"
MODEL, STEPS, SEEDS = "lenet", (4, 16, 64), (0, 1, 2)
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


ABOUT = """Accuracy in percent on the first test images of Fashion-MNIST, as many as the heading
says, each T a conversion of its own, with Wilson's 95 % interval; of `poisson` the mean over the
seeds, the interval of that many times the images, and the seeds' smallest and largest accuracy. In
brackets: share of decisions that are ties or, of `count` and `first`, potentials of outputs that
never fired, where it is above half a percent. A dash is a code or read-out that the recipe refuses;
rows that are missing were not run."""


class Reader:
    """Decisions by every read-out, of the simulations of one run."""

    def __init__(self, graph: Any) -> None:
        self.readout, self.scale = read_readouts(graph)[0], find_scale(graph)
        self.parts: dict[str, list[Any]] = {name: [] for name in DECODERS}
        self.names = ["potential"] if "schedule" in graph.metadata else list(DECODERS)

    def __call__(self, simulation: Any) -> None:
        for name in self.names:
            found = make_decoder(name).decide(simulation.outputs[0], self.readout, self.scale)
            self.parts[name].append((found.decisions[-1], found.tied[-1], found.silent[-1]))


def measure(neuron: str, n_steps: int, store: dict[str, Any], n_images: int) -> None:
    """Add what the store lacks for one conversion: all codes, seeds and read-outs."""
    seeds = {code: SEEDS if ENCODERS[code].is_random else (0,) for code in CODES}
    wanted = [(code, seed) for code in CODES for seed in seeds[code]]
    missing = [pair for pair in wanted if f"{neuron}|{n_steps}|{pair[0]}|{pair[1]}" not in store]
    if not missing:
        return
    recipe, options = NEURONS[neuron]
    source = read(weights_path(MODEL))
    train = load_data("fashion-mnist:train", ((28, 28, 1),), limit=1000)
    test = load_data("fashion-mnist:test", ((28, 28, 1),), limit=n_images)
    graph = convert(source, train.inputs, recipe=recipe, n_steps=n_steps, options=options).graph
    for code, seed in missing:
        reader, started = Reader(graph), time.process_time()
        entry: dict[str, Any] = {"n_images": n_images}
        try:
            run = evaluate(graph, test.inputs, test.labels, n_threads=1, observe=reader,
                           encoder=make_encoder(code, seed))  # fmt: skip
        except SimulationError as error:
            entry["refused"] = str(error)
        else:
            entry["operations"] = run.synaptic_operations_per_sample
            for name in reader.names:
                parts = zip(*reader.parts[name], strict=True)
                decisions, tied, silent = (np.concatenate(each) for each in parts)
                entry[name] = {
                    "right": int((decisions == test.labels).sum()),
                    "ties": float(tied.mean()),
                    "silent": float(silent.mean()),
                }
        entry["cpu_seconds"] = round(time.process_time() - started, 1)
        store[f"{neuron}|{n_steps}|{code}|{seed}"] = entry
        STORE.write_text(json.dumps(store, indent=1) + "\n")
        print(neuron, n_steps, code, seed, entry, flush=True)


def write_table(store: dict[str, Any]) -> str:
    """Return the tables as Markdown: accuracy in percent, half the 95 % interval, ties."""
    lines = [f"# Codes, read-outs and neurons on {MODEL}", "", ABOUT]
    for n_steps in STEPS:
        cells = [entry for key, entry in store.items() if key.split("|")[1] == str(n_steps)]
        sizes = sorted({entry["n_images"] for entry in cells})
        heads = " | ".join(f"`{name}`" for name in DECODERS)
        lines += [
            "",
            f"## T = {n_steps}, {' or '.join(map(str, sizes))} images",
            "",
            f"| neuron | code | {heads} |",
            "|---|---|---|---|---|---|",
        ]
        for neuron in NEURONS:
            for code in CODES:
                found = [
                    entry for key, entry in store.items()
                    if key.startswith(f"{neuron}|{n_steps}|{code}|")
                ]  # fmt: skip
                if not found:
                    continue
                if "refused" in found[0]:
                    lines.append(f"| {neuron} | `{code}` | - | - | - | - |")
                    continue
                shown = " | ".join(_cell(found, name) for name in DECODERS)
                lines.append(f"| {neuron} | `{code}` | {shown} |")
    return "\n".join([*lines, ""])


def _cell(found: list[dict[str, Any]], name: str) -> str:
    if name not in found[0]:
        return "-"
    rights = [entry[name]["right"] for entry in found]
    sizes = [entry["n_images"] for entry in found]
    low, high = wilson_interval(sum(rights), sum(sizes))
    text = f"{100 * sum(rights) / sum(sizes):.1f} ({100 * low:.1f} .. {100 * high:.1f})"
    if len(found) > 1:
        shares = [100 * right / size for right, size in zip(rights, sizes, strict=True)]
        text += f", {min(shares):.1f} to {max(shares):.1f}"
    open_ = float(np.mean([entry[name]["ties"] + entry[name]["silent"] for entry in found]))
    return text + (f" [{100 * open_:.0f} %]" if open_ > 0.005 else "")


def main() -> None:
    """Measure what is missing, and write the table."""
    n_images = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    store = json.loads(STORE.read_text()) if STORE.exists() else {}
    steps = [int(sys.argv[2])] if len(sys.argv) > 2 else STEPS
    neurons = sys.argv[3:4] or NEURONS
    for n_steps in steps:
        for neuron in neurons:
            measure(neuron, n_steps, store, n_images)
            (RESULTS / "codes.md").write_text(write_table(store))


if __name__ == "__main__":
    main()
