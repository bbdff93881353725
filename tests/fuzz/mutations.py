"""Ways to damage a file, seeded: bytes of any format, and the structure of each."""

from __future__ import annotations

import copy
import io
import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx

Mutate = Callable[[bytearray, random.Random], None]
MutateFile = Callable[[Path, random.Random], None]

HUGE = (2**20, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
"""Sizes that no file can hold."""


def flip(file: bytearray, r: random.Random) -> None:
    for _ in range(r.choice([1, 1, 2, 30])):
        file[r.randrange(len(file))] ^= 1 << r.randrange(8)


def cut(file: bytearray, r: random.Random) -> None:
    del file[r.randrange(len(file)) :]


def overwrite(file: bytearray, r: random.Random) -> None:
    start = r.randrange(len(file))
    stop = min(len(file), start + r.choice([1, 4, 100]))
    file[start:stop] = r.choice([
        bytes(stop - start),
        b"\xff" * (stop - start),
        b"[" * (stop - start),
    ])


def insert(file: bytearray, r: random.Random) -> None:
    start = r.randrange(len(file) + 1)
    file[start:start] = r.choice([b"\0", b" ", b'"', b"}", b"[[[[", b"1e999", r.randbytes(50)])


def remove(file: bytearray, r: random.Random) -> None:
    start = r.randrange(len(file))
    del file[start : start + r.choice([1, 8, 200])]


def repeat(file: bytearray, r: random.Random) -> None:
    start, stop = sorted(r.sample(range(len(file)), 2))
    file[stop:stop] = file[start:stop]


def swap(file: bytearray, r: random.Random) -> None:
    n = r.choice([1, 4, 16])
    a, b = r.sample(range(0, len(file) - n, n), 2)
    file[a : a + n], file[b : b + n] = file[b : b + n], file[a : a + n]


BYTES: tuple[Mutate, ...] = (flip, flip, flip, cut, overwrite, insert, remove, repeat, swap)
"""Damage to any file; bits flip most."""


def damage_bytes(path: Path, r: random.Random) -> None:
    content = bytearray(path.read_bytes())
    r.choice(BYTES)(content, r)
    path.write_bytes(content)


VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**20, 2**31, 2**62, -(2**62), 0.5, 1e308, -0.0, "", "x",
    "relu", "tanh", "same", "channels_first", "Dense", "Lambda", "\ud7ff", [], [1], [[1, 1]],
    [2, 2], [None, 4], [[0, 0], [0, 0]], {}, {"class_name": "Lambda", "config": {}},
]  # fmt: skip


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return every container inside a JSON value, with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        found.append((value, key))
        if isinstance(child, dict | list):
            places(child, found)
    return found


def tamper(document: Any, r: random.Random, values: list[Any] = VALUES) -> None:
    """Change, remove or add entries of a JSON value."""
    for _ in range(r.choice([1, 1, 2, 4])):
        container, key = r.choice(places(document, []))
        action = r.random()
        if action < 0.7:
            container[key] = copy.deepcopy(r.choice(values))
        elif action < 0.8:
            del container[key]
        elif isinstance(container, dict):
            container[r.choice(["name", "op", "axis", "zzz"])] = copy.deepcopy(r.choice(values))
        else:
            container.insert(key, copy.deepcopy(r.choice([container[key], *values])))


def outside(path: Path, r: random.Random, name: str) -> str:
    """Return a way to `name` in the folder above the model's."""
    folder = path.parent
    ways = [f"../{name}", f"./../{name}", f"sub/../../{name}", str(folder.parent / name)]
    if r.random() < 0.3:
        os.symlink(folder.parent / name, folder / "link")
        return "link"
    return r.choice(ways)


# ONNX


def on_model(change: Callable[[onnx.ModelProto, random.Random, Path], None]) -> MutateFile:
    def mutate(path: Path, r: random.Random) -> None:
        model = onnx.load_model(path, load_external_data=False)
        change(model, r, path)
        path.write_bytes(model.SerializeToString())

    mutate.__name__ = change.__name__
    return mutate


def swap_tensors(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    a, b = r.sample(list(model.graph.initializer), 2)
    if r.random() < 0.5:
        a.name, b.name = b.name, a.name
    else:
        a.raw_data, b.raw_data = b.raw_data, a.raw_data


def swap_names(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    """A node takes another tensor of the file."""
    node = r.choice(model.graph.node)
    names = [name for each in model.graph.node for name in (*each.input, *each.output)]
    node.input[r.randrange(len(node.input))] = r.choice(names)


def make_cycle(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    first, last = sorted(r.choices(range(len(model.graph.node)), k=2))
    node = model.graph.node[first]
    node.input[0] = model.graph.node[last].output[0]


def declare_huge(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    if r.random() < 0.3:
        axes = r.choice(model.graph.input).type.tensor_type.shape.dim
        axes[r.randrange(len(axes))].dim_value = r.choice(HUGE)
        return
    tensor = r.choice([tensor for tensor in model.graph.initializer if tensor.dims])
    tensor.dims[r.randrange(len(tensor.dims))] = r.choice((*HUGE, -1, 0))
    if r.random() < 0.5:
        tensor.ClearField("raw_data")


def declare_another_type(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    r.choice(model.graph.initializer).data_type = r.choice([0, 1, 2, 6, 7, 8, 10, 11, 14, 16, 99])


def change_attribute(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    attributes = [each for node in model.graph.node for each in node.attribute]
    attribute = r.choice(attributes)
    number = r.choice([*HUGE, -1, 0, 1, 2, 3, 5])
    if attribute.ints:
        attribute.ints[r.randrange(len(attribute.ints))] = number
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = r.choice([0.0, -1.0, 0.5, 3e38, float("nan"), float("inf")])
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = r.choice([b"", b"VALID", b"SAME_UPPER", b"SAME_LOWER", b"\xff", b"linear"])
    else:
        attribute.i = number


def change_operator(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    r.choice(model.graph.node).op_type = r.choice([
        "Relu", "LeakyRelu", "Sigmoid", "Neg", "Abs", "Add", "Mul", "Max", "MaxPool", "Loop", "",
        "AveragePool", "Identity", "Flatten", "Transpose", "Softmax", "Squeeze", "Reciprocal",
    ])  # fmt: skip


def change_nodes(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    """A node is missing, is there twice, or stands elsewhere."""
    nodes = list(model.graph.node)
    node = r.choice(nodes)
    action = r.random()
    if action < 0.6:
        nodes.remove(node)
    if action > 0.3:
        nodes.insert(r.randrange(len(nodes) + 1), copy.deepcopy(node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def change_opset(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    model.opset_import[0].version = r.choice([0, 1, 6, 7, 9, 11, 12, 13, 16, 18, 20, 99, 2**40])


def add_bomb(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    """A few bytes that say how to make many."""
    sizes = onnx.numpy_helper.from_array(np.array(r.choice([[2**40], [2**20, 2**20], [2**31]])))
    sizes.name = "sizes"
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32), "one")
    model.graph.initializer.extend([sizes, one])
    op = r.choice(["ConstantOfShape", "Expand", "Tile"])
    inputs = ["sizes"] if op == "ConstantOfShape" else ["one", "sizes"]
    node = r.choice(model.graph.node)
    model.graph.node.insert(0, onnx.helper.make_node(op, inputs, ["bomb"], name="bomb"))
    node.input[r.randrange(len(node.input))] = "bomb"


def leave_the_folder(model: onnx.ModelProto, r: random.Random, path: Path) -> None:
    tensor = r.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value=outside(path, r, "secret.bin"))


ONNX: tuple[MutateFile, ...] = (
    *[damage_bytes] * 6,
    *map(on_model, (
        swap_tensors, swap_names, make_cycle, declare_huge, declare_another_type, change_attribute,
        change_attribute, change_operator, change_nodes, change_opset, add_bomb, leave_the_folder,
    )),
)  # fmt: skip


# Keras


def on_hdf5(change: Callable[[h5py.File, random.Random, Path], None]) -> MutateFile:
    """Change the HDF5 data of a .h5 file, or of the weights in a .keras archive."""

    def mutate(path: Path, r: random.Random) -> None:
        if path.suffix == ".h5":
            with h5py.File(path, "r+") as file:
                change(file, r, path)
            return
        members = read_members(path)
        buffer = io.BytesIO(members[WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            change(file, r, path)
        members[WEIGHTS] = buffer.getvalue()
        write_members(path, members)

    mutate.__name__ = change.__name__
    return mutate


WEIGHTS, CONFIG = "model.weights.h5", "config.json"


def read_members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path: Path, members: dict[str, bytes], compression: int = 0) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def datasets(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, each: found.append(name) if hasattr(each, "shape") else None)
    return found


def swap_datasets(file: h5py.File, r: random.Random, path: Path) -> None:
    a, b = r.sample(datasets(file), 2)
    file.move(a, "spare")
    file.move(b, a)
    file.move("spare", b)


def replace_dataset(file: h5py.File, r: random.Random, path: Path) -> None:
    """Huge declared sizes, bombs, other types, loops."""
    name = r.choice(datasets(file))
    shape = file[name].shape
    del file[name]
    match r.randrange(5):
        case 0:
            sizes = tuple(r.choice([2**20, 2**31]) for _ in shape)
            file.create_dataset(name, sizes, "f4", chunks=tuple(64 for _ in shape))
        case 1:
            sizes = tuple(4096 for _ in shape[:2])
            file.create_dataset(name, sizes, "f4", chunks=sizes, compression="gzip", fillvalue=1)
            file[name][...] = 0
        case 2:
            file.create_dataset(name, shape, r.choice(["f8", "f2", "i4", "u1", "S3", "c8"]))
        case 3:
            file[name] = h5py.SoftLink(r.choice(["/", f"/{name}", name.rpartition("/")[0] or "/"]))
        case 4:
            file.create_dataset(name, shape[1:] or (1,), "f4")


def leave_the_file(file: h5py.File, r: random.Random, path: Path) -> None:
    name = r.choice(datasets(file))
    shape = file[name].shape
    del file[name]
    match r.randrange(3):
        case 0:
            file[name] = h5py.ExternalLink(outside(path, r, "secret.h5"), "k")
        case 1:
            file.create_dataset(
                name, shape, "f4", external=[(outside(path, r, "secret.bin"), 0, 2**16)]
            )
        case 2:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource(outside(path, r, "secret.h5"), "k", shape)
            file.create_virtual_dataset(name, layout)


def tamper_config(path: Path, r: random.Random) -> None:
    """Other settings, layers and calls, in files that are whole."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            tamper(config, r)
            file.attrs["model_config"] = json.dumps(config)
        return
    members = read_members(path)
    config = json.loads(members[CONFIG])
    tamper(config, r)
    members[CONFIG] = json.dumps(config).encode()
    write_members(path, members)


def damage_weights(path: Path, r: random.Random) -> None:
    """Damage inside the archive, with the checksum that fits."""
    if path.suffix == ".h5":
        damage_bytes(path, r)
        return
    members = read_members(path)
    name = r.choice([WEIGHTS, WEIGHTS, CONFIG])
    content = bytearray(members[name])
    r.choice(BYTES)(content, r)
    members[name] = bytes(content)
    write_members(path, members)


def damage_archive(path: Path, r: random.Random) -> None:
    """Zip bombs, ways out of the folder, members missing or more, other compressions."""
    if path.suffix == ".h5":
        damage_bytes(path, r)
        return
    members = read_members(path)
    match r.randrange(5):
        case 0:
            members[r.choice([*members])] = bytes(2**26)
            write_members(path, members, zipfile.ZIP_DEFLATED)
        case 1:
            members["../secret.bin"] = b"mine"
            write_members(path, members)
        case 2:
            del members[r.choice([*members])]
            write_members(path, members)
        case 3:
            write_members(path, members, r.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
        case 4:
            write_members(path, members)
            content = bytearray(path.read_bytes())
            place = content.rfind(b"PK\x01\x02")
            content[place + 20 : place + 28] = struct.pack("<II", *r.choices([1, 2**31, 5], k=2))
            path.write_bytes(content)


KERAS: tuple[MutateFile, ...] = (
    *[damage_bytes] * 2,
    *[damage_weights] * 2,
    *[tamper_config] * 5,
    damage_archive,
    *map(on_hdf5, (swap_datasets, swap_datasets, replace_dataset, leave_the_file)),
)


# .snn


def resize(file: bytearray, r: random.Random) -> None:
    length = int.from_bytes(file[:8], "little")
    file[:8] = struct.pack("<Q", r.choice([0, 1, (length + 8) % 2**64, 2**23, 2**40, 2**64 - 1]))


def renumber(file: bytearray, r: random.Random) -> None:
    """Another number in the header: sizes, offsets, versions, strides."""
    length = int.from_bytes(file[:8], "little")
    stop = min(8 + length, len(file))
    place = r.choice([i for i in range(8, stop) if chr(file[i]).isdigit()] or [8])
    new = str(r.choice([0, -1, 1, 7, 2**31, 2**63, 2**64, 1e400, "NaN", "null", "[]"])).encode()
    file[place : place + 1] = new
    if r.random() < 0.5:
        file[:8] = struct.pack("<Q", length + len(new) - 1)


SNN_BYTES: tuple[Mutate, ...] = (
    flip,
    cut,
    overwrite,
    insert,
    remove,
    repeat,
    swap,
    resize,
    renumber,
)


def damage_snn(path: Path, r: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(r.choice([1, 1, 3])):
        if len(content) > 40:
            r.choice(SNN_BYTES)(content, r)
    path.write_bytes(content)


MUTATIONS: dict[str, tuple[MutateFile, ...]] = {
    ".onnx": ONNX,
    ".keras": KERAS,
    ".h5": KERAS,
    ".snn": (damage_snn,),
}
"""By suffix."""

MUST_REFUSE = frozenset({"leave_the_folder", "leave_the_file", "damage_snn"})
"""Mutations after which nothing may be read."""
