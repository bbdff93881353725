"""Time and peak memory of reading and checking a large network: ResNet-50, 25.6 M parameters.

    .venv/bin/python benchmarks/reading.py [--repeats N]

Writes benchmarks/results/reading.json. Every measurement is a fresh process; the memory that the
imports take is measured in one that only imports.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click

RESULTS = Path(__file__).parent / "results"

BUILD = """
import sys, keras
model = keras.applications.ResNet50(weights=None)
for path in sys.argv[1:]:
    model.save(path)
print(4 * model.count_params())
"""
IMPORTS = "import h5py, spikeport.converter.frontends.keras, spikeport.converter.check"
READ = f"{IMPORTS}, sys\nfrom spikeport.converter.frontends import read\nread(sys.argv[1])"
PEAK = """
import re
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""
"""In KiB, on Linux only. A new process starts with the `ru_maxrss` of the one that made it."""


def run(*command: str) -> tuple[str, float, float]:
    """Return what a command prints, its seconds, and those of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, env=environment)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, seconds, cpu


def measure(path: Path, weight_bytes: int, repeats: int) -> dict:
    """Return median seconds of reading and checking a file, and the memory that reading takes."""
    spikeport = str(Path(sys.executable).with_name("spikeport"))
    rows: dict[str, list[float]] = {}
    for _ in range(repeats):
        base, *_ = run(sys.executable, "-c", IMPORTS + PEAK)
        peak, read_seconds, read_cpu = run(sys.executable, "-c", READ + PEAK, str(path))
        _, check_seconds, check_cpu = run(spikeport, "check", str(path))
        values = {
            "read_seconds": read_seconds,
            "read_cpu_seconds": read_cpu,
            "check_seconds": check_seconds,
            "check_cpu_seconds": check_cpu,
            "import_mib": int(base) / 1024,
            "peak_mib": int(peak) / 1024,
            "memory_per_weights": (int(peak) - int(base)) * 1024 / weight_bytes,
        }
        for key, value in values.items():
            rows.setdefault(key, []).append(value)
    return {key: round(statistics.median(values), 3) for key, values in rows.items()}


@click.command(help=__doc__)
@click.option("--repeats", default=3, type=click.IntRange(1))
def main(repeats: int) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"resnet50{suffix}" for suffix in (".keras", ".h5")]
        printed, *_ = run(sys.executable, "-c", BUILD, *map(str, paths))
        weight_bytes = int(printed.split()[-1])
        load = os.getloadavg()[0]
        found = {path.suffix: measure(path, weight_bytes, repeats) for path in paths}
    result = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "repeats": repeats,
        "network": "keras.applications.ResNet50",
        "weight_bytes": weight_bytes,
        "files": found,
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(result, indent=1)
    (RESULTS / "reading.json").write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
