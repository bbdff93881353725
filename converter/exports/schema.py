"""JSON Schema of a `.snn` file's document, from the fields that ops declare: snn.schema.json.

python -m spikeport.converter.exports.schema > converter/exports/snn.schema.json
"""

from __future__ import annotations

import enum
import json
import re
import typing
from pathlib import Path
from typing import Any

from ..ir import OPS
from .container import BITS, MAX_AXES
from .packing import NONZERO, SCALE, SIGNS
from .parameters import FIELDS, MAX_ENTRIES, alternatives, is_array, is_optional
from .snn import FORMAT, FORMAT_VERSION, MAX_NAME, MAX_NODES

SCHEMA_PATH = Path(__file__).with_name("snn.schema.json")
HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
SIMPLE: dict[Any, str] = {int: "integer", float: "number", bool: "boolean", str: "string"}


def build_schema() -> dict[str, Any]:
    """Return the schema (draft 2020-12) of files of every version.

    It says what JSON Schema can say: keys, types, parameters and numbers of operands of every op.
    That names fit together, shapes and hashes are checked by readers only.
    """
    name = {"type": "string", "minLength": 1, "maxLength": MAX_NAME}
    fields = sorted({field for op in OPS for field in tensors(op)} | {"unit"})
    place = rf"^(0|[1-9]\d*)\.({'|'.join(fields)})"
    sizes = {"type": "array", "maxItems": MAX_AXES, "items": {"type": "integer", "minimum": 1}}
    plain, scales, signs, nonzero = (
        {"type": "string", "pattern": f"{place}{re.escape(suffix)}$"}
        for suffix in ("", SCALE, SIGNS, NONZERO)
    )
    numbers = _tuple([{"anyOf": [plain, scales]}, sizes])
    bits = _tuple([{"anyOf": [signs, nonzero]}, sizes, {"const": BITS}])
    properties: dict[str, Any] = {
        "format": {"const": FORMAT},
        "version": {"enum": list(range(1, FORMAT_VERSION + 1))},
        "nodes": {"type": "array", "maxItems": MAX_NODES, "items": {"$ref": "#/$defs/node"}},
        "inputs": {"type": "array", "uniqueItems": True, "items": name},
        "outputs": {"type": "array", "minItems": 1, "items": name},
        "metadata": {"type": "object"},
        "tensors": {"type": "array", "items": {"anyOf": [numbers, bits]}},
        "sha256": _object({"data": HASH, "graph": HASH}),
    }
    node = _object({
        "name": name,
        "op": {"enum": sorted(OPS)},
        "inputs": {"type": "array", "items": name},
        "source": {"type": "string", "maxLength": MAX_NAME},
        "parameters": {"type": "object"},
    })
    node["allOf"] = [
        {"if": {"properties": {"op": {"const": op}}}, "then": {"$ref": f"#/$defs/{op}"}}
        for op in sorted(OPS)
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"document of a .snn file, version {FORMAT_VERSION} and older",
        **_object(properties),
        "if": {"properties": {"version": {"const": 1}}},
        "then": {"properties": {"tensors": {"items": _tuple([plain, sizes])}}},
        "$defs": {"node": node, **{op: _op(op) for op in sorted(OPS)}},
    }


def parameters(op: str) -> dict[str, Any]:
    """Return the fields of an op that are JSON values, with their annotations."""
    return {name: hint for name, hint in FIELDS[op].items() if name not in tensors(op)}


def tensors(op: str) -> dict[str, bool]:
    """Return the fields of an op that are tensors, and whether they may be missing."""
    fields = FIELDS[op].items()
    return {name: is_optional(hint) for name, hint in fields if is_array(hint)}


def _op(op: str) -> dict[str, Any]:
    given = [f"{name} (may be missing)" if may else name for name, may in tensors(op).items()]
    n = OPS[op].n_inputs
    operands = {"minItems": 1} if n is None else {"minItems": n, "maxItems": n}
    values = {name: _value(hint) for name, hint in parameters(op).items()}
    return {
        "$comment": f"tensors: {', '.join(given) or 'none'}",
        "properties": {"inputs": operands, "parameters": _object(values)},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": sorted(properties),
        "additionalProperties": False,
    }


def _tuple(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "array",
        "prefixItems": items,
        "minItems": len(items),
        "maxItems": len(items),
    }


def _value(hint: Any) -> dict[str, Any]:
    if is_optional(hint):
        (kind,) = (kind for kind in alternatives(hint) if kind is not type(None))
        return {"anyOf": [{"type": "null"}, _value(kind)]}
    if typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        if parts[-1] is Ellipsis:
            return {"type": "array", "maxItems": MAX_ENTRIES, "items": _value(parts[0])}
        return _tuple([_value(part) for part in parts])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    return {"type": SIMPLE[hint]}


def schema_text() -> str:
    """Return the schema as the file has it."""
    return json.dumps(build_schema(), indent=1) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
