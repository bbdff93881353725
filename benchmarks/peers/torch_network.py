"""The analog network in torch, and its logits: for tools that convert torch models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from common import Task
from torch import nn


def build_torch(task: Task) -> nn.Sequential:
    """Return the network with its weights, in evaluation mode."""
    torch.set_num_threads(task.n_threads)
    return nn.Sequential(*(build_layer(layer, task.arrays) for layer in task.layers)).eval()


def build_layer(layer: dict[str, Any], arrays: dict[str, np.ndarray]) -> nn.Module:
    """Return one layer without neurons, with its weights."""
    kind = layer["kind"]
    if kind == "relu":
        return nn.ReLU()
    if kind == "flatten":
        return nn.Flatten()
    if kind == "average_pool":
        return nn.AvgPool2d(tuple(layer["kernel"]), tuple(layer["strides"]))
    if kind == "max_pool":
        return nn.MaxPool2d(tuple(layer["kernel"]), tuple(layer["strides"]))
    weight = torch.from_numpy(arrays[f"weight{layer['place']}"])
    if kind == "conv":
        n_out, n_in, *kernel = weight.shape
        module: nn.Module = nn.Conv2d(
            n_in, n_out, kernel, tuple(layer["strides"]), tuple(layer["padding"])
        )
    else:
        module = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        module.weight.copy_(weight)
        module.bias.copy_(torch.from_numpy(arrays[f"bias{layer['place']}"]))
    return module


def compute_logits(task: Task, network: nn.Module) -> np.ndarray:
    """Return what the network gives for the test images, [N, K]."""
    with torch.inference_mode():
        batches = task.batches(torch.from_numpy(task.x))
        return np.concatenate([network(batch).numpy() for batch in batches])
