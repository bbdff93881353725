"""Bias correction for the rounding and clipping of activations."""

from __future__ import annotations

import numpy as np

from ..errors import PassError
from ..ir import Array, Graph
from ..ir.ops import Conv, Dense, Input, Relu
from .biases import add_biases, apply_in_parts, channel_means

MAX_ENTRIES = 2**27
"""Results of one layer that are held at a time, over samples: 0.5 GiB, a few times."""


def correct_quantization(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    levels_per_step: int = 1,
    n_samples: int = 500,
) -> Graph:
    """Shift biases so that quantised activations have the mean of the ANN's, channel by channel.

    Layer by layer, in order, with all layers before it quantised and corrected:
    b += mean(z - z_q)  before the ReLU, then  b += mean(relu(z) - q(z_q)),
    q(z) = clip(floor(n z + 1/2), 0, n) / n. Outputs are corrected as z is.

    Before:  conv1 (Conv, bias b) -> relu1 (Relu)
    After:   conv1 (Conv, bias b + shift) -> relu1 (Relu)

    Args:
        graph: Normalised: q clips at 1.
        calibration: Inputs, one array [N, ...] per graph input.
        n_steps: T; n = n_steps * levels_per_step.
        levels_per_step: Of the neurons: 1 for binary spikes.
        n_samples: The first so many calibration samples; fewer where a layer is large.

    Raises:
        PassError: n_samples or levels_per_step is below 1.

    Keeps: the inputs and the shapes of the outputs.
    Source: Li et al. 2021 (light calibration); Hao et al. 2025 (before and behind the quantiser).
    """
    for option, value in (("n_samples", n_samples), ("levels_per_step", levels_per_step)):
        if value < 1:
            raise PassError(
                f"correct_quantization: {option} {value}, expected at least 1",
                hint="leave the option out for its default",
            )
    n_levels = n_steps * levels_per_step
    largest = max(type_.size for type_ in graph.types.values())
    n_used = min(n_samples, max(1, MAX_ENTRIES // largest))
    fed = dict(zip(graph.inputs, (array[:n_used] for array in calibration), strict=True))
    exact: dict[str, Array] = {}
    quantised: dict[str, Array] = {}
    shifts: dict[str, Array] = {}
    last_use = {name: place for place, node in enumerate(graph.nodes) for name in node.inputs}
    for place, node in enumerate(graph.nodes):
        if isinstance(node.op, Input):
            exact[node.name] = quantised[node.name] = fed[node.name]
            continue
        quantised_operands = [quantised[name] for name in node.inputs]
        exact[node.name] = apply_in_parts(node.op, [exact[name] for name in node.inputs])
        if isinstance(node.op, Relu):
            (before,) = node.inputs
            levels = _quantise(quantised[before], n_levels)
            shift = channel_means(exact[before] - quantised[before])
            levels = _quantise(quantised[before] + shift, n_levels)
            shift = shift + channel_means(exact[node.name] - levels)
            quantised[node.name] = _quantise(quantised[before] + shift, n_levels)
            shifts[node.name] = shift
        else:
            quantised[node.name] = apply_in_parts(node.op, quantised_operands)
            is_layer = isinstance(node.op, Conv | Dense) and not graph.consumers[node.name]
            if is_layer:
                shifts[node.name] = channel_means(exact[node.name] - quantised[node.name])
        for name in node.inputs:
            if last_use[name] == place:
                exact.pop(name, None)
                quantised.pop(name, None)
    return add_biases(graph, shifts)


def _quantise(potential: Array, n_levels: int) -> Array:
    levels = np.clip(np.floor(potential * n_levels + np.float32(0.5)), 0, n_levels)
    return np.asarray(levels / np.float32(n_levels), np.float32)
