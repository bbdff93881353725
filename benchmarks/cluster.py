"""Measure what a Dask cluster on this machine costs against threads: writes results/cluster.json.

The same network, data, steps and number of threads, alternating; every result is compared.
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
import time
from collections.abc import Iterator
from pathlib import Path

from spikeport.converter.convert import convert
from spikeport.converter.frontends import read
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.evaluate import evaluate
from spikeport.runtime.sweep.cluster import connect

RESULTS = Path(__file__).parent / "results" / "cluster.json"
DASK = Path(sys.executable).with_name("dask")


def start(*arguments: str, pattern: str) -> tuple[subprocess.Popen[str], str]:
    """Start a process; return it and what the pattern finds in its log."""
    command = [str(DASK), *arguments, "--no-dashboard"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.stderr is not None:
        found = re.search(pattern, process.stderr.readline())
        if found:
            return process, found[1]
    raise RuntimeError(command)


@contextlib.contextmanager
def running(n_workers: int) -> Iterator[str]:
    """Run a scheduler and workers of one thread each; yield the scheduler's address."""
    processes = []
    try:
        address = r"at:\s+(tcp://\S+:\d+)"
        scheduler, found = start("scheduler", "--port", "0", "--host", "127.0.0.1", pattern=address)
        processes.append(scheduler)
        for _ in range(n_workers):
            options = ("--nthreads", "1", "--no-nanny")
            processes.append(start("worker", found, *options, pattern="(Registered to)")[0])
        yield found
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vgg")
    parser.add_argument("--n-steps", type=int, default=32)
    parser.add_argument("--limit", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    source = read(weights_path(chosen.model))
    shapes = tuple(source.graph.types[name].shape for name in source.graph.inputs)
    calibration = load_data("fashion-mnist:train", shapes, limit=1000).inputs
    test = load_data("fashion-mnist:test", shapes, limit=chosen.limit)
    graph = convert(source, calibration, n_steps=chosen.n_steps).graph
    seconds: dict[str, list[float]] = {"threads": [], "cluster": []}
    accuracies = set()
    with running(chosen.workers) as address, connect(address) as cluster:
        settings = {
            "threads": {"n_threads": chosen.workers},
            "cluster": cluster.settings(graph, "event"),
        }
        for options in settings.values():  # compile
            evaluate(graph, tuple(x[:8] for x in test.inputs), **options)
        for _ in range(chosen.repeats):
            for name, options in settings.items():
                started = time.perf_counter()
                found = evaluate(graph, test.inputs, test.labels, **options)
                seconds[name].append(time.perf_counter() - started)
                accuracies.add(found.accuracy)
                print(name, f"{seconds[name][-1]:.2f} s", flush=True)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    result = {
        **vars(chosen),
        "data": test.name,
        "seconds": seconds,
        "overhead": medians["cluster"] / medians["threads"] - 1,
        "same_results": len(accuracies) == 1,
        "load_at_end": os.getloadavg()[0],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"overhead {100 * result['overhead']:.1f} %, the same results: {result['same_results']}")


if __name__ == "__main__":
    main()
