"""Operations that read a tensor for its shape alone: no signal passes, and none is missed."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate


def network(constants):
    """A model that computes with constants shaped like a tensor of it."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    y = layers.Dense(4)(x)
    ones, zeros, twos, sums = constants(y, ops.sum(x, axis=1, keepdims=True))
    return keras.Model(x, layers.Dense(2)(y * ones + zeros + twos + sums))


def likes(y, total):
    filled = ops.transpose(ops.full_like(ops.transpose(y), ops.transpose(total)))
    return ops.ones_like(y), ops.zeros_like(y), ops.full_like(y, 2.0), filled


def arrays(y, total):
    one = np.ones((1, 4), "float32")
    return one, 0 * one, 2 * one, ops.repeat(total, 4, axis=1)


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "lrp.epsilon", "deeplift"])
def test_constants_of_a_shape_are_constants(method):
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    found, expected = (
        innvestigate.create_analyzer(method, network(form)).analyze(x) for form in (likes, arrays)
    )
    assert np.abs(expected).min() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_no_signal_passes_a_constant():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(ops.ones_like(x)))
    with pytest.raises(ValueError, match="No signal can get"):
        innvestigate.create_analyzer("lrp.epsilon", model)
