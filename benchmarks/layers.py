"""One convolution at a time: our event engine's step against onnxruntime's dense convolution.

    .venv/bin/python benchmarks/layers.py [--rounds N]

Random spikes of a given rate go through a 3x3 convolution and neurons; onnxruntime convolves the
same number of arrays, without neurons. One thread; both take turns, and what is given is the median
of CPU times, which other programs disturb less than they disturb the clock. Writes layers.json,
.md, .svg and .png into benchmarks/results.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from peers.machine import RESULTS, describe_machine, draw

from spikeport.converter.ir import Graph, IntegrateFire, Node
from spikeport.converter.ir.ops import Conv, Input
from spikeport.runtime.engines.event import EventRunner, compile_graph
from spikeport.runtime.plan.constants import Constants
from spikeport.runtime.plan.layers import FireStage
from spikeport.runtime.plan.memory import Memory, make_memory

SHAPES = ((28, 32, 32), (14, 64, 64), (16, 128, 128), (8, 256, 256))
"""Size of the image, channels before and behind."""
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7)
TARGETS = {(28, 32, 32): 3, (14, 64, 64): 7, (16, 128, 128): 8, (8, 256, 256): 7}
"""How many times faster we want to be, at the rate TARGET_RATE."""
TARGET_RATE = 0.05
N_STEPS = 32
N_INPUTS = 4
"""Different spikes, in turn: repeated ones would be learned by the branch predictor."""


def make_weight(n_in: int, n_out: int) -> np.ndarray:
    """Return weights that make neurons fire now and then."""
    random = np.random.default_rng(0)
    return random.normal(0, (1 / (9 * n_in)) ** 0.5, (n_out, n_in, 3, 3)).astype(np.float32)


def make_ours(size: int, weight: np.ndarray) -> tuple[EventRunner, FireStage, Memory]:
    """Return a runner of neurons, a convolution and neurons, and the stage of the latter two."""
    n_out, n_in = weight.shape[:2]
    one = np.ones((1, 1, 1), np.float32)
    conv = Conv(weight, np.zeros(n_out, np.float32), (1, 1), (1, 1), ((1, 1),) * 2)
    graph = Graph(
        (
            Node("x", Input((n_in, size, size))),
            Node("before", IntegrateFire(one, 0 * one), ("x",)),
            Node("conv", conv, ("before",)),
            Node("behind", IntegrateFire(one, one / 2), ("conv",)),
        ),
        ("x",),
        ("behind",),
    )
    runner = compile_graph(graph)
    if not isinstance(runner, EventRunner):
        raise click.ClickException("; ".join(runner.notices))
    stages = [stage for stage in runner.plan.stages if isinstance(stage, FireStage)]
    fed = np.zeros((1, n_in, size, size), np.float32)
    memory = make_memory(runner.plan.arena, Constants(graph, (fed,)))
    memory.spikes = dict.fromkeys(("before", "behind"), 0)
    for stage in stages:
        stage.begin(memory)
    return runner, stages[1], memory


def draw_spikes(shape: tuple[int, ...], n_channels: int, rate: float, seed: int) -> np.ndarray:
    """Return masks of `shape` [..., words] whose bits are set at random."""
    bits = np.random.default_rng(seed).random((*shape[:-1], 64 * shape[-1])) < rate
    bits[..., n_channels:] = False
    return np.packbits(bits, axis=-1, bitorder="little").view(np.uint64)


def make_theirs(size: int, weight: np.ndarray) -> Callable[[np.ndarray], Any]:
    """Return onnxruntime's convolution of arrays [N, C, H, W], on one thread."""
    n_out, n_in = weight.shape[:2]
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], pads=[1] * 4)
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", kind, [N_STEPS, n_in, size, size])],
        [helper.make_tensor_value_info("y", kind, [N_STEPS, n_out, size, size])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(None, {"x": x})


def measure(size: int, n_in: int, n_out: int, rate: float, n_rounds: int) -> dict[str, Any]:
    """Return milliseconds per step of both, and how they compare."""
    weight = make_weight(n_in, n_out)
    _, stage, memory = make_ours(size, weight)
    convolve = make_theirs(size, weight)
    masks = memory.layers["before"]
    spikes = [draw_spikes(masks.shape, n_in, rate, seed) for seed in range(N_INPUTS)]
    x = np.random.default_rng(0).random((N_STEPS, n_in, size, size), np.float32)
    ours, theirs = [], []
    for number in range(n_rounds):
        masks[:] = spikes[number % N_INPUTS]
        memory.rates["before"] = rate  # as the layer before would say
        stage.begin(memory)
        ours.append(_time(lambda: stage.run(memory, N_STEPS)))
        theirs.append(_time(lambda: convolve(x)))
    event, conv = (1000 * statistics.median(times[1:]) / N_STEPS for times in (ours, theirs))
    return {
        "shape": [size, n_in, n_out],
        "rate": rate,
        "event_ms": event,
        "onnxruntime_ms": conv,
        "times_faster": conv / event,
        "dense_gmacs": size**2 * 9 * n_in * n_out / event / 1e6,
    }


def _time(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def to_markdown(content: dict[str, Any]) -> str:
    """Return one table: how many times faster than onnxruntime, shape x rate."""
    rates = content["setting"]["rates"]
    lines = [
        f"3x3 convolution and neurons, one step, one thread of {content['machine']['cpu']}, "
        f"{content['date'][:10]}: how many times less CPU time than onnxruntime's convolution of "
        f"one array takes ({content['setting']['onnxruntime']}, {N_STEPS} arrays at a time); "
        f"medians of {content['setting']['rounds'] - 1}.",
        "",
        "| layer | onnxruntime, ms | " + " | ".join(f"{100 * rate:g} %" for rate in rates) + " |",
        "|---|---:" + "|---:" * len(rates) + "|",
    ]
    for size, n_in, n_out in content["setting"]["shapes"]:
        rows = [row for row in content["rows"] if row["shape"] == [size, n_in, n_out]]
        dense = statistics.median(row["onnxruntime_ms"] for row in rows)
        cells = " | ".join(f"{row['times_faster']:.1f}" for row in rows)
        lines.append(f"| {size}x{size}, {n_in} -> {n_out} | {dense:.3f} | {cells} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--rounds", type=click.IntRange(6), default=31, show_default=True)
def main(rounds: int) -> None:
    """Measure and write the results."""
    rows = []
    for shape in SHAPES:
        for rate in RATES:
            row = measure(*shape, rate, rounds)
            rows.append(row)
            wanted = f", target {TARGETS[shape]}" if rate == TARGET_RATE else ""
            click.echo(f"{shape} {100 * rate:g} %: {row['times_faster']:.2f} times{wanted}")
    content = {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": describe_machine(),
        "setting": {
            "shapes": SHAPES,
            "rates": RATES,
            "steps": N_STEPS,
            "rounds": rounds,
            "onnxruntime": f"onnxruntime {version('onnxruntime')}",
        },
        "rows": rows,
    }
    content = json.loads(json.dumps(content))
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "layers.json"
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    path.with_suffix(".md").write_text(to_markdown(content), "utf-8")
    reason = draw("draw_layers", path)
    if reason:
        click.echo(f"no chart: {reason}", err=True)


if __name__ == "__main__":
    main()
