"""Data-based weight normalisation."""

from __future__ import annotations

from ..calibration.thresholds import find_activation_percentiles
from ..ir import Array, Graph
from .rescaling import rescale


def normalize_weights(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    percentile: float = 99.9,
    per_channel: bool = True,
) -> Graph:
    """Scale every layer so that its activations fit into [0, 1].

    Layer l becomes  weight * s[l-1] / s[l],  bias / s[l]  with s[l] the given percentile of the
    layer's positive activations on the calibration inputs, for every channel by itself or for the
    layer. A channel that is never active gets the layer's s.

    Before:  conv1 (Conv) -> relu1 (Relu)     activations in [0, s]
    After:   conv1 (Conv) -> relu1 (Relu)     activations in [0, 1] but for (100 - percentile) %

    Args:
        graph: ANN without batch norm.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        percentile: In percent, 0 < percentile <= 100; 100 is the maximum.
        per_channel: Channel-wise, else layer-wise.

    Raises:
        PassError: A layer is never active on the calibration inputs, or the percentile is outside
            its range.

    Keeps: the function; `Node.unit` of a ReLU is its s.
    Source: Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682 (percentile); Diehl et al. 2015
    (maximum).
    """
    units = find_activation_percentiles(
        graph, calibration, percentile=percentile, per_channel=per_channel
    )
    return rescale(graph, units)
