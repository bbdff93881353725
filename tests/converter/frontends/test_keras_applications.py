"""The architectures of keras.applications: read equal to Keras, or refused with all reasons."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from spikeport.converter.errors import UnsupportedOpError
from spikeport.converter.frontends import read
from spikeport.converter.ir import run

from .keras_models import Model, assert_equal, keras

SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
READ = (
    "VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2",
    "ResNet152V2", "MobileNet", "MobileNetV2", "DenseNet121", "InceptionV3", "InceptionResNetV2",
    "Xception", "NASNetMobile",
)  # fmt: skip
REFUSED = ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0")

pytestmark = pytest.mark.slow


def build(name: str) -> Model:
    """Small inputs, weights that keep the spread of the inputs, random batch-norm statistics."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    shape = (SIZES.get(name, 32),) * 2 + (3,)
    make = getattr(keras.applications, name)
    model = make(weights=None, input_shape=shape, classes=10, classifier_activation=None)
    random = np.random.default_rng(0)
    for variable in model.weights:
        if variable.name == "moving_variance":
            variable.assign(random.uniform(0.5, 2.0, variable.shape))
        elif variable.name in {"moving_mean", "beta", "bias"}:
            variable.assign(random.normal(0.0, 0.1, variable.shape))
        elif variable.name == "gamma":
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        else:
            is_depthwise = variable.shape[2:][1:] == (1,)
            fan_in = np.prod(variable.shape[: 2 if is_depthwise else -1])
            variable.assign(random.normal(0.0, np.sqrt(2 / fan_in), variable.shape))
    return model


def inputs_of(model: Model) -> tuple[np.ndarray]:
    random = np.random.default_rng(1)
    return (random.uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32),)


@pytest.mark.parametrize("name", READ)
def test_architectures_equal_keras(name: str) -> None:
    model = build(name)
    source = read(model)
    x = inputs_of(model)
    expected = source.run(x)
    assert np.abs(expected[0][0] - expected[0][1]).max() > 1e-3 * np.abs(expected[0]).max()
    assert_equal(run(source.graph, x), expected)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_of_an_architecture_equal_keras(suffix: str, tmp_path: Path) -> None:
    model = build("MobileNetV2")
    model.save(tmp_path / f"net{suffix}")
    source = read(tmp_path / f"net{suffix}")
    x = inputs_of(model)
    expected = read(model).run(x)
    assert_equal(source.run(x), expected)
    assert_equal(run(source.graph, x), expected)


def functions_of(model: Model) -> Counter[str]:
    """Return how often functions and layers without translation are used."""
    found: Counter[str] = Counter()
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += functions_of(layer)
        name = getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__)
        found[name] += 1
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_every_reason_is_told_at_once(name: str) -> None:
    model = build(name)
    with pytest.raises(UnsupportedOpError) as caught:
        read(model)
    reasons = caught.value.reasons
    expected = functions_of(model)
    for function in ("silu", "hard_silu"):
        assert sum(f": {function} is not a ReLU" in each for each in reasons) == expected[function]
    multiplied = sum("multiplies tensors" in each for each in reasons)
    assert multiplied == expected["Multiply"] > 0
    inside = sum(": sigmoid inside the network" in each for each in reasons)
    assert inside == expected["sigmoid"]
    assert len(reasons) == len(set(reasons))
    assert len(reasons) == multiplied + inside + expected["silu"] + expected["hard_silu"]


def test_every_reason_of_a_convnext_is_told_at_once() -> None:
    model = build("ConvNeXtTiny")
    with pytest.raises(UnsupportedOpError) as caught:
        read(model)
    expected = functions_of(model)
    reasons = caught.value.reasons
    kinds = Counter(each.split(": ")[1].split(",")[0].split(" of ")[0] for each in reasons)
    assert kinds == {
        "has no translation": expected["LayerNormalization"],
        "is a custom class": expected["LayerScale"] + expected["StochasticDepth"],
        "gelu is not a ReLU": expected["gelu"],
    }
