"""Files that Keras 2 itself wrote: read as that Keras computes them, and so run by Keras 3.

tests/data/keras2/make.py wrote them, with three versions of Keras 2.
"""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from spikeport.converter.convert import convert
from spikeport.converter.errors import ConversionError, FormatError, UnsupportedOpError
from spikeport.converter.frontends import keras as keras_front_end
from spikeport.converter.frontends import read
from spikeport.converter.frontends.keras.calls import Ref
from spikeport.converter.frontends.keras.model import Layer, Model
from spikeport.converter.frontends.keras.rebuild import rebuild
from spikeport.converter.ir import run

from .keras_models import assert_equal
from .keras_writer import functional, layer, placeholder, write_h5

FOLDER = Path(__file__).parents[2] / "data/keras2"
NAMES = sorted(path.name.removesuffix(".gz") for path in FOLDER.glob("*.gz"))


def unpack(name: str, folder: Path) -> Path:
    path = folder / name
    with gzip.open(FOLDER / f"{name}.gz") as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    return path


def stored(name: str, letter: str) -> tuple[np.ndarray, ...]:
    with np.load(FOLDER / f"{Path(name).stem}.npz") as arrays:
        return tuple(arrays[key] for key in sorted(arrays) if key.startswith(letter))


def test_there_are_files_of_three_versions() -> None:
    versions = {name.partition("_")[0] if name[0] == "k" else "tf_keras" for name in NAMES}
    assert versions == {"keras-2.12.0", "keras-2.15.0", "tf_keras"}
    assert len(NAMES) == 22


@pytest.mark.parametrize("name", NAMES)
def test_file_is_read_as_keras_2_computes_it(name: str, tmp_path: Path) -> None:
    source = read(unpack(name, tmp_path))
    assert_equal(run(source.graph, stored(name, "x")), stored(name, "y"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_file_is_run_by_keras_3_as_keras_2_computes_it(name: str, tmp_path: Path) -> None:
    source = read(unpack(name, tmp_path))
    assert_equal(source.run(stored(name, "x")), stored(name, "y"))


def test_nested_file_is_converted(tmp_path: Path) -> None:
    """The equality gate runs what Keras 3 does not load."""
    name = "keras-2.15.0_nested.h5"
    conversion = convert(unpack(name, tmp_path), stored(name, "x"), n_steps=4)
    assert conversion.log[0].step == "read"
    assert conversion.log[0].relative_error is not None
    assert conversion.log[0].relative_error < 1e-6


def test_misread_nested_file_names_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "keras-2.15.0_nested.h5"
    monkeypatch.setitem(keras_front_end._RULES, "Subtract", keras_front_end.LAYERS["Add"])
    with pytest.raises(ConversionError, match=r"subtract \(Add\): differs from the source"):
        convert(unpack(name, tmp_path), stored(name, "x"), n_steps=4)


@pytest.mark.parametrize("class_name", ["SeparableConv2D", "Conv2DTranspose", "DepthwiseConv2D"])
def test_groups_of_layers_that_have_none(class_name: str, tmp_path: Path) -> None:
    conv = layer(class_name, "conv", ["x"], kernel_size=[2, 2], filters=2, groups=2)
    net = functional([placeholder((4, 4, 2)), conv], [("conv", 0, 0)])
    path = write_h5(tmp_path / "net.h5", net, {})
    with pytest.raises(UnsupportedOpError, match="groups is 2, expected 1"):
        read(path)


def test_file_that_changed(tmp_path: Path) -> None:
    name = "keras-2.15.0_scopes.h5"
    source = read(unpack(name, tmp_path))
    unpack("keras-2.15.0_shared.h5", tmp_path).replace(tmp_path / name)
    with pytest.raises(FormatError, match="has changed since it was read"):
        source.run(stored(name, "x"))


def test_functions_are_not_built() -> None:
    x = Layer(("x",), "InputLayer", {"batch_shape": [None, 3]})
    relu = Layer(("relu",), "ops.Relu", {}, calls=((Ref("x", 0, 0),),))
    model = Model({"x": x, "relu": relu}, (Ref("x", 0, 0),), (Ref("relu", 0, 0),))
    with pytest.raises(FormatError, match=r"relu \(ops.Relu\): is a function, which is not built"):
        rebuild(model, keras_front_end.LiveWeights(None))
