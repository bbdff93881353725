"""Worker: SpikingJelly's ann2snn, in the step mode that the second argument names (s or m)."""

from __future__ import annotations

import sys

import numpy as np
import torch
from common import check_logits, load_task, measure, report
from spikingjelly.activation_based import ann2snn, functional
from torch_network import build_torch, compute_logits


def main() -> None:
    """Measure."""
    task = load_task()
    step_mode = sys.argv[2]
    ann = build_torch(task)
    error = check_logits(task, compute_logits(task, ann))
    calibration = task.batches(torch.from_numpy(task.arrays["calibration"]))
    recipe = ann2snn.RateCodingRecipe(
        calibration, mode="99.9%", channel_wise=True, half_threshold=True
    )
    snn = ann2snn.Converter(recipe).convert(ann).eval()
    functional.set_step_mode(snn, step_mode)
    batches = task.batches(torch.from_numpy(task.x))

    def simulate(images: torch.Tensor) -> torch.Tensor:
        functional.reset_net(snn)
        if step_mode == "m":
            return snn(images.expand(task.n_steps, *images.shape)).sum(dim=0)
        return sum(snn(images) for _ in range(task.n_steps))

    def run() -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([simulate(batch).argmax(dim=1).numpy() for batch in batches])

    decisions, clock = measure(run)
    report(
        task,
        clock,
        decisions,
        error,
        packages=("spikingjelly", "torch", "numpy"),
        note="RateCodingRecipe, 99.9 %, channel-wise, half threshold",
    )


if __name__ == "__main__":
    main()
