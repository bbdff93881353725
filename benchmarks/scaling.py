"""How our event engine's time grows: with steps, threads and batch; its memory, its counting.

    .venv/bin/python benchmarks/scaling.py [--rounds N] [--max-steps T] [--max-batch N]

onnxruntime's pass of the same network, with the same threads and batch, is timed in turn with it.
Writes scaling.json, .md, .svg and .png into benchmarks/results.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
from peers.common import busy_elsewhere
from peers.exchange import write_exchange
from peers.machine import RESULTS, describe_machine, draw

from spikeport.converter.exports.snn import read_snn
from spikeport.runtime.engines.event import EventRunner, compile_graph
from spikeport.runtime.plan.stages import OperationsStage

STEPS = (8, 16, 32, 64, 128, 256, 512, 1024)
BATCHES = (1, 2, 8, 32, 128, 512, 1024)
THREADS = (1, 2)
N_STEPS = 32
"""Where something else is varied."""
N_STEP_IMAGES = 8
REST = 0.02
"""Seconds between two runs."""
N_BATCH_IMAGES = 32
"""At least so many images are run for one time."""
MEMORY = """
import sys
import numpy as np
from pathlib import Path
from spikeport.converter.exports.snn import read_snn
from spikeport.runtime.engines.event import compile_graph
def peak():  # of this process; ru_maxrss would begin with that of its parent
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
graph = read_snn(Path(sys.argv[1]))
import numba, spikeport.runtime.kernels.events
before = peak()
x = np.random.default_rng(0).random((8, 28, 28, 1), np.float32)
compile_graph(graph, n_threads=2).run((x,), int(sys.argv[2]))
print(peak() - before)
"""


def make_runners(folder: Path) -> dict[int, EventRunner]:
    """Return our engine with every number of threads."""
    graph = read_snn(folder / "ours.snn")
    runners = {n: compile_graph(graph, n_threads=n) for n in THREADS}
    found = {n: runner for n, runner in runners.items() if isinstance(runner, EventRunner)}
    if len(found) < len(runners):
        raise click.ClickException("; ".join(runners[1].notices))
    return found


def make_ann(folder: Path) -> dict[int, Callable[[np.ndarray], Any]]:
    """Return onnxruntime's pass with every number of threads."""

    def make(n_threads: int) -> Callable[[np.ndarray], Any]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
        session = onnxruntime.InferenceSession(
            str(folder / "ann.onnx"), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        return lambda x: session.run(None, {name: x})

    return {n: make(n) for n in THREADS}


def take_turns(runs: dict[Any, Callable[[], Any]], n_rounds: int) -> dict[Any, tuple[float, float]]:
    """Return the median time and CPU time of every run in seconds, behind one round to warm up."""
    times: dict[Any, list[tuple[float, float]]] = {key: [] for key in runs}
    for _ in range(n_rounds + 1):
        for key, run in runs.items():
            time.sleep(REST)  # idle threads of onnxruntime spin for a while
            started, cpu = time.perf_counter(), time.process_time()
            run()
            times[key].append((time.perf_counter() - started, time.process_time() - cpu))
    medians = {}
    for key, found in times.items():
        wall, cpu_seconds = zip(*found[1:], strict=True)
        medians[key] = statistics.median(wall), statistics.median(cpu_seconds)
    return medians


def run_batches(run: Callable[[np.ndarray], Any], x: np.ndarray, batch: int) -> Callable[[], Any]:
    """Return what runs batches until N_BATCH_IMAGES images are done, or one batch."""
    n_images = max(batch, N_BATCH_IMAGES)
    return lambda: [run(x[n : n + batch]) for n in range(0, n_images, batch)]


def measure_steps(
    runners: dict[int, EventRunner], x: np.ndarray, n_rounds: int, all_steps: list[int]
) -> list[dict[str, Any]]:
    """Return milliseconds per image, steps x threads."""
    images = x[:N_STEP_IMAGES]
    runs = {
        (t, n): (lambda t=t, n=n: runners[n].run((images,), t)) for t in all_steps for n in THREADS
    }
    return [
        {
            "steps": t,
            "threads": n,
            "event_ms": 1000 * wall / len(images),
            "event_cpu_ms": 1000 * cpu / len(images),
        }
        for (t, n), (wall, cpu) in take_turns(runs, n_rounds).items()
    ]


def measure_batches(
    runners: dict[int, EventRunner],
    passes: dict[int, Callable[[np.ndarray], Any]],
    x: np.ndarray,
    n_rounds: int,
) -> list[dict[str, Any]]:
    """Return milliseconds per image of both, batch x threads, up to the number of images."""
    rows = []
    for batch in [batch for batch in BATCHES if batch <= len(x)]:
        for n in THREADS:
            event = run_batches(lambda x, n=n: runners[n].run((x,), N_STEPS), x, batch)
            found = take_turns({"event": event, "ann": run_batches(passes[n], x, batch)}, n_rounds)
            n_images = max(batch, N_BATCH_IMAGES)
            row: dict[str, Any] = {"batch": batch, "threads": n}
            for key, (wall, cpu) in found.items():
                row[f"{key}_ms"] = 1000 * wall / n_images
                row[f"{key}_cpu_ms"] = 1000 * cpu / n_images
            row["passes"] = row["event_ms"] / row["ann_ms"]
            row["cpu_passes"] = row["event_cpu_ms"] / row["ann_cpu_ms"]
            rows.append(row)
    return rows


def measure_counting(runner: EventRunner, x: np.ndarray, n_rounds: int) -> float:
    """Return which part of the CPU time goes into counting synaptic operations."""
    stages = tuple(s for s in runner.plan.stages if not isinstance(s, OperationsStage))
    without = replace(runner, plan=replace(runner.plan, stages=stages), idle=[])
    shares = []
    for _ in range(3 * n_rounds):
        started = time.process_time()
        runner.run((x[:N_STEP_IMAGES],), N_STEPS)
        between = time.process_time()
        without.run((x[:N_STEP_IMAGES],), N_STEPS)
        shares.append((between - started) / (time.process_time() - between) - 1)
    return statistics.median(shares)


def measure_memory(folder: Path, all_steps: list[int]) -> list[dict[str, Any]]:
    """Return megabytes above what the imports take, by steps; each in a process of its own."""
    rows = []
    for steps in all_steps:
        command = [sys.executable, "-c", MEMORY, str(folder / "ours.snn"), str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append({"steps": steps, "megabytes": float(done.stdout)})
    return rows


def to_markdown(content: dict[str, Any]) -> str:
    """Return three tables: steps, batches, memory and counting."""
    setting, machine = content["setting"], content["machine"]
    found = {(row["steps"], row["threads"]): row for row in content["steps"]}
    megabytes = {row["steps"]: row["megabytes"] for row in content["memory"]}
    base = found[N_STEPS, 1]["event_cpu_ms"]
    lines = [
        f"`vgg`, event engine, {machine['cores']} cores of {machine['cpu']}, "
        f"{content['date'][:10]}; medians of {setting['rounds']} runs, taking turns. Other "
        f"programs kept {content['cores_busy_elsewhere']:.2f} cores busy meanwhile, which CPU time "
        "feels less than the clock.",
        "",
        "| T | 1 thread, ms per image | its CPU time | times that at T = 32 | 2 threads, ms | gain "
        "of 2 threads | memory above the imports, MB |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for t in megabytes:
        one, two = found[t, 1], found[t, 2]
        lines.append(
            f"| {t} | {one['event_ms']:.2f} | {one['event_cpu_ms']:.2f} | "
            f"{one['event_cpu_ms'] / base:.2f} | {two['event_ms']:.2f} | "
            f"{one['event_ms'] / two['event_ms']:.2f} | {megabytes[t]:.0f} |"
        )
    lines += [
        "",
        f"T = {N_STEPS}, {setting['images']} images, onnxruntime's pass with the same batch and "
        "threads:",
        "",
        "| batch | threads | ms per image | onnxruntime, ms | passes | CPU time, passes |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['batch']} | {row['threads']} | {row['event_ms']:.2f} | {row['ann_ms']:.3f} | "
        f"{row['passes']:.1f} | "
        + (f"{row['cpu_passes']:.1f} |" if row["threads"] == 1 else "|")  # the others spin
        for row in content["batches"]
    ]
    share = 100 * content["counting_share"]
    lines += ["", f"Counting synaptic operations takes {share:.1f} % of the CPU time."]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--rounds", type=click.IntRange(5), default=5, show_default=True)
@click.option("--max-steps", type=click.IntRange(N_STEPS), default=max(STEPS), show_default=True)
@click.option("--max-batch", type=click.IntRange(1), default=max(BATCHES), show_default=True)
def main(rounds: int, max_steps: int, max_batch: int) -> None:
    """Measure and write the results."""
    all_steps = [steps for steps in STEPS if steps <= max_steps]
    with tempfile.TemporaryDirectory(prefix="scaling-") as name:
        folder = Path(name)
        n_images = max(max_batch, N_BATCH_IMAGES)
        write_exchange(
            folder, network="vgg", n_steps=N_STEPS, n_images=n_images, batch_size=1, n_threads=1
        )
        with np.load(folder / "ann.npz", allow_pickle=False) as arrays:
            x = np.ascontiguousarray(arrays["x"].transpose(0, 2, 3, 1))
        busy, started = busy_elsewhere(), time.perf_counter()
        runners = make_runners(folder)
        steps = measure_steps(runners, x, rounds, all_steps)
        batches = measure_batches(runners, make_ann(folder), x, rounds)
        counting = measure_counting(runners[1], x, rounds)
        busy = (busy_elsewhere() - busy) / (time.perf_counter() - started)
        memory = measure_memory(folder, all_steps)
    content = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": describe_machine() | {"load_average_behind": os.getloadavg()[0]},
        "setting": {"network": "vgg", "images": n_images, "rounds": rounds},
        "cores_busy_elsewhere": busy,
        "steps": steps,
        "batches": batches,
        "counting_share": counting,
        "memory": memory,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "scaling.json"
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text(to_markdown(content), "utf-8")
    click.echo(to_markdown(content))
    reason = draw("draw_scaling", path)
    if reason:
        click.echo(f"no chart: {reason}", err=True)


if __name__ == "__main__":
    main()
