"""The kernels, imported when they are first run: planning needs no numba."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def kernels() -> Any:
    """Return the module of the kernels."""
    from ..kernels import events

    return events


@functools.cache
def bit_kernels() -> Any:
    """Return the module of the kernels for weights that are bits."""
    from ..kernels import bits

    return bits


@functools.cache
def product_kernels() -> Any:
    """Return the module of the kernel for small products."""
    from ..kernels import products

    return products


@functools.cache
def stepped_kernels() -> Any:
    """Return the module of the kernels of neurons beside IntegrateFire."""
    from ..kernels import stepped

    return stepped


@functools.cache
def level_kernels() -> Any:
    """Return the module of the kernels for levels."""
    from ..kernels import levels

    return levels


@functools.cache
def dense_kernels() -> Any:
    """Return the module of the kernel for many spikes."""
    from ..kernels import dense

    return dense
