"""JSON of which every value has exactly one spelling, and the bounded reader for it."""

from __future__ import annotations

import json
import math
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
    """Walk level by level: recursion would end at a depth that depends on the caller."""
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                for key in item:
                    if not isinstance(key, str):
                        raise FormatError(f"JSON: has the key {key!r}, expected text")
                deeper.extend(item.values())
            elif isinstance(item, list | tuple):
                deeper.extend(item)
            elif isinstance(item, float):
                if not math.isfinite(item):
                    raise FormatError(f"JSON: holds {item}, expected finite numbers")
            elif isinstance(item, int):
                if abs(item) > MAX_INTEGER:
                    raise FormatError("JSON: holds an integer above 63 bits")
            elif item is not None and not isinstance(item, str):
                raise FormatError(f"JSON: holds a {type(item).__name__}, expected JSON values")
        if not deeper:
            return
        level = deeper
    raise FormatError(_TOO_DEEP)
