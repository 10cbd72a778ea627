"""Compares all methods on digits and on photographs; writes docs/evaluation.md and its pictures.

    python benchmarks/evaluation.py [--data mnist,photographs,text] [--methods gradient,lrp.epsilon]

What was found is kept in benchmarks/results/evaluation.json after every method (of networks that
read in evaluation_text.json, of hundreds of samples, which evaluation_many.py explains, in
evaluation_many.json); what it holds is not run again. Delete the file to start anew.
`--data none` writes the page only.

The network for digits, and those that read, are trained at the first run, and kept in demo/.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from evaluation_many_page import section as section_of_many
from evaluation_page import DATA, write_page
from evaluation_text import measure_missing, section
from measure import read, write

import innvestigate
from innvestigate.evaluation import (
    MaxSensitivity,
    Randomization,
    RegionPerturbation,
    SensitivityN,
    evaluate,
)

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "evaluation.json"
MANY = HERE / "results" / "evaluation_many.json"
TEXT = HERE / "results" / "evaluation_text.json"
sys.path.append(str(HERE.parent / "examples"))

import imagenet_methods  # noqa: E402
import mnist_methods  # noqa: E402
from efficientnet_lite import efficientnet_lite  # noqa: E402

ALIASES = {"grad*input", "guided", "intgrad", "deeplift", "deeplift.wrapper", "elrp"}
ELSEWHERE = {"gradient.baseline", "lrp.attn"}  # the gradient; lrp.epsilon without attention
ELSEWHERE |= {"in_silico_mutagenesis"}  # for sequences
METHODS = [m for m in innvestigate.analyzers if m not in ALIASES | ELSEWHERE]
OF_MANY = [*METHODS, "lrp.attn"]
TRAINING = 3000
BATCH = 100
RANDOM = "random order"
TABLES = ("scores", "curves", "randomization", "samples")
CHEAPER = {
    "random": {},  # a seed would draw for a shuffled network what it has drawn before
    "integrated_gradients": {"steps": 16},
    "smoothgrad": {"noise_scale": 0.2, "augment_by_n": 16, "seed": 0},
}


@dataclass
class Data:
    """What methods are compared on.

    Attributes:
        model: The network, with its softmax.
        x: The samples of region perturbation.
        few: The samples of the metrics that run methods many times.
        training: What patterns are fitted on.
        arguments: Arguments of methods.
        perturbation: The metric that runs on all samples.
        others: The metrics that run on the few.
        orders: How many random orders the baseline draws for each sample.
    """

    model: keras.Model
    x: np.ndarray
    few: np.ndarray
    training: np.ndarray
    arguments: dict
    perturbation: partial
    others: list
    orders: int = 1

    def create(self, method: str, model: keras.Model) -> innvestigate.analyzer.Analyzer:
        """A method on a model, fitted where it must be."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            analyzer = innvestigate.create_analyzer(
                method, model, neuron_selection_mode="index", **self.arguments.get(method, {})
            )
        if method.startswith("pattern"):
            analyzer.fit(self.training, batch_size=BATCH)
        return analyzer


def mnist() -> Data:
    """2,000 digits, and a network trained on 3,000 others."""
    images, labels = mnist_methods.load_digits()
    training, x = images[:TRAINING], images[TRAINING:]
    path = HERE.parent / "demo" / "evaluation_mnist.keras"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        keras.utils.set_random_seed(0)
        model = mnist_methods.build_model()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(training, labels[:TRAINING], batch_size=64, epochs=12, verbose=2)
        print("Accuracy, loss:", model.evaluate(x, labels[TRAINING:], verbose=0)[::-1])
        model.save(path)
    blocks = np.kron(np.arange(49).reshape(7, 7), np.ones((4, 4), int))[..., None]
    arguments = mnist_methods.ARGUMENTS | CHEAPER
    arguments |= {
        "occlusion": {"window_shape": (4, 4, 1), "step": (4, 4, 1)},
        "shapley_sampling": {"groups": blocks, "samples": 2, "seed": 0},
        "expected_gradients": {
            "reference_inputs": training[None, :100],
            "samples": 16,
            "seed": 0,
        },
    }
    return Data(
        keras.models.load_model(path),
        x,
        x[:100],
        training[:1000],
        arguments,
        partial(RegionPerturbation, region_shape=4, regions_per_step=2, steps=10),
        [
            SensitivityN(region_shape=4, n=5, subsets=50),
            MaxSensitivity(radius=0.1, draws=5),
            Randomization(),
        ],
    )


def photographs() -> Data:
    """Photographs, and an EfficientNet-Lite0 with its ImageNet weights."""
    model = efficientnet_lite(0)
    size = model.input_shape[1]
    names = imagenet_methods.PHOTOGRAPHS
    x = imagenet_methods.preprocess(
        np.stack([imagenet_methods.load_photograph(name, size) for name in names])
    )
    until = [layer.name for layer in model.layers].index("blocks.0.bn2")
    arguments = imagenet_methods.ARGUMENTS | CHEAPER
    arguments |= {
        "lrp.sequential_preset_b_flat_until_idx": {"until_layer_idx": until},
        "occlusion": {"window_shape": (32, 32, 3), "step": (32, 32, 3)},
        "shapley_sampling": {"groups": imagenet_methods.BLOCKS, "samples": 2, "seed": 0},
        "expected_gradients": {"reference_inputs": x[None], "samples": 16, "seed": 0},
    }
    kernels = [
        layer.name
        for layer in model.layers
        if layer.weights and not isinstance(layer, keras.layers.BatchNormalization)
    ]
    stages = tuple(kernels[i] for i in np.linspace(0, len(kernels) - 1, 5).astype(int))
    return Data(
        model,
        x,
        x,
        imagenet_methods.crops(100, size),
        arguments,
        partial(RegionPerturbation, region_shape=32, regions_per_step=2, steps=10),
        [
            SensitivityN(region_shape=32, n=5, subsets=50),
            Randomization(modes=("cascading",), layers=stages),
        ],
        orders=20,
    )


def measure(data: Data, method: str) -> dict:
    """What is kept of one method: tables as text, and the seconds that they took."""
    start = time.perf_counter()
    if method == RANDOM:
        x = np.concatenate([data.x] * data.orders)
        given = {"any": np.zeros(x.shape, "float32")}
        metric = data.perturbation(orders=("random",))
        return _kept(
            evaluate(data.model, given, x, metrics=metric, batch_size=BATCH, seed=0, verbose=0)
        )
    analyzer = data.create(method, data.model)
    metric = data.perturbation(orders=("most_relevant", "least_relevant"))
    run = partial(evaluate, data.model, batch_size=BATCH, seed=0, verbose=0)
    found = _kept(run({method: analyzer}, data.x, metrics=metric))
    fitted = method.startswith("pattern")
    given = partial(data.create, method) if fitted else analyzer
    more = _kept(run({method: given}, data.few, metrics=data.others))
    found["scores"] += more["scores"].split("\n", 1)[1]
    return found | {
        "randomization": more["randomization"],
        "seconds": round(time.perf_counter() - start),
    }


def _kept(found) -> dict:
    """The tables as text; one row for each sample only where there are few."""
    tables = {name: getattr(found, name) for name in TABLES}
    if len(found.samples) > 200:
        del tables["samples"]
    return {
        name: table.round(5).to_csv(index=False) for name, table in tables.items() if len(table)
    }


def tables(results: dict) -> dict[str, pd.DataFrame]:
    """The tables of all methods on one data set."""
    parts = {name: [] for name in TABLES}
    for kept in results.values():
        for name, found in parts.items():
            if name in kept:
                found.append(pd.read_csv(StringIO(kept[name])))
    return {name: pd.concat(found, ignore_index=True) for name, found in parts.items() if found}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=",".join([*DATA, "text"]))
    parser.add_argument("--methods", default=",".join(METHODS))
    arguments = parser.parse_args()
    results = read(RESULTS)
    for name in arguments.data.split(","):
        if name not in DATA:
            continue
        data = {"mnist": mnist, "photographs": photographs}[name]()
        done = results.setdefault(name, {})
        for method in [RANDOM, *arguments.methods.split(",")]:
            if method in done:
                continue
            try:
                done[method] = measure(data, method)
            except (ValueError, innvestigate.NoRuleError) as error:
                done[method] = {"failed": str(error)[:300]}
            write(RESULTS, results)
            print(name, method, done[method].get("seconds", done[method].get("failed")), flush=True)
            keras.backend.clear_session()
    if "text" in arguments.data.split(","):
        measure_missing(TEXT)
    found = {name: tables(kept) for name, kept in results.items()}
    failed = {
        name: {method: kept["failed"] for method, kept in by_method.items() if "failed" in kept}
        for name, by_method in results.items()
    }
    missing = {name: [m for m in METHODS if m not in kept] for name, kept in results.items()}
    write_page(found, failed, missing, [section_of_many(read(MANY), OF_MANY), section(read(TEXT))])


if __name__ == "__main__":
    main()
