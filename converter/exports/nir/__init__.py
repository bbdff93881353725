"""NIR: the graph as nodes and edges that other simulators read, and what of it NIR cannot say.

NIR's IF fires where the potential is *above* the threshold, starts at 0 and becomes v_reset. Reset
to zero is exact: the threshold is the next smaller float32, and an initial potential v is a shift
of the potential's origin, v_threshold - v and v_reset = -v. Reset by subtraction has no word in it;
up to nir 1.0.5, IF had no v_reset and was reset by subtraction.
"""

from __future__ import annotations

import json

import numpy as np

from ...errors import find
from ...ir import Graph
from ..translation import Export, find_unknown, refuse
from . import layout
from .hdf5 import NIR_VERSION, SUBTRACTING_VERSION, encode_hdf5
from .writer import WRITERS, Writer, shaped

REWRITES = {
    "initial-pulse": "the initial potential as an input NODE_pulse: 1 at the first step, then 0",
    "sum-pool": "average pooling as SumPool2d, its divisor in the weights behind it",
    "scale-conv": "a scale per channel of a feature map as a convolution of 1x1",
    "unit-thresholds": "thresholds of 1: the weights before are divided by them",
    "nir-1.0.5": "the NIR of that version, whose neurons are reset by subtraction",
    "leakless-lif": "IF as LIF whose leak rounds to none at steps of 1e-4, for snnTorch",
}
TRANSLATED = frozenset(WRITERS)
HINT = (
    "--rewrite nir-1.0.5 says reset by subtraction; or convert with reset to zero (recipe diehl), "
    "or write with --lossy what can be written"
)
HINT_FIXED = "NIR has no node for these; `--to onnx` writes every spiking graph"
TIME = (
    "one time step adds r I to the potential (dt = 1), and a spike crosses the network in the same "
    "step; NIR itself is continuous in time"
)


def encode_nir(graph: Graph, *, lossy: bool = False, rewrites: tuple[str, ...] = ()) -> Export:
    """Return the graph as a NIR file.

    Args:
        graph: Spiking.
        lossy: Write reset by subtraction and initial potentials as metadata only.
        rewrites: Keys of REWRITES.

    Raises:
        UnsupportedOpError: Lists everything that NIR cannot say.
        FormatError: No such rewrite.
    """
    for name in rewrites:
        find(REWRITES, name, "rewrite")
    refuse(find_unknown(graph, TRANSLATED, "NIR"), "NIR", hint=HINT_FIXED)
    reasons: list[str] = []
    graph, inputs = layout.rearrange_inputs(graph)
    for rewrite in (
        layout.fold_transpositions, layout.fold_padding, layout.even_padding, layout.pool_globally
    ):  # fmt: skip
        graph = rewrite(graph)
    if "unit-thresholds" in rewrites:
        graph, reasons = layout.normalize_thresholds(graph)
    writer = Writer(graph, rewrites)
    for node in graph.nodes:
        writer.add(node)
    for name in dict.fromkeys(graph.outputs):
        sizes = np.array(graph.types[name].shape, np.int64)
        output = writer.new(f"{name}_output", "Output", shape=sizes)
        writer.connect(name, output)
    reasons += writer.reasons
    if not graph.varying:
        reasons.append("graph: has no neuron, expected a spiking graph")
    refuse(reasons, "NIR", hint=HINT_FIXED)
    losses = writer.list_losses()
    if not lossy:
        refuse(losses, "NIR", hint=HINT)
    notes = [TIME, *writer.notes]
    for name, (shape, permutation) in inputs.items():
        notes.append(
            f"input {name}: takes {list(graph.types[name].shape)}, "
            f"axes {permutation} of the source's {list(shape)}"
        )
    document = {
        "metadata": dict(graph.metadata),
        "inputs": {writer.names[name]: [list(a), b] for name, (a, b) in inputs.items()},
        "units": {
            writer.output_of(name): shaped(unit)
            for name in graph.outputs
            if (unit := graph.by_name[name].unit) is not None
        },
        "outputs": [writer.output_of(name) for name in graph.outputs],
        "nodes": writer.own,
        "pulses": writer.pulses,
    }
    metadata = {
        "spikeport": json.dumps(document, sort_keys=True),
        "dt": "1.0",
        "lost": "\n".join(losses) or "nothing",
        "notes": "\n".join(notes),
    }
    version = SUBTRACTING_VERSION if writer.subtracts else NIR_VERSION
    file = encode_hdf5(writer.nodes, writer.edges, metadata, version)
    return Export({".nir": file}, tuple(losses), tuple(notes))
