"""A Keras model as the bytes of a .keras file: the same model, the same bytes."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The first date that a zip archive can hold."""
METADATA, CONFIG = "metadata.json", "config.json"


def encode_model(model: Any) -> bytes:
    """Return a .keras file without the dates and the addresses that Keras writes into it.

    Args:
        model: keras.Model.
    """
    with tempfile.TemporaryDirectory(prefix="spikeport-") as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in sorted(archive.namelist())}
    date = "{:04}-{:02}-{:02}@{:02}:{:02}:{:02}".format(*EARLIEST)
    facts = json.loads(parts[METADATA]) | {"date_saved": date}
    parts[METADATA] = json.dumps(facts).encode()
    config = _renumber(json.loads(parts[CONFIG]), {})
    parts[CONFIG] = json.dumps(config).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in parts.items():
            archive.writestr(zipfile.ZipInfo(name, EARLIEST), data)
    return buffer.getvalue()


def _renumber(value: Any, seen: dict[int, int]) -> Any:
    """Return a configuration whose shared objects have numbers in the place of addresses."""
    if isinstance(value, list):
        return [_renumber(each, seen) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: seen.setdefault(each, len(seen) + 1)
        if key == "shared_object_id"
        else _renumber(each, seen)
        for key, each in value.items()
    }
