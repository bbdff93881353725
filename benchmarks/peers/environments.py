"""ENVIRONMENTS: what every tool of the comparison needs, and how its environment is made.

Each tool has a virtual environment of its own, kept under .cache/bench-envs and made again when its
list of packages changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".cache" / "bench-envs"
INSTALL_SECONDS = 1800
REASON_LENGTH = 300


class InstallError(Exception):
    """A tool's environment cannot be made; the message is the reason, one line."""


@dataclass(frozen=True)
class Environment:
    """Packages of one environment.

    Attributes:
        packages: Requirements, installed together with all they ask for.
        alone: Requirements installed after that without what they ask for, because they ask for
            more than a simulation needs, or for versions that no longer fit together.
        python: Newest minor version of Python 3 that has these packages; None is any.
    """

    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()
    python: int | None = None


ENVIRONMENTS: dict[str, Environment] = {
    "onnxruntime": Environment((f"onnxruntime=={version('onnxruntime')}", "numpy")),
    "spikingjelly": Environment(
        (
            "torch==2.13.0", "numpy", "loguru", "h5py", "matplotlib", "requests", "scipy", "tqdm",
            "SciencePlots", "tensorboard",
        ),
        ("spikingjelly==2.0.0",),
    ),
    "snntoolbox": Environment(
        ("tensorflow-cpu==2.12.0", "numpy<1.24"), ("snntoolbox==0.6.0",), python=11
    ),
    "sinabs": Environment(
        ("torch==2.13.0", "numpy", "matplotlib", "pbr", "samna", "nir==1.0.4", "nirtorch==2.0.2"),
        ("sinabs==3.1.3",),
    ),
    # its data sets and preprocessors ask for more than its metrics need
    "neurobench": Environment(
        ("torch==2.13.0", "numpy", "tqdm", "snntorch==1.0.0"), ("neurobench==2.3.0",)
    ),
    "norse": Environment(
        ("torch==2.13.0", "numpy", "nir==1.0.4", "nirtorch==2.0.2"), ("norse==1.1.0",)
    ),
    "snntorch": Environment(
        ("torch==2.13.0", "numpy", "nir==1.0.8", "nirtorch==2.0.2"), ("snntorch==1.0.0",)
    ),
    "plot": Environment(("matplotlib",)),
}  # fmt: skip


def make_environment(name: str) -> Path:
    """Return the Python of an environment; make the environment if it is missing or has changed.

    Args:
        name: A key of ENVIRONMENTS.

    Raises:
        InstallError: This Python is too new for it, or a package cannot be installed.
    """
    environment = ENVIRONMENTS[name]
    minor = sys.version_info.minor
    if environment.python is not None and minor > environment.python:
        raise InstallError(
            f"its packages need Python 3.{environment.python} or older, this is Python 3.{minor}"
        )
    folder = FOLDER / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    record = folder / "installed.json"
    wanted = json.dumps([sys.version, environment.packages, environment.alone])
    if record.is_file() and record.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, *environment.packages])
    if environment.alone:
        _run([*install, "--no-deps", *environment.alone])
    record.write_text(wanted, "utf-8")
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"installing it took more than {INSTALL_SECONDS} seconds") from error
    if done.returncode:
        raise InstallError(find_reason(done.stderr or done.stdout))


def find_reason(text: str) -> str:
    """Return the line that says why a command failed: the last error, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no reason given"])[-1][:REASON_LENGTH]
