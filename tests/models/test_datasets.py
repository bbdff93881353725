import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spikeport.converter.errors import DataError
from spikeport.converter.ir.preprocessing import Preprocessing
from spikeport.models import fashion_mnist, images
from spikeport.models.datasets import load_data, open_data


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
    scaled = load_data(
        "fashion-mnist:test", ((784,),), limit=3, preprocessing=Preprocessing((2.0,), (-1.0,))
    )
    np.testing.assert_array_equal(scaled.inputs[0], 2 * plain.inputs[0] - 1)
    assert scaled.name.endswith("times 2 plus -1")


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("fashion-mnist:validation", (784,), "no such split, expected one of train, test"),
        ("fashion-mnist", (784,), "no such split"),
        ("fashion-mnist:test", (32, 32, 3), r"images are 28x28, the network takes \(32, 32, 3\)"),
        ("fashion-mnist-png", (784,), "fashion-mnist-png: no such data"),
        ("fashion-mnist.npz", (784,), "fashion-mnist.npz: no such file"),
        ("a" * 5000, (784,), r"cannot be read \(File name too long\), expected fashion-mnist:test"),
        ("nothing", (784,), "nothing: no such data, expected fashion-mnist:test"),
        ("missing.npz", (784,), "missing.npz: no such file"),
    ],
)
def test_data_that_does_not_exist(spec, shape, message):
    with pytest.raises(DataError, match=message):
        load_data(spec, (shape,))


def test_limit_below_one():
    with pytest.raises(DataError, match="number of samples 0, expected at least 1") as caught:
        load_data("fashion-mnist:test", ((784,),), limit=0)
    assert "--limit or --calibration-samples" in caught.value.hint


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
    monkeypatch.setattr("spikeport.models.arrays.MAX_BYTES", 100000)
    with pytest.raises(DataError, match="bytes unpacked, expected at most 100000"):
        load_data(str(path), ((3,),))


def change_member(path, what):
    """Change what the archive says about its one member, in both of its headers."""
    content = bytearray(path.read_bytes())
    local, central = content.index(b"PK\x03\x04"), content.index(b"PK\x01\x02")
    if what == "flipped":
        content[local + 60] ^= 0xFF
    elif what == "encrypted":
        content[local + 6] |= 1
        content[central + 8] |= 1
    else:
        content[local + 8] = content[central + 10] = 99
    path.write_bytes(content)


@pytest.mark.parametrize("what", ["flipped", "encrypted", "method"])
def test_npz_that_cannot_be_unpacked(tmp_path, what):
    path = tmp_path / "a.npz"
    x = np.random.default_rng(0).normal(size=(400, 3))
    np.savez_compressed(path, x=x)
    change_member(path, what)
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz file \(.+\)$") as caught:
        load_data(str(path), ((3,),))
    assert "write it with numpy.savez" in caught.value.hint


def test_npz_packed_with_lzma_that_is_damaged(tmp_path):
    path = tmp_path / "a.npz"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(400, 3)))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    content = bytearray(path.read_bytes())
    content[45:50] = b"\xff" * 5
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npz: not a readable \.npz file"):
        load_data(str(path), ((3,),))


@pytest.mark.parametrize("y", [np.zeros(4), np.zeros((4, 10)), np.array([{}] * 4)])
def test_labels_that_are_not_asked_for_are_not_read(tmp_path, y):
    np.savez(tmp_path / "a.npz", x=X, y=y)
    data = load_data(str(tmp_path / "a.npz"), ((3,),), labels=False)
    assert data.labels is None
    if y.dtype != object:
        with pytest.raises(DataError, match=r"expected \(4,\) integers") as caught:
            load_data(str(tmp_path / "a.npz"), ((3,),))
        assert "leave y out where accuracy is not wanted" in caught.value.hint
    assert load_data("fashion-mnist:test", ((784,),), labels=False).labels is None


def refuse(name):
    """Return a method of Path that is not permitted on paths of this name."""
    methods = {"iterdir": Path.iterdir, "is_dir": Path.is_dir, "open": Path.open}

    def method_of(method):
        def run(path, *args, **options):
            if path.name == name:
                raise PermissionError(13, os.strerror(13))
            return methods[method](path, *args, **options)

        return run

    return method_of


@pytest.mark.parametrize(
    ("method", "hidden"),
    [("iterdir", "set"), ("iterdir", "ant"), ("is_dir", "set"), ("is_dir", "ant")],
)
def test_folders_without_permission(tmp_path, monkeypatch, method, hidden):
    write_images(tmp_path / "set")
    monkeypatch.setattr(Path, method, refuse(hidden)(method))
    with pytest.raises(DataError, match=rf"{hidden}: cannot be read \(Permission") as caught:
        load_data(str(tmp_path / "set"), ((6, 4, 1),))
    assert caught.value.hint == "check the name and its permissions"


def test_npz_without_permission(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", x=X)
    monkeypatch.setattr(Path, "open", refuse("a.npz")("open"))
    with pytest.raises(DataError, match=r"a\.npz: cannot be read \(Permission") as caught:
        load_data(str(tmp_path / "a.npz"), ((3,),))
    assert caught.value.hint == "check the name and its permissions"


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
    with pytest.raises(DataError, match="set: 4 samples take 384 bytes, expected at most 100"):
        load_data(folder, ((6, 4, 1),))


def test_what_systems_put_into_folders_is_no_class_and_no_image(tmp_path):
    write_images(tmp_path / "set")
    write_images(tmp_path / "set" / ".thumbnails")
    for hidden in (".git", "@eaDir"):
        (tmp_path / "set" / hidden).mkdir()
    (tmp_path / "set" / "ant" / "._0.png").write_bytes(b"no image")
    data = load_data(str(tmp_path / "set"), ((6, 4, 1),))
    np.testing.assert_array_equal(data.labels, [0, 1, 0, 1])
    assert data.name == "set, 4 of 4 images in 2 classes"


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    write_images(tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    assert load_data(".", ((6, 4, 1),)).name == "set, 4 of 4 images in 2 classes"


def test_a_folder_whose_name_begins_as_the_named_set(tmp_path, monkeypatch):
    write_images(tmp_path / "fashion-mnist-png")
    monkeypatch.chdir(tmp_path)
    assert len(load_data("fashion-mnist-png", ((6, 4, 1),)).inputs[0]) == 4


@pytest.mark.parametrize(
    ("dtype", "suffix", "mode"),
    [(np.uint16, "png", "I;16"), (np.int32, "tif", "I"), (np.float32, "tif", "F")],
)
def test_images_of_more_than_eight_bits_are_refused(tmp_path, dtype, suffix, mode):
    (tmp_path / "ant").mkdir()
    Image.fromarray(np.full((6, 4), 300, dtype)).save(tmp_path / "ant" / f"0.{suffix}")
    with pytest.raises(
        DataError, match=rf"0\.{suffix}: has pixels of mode {mode}.*, expected 8 bits per channel"
    ) as caught:
        load_data(str(tmp_path), ((6, 4, 1),))
    assert "scale the images to 0..255" in caught.value.hint


def test_broken_images_are_left_out_where_that_is_asked_for(tmp_path):
    write_images(tmp_path / "set")
    folder = str(tmp_path / "set")
    (tmp_path / "set" / "ant" / "0.png").write_bytes(b"\x89PNG broken")
    Image.new("L", (9, 9)).save(tmp_path / "set" / "bee" / "1.png")
    data = load_data(folder, ((6, 4, 1),), skip_broken=True)
    np.testing.assert_array_equal(data.inputs[0][:, 0, 0, 0], [10, 1])
    np.testing.assert_array_equal(data.labels, [1, 0])
    assert data.name == "set, 2 of 4 images in 2 classes, 2 broken ones skipped"
    with pytest.raises(DataError, match=r"set: none of 4 images can be read, expected images of"):
        load_data(folder, ((5, 5, 1),), skip_broken=True)


def test_images_are_decoded_when_they_are_asked_for(tmp_path, monkeypatch):
    write_images(tmp_path / "set")
    opened = open_data(
        str(tmp_path / "set"), ((6, 4, 1),), preprocessing=Preprocessing((0.5,), (1.0,))
    )
    (samples,) = opened.inputs
    assert samples.shape == (4, 6, 4, 1)
    assert len(samples) == 4
    decoded = []
    read = images.read_image

    def watched(path, shape):
        decoded.append(f"{path.parent.name}/{path.name}")
        return read(path, shape)

    monkeypatch.setattr(images, "read_image", watched)
    np.testing.assert_array_equal(samples[1:3][:, 0, 0, 0], [6, 1.5])
    assert sorted(decoded) == ["ant/1.png", "bee/0.png"]


def test_folder_of_npy_files_is_mapped(tmp_path):
    folder = tmp_path / "arrays"
    folder.mkdir()
    x = np.arange(24, dtype=np.uint8).reshape(4, 6)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", [3, 2, 1, 0])
    opened = open_data(str(folder), ((6,),), limit=3)
    assert isinstance(opened.inputs[0], np.memmap)
    data = load_data(str(folder), ((6,),), limit=3)
    np.testing.assert_array_equal(data.inputs[0], x[:3])
    assert data.inputs[0].dtype == np.float32
    np.testing.assert_array_equal(data.labels, [3, 2, 1])
    assert data.name == "arrays, 3 of 4 samples"
    assert load_data(str(folder), ((6,),), labels=False).labels is None
    with pytest.raises(DataError, match=r"arrays: x has shape \(4, 6\), expected \(N, 5\)"):
        load_data(str(folder), ((5,),))
    np.save(folder / "x.npy", np.array([{}], object))
    with pytest.raises(DataError, match=r"x\.npy: not a readable \.npy file"):
        load_data(str(folder), ((6,),))


def test_npy_files_for_several_inputs(tmp_path):
    np.save(tmp_path / "x0.npy", np.zeros((3, 2)))
    np.save(tmp_path / "x1.npy", np.ones((3, 4)))
    data = load_data(str(tmp_path), ((2,), (4,)))
    assert [array.shape for array in data.inputs] == [(3, 2), (3, 4)]
    np.save(tmp_path / "x1.npy", np.ones((2, 4)))
    with pytest.raises(DataError, match=r"x1 has 2 samples, expected 3 as x0"):
        load_data(str(tmp_path), ((2,), (4,)))
    (tmp_path / "x1.npy").unlink()
    with pytest.raises(DataError, match=r"x1\.npy: cannot be read"):
        load_data(str(tmp_path), ((2,), (4,)))
