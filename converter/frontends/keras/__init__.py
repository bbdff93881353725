"""The Keras front-end: LAYERS, and from a file or a model in memory to a graph.

    file ── files, hdf5: bounded reading ──┐
    model in memory ── its configuration ──┤
                                           ├─ config, calls: layers, reasons to refuse
                                           └─ translation: LAYERS turn calls into nodes

A model file never runs code: Keras builds nothing before every layer was found in LAYERS, and
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
from .. import Source
from .activations import (
    emit_activation,
    emit_identity,
    emit_relu,
    emit_softmax,
    refuse_relu,
    refuse_softmax,
)
from .config import Model, parse_model
from .draft import Draft
from .files import open_model_file, parse_json
from .layers import (
    emit_add,
    emit_batch_norm,
    emit_concatenate,
    emit_dense,
    emit_flatten,
    emit_normalization,
    emit_permute,
    emit_rescaling,
    emit_reshape,
)
from .run import load_file, make_inner, make_run, quieten
from .settings import LayerRule, refuse
from .spatial import (
    emit_average_pool,
    emit_conv,
    emit_depthwise_conv,
    emit_global_average_pool,
    emit_max_pool,
    emit_separable_conv,
    emit_zero_padding,
)
from .translation import Translation
from .weights import LiveWeights, Weights, own_variables

if TYPE_CHECKING:
    import keras

_WINDOW = frozenset({"padding", "strides", "data_format"})
_CONV = _WINDOW | {"kernel_size", "dilation_rate", "use_bias", "activation"}
_NOISE = frozenset({"rate", "stddev", "seed", "noise_shape", "l1", "l2", "data_format"})
_BATCH_NORM = frozenset({
    "axis", "epsilon", "center", "scale", "renorm", "momentum", "renorm_clipping",
    "renorm_momentum", "synchronized", "fused", "virtual_batch_size",
})  # fmt: skip

_NO_OP = LayerRule(emit_identity, _NOISE)
_CONVOLUTION = LayerRule(emit_conv, _CONV | {"filters", "groups"})
_DEPTHWISE = LayerRule(emit_depthwise_conv, _CONV | {"depth_multiplier"})
_SEPARABLE = LayerRule(emit_separable_conv, _CONV | {"depth_multiplier", "filters"})
_MAX_POOL = LayerRule(emit_max_pool, _WINDOW | {"pool_size"})
_AVERAGE_POOL = LayerRule(emit_average_pool, _WINDOW | {"pool_size"})
_GLOBAL_POOL = LayerRule(emit_global_average_pool, frozenset({"data_format", "keepdims"}))
_ZERO_PADDING = LayerRule(emit_zero_padding, frozenset({"padding", "data_format"}))


def _refuse_groups(settings: Mapping[str, Any]) -> Iterator[str]:
    if settings.get("groups", 1) != 1:  # Keras 2 wrote the key, always with 1
        yield f"groups is {settings['groups']!r:.80}, expected 1"


LAYERS: dict[str, LayerRule] = {
    "InputLayer": LayerRule(emit_identity),
    "Dense": LayerRule(emit_dense, frozenset({"units", "use_bias", "activation"})),
    "Conv1D": _CONVOLUTION,
    "Conv2D": _CONVOLUTION,
    "Conv3D": _CONVOLUTION,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": LayerRule(
        emit_depthwise_conv, _DEPTHWISE.settings | {"groups"}, reasons=_refuse_groups
    ),
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "BatchNormalization": LayerRule(emit_batch_norm, _BATCH_NORM),
    "ReLU": LayerRule(
        emit_relu, frozenset({"max_value", "negative_slope", "threshold"}), reasons=refuse_relu
    ),
    "Activation": LayerRule(emit_activation, frozenset({"activation"})),
    "Softmax": LayerRule(emit_softmax, frozenset({"axis"}), reasons=refuse_softmax),
    "MaxPooling1D": _MAX_POOL,
    "MaxPooling2D": _MAX_POOL,
    "MaxPooling3D": _MAX_POOL,
    "AveragePooling1D": _AVERAGE_POOL,
    "AveragePooling2D": _AVERAGE_POOL,
    "AveragePooling3D": _AVERAGE_POOL,
    "GlobalAveragePooling1D": _GLOBAL_POOL,
    "GlobalAveragePooling2D": _GLOBAL_POOL,
    "GlobalAveragePooling3D": _GLOBAL_POOL,
    "ZeroPadding1D": _ZERO_PADDING,
    "ZeroPadding2D": _ZERO_PADDING,
    "ZeroPadding3D": _ZERO_PADDING,
    "Flatten": LayerRule(emit_flatten, frozenset({"data_format"})),
    "Reshape": LayerRule(emit_reshape, frozenset({"target_shape"})),
    "Permute": LayerRule(emit_permute, frozenset({"dims"})),
    "Add": LayerRule(emit_add, n_operands=None),
    "Concatenate": LayerRule(emit_concatenate, frozenset({"axis"}), n_operands=None),
    "Rescaling": LayerRule(emit_rescaling, frozenset({"scale", "offset"})),
    "Normalization": LayerRule(
        emit_normalization, frozenset({"axis", "mean", "variance", "invert"})
    ),
    "Identity": _NO_OP,
    "Dropout": _NO_OP,
    "SpatialDropout1D": _NO_OP,
    "SpatialDropout2D": _NO_OP,
    "SpatialDropout3D": _NO_OP,
    "AlphaDropout": _NO_OP,
    "GaussianDropout": _NO_OP,
    "GaussianNoise": _NO_OP,
    "ActivityRegularization": _NO_OP,
}
"""Keras layers by class name. Sequential and functional models are taken apart, not listed."""


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
    load = partial(load_file, path, config, file.sha256)
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
        model, reasons = parse_model(config, partial(refuse, LAYERS))
        _raise_reasons(where, reasons)
        emitters = {name: (rule.emit, rule.n_operands) for name, rule in LAYERS.items()}
        draft = Draft(weights, frozenset(_data_formats(model)))
        translation = Translation(draft, emitters, [])
        inputs, outputs = translation.translate(model)
        _raise_reasons(where, tuple(translation.reasons))
        metadata = {"source": {"framework": "keras", **described}}
        return Graph(tuple(draft.nodes), inputs, outputs, metadata), model
    except UnsupportedOpError:
        raise
    except ConversionError as error:
        message = str(error) if str(error).startswith(where) else f"{where}: {error}"
        raise FormatError(message, hint=error.hint) from error


def _raise_reasons(where: str, reasons: tuple[str, ...]) -> None:
    if reasons:
        raise UnsupportedOpError(
            f"{where}: {len(reasons)} reasons why it cannot be translated, expected none:",
            reasons=reasons,
            hint="`spikeport check` shows what every layer of a network becomes",
        )


def _data_formats(model: Model) -> Iterator[str]:
    for layer in model.layers.values():
        if layer.model is not None:
            yield from _data_formats(layer.model)
        elif layer.class_name[-1] == "D":
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
