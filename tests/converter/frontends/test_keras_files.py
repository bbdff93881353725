"""Damaged and hostile .keras and .h5 files: each is refused by name, nothing is run or followed."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from spikeport.converter.errors import FormatError
from spikeport.converter.frontends import read
from spikeport.converter.frontends.keras import draft as keras_draft
from spikeport.converter.frontends.keras import files as keras_files
from spikeport.converter.frontends.keras import hdf5 as keras_hdf5
from spikeport.converter.frontends.keras import read_keras
from spikeport.converter.ir import run

from .keras_writer import (
    DENSE_4_3,
    dense,
    functional,
    layer,
    placeholder,
    sequential,
    weights_file,
    write_h5,
    write_keras,
    write_members,
)

NET = sequential((4,), dense())
H5_WEIGHTS = {"fc": {"fc/kernel": DENSE_4_3[0], "fc/bias": DENSE_4_3[1]}}
KERNEL = "model_weights/fc/fc/kernel"


@pytest.fixture
def keras_file(tmp_path: Path) -> Path:
    return write_keras(tmp_path / "net.keras", NET)


@pytest.fixture
def h5_file(tmp_path: Path) -> Path:
    return write_h5(tmp_path / "net.h5", NET, H5_WEIGHTS)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refuse(path: Path, match: str) -> FormatError:
    with pytest.raises(FormatError, match=match) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    return caught.value


def assert_is_net(path: Path) -> None:
    """Read a file of NET, and let it add up 0 to 3 and 4 to 7."""
    source = read(path)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert run(source.graph, (x,))[0].tolist() == [[6.0] * 3, [22.0] * 3]
    assert source.graph.metadata["source"]["version"] == "3.10.0"


def test_files_written_by_hand_are_read(keras_file: Path, h5_file: Path) -> None:
    assert_is_net(keras_file)
    assert_is_net(h5_file)


def test_reading_imports_no_framework_and_runs_nothing(keras_file: Path, h5_file: Path) -> None:
    code = (
        "import sys; from spikeport.converter.frontends import read\n"
        f"for path in ({str(keras_file)!r}, {str(h5_file)!r}): read(path)\n"
        "print({'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# .keras archives


def test_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "bad.keras"
    for content in (b"", b"no archive"):
        path.write_bytes(content)
        assert refuse(path, "is damaged, cut or no .keras archive").hint is not None


def test_cut_archives(keras_file: Path) -> None:
    whole = keras_file.read_bytes()
    for size in range(0, len(whole) - 1, len(whole) // 40):
        keras_file.write_bytes(whole[:size])
        refuse(keras_file, "is damaged, cut or no .keras archive")


def test_flipped_bytes_are_noticed(keras_file: Path) -> None:
    whole = keras_file.read_bytes()
    at = whole.index(DENSE_4_3[0].tobytes())
    keras_file.write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    refuse(keras_file, "is damaged, cut .*CRC")


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_missing_members(keras_file: Path, name: str) -> None:
    kept = members(keras_file)
    del kept[name]
    write_members(keras_file, kept)
    refuse(keras_file, f"has 0 members {name}, expected one")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_are_there_twice(keras_file: Path) -> None:
    with zipfile.ZipFile(keras_file, "a") as archive:
        archive.writestr("config.json", "{}")
    refuse(keras_file, "has 2 members config.json, expected one")


def test_other_members_are_ignored(keras_file: Path) -> None:
    write_members(keras_file, {**members(keras_file), "../evil": b"x", "assets/a": b"x"})
    assert_is_net(keras_file)


def test_compressed_archives_are_read(keras_file: Path) -> None:
    write_members(keras_file, members(keras_file), zipfile.ZIP_DEFLATED)
    assert_is_net(keras_file)


def test_other_compressions_and_encryption(keras_file: Path) -> None:
    write_members(keras_file, members(keras_file), zipfile.ZIP_BZIP2)
    refuse(keras_file, "is encrypted or of compression type 12, expected stored or deflated")
    whole = bytearray(write_members(keras_file, {"config.json": b"{}"}).read_bytes())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    keras_file.write_bytes(whole)
    refuse(keras_file, "config.json is encrypted or of compression type 0")


def test_zip_bombs(keras_file: Path) -> None:
    bomb = {**members(keras_file), "model.weights.h5": bytes(2**24)}
    write_members(keras_file, bomb, zipfile.ZIP_DEFLATED)
    refuse(keras_file, "model.weights.h5 declares 16777216 bytes, but 163.* are stored")


def test_members_that_declare_too_much(keras_file: Path) -> None:
    whole = bytearray(keras_file.read_bytes())
    at = whole.index(b"PK\x01\x02", whole.index(b"PK\x01\x02") + 4)
    whole[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    keras_file.write_bytes(whole)
    refuse(keras_file, "config.json declares 2147483648 bytes")


def test_archives_of_very_many_members(keras_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_files, "MAX_DIRECTORY_BYTES", 2**17)
    many = {f"assets/{number}": b"" for number in range(4000)}
    write_members(keras_file, {**members(keras_file), **many})
    refuse(keras_file, "its list of members has more than 131072 bytes")


# The JSON of the configuration


def with_config(path: Path, config: str | bytes) -> Path:
    return write_members(path, {**members(path), "config.json": config})


def test_json_that_is_none(keras_file: Path) -> None:
    refuse(with_config(keras_file, "{"), "config.json is no valid JSON")
    refuse(with_config(keras_file, b"\xff\xfe\xff"), "config.json is no valid JSON")
    refuse(with_config(keras_file, "9" * 5000), "config.json is no valid JSON")
    refuse(with_config(keras_file, "[]"), "config.json is no JSON object, expected one")


def test_deep_json(keras_file: Path) -> None:
    for depth in (101, 2000, 200_000):
        deep = '{"a":' * depth + "0" + "}" * depth
        refuse(with_config(keras_file, deep), "config.json is nested too deeply, expected at most")


def test_large_json(keras_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_files, "MAX_JSON_BYTES", 100)
    refuse(keras_file, "config.json declares .* and 100 are allowed")
    monkeypatch.undo()
    h5 = write_h5(keras_file.with_suffix(".h5"), NET, H5_WEIGHTS)
    monkeypatch.setattr(keras_files, "MAX_JSON_BYTES", 100)
    refuse(h5, r"model_config has \d+ bytes, expected at most 100")


# Files as a whole


def test_large_files(keras_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_files, "MAX_FILE_BYTES", 100)
    refuse(keras_file, r"has \d+ bytes, expected at most 100")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_keras(tmp_path / "missing.keras")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(FormatError, match="cannot be read"):
        read_keras(tmp_path / "folder.h5")


# HDF5


def edit(path: Path, change: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace_kernel(path: Path, **options: object) -> Path:
    """Put another dataset in place of the kernel."""

    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_dataset(KERNEL, **{"shape": (4, 3), "dtype": "f4", **options})

    return edit(path, change)


def test_not_hdf5(h5_file: Path, keras_file: Path) -> None:
    for content in (b"", b"no hdf5", keras_file.read_bytes()):
        h5_file.write_bytes(content)
        assert refuse(h5_file, "the HDF5 data is damaged or cut").hint is not None


def test_cut_hdf5(h5_file: Path) -> None:
    whole = h5_file.read_bytes()
    for size in range(0, len(whole) - 1, len(whole) // 40):
        h5_file.write_bytes(whole[:size])
        refuse(h5_file, "the HDF5 data is damaged or cut")


@pytest.mark.parametrize("size", [0, 16 * 2**60 - 16, 2**64 - 24])
def test_heaps_that_the_library_walks_forever(h5_file: Path, size: int) -> None:
    content = bytearray(h5_file.read_bytes())
    first = content.index(b"GCOL\x01") + 16
    number = bytes(2) if size == 0 else b"\1\0"
    content[first : first + 16] = number + bytes(6) + size.to_bytes(8, "little")
    h5_file.write_bytes(content)
    refuse(h5_file, "a heap of texts that does not end")


def test_hdf5_with_short_lengths(h5_file: Path) -> None:
    content = bytearray(h5_file.read_bytes())
    content[14] = 4
    h5_file.write_bytes(content)
    refuse(h5_file, "the HDF5 data has lengths of 4 bytes, expected 8")


def test_weights_without_a_model(h5_file: Path) -> None:
    edit(h5_file, lambda file: file.attrs.__delitem__("model_config"))
    assert "weights alone" in str(refuse(h5_file, "has no attribute model_config").hint)


def test_configuration_of_another_kind(h5_file: Path) -> None:
    edit(h5_file, lambda file: file.attrs.__setitem__("model_config", [1.0, 2.0]))
    refuse(h5_file, r"attribute model_config has shape \(2,\) and dtype float64, expected one text")


def test_configuration_as_bytes(h5_file: Path) -> None:
    def change(file: h5py.File) -> None:
        file.attrs["model_config"] = np.bytes_(file.attrs["model_config"].encode())

    read(edit(h5_file, change))
    edit(h5_file, lambda file: file.attrs.__setitem__("model_config", np.bytes_(b"{\xff}")))
    refuse(h5_file, "the HDF5 data is damaged")


def test_missing_parts(h5_file: Path) -> None:
    edit(h5_file, lambda file: file["model_weights/fc/fc"].__delitem__("bias"))
    refuse(h5_file, "has no fc/bias, expected it")
    edit(h5_file, lambda file: file.__delitem__("model_weights"))
    refuse(h5_file, "has no model_weights, expected it")


def test_groups_and_datasets_mixed_up(h5_file: Path) -> None:
    def change(file: h5py.File) -> None:
        del file[KERNEL]
        file.create_group(KERNEL)

    edit(h5_file, change)
    refuse(h5_file, "fc/kernel is no dataset, expected one")

    def change_group(file: h5py.File) -> None:
        del file["model_weights"]
        file["model_weights"] = [1.0]

    edit(h5_file, change_group)
    refuse(h5_file, "model_weights is no group, expected one")


def test_links(h5_file: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = DENSE_4_3[0]

    def link(target: object) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            del file[KERNEL]
            file[KERNEL] = target

        return change

    edit(h5_file, link(h5py.ExternalLink("secret.h5", "kernel")))
    refuse(h5_file, "fc/kernel is an external link, expected data in the file itself")
    edit(h5_file, link(h5py.SoftLink("/model_weights/fc/fc/bias")))
    refuse(h5_file, "fc/kernel is a soft link, expected data in the file itself")

    def link_group(file: h5py.File) -> None:
        del file["model_weights/fc"]
        file["model_weights/fc"] = h5py.ExternalLink("secret.h5", "/")

    edit(h5_file, link_group)
    refuse(h5_file, "fc is an external link")


def test_links_in_archives(keras_file: Path) -> None:
    buffer = io.BytesIO(weights_file({}))
    with h5py.File(buffer, "r+") as file:
        file["layers/dense/vars/0"] = h5py.SoftLink("/elsewhere")
        file["layers/dense/vars/1"] = h5py.ExternalLink("secret.h5", "bias")
    write_members(keras_file, {**members(keras_file), "model.weights.h5": buffer.getvalue()})
    refuse(keras_file, r"model.weights.h5: fc \(Dense\): layers/dense/vars/0 is a soft link")


def test_external_storage(h5_file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(48))
    replace_kernel(h5_file, external=[("secret", 0, 48)])
    refuse(h5_file, "dataset fc/kernel lies in other files, expected it in the file")


def test_virtual_datasets(h5_file: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = DENSE_4_3[0]

    def change(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "kernel", (4, 3))
        del file[KERNEL]
        file.create_virtual_dataset(KERNEL, layout)

    edit(h5_file, change)
    refuse(h5_file, "dataset fc/kernel is virtual, expected data in the file itself")


@pytest.mark.parametrize("dtype", [[("a", "f4")], "S4", "c8", h5py.string_dtype()])
def test_odd_dtypes(h5_file: Path, dtype: object) -> None:
    replace_kernel(h5_file, dtype=dtype)
    refuse(h5_file, "dataset fc/kernel has dtype .*, expected numbers")


def test_datasets_without_a_shape(h5_file: Path) -> None:
    replace_kernel(h5_file, shape=None, data=h5py.Empty("f4"))
    refuse(h5_file, "dataset fc/kernel has dtype float32 and shape None, expected numbers")


def test_integers_as_weights(h5_file: Path) -> None:
    replace_kernel(h5_file, data=np.ones((4, 3), np.int8), dtype="i1")
    error = refuse(h5_file, r"fc \(Dense\): kernel has dtype int8, expected floating point")
    assert "quantized" in str(error.hint)


def test_other_precisions_are_read(h5_file: Path) -> None:
    for dtype in ("f2", ">f4", "f8"):
        replace_kernel(h5_file, data=np.full((4, 3), 0.5), dtype=dtype)
        assert (read(h5_file).graph.by_name["fc"].op.weight == 0.5).all()  # type: ignore[attr-defined]


def test_datasets_that_declare_more_than_they_store(h5_file: Path) -> None:
    for options in (
        {"shape": (2**30, 2**30)},
        {"shape": (2**40, 4), "chunks": (2**10, 4), "compression": "gzip"},
        {"shape": (4, 3), "chunks": (2**10, 2**10), "maxshape": (None, None), "shuffle": True},
    ):
        replace_kernel(h5_file, **options)
        refuse(h5_file, r"dataset fc/kernel declares \d+ bytes, but 0 are stored")
    replace_kernel(h5_file, data=np.zeros((2**12, 2**11)), shape=None, compression="gzip")
    refuse(h5_file, r"dataset fc/kernel declares 33554432 bytes, but \d+ are stored")


def test_compressed_weights_are_read(h5_file: Path) -> None:
    replace_kernel(h5_file, data=DENSE_4_3[0], compression="gzip", shuffle=True, fletcher32=True)
    assert_is_net(h5_file)


def test_unknown_filters(h5_file: Path) -> None:
    replace_kernel(h5_file, data=DENSE_4_3[0], compression="lzf")
    refuse(h5_file, "uses the filter 32000, expected none or gzip, shuffle, fletcher32")


def test_lists_of_names(h5_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def split(file: h5py.File) -> None:
        group = file["model_weights/fc"]
        names = [*group.attrs["weight_names"]]
        del group.attrs["weight_names"]
        for number, name in enumerate(names):
            group.attrs[f"weight_names{number}"] = [name]

    read(edit(h5_file, split))
    monkeypatch.setattr(keras_hdf5, "MAX_NAMES", 1)
    refuse(h5_file, "weight_names lists more than 1 names")


def test_lists_of_names_of_another_kind(h5_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = "model_weights/fc"
    edit(h5_file, lambda file: file[group].attrs.__setitem__("weight_names", [1.0]))
    refuse(h5_file, r"attribute weight_names has shape \(1,\) and dtype float64, expected a list")
    edit(h5_file, lambda file: file[group].attrs.__setitem__("weight_names", ["a/b"] * 2))
    monkeypatch.setattr(keras_hdf5, "MAX_NAMES", 1)
    refuse(h5_file, "expected a list of at most 1 names")


# Weights that do not fit the layers


def test_weights_of_wrong_shapes_are_not_read(
    h5_file: Path, keras_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_kernel(h5_file, data=np.ones((4, 2)), shape=(4, 2))
    message = r"fc \(Dense\): kernel has shape \(4, 2\), expected \(4, 3\)"
    monkeypatch.setattr(np, "asarray", None)
    refuse(h5_file, message)
    monkeypatch.undo()
    write_keras(keras_file, NET, {"layers/dense/vars": (np.ones((4, 2)), np.zeros(3))})
    refuse(keras_file, message)


def test_weights_missing_or_too_many(h5_file: Path, keras_file: Path) -> None:
    write_keras(keras_file, NET, {"layers/dense/vars": DENSE_4_3[:1]})
    refuse(keras_file, r"fc \(Dense\): has 1 weights, expected 2: kernel, bias")
    write_keras(keras_file, NET, {})
    refuse(keras_file, "has no layers/dense/vars, expected it")
    write_h5(h5_file, NET, {"fc": {"fc/kernel": DENSE_4_3[0], "fc/gamma": DENSE_4_3[1]}})
    refuse(h5_file, r"has the weights \['gamma', 'kernel'\] in the file, expected \['bias',")


def test_weights_that_are_no_finite_numbers(keras_file: Path) -> None:
    for value in (np.nan, np.inf, 1e300):
        arrays = (np.full((4, 3), value), np.zeros(3))
        write_keras(keras_file, NET, {"layers/dense/vars": arrays})
        refuse(keras_file, r"fc \(Dense\): a parameter holds NaN or infinity")


def test_graphs_with_too_many_weights(keras_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_draft, "MAX_WEIGHT_BYTES", 50)
    refuse(keras_file, r"fc \(Dense\): the graph has more than 50 bytes of weights")


def test_weights_of_nested_models_by_name(h5_file: Path) -> None:
    inner = sequential((4,), dense("a", units=4), dense("b"), name="inner")
    outer = sequential((4,), inner)
    a = {"a/kernel:0": np.eye(4), "a/bias:0": np.zeros(4)}
    b = {"inner/b/kernel": 2 * np.ones((4, 3)), "inner/b/bias": np.zeros(3)}
    write_h5(h5_file, outer, {"inner": {**b, **a}})
    x = np.ones((1, 4), np.float32)
    assert run(read(h5_file).graph, (x,))[0].tolist() == [[8.0, 8.0, 8.0]]


def test_weights_of_layers_of_the_same_name(h5_file: Path) -> None:
    innermost = sequential((4,), dense("a", units=4), name="innermost")
    inner = sequential((4,), dense("a", units=4), innermost, name="inner")
    net = sequential((4,), inner)
    zeros = np.zeros(4)
    own = {"a/kernel": 2 * np.eye(4), "a/bias": zeros}
    other = {"innermost/a/kernel": np.eye(4), "innermost/a/bias": zeros + 1}
    write_h5(h5_file, net, {"inner": {**other, **own}})
    x = np.ones((1, 4), np.float32)
    assert run(read(h5_file).graph, (x,))[0].tolist() == [[3.0] * 4]
    strange = {f"q/{name}": array for name, array in {**own, **other}.items()}
    write_h5(h5_file, net, {"inner": strange})
    error = refuse(h5_file, r"inner/a \(Dense\): which weights of the file are its own")
    assert ".keras" in str(error.hint)


def test_layers_are_found_by_class_as_keras_numbers_them(keras_file: Path) -> None:
    net = sequential((4,), dense("z", units=4), layer("ReLU", "r"), dense("a", units=4), dense("m"))
    weights = {
        "layers/dense/vars": (np.eye(4), np.zeros(4)),
        "layers/dense_1/vars": (2 * np.eye(4), np.zeros(4)),
        "layers/dense_2/vars": DENSE_4_3,
    }
    write_keras(keras_file, net, weights)
    assert run(read(keras_file).graph, (np.ones((1, 4)),))[0].tolist() == [[8.0] * 3]
    old = {
        name.replace("layers", "_layer_checkpoint_dependencies"): arrays
        for name, arrays in weights.items()
    }
    write_keras(keras_file, net, old)
    assert run(read(keras_file).graph, (np.ones((1, 4)),))[0].tolist() == [[8.0] * 3]


def test_shared_layers_have_their_weights_where_keras_met_them_first(keras_file: Path) -> None:
    shared = dense("fc", [("x", 0, 0)], units=4) | {"shared_object_id": 7}
    within = dense("fc", units=4) | {"shared_object_id": 7}
    inner = sequential((4,), within, name="inner") | {
        "inbound_nodes": layer("Add", "", ["fc"])["inbound_nodes"]
    }
    net = functional([placeholder((4,)), shared, inner], [("inner", 0, 0)])
    write_keras(keras_file, net, {"layers/dense/vars": (2 * np.eye(4), np.zeros(4))})
    assert run(read(keras_file).graph, (np.ones((1, 4)),))[0].tolist() == [[4.0] * 4]


def test_json_numbers_out_of_range(keras_file: Path) -> None:
    config = json.dumps(NET).replace('"units": 3', '"units": 1e999')
    refuse(with_config(keras_file, config), r"units is inf, expected a positive whole number")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is Linux's")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_memory_stays_below_six_times_the_weights(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    kernel = np.ones((3000, 3000), np.float32)
    bias = np.zeros(3000, np.float32)
    config = sequential((3000,), dense(units=3000))
    if suffix == ".keras":
        write_keras(path, config, {"layers/dense/vars": (kernel, bias)})
    else:
        write_h5(path, config, {"fc": {"fc/kernel": kernel, "fc/bias": bias}})
    # Not the resource usage: a new process starts with the peak of the one that made it.
    code = (
        "import re, sys, h5py, spikeport.converter.frontends.keras\n"
        "from pathlib import Path\n"
        "def peak():\n"
        "    text = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+)', text)[1])\n"
        "before = peak()\n"
        "spikeport.converter.frontends.keras.read_keras(Path(sys.argv[1]))\n"
        "print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )
    assert 0.5 < int(done.stdout) * 1024 / kernel.nbytes < 6
