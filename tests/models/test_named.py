"""Data sets by name: of Keras and of TensorFlow Datasets, both replaced by small ones."""

import sys
import types

import keras
import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.models.datasets import load_data, open_data
from spikeport.models.named import Pixels

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (12, 5, 7), np.uint8)
COLOR = RANDOM.integers(0, 256, (12, 5, 7, 3), np.uint8)
LABELS = np.arange(12) % 4


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of Keras with a file of each name, and a loader of our own images."""
    (tmp_path / "datasets").mkdir()
    for name in ("mnist.npz", "cifar-10-batches-py-target_archive"):
        (tmp_path / "datasets" / name).write_bytes(b"")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    gray, color = ((GRAY, LABELS), (GRAY[:6], LABELS[:6])), ((COLOR, LABELS[:, None]),) * 2
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: gray)
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: color)
    return tmp_path


@pytest.mark.parametrize("shape", [(5, 7, 1), (1, 5, 7), (5, 7), (35,)])
def test_gray_images_of_keras(cache, shape):
    data = load_data("keras:mnist:test", (shape,), limit=4)
    assert data.name == "mnist test split of Keras, 6 images, the first 4"
    np.testing.assert_array_equal(data.labels, LABELS[:4])
    assert data.inputs[0].dtype == np.float32
    expected = GRAY[:4].reshape(4, *shape).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.inputs[0], expected)


@pytest.mark.parametrize(("shape", "axes"), [((5, 7, 3), (0, 1, 2, 3)), ((3, 5, 7), (0, 3, 1, 2))])
def test_color_images_of_keras(cache, shape, axes):
    data = load_data("keras:cifar10:train", (shape,))
    np.testing.assert_array_equal(data.labels, LABELS)
    np.testing.assert_array_equal(data.inputs[0], COLOR.transpose(axes) / np.float32(255))


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("keras:imagenet:test", r"keras data set 'imagenet': does not exist, expected one of", ""),
        ("keras:mnist", r"keras:mnist: no such split, expected one of train, test", "mnist:test"),
        ("keras:mnist:val", r"keras:mnist:val: no such split", "write keras:mnist:test"),
        ("keras:cifar100:test", r"cifar-100-python-target_archive is not in .*sets", "load_data"),
        ("tfds:mnist", r"tfds:mnist: has no split, expected tfds:NAME:SPLIT", "tfds:mnist:test"),
        ("tfds:mnist:test", r"the package tensorflow-datasets is not installed", "pip install"),
    ],
)  # fmt: skip
def test_what_is_not_there(cache, monkeypatch, spec, message, hint):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=message) as caught:
        open_data(spec, ((5, 7),))
    assert hint in caught.value.hint


def test_images_of_another_size(cache):
    with pytest.raises(
        DataError, match=r"keras:mnist:test: images are 5x7, the network takes \(8,"
    ) as _:
        open_data("keras:mnist:test", ((8, 8),))
    with pytest.raises(DataError, match=r"images are 5x7x3, .* \(5, 7, 3\) or \(3, 5, 7\)"):
        open_data("keras:cifar10:test", ((5, 7),))


def test_a_damaged_cache(cache, monkeypatch):
    def fail():
        raise Exception("URL fetch failure\non ...")  # as Keras does

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    expected = r"keras:mnist:test: cannot be read \(URL fetch failure\), expected what Keras"
    with pytest.raises(DataError, match=expected):
        open_data("keras:mnist:test", ((5, 7),))
    text = np.array(["a", "b"])
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: ((text, LABELS[:2]),) * 2)
    with pytest.raises(
        DataError, match=r"has samples of shape \(\) and dtype <U1, expected images"
    ):
        open_data("keras:mnist:test", ((5, 7),))


def install_tfds(monkeypatch, samples, keys=("picture", "class")):
    """Put a library in place that gives these samples; return what it was asked for."""
    asked = {}

    def load(name, **options):
        asked.update(options, name=name)
        if isinstance(samples, Exception):
            raise samples
        return samples, types.SimpleNamespace(supervised_keys=keys)

    module = types.SimpleNamespace(load=load, as_numpy=lambda values: values)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return asked


def test_tensorflow_datasets(monkeypatch):
    samples = [{"picture": x[..., None], "class": y} for x, y in zip(GRAY, LABELS, strict=True)]
    asked = install_tfds(monkeypatch, samples)
    data = load_data("tfds:mnist:3.0.1:train[:10%]", ((1, 5, 7),), limit=3)
    assert (asked["name"], asked["split"]) == ("mnist:3.0.1", "train[:10%]")
    assert asked["download"] is False
    assert data.name == "mnist:3.0.1 train[:10%] of TensorFlow Datasets, 3 images"
    np.testing.assert_array_equal(data.labels, LABELS[:3])
    np.testing.assert_array_equal(data.inputs[0][:, 0], GRAY[:3] / np.float32(255))
    install_tfds(monkeypatch, [{"image": COLOR[0]}], keys=None)
    data = load_data("tfds:pictures:all", ((5, 7, 3),))
    assert data.labels is None


def test_what_tensorflow_datasets_cannot_give(monkeypatch):
    def refuse(samples, message):
        install_tfds(monkeypatch, samples)
        with pytest.raises(DataError, match=message):
            open_data("tfds:set:test", ((5, 7),))

    one = {"picture": GRAY[0], "class": 1}
    refuse(
        AssertionError("Dataset set: could not find data"), r"cannot be read \(Dataset set: could"
    )
    refuse([], r"0 images of 0 bytes and of 0 sizes \(none\), expected one size")
    refuse([one, {"picture": GRAY[0, :4], "class": 1}], r"2 sizes \(\(4, 7\), \(5, 7\)\)")
    refuse([{"picture": GRAY[0], "class": "a"}], r"has labels of shape \(1,\) and dtype <U1")
    refuse([{"other": 1}], r"cannot be read \('picture'\)")
    monkeypatch.setattr("spikeport.models.named.MAX_BYTES", 40)
    refuse([one, one, one], r"2 images of 70 bytes .* at most 40 bytes")


def test_pixels_are_made_when_asked_for():
    pixels = Pixels(GRAY, (5, 7, 1))
    assert (pixels.shape, len(pixels)) == ((12, 5, 7, 1), 12)
    np.testing.assert_array_equal(pixels[3:5][..., 0], GRAY[3:5] / np.float32(255))
