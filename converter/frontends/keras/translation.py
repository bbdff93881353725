"""Which call of which Keras layer comes when: from a parsed model to nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...errors import FormatError, GraphError
from ...ir.ops import Input
from .config import Layer, Model, input_shape
from .draft import Draft, Site, UnsupportedLayerError, Value
from .hdf5 import DAMAGED

MAX_CALLS = 200_000
"""Of layers; nested models that call nested models twice grow exponentially."""

Emit = Callable[..., Value]
"""(site, *operands) -> the result of one call of a layer."""


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
            refs = layer.calls[key[1]]
            missing = [(ref.layer, ref.call) for ref in refs if (ref.layer, ref.call) not in done]
            if missing:
                if key in begun:
                    raise FormatError(f"{layer}: takes its own result", hint=DAMAGED)
                begun.add(key)
                pending.extend(reversed(missing))
                continue
            pending.pop()
            values = [done[ref.layer, ref.call][ref.output] for ref in refs]
            name = prefix + layer.name + (f"/{key[1] + 1}" if key[1] else "")
            done[key] = self._translate_call(layer, values, name)
        return [done[ref.layer, ref.call][ref.output] for ref in model.outputs]

    def _translate_call(
        self, layer: Layer, values: list[Value | None], name: str
    ) -> list[Value | None]:
        self.n_calls += 1
        if self.n_calls > MAX_CALLS:
            raise FormatError(f"{layer}: is called after {MAX_CALLS} calls, expected fewer")
        operands = [value for value in values if value is not None]
        if len(operands) < len(values):
            return [None] * (1 if layer.model is None else len(layer.model.outputs))
        if layer.model is not None:
            _check_operands(layer, layer.model, operands)
            return self._translate_model(layer.model, operands, f"{name}/")
        emit, n_operands = self.emitters[layer.class_name]
        if not operands or n_operands not in {None, len(operands)}:
            raise FormatError(
                f"{layer}: is called with {len(operands)} tensors, expected {n_operands or '>= 1'}",
                hint=DAMAGED,
            )
        try:
            return [emit(Site(self.draft, layer, name), *operands)]
        except UnsupportedLayerError as error:
            self.reasons.append(f"{layer}: {error}")
            return [None]
        except GraphError as error:
            raise FormatError(f"{layer}: {error}", hint=error.hint or DAMAGED) from error


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
