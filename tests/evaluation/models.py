"""Tiny models and data that the tests of metrics share."""

import keras
import numpy as np
from keras import layers

from innvestigate.evaluation.subject import Subject

SHAPES = {"image": (7, 6, 2), "series": (10, 3), "features": (8,)}


def float64_model(shape, classes=3, softmax=False):
    """A nonlinear model in float64."""
    model = keras.Sequential(
        [
            layers.Input(shape, dtype="float64"),
            layers.Flatten(dtype="float64"),
            layers.Dense(6, activation="tanh", dtype="float64"),
            layers.Dense(classes, activation="softmax" if softmax else None, dtype="float64"),
        ]
    )
    random = np.random.default_rng(1)
    model.set_weights([random.normal(0, 0.7, w.shape) for w in model.get_weights()])
    return model


def linear_model(shape):
    """One linear output in float64."""
    model = keras.Sequential(
        [
            layers.Input(shape, dtype="float64"),
            layers.Flatten(dtype="float64"),
            layers.Dense(1, dtype="float64"),
        ]
    )
    random = np.random.default_rng(2)
    model.set_weights([random.normal(0, 1, w.shape) for w in model.get_weights()])
    return model


def run_naively(model, sample, neuron):
    """The output of `float64_model` or `linear_model`, in numpy."""
    weights = model.get_weights()
    y = sample.reshape(-1)
    for i in range(0, len(weights), 2):
        y = y @ weights[i] + weights[i + 1]
        if i + 2 < len(weights):
            y = np.tanh(y)
    if model.layers[-1].activation is keras.activations.softmax:
        y = np.exp(y) / np.exp(y).sum()
    return y[neuron]


def noise(shape, count=5, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (count, *shape))


def told(metric, relevance, x=None):
    """What a metric that does not run the model says of relevance, `(n, *shape)`."""
    none = np.zeros(len(relevance), int)
    x = relevance if x is None else x
    numbers = np.arange(len(relevance))
    return metric.measure(Subject(x, none, none, numbers, None, 8, 0, relevance=relevance))
