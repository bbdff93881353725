import numpy as np
import pytest

from spikeport.converter.errors import DataError, PassError
from spikeport.converter.ir import Graph, Node
from spikeport.converter.ir.ops import Conv, Flatten, Input, Transpose
from spikeport.converter.training.data import (
    Samples,
    check_samples,
    choose_first,
    draw_epoch,
    hold_back,
    make_augmentation,
)


def make(labels, inputs=None):
    labels = np.array(labels, np.int64)
    if inputs is None:
        inputs = np.arange(len(labels), dtype=np.float32)[:, None]
    return Samples(inputs, labels, "data")


def graph_of(shape, op):
    return Graph((Node("x", Input(shape)), Node("y", op, ("x",))), ("x",), ("y",))


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        (make([0, 1, 3]), "has labels 0 to 3, expected 0 to 2, the 3 outputs of the network"),
        (make([-1, 1]), "has labels -1 to 1, expected 0 to 2"),
        (make([1, 1, 1]), "has class 1 only, expected several classes"),
        (make([]), "0 samples and 0 labels, expected one label per sample"),
        (make([0, 1], np.array([[0], [np.nan]], np.float32)), "holds NaN or infinity"),
    ],
)
def test_data_that_do_not_fit_are_refused(samples, match):
    with pytest.raises(DataError, match=match) as found:
        check_samples(samples, 3)
    assert found.value.hint


def test_few_samples_and_missing_classes_make_warnings():
    warnings = check_samples(make([0, 1, 0]), 3)
    assert warnings[0].startswith("data: only 3 samples to train on")
    assert warnings[1] == "data: has 2 of 3 classes"
    assert check_samples(make([0, 1, 2] * 1000), 3) == ()


def test_hold_back_takes_the_last_ones():
    first, last = hold_back(make([0, 1, 2, 0]), 1)
    assert (len(first.labels), last.labels.tolist()) == (3, [0])
    assert last.name == "data, the last 1"
    assert hold_back(make([0, 1]), 0)[1] is None
    with pytest.raises(DataError, match="2 of 2 samples held back, expected 0 to 1"):
        hold_back(make([0, 1]), 2)


def test_first_samples_are_of_all_classes():
    mixed = make([0, 1, 2] * 4)
    np.testing.assert_array_equal(choose_first(mixed, 6)[:, 0], range(6))
    by_class = make(np.repeat([0, 1, 2], 4))
    np.testing.assert_array_equal(choose_first(by_class, 6)[:, 0], [0, 2, 4, 6, 8, 10])
    assert len(choose_first(by_class, 2)) == 2
    assert len(choose_first(by_class, 100)) == 12


def test_order_depends_on_seed_and_epoch_alone():
    samples = make(np.arange(50) % 3)
    x, y = draw_epoch(samples, 1, 4, None)
    again, _ = draw_epoch(samples, 1, 4, None)
    np.testing.assert_array_equal(x, again)
    np.testing.assert_array_equal(x[:, 0] % 3, y)
    assert (x != draw_epoch(samples, 1, 5, None)[0]).any()
    assert (x != draw_epoch(samples, 2, 4, None)[0]).any()
    assert sorted(x[:, 0]) == list(range(50))


@pytest.mark.parametrize("is_last", [True, False])
def test_images_are_shifted_and_mirrored(is_last):
    window = ((1, 1), (1, 1), ((0, 0),) * 2)
    weight = np.ones((1, 2, 1, 1), np.float32)
    if is_last:
        graph = graph_of((5, 4, 2), Transpose((2, 0, 1)))
    else:
        graph = graph_of((2, 5, 4), Conv(weight, np.zeros(1), *window))
    augment = make_augmentation(graph, 1, flip=True)
    image = np.zeros((200, 5, 4, 2), np.float32)
    image[:, 2, 1] = (1, 2)
    given = image if is_last else image.transpose(0, 3, 1, 2)
    found = augment(given, np.random.default_rng(0))
    assert found.shape == given.shape
    found = found if is_last else found.transpose(0, 2, 3, 1)
    places = np.argwhere(found[..., 0] == 1)
    assert len(places) == 200
    assert set(places[:, 1]) == {1, 2, 3}
    assert set(places[:, 2]) == {0, 1, 2, 3}
    np.testing.assert_array_equal(found[..., 1], 2 * found[..., 0])


def test_augmentation_of_what_is_no_image_is_refused():
    assert make_augmentation(graph_of((5,), Flatten()), 0, flip=False) is None
    with pytest.raises(PassError, match="--shift -1: expected a number of pixels of at least 0"):
        make_augmentation(graph_of((5,), Flatten()), -1, flip=False)
    with pytest.raises(DataError, match=r"the input has the shape \[5\], expected images"):
        make_augmentation(graph_of((5,), Flatten()), 1, flip=False)
