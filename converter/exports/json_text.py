"""JSON of which every value has exactly one spelling, and the bounded reader for it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from typing import Any, NoReturn

from ..errors import FormatError

MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1


def canonical_json(value: Any) -> str:
    """Return the one spelling of a JSON value: keys sorted, no spaces, only what must be escaped.

    Args:
        value: Of dicts with string keys, lists or tuples, strings, numbers, booleans and None.

    Raises:
        FormatError: A value of another type, a number that is not finite or above 63 bits, text
            that is no Unicode, or more than MAX_DEPTH levels.
    """
    _check_values(value)
    return spell(value)


def spell(value: Any) -> str:
    """Return what `canonical_json` does, for values that `parse_object` gave.

    Raises:
        FormatError: Text that is no Unicode.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FormatError(f"JSON: holds text that is no Unicode ({error.reason})") from error
    return text


def parse_object(text: str) -> dict[str, Any]:
    """Return the object that `text` spells; it need not be canonical.

    Raises:
        FormatError: No JSON, no object, or one that `canonical_json` refuses.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise FormatError(_TOO_DEEP) from error
    except ValueError as error:
        raise FormatError(f"JSON: cannot be parsed ({error})") from error
    if not isinstance(value, dict):
        raise FormatError(f"JSON: is a {type(value).__name__}, expected an object")
    _check_values(value)
    return value


_TOO_DEEP = f"JSON: is nested too deeply, expected at most {MAX_DEPTH} levels"


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"JSON: holds {name}, expected finite numbers")


def _check_values(value: Any) -> None:
    """Walk level by level, a type at a time.

    Recursion would end at a depth that depends on the caller, and a loop over the entries of a
    hostile file would take minutes.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for kind in set(map(type, level)):
            deeper.extend(_check_kind(kind, [item for item in level if type(item) is kind]))
        if not deeper:
            return
        level = deeper
    raise FormatError(_TOO_DEEP)


def _check_kind(kind: type, items: list[Any]) -> Iterable[Any]:
    """Check values of one type and return what they hold."""
    if issubclass(kind, dict):
        for key_kind in set(map(type, itertools.chain.from_iterable(items))):
            if not issubclass(key_kind, str):
                raise FormatError(f"JSON: has a key of type {key_kind.__name__}, expected text")
        return itertools.chain.from_iterable(item.values() for item in items)
    if issubclass(kind, list | tuple):
        return itertools.chain.from_iterable(items)
    if issubclass(kind, float) and not all(map(math.isfinite, items)):
        raise FormatError("JSON: holds NaN or infinity, expected finite numbers")
    if issubclass(kind, int) and not -MAX_INTEGER <= min(items) <= max(items) <= MAX_INTEGER:
        raise FormatError("JSON: holds an integer of more than 63 bits")
    if not issubclass(kind, str | float | int | type(None)):
        raise FormatError(f"JSON: holds a {kind.__name__}, expected JSON values")
    return ()
