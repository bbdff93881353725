import gzip

import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.models import fashion_mnist
from spikeport.models.fashion_mnist import SPLITS, find_full_set, load


def write_idx(path, array):
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes()
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header + array.tobytes())


@pytest.fixture
def full_set(tmp_path, monkeypatch):
    """A small stand-in with the four files of the real set."""
    monkeypatch.setattr(fashion_mnist, "SPLITS", {"train": ("train", 30), "test": ("t10k", 20)})
    monkeypatch.setenv("SPIKEPORT_DATA", str(tmp_path))
    for prefix, n_samples in (("train", 30), ("t10k", 20)):
        y = np.arange(n_samples, dtype=np.uint8) % 10
        x = np.broadcast_to(y[:, None, None], (n_samples, 28, 28)).copy()
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", x)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", y)
    return tmp_path


def test_full_set_is_found_where_the_variable_says(full_set):
    assert find_full_set() == full_set
    images = load("test")
    assert images.source == "Fashion-MNIST test split, all 20 images"
    np.testing.assert_array_equal(images.y, np.arange(20) % 10)
    np.testing.assert_array_equal(images.x[:, 5, 5], images.y)


def test_shipped_subset_is_taken_when_asked_for(full_set):
    assert len(load("test", shipped=True).x) == 1000


def test_full_set_in_the_cache_of_keras(full_set, monkeypatch, tmp_path):
    monkeypatch.delenv("SPIKEPORT_DATA")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "none")
    home = tmp_path / "keras"
    monkeypatch.setenv("KERAS_HOME", str(home))
    assert find_full_set() is None
    (home / "datasets").mkdir(parents=True)
    (home / "datasets" / "fashion-mnist").symlink_to(full_set)
    assert find_full_set() == home / "datasets" / "fashion-mnist"


def test_no_home_folder(full_set, monkeypatch, tmp_path):
    def expanduser(path):
        return str(path)  # as os.path.expanduser does for a user without HOME and passwd entry

    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("SPIKEPORT_DATA", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", expanduser)
    monkeypatch.setattr("pathlib.Path.home", home)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", full_set)
    assert find_full_set() == full_set
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "none")
    assert find_full_set() is None


def test_subset_is_written_from_the_full_set(full_set, monkeypatch, tmp_path):
    subset = tmp_path / "subset.npz"
    monkeypatch.setattr(fashion_mnist, "SUBSET", subset)
    monkeypatch.setattr(fashion_mnist, "SUBSET_PER_CLASS", {"train": 2, "test": 1})
    fashion_mnist.write_subset(full_set)
    with np.load(subset, allow_pickle=False) as arrays:
        assert sorted(arrays.files) == ["test_x", "test_y", "train_x", "train_y"]
    for split, n_samples in (("train", 20), ("test", 10)):
        full, images = load(split), load(split, shipped=True)
        np.testing.assert_array_equal(images.x, full.x[:n_samples])
        np.testing.assert_array_equal(images.y, full.y[:n_samples])


def test_variable_that_names_no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKEPORT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"SPIKEPORT_DATA=.*: no Fashion-MNIST in this folder"):
        find_full_set()


def test_damaged_files(full_set):
    path = full_set / "t10k-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:60])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: "):
        load("test")
    path.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="Not a gzipped file"):
        load("test")
    write_idx(path, np.zeros((20, 27, 28), np.uint8))
    with pytest.raises(DataError, match="not the idx file of Fashion-MNIST, expected unsigned"):
        load("test")


def test_subset_holds_the_first_of_each_class_of_the_real_set(monkeypatch):
    monkeypatch.delenv("SPIKEPORT_DATA", raising=False)
    if find_full_set() is None:
        pytest.skip("the full Fashion-MNIST is not on this machine")
    for split in SPLITS:
        full, subset = load(split), load(split, shipped=True)
        for label in range(10):
            expected = full.x[full.y == label][: fashion_mnist.SUBSET_PER_CLASS[split]]
            np.testing.assert_array_equal(subset.x[subset.y == label], expected)
