"""What every worker shares: reading what it is given, checking its network, timing, reporting.

A worker runs in its tool's own environment: it may import the standard library and numpy only.
Its first argument is the folder that `exchange.write_exchange` filled; the last line that it prints
on standard output is its result, as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

LOGIT_TOLERANCE = 1e-4
"""Largest difference to our logits, relative to the largest logit."""
MIN_RUNS = 5
MIN_RUNS_IF_LONG = 3
LONG_RUN_SECONDS = 60.0
MIN_SECONDS = 3.0
MAX_RUNS = 40


@dataclass(frozen=True)
class Task:
    """What a worker is given.

    Attributes:
        folder: Where the files lie.
        n_steps: T.
        batch_size: Images that are handed to the tool at a time.
        n_threads: Threads that the tool may use.
        layers: First to last, see `exchange`.
        arrays: Weights and biases, x [N, C, H, W], y [N], calibration [N, C, H, W], logits [N, K].
    """

    folder: Path
    n_steps: int
    batch_size: int
    n_threads: int
    layers: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]

    @property
    def x(self) -> np.ndarray:
        """Test images, [N, C, H, W]."""
        return self.arrays["x"]

    @property
    def x_channels_last(self) -> np.ndarray:
        """Test images, [N, H, W, C]."""
        return np.ascontiguousarray(self.x.transpose(0, 2, 3, 1))

    def batches(self, images: Any) -> list[Any]:
        """Return images, or anything else with the samples first, cut into batches."""
        return [images[n : n + self.batch_size] for n in range(0, len(images), self.batch_size)]


@dataclass
class Clock:
    """Seconds of the timed runs, and how much the rest of the machine did meanwhile."""

    seconds: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def time(self, run: Callable[[], Any]) -> Any:
        """Return what `run` gives and keep how long it took."""
        cores, started = busy_elsewhere(), time.perf_counter()
        result = run()
        self.add(time.perf_counter() - started, busy_elsewhere() - cores)
        return result

    def add(self, seconds: float, busy_seconds: float) -> None:
        """Keep one run: its time, and the CPU time that other processes took during it."""
        self.seconds.append(seconds)
        self.others.append(max(0.0, busy_seconds) / seconds)

    @property
    def needs_more(self) -> bool:
        """Whether the median is to be taken over more runs."""
        n_runs, longest = len(self.seconds), max(self.seconds, default=0.0)
        if n_runs < (MIN_RUNS_IF_LONG if longest > LONG_RUN_SECONDS else MIN_RUNS):
            return True
        return sum(self.seconds) < MIN_SECONDS and n_runs < MAX_RUNS


def load_task() -> Task:
    """Read the folder that the command line names, and hold libraries to its number of threads."""
    folder = Path(sys.argv[1])
    with np.load(folder / "ann.npz", allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    settings = json.loads(str(arrays.pop("settings")))
    return Task(folder, arrays=arrays, **settings)


def check_logits(task: Task, logits: np.ndarray) -> float:
    """Return the relative error of a tool's analog network; end the worker where it is another one.

    Args:
        task: Holds our logits.
        logits: The tool's, [N, K], of all test images.
    """
    expected = task.arrays["logits"]
    error = float(np.abs(logits - expected).max() / np.abs(expected).max())
    if not error <= LOGIT_TOLERANCE:
        sys.exit(
            f"Error: logits differ from ours by {error:.1e} relative, expected at most "
            f"{LOGIT_TOLERANCE:.0e}"
        )
    return error


def measure(run: Callable[[], np.ndarray]) -> tuple[np.ndarray, Clock]:
    """Run once to warm up, then until the median can be trusted; return decisions and times.

    A run over LONG_RUN_SECONDS is warm for most of its time: there, the first one counts too.

    Args:
        run: Simulates all test images and returns their classes, [N].
    """
    clock = Clock()
    decisions = clock.time(run)
    if clock.seconds[0] <= LONG_RUN_SECONDS:
        clock = Clock()
    while clock.needs_more:
        if not np.array_equal(clock.time(run), decisions):
            sys.exit("Error: two runs on the same images gave different decisions")
    return decisions, clock


def report(
    task: Task,
    clock: Clock,
    decisions: np.ndarray,
    logit_error: float,
    *,
    packages: tuple[str, ...],
    note: str = "",
    **more: Any,
) -> None:
    """Print the line of JSON that the driver reads.

    Args:
        task: What was run.
        clock: Times of whole runs over the test images.
        decisions: Classes, [N].
        logit_error: What `check_logits` gave.
        packages: Distributions whose versions are worth knowing.
        note: How the tool was used, for the table.
        more: Further figures.
    """
    n_images = len(task.x)
    median = statistics.median(clock.seconds)
    if max(clock.seconds) > LONG_RUN_SECONDS and len(clock.seconds) < MIN_RUNS:
        few = f"median of {len(clock.seconds)} runs: one takes over {LONG_RUN_SECONDS:.0f} s"
        note = f"{note}; {few}" if note else few
    line = {
        "seconds": median,
        "ms_per_image": 1000 * median / n_images,
        "runs": [round(seconds, 4) for seconds in clock.seconds],
        "cores_busy_elsewhere": round(statistics.median(clock.others), 3),
        "accuracy": float(np.mean(decisions == task.arrays["y"])),
        "agreement": float(np.mean(decisions == task.arrays["logits"].argmax(axis=1))),
        "logit_error": logit_error,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "note": note,
        **more,
    }
    print(json.dumps(line), flush=True)


def busy_elsewhere() -> float:
    """Return seconds of CPU time that the machine spent outside this process; 0 if unknown."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, irq, soft_irq, steal, *_ = map(
                int, file.readline().split()[1:]
            )
    except (OSError, ValueError):
        return 0.0
    busy = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    return busy - own.user - own.system
