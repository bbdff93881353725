"""What samples go through: hand-computed pixels, keras.applications, and refusals."""

import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import Input
from spikeport.converter.ir.preprocessing import (
    PREPROCESSINGS,
    Preprocessing,
    choose_preprocessing,
    read_preprocessing,
)

PIXELS = np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3)


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_modes_are_those_of_keras(mode, data_format):
    from keras.applications.imagenet_utils import preprocess_input

    x = PIXELS if data_format == "channels_last" else PIXELS.transpose(0, 3, 1, 2)
    expected = preprocess_input(x.copy(), data_format=data_format, mode=mode)
    np.testing.assert_allclose(
        PREPROCESSINGS[mode].apply(x, x.shape[1:]), expected, rtol=0, atol=2e-5
    )


def test_hand_computed():
    made = Preprocessing((1.0, 10.0, 100.0), (0.0, 1.0, 2.0), reverse_channels=True)
    np.testing.assert_array_equal(
        made.apply(np.array([[[1.0, 2.0, 3.0]]]), (1, 3)), [[[3, 21, 102]]]
    )
    np.testing.assert_allclose(
        PREPROCESSINGS["unit"].apply(np.full((1, 2), 51), (2,)), 0.2, rtol=1e-6
    )
    assert Preprocessing().apply(PIXELS, (4, 5, 3)).dtype == np.float32


def test_one_number_for_every_channel_of_an_array_of_any_shape():
    made = Preprocessing((2.0,), (1.0,))
    np.testing.assert_array_equal(made.apply(np.ones((2, 7)), (7,)), np.full((2, 7), 3))
    np.testing.assert_array_equal(made.apply(np.ones((2,)), ()), np.full((2,), 3))


@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ((4, 5, 1), PREPROCESSINGS["torch"]),
        ((3, 5, 3), PREPROCESSINGS["torch"]),
        ((), PREPROCESSINGS["caffe"]),
        ((28, 28), Preprocessing(reverse_channels=True)),
    ],
)
def test_channels_that_are_not_there_or_not_clear(shape, made):
    with pytest.raises(
        DataError, match=r"samples of shape \(.*\), expected 3.* channels as the"
    ) as e:
        made.find_axis(shape)
    assert "--preprocess none" in e.value.hint


@pytest.mark.parametrize("n_steps", [3, 4])
@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5, 3)])
def test_time_is_no_axis_of_channels(shape, n_steps):
    x = np.random.default_rng(0).random((2, n_steps, *shape)) * 255
    for made in (PREPROCESSINGS["torch"], PREPROCESSINGS["caffe"]):
        expected = np.stack([made.apply(x[:, t], shape) for t in range(n_steps)], axis=1)
        np.testing.assert_array_equal(made.apply(x, shape), expected)


def test_a_vector_has_its_channels_along_its_only_axis():
    assert Preprocessing((1.0, 2.0, 3.0)).find_axis((3,)) == 0


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        ((0.0,), (0.0,)), ((float("nan"),), (0.0,)), ((1.0,), (float("inf"),)),
        ((1.0, 2.0), (0.0, 1.0, 2.0)), ((), (0.0,)), ((1.0, 0.0), (0.0,)),
    ],
)  # fmt: skip
def test_numbers_that_do_not_do(scale, offset):
    with pytest.raises(DataError, match=r"input scale .*, expected finite numbers, one or as many"):
        Preprocessing(scale, offset)


def test_choosing():
    torch = PREPROCESSINGS["torch"]
    assert choose_preprocessing(torch) == torch
    assert choose_preprocessing(torch, scale=(2.0,)) == Preprocessing((2.0,), torch.offset)
    assert choose_preprocessing(Preprocessing((2.0,)), "caffe") == PREPROCESSINGS["caffe"]
    with pytest.raises(DataError, match="preprocess caffe: has a scale and an offset of its own"):
        choose_preprocessing(torch, "caffe", scale=(2.0,))
    with pytest.raises(DataError, match="preprocess 'cafe': does not exist") as caught:
        choose_preprocessing(torch, "cafe")
    assert "caffe" in caught.value.hint


@pytest.mark.parametrize("made", PREPROCESSINGS.values())
def test_files_keep_it(made):
    graph = Graph((Node("x", Input((3, 2, 2))),), ("x",), ("x",))
    kept = graph.replace(metadata={"preprocessing": made.to_metadata()})
    assert read_preprocessing(kept) == made
