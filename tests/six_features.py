"""A network of six features, and analyzers of it: by default one that draws noise."""

import keras
from keras import layers

import innvestigate


def network(seed=0):
    keras.utils.set_random_seed(seed)
    parts = [layers.Dense(8, "relu", name="hidden"), layers.Dense(3, name="out")]
    return keras.Sequential([keras.Input((6,), name="x"), *parts], name="network")


def analyzer(method="smoothgrad", model=None, **kwargs):
    if method == "smoothgrad":
        kwargs = {"augment_by_n": 3, "seed": 1, **kwargs}
    return innvestigate.create_analyzer(method, model or network(), **kwargs)
