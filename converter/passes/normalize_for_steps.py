"""Weight normalisation for a given number of time steps."""

from __future__ import annotations

from ..calibration.mmse import find_mmse_thresholds
from ..ir import Array, Graph
from .rescaling import rescale


def normalize_for_steps(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    levels_per_step: int = 1,
    per_channel: bool = True,
) -> Graph:
    """Scale every layer so that rounding its activations to the levels of a rate errs least.

    As normalize_weights, with the threshold of least mean squared error between the activations and
    their n_steps * levels_per_step + 1 levels: it clips more the fewer levels there are.

    Before:  conv1 (Conv) -> relu1 (Relu)     activations in [0, s]
    After:   conv1 (Conv) -> relu1 (Relu)     activations in [0, 1], those above to be clipped

    Args:
        graph: ANN without batch norm.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        n_steps: T.
        levels_per_step: Of the neurons: 1 for binary spikes.
        per_channel: Channel-wise, else layer-wise.

    Raises:
        PassError: A layer is never active on the calibration inputs, or levels_per_step < 1.

    Keeps: the function; `Node.unit` of a ReLU is its threshold.
    Source: Li et al. 2021 (MMSE threshold).
    """
    units = find_mmse_thresholds(
        graph, calibration, n_levels=n_steps * levels_per_step, per_channel=per_channel
    )
    return rescale(graph, units)
