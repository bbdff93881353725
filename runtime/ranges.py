"""Are samples scaled as those of the calibration were?"""

from __future__ import annotations

from collections.abc import Sequence

from ..converter.ir import Graph

RANGE_TOLERANCE = 0.5
"""Inputs may lie outside the calibration range by this share of it before a warning is given."""


def warn_of_ranges(graph: Graph, lows: Sequence[float], highs: Sequence[float]) -> list[str]:
    """Return one line per input that does not lie where calibration's did.

    Args:
        graph: As `convert` gives it.
        lows: The smallest entry of the samples, per input.
        highs: The largest.
    """
    warnings = []
    ranges = _calibration_ranges(graph)
    for name, found_low, found_high, (low, high) in zip(
        graph.inputs, lows, highs, ranges, strict=False
    ):
        slack = RANGE_TOLERANCE * (high - low)
        if found_low < low - slack or found_high > high + slack:
            warnings.append(
                f"input {name}: data lie in {found_low:g}..{found_high:g}, far outside the "
                f"calibration range {low:g}..{high:g}; was the network trained on scaled inputs? "
                "see --input-scale"
            )
        elif found_high - found_low < 0.01 * (high - low):
            warnings.append(
                f"input {name}: data lie in {found_low:g}..{found_high:g}, a hundredth of the "
                f"calibration range {low:g}..{high:g}; are they scaled as in calibration?"
            )
    return warnings


def _calibration_ranges(graph: Graph) -> list[tuple[float, float]]:
    """Return the range of every input in calibration; [] where the metadata do not say it."""
    calibration = graph.metadata.get("calibration")
    if not isinstance(calibration, dict):
        return []
    lows, highs = calibration.get("low"), calibration.get("high")
    if not (isinstance(lows, list) and isinstance(highs, list)):
        return []
    pairs = list(zip(lows, highs, strict=False))
    is_plain = all(type(value) in {int, float} for pair in pairs for value in pair)
    return pairs if is_plain else []
