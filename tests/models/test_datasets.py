import numpy as np
import pytest
from PIL import Image

from spikeport.converter.errors import DataError
from spikeport.models import fashion_mnist
from spikeport.models.datasets import load_data


@pytest.fixture(autouse=True)
def only_the_subset(monkeypatch, tmp_path):
    """No full set on this machine, wherever it is."""
    monkeypatch.setattr(fashion_mnist, "find_full_set", lambda: None)


@pytest.mark.parametrize("shape", [(28, 28, 1), (1, 28, 28), (784,), (28, 28)])
def test_named_data_comes_scaled_and_in_the_layout_of_the_network(shape):
    data = load_data("fashion-mnist:test", (shape,), limit=20)
    assert data.inputs[0].shape == (20, *shape)
    assert data.inputs[0].dtype == np.float32
    assert data.inputs[0].min() == 0
    assert data.inputs[0].max() == 1
    assert data.name == "Fashion-MNIST test split, shipped subset of 1000 images, the first 20"


def test_subset_is_balanced():
    for split, per_class in (("train", 50), ("test", 100)):
        data = load_data(f"fashion-mnist:{split}", ((784,),))
        assert np.bincount(data.labels).tolist() == [per_class] * 10


def test_scale_and_offset():
    plain = load_data("fashion-mnist:test", ((784,),), limit=3)
    scaled = load_data("fashion-mnist:test", ((784,),), limit=3, scale=2, offset=-1)
    np.testing.assert_array_equal(scaled.inputs[0], 2 * plain.inputs[0] - 1)
    assert scaled.name.endswith("times 2 plus -1")


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("fashion-mnist:validation", (784,), "no such split, expected one of train, test"),
        ("fashion-mnist", (784,), "no such split"),
        ("fashion-mnist:test", (32, 32, 3), r"images are 28x28, the network takes \(32, 32, 3\)"),
        ("nothing", (784,), "nothing: no such data, expected fashion-mnist:test"),
        ("missing.npz", (784,), "missing.npz: no such file"),
    ],
)
def test_data_that_does_not_exist(spec, shape, message):
    with pytest.raises(DataError, match=message):
        load_data(spec, (shape,))


@pytest.mark.parametrize(("scale", "offset"), [(0, 0), (float("nan"), 0), (1, float("inf"))])
def test_scale_and_offset_out_of_range(scale, offset):
    with pytest.raises(DataError, match="expected finite numbers and a scale not 0"):
        load_data("fashion-mnist:test", ((784,),), scale=scale, offset=offset)


def test_limit_below_one():
    with pytest.raises(DataError, match="limit 0, expected at least 1"):
        load_data("fashion-mnist:test", ((784,),), limit=0)


def test_npz_is_taken_as_it_is(tmp_path):
    x = np.arange(12, dtype=np.uint8).reshape(4, 3)
    np.savez(tmp_path / "a.npz", x=x, y=np.array([0, 1, 2, 1]))
    data = load_data(str(tmp_path / "a.npz"), ((3,),), limit=3)
    np.testing.assert_array_equal(data.inputs[0], x[:3])
    np.testing.assert_array_equal(data.labels, [0, 1, 2])
    assert data.name == "a.npz, 3 of 4 samples"


def test_npz_for_several_inputs(tmp_path):
    np.savez(tmp_path / "a.npz", x0=np.ones((4, 3)), x1=np.ones((4, 2)))
    data = load_data(str(tmp_path / "a.npz"), ((3,), (2,)))
    assert [array.shape for array in data.inputs] == [(4, 3), (4, 2)]
    assert data.labels is None


X = np.ones((4, 3), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": X}, r"has arrays \['y'\], expected x and optionally y"),
        ({"x": X[:, :2]}, r"x has shape \(4, 2\), expected \(N, 3\)"),
        ({"x": X[:0]}, "x has no samples"),
        ({"x": X.astype(complex)}, "x has dtype complex64|x has dtype complex128"),
        ({"x": X.astype(str)}, "x has dtype <U"),
        ({"x": np.where(np.eye(4, 3), np.nan, X)}, "3 samples of x hold NaN or infinity"),
        ({"x": np.full((4, 3), 1e300)}, "4 samples of x hold NaN or infinity"),
        ({"x": X, "y": np.zeros(3, int)}, r"y has shape \(3,\) and dtype int64, expected \(4,\)"),
        ({"x": X, "y": np.zeros((4, 10), int)}, r"y has shape \(4, 10\)"),
        ({"x": X, "y": np.zeros(4)}, "dtype float64, expected .* integers"),
        ({"x": np.array([{}, {}, {}, {}])}, "not a readable .npz file"),
    ],
)
def test_npz_that_does_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_data(str(tmp_path / "a.npz"), ((3,),))


def test_npz_inputs_of_different_length(tmp_path):
    np.savez(tmp_path / "a.npz", x0=np.ones((4, 3)), x1=np.ones((5, 2)))
    with pytest.raises(DataError, match="x1 has 5 samples, expected 4 as x0"):
        load_data(str(tmp_path / "a.npz"), ((3,), (2,)))


def test_npz_that_is_damaged_or_a_bomb(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        load_data(str(path), ((3,),))
    np.savez(path, x=X)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"not a readable \.npz file"):
        load_data(str(path), ((3,),))
    np.savez_compressed(path, x=np.zeros((100000, 3), np.float32))
    monkeypatch.setattr("spikeport.models.datasets.MAX_BYTES", 100000)
    with pytest.raises(DataError, match="bytes unpacked, expected at most 100000"):
        load_data(str(path), ((3,),))


def write_images(folder, mode="L", size=(4, 6)):
    for label, name in enumerate(["ant", "bee"]):
        (folder / name).mkdir(parents=True)
        for place in range(2):
            color = (10 * label + place,) * len(mode)
            Image.new(mode, size, color if len(mode) > 1 else color[0]).save(
                folder / name / f"{place}.png"
            )


def test_folder_of_images(tmp_path):
    write_images(tmp_path / "set")
    data = load_data(str(tmp_path / "set"), ((6, 4, 1),), limit=3)
    assert data.inputs[0].shape == (3, 6, 4, 1)
    np.testing.assert_array_equal(data.labels, [0, 1, 0])
    np.testing.assert_array_equal(data.inputs[0][:, 0, 0, 0], [0, 10, 1])
    assert data.name == "set, 3 of 4 images in 2 classes"


@pytest.mark.parametrize("shape", [(3, 6, 4), (6, 4, 3), (6, 4)])
def test_folder_of_images_in_other_layouts(tmp_path, shape):
    write_images(tmp_path / "set", "RGB")
    assert load_data(str(tmp_path / "set"), (shape,)).inputs[0].shape == (4, *shape)


def test_folders_that_are_refused(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images, expected one sub-folder of images per class"):
        load_data(str(tmp_path / "empty"), ((6, 4, 1),))
    write_images(tmp_path / "set")
    folder = str(tmp_path / "set")
    with pytest.raises(DataError, match="is 6x4 pixels, expected 5x4"):
        load_data(folder, ((5, 4, 1),))
    with pytest.raises(DataError, match=r"an image cannot feed an input of shape \(24,\)"):
        load_data(folder, ((24,),))
    with pytest.raises(DataError, match="feeds one input, the network takes 2"):
        load_data(folder, ((6, 4, 1), (6, 4, 1)))
    (tmp_path / "set" / "ant" / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"0.png: not a readable image"):
        load_data(folder, ((6, 4, 1),))
    monkeypatch.setattr("spikeport.models.datasets.MAX_BYTES", 100)
    with pytest.raises(DataError, match="4 images do not fit into 100 bytes"):
        load_data(folder, ((6, 4, 1),))
