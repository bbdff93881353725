"""Draft: the nodes and constants of an ONNX graph while it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

States = Mapping[str, str]
"""By key: the name of a state in the model."""


class Draft:
    """The nodes and constants of an ONNX graph while it is written; every name is used once."""

    def __init__(self, reserved: set[str]) -> None:
        self.names = reserved
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def fresh(self, wanted: str) -> str:
        """Return `wanted`, or `wanted` with the first number that makes it unique."""
        name, number = wanted, 2
        while name in self.names:
            name, number = f"{wanted}_{number}", number + 1
        self.names.add(name)
        return name

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Append a node with one result, and return the result's name."""
        result = self.fresh(name)
        self.nodes.append(helper.make_node(operator, inputs, [result], name=result, **attributes))
        return result

    def constant(self, values: Any, *, name: str, dtype: Any = np.float32) -> str:
        """Add an initializer, and return its name."""
        result = self.fresh(name)
        array = np.ascontiguousarray(values, dtype).reshape(np.shape(values))
        self.constants.append(numpy_helper.from_array(array, result))
        return result
