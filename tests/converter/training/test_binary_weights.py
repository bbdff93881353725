import numpy as np
import pytest

from spikeport.converter.training.binary_weights import SCHEMES, binarize

WEIGHT = np.array([[1.0, -2.0, 0.0], [0.1, 0.3, -0.2]], np.float32)


def test_values_by_hand():
    np.testing.assert_allclose(
        binarize(WEIGHT, "scaled"), [[1, -1, 1], [0.2, 0.2, -0.2]], rtol=1e-6
    )
    connected = binarize(WEIGHT, "connect")
    np.testing.assert_allclose(connected, [[0.6, -0.6, 0.6], [0.6, 0.6, -0.6]], rtol=1e-6)
    # 0.7 mean |w| is 0.7 and 0.14: of the first row 1 and -2 stay, of the second 0.3 and -0.2
    np.testing.assert_allclose(
        binarize(WEIGHT, "ternary"), [[1.5, -1.5, 0], [0, 0.25, -0.25]], rtol=1e-6
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_second_time_changes_nothing(scheme):
    weight = np.random.default_rng(0).normal(0, 0.1, (5, 4, 3, 3)).astype(np.float32)
    once = binarize(weight, scheme)
    np.testing.assert_allclose(binarize(once, scheme), once, rtol=1e-5)
    flat = once.reshape(5, -1)
    for row in flat:
        assert len(np.unique(np.abs(row[row != 0]))) == 1
    assert not np.signbit(once[once == 0]).any()


def test_channel_of_zeros_stays_finite():
    for scheme in SCHEMES:
        assert np.isfinite(binarize(np.zeros((2, 3), np.float32), scheme)).all()
