"""Weight normalisation for a given number of time steps."""

from __future__ import annotations

from enum import StrEnum

from ..calibration.gaussian import find_gaussian_thresholds
from ..calibration.mmse import find_mmse_thresholds
from ..errors import find
from ..ir import Array, Graph
from .rescaling import limit_to_caps, rescale


class Distribution(StrEnum):
    """What is known of the activations."""

    MEASURED = "measured"
    """A histogram of each channel."""
    GAUSSIAN = "gaussian"
    """Mean and variance of the currents, which are taken to be normally distributed."""


def normalize_for_steps(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int,
    levels_per_step: int = 1,
    per_channel: bool = True,
    distribution: str = Distribution.MEASURED,
) -> Graph:
    """Scale every layer so that rounding its activations to the levels of a rate errs least.

    As normalize_weights, with the threshold of least mean squared error between the activations and
    their n_steps * levels_per_step + 1 levels: it clips more the fewer levels there are. With a
    cap the threshold is at most that.

    Before:  conv1 (Conv) -> relu1 (Relu)     activations in [0, s]
    After:   conv1 (Conv) -> relu1 (Relu)     activations in [0, 1], those above to be clipped

    Args:
        graph: ANN without batch norm.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        n_steps: T.
        levels_per_step: Of the neurons: 1 for binary spikes.
        per_channel: Channel-wise, else layer-wise.
        distribution: `measured`, or `gaussian` for the closed form.

    Raises:
        PassError: A layer is never active on the calibration inputs, levels_per_step < 1, or no
            such distribution.

    Keeps: the function; `Node.unit` of a ReLU is its threshold.
    Source: Li et al. 2021 (MMSE threshold); Huang et al. 2025 (closed form).
    """
    rules = {
        str(Distribution.MEASURED): find_mmse_thresholds,
        str(Distribution.GAUSSIAN): find_gaussian_thresholds,
    }
    rule = find(rules, distribution, "normalize_for_steps.distribution")
    units = rule(graph, calibration, n_levels=n_steps * levels_per_step, per_channel=per_channel)
    return rescale(graph, limit_to_caps(graph, units))
