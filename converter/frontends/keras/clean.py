"""What is left of a serialized model for Keras to build: layers and functions of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .activations import ACTIVATION_LAYERS
from .config import OWN_PREFIX, is_function_entry
from .functions import FUNCTIONS
from .model import FUNCTION_PREFIX, MODEL_CLASSES
from .own import OWN_LAYERS
from .settings import TRAINING_ONLY


def clean(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a serialized layer or model with nothing left that Keras would build but layers.

    Initializers and the like may be classes of anyone; at inference they do nothing.
    """
    is_model = entry["class_name"] in MODEL_CLASSES
    settings = {
        key: value
        for key, value in entry["config"].items()
        if is_model or not (key.endswith(TRAINING_ONLY) or _is_object(value))
    }
    activation = entry["config"].get("activation")
    if isinstance(activation, dict) and activation.get("class_name") in ACTIVATION_LAYERS:
        settings["activation"] = clean(activation) | {"module": "keras.layers"}
    if is_model:
        settings["layers"] = [clean(layer) for layer in settings["layers"]]
        first = settings["layers"][0]["config"]
        if entry["class_name"] == "Sequential" and "batch_input_shape" in first:
            # Keras 2 wrote the input's shape into the first layer, where Keras 3 misreads it.
            shape = first.pop("batch_input_shape")
            settings["layers"].insert(0, _placeholder("input", shape))
        settings.pop("dtype", None)
    elif entry["class_name"] == "InputLayer":
        shape = settings.get("batch_shape", settings.get("batch_input_shape"))
        return {**_keep(entry), **_placeholder(settings["name"], shape), "registered_name": None}
    elif is_function_entry(entry):
        module = FUNCTIONS[FUNCTION_PREFIX + entry["class_name"]].module
        return _keep(entry) | {"module": module, "config": settings}
    elif "dtype" in settings or "dtype" in entry["config"]:
        settings["dtype"] = "float32"
    if settings.get("groups") == 1:
        settings.pop("groups")  # written by Keras 2 for layers that know none in Keras 3
    axis = settings.get("axis")
    if entry["class_name"] == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        settings["axis"] = axis[0]  # as Keras 2 wrote it
    is_own = entry["class_name"] in OWN_LAYERS
    registered = f"{OWN_PREFIX}{entry['class_name']}" if is_own else None
    cleaned = {**_keep(entry), "registered_name": registered, "config": settings}
    return cleaned | {"module": None} if is_own else cleaned  # what is registered needs none


def has_functions(entry: Mapping[str, Any]) -> bool:
    """Return whether there are functions in a serialized model."""
    if entry["class_name"] in MODEL_CLASSES:
        return any(map(has_functions, entry["config"]["layers"]))
    return is_function_entry(entry)


def name_modules(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cleaned entry of an .h5 file, which has no modules, with those of Keras."""
    if entry["class_name"] not in MODEL_CLASSES:
        return {"module": "keras.layers", **entry}
    settings = dict(entry["config"])
    settings["layers"] = [name_modules(layer) for layer in settings["layers"]]
    return {**entry, "module": _module_of(entry), "config": settings}


def _module_of(entry: Mapping[str, Any]) -> str:
    return "keras" if entry["class_name"] == "Sequential" else "keras.src.models.functional"


def _placeholder(name: str, shape: Any) -> dict[str, Any]:
    config = {"name": name, "dtype": "float32", "batch_shape": shape}
    return {"class_name": "InputLayer", "config": config}


def _keep(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("module", "class_name", "name", "inbound_nodes", "shared_object_id")
    cleaned = {key: entry[key] for key in kept if key in entry}
    if "module" in cleaned and entry["class_name"] in MODEL_CLASSES:
        cleaned["module"] = _module_of(entry)  # Keras 2 had its models elsewhere
    shape = entry.get("build_config")
    if isinstance(shape, dict) and isinstance(shape.get("input_shape"), list):
        cleaned["build_config"] = {"input_shape": shape["input_shape"]}
    return cleaned


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") != "__numpy__"
