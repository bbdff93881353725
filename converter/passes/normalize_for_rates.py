"""Data-based weight normalisation for rates of few steps."""

from __future__ import annotations

from ..errors import PassError
from ..ir import Array, Graph
from .normalize_weights import normalize_weights

MIN_PERCENTILE = 50.0


def normalize_for_rates(
    graph: Graph, *, calibration: tuple[Array, ...], n_steps: int, clipped: float = 20.0
) -> Graph:
    """Scale every channel so that fewer activations are clipped the more steps there are.

    As normalize_weights, channel-wise, with the percentile 100 - clipped / T, at least 50: with few
    steps a coarse rate costs more than clipping does.

    Before:  conv1 (Conv) -> relu1 (Relu)     activations in [0, s]
    After:   conv1 (Conv) -> relu1 (Relu)     activations in [0, 1] but for clipped / T %

    Args:
        graph: ANN without batch norm.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        n_steps: T.
        clipped: Percent of the positive activations that may be clipped with one step.

    Raises:
        PassError: A layer is never active on the calibration inputs, or clipped is outside 0..100.

    Keeps: the function; `Node.unit` of a ReLU is its threshold.
    Source: of this project; the percentile is that of Rueckauer et al. 2017.
    """
    if not 0 <= clipped <= 100:
        raise PassError(
            f"clipped {clipped}, expected 0 <= clipped <= 100", hint="20 is the default"
        )
    percentile = max(MIN_PERCENTILE, 100 - clipped / n_steps)
    return normalize_weights(graph, calibration=calibration, percentile=percentile)
