"""An op's parameters as JSON values and arrays, driven by the annotations of its fields.

A new op or neuron needs no code here as long as its fields are arrays, numbers, text, booleans,
enumerations of text, tuples of these, or None.
"""

from __future__ import annotations

import dataclasses
import enum
import operator
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import FormatError
from ..ir import OPS, Array, Op

MAX_ENTRIES = 2**20
"""Of a tuple; the longest are the places along an axis."""

_DECLARED = "build the operation with the types that its fields declare"


def _fields(op: type[Op]) -> dict[str, Any]:
    hints = typing.get_type_hints(op)
    return {field.name: hints[field.name] for field in dataclasses.fields(op)}


FIELDS: dict[str, dict[str, Any]] = {name: _fields(op) for name, op in OPS.items()}
"""By op and field: the annotation."""


def encode(op: Op) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return an op's fields: JSON values, and arrays, each by the field's name.

    Raises:
        FormatError: The op is not in OPS, or a value has another type than its field declares.
    """
    if OPS.get(type(op).__name__) is not type(op):
        raise FormatError(
            "is not in the table OPS, so that no file can hold it",
            hint="add the operation to converter/ir/ops",
        )
    values: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for name, hint in FIELDS[type(op).__name__].items():
        value = getattr(op, name)
        if not is_array(hint):
            values[name] = _encode_value(value, hint, name)
        elif isinstance(value, np.ndarray):
            arrays[name] = value
        elif not is_optional(hint) or value is not None:
            raise FormatError(f"{name}: is {_named(value)}, expected an array", hint=_DECLARED)
    return values, arrays


def decode(op_name: str, values: Mapping[str, Any], arrays: Mapping[str, Array]) -> Op:
    """Return the op of that name and these fields.

    Raises:
        FormatError: No such op, or its fields are not exactly the declared ones, each of exactly
            the declared type.
        GraphError: The op refuses a value.
    """
    if op_name not in OPS:
        raise FormatError(
            f"operation {op_name!r} is unknown, expected one of {', '.join(sorted(OPS))}"
        )
    hints = FIELDS[op_name]
    required = {name for name, hint in hints.items() if not is_array(hint)}
    if required != values.keys():
        raise FormatError(f"has the parameters {sorted(values)}, expected {sorted(required)}")
    declared = {name for name, hint in hints.items() if is_array(hint)}
    missing = {name for name in declared - arrays.keys() if not is_optional(hints[name])}
    if missing or not arrays.keys() <= declared:
        raise FormatError(f"has the tensors {sorted(arrays)}, expected {sorted(declared)}")
    fields = {name: _decode_value(values[name], hints[name], name) for name in required}
    return OPS[op_name](**fields, **{name: arrays.get(name) for name in declared})


def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation itself."""
    is_union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    return typing.get_args(hint) if is_union else (hint,)


def is_array(hint: Any) -> bool:
    """Return whether an annotation declares an array, which a file holds as a tensor."""
    return any(typing.get_origin(kind) is np.ndarray for kind in alternatives(hint))


def is_optional(hint: Any) -> bool:
    """Return whether an annotation allows None."""
    return type(None) in alternatives(hint)


def _encode_value(value: Any, hint: Any, where: str) -> Any:
    """Accept what equals a value of the declared type: numpy's numbers, and 1 for 1.0."""
    if value is None and is_optional(hint):
        return None
    kind = next(kind for kind in alternatives(hint) if kind is not type(None))
    if typing.get_origin(kind) is tuple and isinstance(value, tuple):
        return [
            _encode_value(entry, part, where)
            for entry, part in zip(value, _parts(kind, len(value), where), strict=True)
        ]
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and isinstance(value, kind):
        return value.value
    is_bool = isinstance(value, bool | np.bool_)
    for declared, accepted, convert in _CONVERSIONS:
        if kind is declared and isinstance(value, accepted) and is_bool is (kind is bool):
            return convert(value)
    raise FormatError(f"{where}: is {_named(value)}, expected {_describe(hint)}", hint=_DECLARED)


_CONVERSIONS: tuple[tuple[type, Any, Callable[[Any], Any]], ...] = (
    (bool, bool | np.bool_, bool),
    (int, int | np.integer, operator.index),
    (float, int | float | np.integer | np.floating, float),
    (str, str, str),
)


def _decode_value(value: Any, hint: Any, where: str) -> Any:
    if value is None and is_optional(hint):
        return None
    kind = next(kind for kind in alternatives(hint) if kind is not type(None))
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(
            _decode_value(entry, part, where)
            for entry, part in zip(value, _parts(kind, len(value), where), strict=True)
        )
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        members = {member.value: member for member in kind}
        if isinstance(value, str) and value in members:
            return members[value]
    elif type(value) is kind:
        return value
    raise FormatError(f"{where}: is {_named(value)}, expected {_describe(hint)}")


def _parts(kind: Any, n: int, where: str) -> tuple[Any, ...]:
    parts = typing.get_args(kind)
    if parts[-1] is Ellipsis:
        if n > MAX_ENTRIES:
            raise FormatError(f"{where}: has {n} entries, expected at most {MAX_ENTRIES}")
        return parts[:1] * n
    if n != len(parts):
        raise FormatError(f"{where}: has {n} entries, expected {len(parts)}")
    return parts


def _named(value: Any) -> str:
    return f"{value!r:.80} ({type(value).__name__})"


def _describe(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(repr(member.value) for member in hint)
    return hint.__name__ if isinstance(hint, type) else str(hint)
