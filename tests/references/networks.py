"""Small networks for comparisons with other programs, the same in every version of Keras.

`NETWORKS` maps a name to a function of a `Layers` factory and the input; `build(name, keras)` gives
the model with its fixed weights, `inputs(name)` the samples.
"""

import itertools

import numpy as np

IMAGE = (5, 4, 2)
CLASSES = 4
TOKENS = 9
_NORM = (0.5, 1.5), (-0.4, 0.4), (-0.3, 0.3), (0.4, 2.0)  # gamma, beta, mean, variance


class Layers:
    """Makes layers of one Keras version and keeps those it made, in that order."""

    def __init__(self, keras):
        self.keras, self.made = keras, []

    def __getattr__(self, cls):
        def make(*args, **kwargs):
            self.made.append(getattr(self.keras.layers, cls)(*args, **kwargs))
            return self.made[-1]

        return make


def build(name, keras):
    """The network of a name, in the given version of Keras (the module `keras` or `tf.keras`)."""
    layers = Layers(keras)
    x = keras.Input(SHAPES.get(name, IMAGE), dtype="int32" if name in TOKEN_NETWORKS else "float32")
    made = NETWORKS[name](layers, x)
    if isinstance(made, list):
        model = keras.Sequential([x, *made])
    else:
        model = keras.Model(x, layers.Dense(CLASSES)(made))
    arrays = itertools.count()
    for layer in layers.made:
        shapes = [tuple(w.shape) for w in layer.weights]
        if shapes:
            norm = type(layer).__name__ == "BatchNormalization"
            layer.set_weights(weights(shapes, arrays, norm))
    return model


def inputs(name):
    """The samples of a network."""
    random = np.random.RandomState(77)
    shape = SHAPES.get(name, IMAGE)
    count = 2 if len(shape) == 3 else 3
    if name in TOKEN_NETWORKS:
        return random.randint(0, TOKENS, (count, *shape)).astype("int32")
    return random.uniform(-1, 1, (count, *shape)).astype("float32")


def weights(shapes, arrays, norm=False):
    """Values for the weights of a layer, both signs, from one random stream for each array.

    Args:
        shapes: Of the layer's weights, as Keras orders them.
        arrays: Counts the arrays of the network.
        norm: Whether the layer is a BatchNormalization: gamma, beta, mean, variance.
    """
    randoms = [np.random.RandomState(next(arrays)) for _ in shapes]
    if norm:
        pairs = zip(randoms, _NORM, strict=True)
        gamma, *others = (random.uniform(*limits, shapes[0]) for random, limits in pairs)
        made = [gamma * np.where(np.arange(len(gamma)) == 1, -1, 1), *others]
    else:
        made = [_array(*pair) for pair in zip(randoms, shapes, strict=True)]
    return [array.astype("float32") for array in made]


def _array(random, shape):
    if len(shape) == 1:
        return random.uniform(-0.3, 0.3, shape)
    return random.normal(0.1, 1, shape) / np.sqrt(np.prod(shape[:-1]))


def _mlp(layers, x):
    return [
        layers.Dense(8, activation="relu"),
        layers.Dense(7),
        layers.Activation("relu"),
        layers.Dense(CLASSES),
    ]


def _mlp_bn(layers, x):
    return [
        layers.Dense(8),
        layers.BatchNormalization(),
        layers.Activation("relu"),
        layers.Dense(7, activation="relu"),
        layers.BatchNormalization(),
        layers.Dense(CLASSES),
    ]


def _cnn(layers, x):
    return [
        layers.Conv2D(4, 2, activation="relu"),
        layers.MaxPooling2D(2, strides=1),
        layers.Conv2D(5, 2),
        layers.Activation("relu"),
        layers.Flatten(),
        layers.Dense(CLASSES),
    ]


def _cnn_bn(layers, x):
    y = layers.Conv2D(4, 2)(x)
    y = layers.Activation("relu")(layers.BatchNormalization()(y))
    y = layers.Conv2D(5, 2, padding="same", activation="relu")(y)
    y = layers.AveragePooling2D(2, strides=1)(layers.BatchNormalization()(y))
    return layers.Flatten()(y)


def _residual(layers, x):
    stem = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(stem)
    y = layers.Conv2D(4, 3, padding="same")(y)
    y = layers.Activation("relu")(layers.Add()([stem, y]))
    return layers.GlobalAveragePooling2D()(y)


def _branches(layers, x):
    left = layers.Conv2D(3, 1, activation="relu")(x)
    right = layers.Conv2D(3, 3, padding="same", activation="relu")(x)
    y = layers.Concatenate()([left, right])
    y = layers.Conv2D(4, 2, activation="relu")(y)
    return layers.Flatten()(y)


def _conv1d(layers, x):
    return [
        layers.Conv1D(4, 3, padding="causal", activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(5, 2, dilation_rate=2, activation="relu"),
        layers.GlobalAveragePooling1D(),
        layers.Dense(CLASSES),
    ]


def _separable(layers, x):
    y = layers.SeparableConv2D(4, 2, depth_multiplier=2, padding="same", activation="relu")(x)
    y = layers.SeparableConv2D(3, 3, activation="relu")(y)
    return layers.Flatten()(y)


def _separable_opened(layers, x):
    """The separable network, depthwise and pointwise steps being layers of their own."""
    y = layers.DepthwiseConv2D(2, depth_multiplier=2, padding="same", use_bias=False)(x)
    y = layers.Conv2D(4, 1, activation="relu")(y)
    y = layers.DepthwiseConv2D(3, use_bias=False)(y)
    y = layers.Conv2D(3, 1, activation="relu")(y)
    return layers.Flatten()(y)


def _depthwise(layers, x):
    y = layers.DepthwiseConv2D(2, depth_multiplier=2, activation="relu")(x)
    y = layers.DepthwiseConv2D(2, padding="same", activation="relu")(y)
    return layers.Flatten()(y)


def _strided(layers, x):
    y = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.ZeroPadding2D(((1, 0), (0, 1)))(y)
    y = layers.Conv2D(5, 2, strides=2, activation="relu")(y)
    return layers.Flatten()(y)


def _padded(layers, x):
    y = layers.ZeroPadding2D(1)(x)
    y = layers.Conv2D(4, 3, strides=(2, 1), activation="relu")(y)
    y = layers.Cropping2D(((0, 1), (1, 0)))(y)
    return layers.Flatten()(y)


def _transposed(layers, x):
    y = layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    y = layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu")(y)
    return layers.Flatten()(layers.UpSampling2D(2)(y))


def _embedding(layers, x):
    y = layers.Embedding(TOKENS, 5)(x)
    y = layers.Conv1D(6, 3, activation="relu")(y)
    return layers.GlobalMaxPooling1D()(y)


NETWORKS = {
    "mlp": _mlp,
    "mlp_bn": _mlp_bn,
    "cnn": _cnn,
    "cnn_bn": _cnn_bn,
    "residual": _residual,
    "branches": _branches,
    "conv1d": _conv1d,
    "separable": _separable,
    "separable_opened": _separable_opened,
    "depthwise": _depthwise,
    "strided": _strided,
    "padded": _padded,
    "transposed": _transposed,
    "embedding": _embedding,
}
SHAPES = {"mlp": (6,), "mlp_bn": (6,), "conv1d": (9, 2), "embedding": (7,)}
TOKEN_NETWORKS = ("embedding",)
