"""How a serialized Keras model says which layer takes whose results.

Keras 3 writes a call as {"args": [tensors], "kwargs": {...}}, Keras 2 as a list of
[layer, call, output, kwargs].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ...errors import FormatError
from .hdf5 import DAMAGED


class Ref(NamedTuple):
    """One result: output `output` of call `call` of the layer `layer`."""

    layer: str
    call: int
    output: int


class UnsupportedCallError(Exception):
    """A layer is called in a way that has no translation; the text says in which."""


def member(config: Mapping[str, Any], key: str, type_: type, where: str) -> Any:
    """Return `config[key]`.

    Raises:
        FormatError: It is missing or of another type.
    """
    value = config.get(key)
    if not isinstance(value, type_):
        raise FormatError(
            f"{where}: {key} is {shorten(value)}, expected a {type_.__name__}", hint=DAMAGED
        )
    return value


def shorten(value: Any) -> str:
    """Return a value as text of bounded length."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def parse_call(call: Any, where: str) -> tuple[Ref, ...]:
    """Return the operands of one call, in order.

    Raises:
        UnsupportedCallError: It has arguments besides its operands, or a constant as operand.
        FormatError: It is no call.
    """
    if isinstance(call, list):
        for item in call:
            if isinstance(item, list) and len(item) == 4 and isinstance(item[3], dict):
                _check_arguments(item[3])
        tensors = [item[:3] if isinstance(item, list) else item for item in call]
        return parse_refs(tensors, where)[0]
    if not isinstance(call, dict):
        raise FormatError(f"{where}: a call is {shorten(call)}, expected an object", hint=DAMAGED)
    args = [*member(call, "args", list, where)]
    arguments = dict(member(call, "kwargs", dict, where))
    if not args and "inputs" in arguments:
        args = [arguments.pop("inputs")]
    _check_arguments(arguments)
    if len(args) != 1:
        raise UnsupportedCallError(f"is called with {len(args)} arguments, expected one operand")
    return tuple(_flatten_tensors(args[0], where))


def parse_refs(value: Any, where: str) -> tuple[tuple[Ref, ...], tuple[str, ...] | None]:
    """Return the results that `value` lists, and their keys if it is an object.

    Raises:
        FormatError: It is no [layer, call, output], and no list or object of them.
    """
    if isinstance(value, dict):
        keys = tuple(sorted(value))  # the order in which Keras flattens
        return tuple(_parse_ref(value[key], where) for key in keys), keys
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return tuple(_parse_ref(item, where) for item in value), None
    return (_parse_ref(value, where),), None


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        is_inference = name == "training" and (value is None or value is False)
        if not is_inference and not (name == "mask" and _is_empty(value)):
            raise UnsupportedCallError(
                f"is called with {name}={shorten(value)}, expected a call without it"
            )


def _is_empty(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return value is None or (isinstance(value, dict | list) and all(map(_is_empty, items)))


def _flatten_tensors(value: Any, where: str) -> Iterator[Ref]:
    if isinstance(value, list):
        for item in value:
            yield from _flatten_tensors(item, where)
    elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        tensor = member(value, "config", dict, where)
        yield _parse_ref(tensor.get("keras_history"), where)
    elif isinstance(value, dict) and "class_name" not in value:
        for key in sorted(value):  # the order in which Keras flattens
            yield from _flatten_tensors(value[key], where)
    else:
        raise UnsupportedCallError(
            f"is called with the constant {shorten(value)}, expected a tensor"
        )


def _parse_ref(value: Any, where: str) -> Ref:
    match value:
        case [str(layer), int(call), int(output)] if call >= 0 and output >= 0:
            return Ref(layer, call, output)
    raise FormatError(
        f"{where}: a tensor is {shorten(value)}, expected [layer, call, output]", hint=DAMAGED
    )
