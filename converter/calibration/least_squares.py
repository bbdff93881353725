"""Weights that make of the spikes that arrive what the source's weights make of activations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..errors import PassError
from ..ir import Array
from ..ir.ops import Conv, Dense
from ..ir.windows import Window

Values = npt.NDArray[np.float64]

BATCH_SIZE = 25
MAX_PRODUCTS = 2**34
"""Multiplications for one layer's matrix: where it would take more, places are left out."""
LEAST = 1e-12
"""Of the inputs' mean square: a silent input is penalised as if it had this one."""


def fit_weights(op: Conv | Dense, operand: Array, wanted: Array, ridge: float) -> Conv | Dense:
    """Return the layer with weights moved towards `wanted`, in closed form.

        argmin_D,b  mean |wanted - (W + D) x - b|^2 + ridge sum_oi D_oi^2 mean(x_i^2)

    The penalty keeps the weights where the samples say little, whatever the units of the inputs.
    Neither labels nor gradients are used.

    Source: of this project. Li et al. 2021 (advanced calibration) have the same aim, layer by
    layer, and follow gradients.

    Args:
        op: W and its bias; every group of a convolution is fitted by itself.
        operand: x, [N, ...]: rates, in the units that W expects.
        wanted: [N, C_out, ...], of the source.
        ridge: Positive; the larger, the closer to W.

    Raises:
        PassError: Squares of the values are beyond float32.
    """
    groups = op.groups if isinstance(op, Conv) else 1
    weight = op.weight.reshape(groups, len(op.weight) // groups, -1).astype(np.float32)
    bias = op.bias.reshape(groups, -1).astype(np.float32)
    for group in range(groups):
        rows = _rows(op, operand, wanted, group)
        missing = ((x, y - x @ weight[group].T - bias[group]) for x, y in rows)
        with np.errstate(over="ignore", invalid="ignore"):
            change, shift = _solve(missing, weight.shape[2], ridge)
        if not (np.isfinite(change).all() and np.isfinite(shift).all()):
            raise PassError(
                f"squares of values up to {np.abs(wanted).max():g} are beyond float32, expected "
                "smaller ones",
                hint="scale the data as in training, or --set calibrate_neurons.fit_weights=false",
            )
        weight[group] += change
        bias[group] += shift
    return dataclasses.replace(op, weight=weight.reshape(op.weight.shape), bias=bias.reshape(-1))


def _rows(
    op: Conv | Dense, operand: Array, wanted: Array, group: int
) -> Iterator[tuple[Array, Array]]:
    """Yield what single results of a group are made of, [M, K], and what they should be, [M, C]."""
    random = np.random.default_rng(0)
    for start in range(0, len(operand), BATCH_SIZE):
        x, y = operand[start : start + BATCH_SIZE], wanted[start : start + BATCH_SIZE]
        if isinstance(op, Dense):
            yield x, y
            continue
        n_in, n_out = op.weight.shape[1], len(op.weight) // op.groups
        x = x[:, group * n_in : (group + 1) * n_in]
        y = y[:, group * n_out : (group + 1) * n_out].reshape(len(y), n_out, -1)
        window = Window(op.weight.shape[2:], op.strides, op.dilation, op.padding)
        n_products, n_places = op.weight[0].size, y.shape[2]
        columns = window.patches(x, fill=0.0).reshape(len(x), n_products, n_places)
        n_kept = max(1, MAX_PRODUCTS // (n_products**2 * len(operand) * op.groups))
        if n_kept < n_places:
            places = np.sort(random.permutation(n_places)[:n_kept])
            columns, y = columns[:, :, places], y[:, :, places]
        yield (
            np.moveaxis(columns, 1, 2).reshape(-1, n_products),
            np.moveaxis(y, 1, 2).reshape(-1, n_out),
        )


def _solve(
    batches: Iterator[tuple[Array, Array]], n_inputs: int, ridge: float
) -> tuple[Values, Values]:
    """Return D [C, K] and the change of the bias [C] for rows x [M, K] and what is missing [M, C].

    With fewer rows than inputs, by the kernel matrix of the rows, which is the same.
    """
    kept: list[tuple[Array, Array]] = []
    sums: _Sums | None = None
    n_rows = 0
    for x, missing in batches:
        n_rows += len(x)
        kept.append((x, missing))
        if n_rows > n_inputs:
            sums = sums or _Sums(n_inputs, missing.shape[1])
            for pair in kept:
                sums.add(*pair)
            kept = []
    if sums is not None:
        return sums.solve(ridge)
    inputs, wanted = (np.concatenate(parts).astype(np.float64) for parts in zip(*kept, strict=True))
    penalty = _penalty(np.square(inputs).sum(axis=0), ridge)
    input_means, means = inputs.mean(axis=0), wanted.mean(axis=0)
    centred = (inputs - input_means) / np.sqrt(penalty)
    kernel = centred @ centred.T + np.eye(n_rows)
    change = np.linalg.solve(kernel, wanted - means).T @ centred / np.sqrt(penalty)
    return change, means - change @ input_means


class _Sums:
    """What the normal equations need, added up."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        self.n_rows = 0
        self.squares = np.zeros((n_inputs, n_inputs))
        self.products = np.zeros((n_outputs, n_inputs))
        self.x = np.zeros(n_inputs)
        self.missing = np.zeros(n_outputs)

    def add(self, x: Array, missing: Array) -> None:
        self.n_rows += len(x)
        self.squares += x.T @ x
        self.products += missing.T @ x
        self.x += x.sum(axis=0, dtype=np.float64)
        self.missing += missing.sum(axis=0, dtype=np.float64)

    def solve(self, ridge: float) -> tuple[Values, Values]:
        x, missing = self.x / self.n_rows, self.missing / self.n_rows
        penalty = _penalty(self.squares.diagonal(), ridge)
        matrix = self.squares - self.n_rows * np.outer(x, x) + np.diag(penalty)
        right = self.products - self.n_rows * np.outer(missing, x)
        change = np.asarray(np.linalg.solve(matrix, right.T).T, np.float64)
        return change, missing - change @ x


def _penalty(squares: Values, ridge: float) -> Values:
    """Return ridge times the sum of x_i^2, or of a little for inputs that are silent."""
    return ridge * np.maximum(squares, LEAST * max(float(squares.mean()), math.ulp(1.0)))
