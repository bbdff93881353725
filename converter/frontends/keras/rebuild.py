"""Building a model in Keras layer by layer, for files that Keras itself cannot load.

Keras 3 does not load what Keras 2 wrote of models in models, of names with a slash, and more. The
layers are Keras' own; which takes whose results, and whose weights are whose, is what was parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import FormatError
from .calls import Ref
from .clean import clean
from .model import FUNCTION_PREFIX, Layer, Model, input_shape
from .weights import Weights

if TYPE_CHECKING:
    import keras


def rebuild(model: Model, weights: Weights) -> keras.Model:
    """Return a parsed model as a Keras model, models within it taken apart.

    Args:
        model: Every layer of it has a translation.
        weights: Of the file, which is open.

    Raises:
        FormatError: It has functions of keras.ops, or the weights do not fit.
    """
    import keras

    inputs = [
        keras.Input(tuple(size or 0 for size in input_shape(layer) or ()), name=_plain(layer))
        for layer in (model.layers[ref.layer] for ref in model.inputs)
    ]
    built: dict[tuple[str, ...], keras.Layer] = {}
    outputs = _call_model(model, inputs, built, weights)
    named = dict(zip(model.input_keys, inputs, strict=True)) if model.input_keys else inputs
    return keras.Model(named, outputs)


def _call_model(
    model: Model,
    operands: list[Any],
    built: dict[tuple[str, ...], keras.Layer],
    weights: Weights,
) -> list[Any]:
    done = {(ref.layer, 0): [value] for ref, value in zip(model.inputs, operands, strict=True)}
    pending = [(ref.layer, ref.call) for ref in reversed(model.outputs)]
    while pending:
        key = pending[-1]
        layer = model.layers[key[0]]
        refs = (
            [each for each in layer.calls[key[1]] if isinstance(each, Ref)] if layer.calls else []
        )
        missing = [(ref.layer, ref.call) for ref in refs if (ref.layer, ref.call) not in done]
        if missing and key not in done:
            pending.extend(reversed(missing))
            continue
        pending.pop()
        if key in done:
            continue
        values = [done[ref.layer, ref.call][ref.output] for ref in refs]
        if layer.model is not None:
            done[key] = _call_model(layer.model, values, built, weights)
        else:
            done[key] = [_call_layer(layer, values, built, weights)]
    return [done[ref.layer, ref.call][ref.output] for ref in model.outputs]


def _call_layer(
    layer: Layer,
    operands: list[Any],
    built: dict[tuple[str, ...], keras.Layer],
    weights: Weights,
) -> Any:
    import keras
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    if layer.class_name.startswith(FUNCTION_PREFIX):
        raise FormatError(f"{layer}: is a function, which is not built layer by layer")
    found = built.get(layer.path)
    if found is None:
        entry = clean({"class_name": layer.class_name, "config": dict(layer.settings)})
        settings = {**entry["config"], "name": _plain(layer)}
        own = {"CustomScaleLayer": CustomScaleLayer}
        class_ = own.get(layer.class_name) or getattr(keras.layers, layer.class_name)
        found = built[layer.path] = class_.from_config(settings)
        result = found(operands if len(operands) > 1 else operands[0])
        _load(found, layer, weights)
        return result
    return found(operands if len(operands) > 1 else operands[0])


def _load(built: keras.Layer, layer: Layer, weights: Weights) -> None:
    names = tuple(variable.name for variable in built.weights)
    if names:
        stored = weights.find(layer, names)
        arrays = {str(place): np.asarray(each.read()) for place, each in enumerate(stored)}
        built.load_own_variables(arrays)


def _plain(layer: Layer) -> str:
    return "__".join(layer.path).replace("/", "__")
