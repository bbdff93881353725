"""Worker: NeuroBench's own metrics of a spiking network, built of snnTorch's neurons.

snnTorch fires above the threshold and resets before the next step: `fire_at` and the potential that
is read before the reset make it our neuron, which fires at the threshold.
"""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import snntorch as snn
import torch
from common import Task, load_task
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    ClassificationAccuracy,
    MembraneUpdates,
    SynapticOperations,
)
from neurobench.models import SNNTorchModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch_network import build_layer


def fire_at(excess: Tensor) -> Tensor:
    """Return spikes of neurons whose potential exceeds their threshold by so much."""
    return (excess >= 0).to(excess.dtype)


class SpikingNetwork(nn.Module):
    """The layers, one step at a time; snnTorch's shape of results: output and state."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.initial: dict[int, Tensor] = {}
        for layer in task.layers:
            if layer["kind"] == "fire":
                place = layer["place"]
                self.initial[len(self.layers)] = torch.from_numpy(task.arrays[f"potential{place}"])
                threshold = torch.from_numpy(task.arrays[f"threshold{place}"])
                self.layers.append(
                    snn.Leaky(
                        beta=1.0,
                        threshold=threshold,
                        spike_grad=fire_at,
                        surrogate_disable=False,
                        init_hidden=True,
                        reset_mechanism="subtract",
                    )
                )
            else:
                self.layers.append(build_layer(layer, task.arrays))
        self.n_samples = 1
        self.reset()

    def reset(self) -> None:
        """Set every potential to where it starts, for as many samples as the next batch has."""
        for place, initial in self.initial.items():
            self.layers[place].mem = initial.expand(self.n_samples, *initial.shape).clone()

    def forward(self, values: Tensor) -> tuple[Tensor, None]:
        """Return the outputs' currents of one step, [N, K]."""
        for layer in self.layers:
            values = layer(values)
        return values, None


def main() -> None:
    """Let NeuroBench measure, and print what it says."""
    task = load_task()
    torch.set_num_threads(task.n_threads)
    images, labels = torch.from_numpy(task.x), torch.from_numpy(task.arrays["y"])
    over_time = images.unsqueeze(1).expand(-1, task.n_steps, *images.shape[1:])
    network = SpikingNetwork(task)
    constants = {
        name: buffer.numel() * buffer.element_size()
        for name, buffer in network.named_buffers()
        if not name.endswith(".mem")
    }
    loader = DataLoader(TensorDataset(over_time, labels), batch_size=task.batch_size)
    decisions: list[Tensor] = []

    def decide(outputs: Tensor) -> Tensor:
        decisions.append(outputs.sum(dim=1).argmax(dim=1))
        return decisions[-1]

    def prepare(data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        network.n_samples = len(data[0])
        return data

    benchmark = Benchmark(
        SNNTorchModel(network),
        loader,
        [prepare],
        [decide],
        [
            [Footprint, ParameterCount, ConnectionSparsity],
            [ClassificationAccuracy, ActivationSparsity, SynapticOperations, MembraneUpdates],
        ],
    )
    with torch.inference_mode():
        found = benchmark.run(quiet=True)
    operations = found.pop("SynapticOperations")
    line = {
        "metrics": {**found, **operations},
        "constants_bytes": sum(constants.values()),
        "decisions": np.concatenate([each.numpy() for each in decisions]).tolist(),
        "versions": {name: version(name) for name in ("neurobench", "snntorch", "torch", "numpy")},
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
