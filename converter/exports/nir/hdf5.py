"""Nodes and edges as a NIR file: HDF5 as the package nir 1.0 writes it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NIR_VERSION = "1.0.8"
"""Of the package whose files these are. Up to 1.0.5, neurons are reset by subtraction."""
SUBTRACTING_VERSION = "1.0.5"


def encode_hdf5(
    nodes: Mapping[str, Mapping[str, Any]],
    edges: Sequence[tuple[str, str]],
    metadata: Mapping[str, str],
    version: str = NIR_VERSION,
) -> bytes:
    """Return the file's bytes; the same arguments give the same bytes.

    Args:
        nodes: By name: fields, with `type`.
        edges: Names of nodes.
        metadata: Of the graph.
        version: Of the package nir.
    """
    import h5py

    text = h5py.string_dtype()
    content = io.BytesIO()
    with h5py.File(content, "w", track_order=False) as file:
        file.create_dataset("version", data=version, dtype=text)
        graph = file.create_group("node")
        graph.create_dataset("type", data="NIRGraph", dtype=text)
        listed = np.array(edges, dtype=object).reshape(-1, 2)
        graph.create_dataset("edges", data=listed, dtype=text)
        _write_group(graph.create_group("metadata"), metadata)
        # In the order in which they are computed: nirtorch 2.0.2 visits a node three times at most.
        group = graph.create_group("nodes", track_order=True)
        for name, fields in nodes.items():
            _write_group(group.create_group(name), fields)
    return content.getvalue()


def _write_group(group: Any, fields: Mapping[str, Any]) -> None:
    import h5py

    for key, value in fields.items():
        if isinstance(value, Mapping):
            _write_group(group.create_group(key), value)
        elif isinstance(value, str):
            group.create_dataset(key, data=value, dtype=h5py.string_dtype())
        elif isinstance(value, np.ndarray) and value.ndim:
            group.create_dataset(key, data=value, compression="gzip")
        else:
            group.create_dataset(key, data=value)
