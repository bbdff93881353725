"""From accumulated potentials to decisions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..converter.ir import Array


def decide(outputs: Array, readout: str) -> npt.NDArray[np.int64]:
    """Return the class of every sample: the place of its largest value, the first one if tied.

    Args:
        outputs: [..., N, shape of one output], flattened per sample by the caller's last axis.
        readout: What the source applied to this output; a single sigmoid unit decides between
            class 0 and class 1 by its sign.
    """
    if outputs.shape[-1] == 1 and readout == "sigmoid":
        return (outputs[..., 0] >= 0).astype(np.int64)
    return np.asarray(outputs.argmax(axis=-1), np.int64)
