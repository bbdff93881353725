"""Which call of which Keras layer comes when: from a parsed model to nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...errors import FormatError, GraphError
from ...ir.ops import Input
from .calls import Constant, Ref
from .draft import Draft, Site, UnsupportedLayerError, Value
from .hdf5 import DAMAGED
from .model import Layer, Model, input_shape

MAX_CALLS = 200_000
"""Of layers; nested models that call nested models twice grow exponentially."""

Emit = Callable[..., Value | tuple[Value, ...]]
"""(site, *operands) -> the result or results of one call of a layer."""


@dataclass
class Translation:
    """The translation of one model with everything in it.

    Attributes:
        draft: Gets the nodes.
        emitters: By class name; with the number of operands, None for one or more.
        reasons: Why calls have no translation, one line each; what follows on such a call is
            left out.
    """

    draft: Draft
    emitters: Mapping[str, tuple[Emit, int | None]]
    reasons: list[str]
    n_calls: int = 0

    def translate(self, model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Append the nodes of a whole model and return the names of its inputs and outputs.

        Raises:
            FormatError: Layers do not fit one another or their weights.
        """
        placeholders = []
        for ref in model.inputs:
            layer = model.layers[ref.layer]
            shape = tuple(size or 0 for size in input_shape(layer) or ())
            try:
                node = self.draft.add(layer.name, Input(shape), (), layer.name)
            except GraphError as error:
                raise FormatError(f"{layer}: {error}", hint=error.hint) from error
            placeholders.append(Value(node, shape))
        results = self._translate_model(model, placeholders, "")
        outputs = tuple(
            self.draft.move_channels(value, moved=False, name=f"{value.node}/channels_last").node
            for value in results
            if value is not None
        )
        return tuple(value.node for value in placeholders), outputs

    def _translate_model(
        self, model: Model, operands: list[Value], prefix: str
    ) -> list[Value | None]:
        """Translate what the outputs of a model need; None is what has no translation."""
        done: dict[tuple[str, int], list[Value | None]] = {
            (ref.layer, 0): [value] for ref, value in zip(model.inputs, operands, strict=True)
        }
        begun: set[tuple[str, int]] = set()
        pending = [(ref.layer, ref.call) for ref in reversed(model.outputs)]
        while pending:
            key = pending[-1]
            if key in done:
                pending.pop()
                continue
            layer = model.layers[key[0]]
            if layer.class_name == "InputLayer":
                raise FormatError(
                    f"{layer}: is no input of its model, expected all to be", hint=DAMAGED
                )
            call = layer.calls[key[1]]
            needed = [(each.layer, each.call) for each in call if isinstance(each, Ref)]
            missing = [each for each in needed if each not in done]
            if missing:
                if key in begun:
                    raise FormatError(f"{layer}: takes its own result", hint=DAMAGED)
                begun.add(key)
                pending.extend(reversed(missing))
                continue
            pending.pop()
            values = [_find(each, done) if isinstance(each, Ref) else each for each in call]
            name = prefix + layer.name + (f"/{key[1] + 1}" if key[1] else "")
            done[key] = self._translate_call(layer, values, name)
        return [_find(ref, done) for ref in model.outputs]

    def _translate_call(
        self, layer: Layer, values: Sequence[Value | Constant | None], name: str
    ) -> list[Value | None]:
        self.n_calls += 1
        if self.n_calls > MAX_CALLS:
            raise FormatError(f"{layer}: is called after {MAX_CALLS} calls, expected fewer")
        if None in values:
            return [None] * (1 if layer.model is None else len(layer.model.outputs))
        tensors = [value for value in values if isinstance(value, Value)]
        if layer.model is not None:
            _check_operands(layer, layer.model, tensors)
            return self._translate_model(layer.model, tensors, f"{name}/")
        emit, n_operands = self.emitters[layer.class_name]
        if not tensors or n_operands not in {None, len(values)}:
            raise FormatError(
                f"{layer}: is called with {len(values)} tensors, expected {n_operands or '>= 1'}",
                hint=DAMAGED,
            )
        try:
            results = emit(Site(self.draft, layer, name), *values)
        except UnsupportedLayerError as error:
            self.reasons.append(f"{layer}: {error}")
            return [error.result]
        except GraphError as error:
            raise FormatError(f"{layer}: {error}", hint=error.hint or DAMAGED) from error
        return [results] if isinstance(results, Value) else [*results]


def _find(ref: Ref, done: Mapping[tuple[str, int], list[Value | None]]) -> Value | None:
    results = done[ref.layer, ref.call]
    if None in results:
        return None if len(results) <= ref.output else results[ref.output]
    if ref.output >= len(results):
        raise FormatError(
            f"{ref.layer}: result {ref.output} is taken, expected one of {len(results)}",
            hint=DAMAGED,
        )
    return results[ref.output]


def _check_operands(layer: Layer, model: Model, operands: list[Value]) -> None:
    """Refuse operands that Keras would reshape, or that the inner model was not built for."""
    declared = [input_shape(model.layers[ref.layer]) for ref in model.inputs]
    shapes = [operand.shape for operand in operands]
    fits = len(shapes) == len(declared) and all(
        expected is None
        or (
            len(shape) == len(expected)
            and all(a in {None, b} for a, b in zip(expected, shape, strict=True))
        )
        for shape, expected in zip(shapes, declared, strict=True)
    )
    if not fits:
        raise FormatError(
            f"{layer}: is called with shapes {shapes}, expected {declared}", hint=DAMAGED
        )
