"""Neuron selections and references of one entry for each sample, for data sets of any length."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import innvestigate
from innvestigate.engine.selection import Selection

X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        return X[2 * i : 2 * i + 2]


DATASETS = {
    "generator": lambda: (X[i : i + 2] for i in range(0, 5, 2)),
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices(X).batch(2),
    "PyDataset": Batches,
}


def create(name="gradient", mode="index", **arguments):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3), layers.ReLU(), layers.Dense(3)])
    return innvestigate.create_analyzer(name, model, neuron_selection_mode=mode, **arguments)


@pytest.mark.parametrize("count", [4, 6, 7])
@pytest.mark.parametrize("name", ["gradient", "integrated_gradients", "occlusion"])
@pytest.mark.parametrize("form", DATASETS)
def test_there_is_one_index_for_each_sample_of_a_data_set(form, name, count):
    with pytest.raises(ValueError, match=f"neuron_selection holds {count} entries for .*samples"):
        create(name).analyze(DATASETS[form](), [0] * count)


@pytest.mark.parametrize("count", [4, 6])
def test_there_is_one_row_of_weights_for_each_sample_of_a_data_set(count):
    with pytest.raises(ValueError, match=f"neuron_selection holds {count} entries"):
        create(mode="weights").analyze(DATASETS["generator"](), np.ones((count, 3)))


@pytest.mark.parametrize("form", DATASETS)
def test_as_many_selections_as_samples(form):
    selection = [0, 2, 1, 1, 0]
    found = create().analyze(DATASETS[form](), selection)
    assert found.shape == X.shape
    create().analyze(DATASETS[form](), 2)
    create(mode="weights").analyze(DATASETS[form](), np.ones((1, 3)))


@pytest.mark.parametrize("count", [4, 6])
@pytest.mark.parametrize(
    "name", ["deeplift", "integrated_gradients", "occlusion", "shapley_sampling"]
)
def test_there_is_one_reference_for_each_sample_of_a_data_set(name, count):
    arguments = {"reference_inputs": np.ones((count, 4))}
    arguments |= {"samples": 2} if name == "shapley_sampling" else {}
    analyzer = create(name, "max_activation", **arguments)
    with pytest.raises(ValueError, match=rf"reference_inputs .* for {count} samples.*Received"):
        analyzer.analyze(DATASETS["tf.data"]())


def test_a_smoother_passes_the_count_on():
    inner = create("deeplift", "max_activation", reference_inputs=np.ones((6, 4)))
    smooth = innvestigate.analyzer.GaussianSmoother(inner, augment_by_n=2)
    with pytest.raises(ValueError, match="for 6 samples"):
        smooth.analyze(DATASETS["generator"]())


@pytest.mark.parametrize("selection", [[[0], [1, 2]], object(), lambda y: y, {}, "cat"])
@pytest.mark.parametrize("mode", ["index", "weights"])
def test_what_is_no_selection(mode, selection):
    with pytest.raises(ValueError, match="neuron_selection"):
        Selection(mode, selection, (3,), None)
