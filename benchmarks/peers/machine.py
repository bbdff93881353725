"""What every benchmark shares: where results go, the machine they come from, drawing them."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from .environments import InstallError, find_reason, make_environment

RESULTS = Path(__file__).parents[1] / "results"
PEERS = Path(__file__).parent
DRAW_SECONDS = 600


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [line for line in info.read_text("utf-8").splitlines() if "model name" in line]
        model = named[0].partition(":")[2].strip() if named else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def draw(worker: str, path: Path) -> str:
    """Draw a chart beside a JSON file; return why there is none, or "".

    Args:
        worker: Script in peers/, without suffix; it runs in the environment `plot`.
        path: Of the JSON file.
    """
    try:
        python = make_environment("plot")
    except InstallError as error:
        return str(error)
    command = [str(python), str(PEERS / f"{worker}.py"), str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DRAW_SECONDS, check=False
    )
    return find_reason(done.stderr) if done.returncode else ""
