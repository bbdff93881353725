"""A model as Keras serialized it, parsed into layers and calls; Keras itself builds nothing.

Understands what Keras 3 writes into .keras and .h5 files and what Keras 2 wrote into .h5 files.
Everything without a translation is collected, so that all of it is told at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import FormatError
from .calls import (
    Operand,
    UnsupportedCallError,
    member,
    parse_call,
    parse_function_call,
    parse_refs,
    shorten,
)
from .hdf5 import DAMAGED
from .links import chain, link
from .model import FUNCTION_PREFIX, MODEL_CLASSES, Layer, Model, input_shape

MAX_LAYERS = 20_000
OWN_PREFIX = "spikeport>"
"""Of the names of spikeport's own layers, own.py, as Keras registers them."""
_OWN_MODULES = re.compile(
    r"(tf_)?keras(\.layers|\.models|(\.src)?\.engine(\.\w+)*|\.src\.(layers|models)(\.\w+)*)?"
    r"|keras\.src\.applications\.inception_resnet_v2"
)
_FUNCTION_MODULES = re.compile(r"keras\.(src\.)?(ops|activations)(\.\w+)*")

CheckLayer = Callable[[Layer], Iterator[str]]
"""Yields why a layer has no translation, from its settings and calls alone, one line each."""


def parse_model(config: Mapping[str, Any], check: CheckLayer) -> tuple[Model, tuple[str, ...]]:
    """Parse a serialized model.

    Args:
        config: The JSON object that Keras wrote.
        check: Says why a layer cannot be translated, from its settings alone.

    Returns:
        The model, and one line for each thing without a translation; the model is complete only
        if there is none.

    Raises:
        FormatError: The configuration is damaged.
    """
    class_name = member(config, "class_name", str, "the model")
    member(config, "config", dict, "the model")
    label = f"{_name_of(config) or 'the model'} ({class_name})"
    reasons = [*_foreign_reasons(config)]
    if not reasons and class_name not in MODEL_CLASSES:
        reasons = ["is no model, expected Sequential or Functional"]
    if reasons:
        return Model({}), tuple(f"{label}: {reason}" for reason in reasons)
    parser = _Parser(check)
    model = parser.parse(config, (), ())
    return model, tuple(parser.reasons)


class _Parser:
    """What is collected over a model and the models within it."""

    def __init__(self, check: CheckLayer) -> None:
        self.check = check
        self.reasons: list[str] = []
        self.n_layers = 0
        self.slots: dict[int, tuple[str, ...]] = {}
        self.places: dict[str, list[tuple[str, ...]]] = {}

    def parse(
        self, config: Mapping[str, Any], path: tuple[str, ...], slot: tuple[str, ...]
    ) -> Model:
        where = "/".join(path) or _name_of(config) or "the model"
        settings = member(config, "config", dict, where)
        entries = member(settings, "layers", list, where)
        self.n_layers += len(entries)
        if self.n_layers > MAX_LAYERS:
            raise FormatError(f"{where}: has more than {MAX_LAYERS} layers", hint=DAMAGED)
        is_sequential = config["class_name"] == "Sequential"
        layers: dict[str, Layer] = {}
        used: Counter[str] = Counter()
        for entry in entries:
            layer = self._parse_layer(entry, path, slot, used, is_sequential)
            if layer.name in layers:
                raise FormatError(
                    f"{layer}: the name is used twice, expected unique names", hint=DAMAGED
                )
            layers[layer.name] = layer
        if is_sequential:
            model = chain(settings, layers, path)
        else:
            inputs, keys = parse_refs(settings.get("input_layers"), f"inputs of {where}")
            outputs, _ = parse_refs(settings.get("output_layers"), f"outputs of {where}")
            model = Model(layers, inputs, outputs, keys)
        if not path:
            self.reasons.extend(_free_sizes(model))
        if self.reasons or is_sequential:
            return model
        is_legacy = any(
            isinstance(call, list) for each in entries for call in each["inbound_nodes"]
        )
        return link(model, is_legacy, where)

    def _parse_layer(
        self,
        entry: Any,
        path: tuple[str, ...],
        slot: tuple[str, ...],
        used: Counter[str],
        is_sequential: bool,
    ) -> Layer:
        where = "/".join(path) or "the model"
        if not isinstance(entry, dict):
            raise FormatError(
                f"{where}: a layer is {shorten(entry)}, expected an object", hint=DAMAGED
            )
        class_name = member(entry, "class_name", str, where)
        settings = member(entry, "config", dict, where)
        name = _name_of(entry)
        if not name:
            raise FormatError(f"{where}: a {class_name} has no name, expected one", hint=DAMAGED)
        if is_function := is_function_entry(entry):
            class_name = FUNCTION_PREFIX + class_name
        layer = Layer((*path, name), class_name, settings)
        reasons = [*_foreign_reasons(entry)]
        calls = [] if is_sequential else member(entry, "inbound_nodes", list, str(layer))
        operands: list[tuple[Operand, ...]] = []
        odd_calls = []
        for call in [] if reasons else calls:
            try:
                parse = parse_function_call if is_function else parse_call
                operands.append(parse(call, str(layer)))
            except UnsupportedCallError as error:
                odd_calls.append(str(error))
        layer = dataclasses.replace(layer, calls=tuple(operands))
        if not reasons and class_name not in MODEL_CLASSES:
            reasons = [*self.check(layer)]
        reasons += odd_calls
        self.reasons.extend(f"{layer}: {reason}" for reason in reasons)
        group = _snake_case(class_name)
        # Sequential.layers, by which Keras counts, leaves InputLayer out, and a Functional's all
        # functions.
        if not (is_function or (is_sequential and class_name == "InputLayer")):
            used[group] += 1
        number = f"_{used[group] - 1}" if used[group] > 1 else ""
        own_slot = (*slot, "layers", group + number)
        if isinstance(shared := entry.get("shared_object_id"), int):
            # A layer that is part of two models has its weights where Keras met it first.
            own_slot = self.slots.setdefault(shared, own_slot)
        twins: tuple[tuple[str, ...], ...] = ()
        if class_name not in MODEL_CLASSES:
            # Keras numbers shared layers only from their second place in the file on.
            alike = self.places.setdefault(f"{class_name} {name} {_plain(settings)}", [])
            twins = tuple(alike) if isinstance(shared, int) else ()
            alike.append(own_slot)
        is_model = class_name in MODEL_CLASSES and not reasons
        return dataclasses.replace(
            layer,
            slot=own_slot,
            twins=twins,
            model=self.parse(entry, layer.path, own_slot) if is_model else None,
        )


def _plain(value: Any) -> Any:
    """Return settings without the numbers of shared objects."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if key != "shared_object_id"}
    return [*map(_plain, value)] if isinstance(value, list) else value


def is_function_entry(entry: Mapping[str, Any]) -> bool:
    """Return whether a serialized layer is a function of keras.ops or keras.activations."""
    module, class_name = entry.get("module"), entry["class_name"]
    if isinstance(module, str):
        return bool(_FUNCTION_MODULES.fullmatch(module))
    # .h5 files have no modules, and there are functions named like layers, which have a dtype.
    is_layer = class_name in MODEL_CLASSES or "dtype" in entry["config"]
    return module is None and (not is_layer or class_name == "Cast")


def _foreign_reasons(entry: Mapping[str, Any]) -> Iterator[str]:
    module, registered = entry.get("module"), entry.get("registered_name")
    class_name = entry["class_name"]
    if registered == f"{OWN_PREFIX}{class_name}":
        return
    if registered is not None and registered != class_name:
        yield f"is a custom class registered as {shorten(registered)}, expected a Keras layer"
    elif is_function_entry(entry):
        return
    elif module is not None and not (isinstance(module, str) and _OWN_MODULES.fullmatch(module)):
        yield f"is a custom class of module {shorten(module)}, expected a Keras layer"


def _free_sizes(model: Model) -> Iterator[str]:
    for layer in model.layers.values():
        shape = input_shape(layer) if layer.class_name == "InputLayer" else ()
        if shape is None:
            yield f"{layer}: has no input shape, expected a model that was built"
        elif None in shape:
            yield f"{layer}: the input shape {list(shape)} has a free size, expected a fixed one"


def _name_of(config: Mapping[str, Any]) -> str:
    settings = config.get("config")
    inner = settings.get("name") if isinstance(settings, dict) else None
    name = config.get("name", inner)
    return name if isinstance(name, str) else ""


def _snake_case(class_name: str) -> str:
    """Return what Keras names the group of a layer's weights after its class."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
