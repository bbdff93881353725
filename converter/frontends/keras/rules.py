"""Why layers have no translation: what their settings and calls say, before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .activations import ACTIVATION_LAYERS, ANALOG_ACTIVATIONS, NAMED_ACTIVATIONS
from .calls import Ref, shorten
from .draft import Value
from .model import FUNCTION_PREFIX, Layer, Model
from .settings import TRAINING_ONLY

_WITHOUT_MEANING = frozenset({
    "name", "trainable", "dtype", "autocast", "batch_input_shape", "batch_shape", "input_shape",
})  # fmt: skip
_READOUTS = frozenset({"sigmoid", "softmax", "log_softmax", "logsoftmax"})
_BEHIND_OUTPUTS = frozenset({"Flatten", "Reshape", "Identity", "ops.Reshape", "ops.Squeeze"})
"""Classes that may stand between a read-out and an output."""


@dataclass(frozen=True)
class LayerRule:
    """How layers of one class become nodes.

    Attributes:
        emit: (site, *operands) -> the result or results of one call.
        settings: Whose meaning `emit` knows, or which have none at inference.
        n_operands: Of one call; None for one or more.
        reasons: Says why settings or calls have no translation.
        module: Where Keras has the function; "" for layers.
        analog: What the layer computes, if that is read, but has no spiking translation.
    """

    emit: Callable[..., Value | tuple[Value, ...]]
    settings: frozenset[str] = frozenset()
    n_operands: int | None = 1
    reasons: Callable[[Layer], Iterator[str]] = lambda layer: iter(())
    module: str = ""
    analog: str = ""


def refuse(rules: Mapping[str, LayerRule], layer: Layer) -> Iterator[str]:
    """Yield why a layer has no translation, from its settings and calls alone."""
    class_name, settings = layer.class_name, layer.settings
    rule = rules.get(class_name)
    if class_name == "Lambda":
        yield "holds Python code, which is never run, expected layers of keras.layers"
    elif rule is None:
        yield "has no translation, expected a layer that ReLU networks are made of"
    if rule is None:
        return
    policy = settings.get("dtype")
    if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
        policy = policy["config"].get("name")
    if policy not in (None, "float32") and not rule.module:
        yield f"computes in {shorten(policy)}, expected float32"
    activation = settings.get("activation")
    if isinstance(activation, dict):
        yield from _refuse_object(rules, layer, activation)
    elif activation is not None and not _is_in(NAMED_ACTIVATIONS, activation):
        known = ", ".join(NAMED_ACTIVATIONS)
        yield f"activation {shorten(activation)} has no translation, expected {known}"
    paddings = ("same", "valid", "causal") if class_name == "Conv1D" else ("same", "valid")
    padding = settings.get("padding")
    if isinstance(padding, str) and padding not in paddings:
        yield f"padding {padding!r} has no translation, expected {', '.join(paddings)}"
    data_format = settings.get("data_format")
    if data_format not in (None, "channels_first", "channels_last"):
        yield f"data_format is {shorten(data_format)}, expected channels_first or channels_last"
    for key, value in settings.items():
        is_known = key in rule.settings or key in _WITHOUT_MEANING or key.endswith(TRAINING_ONLY)
        if not is_known and value is not None and value is not False:
            yield f"the setting {key}={shorten(value)} is not known, expected none of this name"
    yield from rule.reasons(layer)


def _is_in(table: Mapping[str, Any], name: object) -> bool:
    return isinstance(name, str) and name in table


def find_doubts(rules: Mapping[str, LayerRule], model: Model) -> Iterator[str]:
    """Yield what is read, but has no spiking translation, one line for each such layer.

    A network that is read is checked node by node. This is for one that is not, so that all
    reasons are told at once.
    """
    taken = {
        operand.layer
        for layer in model.layers.values()
        for operand in (each for call in layer.calls for each in call)
        if isinstance(operand, Ref) and layer.class_name not in _BEHIND_OUTPUTS
    }
    for name, layer in model.layers.items():
        if layer.model is not None:
            yield from find_doubts(rules, layer.model)
            continue
        function = _function(rules, layer)
        if name in taken and function in _READOUTS:
            yield f"{layer}: {function} inside the network, expected at an output only"
        elif function and function not in _READOUTS:
            yield f"{layer}: {function} is not a ReLU, no rate of spikes stands for it"


def _function(rules: Mapping[str, LayerRule], layer: Layer) -> str:
    """Return what function a layer ends with: one without translation, a read-out, or ""."""
    class_name, activation = layer.class_name, layer.settings.get("activation")
    if isinstance(activation, dict):
        class_name = str(activation.get("class_name"))
    elif isinstance(activation, str):
        if activation in ANALOG_ACTIVATIONS:
            return str(ANALOG_ACTIVATIONS[activation][0])
        return activation if activation in _READOUTS else ""
    rule = rules.get(class_name)
    readout = class_name.removeprefix(FUNCTION_PREFIX).lower()
    if rule is not None and rule.analog:
        return rule.analog
    return readout if readout in _READOUTS else ""


def _refuse_object(
    rules: Mapping[str, LayerRule], layer: Layer, activation: Mapping[str, Any]
) -> Iterator[str]:
    """Yield why a layer that is the activation of another one has no translation."""
    class_name, settings = activation.get("class_name"), activation.get("config")
    module, registered = activation.get("module"), activation.get("registered_name")
    is_own = module in (None, "keras.layers") and registered in (None, class_name)
    if not _is_in(ACTIVATION_LAYERS, class_name) or not is_own or not isinstance(settings, dict):
        known = ", ".join(ACTIVATION_LAYERS)
        yield f"the activation is the object {shorten(class_name)}, expected a name or {known}"
    else:
        inner = dataclasses.replace(layer, class_name=str(class_name), settings=settings)
        yield from (f"its activation: {reason}" for reason in refuse(rules, inner))
