"""Small models that the suite uses: `MODELS` maps a name to a function that builds `(model, x)`.

`build(name)` builds each of them once. All weights are random, biases and BatchNormalization
statistics included, and one gamma of each BatchNormalization is negative.
"""

from functools import cache

import keras
import numpy as np
from keras import layers, ops, tree

from tests.frameworks import closed

BATCH = 3
ARGUMENTS = {"two_outputs": {"output": "b"}}
SOFTMAX_MODELS = ("mlp", "cnn", "branches", "embedding", "two_outputs", "segmentation")
TOKEN_MODELS = ("embedding", "embedding_masked")


def has_places(features, outputs=2):
    """A convolution along the features of a table: a small model of which maps can be made."""
    parts = (
        layers.Reshape((features, 1)),
        layers.Conv1D(4, 2, activation="relu", name="hidden"),
        layers.Flatten(),
        layers.Dense(outputs, name="out"),
    )
    return _stack(layers.Input((features,), name="input"), *parts)


def makes_map(method):
    """Whether a method makes a map of a layer with places, which a dense network has not."""
    return "cam" in method


@cache
def build(name: str):
    """The model of a name and an input for it."""
    keras.utils.set_random_seed(0)
    model, x = MODELS[name]()
    return randomize(model), x


def randomize(model, seed: int = 0):
    """Give every weight that is not a kernel a value that the tests could not overlook."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        values = _random_values(variable.path.split("/")[-1], variable.shape, random)
        if values is not None:
            variable.assign(values)
    return model


def _random_values(name, shape, random):
    if name in ("bias", "beta", "moving_mean"):
        return random.normal(0, 0.2, shape)
    if name == "moving_variance":
        return random.uniform(0.5, 2, shape)
    if name == "gamma":
        return random.uniform(0.5, 1.5, shape) * np.where(np.arange(shape[-1]) == 1, -1, 1)
    return None


def floats(*shape, dtype="float32", seed=1):
    """Normally distributed samples of a shape."""
    return np.random.default_rng(seed).normal(size=(BATCH, *shape)).astype(dtype)


def integers(*shape, low=0, high=10, dtype="int32", seed=1):
    """Uniformly distributed whole numbers from low to high - 1."""
    return np.random.default_rng(seed).integers(low, high, (BATCH, *shape)).astype(dtype)


def as_letters(x):
    """Samples of any numbers as one-hot ones along the last axis: the largest number is the one."""
    return tree.map_structure(lambda a: np.eye(a.shape[-1], dtype=a.dtype)[a.argmax(-1)], x)


class ClosedCell(layers.SimpleRNNCell):
    """A recurrent cell with a function of the framework that Keras has nothing like."""

    def call(self, sequence, states, training=False):
        (before,) = states
        y = ops.tanh(closed(sequence @ self.kernel + before @ self.recurrent_kernel))
        return y, [y]


def _stack(*parts):
    return keras.Sequential(list(parts))


def mlp():
    """Dense layers with rectifiers and a softmax."""
    parts = layers.Dense(7, "relu"), layers.Dense(6, "relu"), layers.Dense(4, "softmax")
    return _stack(layers.Input((5,)), *parts), floats(5)


def mlp_tanh():
    """Dense layers with tanh, fused and as a layer."""
    parts = layers.Dense(7, "tanh"), layers.Dense(6), layers.Activation("tanh"), layers.Dense(4)
    return _stack(layers.Input((5,)), *parts), floats(5)


def cnn():
    """Convolution with a fused rectifier, max pooling, a dense layer with softmax."""
    parts = (
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(4, "softmax"),
    )
    return _stack(layers.Input((8, 8, 3)), *parts), floats(8, 8, 3)


def cnn_bn():
    """BatchNormalization before and after the activation, average pooling."""
    parts = (
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.AveragePooling2D(2),
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(4),
    )
    return _stack(layers.Input((8, 8, 3)), *parts), floats(8, 8, 3)


def residual():
    """A convolution block with an Add around it."""
    x = layers.Input((6, 6, 3))
    stem = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    block = layers.Conv2D(4, 3, padding="same", activation="relu")(stem)
    block = layers.Conv2D(4, 3, padding="same")(block)
    y = layers.ReLU()(layers.Add()([stem, block]))
    return keras.Model(x, layers.Dense(4)(layers.Flatten()(y))), floats(6, 6, 3)


def branches():
    """Branches of different kernel sizes that are concatenated."""
    x = layers.Input((6, 6, 3))
    parts = [layers.Conv2D(3, size, padding="same", activation="relu")(x) for size in (1, 3)]
    parts.append(layers.MaxPooling2D(3, strides=1, padding="same")(x))
    y = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Concatenate()(parts)))
    return keras.Model(x, layers.Dense(4, "softmax")(y)), floats(6, 6, 3)


def conv1d():
    """Convolutions over time: causal, dilated and transposed."""
    parts = (
        layers.Conv1D(4, 3, padding="causal", activation="relu"),
        layers.Conv1D(4, 2, dilation_rate=2, activation="relu"),
        layers.Conv1DTranspose(3, 3, strides=2, activation="relu"),
        layers.GlobalMaxPooling1D(),
        layers.Dense(4),
    )
    return _stack(layers.Input((10, 3)), *parts), floats(10, 3)


def separable():
    """Separable and depthwise convolutions with a depth multiplier."""
    parts = (
        layers.SeparableConv2D(4, 3, depth_multiplier=2, activation="relu"),
        layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu"),
        layers.Flatten(),
        layers.Dense(4),
    )
    return _stack(layers.Input((8, 8, 3)), *parts), floats(8, 8, 3)


def strided():
    """Strides with same padding, explicit zero padding and cropping."""
    parts = (
        layers.ZeroPadding2D(((1, 2), (0, 1))),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.Cropping2D(((1, 0), (0, 1))),
        layers.Conv2D(4, 2, strides=2, padding="same", activation="relu"),
        layers.Flatten(),
        layers.Dense(4),
    )
    return _stack(layers.Input((7, 7, 3)), *parts), floats(7, 7, 3)


def embedding():
    """Tokens, embedded and convolved."""
    parts = (
        layers.Embedding(10, 4),
        layers.Conv1D(5, 3, activation="relu"),
        layers.GlobalMaxPooling1D(),
        layers.Dense(4, "softmax"),
    )
    return _stack(layers.Input((7,), dtype="int32"), *parts), integers(7)


def embedding_masked():
    """Tokens of different lengths: the mask reaches the average."""
    parts = (
        layers.Embedding(10, 4, mask_zero=True),
        layers.Dense(5, "relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(4),
    )
    x = np.where(np.arange(7) < [[7], [5], [2]], integers(7, low=1), 0).astype("int32")
    return _stack(layers.Input((7,), dtype="int32"), *parts), x


def two_inputs():
    """An image and a vector, as a list."""
    image, vector = layers.Input((6, 6, 2), name="image"), layers.Input((5,), name="vector")
    parts = [layers.Flatten()(layers.Conv2D(3, 3, activation="relu")(image))]
    parts.append(layers.Dense(4, "relu")(vector))
    y = layers.Dense(4)(layers.Concatenate()(parts))
    return keras.Model([image, vector], y), [floats(6, 6, 2), floats(5, seed=2)]


def dict_inputs():
    """Two vectors, as a dict whose order is not that of its keys."""
    inputs = {name: layers.Input((size,), name=name) for name, size in (("right", 5), ("left", 3))}
    parts = [layers.Dense(4, "relu")(inputs[name]) for name in ("right", "left")]
    x = {"right": floats(5), "left": floats(3, seed=2)}
    return keras.Model(inputs, layers.Dense(4)(layers.Add()(parts))), x


def two_outputs():
    """Two heads, of which only the one asked for must matter."""
    x = layers.Input((5,))
    body = layers.Dense(6, "relu")(x)
    heads = [layers.Dense(3, name="a")(body), layers.Dense(4, "softmax", name="b")(body)]
    return keras.Model(x, heads), floats(5)


def nested():
    """A Sequential model inside a functional one inside a functional one."""
    block = _stack(layers.Input((6,)), layers.Dense(5, "relu"), layers.Dense(6))
    x = layers.Input((6,))
    middle = keras.Model(x, layers.ReLU()(layers.Add()([x, block(x)])))
    x = layers.Input((6,))
    return keras.Model(x, layers.Dense(4)(middle(x))), floats(6)


def shared():
    """One layer at two places."""
    x = layers.Input((6,))
    twice = layers.Dense(6, "relu")
    return keras.Model(x, layers.Dense(4)(twice(twice(x)))), floats(6)


class Project(layers.Layer):
    """A matrix product and a bias, written as operations."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 6), name="kernel")
        self.bias = self.add_weight(shape=(6,), name="bias")

    def call(self, x):
        return ops.relu(ops.matmul(x, self.kernel) + self.bias)


def raw_ops():
    """Operations in place of layers: scaling, slicing, a product, rectifiers, concatenation."""
    x = layers.Input((8,))
    y = x * 2 - 1
    parts = [Project()(y[:, :5]), ops.relu(y[:, 4:])]
    return keras.Model(x, layers.Dense(4)(ops.concatenate(parts, axis=-1))), floats(8)


class Subclassed(keras.Model):
    """A model that is known by its `call` only."""

    def __init__(self):
        super().__init__()
        self.convolution = layers.Conv2D(4, 3, activation="relu")
        self.pool = layers.MaxPooling2D()
        self.classifier = layers.Dense(4)

    def call(self, x):
        return self.classifier(layers.Flatten()(self.pool(self.convolution(x))))


def subclassed():
    """A subclassed model, built by a call."""
    model, x = Subclassed(), floats(8, 8, 3)
    model(x)
    return model, x


class Block(layers.Layer):
    """Dense layers inside a layer, with a residual connection."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = layers.Dense(5, "relu"), layers.Dense(6)

    def build(self, shape):
        self.inner.build(shape)
        self.outer.build((*shape[:-1], 5))

    def call(self, x):
        return ops.relu(x + self.outer(self.inner(x)))


def custom_layer():
    """A layer of the user's own, made of layers."""
    return _stack(layers.Input((6,)), Block(), Block(), layers.Dense(4)), floats(6)


def squeeze_excite():
    """Channels scaled by a sigmoid of their averages."""
    x = layers.Input((6, 6, 3))
    y = layers.Conv2D(4, 3, activation="relu")(x)
    gate = layers.Dense(2, "relu")(layers.GlobalAveragePooling2D()(y))
    gate = layers.Reshape((1, 1, 4))(layers.Dense(4, "sigmoid", name="gate")(gate))
    y = layers.Flatten()(layers.Multiply()([y, gate]))
    return keras.Model(x, layers.Dense(4)(y)), floats(6, 6, 3)


def normalization():
    """Normalisation by the sample's own statistics, over groups and over the whole layer."""
    parts = (
        layers.Conv2D(4, 3),
        layers.GroupNormalization(2),
        layers.ReLU(),
        layers.Flatten(),
        layers.Dense(5, "relu"),
        layers.LayerNormalization(),
        layers.Dense(4),
    )
    return _stack(layers.Input((6, 6, 3)), *parts), floats(6, 6, 3)


def segmentation():
    """Fully convolutional, with a softmax in each pixel."""
    parts = (
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        layers.UpSampling2D(),
        layers.Conv2D(5, 3, padding="same", activation="relu"),
        layers.Conv2D(3, 1, activation="softmax"),
    )
    return _stack(layers.Input((6, 6, 3)), *parts), floats(6, 6, 3)


def variable_size():
    """Images of any size."""
    parts = (
        layers.Conv2D(4, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(4),
    )
    return _stack(layers.Input((None, None, 3)), *parts), floats(7, 8, 3)


def variable_output():
    """Fully convolutional, for images of any size: so is the output."""
    parts = layers.Conv2D(4, 3, padding="same", activation="relu"), layers.Conv2D(3, 1)
    return _stack(layers.Input((None, None, 3)), *parts), floats(6, 6, 3)


def lstm():
    """A recurrent layer."""
    parts = layers.Dense(4, "relu"), layers.LSTM(5, name="memory"), layers.Dense(4)
    return _stack(layers.Input((6, 3)), *parts), floats(6, 3)


def gru():
    """A recurrent layer in both directions."""
    memory = layers.Bidirectional(layers.GRU(4), name="memory")
    return _stack(layers.Input((6, 3)), memory, layers.Dense(4)), floats(6, 3)


def attention():
    """A transformer block."""
    x = layers.Input((6, 4))
    y = layers.Dense(8)(x)
    y = layers.Add()([y, layers.MultiHeadAttention(2, 4, name="attention")(y, y)])
    y = layers.LayerNormalization()(y)
    y = layers.GlobalAveragePooling1D()(layers.Dense(8, "relu")(y))
    return keras.Model(x, layers.Dense(4)(y)), floats(6, 4)


def timedistributed():
    """A convolution and a dense layer at each time step."""
    parts = (
        layers.TimeDistributed(layers.Conv2D(3, 3, activation="relu")),
        layers.TimeDistributed(layers.Flatten()),
        layers.TimeDistributed(layers.Dense(4, "relu")),
        layers.GlobalMaxPooling1D(),
        layers.Dense(4),
    )
    return _stack(layers.Input((3, 5, 5, 2)), *parts), floats(3, 5, 5, 2)


def uint8():
    """Bytes that the model itself rescales."""
    parts = (
        layers.Rescaling(1 / 127.5, -1),
        layers.Conv2D(4, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(4),
    )
    x = integers(6, 6, 3, high=256, dtype="uint8")
    return _stack(layers.Input((6, 6, 3), dtype="uint8"), *parts), x


def float64():
    """A model in double precision."""
    parts = (
        layers.Conv2D(4, 3, activation="relu", dtype="float64"),
        layers.BatchNormalization(dtype="float64"),
        layers.Flatten(dtype="float64"),
        layers.Dense(12, dtype="float64"),
    )
    x = floats(6, 6, 3, dtype="float64")
    return _stack(layers.Input((6, 6, 3), dtype="float64"), *parts), x


MODELS = {
    builder.__name__: builder
    for builder in (
        *(mlp, mlp_tanh, cnn, cnn_bn, residual, branches, conv1d, separable, strided),
        *(embedding, embedding_masked, two_inputs, dict_inputs, two_outputs, nested, shared),
        *(raw_ops, subclassed, custom_layer, squeeze_excite, normalization, segmentation),
        *(variable_size, variable_output, lstm, gru, attention, timedistributed, uint8, float64),
    )
}
