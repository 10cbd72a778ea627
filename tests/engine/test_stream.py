"""Results batch by batch, and neurons that a data set names itself."""

import types

import keras
import numpy as np
import pytest
from keras import layers

from tests.stores.test_stores import DATA, analyzer

LABELS = np.arange(len(DATA)) % 3


def pairs(labels=LABELS, size=16):
    for i in range(0, len(DATA), size):
        yield DATA[i : i + size], labels[i : i + size]


@pytest.mark.parametrize("method", ["gradient", "smoothgrad", "lrp.epsilon", "deeplift"])
def test_a_stream_is_what_is_returned_at_once(method):
    parts = list(analyzer(method).stream(DATA, batch_size=16))
    assert [len(part) for part in parts] == [16, 16, 16, 16, 6]
    expected = analyzer(method).analyze(DATA, batch_size=16)
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_a_batch_is_read_when_it_is_asked_for():
    read = []

    def data():
        for i in range(3):
            read.append(i)
            yield DATA[:4]

    stream = analyzer("gradient").stream(data())
    assert isinstance(stream, types.GeneratorType)
    assert read == []
    next(stream)
    assert read == [0]


def test_arguments_are_checked_at_once():
    with pytest.raises(ValueError, match="wrong shape"):
        analyzer("gradient").stream(DATA[:, :5])
    with pytest.raises(TypeError, match="batch_size"):
        analyzer("gradient").stream(DATA, batch_size=1.5)
    with pytest.raises(ValueError, match="neuron_selection"):
        analyzer("gradient").stream(DATA, 1)
    with pytest.raises(ValueError, match="no sample"):
        list(analyzer("gradient").stream(iter([])))


def test_what_is_done_is_passed_over():
    """Random draws are those of the samples' own numbers."""
    created = analyzer("smoothgrad")
    expected = created.analyze(DATA, batch_size=16)[48:]
    np.testing.assert_array_equal(
        np.concatenate(list(created.stream(DATA, batch_size=16, done=48))), expected
    )
    sizes = iter([np.empty((48, 0)), DATA[48:64], DATA[64:]])  # what is passed over is not read
    found = list(created.stream(sizes, batch_size=16, done=48))
    np.testing.assert_array_equal(np.concatenate(found), expected)
    with pytest.raises(ValueError, match="done"):
        created.stream(DATA, done=-1)


def test_too_few_selections_are_found_at_the_end():
    created = analyzer("gradient", neuron_selection_mode="index")
    with pytest.raises(ValueError, match="70"):
        list(created.stream(iter([DATA[:16]]), LABELS))


@pytest.mark.parametrize(
    "labels",
    [LABELS, LABELS[:, None], LABELS.astype("float32"), np.eye(3)[LABELS]],
    ids=["integers", "column", "floats", "one-hot"],
)
def test_labels_choose_the_neuron(labels):
    created = analyzer("smoothgrad", neuron_selection_mode="index")
    expected = created.analyze(DATA, LABELS, batch_size=16)
    np.testing.assert_array_equal(created.analyze(pairs(labels), "labels", batch_size=16), expected)


def test_labels_of_an_output_with_several_axes_are_indices():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6), layers.Reshape((2, 3))])
    created = analyzer("gradient", model, neuron_selection_mode="index")
    index = np.stack([LABELS % 2, LABELS], axis=1)
    expected = created.analyze(DATA, index)
    np.testing.assert_allclose(created.analyze(pairs(index), "labels"), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"\('batch', 2\)"):
        created.analyze(pairs(), "labels")


def test_each_output_has_labels():
    x = keras.Input((6,))
    model = keras.Model(x, {"a": layers.Dense(2)(x), "b": layers.Dense(3)(x)})
    created = analyzer("gradient", model, output="b", neuron_selection_mode="index")
    expected = created.analyze(DATA, LABELS)
    named = ((part, {"a": 0 * labels, "b": labels}) for part, labels in pairs())
    np.testing.assert_allclose(created.analyze(named, "labels"), expected, rtol=1e-6)
    listed = ((part, [0 * labels, labels]) for part, labels in pairs())
    np.testing.assert_allclose(created.analyze(listed, "labels"), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="'b'"):
        created.analyze(iter([(DATA, {"a": LABELS})]), "labels")


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (DATA, "arrays"),
        (iter([DATA]), "inputs alone"),
        (iter([(DATA, LABELS + 0.5)]), "whole numbers"),
        (iter([(DATA, np.eye(4)[LABELS])]), "one-hot"),
        (iter([(DATA, np.ones((70, 3)))]), "one-hot"),
        (iter([(DATA, LABELS + 1)]), "out of range"),
        (iter([(DATA, LABELS[:5])]), "5 entries for 70"),
        (iter([(DATA, np.full(70, np.nan))]), "whole numbers"),
    ],
)
def test_labels_that_name_no_neuron(x, told):
    created = analyzer("gradient", neuron_selection_mode="index")
    with pytest.raises(ValueError, match=told):
        created.analyze(x, "labels")


def test_labels_need_the_mode_index():
    with pytest.raises(ValueError, match="'index'"):
        analyzer("gradient").analyze(pairs(), "labels")
