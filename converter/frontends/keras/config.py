"""A model as Keras serialized it, parsed into layers and calls; Keras itself builds nothing.

Understands what Keras 3 writes into .keras and .h5 files and what Keras 2 wrote into .h5 files.
Everything without a translation is collected, so that all of it is told at once.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from .calls import Ref, UnsupportedCallError, member, parse_call, parse_refs, shorten
from .hdf5 import DAMAGED

MAX_LAYERS = 20_000
MODEL_CLASSES = frozenset({"Functional", "Model", "Sequential"})

_OWN_MODULES = re.compile(
    r"keras(\.layers|\.models)?|keras\.src\.(layers|models|engine)(\.\w+)*|keras\.engine(\.\w+)*"
)
_FUNCTION = "is a function of keras.ops, expected a layer of keras.layers"

CheckLayer = Callable[[str, Mapping[str, Any]], Iterator[str]]
"""(class name, settings) -> why such a layer has no translation, one line for each reason."""


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        path: Names of the models around it, then its own.
        class_name: As in Keras.
        settings: Its configuration, as serialized.
        slot: Where a .keras file keeps its weights.
        calls: The operands of every call, in order.
        model: What it consists of, if it is a model itself.
    """

    path: tuple[str, ...]
    class_name: str
    settings: Mapping[str, Any]
    slot: tuple[str, ...] = ()
    calls: tuple[tuple[Ref, ...], ...] = ()
    model: Model | None = None

    @property
    def name(self) -> str:
        """The layer's own name."""
        return self.path[-1]

    def __str__(self) -> str:
        return f"{'/'.join(self.path)} ({self.class_name})"


@dataclass(frozen=True)
class Model:
    """A model, or a part of one.

    Attributes:
        layers: By name, in the order of the file.
        inputs: Results of InputLayers.
        outputs: In order.
        input_keys: Keys under which the inputs are passed; None if in order.
    """

    layers: Mapping[str, Layer]
    inputs: tuple[Ref, ...] = ()
    outputs: tuple[Ref, ...] = ()
    input_keys: tuple[str, ...] | None = None


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


def input_shape(layer: Layer) -> tuple[int | None, ...] | None:
    """Return the shape of one sample that an InputLayer declares, None if it declares none.

    Raises:
        FormatError: It is no list of positive sizes.
    """
    shape = layer.settings.get("batch_shape", layer.settings.get("batch_input_shape"))
    if shape is None:
        return None
    if not isinstance(shape, list) or not shape or not all(map(_is_size, shape)):
        raise FormatError(
            f"{layer}: the shape is {shorten(shape)}, expected [null, size, ...]", hint=DAMAGED
        )
    return tuple(shape[1:])


class _Parser:
    """What is collected over a model and the models within it."""

    def __init__(self, check: CheckLayer) -> None:
        self.check = check
        self.reasons: list[str] = []
        self.n_layers = 0
        self.slots: dict[int, tuple[str, ...]] = {}

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
            model = _chain(settings, layers, path)
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
        return _link(model, is_legacy, where)

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
        layer = Layer((*path, name), class_name, settings)
        reasons = [*_foreign_reasons(entry)]
        calls = [] if is_sequential else member(entry, "inbound_nodes", list, str(layer))
        if reasons:
            calls = []
        elif class_name not in MODEL_CLASSES:
            reasons = [*self.check(class_name, settings)]
        operands = []
        for call in calls:
            try:
                operands.append(parse_call(call, str(layer)))
            except UnsupportedCallError as error:
                reasons.append(str(error))
        self.reasons.extend(f"{layer}: {reason}" for reason in reasons)
        group = _snake_case(class_name)
        # Sequential.layers, by which Keras counts, leaves InputLayer out.
        if not (is_sequential and class_name == "InputLayer"):
            used[group] += 1
        number = f"_{used[group] - 1}" if used[group] > 1 else ""
        own_slot = (*slot, "layers", group + number)
        if isinstance(shared := entry.get("shared_object_id"), int):
            # A layer that is part of two models has its weights where Keras met it first.
            own_slot = self.slots.setdefault(shared, own_slot)
        is_model = class_name in MODEL_CLASSES and not reasons
        return dataclasses.replace(
            layer,
            slot=own_slot,
            calls=tuple(operands),
            model=self.parse(entry, layer.path, own_slot) if is_model else None,
        )


def _foreign_reasons(entry: Mapping[str, Any]) -> Iterator[str]:
    module, registered = entry.get("module"), entry.get("registered_name")
    class_name = entry["class_name"]
    if isinstance(module, str) and re.match(r"keras\.(src\.)?ops\b", module):
        yield _FUNCTION
    elif module is None and class_name not in MODEL_CLASSES and "dtype" not in entry["config"]:
        yield _FUNCTION  # .h5 files have no modules, and there are functions named like layers
    elif registered is not None and registered != class_name:
        yield f"is a custom class registered as {shorten(registered)}, expected a Keras layer"
    elif module is not None and not (isinstance(module, str) and _OWN_MODULES.fullmatch(module)):
        yield f"is a custom class of module {shorten(module)}, expected a Keras layer"


def _free_sizes(model: Model) -> Iterator[str]:
    for layer in model.layers.values():
        shape = input_shape(layer) if layer.class_name == "InputLayer" else ()
        if shape is None:
            yield f"{layer}: has no input shape, expected a model that was built"
        elif None in shape:
            yield f"{layer}: the input shape {list(shape)} has a free size, expected a fixed one"


def _chain(settings: Mapping[str, Any], layers: dict[str, Layer], path: tuple[str, ...]) -> Model:
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


def _link(model: Model, is_legacy: bool, where: str) -> Model:
    """Check what calls and outputs refer to; count the calls of nested models from 0."""
    used: dict[str, list[int]] = {}
    calls = [call for layer in model.layers.values() for call in layer.calls]
    for ref in (ref for call in (*calls, model.outputs) for ref in call):
        lowest, highest = used.get(ref.layer, (ref.call, ref.call))
        used[ref.layer] = [min(lowest, ref.call), max(highest, ref.call)]

    def resolve(ref: Ref, where: str, *, is_output: bool = False) -> Ref:
        layer = model.layers.get(ref.layer)
        call, n_calls, n_outputs = ref.call, 0, 1
        if layer is not None:
            n_calls = 1 if layer.class_name == "InputLayer" else len(layer.calls)
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
            calls=tuple(tuple(resolve(ref, str(layer)) for ref in call) for call in layer.calls),
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


def _name_of(config: Mapping[str, Any]) -> str:
    settings = config.get("config")
    inner = settings.get("name") if isinstance(settings, dict) else None
    name = config.get("name", inner)
    return name if isinstance(name, str) else ""


def _is_size(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _snake_case(class_name: str) -> str:
    """Return what Keras names the group of a layer's weights after its class."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
