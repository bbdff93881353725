"""Which call of a parsed model takes which results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...errors import FormatError
from .calls import Ref
from .hdf5 import DAMAGED
from .model import FUNCTION_PREFIX, Layer, Model


def chain(settings: Mapping[str, Any], layers: dict[str, Layer], path: tuple[str, ...]) -> Model:
    """Give the layers of a Sequential the calls that they stand for."""
    first = next(iter(layers.values()), None)
    if first is None:
        raise FormatError(f"{'/'.join(path) or 'the model'}: has no layers, expected at least one")
    if first.class_name != "InputLayer":
        shape = settings.get("build_input_shape")
        inner = first
        while shape is None and inner.model is not None and inner.model.inputs:
            inner = inner.model.layers[inner.model.inputs[0].layer]
        declared = inner.settings.get("batch_shape", inner.settings.get("batch_input_shape"))
        name = "input" if "input" not in layers else f"{first.name}_input"
        placeholder = Layer((*path, name), "InputLayer", {"batch_shape": shape or declared})
        layers = {name: placeholder, **layers}
    names = tuple(layers)
    calls = ((), *(((Ref(name, 0, 0),),) for name in names[:-1]))
    chained = {
        name: dataclasses.replace(layer, calls=call)
        for (name, layer), call in zip(layers.items(), calls, strict=True)
    }
    return Model(chained, (Ref(names[0], 0, 0),), (Ref(names[-1], 0, 0),))


def link(model: Model, is_legacy: bool, where: str) -> Model:
    """Check what calls and outputs refer to; count the calls of nested models from 0."""
    used: dict[str, list[int]] = {}
    calls = [call for layer in model.layers.values() for call in layer.calls]
    operands = [operand for call in (*calls, model.outputs) for operand in call]
    for ref in (operand for operand in operands if isinstance(operand, Ref)):
        lowest, highest = used.get(ref.layer, (ref.call, ref.call))
        used[ref.layer] = [min(lowest, ref.call), max(highest, ref.call)]

    def resolve(ref: Ref, where: str, *, is_output: bool = False) -> Ref:
        layer = model.layers.get(ref.layer)
        call, n_calls, n_outputs = ref.call, 0, 1
        if layer is not None:
            n_calls = 1 if layer.class_name == "InputLayer" else len(layer.calls)
        if layer is not None and layer.class_name.startswith(FUNCTION_PREFIX):
            n_outputs = ref.output + 1  # how many a function has is known when it is translated
        if layer is not None and layer.model is not None:
            n_outputs = len(layer.model.outputs)
            if n_calls == 1 and call == 1:
                call = 0
            elif not is_legacy:
                # Keras 3 counts the building of a functional model as call 0, but only here.
                call -= is_output and layer.class_name != "Sequential"
            elif used[ref.layer][0] > 0:
                # Keras 2 counts it everywhere.
                if used[ref.layer][1] != n_calls:
                    raise FormatError(
                        f"{layer}: not all of its {n_calls} calls are used, expected all, because "
                        "else it cannot be told which",
                        hint="save the model again with Keras 3",
                    )
                call -= 1
        if not 0 <= call < n_calls or ref.output >= n_outputs:
            raise FormatError(
                f"{where}: takes {list(ref)}, expected a result that exists", hint=DAMAGED
            )
        return Ref(ref.layer, call, ref.output)

    layers = {
        name: dataclasses.replace(
            layer,
            calls=tuple(
                tuple(resolve(each, str(layer)) if isinstance(each, Ref) else each for each in call)
                for call in layer.calls
            ),
        )
        for name, layer in model.layers.items()
    }
    inputs = tuple(resolve(ref, f"inputs of {where}") for ref in model.inputs)
    for ref in inputs:
        if layers[ref.layer].class_name != "InputLayer" or layers[ref.layer].calls:
            raise FormatError(
                f"{layers[ref.layer]}: is an input of {where}, expected an InputLayer",
                hint=DAMAGED,
            )
    outputs = tuple(resolve(ref, f"outputs of {where}", is_output=True) for ref in model.outputs)
    return Model(layers, inputs, outputs, model.input_keys)
