"""Where the weights of a Keras layer lie: in a .keras archive, an .h5 file, a model in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...errors import FormatError
from .hdf5 import (
    DAMAGED,
    Numbers,
    Stored,
    count_entries,
    find_dataset,
    find_group,
    has,
    read_names,
)
from .model import Layer

if TYPE_CHECKING:
    import h5py
    import keras


class Weights(Protocol):
    """The weights of all layers of a model."""

    def find(self, layer: Layer, names: tuple[str, ...]) -> tuple[Stored, ...]:
        """Return a layer's weights.

        Args:
            layer: Whose weights.
            names: All weights that such a layer has, in the order in which it creates them.

        Raises:
            FormatError: There are others, more or fewer, or the file is damaged there.
        """


class ArchiveWeights:
    """model.weights.h5 of a .keras archive: numbered, in the order of the layer."""

    def __init__(self, file: h5py.File, where: str) -> None:
        self.file = file
        self.where = where
        # The name that TensorFlow 2.12 gave to `layers`; Keras 3 reads it, too.
        old = "_layer_checkpoint_dependencies"
        self.renamed = {"layers": old} if has(file, old, where) else {}

    def find(self, layer: Layer, names: tuple[str, ...]) -> tuple[Stored, ...]:
        where = f"{self.where}: {layer}"
        slot = self._path(layer.slot)
        if len(layer.twins) == 1 and not self._has(slot):
            slot = self._path(layer.twins[0])
        group = find_group(self.file, f"{slot}/vars", where)
        _expect_number(layer, count_entries(group, where), names)
        return tuple(
            find_dataset(self.file, f"{slot}/vars/{number}", where) for number in range(len(names))
        )

    def _path(self, slot: tuple[str, ...]) -> str:
        return "/".join(self.renamed.get(part, part) for part in slot)

    def _has(self, path: str) -> bool:
        found = self.file
        for part in path.split("/"):
            if not has(found, part, self.where):
                return False
            found = find_group(found, part, self.where)
        return True


class LegacyWeights:
    """model_weights of an .h5 file: named, in one group for each layer of the outermost model."""

    def __init__(self, file: h5py.File, where: str) -> None:
        self.group = find_group(file, "model_weights", where)
        self.where = where

    def find(self, layer: Layer, names: tuple[str, ...]) -> tuple[Stored, ...]:
        where = f"{self.where}: {layer}"
        group = find_group(self.group, layer.path[0], where)
        paths = self._paths(read_names(group, "weight_names", where), layer)
        if "kernel" in names and "kernel" not in paths and "depthwise_kernel" in paths:
            paths["kernel"] = paths.pop("depthwise_kernel")  # as Keras 2 called it
        if set(paths) != set(names):
            raise FormatError(
                f"{layer}: has the weights {sorted(paths)} in the file, expected {sorted(names)}",
                hint=DAMAGED,
            )
        return tuple(find_dataset(group, paths[name], where) for name in names)

    def _paths(self, listed: tuple[str, ...], layer: Layer) -> dict[str, str]:
        """Return the paths of a layer's weights by the weights' own names."""
        owned: dict[tuple[str, ...], dict[str, str]] = {}
        for path in listed:
            *owner, name = path.split("/")
            if len(layer.path) == 1 or owner[-1:] == [layer.name]:
                owned.setdefault(tuple(owner), {})[name.partition(":")[0]] = path
        if len(owned) > 1:
            # A name is as long as the models around the layer that were built with it.
            suffixes = [layer.path[start:] for start in range(len(layer.path))]
            found = [owned[suffix] for suffix in suffixes if suffix in owned]
            if not found:
                raise FormatError(
                    f"{layer}: which weights of the file are its own cannot be told, expected "
                    f"names that end in {layer.name}/...",
                    hint="save the model as .keras: model.save('name.keras')",
                )
            return found[0]
        return next(iter(owned.values()), {})


class LiveWeights:
    """The weights of a model in memory, in the order of the layer."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    def find(self, layer: Layer, names: tuple[str, ...]) -> tuple[Stored, ...]:
        found: Any = self.model
        for name in layer.path:
            found = next(each for each in found.layers if each.name == name)
        variables = own_variables(found)
        _expect_number(layer, len(variables), names)
        return tuple(
            Stored(variable.shape, lambda variable=variable: variable)  # type: ignore[misc]
            for variable in variables
        )


def own_variables(layer: keras.Layer) -> tuple[Numbers, ...]:
    """Return the weights of a layer in memory, in the order in which Keras saves them."""
    import keras

    store: dict[str, Any] = {}
    layer.save_own_variables(store)
    return tuple(np.asarray(keras.ops.convert_to_numpy(value)) for value in store.values())


def _expect_number(layer: Layer, number: int, names: tuple[str, ...]) -> None:
    if number != len(names):
        raise FormatError(
            f"{layer}: has {number} weights, expected {len(names)}: {', '.join(names)}",
            hint=DAMAGED,
        )
