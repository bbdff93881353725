"""The files that are damaged: small networks of every format, with what hostile files aim at."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
from keras import layers as kl

from spikeport.converter.exports.snn import write_snn
from spikeport.converter.frontends import read

from ..converter.frontends.onnx_writer import Writer


def write_seeds(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Write every seed into a folder of its own; return the model files by suffix."""
    keras.utils.set_random_seed(0)
    onnx_files = tuple(
        build(folder / build.__name__)
        for build in (onnx_cnn, onnx_residual, onnx_external, onnx_decoder)
    )
    found = {".onnx": onnx_files}
    for suffix in (".keras", ".h5"):
        paths = []
        for build in (keras_cnn, keras_nested, keras_decoder):
            path = new_folder(folder / f"{build.__name__}{suffix[1:]}") / f"model{suffix}"
            build().save(path)
            paths.append(path)
        found[suffix] = tuple(paths)
    snn = new_folder(folder / "snn") / "model.snn"
    write_snn(read(onnx_files[1]).graph, snn)
    return {**found, ".snn": (snn,)}


def write_secrets(folder: Path) -> None:
    """Write weights that lie outside of any model's folder."""
    (folder / "secret.bin").write_bytes(np.ones(2**14, np.float32).tobytes())
    with h5py.File(folder / "secret.h5", "w") as file:
        file["k"] = np.ones((64, 64), np.float32)


def new_folder(path: Path) -> Path:
    path.mkdir()
    (path / "sub").mkdir()
    return path


def onnx_cnn(folder: Path) -> Path:
    w = Writer()
    x = w.op("Pad", w.input(2, 7, 7), w.integers(0, 0, 0, 0, 0, 0, 1, 1))
    h = w.op("Relu", w.batch_norm(w.conv(x, 4, 2, 3, 3, pads=[1, 1, 1, 1], strides=[2, 2]), 4))
    h = w.op("MaxPool", h, kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER")
    h = w.op("Clip", w.conv(h, 4, 1, 3, 3, group=4), w.constant(0.0), w.constant(6.0))
    h = w.op("Flatten", w.op("GlobalAveragePool", h), axis=1)
    return save(folder, w, w.op("Softmax", w.gemm(h, 4, 3), axis=1))


def onnx_residual(folder: Path) -> Path:
    w = Writer()
    x = w.input(3, 6)
    h = w.op("Relu", w.conv(x, 4, 3, 3, pads=[1, 1]))
    y = w.op("Concat", w.conv(h, 2, 4, 1), w.conv(h, 2, 4, 1), axis=1)
    y = w.op("Relu", w.op("Add", y, h))
    y = w.op("AveragePool", y, kernel_shape=[2], strides=[2])
    size = w.op("Gather", w.op("Shape", x), w.integers(0), axis=0)
    shape = w.op("Concat", size, w.integers(-1), axis=0)
    y = w.op("Reshape", w.op("Transpose", y, perm=[0, 2, 1]), shape)
    y = w.op("Add", w.op("MatMul", y, w.draw(12, 2)), w.draw(2))
    return save(folder, w, w.op("Sigmoid", y))


def onnx_external(folder: Path) -> Path:
    w = Writer()
    h = w.op("Relu", w.gemm(w.input(8), 8, 16))
    path = save(folder, w, w.gemm(h, 16, 4))
    model = onnx.load_model(path)
    onnx.save_model(
        model, path, save_as_external_data=True, location="weights.bin", size_threshold=100
    )
    return path


def onnx_decoder(folder: Path) -> Path:
    w = Writer(opset=18)
    h = w.op("LeakyRelu", w.conv(w.input(3, 4, 4), 4, 3, 3, 3, pads=[1, 1, 1, 1]), alpha=0.2)
    up = w.op("ConvTranspose", h, w.draw(4, 2, 3, 3), strides=[2, 2], pads=[1, 1, 0, 0])
    side = w.op("Resize", h, "", w.constant([1, 1, 2, 2]), mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    side = w.op("Slice", side, w.integers(1), w.integers(3), w.integers(1))
    up = w.op("PRelu", w.op("Max", up, side), w.positive(2, 1, 1))
    first, second = w.op("Split", up, axis=1, n_outputs=2, num_outputs=2)
    y = w.op("DepthToSpace", w.op("Concat", h, h, axis=1), blocksize=2)
    return save(folder, w, w.op("Sum", w.op("Sub", first, second), y))


def save(folder: Path, w: Writer, output: str) -> Path:
    return w.save(new_folder(folder), output)


def keras_cnn() -> keras.Model:
    x = keras.Input((8, 8, 2), name="x")
    h = kl.Conv2D(4, 3, padding="same", activation="relu", name="conv")(kl.Rescaling(0.5)(x))
    h = kl.ReLU(max_value=6.0)(kl.BatchNormalization()(kl.SeparableConv2D(4, 3, strides=2)(h)))
    side = kl.DepthwiseConv2D(3, padding="same")(h)
    h = kl.Concatenate()([kl.Add()([h, side]), kl.MaxPooling2D(2, 1, "same")(h)])
    h = kl.Dense(6, activation="relu", name="hidden")(kl.Dropout(0.2)(kl.Flatten()(h)))
    return keras.Model(x, kl.Dense(3, activation="softmax", name="out")(h))


def keras_decoder() -> keras.Model:
    x = keras.Input((4, 4, 3), name="x")
    h = kl.LeakyReLU(negative_slope=0.2)(kl.Conv2D(3, 3, padding="same")(x))
    h = kl.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(h)
    h = kl.PReLU(shared_axes=[1, 2])(kl.Subtract()([h, kl.UpSampling2D(2)(kl.Conv2D(4, 1)(x))]))
    return keras.Model(x, kl.Maximum()([kl.Cropping2D(1)(h), kl.Conv2D(4, 3)(h)]))


def keras_nested() -> keras.Model:
    block = keras.Sequential([kl.Input((10,)), kl.Dense(10, name="fc"), kl.ReLU()], name="block")
    x = keras.Input((10,), name="x")
    h = block(kl.Activation("relu")(kl.Dense(10, use_bias=False)(x)))
    return keras.Model(x, kl.Dense(2, activation="sigmoid")(kl.BatchNormalization()(h)))
