"""Weights in closed form, against numpy's least squares on the extended system."""

import numpy as np
import pytest

from spikeport.converter.calibration import least_squares
from spikeport.converter.calibration.least_squares import fit_weights
from spikeport.converter.errors import PassError
from spikeport.converter.ir.ops import Conv, Dense

RANDOM = np.random.default_rng(5)


def expected_change(x: np.ndarray, missing: np.ndarray, ridge: float):
    """Rows x [M, K], missing [M, C]: the penalty as further rows, the bias as an input of ones."""
    weights = np.sqrt(ridge * np.square(x).sum(axis=0))
    rows = np.block([[x, np.ones((len(x), 1))], [np.diag(weights), np.zeros((x.shape[1], 1))]])
    right = np.concatenate([missing, np.zeros((x.shape[1], missing.shape[1]))])
    solution = np.linalg.lstsq(rows, right, rcond=None)[0]
    return solution[:-1].T, solution[-1]


@pytest.mark.parametrize("n_rows", [4, 12, 60, 300], ids=lambda n: f"{n} rows, 12 inputs")
def test_dense(n_rows):
    op = Dense(RANDOM.normal(size=(3, 12)), RANDOM.normal(size=3))
    x = RANDOM.uniform(0, 1, (n_rows, 12)).astype(np.float32) * np.float32([1, 100, 0.01] * 4)
    wanted = RANDOM.normal(size=(n_rows, 3)).astype(np.float32)
    found = fit_weights(op, x, wanted, 0.1)
    change, shift = expected_change(x.astype(float), wanted - op.apply(x).astype(float), 0.1)
    scale = np.abs(x).mean(axis=0)
    np.testing.assert_allclose((found.weight - op.weight) * scale, change * scale, atol=1e-3)
    np.testing.assert_allclose(found.bias - op.bias, shift, atol=1e-3)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_is_fitted_as_its_rows(groups):
    op = Conv(
        RANDOM.normal(size=(4, 4 // groups, 3, 3)), np.zeros(4), (2, 1), (1, 1), ((1, 1), (0, 1)),
        groups,
    )  # fmt: skip
    x = RANDOM.uniform(0, 1, (30, 4, 6, 5)).astype(np.float32)
    other = Conv(
        op.weight + RANDOM.normal(size=op.weight.shape) * 0.1, np.ones(4), (2, 1), (1, 1),
        ((1, 1), (0, 1)), groups,
    )  # fmt: skip
    found = fit_weights(op, x, other.apply(x), 1e-6)
    np.testing.assert_allclose(found.weight, other.weight, atol=1e-3)
    np.testing.assert_allclose(found.bias, other.bias, atol=1e-3)


def test_nothing_changes_where_nothing_is_missing():
    op = Dense(RANDOM.normal(size=(3, 5)), RANDOM.normal(size=3))
    x = RANDOM.uniform(0, 1, (40, 5)).astype(np.float32)
    x[:, 2] = 0  # silent
    found = fit_weights(op, x, op.apply(x), 0.1)
    np.testing.assert_allclose(found.weight, op.weight, atol=1e-5)
    silent = fit_weights(op, np.zeros_like(x), op.apply(x), 0.1)
    np.testing.assert_allclose(silent.weight, op.weight, atol=1e-5)


def test_places_are_left_out_of_large_layers(monkeypatch):
    op = Conv(RANDOM.normal(size=(2, 1, 3)), np.zeros(2), (1,), (1,), ((1, 1),))
    x = RANDOM.uniform(0, 1, (200, 1, 50)).astype(np.float32)
    other = Conv(op.weight + 0.1, np.ones(2), (1,), (1,), ((1, 1),))
    monkeypatch.setattr(least_squares, "MAX_PRODUCTS", 9 * 200 * 2)
    found = fit_weights(op, x, other.apply(x), 1e-6)
    np.testing.assert_allclose(found.weight, other.weight, atol=1e-3)


def test_values_beyond_float32():
    op = Dense(np.full((2, 3), 1e20, np.float32), np.zeros(2, np.float32))
    x = RANDOM.uniform(0, 1e20, (40, 3)).astype(np.float32)
    wanted = np.full((40, 2), 1e20, np.float32)
    with pytest.raises(PassError, match=r"values up to 1e\+20 are beyond float32"):
        fit_weights(op, x, wanted, 0.1)
