"""Rewriting a graph leaves the function it computes unchanged."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from innvestigate.graph.linear import Linear
from innvestigate.graph.operations import Kind, kind_of
from innvestigate.graph.rewrite import (
    fold_batch_norm,
    fuse_bias,
    is_opaque,
    open_layers,
    split,
)
from innvestigate.graph.run import run
from innvestigate.graph.trace import trace


class Block(layers.Layer):
    """Dense and convolution by hand, and a layer inside."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3))
        self.b = self.add_weight(shape=(3,), initializer="random_normal")
        self.inner = layers.Dense(3, activation="tanh")
        self.inner.build((*shape[:-1], 3))

    def call(self, x):
        return self.inner(ops.matmul(x, self.w) + self.b)


def norm(**arguments):
    return layers.BatchNormalization(
        beta_initializer="random_normal",
        gamma_initializer="random_normal",
        moving_mean_initializer="random_normal",
        moving_variance_initializer=keras.initializers.RandomUniform(0.5, 2),
        **arguments,
    )


STACKS = {
    "custom": [Block(), layers.ReLU()],
    "separable": [layers.SeparableConv2D(3, 3, strides=2, padding="same", activation="relu")],
    "separable 1d": [layers.TimeDistributed(layers.SeparableConv1D(3, 3))],
    "time": [layers.TimeDistributed(layers.Dense(4, activation="gelu"))],
    "conv, norm": [layers.Conv2D(4, 3), norm(), layers.ReLU()],
    "depthwise, norm": [layers.DepthwiseConv2D(3, depth_multiplier=2), norm()],
    "transposed, norm": [layers.Conv2DTranspose(4, 3, strides=2), norm()],
    "norm, conv": [layers.ReLU(), norm(), layers.Conv2D(4, 3)],
    "norm, padded conv": [layers.ReLU(), norm(), layers.Conv2D(4, 3, padding="same")],
    "norm, dense": [layers.ReLU(), norm(), layers.Dense(4)],
    "norm, norm": [norm(), norm(scale=False, center=False), layers.Dense(4)],
    "norm of rows": [layers.Dense(4), norm(axis=1)],
    "lambda": [layers.Lambda(lambda x: ops.relu(x[:, ::2]) * 2.0 - x[:, 1::2])],
    "spectral": [layers.SpectralNormalization(layers.Conv2D(3, 2))],
}
NORMS_LEFT = {"norm, padded conv": 1, "norm of rows": 1}


@pytest.mark.parametrize("name", STACKS)
def test_rewriting_leaves_the_function_unchanged(name):
    model = keras.Sequential([layers.Input((8, 6, 2)), *STACKS[name]])
    x = np.random.default_rng(0).normal(size=(3, 8, 6, 2)).astype("float32")
    graph = trace(model)
    for rewrite in (lambda g: open_layers(g, is_opaque), split, fuse_bias, fold_batch_norm):
        graph = rewrite(graph)
        graph.check()
    assert all(kind_of(step) is not Kind.OPAQUE for step in graph.steps)
    found = run(graph, [x], graph.flat_outputs)[0]
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    left = [s for s in graph.steps if isinstance(s.layer, layers.BatchNormalization)]
    assert len(left) == NORMS_LEFT.get(name, 0)


def test_a_bias_by_hand_becomes_part_of_its_linear_step():
    graph = trace(keras.Sequential([layers.Input((4,)), Block()]))
    graph = fuse_bias(split(open_layers(graph, is_opaque)))
    assert [type(step.operation) is Linear for step in graph.steps] == [True, True, False]
    assert graph.steps[0].operation.bias is not None


def test_what_is_read_elsewhere_is_not_folded_away():
    x = keras.Input((4,))
    h = layers.Dense(4)(x)
    model = keras.Model(x, [h, norm()(h)])
    graph = trace(model)
    graph = fold_batch_norm(split(graph))
    data = np.ones((2, 4), "float32")
    for found, expected in zip(
        run(graph, [data], graph.flat_outputs), model.predict(data, verbose=0), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


class Inner(layers.Layer):
    """A layer that does not know of training."""

    def build(self, shape):
        self.dense = layers.Dense(4)
        self.dense.build(shape)

    def call(self, x):
        return self.dense(x)


class Outer(layers.Layer):
    """Tells a layer of training that does not want to know; Keras drops the argument."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Inner()

    def call(self, x, training=None):
        return self.inner(x, training=training)


def function_of_operations():
    x = keras.Input((4,))
    return keras.Function(x, ops.relu(x) * 2.0)


@pytest.mark.parametrize("make", [Outer, function_of_operations])
def test_what_is_inside_shows(make):
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(make()(x)))
    graph = split(open_layers(trace(model), is_opaque))
    assert all(kind_of(step) is not Kind.OPAQUE for step in graph.steps)
    data = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    found = run(graph, [data], graph.flat_outputs)[0]
    np.testing.assert_allclose(found, model.predict(data, verbose=0), rtol=1e-5)
