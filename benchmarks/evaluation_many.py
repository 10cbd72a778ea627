"""Compares all methods on hundreds of crops of photographs and of digits, with honest errors.

    python benchmarks/evaluation_many.py [--data photographs,digits] [--methods gradient,saliency]
        [--samples 210] [--limit 180]

The suite of `evaluation.py` has five photographs, too few to tell methods apart. Here are crops of
all colour photographs that scikit-image, scikit-learn and matplotlib carry in their wheels, in
which EfficientNet-Lite0 is confident of a class, and as many MNIST digits. Crops of one photograph
are not independent, and of some photographs many more crops are recognised than of others: numbers
are means over photographs, each the mean of its crops, and errors the standard errors of these
means, which are those of a handful of photographs, however many crops there are.

A method gets at most `--limit` seconds on each data set: where it is too slow for all samples it
gets the first ones, and the table says how many. What was found is kept after every method in
benchmarks/results/evaluation_many.json, and not run again; with other `--samples` in demo/. With a
larger limit methods go on where they stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pandas as pd
import skimage
import sklearn
from evaluation import HERE, RANDOM, Data, mnist, photographs
from evaluation import OF_MANY as METHODS
from evaluation_many_page import score_table
from imagenet_methods import preprocess
from measure import read, write
from PIL import Image

import innvestigate
from innvestigate.evaluation import (
    Complexity,
    Deletion,
    Insertion,
    Metric,
    RegionPerturbation,
    Road,
    Sparseness,
    evaluate,
)

SAMPLES, LIMIT = 210, 180
BATCH = 25  # larger ones take longer for a sample: most of it is the system handing out memory
CANDIDATES, CONFIDENT = 240, 0.5  # crops of a photograph, of which those with such a probability
MOST = 60  # of them
FOLDERS = {
    Path(skimage.__file__).parent / "data": (
        *("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg"),
        *("motorcycle_left.png", "rocket.jpg"),
    ),
    Path(sklearn.__file__).parent / "datasets" / "images": ("china.jpg", "flower.jpg"),
    Path(mpl.get_data_path()) / "sample_data": ("grace_hopper.jpg",),
}
ORDERS = ("most_relevant", "least_relevant")


def crops(path: Path, size: int) -> np.ndarray:
    """Random squares of a photograph, 0.4 to 1 of its shorter side wide, half of them mirrored."""
    image, random = Image.open(path).convert("RGB"), np.random.default_rng(0)
    found = []
    for _ in range(CANDIDATES):
        side = round(random.uniform(0.4, 1) * min(image.size))
        left, top = (random.integers(length - side + 1) for length in image.size)
        box = (left, top, left + side, top + side)
        piece = np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box=box))
        found.append(piece[:, ::-1] if random.integers(2) else piece)
    return np.stack(found)


def confident_crops(model: keras.Model, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops, one of each photograph after the other, and the name of the photograph of each."""
    rows = []
    for folder, names in FOLDERS.items():
        for name in names:
            pieces = preprocess(crops(folder / name, model.input_shape[1]))
            sure = model.predict(pieces, batch_size=BATCH, verbose=0).max(axis=1) >= CONFIDENT
            print(f"{name}: {sure.sum()} of {len(sure)} crops are recognised", flush=True)
            rows += [(rank, name, piece) for rank, piece in enumerate(pieces[sure][:MOST])]
    rows.sort(key=lambda row: row[0])
    names, pieces = [row[1] for row in rows[:count]], [row[2] for row in rows[:count]]
    return np.stack(pieces), np.array(names)


def many_photographs(count: int) -> tuple[Data, np.ndarray, Callable]:
    """The network for photographs, crops, their photographs, and the metrics of orders."""
    data = photographs()
    data.model.compile(jit_compile=False)  # XLA is eight times slower here on a processor
    x, names = confident_crops(data.model, count)

    def curves(*orders: str) -> list[Metric]:
        return [
            RegionPerturbation(region_shape=32, regions_per_step=10, orders=orders[:1]),
            Insertion(region_shape=32, regions_per_step=10, orders=orders[:1]),
        ]

    return replace(data, x=x), names, curves


def many_digits(count: int) -> tuple[Data, np.ndarray, Callable]:
    """The network for digits, digits new to it, each for itself, and the metrics of orders."""
    data = mnist()

    def curves(*orders: str) -> list[Metric]:
        return [
            RegionPerturbation(region_shape=4, regions_per_step=5, orders=orders),
            Deletion(region_shape=4, regions_per_step=5, orders=orders[:1]),
            Insertion(region_shape=4, regions_per_step=5, orders=orders[:1]),
            Road(fractions=(0.1, 0.2, 0.3, 0.5, 0.7), orders=orders[:1]),
        ]

    return replace(data, x=data.x[:count]), np.arange(count).astype(str), curves


DATA = {"photographs": many_photographs, "digits": many_digits}


def measure(data: Data, curves: Callable, method: str, limit: float, kept: dict) -> dict:
    """The numbers of each sample by metric, of as many samples as there is time for.

    Args:
        data: The network and the samples.
        curves: Makes the metrics of orders.
        method: The method.
        limit: Seconds that it gets, those of earlier runs included.
        kept: What earlier runs have found.
    """
    start = time.perf_counter() - kept.get("seconds", 0)
    if method == RANDOM:
        given, metrics = np.zeros_like(data.x), curves("random")
    else:
        given = data.create(method, data.model)
        metrics = [*curves(*ORDERS), Sparseness(), Complexity()]
    options = {"batch_size": BATCH, "seed": 0, "verbose": 0}
    values = kept.get("values", {})
    done = len(next(iter(values.values()), []))
    parts, size = [], min(2, len(data.x) - done)  # the first part compiles the method
    while size > 0:
        began, rows = time.perf_counter(), slice(done, done + size)
        own = {"given": given[rows] if method == RANDOM else given}
        parts.append(evaluate(data.model, own, data.x[rows], metrics=metrics, **options).samples)
        now, done = time.perf_counter(), done + size
        each = (now - began) / size
        size = min(4 * size, len(data.x) - done, int((limit - (now - start)) / each))
    found = pd.concat(parts).groupby("metric", sort=False)["value"]
    return {
        "values": {name: values.get(name, []) + new.round(5).tolist() for name, new in found},
        "seconds": round(time.perf_counter() - start, 1),
    }


def is_missing(kept: dict | None, samples: int, limit: float) -> bool:
    """Whether samples are left that there is time for."""
    if kept is None or "values" not in kept:
        return kept is None
    return len(next(iter(kept["values"].values()))) < samples and kept["seconds"] < 0.9 * limit


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--limit", type=float, default=LIMIT)
    arguments = parser.parse_args()
    short = HERE.parent / "demo" / f"evaluation_many_{arguments.samples}.json"
    path = HERE / "results" / "evaluation_many.json" if arguments.samples == SAMPLES else short
    results = read(path)
    for name in arguments.data.split(","):
        data, clusters, curves = DATA[name](arguments.samples)
        done = results.setdefault(name, {"methods": {}})["methods"]
        results[name]["clusters"] = clusters.tolist()
        for method in [RANDOM, *arguments.methods.split(",")]:
            if is_missing(done.get(method), len(data.x), arguments.limit):
                try:
                    kept = done.get(method, {})
                    done[method] = measure(data, curves, method, arguments.limit, kept)
                except (TypeError, ValueError, innvestigate.NoRuleError) as error:
                    done[method] = {"failed": str(error)[:300]}
                write(path, results)
                keras.backend.clear_session()
            print(name, method, done[method].get("seconds", done[method].get("failed")), flush=True)
        print(f"\n{name}: {len(clusters)} samples of {len(set(clusters))} clusters\n")
        print(score_table(done, clusters))


if __name__ == "__main__":
    main()
