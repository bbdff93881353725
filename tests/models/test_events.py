"""Recordings of event cameras: what a bin holds, and files that are no recordings."""

import h5py
import numpy as np
import pytest

from spikeport.converter.errors import DataError
from spikeport.converter.ir.preprocessing import Preprocessing
from spikeport.models.datasets import load_data, open_data
from spikeport.models.events import Events, bin_events, read_events

HAND = {"x": [0, 2, 2, 1, 0], "y": [0, 1, 1, 0, 1], "t": [10, 12, 13, 15, 20], "p": [1, 0, 1, 1, 0]}


def events(**changes):
    arrays = {key: np.array(values) for key, values in (HAND | changes).items()}
    return Events(arrays["x"], arrays["y"], arrays["t"].astype(float), arrays["p"] > 0)


def random_recording(seed, n=300, size=(6, 5)):
    random = np.random.default_rng(seed)
    return {
        "x": random.integers(0, size[1], n), "y": random.integers(0, size[0], n),
        "t": random.integers(0, 10**6, n), "p": random.integers(0, 2, n),
    }  # fmt: skip


def test_bins_by_hand():
    # from 10 to 20 in five steps of 2: 10 | 12 13 | 15 | - | 20, the last event
    spikes = bin_events(events(), (2, 2, 3), 5)
    expected = np.zeros((5, 2, 2, 3), np.uint8)
    for step, channel, y, x in ((0, 0, 0, 0), (1, 1, 1, 2), (1, 0, 1, 2), (2, 0, 0, 1),
                                (4, 1, 1, 0)):  # fmt: skip
        expected[step, channel, y, x] = 1
    np.testing.assert_array_equal(spikes, expected)
    last = bin_events(events(), (3, 3, 2), 5)
    np.testing.assert_array_equal(last[:, :2], expected.transpose(0, 2, 3, 1))
    assert not last[:, 2].any()
    for shape in ((2, 3), (1, 2, 3), (2, 3, 1)):
        merged = bin_events(events(), shape, 5)
        np.testing.assert_array_equal(merged.reshape(5, 2, 3), expected.max(axis=1))
    whole = bin_events(events(), (2, 2, 3), 1)
    np.testing.assert_array_equal(whole[0], expected.max(axis=0))


def test_events_at_one_moment_are_in_the_first_step():
    spikes = bin_events(events(t=[7] * 5), (2, 2, 3), 4)
    assert spikes[0].sum() == 5
    assert spikes[1:].sum() == 0


@pytest.mark.parametrize("n_steps", [1, 7, 64])
def test_no_event_is_lost_and_order_means_nothing(n_steps):
    arrays = random_recording(1)
    random = Events(arrays["x"], arrays["y"], arrays["t"].astype(float), arrays["p"] > 0)
    spikes = bin_events(random, (2, 6, 5), n_steps)
    order = np.random.default_rng(2).permutation(300)
    shuffled = Events(*(each[order] for each in (random.x, random.y, random.t, random.is_on)))
    np.testing.assert_array_equal(bin_events(shuffled, (2, 6, 5), n_steps), spikes)
    width = (random.t.max() - random.t.min()) / n_steps
    found = set()
    for x, y, t, is_on in zip(random.x, random.y, random.t, random.is_on, strict=True):
        step = min(n_steps - 1, int((t - random.t.min()) / width))
        found.add((step, int(not is_on), int(y), int(x)))
    assert {tuple(map(int, place)) for place in np.argwhere(spikes)} == found


def write(path, arrays, group=None):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return
    with h5py.File(path, "w") as file:
        place = file if group is None else file.create_group(group)
        for name, values in arrays.items():
            place.create_dataset(name, data=values, compression="gzip")


@pytest.fixture
def folder(tmp_path):
    """Recordings of two classes in three kinds of files."""
    for number, name in enumerate(("a/1.npz", "a/2.h5", "b/1.hdf5", "b/2.npz", "b/3.h5")):
        path = tmp_path / "rec" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, random_recording(number), "events" if number == 2 else None)
    (tmp_path / "rec" / "a" / "notes.txt").write_text("no recording")
    return tmp_path / "rec"


def test_a_folder_of_recordings(folder):
    steps = open_data(f"events:{folder}", ((2, 6, 5),), n_steps=8, over_time=True)
    assert steps.name == "rec, 5 of 5 recordings in 2 classes, 8 steps"
    assert steps.spiking
    assert steps.labels.tolist() == [0, 1, 0, 1, 1]
    (samples,) = steps.inputs
    assert samples.shape == (5, 8, 2, 6, 5)
    part = samples[1:3]
    assert part.dtype == np.float32
    expected = bin_events(read_events(folder / "b" / "1.hdf5"), (2, 6, 5), 8)
    np.testing.assert_array_equal(part[0], expected)
    means = load_data(f"events:{folder}", ((2, 6, 5),), n_steps=8, limit=3)
    assert means.name == "rec, 3 of 5 recordings in 2 classes, the mean of 8 steps"
    assert not means.spiking
    np.testing.assert_allclose(means.inputs[0][1], expected.mean(axis=0), rtol=1e-6)
    one = load_data(f"events:{folder}/a/1.npz", ((6, 5),), n_steps=4, over_time=True)
    assert (one.labels, one.inputs[0].shape) == (None, (1, 4, 6, 5))


def test_broken_recordings_are_left_out_when_asked_for(folder):
    (folder / "a" / "0.npz").write_bytes(b"PK\3\4 cut")
    write(folder / "b" / "0.h5", random_recording(9, size=(60, 5)))
    shapes = ((2, 6, 5),)
    with pytest.raises(DataError, match=r"0\.npz: not a readable \.npz file"):
        load_data(f"events:{folder}", shapes)
    data = load_data(f"events:{folder}", shapes, skip_broken=True)
    assert data.name.startswith("rec, 5 of 7 recordings in 2 classes, 2 broken ones skipped")
    for good in [*folder.glob("*/[123].*")]:
        good.unlink()
    with pytest.raises(DataError, match=r"none of 2 recordings can be read"):
        load_data(f"events:{folder}", shapes, skip_broken=True)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": None}, r"has no t, expected x, y, t and polarity"),
        ({"x": [0, 1]}, r"x has shape \(2,\) and dtype int64, expected \(5,\) numbers as t"),
        ({"t": [1, 2, 3, 4, np.nan]}, r"t holds NaN or infinity"),
        ({"x": [0, 1, 2, 1, -1]}, r"x lies in -1\.\.2, expected whole numbers of at least 0"),
        ({"y": [0, 1, 0.5, 1, 0]}, r"y lies in 0\.0\.\.1\.0, expected whole numbers"),
        ({"y": [0, 1, 0, 1, 2**40]}, r"y lies in 0\.\.\d+, expected whole numbers"),
        ({"x": [0, 1, 2, 3, 0]}, r"x of an event is 3, expected 0\.\.2 of the input"),
        ({"p": None}, r"has no polarity, expected one for two channels"),
        ({key: [] for key in HAND}, r"has no events, expected at least one"),
    ],
)
def test_files_that_are_no_recordings(tmp_path, suffix, changes, message):
    path = tmp_path / f"bad{suffix}"
    arrays = {key: np.array(value) for key, value in (HAND | changes).items() if value is not None}
    write(path, arrays)
    with pytest.raises(DataError, match=rf"bad{suffix}: {message}") as caught:
        load_data(f"events:{path}", ((2, 2, 3),), n_steps=4)
    assert str(caught.value).count("bad") == 1
    assert caught.value.hint


def test_hostile_recordings(tmp_path, monkeypatch):
    def refuse(path, message):
        with pytest.raises(DataError, match=message):
            load_data(f"events:{path}", ((2, 2, 3),), n_steps=4)

    np.savez(tmp_path / "objects.npz", x=np.array([{}]), y=[0], t=[0], p=[0])
    refuse(tmp_path / "objects.npz", r"not a readable \.npz file \(Object arrays")
    (tmp_path / "text.h5").write_text("no HDF5")
    refuse(tmp_path / "text.h5", r"text\.h5: the HDF5 data is damaged or cut")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["x"] = h5py.ExternalLink("text.h5", "x")
        for name in "ytp":
            file[name] = [0]
    refuse(tmp_path / "link.h5", r"link\.h5: ")
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        for name in "xytp":
            file.create_dataset(name, (2**40,), "u1", chunks=(2**20,))
    refuse(tmp_path / "huge.h5", r"huge\.h5: ")
    with h5py.File(tmp_path / "huge.h5", "r+") as file:
        whole = (tmp_path / "huge.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    refuse(tmp_path / "cut.h5", r"cut\.h5: ")
    refuse(tmp_path / "missing", r"missing: cannot be read|missing: no such")
    monkeypatch.setattr("spikeport.models.events.MAX_EVENTS", 4)
    for suffix in (".npz", ".h5"):
        write(tmp_path / f"long{suffix}", {key: np.arange(200) for key in HAND})
        refuse(tmp_path / f"long{suffix}", r"events, expected at most 4")


def test_inputs_that_events_cannot_feed(folder):
    def refuse(message, spec=f"events:{folder}", shapes=((2, 6, 5),), **options):
        with pytest.raises(DataError, match=message):
            open_data(spec, shapes, **options)

    refuse(r"events cannot feed an input of shape \(7,\), expected", shapes=((7,),))
    refuse(r"a folder of recordings feeds one input, the network takes 2", shapes=((2, 6, 5),) * 2)
    refuse(
        r"preprocessing times 2 plus 0, expected none: events are spikes",
        preprocessing=Preprocessing((2.0,)),
    )
    refuse(r"fashion-mnist:test: images have no time axis", "fashion-mnist:test", ((784,),),
           over_time=True, shipped=True)  # fmt: skip
    refuse(r"rec: images have no time axis", str(folder), over_time=True)


def test_arrays_with_a_time_axis(tmp_path):
    x = np.random.default_rng(0).random((3, 4, 7)).astype(np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1, 2])
    data = load_data(str(tmp_path / "a.npz"), ((7,),), n_steps=4, over_time=True)
    np.testing.assert_array_equal(data.inputs[0], x)
    with pytest.raises(DataError, match=r"x has shape \(3, 4, 7\), expected \(N, 5, 7\)"):
        load_data(str(tmp_path / "a.npz"), ((7,),), n_steps=5, over_time=True)
