"""Binary weights: our kernels of AND and population count against onnxruntime's float32.

    .venv/bin/python benchmarks/binary.py [--network FILE.snn] [--rounds N]

Layers: 3x3 convolution and neurons with random spikes, weights of one bit and, for comparison, of
float32, against onnxruntime's convolution. Network: vgg with binary weights and activations, T = 1,
first and last layer float32, against onnxruntime's pass of the shipped vgg. Without --network its
weights are random: time and size of a trained one are the same. One thread, CPU times, in turns,
medians. Writes binary.json and .md into benchmarks/results.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
from layers import N_INPUTS, N_STEPS, _time, draw_spikes, make_ours, make_theirs, make_weight
from peers.machine import RESULTS, describe_machine

from spikeport.converter.convert import convert
from spikeport.converter.exports.snn import read_snn, write_snn
from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import AveragePool, Conv, Dense, Flatten, Input, Reshape
from spikeport.models.datasets import load_data
from spikeport.models.registry import weights_path
from spikeport.runtime.engines.event import compile_graph

SHAPES = ((28, 32, 32), (14, 64, 64), (16, 128, 128), (8, 256, 256))
RATES = (0.02, 0.05, 0.1, 0.2, 0.5)
N_IMAGES = 256
TARGETS = {"layer": 4, "network": 2.5, "size": 20}


def measure_layer(shape: tuple[int, int, int], rate: float, n_rounds: int) -> dict[str, Any]:
    """Return milliseconds per step of both kinds of weights and of onnxruntime."""
    size, n_in, n_out = shape
    weight = make_weight(n_in, n_out)
    signs = np.where(weight < 0, np.float32(-1), np.float32(1))
    convolve = make_theirs(size, weight)
    x = np.random.default_rng(0).random((N_STEPS, n_in, size, size), np.float32)
    times: dict[str, list[float]] = {"bits": [], "float": [], "onnxruntime": []}
    ours = {"bits": make_ours(size, signs), "float": make_ours(size, weight)}
    shape_ = ours["bits"][2].layers["before"].shape
    spikes = [draw_spikes(shape_, n_in, rate, seed) for seed in range(N_INPUTS)]
    for number in range(n_rounds):
        for key, (_, stage, memory) in ours.items():
            memory.layers["before"][:] = spikes[number % N_INPUTS]
            stage.begin(memory)
            times[key].append(_time(lambda s=stage, m=memory: s.run(m, N_STEPS)))
        times["onnxruntime"].append(_time(lambda: convolve(x)))
    found = {key: 1000 * statistics.median(part[1:]) / N_STEPS for key, part in times.items()}
    return {"shape": shape, "rate": rate, "ms": found}


def random_vgg() -> Graph:
    """Return vgg's shape with binary weights and activations; first and last layer are float32."""
    random = np.random.default_rng(0)
    nodes = [Node("x", Input((28, 28, 1))), Node("image", Reshape((1, 28, 28)), ("x",))]

    def add(name: str, op: Any) -> None:
        nodes.append(Node(name, op, (nodes[-1].name,)))

    def fire(name: str, *shape: int, threshold: float) -> None:
        limits = np.maximum(1, np.round(random.normal(threshold, 2, shape)))
        add(name, IntegrateFire(limits, 0 * limits))

    def convolve(name: str, n_in: int, n_out: int, *, is_binary: bool = True) -> None:
        shape = (n_out, n_in, 3, 3)
        weight = random.choice([-1, 1], shape) if is_binary else random.normal(0, 0.5, shape)
        bias = np.round(random.normal(0, 2, n_out)) * is_binary
        add(name, Conv(weight, bias, (1, 1), (1, 1), ((1, 1),) * 2))
        fire(f"{name}_fire", n_out, 1, 1, threshold=2 if is_binary else 1)

    def pool(name: str) -> None:
        add(name, AveragePool((2, 2), (2, 2), ((0, 0),) * 2, False))

    convolve("conv1", 1, 32, is_binary=False)
    convolve("conv2", 32, 32)
    pool("pool1")
    convolve("conv3", 32, 64)
    convolve("conv4", 64, 64)
    pool("pool2")
    add("flat", Flatten())
    add("dense1", Dense(random.choice([-1, 1], (256, 3136)), np.zeros(256)))
    fire("dense1_fire", 256, threshold=4)
    add("logits", Dense(random.normal(0, 0.1, (10, 256)), np.zeros(10)))
    return Graph(tuple(nodes), ("x",), ("logits",), {"n_steps": 1})


def measure_network(graph: Graph, n_rounds: int) -> dict[str, Any]:
    """Return milliseconds per image of the network and of vgg's float32 pass, and file sizes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = weights_path("vgg", ".onnx")
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    images = load_data("fashion-mnist:test", ((28, 28, 1),), shipped=True, limit=N_IMAGES).inputs
    n_images = len(images[0])
    fed = {session.get_inputs()[0].name: images[0]}
    runner = compile_graph(graph)
    ours, theirs = [], []
    for _ in range(n_rounds):
        theirs.append(_time(lambda: session.run(None, fed)))
        ours.append(_time(lambda: runner.run(images, 1)))
    simulation = runner.run(images, 1, count_spikes=True)
    rates = {
        name: float(counts.mean()) for name, counts in simulation.spike_counts.items()
    }  # of one step
    calibration = load_data("fashion-mnist:train", ((28, 28, 1),), shipped=True, limit=100)
    float_graph = convert(path, calibration.inputs, n_steps=32).graph
    with tempfile.TemporaryDirectory(prefix="binary-") as name:
        sizes = []
        for number, written in enumerate((graph, float_graph)):
            target = Path(name) / f"{number}.snn"
            write_snn(written, target)
            sizes.append(target.stat().st_size)
    event, ann = (1000 * statistics.median(times[1:]) / n_images for times in (ours, theirs))
    return {
        "event_ms": event,
        "onnxruntime_ms": ann,
        "times_faster": ann / event,
        "n_images": n_images,
        "rates": rates,
        "bytes": sizes[0],
        "float_bytes": sizes[1],
        "times_smaller": sizes[1] / sizes[0],
    }


def to_markdown(content: dict[str, Any]) -> str:
    """Return the tables."""
    setting, network = content["setting"], content["network"]
    rates = " | ".join(f"{100 * rate:g} %" for rate in setting["rates"])
    lines = [
        f"One thread of {content['machine']['cpu']}, {content['date'][:10]}, CPU times in turns, "
        f"medians of {setting['rounds'] - 1}: how many times less than onnxruntime's float32 "
        f"({setting['onnxruntime']}).",
        "",
        f"3x3 convolution and neurons, a step of {N_STEPS}, by firing rate:",
        "",
        f"| layer | weights | {rates} |",
        "|---|---" + "|---:" * len(setting["rates"]) + "|",
    ]
    for size, n_in, n_out in setting["shapes"]:
        rows = [row for row in content["rows"] if row["shape"] == [size, n_in, n_out]]
        dense = statistics.median(row["ms"]["onnxruntime"] for row in rows)
        for key, label in (("bits", "one bit"), ("float", "float32")):
            cells = " | ".join(f"{dense / row['ms'][key]:.1f}" for row in rows)
            lines.append(f"| {size}x{size}, {n_in} -> {n_out} | {label} | {cells} |")
    lines += [
        "",
        f"vgg, binary weights and activations (first and last layer float32), T = 1, "
        f"{setting['network']}, {network['n_images']} images: {network['event_ms']:.3f} ms per "
        f"image, {network['times_faster']:.1f} times less than onnxruntime's pass of the float32 "
        f"network ({network['onnxruntime_ms']:.3f} ms). Its file has {network['bytes']:,} bytes, "
        f"{network['times_smaller']:.1f} times less than that of the converted float32 network.",
    ]
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--network", type=click.Path(path_type=Path, exists=True), help="A .snn file.")
@click.option("--rounds", type=click.IntRange(6), default=21, show_default=True)
def main(network: Path | None, rounds: int) -> None:
    """Measure and write the results."""
    rows = []
    for shape in SHAPES:
        for rate in RATES:
            row = measure_layer(shape, rate, rounds)
            rows.append(row)
            dense = row["ms"]["onnxruntime"]
            click.echo(
                f"{shape} {100 * rate:g} %: one bit {dense / row['ms']['bits']:.2f} times, "
                f"float32 {dense / row['ms']['float']:.2f} times"
            )
    graph = read_snn(network) if network else random_vgg()
    measured = measure_network(graph, rounds)
    click.echo(
        f"vgg: {measured['times_faster']:.2f} times faster, target {TARGETS['network']}; "
        f"{measured['times_smaller']:.1f} times smaller, target {TARGETS['size']}"
    )
    content = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": describe_machine(),
        "setting": {
            "shapes": SHAPES,
            "rates": RATES,
            "rounds": rounds,
            "network": network.name if network else "random weights",
            "onnxruntime": f"onnxruntime {version('onnxruntime')}",
        },
        "rows": rows,
        "network": measured,
    }
    content = json.loads(json.dumps(content))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "binary.json"
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text(to_markdown(content), "utf-8")


if __name__ == "__main__":
    main()
