import dataclasses
import gzip
import json

import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.models import fashion_mnist
from spikeport.models.architectures import build_vgg, build_vgg_max
from spikeport.models.registry import MODELS, ReferenceModel, find_model, weights_path
from spikeport.models.training import augment, to_inputs, train


def test_augmentation_shifts_and_mirrors():
    images = np.zeros((200, 9, 9), np.uint8)
    images[:, 4, 2] = 7
    recipe = ReferenceModel(MODELS["mlp"].build, max_shift_pixels=2, flip=True)
    changed = augment(images, recipe, np.random.default_rng(0))
    assert (changed.sum(axis=(1, 2)) == 7).all()
    places = {tuple(map(int, np.argwhere(image)[0])) for image in changed}
    assert {row for row, _ in places} == {2, 3, 4, 5, 6}
    assert {column for _, column in places} == {0, 1, 2, 3, 4} | {8, 7, 6, 5, 4}
    assert images[:, 4, 2].all()


def test_augmentation_that_does_nothing():
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 4)).astype(np.uint8)
    recipe = ReferenceModel(MODELS["mlp"].build, max_shift_pixels=0, flip=False)
    np.testing.assert_array_equal(augment(images, recipe, np.random.default_rng(0)), images)


def test_inputs_are_scaled_to_one():
    x = to_inputs(np.array([[[0, 255]]], np.uint8))
    assert x.shape == (1, 1, 2, 1)
    np.testing.assert_array_equal(x.reshape(-1), [0, 1])


def test_training_without_the_full_set_is_refused(monkeypatch):
    monkeypatch.setattr(fashion_mnist, "find_full_set", lambda: None)
    with pytest.raises(DataError, match="Fashion-MNIST is not on this machine, expected its 60000"):
        train("mlp")


def test_folder_that_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "find_full_set", lambda: tmp_path)
    monkeypatch.setattr(fashion_mnist, "load", lambda split: pytest.fail("went on"))
    (tmp_path / "afile").write_text("x")
    for folder, reason in (("afile/x", "Not a directory"), ("afile", "File exists")):
        with pytest.raises(DataError, match=rf"{folder}: cannot be written \({reason}\)") as caught:
            train("mlp", folder=tmp_path / folder)
        assert "-o" in caught.value.hint


def test_training_without_the_exporter_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match="the package tf2onnx is missing") as caught:
        train("mlp")
    assert caught.value.hint == "pip install 'spikeport[dev]'"


def test_names_of_shipped_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_model("lenet") == weights_path("lenet")
    assert find_model("lenet.onnx") == weights_path("lenet", ".onnx")
    assert str(find_model("other.onnx")) == "other.onnx"
    assert str(find_model("folder/lenet")) == "folder/lenet"
    (tmp_path / "lenet.onnx").write_text("mine")
    assert str(find_model("lenet.onnx")) == "lenet.onnx"
    (tmp_path / "lenet").mkdir()
    assert find_model("lenet") == weights_path("lenet")
    assert str(find_model("a" * 5000)) == "a" * 5000


@pytest.mark.slow
def test_a_short_training_writes_networks_that_are_read(tmp_path, monkeypatch):
    """Two classes of stripes, one epoch: the files are complete and say the same."""
    from spikeport.converter.equality import relative_error
    from spikeport.converter.frontends import read

    monkeypatch.setattr(fashion_mnist, "SPLITS", {"train": ("train", 256), "test": ("t10k", 64)})
    monkeypatch.setenv("SPIKEPORT_DATA", str(tmp_path))
    for prefix, n_samples in (("train", 256), ("t10k", 64)):
        y = (np.arange(n_samples) % 2).astype(np.uint8)
        x = np.zeros((n_samples, 28, 28), np.uint8)
        x[y == 0, ::2] = 255
        x[y == 1, :, ::2] = 255
        for kind, array in (("images-idx3", x), ("labels-idx1", y)):
            header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes()
            with gzip.open(tmp_path / f"{prefix}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + array.tobytes())
    monkeypatch.setitem(
        MODELS, "mlp", dataclasses.replace(MODELS["mlp"], max_shift_pixels=0, flip=False)
    )
    path = train("mlp", folder=tmp_path / "out", n_epochs=2)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "mlp.json",
        "mlp.keras",
        "mlp.onnx",
    ]
    record = json.loads((tmp_path / "out" / "mlp.json").read_text())
    assert min(record["accuracy"].values()) > 0.9
    assert record["training"]["n_epochs"] == 2
    keras_source, onnx_source = read(path), read(path.with_suffix(".onnx"))
    (images,) = (to_inputs(fashion_mnist.load("test").x),)
    assert relative_error(keras_source.run((images,))[0], onnx_source.run((images,))[0]) < 1e-5


def test_vgg_max_is_vgg_but_for_the_poolings():
    configs = []
    for build in (build_vgg, build_vgg_max):
        layers = [layer.get_config() for layer in build().layers]
        configs.append([{k: v for k, v in c.items() if "seed" not in k} for c in layers])
        pools = [layer for layer in build().layers if layer.name.startswith("pool")]
        assert {type(pool).__name__ for pool in pools} == {
            "AveragePooling2D" if build is build_vgg else "MaxPooling2D"
        }
    assert configs[0] == configs[1]
