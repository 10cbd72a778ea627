"""Values of features by their definitions: one sample, one set of features at a time."""

from itertools import permutations
from math import factorial

import keras
import numpy as np
from keras import layers, ops


class Multilinear(layers.Layer):
    """Products of features: a function whose Shapley values are known to differ from gradients."""

    def call(self, x):
        y = [x[:, :1] * x[:, 1:2] + x[:, 2:3], ops.sum(ops.square(x), axis=1, keepdims=True)]
        y.append(ops.prod(x[:, :3], axis=1, keepdims=True) - 2 * x[:, 3:])
        return ops.concatenate(y, axis=1)


def by_hand(x):
    """The outputs of a model of `Multilinear` for one sample."""
    return np.array([x[0] * x[1] + x[2], (x**2).sum(), x[0] * x[1] * x[2] - 2 * x[3]])


def shapley(function, x, reference, labels):
    """Shapley values of groups of features by all orders of them; one sample."""
    groups = np.unique(labels)
    values = dict.fromkeys(groups, 0.0)
    for order in permutations(groups):
        state, before = reference.copy(), function(reference)
        for group in order:
            state = np.where(labels == group, x, state)
            values[group] += (function(state) - before) / factorial(len(groups))
            before = function(state)
    sizes = {group: (labels == group).sum() for group in groups}
    return np.vectorize(lambda group: values[group] / sizes[group])(labels)


def products():
    """Four inputs, three outputs, in double precision."""
    return keras.Sequential([layers.Input((4,), dtype="float64"), Multilinear(dtype="float64")])
