"""Worker: one of our engines, named by the second argument, in the project's own environment."""

from __future__ import annotations

import sys

import numpy as np
from common import check_logits, load_task, measure, report

from spikeport.converter.exports.snn import read_snn
from spikeport.converter.frontends import read
from spikeport.runtime.decoding import decide
from spikeport.runtime.engines import ENGINES


def main() -> None:
    """Measure."""
    task = load_task()
    (logits,) = read(task.folder / "ann.onnx").run((task.x_channels_last,))
    error = check_logits(task, logits)
    graph = read_snn(task.folder / "ours.snn")
    runner = ENGINES[sys.argv[2]](graph, n_threads=task.n_threads)
    if runner.engine != sys.argv[2]:
        sys.exit(f"Error: {' '.join(runner.notices)}")
    batches = task.batches(task.x_channels_last)

    def run() -> np.ndarray:
        return np.concatenate([
            decide(runner.run((batch,), task.n_steps).outputs[0][-1], "linear") for batch in batches
        ])

    decisions, clock = measure(run)
    notes = [f"nodes run by the reference engine: {', '.join(runner.fallbacks)}"]
    report(
        task,
        clock,
        decisions,
        error,
        packages=("spikeport", "numpy", "numba"),
        note="; ".join(notes if runner.fallbacks else []),
    )


if __name__ == "__main__":
    main()
