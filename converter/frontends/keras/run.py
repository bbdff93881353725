"""Running a model in Keras itself, to compare with what was read."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConversionError, FormatError
from ...ir import Array, Graph
from ...ir.interpret import check_inputs
from .clean import clean, has_functions, name_modules
from .config import OWN_PREFIX
from .files import ARCHIVE_SUFFIX, ModelFile, open_model_file
from .model import Model
from .rebuild import rebuild

if TYPE_CHECKING:
    import keras

BATCH_SIZE = 100

Run = Callable[[tuple[Array, ...]], tuple[Array, ...]]


def make_run(graph: Graph, parsed: Model, name: str, load: Callable[[], keras.Model]) -> Run:
    """Return a function that computes a model's outputs in Keras, in batches.

    Args:
        graph: Says which arrays the model takes.
        parsed: Says under which keys.
        name: Start of messages.
        load: Returns the model; called once, on the first use.

    Returns:
        Function from inputs [N, ...] to outputs [N, ...], in order. It raises GraphError for
        arrays that do not fit, FormatError where Keras cannot load or run the model.
    """
    loaded: list[keras.Model] = []

    def run(inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        arrays = check_inputs(graph, inputs)
        try:
            if not loaded:
                with _quiet_start():
                    loaded.append(load())
                    _run_batch(loaded[0], parsed, tuple(each[:1] for each in arrays))
            model = loaded[0]
            batches = [
                _run_batch(
                    model, parsed, tuple(each[start : start + BATCH_SIZE] for each in arrays)
                )
                for start in range(0, max(len(arrays[0]), 1), BATCH_SIZE)
            ]
        except ConversionError:
            raise
        except Exception as error:
            # Keras and its backends raise all kinds for what they cannot load or compute.
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise FormatError(
                f"{name}: Keras cannot run the model ({lines[0][:200]})",
                hint="load it and save it again with the installed version of Keras",
            ) from error
        return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))

    return run


def make_inner(
    graph: Graph, parsed: Model, load: Callable[[], keras.Model]
) -> Callable[[tuple[Array, ...]], Mapping[str, Array]]:
    """Return the function that computes the layers' results, for `Source.inner`.

    Layers that are called more than once are left out. Arguments and errors as `make_run`.
    """

    def inner(inputs: tuple[Array, ...]) -> Mapping[str, Array]:
        results: dict[str, list[Any]] = {}
        try:
            model = load()
            with _record(model, results):
                _run_batch(model, parsed, check_inputs(graph, inputs))
        except ConversionError:
            raise
        except Exception as error:
            raise ConversionError(f"Keras cannot run the model ({error})") from error
        import keras

        return {
            name: np.asarray(keras.ops.convert_to_numpy(found[0]), np.float32)
            for name, found in results.items()
            if len(found) == 1 and keras.ops.is_tensor(found[0])
        }

    return inner


@contextlib.contextmanager
def _record(model: keras.Model, results: dict[str, list[Any]]) -> Iterator[None]:
    """Note what every layer returns, by its path, as long as the context lasts."""

    def note(path: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            result = call(*args, **options)
            results.setdefault(path, []).append(result)
            return result

        return noted

    layers = dict(_named_layers(model, ""))
    for path, layer in layers.items():
        object.__setattr__(layer, "call", note(path, layer.call))
    try:
        yield
    finally:
        for layer in layers.values():
            object.__delattr__(layer, "call")


def _named_layers(model: keras.Model, prefix: str) -> Iterator[tuple[str, Any]]:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _named_layers(layer, f"{prefix}{layer.name}/")
        else:
            yield prefix + layer.name, layer


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Drop what TensorFlow writes to the process' standard error before its log level holds."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def start_keras() -> None:
    """Import Keras for the first time, without what TensorFlow says of its start."""
    quieten()
    if "keras" in sys.modules:
        return
    with _quiet_start():
        importlib.import_module("keras")


def load_file(path: Path, sha256: str, parsed: Model) -> keras.Model:
    """Load a file with Keras, but with the settings that were checked as its configuration.

    What Keras cannot load is built layer by layer.

    Args:
        path: Of the file.
        sha256: Of the file when it was read.
        parsed: What was read; every layer in it has a translation.

    Raises:
        FormatError: The file is another one now.
    """
    quieten()
    with open_model_file(path) as file, warnings.catch_warnings():
        if file.sha256 != sha256:
            raise FormatError(
                f"{path}: has changed since it was read, expected the same file",
                hint="read it again",
            )
        # Keras warns of habits that change no result, such as inputs named unlike their keys.
        warnings.simplefilter("ignore")
        try:
            return _load(path, file)
        except Exception as error:
            # Keras raises all kinds for what it cannot load.
            try:
                return rebuild(parsed, file.weights)
            except Exception:
                raise error from None  # which says more of the file


def _load(path: Path, file: ModelFile) -> keras.Model:
    import keras

    cleaned = clean(file.config)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{ARCHIVE_SUFFIX if file.is_archive else '.h5'}"
        if not file.is_archive and has_functions(file.config):
            # Keras takes functions in an .h5 file for layers, so the model is built beside it.
            model = keras.saving.deserialize_keras_object(name_modules(cleaned), safe_mode=True)
            shutil.copyfile(path, copy)
            model.load_weights(copy)
            return model
        (_copy_archive if file.is_archive else _copy_legacy)(path, copy, json.dumps(cleaned))
        return keras.models.load_model(
            copy, custom_objects=_applications(), compile=False, safe_mode=True
        )


def _applications() -> dict[str, type]:
    """Return layers that files name without their module: of keras.applications, and our own."""
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    from ...training import table

    own = {f"{OWN_PREFIX}{name}": layer for name, layer in table.LAYERS.items()}
    return {"CustomScaleLayer": CustomScaleLayer, **own}


def _copy_archive(path: Path, copy: Path, config: str) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        new.writestr("config.json", config)
        for name in ("metadata.json", "model.weights.h5"):
            with old.open(name) as source, new.open(name, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def _copy_legacy(path: Path, copy: Path, config: str) -> None:
    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = config


def quieten() -> None:
    """Keep TensorFlow from reporting its start; a level that the user set stays."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _run_batch(model: keras.Model, parsed: Model, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    import keras

    fed: Any = arrays[0] if len(arrays) == 1 else list(arrays)
    if parsed.input_keys is not None:
        fed = dict(zip(parsed.input_keys, arrays, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a single input in a list, which changes no result
        outputs = keras.tree.flatten(model(fed, training=False))
    return tuple(np.asarray(keras.ops.convert_to_numpy(output), np.float32) for output in outputs)
