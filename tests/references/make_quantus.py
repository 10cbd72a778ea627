"""Writes the reference values of Quantus, `quantus/evaluation.npz`.

    pip install torch==2.13.0 quantus==0.6.0    # Python 3.11, from PyPI
    python -P tests/references/make_quantus.py    # -P: the folders beside it are no packages

CPU. Stores the weights of a small network, samples, their relevance and what Quantus says of it.
Sets of features are drawn at random by Quantus: here it is handed all of them, one after the other.

Left out are SensitivityN and Infidelity: both keep what earlier draws have replaced, so that they
measure the removal of more and more features, and not what the papers define.
FaithfulnessCorrelation computes sensitivity-n for one n.

ROAD gets no noise. Objects are rectangles, of which Quantus is handed the masks. Which part of the
relevance counts it leaves to the caller, who hands it over: for the mass the positive part, for the
ranks the absolute one. (Quantus ranks equal places in the order of their indices.)
"""

from itertools import combinations
from pathlib import Path
from unittest import mock

import numpy as np
import quantus
import torch
from quantus.functions.perturb_func import noisy_linear_imputation
from quantus.functions.similarity_func import correlation_spearman
from torch import nn

FOLDER = Path(__file__).parent / "quantus"
SHAPE, CLASSES, SUBSET = (6, 6), 3, 2
MEASURED = {
    "abs": False,
    "normalise": False,
    "disable_warnings": True,
    "display_progressbar": False,
}
PLAIN = MEASURED | {"perturb_baseline": 0.0}


def network(random, features):
    """A network with drawn weights, and these."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    sizes = [(features, 8), (8,), (8, CLASSES), (CLASSES,)]
    weights = [random.normal(0, 0.5, size).astype("float32") for size in sizes]
    with torch.no_grad():
        for parameter, w in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(w.T))
    return model.eval(), weights


def measure(metric, model, x, y, relevance, **more):
    """What a metric gives for each sample."""
    x, relevance = x.copy(), relevance.copy()  # some metrics write on them
    return np.array(metric(model, x, y, relevance, softmax=False, device="cpu", **more))


def main():
    random = np.random.default_rng(0)
    found = {}
    model, weights = network(random, 36)
    x = random.normal(0, 1, (4, 1, *SHAPE)).astype("float32")
    relevance = random.normal(0, 1, x.shape).astype("float32")
    neuron = np.array([0, 2, 1, 2])
    found |= {f"weights/{i}": w for i, w in enumerate(weights)}
    found |= {"x": x, "relevance": relevance, "neuron": neuron}
    found["pixel_flipping"] = measure(
        quantus.PixelFlipping(features_in_step=4, **PLAIN), model, x, neuron, relevance
    )
    for order in ("morf", "lerf"):
        metric = quantus.RegionPerturbation(
            patch_size=2, regions_evaluation=9, order=order, **PLAIN
        )
        found[f"region_perturbation/{order}"] = measure(metric, model, x, neuron, relevance)

    model, weights = network(random, 9)
    found |= {f"small/weights/{i}": w for i, w in enumerate(weights)}
    x, relevance = x[..., :3, :3].copy(), relevance[..., :3, :3].copy()
    sets = [np.array(s) for s in combinations(range(9), SUBSET)]
    handed = iter([s for s in sets for _ in x])
    metric = quantus.FaithfulnessCorrelation(
        subset_size=SUBSET, nr_runs=len(sets), return_aggregate=False, **PLAIN
    )
    with mock.patch("numpy.random.choice", lambda *_, **__: next(handed)):
        found["faithfulness_correlation"] = measure(metric, model, x, neuron, relevance)

    neighbours = x + random.uniform(-0.2, 0.2, (5, *x.shape)).astype("float32")
    moved = iter(neighbours)
    metric = quantus.MaxSensitivity(
        nr_samples=5,
        perturb_func=lambda arr, **_: next(moved).reshape(arr.shape),
        abs=False,
        normalise=False,
        disable_warnings=True,
        display_progressbar=False,
    )
    found["neighbours"] = neighbours
    found["max_sensitivity"] = measure(
        metric, model, x, neuron, gradient(model, x, neuron), explain_func=gradient
    )
    a, b = np.round(random.normal(0, 1, (2, 5, 30)), 1)
    found |= {"a": a, "b": b, "spearman": correlation_spearman(a, b, batched=True)}
    found |= placed(random)
    FOLDER.mkdir(exist_ok=True)
    np.savez(FOLDER / "evaluation.npz", **found)


def placed(random):
    """What metrics of places, of few features and ROAD say of a third network and its samples."""
    model, weights = network(random, 36)
    found = {f"placed/weights/{i}": w for i, w in enumerate(weights)}
    x = random.normal(0, 1, (30, 1, *SHAPE)).astype("float32")
    relevance = random.normal(0, 1, x.shape)
    masks = np.zeros(x.shape, bool)
    for mask in masks:
        (top, bottom), (left, right) = (np.sort(random.permutation(7)[:2]) for _ in range(2))
        mask[0, top:bottom, left:right] = True
    with torch.no_grad():
        neuron = model(torch.tensor(x)).argmax(1).numpy()
    found |= {"x": x, "relevance": relevance, "masks": masks, "neuron": neuron}
    signed, positive, absolute = (
        (model, x, neuron, r) for r in (relevance, np.maximum(relevance, 0), np.abs(relevance))
    )
    found |= {
        "pointing_game": measure(quantus.PointingGame(**MEASURED), *signed, s_batch=masks),
        "mass": measure(quantus.RelevanceMassAccuracy(**MEASURED), *positive, s_batch=masks),
        "rank": measure(quantus.RelevanceRankAccuracy(**MEASURED), *absolute, s_batch=masks),
        "sparseness": measure(quantus.Sparseness(**MEASURED | {"abs": True}), *signed),
        "complexity": measure(quantus.Complexity(**MEASURED | {"abs": True}), *signed),
    }
    percentages = list(range(10, 100, 10))
    road = quantus.ROAD(percentages=percentages, noise=0.0, **MEASURED)
    by_percentage = road(*(np.copy(a) if a is not model else a for a in signed), device="cpu")
    found["road"] = np.array([by_percentage[p] for p in percentages])
    removed = np.stack([random.permutation(36)[:24] for _ in x])
    found["removed"] = removed
    found["imputed"] = np.stack(
        [noisy_linear_imputation(a, gone, noise=0.0) for a, gone in zip(x, removed, strict=True)]
    )
    return {name if "/" in name else f"placed/{name}": array for name, array in found.items()}


def gradient(model, inputs, targets, **_):
    """The gradient of the given neurons."""
    x = torch.tensor(np.asarray(inputs), requires_grad=True)
    model(x)[torch.arange(len(x)), torch.tensor(np.asarray(targets))].sum().backward()
    return x.grad.numpy()


if __name__ == "__main__":
    main()
