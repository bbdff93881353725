"""Take the activation off the outputs; a spiking network reads the potential out instead."""

from __future__ import annotations

from ..ir import Graph
from ..ir.ops import Relu, Sigmoid, Softmax

READOUTS = {Softmax: "softmax", Sigmoid: "sigmoid", Relu: "relu"}


def strip_output_activation(graph: Graph) -> Graph:
    """Remove softmax, sigmoid or ReLU from the outputs and note it in `metadata["readout"]`.

    The potential that an output without neuron accumulates is exact at every step; the order of
    its entries is the order of the source's outputs (where a ReLU makes the negative ones equal).

    Before:  logits (Dense) -> softmax (Softmax), the output
    After:   logits (Dense), the output; metadata["readout"] = ["softmax"]

    Keeps: the decision.
    """
    readout = list(graph.metadata.get("readout", ["linear"] * len(graph.outputs)))
    outputs = list(graph.outputs)
    removed: set[str] = set()
    for place, name in enumerate(graph.outputs):
        node = graph.by_name[name]
        if type(node.op) in READOUTS and not graph.consumers[name]:
            is_clipped = isinstance(node.op, Relu) and node.op.max_value is not None
            if readout[place] == "linear" and not is_clipped:
                readout[place] = READOUTS[type(node.op)]
                outputs[place] = node.inputs[0]
                removed.add(name)
    return graph.replace(
        nodes=tuple(node for node in graph.nodes if node.name not in removed),
        outputs=tuple(outputs),
        metadata={**graph.metadata, "readout": readout},
    )
