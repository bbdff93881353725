"""Measure what a Dask cluster on this machine costs against threads: writes results/cluster.json.

    .venv/bin/python benchmarks/cluster.py [--model vgg] [--n-steps 32] [--limit 10000]

A scheduler and workers of one thread each, as processes of their own on this machine, against as
many threads of this process: the same network, data and steps, in rounds that take turns. In the
end a worker is killed in the middle of a run. Every result is compared, in all its figures.
CPU time is that of all processes together, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.evaluate import Evaluation, evaluate
from spikeport.runtime.sweep.cluster import connect

RESULTS = Path(__file__).parent / "results" / "cluster.json"
DASK = (sys.executable, "-m", "dask")


def start(log: Path, *arguments: str, pattern: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a process that writes a log; return it and what the pattern finds in the log."""
    command = [*DASK, *arguments, "--no-dashboard"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stderr=file)
    while process.poll() is None:
        found = re.search(pattern, log.read_text("utf-8"))
        if found:
            return process, found[1]
        time.sleep(0.1)
    raise RuntimeError(log.read_text("utf-8"))


@contextlib.contextmanager
def running(n_workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Run a scheduler and workers of one thread each; yield the address, and all processes."""
    processes: list[subprocess.Popen[bytes]] = []
    folder = tempfile.TemporaryDirectory()
    try:
        address = r"at:\s+(tcp://\S+:\d+)"
        log = Path(folder.name) / "scheduler"
        options = ("--port", "0", "--host", "127.0.0.1")
        scheduler, found = start(log, "scheduler", *options, pattern=address)
        processes.append(scheduler)
        options = ("--nthreads", "1", "--no-nanny")
        for number in range(n_workers):
            log = Path(folder.name) / f"worker{number}"
            processes.append(start(log, "worker", found, *options, pattern="(Registered to)")[0])
        yield found, processes
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        folder.cleanup()


def cpu_seconds(processes: list[subprocess.Popen[bytes]]) -> float:
    """Return the CPU time so far of this process and of these."""
    times = [psutil.Process(process.pid).cpu_times() for process in processes]
    return time.process_time() + sum(each.user + each.system for each in times)


def figures(found: Evaluation) -> dict[str, Any]:
    """Return everything that a run gives, decisions of single samples included, but its time."""
    result = found.to_json(graph="", data="")
    return {key: value for key, value in result.items() if key != "seconds"}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="vgg")
    parser.add_argument("--n-steps", type=int, default=32)
    parser.add_argument("--limit", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    source = read(weights_path(chosen.model, ".onnx"))
    shapes = tuple(source.graph.types[name].shape for name in source.graph.inputs)
    calibration = load_data("fashion-mnist:train", shapes, limit=1000).inputs
    test = load_data("fashion-mnist:test", shapes, limit=chosen.limit)
    graph = convert(source, calibration, n_steps=chosen.n_steps).graph
    times: dict[str, list[tuple[float, float]]] = {"threads": [], "cluster": []}
    results = []

    def measure(
        options: dict[str, Any], progress: Callable[[int], None] = lambda n_done: None
    ) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), cpu_seconds(alive)
        results.append(
            figures(evaluate(graph, test.inputs, test.labels, progress=progress, **options))
        )
        return time.perf_counter() - wall, cpu_seconds(alive) - cpu

    with running(chosen.workers) as (address, processes), connect(address) as cluster:
        alive = list(processes)
        settings: dict[str, dict[str, Any]] = {
            "threads": {"n_threads": chosen.workers},
            "cluster": cluster.settings(graph, "event"),
        }
        for options in settings.values():  # compile, on every worker
            evaluate(graph, tuple(x[:600] for x in test.inputs), **options)
        for _ in range(chosen.repeats):
            for name, options in settings.items():
                times[name].append(measure(options))
                wall, cpu = times[name][-1]
                print(f"{name}: {wall:.2f} s, {cpu:.2f} s of CPU time", flush=True)
        victim = alive.pop()
        killed_at: list[int] = []

        def kill(n_done: int) -> None:
            if n_done >= len(test.inputs[0]) / 2 and not killed_at:
                victim.kill()
                killed_at.append(n_done)

        measure(settings["cluster"], kill)
    medians = {
        name: [statistics.median(values) for values in zip(*rounds, strict=True)]
        for name, rounds in times.items()
    }
    result = {
        **vars(chosen),
        "data": test.name,
        "accuracy": results[0]["accuracy"][-1],
        "wall_seconds": {
            name: [round(wall, 3) for wall, _ in each] for name, each in times.items()
        },
        "cpu_seconds": {name: [round(cpu, 3) for _, cpu in each] for name, each in times.items()},
        "overhead_wall": medians["cluster"][0] / medians["threads"][0] - 1,
        "overhead_cpu": medians["cluster"][1] / medians["threads"][1] - 1,
        "same_results": all(each == results[0] for each in results[:-1]),
        "killed_after_samples": killed_at,
        "same_result_with_a_worker_killed": results[-1] == results[0],
        "load_at_end": os.getloadavg()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "distributed": version("distributed"),
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
