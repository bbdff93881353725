"""A parsed Keras model: layers, calls, nested models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import FormatError
from .calls import Operand, Ref, shorten
from .hdf5 import DAMAGED

MODEL_CLASSES = frozenset({"Functional", "Model", "Sequential"})
FUNCTION_PREFIX = "ops."
"""In front of the class names of functions: keras.ops has an Add, keras.layers has another."""


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        path: Names of the models around it, then its own.
        class_name: As in Keras; "ops.Add" for the function Add of keras.ops.
        settings: Its configuration, as serialized.
        slot: Where a .keras file keeps its weights.
        twins: Where it keeps them if the layer is also part of a model that comes before.
        calls: The operands of every call, in order.
        model: What it consists of, if it is a model itself.
    """

    path: tuple[str, ...]
    class_name: str
    settings: Mapping[str, Any]
    slot: tuple[str, ...] = ()
    twins: tuple[tuple[str, ...], ...] = ()
    calls: tuple[tuple[Operand, ...], ...] = ()
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


def _is_size(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)
