"""How large the outputs become."""

from __future__ import annotations

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph, run
from .biases import BATCH_SIZE

PERCENTILE = 99.9


def measure_outputs(graph: Graph, *, calibration: tuple[Array, ...], n_samples: int = 100) -> Graph:
    """Note the 99.9 percentile of each output's positive values, for read-outs that fire.

    Before:  logits (Dense), an output
    After:   logits (Dense), an output; metadata["output_scale"] = [11.3]

    Args:
        graph: ANN whose outputs are potentials.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        n_samples: The first so many of them.

    Raises:
        PassError: n_samples is below 1.

    Keeps: the function. An output that is never positive has the scale 0.
    Source: Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682 (normalisation of the last layer).
    """
    if n_samples < 1:
        raise PassError(
            f"measure_outputs: n_samples {n_samples}, expected at least 1", hint="100 is enough"
        )
    if "output_scale" in graph.metadata:
        return graph
    found: list[list[Array]] = [[] for _ in graph.outputs]
    for start in range(0, min(n_samples, len(calibration[0])), BATCH_SIZE):
        part = slice(start, min(start + BATCH_SIZE, n_samples))
        for values, output in zip(
            found, run(graph, tuple(array[part] for array in calibration)), strict=True
        ):
            values.append(output[output > 0])
    positive = [np.concatenate(values) for values in found]
    scales = [float(np.percentile(each, PERCENTILE)) if each.size else 0.0 for each in positive]
    return graph.replace(metadata={**graph.metadata, "output_scale": scales})
