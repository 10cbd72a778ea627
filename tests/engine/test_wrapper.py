"""Wrappers: whose arguments are whose, what is compared how often, what is kept."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import innvestigate
from innvestigate.analyzer import GaussianSmoother, PathIntegrator
from innvestigate.engine import mirror
from innvestigate.engine.guard import ForwardDiffersError
from tests.frameworks import not_on_torch

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
TOKENS = np.array([[1, 2, 3], [4, 0, 2]])


def network():
    return keras.Sequential(
        [layers.Input((4,)), layers.Dense(5, activation="tanh"), layers.Dense(3)]
    )


def reader():
    return keras.Sequential(
        [
            layers.Input((3,), dtype="int32"),
            layers.Embedding(6, 4),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def gradient(model, **kwargs):
    return innvestigate.create_analyzer("gradient", model, **kwargs)


def test_a_wrappers_own_arguments_are_changed_in_it_the_others_inside():
    made = PathIntegrator(gradient(network()), steps=4, neuron_selection_mode="index")
    other = made.rebuilt(steps=8, neuron_selection_mode="max_activation", postprocess="abs")
    assert other.get_config()["steps"] == 8
    assert other.neuron_selection_mode == "max_activation"
    assert other.analyzer.get_config()["postprocess"] == "abs"
    assert made.rebuilt(steps=8).neuron_selection_mode == "index"


def test_a_selection_that_a_wrapper_leaves_open_is_changed_inside():
    made = GaussianSmoother(gradient(network()), 0.1, 2, seed=1).rebuilt(
        neuron_selection_mode="index", seed=2
    )
    assert made.analyzer.neuron_selection_mode == made.neuron_selection_mode == "index"
    assert made.get_config()["seed"] == 2


def test_an_unknown_selection_is_refused():
    with pytest.raises(ValueError, match="neuron_selection_mode"):
        PathIntegrator(gradient(network()), neuron_selection_mode="idnex")


@pytest.mark.parametrize("depth", [1, 2])
def test_samples_are_compared_once(depth, monkeypatch):
    inner = gradient(network())
    made = GaussianSmoother(inner, 0.1, augment_by_n=4, seed=0)
    if depth == 2:
        made = PathIntegrator(made, steps=3)
    rows, run = [], mirror.run_batch

    def counted(model, inputs):
        rows.append(len(inputs[0]))
        return run(model, inputs)

    monkeypatch.setattr(mirror, "run_batch", counted)
    for _ in range(3):
        made.analyze(X)
    points = 4 * (3 if depth == 2 else 1) * len(X)
    assert sum(rows) == 3 * points + len(X)


def test_one_mirror_serves_all_wrappers_of_an_analyzer():
    inner = gradient(reader())
    for noise in (0.1, 0.2, 0.3):
        GaussianSmoother(inner, noise, 2).analyze(TOKENS)
    assert inner.vectors is inner.vectors
    assert GaussianSmoother(inner).analyzer.vectors.task is inner.vectors.task


def test_patterns_can_start_from_vectors():
    made = innvestigate.create_analyzer("pattern.attribution", reader()).fit(TOKENS)
    found = GaussianSmoother(made, 0, 2).analyze(TOKENS)
    np.testing.assert_allclose(found, made.analyze(TOKENS), rtol=1e-5, atol=1e-6)


def test_what_was_fitted_is_left_behind_where_it_does_not_fit():
    made = innvestigate.create_analyzer("pattern.net", network()).fit(X)
    assert made.rebuilt(neuron_selection_mode="index").analyze(X, 0).shape == X.shape
    with pytest.raises(RuntimeError, match="no patterns yet"):
        made.rebuilt(pattern_type="linear").analyze(X)


def test_a_layer_may_have_an_attribute_of_any_name():
    class Counting(layers.Dense):
        runs = 3

    model = keras.Sequential([layers.Input((4,)), Counting(3), layers.Dense(2)])
    name = "lrp.sequential_preset_b_flat_until_idx"
    found = innvestigate.create_analyzer(name, model, until_layer_idx=0).analyze(X)
    assert found.shape == X.shape


LARGE = np.random.default_rng(1).normal(size=(4, 600, 600, 3)).astype("float32")


def test_rows_that_know_of_each_other_are_compared_together():
    x = keras.Input((600, 600, 3))
    h = ops.mean(layers.Conv2D(24, 1, activation="relu")(x), axis=(1, 2))
    model = keras.Model(x, layers.Dense(2)(h - ops.mean(h, axis=0, keepdims=True)))
    assert np.isfinite(gradient(model).analyze(LARGE)).all()


def test_a_fixed_batch_is_compared_as_it_is():
    x = keras.Input(batch_shape=(4, 600, 600, 3))
    h = layers.Conv2D(24, 1, strides=200)(x) + ops.mean(layers.Conv2D(24, 1)(x))
    model = keras.Model(x, layers.Dense(2)(ops.reshape(h, (4, -1))))
    assert np.isfinite(gradient(model).analyze(LARGE, batch_size=4)).all()


@not_on_torch  # where they are followed
def test_numbers_that_were_adapted_anew_are_noticed():
    normal = layers.Normalization()
    normal.adapt(X)
    model = keras.Sequential([layers.Input((4,)), normal, layers.Dense(2)])
    analyzer = innvestigate.create_analyzer("input_t_gradient", model)
    analyzer.analyze(X)
    normal.adapt(10 * X + 3)
    with pytest.raises(ForwardDiffersError, match="computes something else"):
        analyzer.analyze(X)
