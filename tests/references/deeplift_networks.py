"""Small networks for comparisons with deeplift 0.6.13.0, the same in Keras 2.2.4 and in Keras 3.

`NETWORKS` maps a name to a function of the `keras` module that makes the model. The layer that
the original explains is named "logits"; if it has its activation itself, "probabilities". The
original converts neither Add nor global pooling of images, and takes a dilated Conv1D for one
without dilation. Runs on Python 3.7 too.
"""

MODES = ("Rescale", "RevealCancel", "DeepLIFT_GenomicsDefault", "Gradient", "GuidedBackprop")
INDEX = {"genomics": 0}
"""The output neuron that is explained, 1 for all networks that are not listed."""


def _mlp(keras):
    layers = keras.layers
    x = layers.Input((8,), name="input")
    y = layers.Dense(14, activation="relu", name="first")(x)
    y = layers.Activation("relu", name="second_relu")(layers.Dense(7, name="second")(y))
    y = layers.Dense(4, name="logits")(y)
    return keras.Model(x, layers.Activation("softmax", name="probabilities")(y))


def _genomics(keras):
    layers = keras.layers
    x = layers.Input((20, 4), name="input")
    y = layers.Conv1D(5, 9, activation="relu", name="motifs")(x)
    y = layers.MaxPooling1D(3, strides=2, name="pool")(y)
    y = layers.Conv1D(4, 3, padding="same", activation="relu", name="pairs")(y)
    y = layers.Flatten(name="flat")(y)
    y = layers.Dropout(0.5, name="dropout")(layers.Dense(6, name="dense")(y))
    y = layers.Activation("relu", name="dense_relu")(y)
    y = layers.Dense(1, name="logits")(y)
    return keras.Model(x, layers.Activation("sigmoid", name="probabilities")(y))


def _genomics_global_max(keras):
    layers = keras.layers
    x = layers.Input((20, 4), name="input")
    y = layers.Conv1D(6, 9, name="motifs")(x)
    y = layers.Activation("relu", name="motifs_relu")(y)
    y = layers.GlobalMaxPooling1D(name="pool")(y)
    y = layers.Dense(12, activation="relu", name="dense")(y)
    return keras.Model(x, layers.Dense(3, activation="softmax", name="probabilities")(y))


def _genomics_average(keras):
    layers = keras.layers
    x = layers.Input((22, 4), name="input")
    y = layers.Conv1D(5, 10, strides=2, activation="relu", name="motifs")(x)
    y = layers.AveragePooling1D(2, strides=1, padding="same", name="pool")(y)
    y = layers.Conv1D(6, 3, activation="relu", name="pairs")(y)
    y = layers.GlobalAveragePooling1D(name="mean")(y)
    y = layers.Dense(6, activation="relu", name="dense")(y)
    y = layers.Dense(2, name="logits")(y)
    return keras.Model(x, layers.Activation("sigmoid", name="probabilities")(y))


def _images(keras):
    layers = keras.layers
    x = layers.Input((8, 7, 3), name="input")
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(x)
    y = layers.MaxPooling2D(2, name="max_pool")(y)
    y = layers.Conv2D(5, 2, strides=(1, 1), activation="relu", name="second")(y)
    y = layers.AveragePooling2D(2, strides=1, name="average_pool")(y)
    y = layers.Dense(6, activation="relu", name="dense")(layers.Flatten(name="flat")(y))
    return keras.Model(x, layers.Dense(4, activation="softmax", name="probabilities")(y))


def _batch_norm(keras):
    layers = keras.layers
    x = layers.Input((6, 6, 2), name="input")
    y = layers.BatchNormalization(name="scale")(x)
    y = layers.Conv2D(4, 3, strides=(2, 1), padding="same", name="conv")(y)
    y = layers.BatchNormalization(name="conv_norm")(y)
    y = layers.Activation("relu", name="conv_relu")(y)
    y = layers.AveragePooling2D(2, name="pool")(layers.BatchNormalization(name="relu_norm")(y))
    y = layers.Dense(8, name="dense")(layers.Flatten(name="flat")(y))
    y = layers.BatchNormalization(name="dense_norm")(y)
    y = layers.Activation("relu", name="dense_relu")(y)
    y = layers.Dense(3, name="logits")(y)
    return keras.Model(x, layers.Activation("softmax", name="probabilities")(y))


def _activations(keras):
    layers = keras.layers
    x = layers.Input((8,), name="input")
    y = layers.Dense(8, activation="tanh", name="tanh")(x)
    y = layers.PReLU(name="prelu")(layers.Dense(7, name="dense")(y))
    y = layers.Dense(6, activation="sigmoid", name="sigmoid")(y)
    return keras.Model(x, layers.Dense(3, name="logits")(y))


def _two_inputs(keras):
    layers = keras.layers
    left, right = layers.Input((8,), name="left"), layers.Input((14, 4), name="right")
    a = layers.Dense(5, activation="relu", name="left_dense")(left)
    b = layers.Conv1D(3, 9, activation="relu", name="right_conv")(right)
    y = layers.Concatenate(axis=1, name="both")([a, layers.Flatten(name="flat")(b)])
    y = layers.Dense(6, activation="relu", name="dense")(y)
    y = layers.Dense(3, name="logits")(y)
    return keras.Model([left, right], layers.Activation("softmax", name="probabilities")(y))


def _branches(keras):
    layers = keras.layers
    x = layers.Input((6, 5, 3), name="input")
    stem = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(x)
    y = layers.Conv2D(3, 3, padding="same", activation="relu", name="branch")(stem)
    y = layers.Concatenate(axis=3, name="both")([stem, y, x])
    y = layers.Conv2D(4, 3, activation="relu", name="merged")(y)
    y = layers.Dense(3, name="logits")(layers.Flatten(name="flat")(y))
    return keras.Model(x, layers.Activation("softmax", name="probabilities")(y))


NETWORKS = {
    "mlp": _mlp,
    "genomics": _genomics,
    "genomics_global_max": _genomics_global_max,
    "genomics_average": _genomics_average,
    "images": _images,
    "batch_norm": _batch_norm,
    "activations": _activations,
    "two_inputs": _two_inputs,
    "branches": _branches,
}
HIDDEN = {
    "mlp": ("first", "second", "second_relu"),
    "genomics": ("motifs", "pool", "pairs", "flat", "dense", "dense_relu"),
    "genomics_global_max": ("motifs", "motifs_relu", "pool", "dense"),
    "genomics_average": ("motifs", "pool", "pairs", "mean", "dense"),
    "images": ("first", "max_pool", "second", "average_pool", "dense"),
    "batch_norm": ("scale", "conv", "conv_norm", "conv_relu", "relu_norm", "flat", "dense_norm"),
    "activations": ("tanh", "dense", "prelu", "sigmoid"),
    "two_inputs": ("left_dense", "right_conv", "both", "dense"),
    "branches": ("stem", "branch", "both", "merged"),
}
"""The hidden layers that are explained, some of them on one branch of several."""

MAX_POOLED = ("genomics/pool", "genomics_global_max/pool", "images/max_pool")
"""Where the original has no positive and negative part of the difference from reference."""


def index(network):
    """The output neuron that is explained."""
    return INDEX.get(network, 1)
