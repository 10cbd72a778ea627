"""iNNvestigate 2.1.2 on networks of keras.applications and TensorFlow 2.14.

As the program asks for, eager execution is off, the learning phase 0 and the softmax taken off
beforehand. The gradient it is compared with is `tf.gradients` in the same kind of session.
"""

from __future__ import annotations

import common
import tensorflow as tf

import innvestigate

METHODS = (
    "gradient",
    "input_t_gradient",
    "guided_backprop",
    "lrp.z",
    "lrp.epsilon",
    "lrp.z_plus",
    "lrp.alpha_1_beta_0",
    "lrp.alpha_2_beta_1",
    "lrp.sequential_preset_a_flat",
    "lrp.sequential_preset_b_flat",
    "deep_taylor",
)
keras = tf.keras
backend = tf.keras.backend


def build(name: str, size: int, batch: int) -> tuple:
    """A network with random weights, without its softmax, and its images."""
    x = common.noise((batch, size, size, 3))
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph).as_default():
        backend.set_learning_phase(1)
        weights = scaled_weights(network(name, size), x[:2])
    backend.set_learning_phase(0)
    model = network(name, size)
    model.set_weights(weights)
    return innvestigate.model_wo_softmax(model), x


def network(name: str, size: int):
    tf.random.set_seed(0)
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3))


def scaled_weights(model, x) -> list:
    """Let every BatchNormalization divide by the deviation it meets, or signals die out."""
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if norms:
        met = [backend.var(norm.input, axis=(0, 1, 2)) for norm in norms]
        found = backend.function([model.input], met)([x])
        for norm, variance in zip(norms, found, strict=True):
            backend.set_value(norm.moving_variance, variance)
    return model.get_weights()


def gradient(model):
    """One compiled gradient of the largest outputs."""
    top = backend.max(model.output, axis=-1)
    function = backend.function([model.input], tf.gradients(top, model.input))
    return lambda x: function([x])[0]


def explainer(_peer: str, method: str, _name: str, model):
    """An analyzer's function."""
    return innvestigate.create_analyzer(method, model).analyze


if __name__ == "__main__":
    tf.compat.v1.disable_eager_execution()
    common.main({"iNNvestigate": METHODS}, build, gradient, explainer)
