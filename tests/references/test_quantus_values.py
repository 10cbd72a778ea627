"""Metrics against the values of Quantus 0.6.0 (`make_quantus.py`)."""

from itertools import combinations
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.evaluation import (
    Complexity,
    MaxSensitivity,
    PointingGame,
    RegionPerturbation,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
    Road,
    SensitivityN,
    Sparseness,
    evaluate,
    rank_correlation,
)
from innvestigate.evaluation.imputation import imputed

STORED = dict(np.load(Path(__file__).parent / "quantus" / "evaluation.npz"))


def network(size, prefix=""):
    model = keras.Sequential(
        [
            layers.Input((size, size, 1)),
            layers.Flatten(),
            layers.Dense(8, activation="tanh"),
            layers.Dense(3),
        ]
    )
    model.set_weights([STORED[f"{prefix}weights/{i}"] for i in range(4)])
    return model


def images(name, size=6):
    """Stored images, with channels last."""
    return np.moveaxis(STORED[name], -3, -1)[..., :size, :size, :]


def curves(metric, order):
    """The curve of each sample, from one run for each."""
    x, relevance, neuron = images("x"), images("relevance"), STORED["neuron"]
    model, found = network(6), []
    for i in range(len(x)):
        one = {"given": relevance[i : i + 1]}
        table = evaluate(model, one, x[i : i + 1], int(neuron[i]), metrics=metric).curves
        found.append(table["mean"][table["order"] == order])
    return np.array(found)


def test_pixel_flipping():
    metric = RegionPerturbation(region_shape=(1, 1, 1), regions_per_step=4)
    found = curves(metric, "most_relevant")
    np.testing.assert_allclose(found[:, 1:], STORED["pixel_flipping"], atol=1e-5)


@pytest.mark.parametrize(("order", "name"), [("most_relevant", "morf"), ("least_relevant", "lerf")])
def test_region_perturbation(order, name):
    found = curves(RegionPerturbation(region_shape=2), order)
    drops = found[:, :1] - found[:, 1:]
    np.testing.assert_allclose(drops, STORED[f"region_perturbation/{name}"], atol=1e-5)


def test_sensitivity_n_over_all_sets_of_features(monkeypatch):
    sets = list(combinations(range(9), 2))
    masks = np.zeros((len(sets), 1, 9), bool)
    for mask, chosen in zip(masks, sets, strict=True):
        mask[:, list(chosen)] = True
    monkeypatch.setattr(
        "innvestigate.evaluation.faithfulness._subsets",
        lambda subject, draws, features, n: masks[list(draws)].repeat(len(subject), axis=1),
    )
    metric = SensitivityN(n=2, subsets=len(sets), region_shape=1)
    model, x = network(3, "small/"), images("x", 3)
    given = {"given": images("relevance", 3)}
    found = evaluate(model, given, x, STORED["neuron"], metrics=metric).samples["value"]
    np.testing.assert_allclose(found, STORED["faithfulness_correlation"], atol=1e-5)


def test_max_sensitivity(monkeypatch):
    neighbours = images("neighbours", 3)
    monkeypatch.setattr(
        MaxSensitivity, "_neighbours", lambda self, subject, draws: neighbours[list(draws)]
    )
    model = network(3, "small/")
    analyzer = innvestigate.create_analyzer("gradient", model, neuron_selection_mode="index")
    metric = MaxSensitivity(draws=5)
    given = {"gradient": analyzer}
    found = evaluate(model, given, images("x", 3), STORED["neuron"], metrics=metric, batch_size=8)
    np.testing.assert_allclose(found.samples["value"], STORED["max_sensitivity"], rtol=1e-4)


def test_rank_correlation_with_equal_values():
    found = rank_correlation(STORED["a"], STORED["b"])
    np.testing.assert_allclose(found, STORED["spearman"], atol=1e-12)


def placed(metrics, part="relevance"):
    """What metrics say of the samples that have objects: all of its tables."""
    model, neuron = network(6, "placed/"), STORED["placed/neuron"]
    given = {"given": images(f"placed/{part}")}
    return evaluate(model, given, images("placed/x"), neuron, metrics=metrics, verbose=0)


def test_metrics_of_places_and_of_few_features():
    masks = images("placed/masks")
    metrics = {
        "pointing_game": PointingGame(masks),
        "mass": RelevanceMassAccuracy(masks),
        "rank": RelevanceRankAccuracy(masks, part="absolute"),
        "sparseness": Sparseness(),
        "complexity": Complexity(),
    }
    table = placed(list(metrics.values())).samples
    table = table[table["method"] == "given"]
    for number, name in enumerate(metrics):
        found = table["value"].to_numpy().reshape(5, -1)[number]
        np.testing.assert_allclose(found, STORED[f"placed/{name}"], atol=1e-5, err_msg=name)


def test_road():
    fractions = tuple(np.arange(1, 10) / 10)
    curves = placed(Road(fractions, noise=0, orders=("most_relevant",))).curves
    np.testing.assert_allclose(curves["mean"][1:], STORED["placed/road"])


def test_imputation():
    x, removed = images("placed/x"), np.zeros((30, 36), bool)
    np.put_along_axis(removed, STORED["placed/removed"], True, axis=1)
    found = imputed(x, removed.reshape(30, 6, 6))
    np.testing.assert_allclose(found, images("placed/imputed"), atol=1e-3)
