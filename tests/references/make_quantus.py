"""Writes the reference values of Quantus, `quantus/evaluation.npz`.

    pip install torch==2.13.0 quantus==0.6.0    # Python 3.11, from PyPI
    python -P tests/references/make_quantus.py    # -P: the folders beside it are no packages

CPU. Stores the weights of a small network, samples, their relevance and what Quantus says of it.
Sets of features are drawn at random by Quantus: here it is handed all of them, one after the other.

Left out are SensitivityN and Infidelity: both keep what earlier draws have replaced, so that they
measure the removal of more and more features, and not what the papers define.
FaithfulnessCorrelation computes sensitivity-n for one n.
"""

from itertools import combinations
from pathlib import Path
from unittest import mock

import numpy as np
import quantus
import torch
from quantus.functions.similarity_func import correlation_spearman
from torch import nn

FOLDER = Path(__file__).parent / "quantus"
SHAPE, CLASSES, SUBSET = (6, 6), 3, 2
PLAIN = {
    "abs": False,
    "normalise": False,
    "disable_warnings": True,
    "display_progressbar": False,
    "perturb_baseline": 0.0,
}


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
    FOLDER.mkdir(exist_ok=True)
    np.savez(FOLDER / "evaluation.npz", **found)


def gradient(model, inputs, targets, **_):
    """The gradient of the given neurons."""
    x = torch.tensor(np.asarray(inputs), requires_grad=True)
    model(x)[torch.arange(len(x)), torch.tensor(np.asarray(targets))].sum().backward()
    return x.grad.numpy()


if __name__ == "__main__":
    main()
