"""Figures of merit against reference implementations and by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest, pearsonr

from spikeport.runtime.metrics import (
    confusion_matrix,
    correlation,
    mcnemar,
    stable_after,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("n_right", "n_samples"),
    [(0, 1), (1, 1), (0, 50), (50, 50), (3, 7), (937, 1000), (9377, 10000)],
)
def test_wilson_interval_is_scipys(n_right, n_samples):
    expected = binomtest(n_right, n_samples).proportion_ci(method="wilson")
    assert wilson_interval(n_right, n_samples) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


@pytest.mark.parametrize(
    ("only_first", "only_second"),
    [(0, 0), (1, 0), (5, 15), (15, 5), (10, 10), (700, 800), (2000, 1)],
)
def test_mcnemar_is_scipys_exact_binomial_test(only_first, only_second):
    first = np.array([True] * only_first + [False] * only_second + [True, False])
    second = np.array([False] * only_first + [True] * only_second + [True, False])
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (only_first, only_second)
    n = only_first + only_second
    expected = binomtest(only_first, n).pvalue if n else 1.0
    assert result.p_value == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_mcnemar_of_ten_thousand_discordant_samples():
    first = np.arange(10_000) % 2 == 0
    assert mcnemar(first, ~first).p_value == 1.0


def test_when_decisions_are_stable():
    decisions = np.array([[0, 1, 2, 5], [0, 2, 2, 4], [0, 1, 2, 5], [0, 1, 3, 4]])
    np.testing.assert_array_equal(stable_after(decisions), [1, 3, 4, 4])
    np.testing.assert_array_equal(stable_after(decisions[:1]), [1, 1, 1, 1])


def test_confusion_matrix_has_true_classes_in_rows():
    found = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
    np.testing.assert_array_equal(found, [[1, 0, 1], [0, 1, 0], [0, 1, 0]])


def test_correlation_is_scipys():
    random = np.random.default_rng(0)
    a = random.normal(size=(5, 7)).astype(np.float32)
    b = (a + random.normal(size=(5, 7))).astype(np.float32)
    assert correlation(a, b) == pytest.approx(pearsonr(a.reshape(-1), b.reshape(-1)).statistic)
    assert correlation(a, 0 * a) is None
