"""Damaged and hostile files: refused, or read as the source's framework reads them.

Reading and the framework run in processes of their own (worker.py), with limits on memory and time.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikeport.converter.equality import TOLERANCE, relative_error

from .mutations import MUST_REFUSE, MUTATIONS
from .seeds import write_secrets, write_seeds

SECONDS = 10
"""Of the processor, for one file."""
PATIENCE = 60
"""Seconds on the wall until a process counts as hanging: the machine may be busy."""
N_FILES = {".onnx": 800, ".keras": 450, ".h5": 450, ".snn": 300}
FEW = 10
"""One file in so many is in the quick part."""


class Worker:
    """A process of worker.py, started again if it ends or hangs."""

    def __init__(self, kind: str, seeds: tuple[Path, ...]) -> None:
        self.kind, self.seeds = kind, seeds
        self.start()

    def start(self) -> None:
        self.connection, other = multiprocessing.Pipe()
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("worker.py"), self.kind, f"{other.fileno()}"],
            pass_fds=[other.fileno()],
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3",
                 "CUDA_VISIBLE_DEVICES": "-1"},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        other.close()
        self.connection.send(self.seeds)
        assert self.connection.recv() == "ready"

    def ask(self, *request: object) -> dict[str, Any]:
        """Return the worker's answer; `crash` says how it ended without one."""
        self.connection.send(request)
        try:
            if self.connection.poll(PATIENCE):
                answer: dict[str, Any] = self.connection.recv()
                return answer
            how = f"no answer after {PATIENCE} seconds"
        except EOFError:
            how = f"ended with {self.process.wait()}"
        self.stop()
        self.start()
        return {"crash": how}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, ...]]:
    return write_seeds(tmp_path_factory.mktemp("seeds"))


@contextlib.contextmanager
def workers(suffix: str, seeds: tuple[Path, ...]) -> Iterator[tuple[Worker, Worker | None]]:
    with contextlib.ExitStack() as stack:
        made = []
        for kind in ("reader",) if suffix == ".snn" else ("reader", "framework"):
            made.append(Worker(kind, seeds))
            stack.callback(made[-1].stop)
        yield made[0], made[1] if len(made) > 1 else None


def judge(answer: dict[str, Any], path: Path, mutation: str, framework: Worker | None) -> str:
    """Return how the file went; what must not happen raises AssertionError."""
    assert "crash" not in answer, answer
    assert "defect" not in answer, answer["defect"]
    assert answer["seconds"] < SECONDS
    if "refused" in answer:
        kind, _, message = answer["refused"].partition(": ")
        assert message.startswith(str(path)), message
        return f"refused ({kind})"
    assert mutation not in MUST_REFUSE, "was read"
    assert framework is not None
    if not answer["runs"]:
        return "read, but too large to run here"
    true = framework.ask(path, answer["inputs"])
    if "crash" in true:
        return "read, but the framework crashed"
    assert "defect" not in true, true["defect"]
    if "refused" in true:
        return "read, but refused by the framework"
    for expected, found in zip(true["outputs"], answer["outputs"], strict=True):
        if not np.isfinite(expected).all():
            return "read, but too large for float32"
        error = relative_error(expected, found)
        assert error < TOLERANCE, f"misread: {expected} and {found}, {true['how']}"
    return "equal"


@pytest.mark.parametrize("part", ["few", pytest.param("rest", marks=pytest.mark.slow)])
@pytest.mark.parametrize("suffix", N_FILES)
def test_damaged_files(
    suffix: str, part: str, seeds: dict[str, tuple[Path, ...]], tmp_path: Path
) -> None:
    n_few = N_FILES[suffix] // FEW
    numbers = range(n_few) if part == "few" else range(n_few, N_FILES[suffix])
    write_secrets(tmp_path)
    folder, outcomes, failures = tmp_path / "model", Counter[str](), []
    with workers(suffix, seeds[suffix]) as (reader, framework):
        for number in numbers:
            r = random.Random(f"{suffix} {number}")
            seed = r.choice(seeds[suffix])
            shutil.copytree(seed.parent, folder)
            path = folder / seed.name
            mutate = r.choice(MUTATIONS[suffix])
            mutate(path, r)
            if path.read_bytes() == seed.read_bytes():
                outcomes["unchanged"] += 1
            else:
                try:
                    outcomes[judge(reader.ask(path), path, mutate.__name__, framework)] += 1
                except AssertionError as error:
                    kept = shutil.copytree(folder, tmp_path / f"{number}")
                    failures.append(f"{kept} {mutate.__name__}: {error}"[:1500])
            shutil.rmtree(folder)
    assert not failures, "\n".join((*failures, str(outcomes)))
    assert outcomes["unchanged"] < 0.1 * len(numbers)
    assert outcomes["read, but too large to run here"] < 0.03 * len(numbers)
    if suffix != ".snn":
        assert outcomes["equal"] > 0.05 * len(numbers)  # else nothing was compared
