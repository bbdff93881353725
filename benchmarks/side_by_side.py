"""Our engines beside other tools: the same network, weights, steps, batch, threads and images.

    .venv/bin/python benchmarks/side_by_side.py [--wait MINUTES] [--attempts N]

Writes side_by_side.json, .md, .svg and .png into benchmarks/results. Every tool runs in a process
and an environment of its own (made on first use, under .cache/bench-envs), one after the other, on
the CPU. Before it is timed, its copy of the analog network must give our logits. A tool that cannot
be installed or run stays in the table, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from peers.common import busy_elsewhere
from peers.environments import InstallError, find_reason, make_environment
from peers.exchange import write_exchange
from peers.machine import PEERS, RESULTS, describe_machine, draw
from peers.tables import BUSY_CORES, to_markdown

from spikeport.converter.errors import SpikeportError

WORKER_SECONDS = 3600
QUIET_SECONDS = 5.0


@dataclass(frozen=True)
class Tool:
    """One row of the table.

    Attributes:
        label: For people.
        worker: Script in peers/, without suffix.
        environment: A key of ENVIRONMENTS; "" is the environment of this process.
        arguments: Of the worker, behind the folder.
    """

    label: str
    worker: str
    environment: str = ""
    arguments: tuple[str, ...] = ()


TOOLS: dict[str, Tool] = {
    "ann": Tool("onnxruntime, one float32 pass of the ANN", "run_onnxruntime", "onnxruntime"),
    "event": Tool("spikeport, event engine", "run_spikeport", arguments=("event",)),
    "spikingjelly": Tool(
        "SpikingJelly, step by step", "run_spikingjelly", "spikingjelly", ("s",)
    ),
    "spikingjelly-multi": Tool(
        "SpikingJelly, all steps of a layer at once", "run_spikingjelly", "spikingjelly", ("m",)
    ),
    "sinabs": Tool("sinabs", "run_sinabs", "sinabs"),
    "snntoolbox": Tool("SNN Toolbox", "run_snntoolbox", "snntoolbox"),
    "reference": Tool("spikeport, reference engine", "run_spikeport", arguments=("reference",)),
}  # fmt: skip


def run_tool(tool: Tool, folder: Path, n_threads: int) -> dict[str, Any]:
    """Return what a worker measured, or `failure`, the reason why it did not."""
    try:
        python = make_environment(tool.environment) if tool.environment else Path(sys.executable)
    except InstallError as error:
        return {"failure": f"not installed: {error}"}
    command = [str(python), str(PEERS / f"{tool.worker}.py"), str(folder), *tool.arguments]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=WORKER_SECONDS,
            env=_worker_environment(n_threads),
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"took more than {WORKER_SECONDS} seconds"}
    if done.returncode:
        return {"failure": find_reason(done.stderr)}
    return {**json.loads(done.stdout.splitlines()[-1]), "load_average_before": load}


def _worker_environment(n_threads: int) -> dict[str, str]:
    """Return variables that hold every library to the CPU and to the number of threads."""
    pools = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {
        **inherited,
        **{f"{pool}_NUM_THREADS": str(n_threads) for pool in pools},
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MPLBACKEND": "Agg",
    }


def run_undisturbed(
    tool: Tool, folder: Path, n_threads: int, *, minutes: float, attempts: int
) -> dict[str, Any]:
    """Return the first result that other processes did not disturb, else the least disturbed.

    Args:
        tool: What to run.
        folder: What it is given.
        n_threads: What it may use.
        minutes: To wait for a quiet machine before an attempt.
        attempts: At most so many.
    """
    rows: list[dict[str, Any]] = []
    for _ in range(attempts):
        wait_until_quiet(minutes)
        rows.append(run_tool(tool, folder, n_threads))
        if rows[-1].get("cores_busy_elsewhere", 0.0) <= BUSY_CORES:
            return rows[-1]
    return min(rows, key=lambda row: row["cores_busy_elsewhere"])


def wait_until_quiet(minutes: float) -> None:
    """Wait until other processes leave the machine alone, at most so long."""
    deadline = time.monotonic() + 60 * minutes
    while time.monotonic() < deadline:
        before = busy_elsewhere()
        time.sleep(QUIET_SECONDS)
        if busy_elsewhere() - before < BUSY_CORES * QUIET_SECONDS:
            return


@click.command()
@click.option("--network", default="vgg", show_default=True, help="A chain: vgg or lenet.")
@click.option("--tools", default=",".join(TOOLS), show_default=True)
@click.option("--steps", type=click.IntRange(1), default=32, show_default=True)
@click.option("--images", type=click.IntRange(1), default=512, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=128, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--wait", default=0.0, help="Minutes to wait for a quiet machine, before each tool.")
@click.option(
    "--attempts",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How often to measure a tool while other processes disturb it.",
)
@click.option("--output", type=click.Path(path_type=Path), default=RESULTS, help="Folder.")
def main(
    network: str,
    tools: str,
    steps: int,
    images: int,
    batch: int,
    threads: int,
    wait: float,
    attempts: int,
    output: Path,
) -> None:
    """Measure our engines and other tools, and write the table and the chart."""
    chosen = tools.split(",")
    unknown = [name for name in chosen if name not in TOOLS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]}, expected some of {', '.join(TOOLS)}")
    if images % batch:
        raise click.BadParameter(f"{images} images, expected a multiple of the batch of {batch}")
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as name:
        folder = Path(name)
        try:
            setting = write_exchange(
                folder,
                network=network,
                n_steps=steps,
                n_images=images,
                batch_size=batch,
                n_threads=threads,
            )
        except SpikeportError as error:
            raise click.ClickException(f"{error}\nHint: {error.hint}") from error
        for key in chosen:
            row = run_undisturbed(TOOLS[key], folder, threads, minutes=wait, attempts=attempts)
            rows[key] = {"label": TOOLS[key].label, **row}
            click.echo(_summarize(rows[key]))
    content = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": describe_machine(),
        "setting": setting,
        "tools": rows,
    }
    output.mkdir(parents=True, exist_ok=True)
    path = output / "side_by_side.json"
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text(to_markdown(content), "utf-8")
    reason = draw("draw_chart", path)
    if reason:
        click.echo(f"no chart: {reason}", err=True)


def _summarize(row: dict[str, Any]) -> str:
    if "failure" in row:
        return f"{row['label']}: {row['failure']}"
    return (
        f"{row['label']}: {row['ms_per_image']:.2f} ms per image, accuracy {row['accuracy']:.4f}, "
        f"{row['cores_busy_elsewhere']:.2f} cores busy with other things"
    )


if __name__ == "__main__":
    main()
