"""The Keras front-end: from a file or a model in memory to a graph.

    file ── files, hdf5: bounded reading ──┐
    model in memory ── its configuration ──┤
                                           ├─ config, calls: layers, reasons to refuse
                                           └─ table, translation: calls become nodes

A model file never runs code: Keras builds nothing before every layer was found in the table, and
Keras is imported only to run a network or for a model that is in memory already.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConversionError, FormatError, UnsupportedOpError
from ...ir import Graph
from ...meanings import SourceNode
from .. import Source
from .config import parse_model
from .draft import Draft
from .files import open_model_file, parse_json
from .functions import FUNCTIONS
from .model import FUNCTION_PREFIX, Model
from .own import OWN_LAYERS
from .rules import find_doubts, refuse
from .run import load_file, make_inner, make_run, quieten
from .table import LAYERS
from .translation import Translation
from .weights import LiveWeights, Weights, own_variables

if TYPE_CHECKING:
    import keras

__all__ = ["FUNCTIONS", "LAYERS", "read_keras"]

_RULES = {**LAYERS, **OWN_LAYERS, **FUNCTIONS}


def read_keras(source: keras.Model | Path) -> Source:
    """Read a Keras model.

    Args:
        source: Path of a .keras, .h5 or .hdf5 file, or a model in memory.

    Raises:
        FormatError: The file is damaged, hostile or no Keras model, or the model was never built.
        UnsupportedOpError: Layers have no translation; all of them are listed.
    """
    if isinstance(source, Path):
        return _read_file(source)
    return _read_memory(source)


def _read_file(path: Path) -> Source:
    with open_model_file(path) as file:
        config = file.config
        described = {"name": path.name, "sha256": file.sha256, "version": file.version}
        graph, parsed = _translate(config, file.weights, str(path), described)
    load = partial(load_file, path, described["sha256"], parsed)
    run = make_run(graph, parsed, str(path), load)
    return Source(graph, run, path.name, file.sha256, make_inner(graph, parsed, load))


def _read_memory(model: keras.Model) -> Source:
    quieten()
    import keras

    if not isinstance(model, keras.Model):
        raise FormatError(f"{type(model).__name__}: is no Keras model, expected keras.Model")
    where = f"model {model.name}"
    _refuse_repeated(model, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of custom code, which is refused below
            text = json.dumps(_serialize(model), sort_keys=True)
    except Exception as error:
        # Every layer serializes itself, and a custom one may raise anything.
        raise UnsupportedOpError(
            f"{where}: cannot be serialized, expected a Sequential or functional model",
            reasons=(f"{where}: {str(error).strip()[:200] or type(error).__name__}",),
            hint="build the network from layers of keras.layers",
        ) from error
    digest = hashlib.sha256(text.encode())
    for variable in _all_variables(model):
        digest.update(f"{variable.dtype}{variable.shape}".encode())
        digest.update(variable.tobytes())
    sha256 = digest.hexdigest()
    described = {"name": model.name, "sha256": sha256, "version": keras.__version__}
    config = parse_json(text, where)
    graph, parsed = _translate(config, LiveWeights(model), where, described)
    run, inner = (
        make_run(graph, parsed, where, lambda: model),
        make_inner(graph, parsed, lambda: model),
    )
    return Source(graph, run, model.name, sha256, inner)


def _serialize(model: keras.Model) -> dict[str, Any]:
    """Return what Keras saves of a model, without optimizer and loss."""
    class_ = type(model)
    return {
        "module": class_.__module__,
        "class_name": class_.__name__,
        "config": model.get_config(),
        "name": model.name,
    }


def _translate(
    config: Mapping[str, Any], weights: Weights, where: str, described: Mapping[str, str]
) -> tuple[Graph, Model]:
    try:
        model, reasons = parse_model(config, partial(refuse, _RULES))
        _raise_reasons(where, reasons, model)
        emitters = {name: (rule.emit, rule.n_operands) for name, rule in _RULES.items()}
        draft = Draft(weights, frozenset(_data_formats(model)))
        translation = Translation(draft, emitters, [])
        inputs, outputs = translation.translate(model)
        _raise_reasons(where, tuple(translation.reasons), model)
        metadata: dict[str, Any] = {"source": {"framework": "keras", **described}}
        if draft.leaks:
            metadata["leaks"] = dict(draft.leaks)
        return Graph(tuple(draft.nodes), inputs, outputs, metadata), model
    except UnsupportedOpError:
        raise
    except ConversionError as error:
        message = str(error) if str(error).startswith(where) else f"{where}: {error}"
        raise FormatError(message, hint=error.hint) from error


def _raise_reasons(where: str, reasons: tuple[str, ...], model: Model) -> None:
    if reasons:
        reasons = (*reasons, *find_doubts(_RULES, model))
        raise UnsupportedOpError(
            f"{where}: {len(reasons)} reasons why it cannot be translated, expected none:",
            reasons=reasons,
            hint="`spikeport check` shows what every layer of a network becomes",
            nodes=tuple(_list_nodes(model)),
        )


def _list_nodes(model: Model) -> Iterator[SourceNode]:
    """Yield all layers, those of models within models as well."""
    for layer in model.layers.values():
        if layer.model is not None:
            yield from _list_nodes(layer.model)
            continue
        class_name = layer.class_name.removeprefix(FUNCTION_PREFIX)
        activation = layer.settings.get("activation")
        if isinstance(activation, dict):
            activation = activation.get("class_name")
        parts = (class_name, activation) if activation not in (None, "linear") else (class_name,)
        yield SourceNode("/".join(layer.path), layer.class_name, tuple(map(str, parts)))


def _data_formats(model: Model) -> Iterator[str]:
    for layer in model.layers.values():
        if layer.model is not None:
            yield from _data_formats(layer.model)
        elif layer.class_name.removesuffix("Transpose")[-1] == "D":
            yield layer.settings.get("data_format") or "channels_last"


def _refuse_repeated(model: keras.Model, where: str) -> None:
    """Refuse the second use of a layer in a Sequential: Keras leaves it out of what it saves."""
    import keras

    names = [layer.name for layer in model.layers]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UnsupportedOpError(
            f"{where}: uses layers of a Sequential more than once, which Keras does not save",
            reasons=tuple(f"{name}: is used {names.count(name)} times" for name in repeated),
            hint="build it as a functional model",
        )
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _refuse_repeated(layer, where)


def _all_variables(model: keras.Model) -> Iterator[Any]:
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _all_variables(layer)
        else:
            yield from own_variables(layer)
