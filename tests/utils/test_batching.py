"""Batches come out the same from every form of input."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from innvestigate.utils.batching import batches, count_batches, is_dataset, map_batches

X = np.arange(21, dtype="float32").reshape(7, 3)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return X[3 * i : 3 * i + 3], np.zeros(3)


FORMS = {
    "array": lambda: X,
    "tensor": lambda: tf.data.Dataset.from_tensor_slices(X).batch(3),
    "tensor with targets": lambda: tf.data.Dataset.from_tensor_slices((X, X)).batch(3),
    "PyDataset": Sequence,
    "generator": lambda: (X[i : i + 3] for i in range(0, 7, 3)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_batches(form):
    x = FORMS[form]()
    assert is_dataset(x) == (form != "array")
    assert count_batches(x, 3) in (3, None)
    found = list(batches(x, 3))
    assert [len(batch) for batch in found] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(found), X)


def test_structures_are_cut_leaf_by_leaf():
    found = list(batches({"a": X, "b": [X, X * 2]}, 4))
    np.testing.assert_array_equal(found[1]["b"][1], X[4:] * 2)


def test_map_batches_hands_over_offsets_and_concatenates(capsys):
    result = map_batches(lambda batch, offset, _: {"y": batch + offset}, X, 3, verbose=1)
    np.testing.assert_array_equal(result["y"], X + np.repeat([0, 3, 6], [3, 3, 1])[:, None])
    assert "100/100" in capsys.readouterr().out


def test_nothing_to_analyze():
    with pytest.raises(ValueError, match="holds no sample"):
        map_batches(lambda batch, offset, _: batch, X[:0])
