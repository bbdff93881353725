"""Writes .keras and .h5 files by hand, without Keras: also those that Keras would never write."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]
Arrays = Mapping[str, Sequence[np.ndarray]]


def layer(class_name: str, name: str, calls: Sequence[Any] = (), **settings: Any) -> Config:
    """A layer; `calls` holds the operands of each call, as names or (name, call, output)."""
    module = "keras" if class_name == "Sequential" else "keras.layers"
    if class_name == "Functional":
        module = "keras.src.models.functional"
    return {
        "module": module,
        "class_name": class_name,
        "registered_name": None,
        "name": name,
        "config": {"name": name, "dtype": "float32", **settings},
        "inbound_nodes": [{"args": [tensor(operands)], "kwargs": {}} for operands in calls],
    }


def function(
    class_name: str, name: str, *args: Any, module: str = "numpy", **settings: Any
) -> Config:
    """A function of keras.ops, called once; text among `args` names tensors."""
    entry = layer(class_name, name)
    entry["module"] = f"keras.src.ops.{module}"
    entry["registered_name"] = class_name
    entry["config"] = {"name": name, **settings}
    entry["inbound_nodes"] = [{"args": _name_tensors([*args]), "kwargs": {}}]
    return entry


def _name_tensors(value: Any) -> Any:
    if isinstance(value, list):
        return [_name_tensors(each) for each in value]
    return tensor(value) if isinstance(value, str) else value


def tensor(operand: Any) -> Any:
    if isinstance(operand, list):
        return [tensor(each) for each in operand]
    history = [operand, 0, 0] if isinstance(operand, str) else [*operand]
    return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}


def placeholder(shape: Sequence[int | None], name: str = "x") -> Config:
    return layer("InputLayer", name, batch_shape=[None, *shape])


def dense(name: str = "fc", calls: Sequence[Any] = (), **settings: Any) -> Config:
    return layer("Dense", name, calls, **{"units": 3, **settings})


def sequential(shape: Sequence[int | None], *layers: Config, name: str = "net") -> Config:
    return layer("Sequential", name, layers=[placeholder(shape), *layers])


def functional(
    layers: Sequence[Config],
    outputs: Any,
    inputs: Any = (("x", 0, 0),),
    name: str = "net",
    calls: Sequence[Any] = (),
) -> Config:
    return layer(
        "Functional",
        name,
        calls,
        layers=[*layers],
        input_layers=[[*ref] for ref in inputs],
        output_layers=[[*ref] for ref in outputs],
    )


DENSE_4_3 = (np.ones((4, 3), np.float32), np.zeros(3, np.float32))
DENSE_WEIGHTS: Arrays = {"layers/dense/vars": DENSE_4_3}


def weights_file(weights: Arrays) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for group, arrays in weights.items():
            file.create_group(group)
            for number, array in enumerate(arrays):
                file[f"{group}/{number}"] = array
    return buffer.getvalue()


def write_members(path: Path, members: Mapping[str, bytes | str], compression: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_keras(path: Path, config: Config, weights: Arrays = DENSE_WEIGHTS) -> Path:
    return write_members(
        path,
        {
            "metadata.json": json.dumps({"keras_version": "3.10.0"}),
            "config.json": json.dumps(config),
            "model.weights.h5": weights_file(weights),
        },
    )


def write_h5(path: Path, config: Config, weights: Mapping[str, Mapping[str, np.ndarray]]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(_without_modules(config))
        file.attrs["keras_version"] = "3.10.0"
        file.create_group("model_weights")
        for name, arrays in weights.items():
            group = file.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [*arrays]
            for path_in_group, array in arrays.items():
                group[path_in_group] = array
    return path


def _without_modules(config: Any) -> Any:
    if isinstance(config, list):
        return [_without_modules(each) for each in config]
    if isinstance(config, dict):
        kept = {k: v for k, v in config.items() if k not in {"module", "registered_name"}}
        return {key: _without_modules(value) for key, value in kept.items()}
    return config
