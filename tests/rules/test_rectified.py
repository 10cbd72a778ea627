"""A rectifier is passed without a look at what it reads: the step before it knows that."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.rules.kernel import KernelRule, Share
from tests.models import randomize

METHODS = {
    "z": ("lrp.z", {}),
    "epsilon": ("lrp.epsilon", {"epsilon": 0.1}),
    "epsilon_without_bias": ("lrp.epsilon", {"epsilon": 0.1, "bias": False}),
    "gamma": ("lrp.gamma", {}),
    "z_plus": ("lrp.z_plus", {}),
    "alpha_2_beta_1": ("lrp.alpha_2_beta_1", {}),
    "preset_b": ("lrp.sequential_preset_b_flat", {}),
    "w_square": ("lrp.w_square", {}),
}


def block(x, filters):
    """A convolution whose output is normalised and rectified."""
    x = layers.Conv2D(filters, 3, padding="same")(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def residual():
    x = inputs = layers.Input((8, 8, 3))
    x = block(x, 4)
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x))
    return inputs, layers.ReLU()(layers.Add()([x, y]))


def dense():
    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    for _ in range(2):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Concatenate()([x, layers.Conv2D(4, 3, padding="same")(y)])
    return inputs, layers.ReLU()(x)


def rectified_and_not():
    """What a rectifier reads is read by others: one more rectifier, a sum and a convolution."""
    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    y = layers.Add()([layers.ReLU()(x), layers.ReLU()(x), x])
    return inputs, layers.Add()([y, layers.Conv2D(4, 3, padding="same")(x)])


def moved():
    """Rectifiers before and after tensors are moved and picked, and after one another."""
    inputs = layers.Input((8, 8, 3))
    x = layers.ReLU()(layers.ReLU()(layers.Conv2D(4, 3, padding="same")(inputs)))
    x = layers.ReLU()(layers.MaxPooling2D()(layers.Permute((2, 1, 3))(x)))
    x = layers.LeakyReLU(0.2)(layers.Conv2D(4, 3)(x))
    return inputs, layers.ReLU()(layers.ZeroPadding2D()(x))


def activations():
    """Rectifiers with limits of their own, and an activation that is none."""
    x = inputs = layers.Input((8, 8, 3))
    for activation in (layers.ReLU(6.0), layers.ReLU(threshold=0.5), keras.activations.silu):
        x = layers.Activation(activation)(layers.Conv2D(4, 3, padding="same")(x))
    return inputs, x


def gated():
    """Products: by a gate of its own channels, of two signals, of a tensor with itself and by 2."""
    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="silu")(inputs)
    gate = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Conv2D(4, 3)(layers.Multiply()([x, gate]))
    x = layers.Conv2D(4, 3)(x * layers.Conv2D(1, 1, activation="softplus")(x))
    return inputs, layers.Conv2D(4, 1)(x * x) * 2 + layers.Conv2D(4, 1)(layers.Multiply()([x, x]))


def large():
    """Tensors that are normalised in one pass over memory."""
    inputs = layers.Input((64, 64, 3))
    return inputs, layers.MaxPooling2D(16)(block(block(inputs, 16), 16))


NETWORKS = (residual, dense, rectified_and_not, moved, activations, gated, large)


def network(make) -> keras.Model:
    inputs, x = make()
    return randomize(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_what_is_sent_past_rectifiers_is_what_an_audit_sends(make, name):
    model, (method, options) = network(make), METHODS[name]
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    analyzer = innvestigate.create_analyzer(method, model, **options)
    found, expected = analyzer.analyze(x), analyzer.audit(x).results
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


@dataclass(frozen=True)
class Halved(KernelRule):
    """A rule of the user's own, with arguments that have no hash."""

    factors: list
    proportional = True

    def shares(self, linear, x, z, r):
        return [Share([(x, linear.kernel)], r, None, factor, z, 0.1) for factor in self.factors]


class Stated(Halved):
    """One that states its formula, and reads relevance."""

    def relevance(self, linear, x, z, r):
        return sum(
            factor * x * linear.kernel / (z + 0.1 * ops.sign(z)) * r for factor in self.factors
        )


@pytest.mark.parametrize("rule", [Halved([0.25, 0.75]), Stated([0.25, 0.75])])
def test_rules_of_the_users_own_pass_large_tensors(rule):
    model = network(large)
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:]))
    batch_norm = lambda layer: isinstance(layer, layers.BatchNormalization)  # noqa: E731
    found, expected = (
        innvestigate.create_analyzer(
            "lrp", model, rule=[(batch_norm, of_norms), (lambda layer: True, "Epsilon")]
        ).analyze(x)
        for of_norms in (rule, innvestigate.rules.Epsilon(0.1))
    )
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
