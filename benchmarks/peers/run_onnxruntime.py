"""Worker: one float32 pass of the analog network in onnxruntime, the unit of the comparison."""

from __future__ import annotations

import numpy as np
import onnxruntime
from common import check_logits, load_task, measure, report


def main() -> None:
    """Measure."""
    task = load_task()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.n_threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(task.folder / "ann.onnx"), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    batches = task.batches(task.x_channels_last)

    def run_logits() -> np.ndarray:
        return np.concatenate([session.run(None, {name: batch})[0] for batch in batches])

    error = check_logits(task, run_logits())
    decisions, clock = measure(lambda: run_logits().argmax(axis=1))
    report(task, clock, decisions, error, packages=("onnxruntime", "numpy"))


if __name__ == "__main__":
    main()
