"""Write the golden files of this folder with a real Keras 2, which spikeport does not install.

    python -m venv /tmp/keras2 && /tmp/keras2/bin/pip install tensorflow-cpu==2.15.1
    /tmp/keras2/bin/python make.py [NAMES]        # also with tensorflow-cpu==2.12.0, and tf_keras

For every network a file <version>_<name>.h5.gz or .keras.gz, as that Keras wrote it but compressed,
and <version>_<name>.npz with the inputs x0, x1, ... and what it computes of them, y0, y1, ...
"""

import gzip
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

if importlib.util.find_spec("tf_keras"):
    import tf_keras as keras
else:
    import keras

kl = keras.layers
FOLDER = Path(__file__).parent


def randomize(model):
    """Draw all weights; what is set at random is far from what layers begin with."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        name = variable.name.rpartition("/")[2].partition(":")[0]
        if name in {"mean", "variance", "count"}:  # of Normalization, which keeps copies
            continue
        if name == "moving_variance":
            value = random.uniform(0.5, 2.0, variable.shape)
        else:
            scale = 1 / np.sqrt(max(1, np.prod(variable.shape[:-1])))
            shift = 0.4 if name in {"bias", "beta"} else 0.0
            value = random.normal(shift, scale, variable.shape)
        variable.assign(value.astype(np.float32))
    return model


def custom_loss(expected, found):
    return tf.reduce_mean(tf.abs(expected - found))


def train(model, loss):
    """One step of Adam, so that the file has the optimizer's state."""
    random = np.random.default_rng(1)
    x = [random.normal(size=(4, *each.shape[1:])).astype(np.float32) for each in model.inputs]
    y = [random.normal(size=(4, *each.shape[1:])).astype(np.float32) for each in model.outputs]
    model.compile(keras.optimizers.Adam(), loss, metrics=["mae"])
    model.fit(x, y, epochs=1, verbose=0)
    return model


def sequential():
    """No InputLayer: the shape is in the first layer. Optimizer state, custom loss and metric."""
    net = keras.Sequential([
        kl.Conv2D(3, 3, activation="relu", padding="same", input_shape=(6, 6, 2)),
        kl.MaxPooling2D(),
        kl.Dropout(0.5),
        kl.Flatten(),
        kl.Dense(4, activation="relu", kernel_regularizer="l2"),
        kl.Dense(3, activation="softmax"),
    ])
    return train(randomize(net), custom_loss)


def built_late():
    """A Sequential that learns its shape from data."""
    net = keras.Sequential([kl.Dense(4, activation="relu"), kl.BatchNormalization(), kl.Dense(2)])
    net.build((None, 5))
    return randomize(net)


def functional():
    """Two inputs, two outputs, a shortcut, batch norm, separable convolution, padding."""
    image, vector = kl.Input((6, 6, 2), name="image"), kl.Input((3,), name="vector")
    h = kl.BatchNormalization()(image)
    h = kl.ZeroPadding2D(((1, 0), (0, 2)))(h)
    h = kl.SeparableConv2D(4, 3, strides=2, depth_multiplier=2, activation="relu")(h)
    y = kl.Conv2D(4, 3, padding="same", use_bias=False)(h)
    y = kl.BatchNormalization(scale=False)(y)
    h = kl.ReLU(1.5)(kl.add([h, y]))
    h = kl.concatenate([kl.GlobalAveragePooling2D()(h), vector])
    left = kl.Dense(3, activation="sigmoid", name="left")(h)
    return randomize(keras.Model([image, vector], [left, kl.Dense(2, name="right")(h)]))


def depthwise():
    """DepthwiseConv2D, whose settings have `groups` in some versions, and MobileNet's padding."""
    x = kl.Input((7, 7, 2))
    h = kl.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same", use_bias=False)(x)
    h = kl.ReLU(6.0)(kl.BatchNormalization(epsilon=0.01)(h))
    h = kl.DepthwiseConv2D((2, 3), dilation_rate=1, activation="relu6")(h)
    return randomize(keras.Model(x, kl.Dense(2)(kl.Flatten()(h))))


def nested():
    """A Sequential in a functional model in another one, both of them used more than once."""
    inner = keras.Sequential(
        [kl.Dense(4, activation="relu", name="one"), kl.Dense(4, name="two")], name="inner"
    )
    z = kl.Input((4,))
    deep = keras.Model(z, kl.Dense(4, activation="relu", name="dense")(inner(z)), name="deep")
    x, y = kl.Input((4,)), kl.Input((4,))
    h = kl.Subtract()([deep(x), deep(y)])
    return randomize(keras.Model([x, y], kl.Dense(2, name="dense")(inner(h))))


def shared():
    """A layer that is called twice, and one inside two models."""
    x, y = kl.Input((5,)), kl.Input((5,))
    dense = kl.Dense(4, activation="relu", name="both")
    one = keras.Sequential([kl.Input((5,)), dense, kl.Dense(3)], name="one")
    return randomize(keras.Model([x, y], kl.Maximum()([one(x), kl.Dense(3)(dense(y))])))


def scopes():
    """Weights whose names have other scopes than the layers."""
    with tf.name_scope("outer"):
        x = kl.Input((6, 3), name="x")
        h = kl.Conv1D(4, 3, padding="causal", activation="relu", name="conv")(x)
        h = kl.AveragePooling1D(2)(h)
    with tf.name_scope("outer"):
        part = keras.Sequential([kl.Input((12,)), kl.Dense(4, "relu", name="fc")], name="part")
    h = part(kl.Flatten()(h))
    return randomize(keras.Model(x, kl.Dense(2, name="head/value")(h), name="net"))


def upwards():
    """A decoder: transposed convolutions, upsampling, cropping, PReLU, a dense map as output."""
    x = kl.Input((4, 3, 2))
    h = kl.Conv2DTranspose(3, 3, strides=2, padding="same")(x)
    h = kl.PReLU(shared_axes=[1, 2])(h)
    h = kl.UpSampling2D((1, 2))(h)
    h = kl.Cropping2D(((1, 0), (2, 1)))(h)
    h = kl.Conv2DTranspose(2, (2, 3), strides=(1, 2), output_padding=(0, 1))(h)
    h = kl.LeakyReLU(alpha=0.2)(h)
    return randomize(keras.Model(x, kl.Conv2D(1, 1)(kl.PReLU()(h))))


def input_scaled():
    """Rescaling and an adapted Normalization in front, Permute and Reshape behind."""
    x = kl.Input((4, 6))
    norm = kl.Normalization(axis=-1)
    norm.adapt(np.random.default_rng(2).normal(3, 2, (50, 4, 6)).astype(np.float32))
    h = kl.Rescaling(0.5, offset=-1.0)(norm(x))
    h = kl.Conv1D(4, 2, dilation_rate=2, activation=kl.LeakyReLU(0.1))(kl.Permute((2, 1))(h))
    h = kl.Activation("relu")(kl.GaussianNoise(0.1)(h))
    return randomize(keras.Model(x, kl.Dense(3)(kl.Reshape((8, 2))(h))))


def thresholded():
    """ReLU with a threshold, which is read and has no spiking translation; ThresholdedReLU."""
    x = kl.Input((5,))
    h = kl.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.3)(kl.Dense(6)(x))
    return randomize(keras.Model(x, kl.Dense(2)(h)))


def volumes():
    """Three spatial axes; groups."""
    x = kl.Input((4, 4, 4, 2))
    h = kl.Conv3D(4, 2, groups=2, activation="relu")(x)
    h = kl.MaxPooling3D(2, strides=1)(h)
    return randomize(keras.Model(x, kl.Dense(2)(kl.GlobalMaxPooling3D()(h))))


def archive():
    """The .keras format as Keras 2 wrote it."""
    x = kl.Input((6, 6, 2))
    h = kl.Conv2D(3, 3, activation="relu")(x)
    h = keras.Sequential([kl.DepthwiseConv2D(2), kl.BatchNormalization()], name="part")(h)
    h = kl.Add()([kl.Conv2D(3, 2)(kl.Cropping2D(1)(x)), h])
    return randomize(keras.Model(x, kl.Dense(2)(kl.Flatten()(h))))


NETWORKS = (
    sequential, built_late, functional, depthwise, nested, shared, scopes, upwards, input_scaled,
    thresholded, volumes, archive,
)  # fmt: skip


def main(names):
    version = ("tf_keras-" if "tf_keras" in sys.modules else "keras-") + keras.__version__
    for build in NETWORKS:
        if names and build.__name__ not in names:
            continue
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)
        model = build()
        random = np.random.default_rng(3)
        x = [random.normal(size=(3, *each.shape[1:])).astype(np.float32) for each in model.inputs]
        y = model(x if len(x) > 1 else x[0], training=False)
        y = [np.asarray(each) for each in (y if isinstance(y, list | tuple) else [y])]
        stem = FOLDER / f"{version}_{build.__name__}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"net{'.keras' if build is archive else '.h5'}"
            model.save(path)
            content = gzip.compress(path.read_bytes(), mtime=0)
        Path(f"{stem}{path.suffix}.gz").write_bytes(content)
        arrays = {f"x{i}": each for i, each in enumerate(x)}
        np.savez_compressed(f"{stem}.npz", **arrays, **{f"y{i}": each for i, each in enumerate(y)})


if __name__ == "__main__":
    main(sys.argv[1:])
