"""Early exit on the whole test split: accuracy, mean steps, and what it saves in time.

    .venv/bin/python benchmarks/early_exit.py [--network vgg] [--n-steps 64] [--limit N]

Writes benchmarks/results/early_exit.json and benchmarks/results/early_exit.md. Conversion sees the
first 1000 training images, early exit is calibrated on the 5000 behind them, and the test split is
used for the figures only. Times are of one thread on the same samples, in rounds that take turns,
and their medians: the share of two times is what counts, not the times of one machine. The table
has CPU times, which other work on the machine hardly changes; wall times are in the JSON.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.converter.ir import Graph
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.early_exit import ExitRule, calibrate, leads
from spikeport.runtime.engines import ENGINES
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.metrics import mcnemar, wilson_interval

RESULTS = Path(__file__).parent / "results"
N_CALIBRATION, N_HELD = 1000, 5000
LOSSES = (0.0, 0.0005, 0.001, 0.002)
EVERY = (1, 2, 4, 8)
TIMED, ROUNDS = 400, 5


def simulate(graph: Graph, inputs: np.ndarray, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return leads and decisions after every step, [T, N]."""
    runner = ENGINES["event"](graph, n_threads=2)
    lead, decisions = np.empty((2, n_steps, len(inputs)))
    for start in range(0, len(inputs), 100):
        chosen = slice(start, start + 100)
        for step, potential in enumerate(runner.run((inputs[chosen],), n_steps).outputs[0]):
            lead[step, chosen] = leads(potential.astype(np.float64) * (step + 1))
            decisions[step, chosen] = potential.argmax(axis=1)
    return lead, decisions.astype(np.int64)


def measure_times(
    graph: Graph, inputs: np.ndarray, runs: dict[str, tuple[int, ExitRule | None]]
) -> dict[str, dict[str, float]]:
    """Return wall and processor time per sample, in milliseconds: medians of rounds."""
    runner = ENGINES["event"](graph, n_threads=1)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, (n_steps, rule) in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            runner.run((inputs,), n_steps, exit_rule=rule)
            found[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    scale = 1000 / len(inputs)
    return {
        name: {
            "wall_ms": scale * statistics.median(wall for wall, _ in times),
            "cpu_ms": scale * statistics.median(cpu for _, cpu in times),
        }
        for name, times in found.items()
    }


def measure(network: str, n_steps: int, limit: int | None) -> dict:
    """Convert, calibrate, evaluate and time one network."""
    source = read(weights_path(network, ".onnx"))
    shapes = tuple(source.graph.types[name].shape for name in source.graph.inputs)
    train = load_data("fashion-mnist:train", shapes, limit=N_CALIBRATION + N_HELD)
    test = load_data("fashion-mnist:test", shapes, limit=limit)
    seen = tuple(array[:N_CALIBRATION] for array in train.inputs)
    graph = convert(source, seen, n_steps=n_steps).graph
    lead, decisions = simulate(graph, train.inputs[0][N_CALIBRATION:], n_steps)
    labels = train.labels[N_CALIBRATION:]
    whole = evaluate(graph, test.inputs, test.labels, n_steps=n_steps, n_threads=2)
    click.echo(f"{network}: {100 * whole.accuracy[-1]:.2f} % after {n_steps} steps")
    settings = [(loss, 4) for loss in LOSSES] + [(0.001, every) for every in EVERY if every != 4]
    rows, runs = [], {f"T={n_steps}": (n_steps, None)}
    for loss, every in settings:
        found = calibrate(lead, decisions, labels, allowed_loss=loss, every=every)
        run = evaluate(
            graph, test.inputs, test.labels, n_steps=n_steps, n_threads=2, exit_rule=found.rule
        )
        accuracy = run.accuracy[-1]
        same = 1 + next(step for step, a in enumerate(whole.accuracy) if a >= accuracy)
        paired = mcnemar(whole.decisions[-1] == test.labels, run.decisions[-1] == test.labels)
        name = f"loss {loss:g}, every {every}"
        rows.append({
            "name": name,
            "allowed_loss": loss,
            "every": every,
            "lead": found.rule.lead,
            "held_back": {"loss": found.loss, "mean_steps": found.mean_steps},
            "accuracy": accuracy,
            "interval": wilson_interval(round(accuracy * run.n_samples), run.n_samples),
            "loss": round(whole.accuracy[-1] - accuracy, 6),
            "lost": paired.only_first,
            "won": paired.only_second,
            "p_value": paired.p_value,
            "mean_steps": run.early_exit.mean_steps,
            "undecided": run.early_exit.undecided,
            "fixed_steps_of_same_accuracy": same,
            "share_of_these": run.early_exit.mean_steps / same,
            "synaptic_operations": run.synaptic_operations_per_sample,
        })
        runs[name] = (n_steps, found.rule)
        runs[f"T={same}"] = (same, None)
        click.echo(f"{name}: {100 * accuracy:.2f} %, {run.early_exit.mean_steps:.2f} of {same}")
    times = measure_times(graph, test.inputs[0][:TIMED], runs)
    for row in rows:
        row["time"] = times[row["name"]]
        row["time_of_fixed"] = times[f"T={row['fixed_steps_of_same_accuracy']}"]
    return {
        "network": network,
        "n_steps": n_steps,
        "data": test.name,
        "held_back": f"{train.name}, without the first {N_CALIBRATION}",
        "accuracy": whole.accuracy,
        "synaptic_operations": whole.synaptic_operations_per_sample,
        "time": times[f"T={n_steps}"],
        "rows": rows,
    }


def to_markdown(result: dict) -> str:
    """Return the table."""
    n_steps, full = result["n_steps"], result["accuracy"][-1]
    lines = [
        f"{result['network']}, {result['data']}; calibrated on: {result['held_back']}. All "
        f"samples after T={n_steps} steps: {100 * full:.2f} %, {result['time']['cpu_ms']:.2f} ms "
        f"of CPU time per sample.",
        "",
        "| allowed loss | look every | accuracy (95 % interval) | loss | mean steps | undecided "
        "| fixed T of the same accuracy | mean steps / T | CPU time per sample, ms "
        "| at that T, ms |",
        "|---" * 10 + "|",
    ]
    for row in result["rows"]:
        low, high = row["interval"]
        lines.append(
            f"| {100 * row['allowed_loss']:g} points | {row['every']} steps | "
            f"{100 * row['accuracy']:.2f} ({100 * low:.2f} .. {100 * high:.2f}) | "
            f"{100 * row['loss']:.2f} | {row['mean_steps']:.2f} | {100 * row['undecided']:.1f} % | "
            f"{row['fixed_steps_of_same_accuracy']} | {row['share_of_these']:.2f} | "
            f"{row['time']['cpu_ms']:.2f} | {row['time_of_fixed']['cpu_ms']:.2f} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--network", default="vgg", show_default=True)
@click.option("--n-steps", default=64, show_default=True)
@click.option("--limit", type=int, help="Only the first so many test images.")
def main(network: str, n_steps: int, limit: int | None) -> None:
    """Measure and write the results."""
    result = measure(network, n_steps, limit)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "samples_timed": TIMED,
        "rounds": ROUNDS,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"about": about, **result}, indent=1) + "\n"
    (RESULTS / "early_exit.json").write_text(text, "utf-8")
    (RESULTS / "early_exit.md").write_text(to_markdown(result), "utf-8")
    click.echo(to_markdown(result))


if __name__ == "__main__":
    main()
