"""Worker: loads a NIR file with a simulator's own importer, and counts the spikes of every neuron.

    python run_nir.py READER FOLDER [adjust]

FOLDER has net.nir and x.npy ([N, ...] as the file's input takes it). `adjust` puts in after loading
what the file cannot say: reset by subtraction and initial potentials, as our metadata give them;
and where nirtorch executes nodes in another order than the file's, it is the file's.
Writes counts.npz: per IF node [N, ...], and `output`, the sum of the output over the steps.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import torch


def read_own(path: Path) -> dict[str, dict[str, Any]]:
    """Return what spikeport wrote about every neuron: reset and initial potential."""
    with h5py.File(path) as file:
        document = json.loads(file["node/metadata/spikeport"][()])
    return {name: node for name, node in document["nodes"].items() if "reset" in node}


def put_in_order(network: Any, graph: Any) -> None:
    """Execute operands first: nirtorch visits branches after the addition that needs them."""
    names = list(graph.nodes)
    network.execution_order.sort(key=lambda node: names.index(node.name))


def initial_of(node: dict[str, Any], like: torch.Tensor) -> torch.Tensor:
    """Return a neuron's initial potential, spread over its tensor."""
    shape, numbers = node["initial_potential"]
    return torch.tensor(numbers).reshape(shape).expand(like.shape).clone()


def run_norse(path: Path, x: torch.Tensor, n_steps: int, adjust: bool) -> dict[str, np.ndarray]:
    """One sample at a time, without a batch axis: Flatten's axes count from it."""
    import norse.torch as norse
    from norse.torch.functional.iaf import IAFFeedForwardState

    graph = nir.read(path)
    network = norse.from_nir(graph)
    if adjust:
        put_in_order(network, graph)
        for name, node in read_own(path).items():
            cell = getattr(network, name)

            def step(current: Any, state: Any, p: Any, dt: Any) -> Any:
                v = state.v + current
                spikes = (v > p.v_th).to(v.dtype)
                return spikes, IAFFeedForwardState(v=v - spikes * p.v_th)

            if node["reset"] == "subtract":
                cell.activation = step
            cell.state_fallback = lambda x, node=node: IAFFeedForwardState(v=initial_of(node, x))
    names = list(read_own(path))
    counts: dict[str, list[Any]] = {name: [] for name in (*names, "output")}
    for sample in x:
        state, total = None, dict.fromkeys(counts, 0.0)
        for _ in range(n_steps):
            output, state = network(sample, state)
            for name in names:
                total[name] = total[name] + state.cache[name].double()
            total["output"] = total["output"] + output.double()
        for name, value in total.items():
            counts[name].append(value.numpy())
    return {name: np.array(values) for name, values in counts.items()}


def run_snntorch(path: Path, x: torch.Tensor, n_steps: int, adjust: bool) -> dict[str, np.ndarray]:
    """One sample at a time, without a batch axis; neurons keep their potential themselves."""
    from snntorch.import_nir import import_from_nir

    network = import_from_nir(nir.read(path))
    own = read_own(path)
    cells = {name: module for name, module in network.named_modules() if name in own}
    total: dict[str, Any] = {}

    def watch(name: str) -> Callable[..., None]:
        def add(module: Any, inputs: Any, output: Any) -> None:
            spikes = output[0] if isinstance(output, tuple) else output
            total[name] = total.get(name, 0.0) + spikes.double()

        return add

    for name, cell in cells.items():
        cell.register_forward_hook(watch(name))
        if adjust:
            cell.reset_mechanism = "subtract"
            # Else a potential that stays above the threshold is lowered before it is compared.
            cell.mem_reset = torch.zeros_like
    counts: dict[str, list[Any]] = {name: [] for name in (*own, "output")}
    for sample in x:
        total.clear()
        for cell in cells.values():
            cell.reset_mem()
        for step in range(n_steps):
            if adjust and step == 0:
                _prepare(cells, own, network, sample)
                total.clear()
            output = network(sample)
            output = output[0] if isinstance(output, tuple) else output
            total["output"] = total.get("output", 0.0) + output.double()
        for name, value in total.items():
            counts[name].append(value.numpy())
    return {name: np.array(values) for name, values in counts.items()}


def _prepare(cells: dict[str, Any], own: dict[str, Any], network: Any, sample: Any) -> None:
    """Give neurons their initial potential; a first pass says how large they are."""
    network(sample)
    for name, cell in cells.items():
        cell.mem = initial_of(own[name], cell.mem)


def run_sinabs(path: Path, x: torch.Tensor, n_steps: int, adjust: bool) -> dict[str, np.ndarray]:
    """One sample at a time, all steps at once: sinabs' layers take [N T, ...]."""
    import sinabs.activation
    import sinabs.nir

    own = read_own(path)
    counts: dict[str, list[Any]] = {name: [] for name in (*own, "output")}
    for sample in x:
        graph = nir.read(path)
        network = sinabs.nir.from_nir(graph, batch_size=1)
        if adjust:
            put_in_order(network, graph)
        for name, node in own.items():
            cell = getattr(network, name)
            if adjust:
                cell.min_v_mem = None
                cell.spike_fn = sinabs.activation.SingleSpike
                cell.register_buffer("v_mem", initial_of(node, cell.spike_threshold)[None])
        steps = sample[None].expand(n_steps, *sample.shape)
        output, state = network(steps)
        for name in own:
            counts[name].append(state.cache[name].double().sum(0).numpy())
        counts["output"].append(output.double().sum(0).numpy())
    return {name: np.array(values) for name, values in counts.items()}


READERS = {"norse": run_norse, "snntorch": run_snntorch, "sinabs": run_sinabs}


def main() -> None:
    """Run, and write the counts."""
    reader, folder = sys.argv[1], Path(sys.argv[2])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    x = torch.from_numpy(np.load(folder / "x.npy"))
    n_steps = int((folder / "n_steps").read_text())
    with torch.inference_mode():
        counts = READERS[reader](folder / "net.nir", x, n_steps, "adjust" in sys.argv[3:])
    np.savez(folder / "counts.npz", **counts)


if __name__ == "__main__":
    main()
