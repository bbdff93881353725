"""Worker: sinabs, from_model.

Its own normalize_weights scales a bias by the same factor as the weights, and so changes the
function of a network with biases. What is timed is therefore normalized here, layer by layer and at
the same percentile, with biases scaled as they must be; the accuracy that its own function leads to
is reported beside.
"""

from __future__ import annotations

import copy

import numpy as np
import sinabs
import torch
from common import Task, check_logits, load_task, measure, report
from sinabs.from_torch import from_model
from sinabs.utils import normalize_weights
from torch import nn
from torch_network import build_torch, compute_logits

PERCENTILE = 99.9


def normalize(ann: nn.Sequential, images: torch.Tensor) -> nn.Sequential:
    """Return a copy whose ReLUs give up to 1: weight * s[l-1] / s[l], bias / s[l]."""
    result = copy.deepcopy(ann)
    before, values = 1.0, images
    with torch.no_grad():
        for module, analog in zip(result, ann, strict=True):
            values = analog(values)
            if isinstance(module, nn.Conv2d | nn.Linear):
                weighted = module
            if isinstance(module, nn.ReLU):
                scale = float(np.percentile(values.numpy(), PERCENTILE))
                weighted.weight *= before / scale
                weighted.bias /= scale
                before = scale
        weighted.weight *= before
    return result


def normalize_with_sinabs(ann: nn.Sequential, images: torch.Tensor) -> nn.Sequential:
    """Return a copy that sinabs' own function has normalized."""
    result = copy.deepcopy(ann)
    weighted = [name for name, m in result.named_children() if isinstance(m, nn.Conv2d | nn.Linear)]
    relus = [name for name, module in result.named_children() if isinstance(module, nn.ReLU)]
    normalize_weights(result, images, relus, weighted[: len(relus)], PERCENTILE)
    return result


def decide(task: Task, network: nn.Sequential, min_v_mem: float | None) -> np.ndarray:
    """Return the spiking network's decisions on the test images, [N]."""
    snn = from_model(
        copy.deepcopy(network), num_timesteps=task.n_steps, min_v_mem=min_v_mem
    ).spiking_model
    decisions = []
    with torch.inference_mode():
        for images in task.batches(torch.from_numpy(task.x)):
            sinabs.reset_states(snn)
            outputs = snn(images.repeat_interleave(task.n_steps, dim=0))
            sums = outputs.unflatten(0, (len(images), task.n_steps)).sum(dim=1)
            decisions.append(sums.argmax(dim=1).numpy())
    return np.concatenate(decisions)


def main() -> None:
    """Measure."""
    task = load_task()
    ann = build_torch(task)
    error = check_logits(task, compute_logits(task, ann))
    calibration = torch.from_numpy(task.arrays["calibration"])
    normalized = normalize(ann, calibration)
    check_logits(task, compute_logits(task, normalized))
    own = decide(task, normalize_with_sinabs(ann, calibration), -1.0)
    accuracy = float(np.mean(own == task.arrays["y"]))
    decisions, clock = measure(lambda: decide(task, normalized, None))
    report(
        task,
        clock,
        decisions,
        error,
        packages=("sinabs", "torch", "numpy"),
        note=f"weights normalized beforehand; {100 * accuracy:.1f} % accuracy with its own "
        "normalize_weights",
    )


if __name__ == "__main__":
    main()
