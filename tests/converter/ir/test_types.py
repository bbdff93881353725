import numpy as np
import pytest

from spikeport.converter.errors import GraphError
from spikeport.converter.ir import TensorType
from spikeport.converter.ir.types import MAX_AXES, freeze


def test_printing_says_what_travels():
    assert str(TensorType((16, 8, 8), spiking=True)) == "spikes[16, 8, 8]"
    assert str(TensorType((10,))) == "float32[10]"
    assert str(TensorType(())) == "float32[]"


def test_size_is_the_product_and_one_for_a_scalar():
    assert TensorType((3, 4, 5)).size == 60
    assert TensorType(()).size == 1


@pytest.mark.parametrize("shape", [(0,), (3, -1), (2.0,), ("3",)])
def test_sizes_that_are_not_positive_integers(shape):
    with pytest.raises(GraphError, match=r"has a size that is not a positive integer"):
        TensorType(shape)


def test_more_elements_than_any_network_has():
    with pytest.raises(GraphError, match=r"more than 2147483648 elements per sample"):
        TensorType((2**16, 2**16))


def test_more_axes_than_numpy_can_take():
    with pytest.raises(GraphError, match=r"shape: has 17 axes, expected at most 16"):
        TensorType((1,) * (MAX_AXES + 1))


def test_freeze_copies_and_protects():
    values = np.arange(6.0).reshape(2, 3).T
    frozen = freeze(values)
    values[0, 0] = 9
    assert frozen[0, 0] == 0
    assert frozen.dtype == np.float32
    assert frozen.flags.c_contiguous
    with pytest.raises(ValueError, match="read-only"):
        frozen[0, 0] = 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_freeze_refuses_what_is_not_finite_in_float32(value):
    with pytest.raises(GraphError, match=r"holds NaN or infinity, expected finite float32"):
        freeze([1.0, value])
