"""Weight normalisation: which activation becomes a rate of one spike per step."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from ..calibration.balancing import find_balanced_thresholds
from ..calibration.bounds import find_largest_activations
from ..calibration.spiking_fit import fire
from ..calibration.thresholds import find_activation_percentiles
from ..errors import PassError, find
from ..ir import Array, Graph, Node
from ..ir.types import DEFAULT_N_STEPS
from .rescaling import limit_to_caps, rescale
from .spiking_layers import SpikingLayers

N_SAMPLES = 200
"""For maxima of spikes' currents."""


class Rule(StrEnum):
    """Where the thresholds come from."""

    ACTIVATIONS = "activations"
    """A percentile of the positive activations on the calibration inputs."""
    WEIGHTS = "weights"
    """The largest activation that the weights allow for inputs within the calibration's range."""
    SPIKES = "spikes"
    """The largest current of one step, of spikes of the layers in front; per layer."""
    BALANCED = "balanced"
    """Local threshold balancing: a threshold grows by what it clips; per channel."""


def normalize_weights(
    graph: Graph,
    *,
    calibration: tuple[Array, ...],
    n_steps: int = DEFAULT_N_STEPS,
    percentile: float = 99.9,
    per_channel: bool = True,
    rule: str = Rule.ACTIVATIONS,
) -> Graph:
    """Scale every layer so that its activations fit into [0, 1].

    Layer l becomes  weight * s[l-1] / s[l],  bias / s[l]  with s[l] the given percentile of the
    layer's positive activations on the calibration inputs, for every channel by itself or for the
    layer. A channel that is never active gets the layer's s, a ReLU with a cap at most that. Other
    rules: see `Rule`.

    Before:  conv1 (Conv) -> relu1 (Relu)     activations in [0, s]
    After:   conv1 (Conv) -> relu1 (Relu)     activations in [0, 1] but for (100 - percentile) %

    Args:
        graph: ANN without batch norm.
        calibration: Inputs, one array [N, ...] per graph input, as the source takes them.
        n_steps: T, for `spikes`.
        percentile: In percent, 0 < percentile <= 100; 100 is the maximum. For `activations`.
        per_channel: Channel-wise, else layer-wise. For `activations` and `weights`.
        rule: `activations`, `weights`, `spikes` or `balanced`.

    Raises:
        PassError: A layer is never active on the calibration inputs, the percentile is outside its
            range, or no such rule.

    Keeps: the function; `Node.unit` of a ReLU is its s.
    Source: Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682 (percentile); Diehl et al. 2015
    (maximum, weights); Sengupta et al. 2019 (spikes); Bu et al. 2025 (balanced).
    """
    chosen = find({str(entry): entry for entry in Rule}, rule, "normalize_weights.rule")
    if chosen is Rule.WEIGHTS:
        ranges = {
            name: (float(array.min()), float(array.max()))
            for name, array in zip(graph.inputs, calibration, strict=True)
        }
        units = find_largest_activations(graph, ranges, per_channel=per_channel)
    elif chosen is Rule.SPIKES:
        layers = _BalancedLayers(graph, calibration, n_steps, N_SAMPLES)
        layers.run()
        units = layers.thresholds
    elif chosen is Rule.BALANCED:
        units = find_balanced_thresholds(graph, calibration)
    else:
        units = find_activation_percentiles(
            graph, calibration, percentile=percentile, per_channel=per_channel
        )
    return rescale(graph, limit_to_caps(graph, units))


class _BalancedLayers(SpikingLayers):
    """Layers whose threshold is the largest current that they ever get in one step."""

    def fire(self, node: Node, currents: Array, exact: Array) -> tuple[Array, Array]:
        largest = np.float32(currents.max())
        if not largest > 0:
            raise PassError(
                f"{node}: never gets a positive current, expected spikes of the layers in front",
                hint="take more steps: --n-steps 64",
            )
        n_channels = exact.shape[1]
        spread = currents.reshape(*currents.shape[:3], -1)
        spikes = np.empty((self.n_steps, *spread.shape[1:]), np.uint8)
        none = np.zeros(n_channels, np.float32)
        fire(spread, np.full(n_channels, largest, np.float32), none, none, spikes)
        threshold = np.full((1,) * (exact.ndim - 1), largest, np.float32)
        return threshold, spikes.reshape(self.n_steps, *exact.shape)
