"""How a serialized Keras model says which layer takes whose results.

Keras 3 writes a call as {"args": [tensors], "kwargs": {...}}, Keras 2 as a list of
[layer, call, output, kwargs].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...errors import FormatError
from .hdf5 import DAMAGED


class Ref(NamedTuple):
    """One result: output `output` of call `call` of the layer `layer`."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Constant:
    """What a function of keras.ops is called with besides tensors; numbers, lists, slices.

    Attributes:
        value: As serialized.
    """

    value: Any


Operand = Ref | Constant


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
    """Return the operands of one call of a layer, in order.

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
    args = _parse_arguments(call, where)
    if len(args) != 1:
        raise UnsupportedCallError(f"is called with {len(args)} arguments, expected one operand")
    refs = []
    for operand in _flatten(args[0], where):
        if isinstance(operand, Constant):
            raise UnsupportedCallError(
                f"is called with the constant {shorten(operand.value)}, expected a tensor"
            )
        refs.append(operand)
    return tuple(refs)


def parse_function_call(call: Any, where: str) -> tuple[Operand, ...]:
    """Return the arguments of one call of a function, in order; lists of tensors are flattened.

    Raises:
        UnsupportedCallError: It has arguments by name.
        FormatError: It is no call.
    """
    return tuple(
        operand for value in _parse_arguments(call, where) for operand in _flatten(value, where)
    )


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


def _parse_arguments(call: Any, where: str) -> list[Any]:
    if not isinstance(call, dict):
        raise FormatError(f"{where}: a call is {shorten(call)}, expected an object", hint=DAMAGED)
    args = [*member(call, "args", list, where)]
    arguments = dict(member(call, "kwargs", dict, where))
    if not args and "inputs" in arguments:
        args = [arguments.pop("inputs")]
    _check_arguments(arguments)
    return args


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        is_inference = name == "training" and value is False
        is_zero = name == "constant_values" and type(value) in {int, float} and value == 0
        if not (is_inference or is_zero or value is None or (name == "mask" and _is_empty(value))):
            raise UnsupportedCallError(
                f"is called with {name}={shorten(value)}, expected a call without it"
            )


def _is_empty(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return value is None or (isinstance(value, dict | list) and all(map(_is_empty, items)))


def _flatten(value: Any, where: str) -> Iterator[Operand]:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        tensor = member(value, "config", dict, where)
        yield _parse_ref(tensor.get("keras_history"), where)
    elif not _holds_tensors(value):
        if value not in ([], {}):
            yield Constant(value)
    elif isinstance(value, list):
        for item in value:
            yield from _flatten(item, where)
    else:
        for key in sorted(value):  # the order in which Keras flattens
            yield from _flatten(value[key], where)


def _holds_tensors(value: Any) -> bool:
    """Return whether there is a tensor in a list or object, or in lists and objects within."""
    if isinstance(value, list):
        return any(map(_holds_tensors, value))
    if not isinstance(value, dict):
        return False
    if "class_name" in value:
        return bool(value["class_name"] == "__keras_tensor__")
    return any(map(_holds_tensors, value.values()))


def _parse_ref(value: Any, where: str) -> Ref:
    match value:
        case [str(layer), int(call), int(output)] if call >= 0 and output >= 0:
            return Ref(layer, call, output)
    raise FormatError(
        f"{where}: a tensor is {shorten(value)}, expected [layer, call, output]", hint=DAMAGED
    )
