"""In-silico mutagenesis against its definition, letter by letter, and against its axioms."""

import re
from functools import cache

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

import innvestigate
from tests.frameworks import examples
from tests.models import build

pytestmark = pytest.mark.usefixtures("step_by_step")

PLACES, LETTERS, OUTPUTS = 5, 4, 3
PAIRS = np.random.default_rng(0).normal(size=(OUTPUTS, PLACES - 1, LETTERS, LETTERS))
SINGLES = np.random.default_rng(1).normal(size=(OUTPUTS, PLACES, LETTERS))
CODES = st.lists(
    st.lists(st.integers(0, LETTERS), min_size=PLACES, max_size=PLACES), min_size=1, max_size=4
)
"""Letters of some sequences; the last code is none of them."""


class Neighbours(layers.Layer):
    """What each letter, and each pair of neighbours, adds to each output, in double precision."""

    def call(self, x):
        pairs = ops.einsum("npa,opab,nqb->nopq", x[:, :-1], ops.convert_to_tensor(PAIRS), x[:, 1:])
        singles = ops.einsum("npa,opa->no", x, ops.convert_to_tensor(SINGLES))
        return ops.sum(ops.diagonal(pairs, axis1=2, axis2=3), axis=-1) + singles


@cache
def neighbours():
    return keras.Sequential(
        [layers.Input((PLACES, LETTERS), dtype="float64"), Neighbours(dtype="float64")]
    )


def by_hand(x, output):
    """An output of `neighbours` for one sample."""
    pairs = [x[p] @ PAIRS[output, p] @ x[p + 1] for p in range(PLACES - 1)]
    return sum(pairs) + (x * SINGLES[output]).sum()


def naive(function, x):
    """The definition, for one sample: every letter is put at every place."""
    found = np.zeros(x.shape)
    for place in np.ndindex(x.shape[:-1]):
        for letter in range(x.shape[-1]):
            changed = x.copy()
            changed[place] = np.eye(x.shape[-1])[letter]
            found[(*place, letter)] = function(changed) - function(x)
    return found


def sequences(codes):
    return np.eye(LETTERS + 1, LETTERS)[codes]


@cache
def make(model, mode="index", **arguments):
    name = "in_silico_mutagenesis"
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


X = sequences([[0, 1, 2, 3, 0], [2, 2, 1, 4, 0], [3, 0, 1, 1, 2]])


def test_the_model_is_the_one_by_hand():
    expected = [[by_hand(x, o) for o in range(OUTPUTS)] for x in X]
    np.testing.assert_allclose(np.array(neighbours()(X)), expected, rtol=1e-12)


@examples(12)
@given(CODES, st.integers(0, OUTPUTS - 1), st.sampled_from([1, 3, 7, 100]))
def test_the_change_of_the_output_for_every_letter_at_every_place(codes, output, batch_size):
    x = sequences(codes)
    found = make(neighbours()).analyze(x, output, batch_size=batch_size)
    expected = [naive(lambda a: by_hand(a, output), sample) for sample in x]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert (found[x == 1] == 0).all()


@examples(5)
@given(CODES)
def test_the_mean_letter_can_be_subtracted(codes):
    x = sequences(codes)
    found = make(neighbours(), subtract_mean=True).analyze(x, 1)
    changes = np.stack([naive(lambda a: by_hand(a, 1), sample) for sample in x])
    expected = changes - changes.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=-1), 0, atol=1e-12)


def test_a_linear_model_is_its_kernel_whatever_the_sample():
    parts = layers.Flatten(dtype="float64"), layers.Dense(2, dtype="float64")
    model = keras.Sequential([layers.Input((PLACES, LETTERS), dtype="float64"), *parts])
    kernel = model.get_weights()[0][:, 1].reshape(PLACES, LETTERS)
    found = make(model, subtract_mean=True).analyze(X, 1)
    expected = kernel - kernel.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(found, np.broadcast_to(expected, X.shape), rtol=1e-9, atol=1e-12)
    present = (kernel * X).sum(axis=-1, keepdims=True)
    expected = np.where(X == 1, 0, kernel - present)
    np.testing.assert_allclose(make(model).analyze(X, 1), expected, rtol=1e-9, atol=1e-12)


def test_it_is_linear_in_the_output():
    weights = np.array([1.0, -2.0, 0.25])
    parts = [make(neighbours()).analyze(X, i) for i in range(OUTPUTS)]
    found = make(neighbours(), "weights").analyze(X, weights)
    np.testing.assert_allclose(found, np.tensordot(weights, parts, 1), rtol=1e-9, atol=1e-12)
    found = make(neighbours(), "all").analyze(X)
    np.testing.assert_allclose(found, sum(parts), rtol=1e-9, atol=1e-12)


def test_the_neuron_is_chosen_at_the_sample():
    chosen = np.array(neighbours()(X)).argmax(axis=1)
    found = make(neighbours(), "max_activation").analyze(X)
    np.testing.assert_allclose(found, make(neighbours()).analyze(X, chosen), rtol=1e-12)
    variants = sequences(list(np.ndindex(*[LETTERS] * PLACES)))
    assert len({*np.array(neighbours()(variants)).argmax(axis=1)}) > 1


def test_batches_and_data_sets_do_not_change_the_result(tmp_path):
    explain = make(neighbours()).analyze
    expected = explain(X, [0, 1, 2], batch_size=100)
    np.testing.assert_allclose(explain(X, [0, 1, 2], batch_size=2), expected, rtol=1e-12)
    np.testing.assert_allclose(explain(iter([X[:2], X[2:]]), [0, 1, 2]), expected, rtol=1e-12)
    explain(X, [0, 1, 2], batch_size=1, out=tmp_path / "found.npy")
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, rtol=1e-12)


def test_no_more_rows_than_a_batch_are_run_at_once_and_none_for_nothing(monkeypatch):
    created = make(neighbours(), check=False)
    sizes, run = [], created.outputs
    monkeypatch.setattr(created, "outputs", lambda x: (sizes.append(len(x[0])), run(x))[1])
    x = X[::2]  # without unknown letters
    created.analyze(x, 0, batch_size=2)
    assert max(sizes) == 2
    assert sum(sizes) == len(x) * (1 + PLACES * (LETTERS - 1))


def test_one_progress_bar_counts_to_the_end(capsys):
    make(neighbours()).analyze(X, 0, batch_size=2, verbose=1)
    seen = [int(number) for number in re.findall(r"(\d+)/100", capsys.readouterr().out)]
    assert seen == sorted(seen) and seen[0] < 50 and seen[-1] == 100


class Meeting(layers.Layer):
    """What the letters of one input and the only letter of another one add to each other."""

    def call(self, inputs):
        a, b = inputs
        return ops.einsum("npa,pab,nb->n", a, ops.convert_to_tensor(MEETING), b)[:, None]


MEETING = np.random.default_rng(2).normal(size=(2, 3, 4))


def test_of_several_inputs_one_letter_at_a_time_is_replaced():
    inputs = [layers.Input(shape, dtype="float64") for shape in ((2, 3), (4,))]
    model = keras.Model(inputs, Meeting(dtype="float64")(inputs))
    x = np.eye(3)[[[0, 2], [1, 1]]], np.eye(4)[[3, 0]]
    before = [a.copy() for a in x]
    found = make(model).analyze(x, 0, batch_size=3)
    at = lambda a, b: np.einsum("pa,pab,b", a, MEETING, b)  # noqa: E731
    for i, (a, b) in enumerate(zip(*x, strict=True)):
        np.testing.assert_allclose(found[0][i], naive(lambda y, b=b: at(y, b), a), atol=1e-12)
        np.testing.assert_allclose(found[1][i], naive(lambda y, a=a: at(a, y), b), atol=1e-12)
    for a, b in zip(x, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_letters_of_sequences_of_any_length():
    parts = layers.Conv1D(3, 2, activation="relu"), layers.GlobalMaxPooling1D(), layers.Dense(2)
    model = keras.Sequential([layers.Input((None, 4)), *parts])
    for length in (3, 6):
        x = X[:1, :length] if length < PLACES else np.repeat(X[:1], 2, axis=1)[:, :length]
        found = make(model).analyze(x, 0)
        variants = np.array(
            [
                np.where(np.eye(length)[p][:, None], np.eye(4)[c], x[0])
                for p, c in np.ndindex(length, 4)
            ]
        )
        expected = np.array(model(variants) - model(x))[:, 0]
        np.testing.assert_allclose(found[0], expected.reshape(length, 4), atol=1e-5)


SHARES = X.copy()
SHARES[1, 2] = [0.25, 0.75, 0, 0]
PAIRED = X.copy()
PAIRED[2, 0] = [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (SHARES, "sample 1. Received there: values from 0 to 1"),
        (PAIRED, "is for one-hot inputs: along the last axis a single 1.*sample 2"),
        (-X, "values from -1 to"),
    ],
)
def test_samples_that_are_not_one_hot(x, message):
    with pytest.raises(ValueError, match=f"InSilicoMutagenesis.*{message}"):
        make(neighbours()).analyze(x, 0, batch_size=1)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("embedding", {}, "is for one-hot inputs. Input .* holds int32"),
        ("uint8", {}, "holds uint8"),
        ("mlp", {"layers": ("input", "dense")}, "explains the model's inputs only"),
        ("mlp", {"subtract_mean": 1}, "subtract_mean must be True or False. Received: 1"),
    ],
)
def test_models_and_arguments_that_do_not_fit(model, arguments, message):
    network = build(model)[0]
    if "layers" in arguments:
        arguments = {"layers": (network.layers[0].name,)}
    with pytest.raises(ValueError, match=message):
        make(network, **arguments)


@pytest.mark.parametrize("shape", [(), (1,), (5, 1)])
def test_a_single_letter_has_no_other(shape):
    model = keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match="expected two or more along the last axis"):
        make(model)
