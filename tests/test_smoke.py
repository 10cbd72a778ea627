"""The one line that users paste."""

import keras
import numpy as np

import innvestigate


def test_one_line():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    relevance = innvestigate.create_analyzer("lrp.z", model).analyze(x)
    np.testing.assert_allclose(relevance.sum(1), model.predict(x, verbose=0).max(1), rtol=1e-5)
