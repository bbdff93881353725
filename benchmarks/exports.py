"""Measures exports on test images: ONNX in onnxruntime, C compiled by gcc, against our engines.

    .venv/bin/python benchmarks/exports.py

Writes benchmarks/results/exports.json and .md. What was measured before is kept; a network or a
number of images is measured again where it is asked for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
from peers.machine import describe_machine

from spikeport.converter.convert import convert
from spikeport.converter.exports.c import encode_c
from spikeport.converter.exports.onnx import encode_run
from spikeport.converter.ir import Graph, Quantize
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.engines.event import compile_graph
from spikeport.runtime.engines.reference import simulate

RESULTS = Path(__file__).parent / "results" / "exports.json"
SHAPES = ((28, 28, 1),)
BATCH = 50
MAIN = """#include <stdio.h>
#include <stdlib.h>
#include "net.h"
int main(int argc, char **argv)
{
    static int16_t input[NET_N_INPUTS];
    long i, n_steps = atol(argv[1]);
    (void)argc;
    while (fread(input, sizeof input, 1, stdin) == 1) {
        net_start(input);
        for (i = 0; i < n_steps; i++) {
            net_step();
            fwrite(net_sums, sizeof net_sums, 1, stdout);
        }
        fwrite(net_counts, sizeof net_counts, 1, stdout);
    }
    return 0;
}
"""


def measure_onnx(network: str, n_steps: int, n_images: int) -> dict[str, Any]:
    """Compare the decisions of onnxruntime and of the event engine, at every step."""
    import onnxruntime

    train = load_data("fashion-mnist:train", SHAPES, limit=1000)
    images = load_data("fashion-mnist:test", SHAPES, limit=n_images).inputs[0]
    graph = convert(weights_path(network), train.inputs, n_steps=n_steps).graph
    data = encode_run(graph).files[".onnx"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    runner = compile_graph(graph, n_threads=1)
    differ = np.zeros(n_steps, np.int64)
    largest, seconds = 0.0, 0.0
    for start in range(0, n_images, BATCH):
        batch = images[start : start + BATCH]
        expected = runner.run((batch,), n_steps).outputs[0]
        began = time.process_time()
        fed = {graph.inputs[0]: batch, "n_steps": np.array(n_steps)}
        (found,) = session.run([graph.outputs[0]], fed)
        seconds += time.process_time() - began
        differ += (found.argmax(axis=2) != expected.argmax(axis=2)).sum(axis=1)
        scale = np.abs(expected).max()
        largest = max(largest, float(np.abs(found - expected).max() / scale))
    return {
        "recipe": "rate",
        "n_steps": n_steps,
        "n_images": n_images,
        "bytes": len(data),
        "decisions": n_images * n_steps,
        "different_decisions": int(differ.sum()),
        "different_at_the_end": int(differ[-1]),
        "largest_relative_error": largest,
        "cpu_ms_per_image": 1000 * seconds / n_images,
    }


def measure_c(network: str, n_levels: int, n_images: int) -> dict[str, Any]:
    """Compare counts of all neurons, and sums of outputs at every step, of the compiled program."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return {"failure": "there is no gcc on this machine"}
    train = load_data("fashion-mnist:train", SHAPES, limit=1000)
    images = load_data("fashion-mnist:test", SHAPES, limit=n_images).inputs[0]
    graph = convert(weights_path(network), train.inputs, n_steps=n_levels, recipe="integer").graph
    n_steps = graph.metadata["schedule"]["n_steps"]
    (quantize,) = (node.op for node in graph.nodes if isinstance(node.op, Quantize))
    with tempfile.TemporaryDirectory(prefix="export-c-") as name:
        folder = Path(name)
        files = encode_c(graph, "net").files
        for suffix, data in files.items():
            (folder / f"net{suffix}").write_bytes(data)
        (folder / "main.c").write_text(MAIN, "utf-8")
        flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-DSPIKEPORT_COUNT"]
        command = [gcc, *flags, "net.c", "main.c", "-o", "net"]
        subprocess.run(command, cwd=folder, check=True)
        began = time.perf_counter()
        done = subprocess.run(
            [folder / "net", str(n_steps)],
            input=quantize.apply(images).astype(np.int16).tobytes(),
            capture_output=True,
            check=True,
        )
        seconds = time.perf_counter() - began
        header = files[".h"].decode()
    sizes = {
        key: int(header.split(f"NET_{key} ")[1].split()[0]) for key in ("RAM_BYTES", "FLASH_BYTES")
    }
    return {
        "recipe": "integer",
        "n_levels": n_levels,
        "n_steps": n_steps,
        "n_images": n_images,
        **_compare(graph, images, n_steps, done.stdout),
        "ram_bytes": sizes["RAM_BYTES"],
        "constant_bytes": sizes["FLASH_BYTES"],
        "ms_per_image": 1000 * seconds / n_images,
    }


def _compare(graph: Graph, images: np.ndarray, n_steps: int, output: bytes) -> dict[str, Any]:
    n_outputs = graph.types[graph.outputs[0]].size
    found = np.frombuffer(output, np.int32).reshape(len(images), -1)
    sums = np.ascontiguousarray(found[:, : 2 * n_steps * n_outputs]).view(np.int64)
    sums = sums.reshape(len(images), n_steps, n_outputs)
    counts = found[:, 2 * n_steps * n_outputs :]
    different = decisions = spikes = 0
    for start in range(0, len(images), BATCH):
        part = slice(start, start + BATCH)
        expected = simulate(graph, (images[part],), n_steps)
        wanted = [count.reshape(len(images[part]), -1) for count in expected.spike_counts.values()]
        different += int((np.concatenate(wanted, axis=1) != counts[part]).sum())
        spikes += int(sum(np.abs(each).sum() for each in wanted))
        chosen = expected.outputs[0].argmax(axis=2).T
        decisions += int((sums[part].argmax(axis=2) != chosen).sum())
    return {
        "counts": int(counts.size),
        "spikes": spikes,
        "different_counts": different,
        "different_decisions": decisions,
    }


def to_markdown(results: dict[str, Any]) -> str:
    """Return both tables."""
    lines = [
        "ONNX in onnxruntime, recipe `rate`, Fashion-MNIST test images, every step compared with "
        "the event engine:",
        "",
        "| network | T | images | decisions compared | different | largest relative error of an "
        "output | file, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in results["onnx"].items():
        lines.append(
            f"| {name} | {row['n_steps']} | {row['n_images']} | {row['decisions']:,} | "
            f"{row['different_decisions']} | {row['largest_relative_error']:.1e} | "
            f"{row['bytes'] / 1e6:.2f} |"
        )
    lines += [
        "",
        "C99, gcc -O2, recipe `integer`, every neuron's count and every step's decision compared "
        "with the reference engine:",
        "",
        "| network | T per layer | steps | images | counts compared | different | different "
        "decisions | static RAM, KB | constants, KB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in results["c"].items():
        if "failure" in row:
            lines.append(f"| {name} | {row['failure']} |")
            continue
        lines.append(
            f"| {name} | {row['n_levels']} | {row['n_steps']} | {row['n_images']} | "
            f"{row['counts']:,} | {row['different_counts']} | {row['different_decisions']} | "
            f"{row['ram_bytes'] / 1e3:.1f} | {row['constant_bytes'] / 1e3:.1f} |"
        )
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--networks", default="lenet,vgg,resnet", show_default=True)
@click.option("--formats", default="onnx,c", show_default=True)
@click.option("--steps", default=32, show_default=True, help="T of the ONNX models.")
@click.option("--levels", default=4, show_default=True, help="T per layer of the C programs.")
@click.option("--onnx-images", default=200, show_default=True)
@click.option("--c-images", default=100, show_default=True)
def main(
    networks: str, formats: str, steps: int, levels: int, onnx_images: int, c_images: int
) -> None:
    """Measure, and write the results."""
    results: dict[str, Any] = {"onnx": {}, "c": {}}
    if RESULTS.exists():
        results = json.loads(RESULTS.read_text("utf-8"))
    for network in networks.split(","):
        for name in formats.split(","):
            if name == "onnx":
                results["onnx"][network] = measure_onnx(network, steps, onnx_images)
            else:
                results["c"][network] = measure_c(network, levels, c_images)
            click.echo(f"{network} {name} {results[name][network]}")
            results["date"] = datetime.now(UTC).isoformat(timespec="minutes")
            results["machine"] = describe_machine()
            packages = ("spikeport", "numpy", "onnxruntime")
            results["versions"] = {package: version(package) for package in packages}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
            RESULTS.with_suffix(".md").write_text(to_markdown(results), "utf-8")


if __name__ == "__main__":
    main()
