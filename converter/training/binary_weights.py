"""Weights of two or three values per output channel: SCHEMES, in numpy."""

from __future__ import annotations

import numpy as np

from ..ir import Array

SCHEMES = {
    "connect": "one value -a, a per layer (BinaryConnect, Courbariaux et al. 2015)",
    "stochastic": "the same, drawn with probability hard-sigmoid(w / a) while training",
    "scaled": "-a, a with a = mean |w| per output channel (XNOR-Net, Rastegari et al. 2016)",
    "ternary": "-a, 0, a with 0 where |w| < 0.7 mean |w| (TWN, Li et al. 2016)",
}
TERNARY_SHARE = 0.7
LEAST = 1e-6
"""Of a: a channel whose weights are all zero stays a channel."""


def binarize(weight: Array, scheme: str) -> Array:
    """Return the weights as -a, a or, ternary, -a, 0, a.

    Args:
        weight: [C_out, ...].
        scheme: A key of SCHEMES.

    Returns:
        Of the same shape; 0 counts as positive.
    """
    flat = weight.reshape(len(weight), -1)
    size = np.abs(flat)
    signs = np.where(flat >= 0, np.float32(1), np.float32(-1))
    if scheme in {"connect", "stochastic"}:
        scale = np.full((len(flat), 1), size.mean())
    elif scheme == "scaled":
        scale = size.mean(axis=1, keepdims=True)
    else:
        is_large = size > TERNARY_SHARE * size.mean(axis=1, keepdims=True)
        n_large = np.maximum(is_large.sum(axis=1, keepdims=True), 1)
        scale = (size * is_large).sum(axis=1, keepdims=True) / n_large
        signs = signs * is_large
    result = signs * np.maximum(scale, LEAST).astype(np.float32) + np.float32(0)  # no -0
    return np.asarray(result.reshape(weight.shape), np.float32)
