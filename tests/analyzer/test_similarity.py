"""BiLRP against its formula, and what it promises."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

import innvestigate
from innvestigate.analyzer import bilrp
from tests.frameworks import examples
from tests.models import randomize


def embedding(size=4, numbers=3, use_bias=True):
    keras.utils.set_random_seed(0)
    hidden = layers.Dense(5, activation="relu", use_bias=use_bias)
    model = keras.Sequential([layers.Input((size,)), hidden, layers.Dense(numbers, use_bias=False)])
    randomize(model)
    return model


def create(model, name="lrp.z", mode="index", **arguments):
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


def samples(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def naive(model, x, other):
    """Σ_k of the outer products of LRP-z of φ_k at both samples, step by step in float64."""

    def relevance(x, k):
        first, bias, second = (np.array(w, "float64") for w in model.get_weights())
        z = x @ first + bias
        r = np.maximum(z, 0) * second[:, k]
        return x * (first @ np.where(z != 0, r / z, 0))

    pairs = zip(x.astype("float64"), other.astype("float64"), strict=True)
    return np.array(
        [sum(np.outer(relevance(a, k), relevance(b, k)) for k in range(3)) for a, b in pairs]
    )


def test_products_of_relevance():
    model, x, other = embedding(), samples(3, 4), samples(3, 4, seed=1)
    found = bilrp(create(model), x, other, batch_size=2)
    np.testing.assert_allclose(found, naive(model, x, other), rtol=1e-4, atol=1e-6)


@examples(4)
@given(numbers=st.sampled_from([1, 3, 40]), seed=st.integers(0, 99))
def test_pairs_add_up_to_the_similarity(numbers, seed):
    model, x, other = embedding(4, numbers, False), samples(2, 4, seed=seed), samples(2, 4)
    found = bilrp(create(model), x, other).sum(axis=(1, 2))
    both = [model.predict(y, verbose=0).astype("float64") for y in (x, other)]
    expected = np.sum(both[0] * both[1], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_sample_and_itself():
    found = bilrp(create(embedding()), samples(2, 4), samples(2, 4))
    np.testing.assert_allclose(found, found.swapaxes(1, 2), atol=1e-6)


def test_cells_of_images():
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(2, 2, activation="relu")
    parts = [convolution, layers.GlobalAveragePooling2D(), layers.Dense(3)]
    model = keras.Sequential([layers.Input((5, 4, 2)), *parts])
    randomize(model)
    analyzer, x, other = create(model), samples(2, 5, 4, 2), samples(2, 5, 4, 2, seed=1)
    pixels, cells = bilrp(analyzer, x, other), bilrp(analyzer, x, other, cell=2)
    assert pixels.shape == (2, 5, 4, 5, 4) and cells.shape == (2, 3, 2, 3, 2)
    np.testing.assert_allclose(cells[:, 1, 0, 2, 1], pixels[:, 2:4, :2, 4:, 2:].sum((1, 2, 3, 4)))
    np.testing.assert_allclose(cells.sum(), pixels.sum(), rtol=1e-6)


def test_a_last_axis_of_one_may_be_left_out():
    keras.utils.set_random_seed(0)
    parts = [layers.Conv2D(2, 2), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    analyzer = create(keras.Sequential([layers.Input((5, 4, 1)), *parts]))
    x, other = samples(1, 5, 4, 1), samples(1, 5, 4, 1, seed=1)
    found = bilrp(analyzer, x[..., 0], other[..., 0], cell=2)
    np.testing.assert_array_equal(found, bilrp(analyzer, x, other, cell=2))


def test_what_cannot_be_paired():
    model, x = embedding(), samples(3, 4)
    with pytest.raises(ValueError, match="3 and 2 of them"):
        bilrp(create(model), x, x[:2])
    with pytest.raises(ValueError, match="shares out the output's value"):
        bilrp(create(model, "gradient"), x, x)
    with pytest.raises(ValueError, match="mode 'max_activation'"):
        bilrp(create(model, mode="max_activation"), x, x)
    with pytest.raises(ValueError, match="at hidden layers"):
        bilrp(create(model, layers=["input"]), x, x)
    with pytest.raises(ValueError, match="cell must be a whole number >= 1"):
        bilrp(create(model), x, x, cell=0)
    with pytest.raises(TypeError, match="analyzer must be an analyzer"):
        bilrp(model, x, x)
    inputs = [layers.Input((2,)), layers.Input((2,))]
    two = keras.Model(inputs, layers.Dense(3)(layers.Concatenate()(inputs)))
    with pytest.raises(ValueError, match="single inputs"):
        bilrp(create(two), [x[:, :2], x[:, 2:]], [x[:, :2], x[:, 2:]])
