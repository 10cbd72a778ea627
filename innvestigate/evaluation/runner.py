"""Runs methods and metrics over data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import pandas as pd

from innvestigate.evaluation.concision import Complexity, Sparseness
from innvestigate.evaluation.faithfulness import Infidelity, SensitivityN
from innvestigate.evaluation.method import Method
from innvestigate.evaluation.metric import Metric, mean_and_error
from innvestigate.evaluation.perturbation import Deletion, Insertion, RegionPerturbation
from innvestigate.evaluation.randomization import Randomization
from innvestigate.evaluation.road import Road
from innvestigate.evaluation.robustness import MaxSensitivity
from innvestigate.evaluation.subject import Forward, Subject, flat_neuron
from innvestigate.utils.arguments import (
    as_array,
    check_keys,
    check_seed,
    check_whole,
    seed_or_fresh,
)
from innvestigate.utils.batching import is_dataset, map_batches
from innvestigate.utils.words import shown

METRICS: dict[str, type[Metric]] = {
    "region_perturbation": RegionPerturbation,
    "deletion": Deletion,
    "insertion": Insertion,
    "road": Road,
    "randomization": Randomization,
    "sensitivity_n": SensitivityN,
    "infidelity": Infidelity,
    "max_sensitivity": MaxSensitivity,
    "sparseness": Sparseness,
    "complexity": Complexity,
}
"""The metrics that need nothing but samples, by name."""
RANDOM = "random order"  # what a method must beat
_COLUMNS = {
    "scores": ["method", "metric", "mean", "error", "samples"],
    "curves": ["method", "metric", "order", "step", "fraction", "mean", "error"],
    "randomization": ["method", "mode", "step", "layer", "similarity", "mean", "error"],
    "samples": ["method", "metric", "sample", "value"],
}


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` has found, as tidy tables.

    Attributes:
        scores: One row for each method and metric: `method, metric, mean, error, samples`. The
            error is the standard error over samples.
        curves: Of `RegionPerturbation`, `Deletion`, `Insertion` and `Road`:
            `method, metric, order, step, fraction, mean, error`, where the fraction is that of the
            regions replaced (put back, for `Insertion`). Empty without them.
        randomization: Of `Randomization`: `method, mode, step, layer, similarity, mean, error`.
            Empty without it.
        samples: One row for each sample: `method, metric, sample, value`.
    """

    scores: pd.DataFrame
    curves: pd.DataFrame
    randomization: pd.DataFrame
    samples: pd.DataFrame


def evaluate(
    model: keras.Model,
    methods: Mapping[str, Any],
    x: Any,
    neuron: Any = None,
    *,
    metrics: Any = "region_perturbation",
    batch_size: int = 32,
    seed: int | None = None,
    verbose: int = 1,
) -> Evaluation:
    """Compare methods on data: one table with a row for each method and metric.

    The data are run batch by batch. Analyzers that draw noise for the number of a sample count anew
    in each batch. By default each sample costs 40 forward passes for each method, and 20 for the
    random order: two images and three methods on a network of the size of MobileNet take about ten
    seconds on two cores. `metrics=RegionPerturbation(regions_per_step=1)` draws finer curves.

    Args:
        model: The model whose output is followed, with one input and one output: a probability
            or a logit, as it gives. It is never changed.
        methods: By name, analyzers of the model in the mode `"max_activation"` or `"index"`;
            functions that make one of a model; or arrays with the relevance of all samples.
        x: Samples with a batch axis, or a data set of batches, as for `analyze`.
        neuron: The output neuron that is explained and followed: an index, or one for each
            sample. By default the largest output of each sample as it is.
        metrics: Names out of `METRICS`, metrics such as `RegionPerturbation(region_shape=4)` or
            `PointingGame(boxes=boxes)`, or a list of these.
        batch_size: Rows that are run at a time; data sets bring their own batches of samples.
        seed: Seed of all that is random; None for other numbers each time.
        verbose: 1 shows a progress bar, 0 none.

    Returns:
        The tables. The method `"random order"` is what methods must beat, for metrics that have
        such a baseline.

    Raises:
        TypeError: If an argument is of the wrong kind, or a metric needs an analyzer where only
            relevance is given.
        ValueError: If an argument does not fit the model or the data.

    Example:
        >>> methods = {name: innvestigate.create_analyzer(name, model) for name in names}
        >>> found = evaluate(model, methods, x, metrics=RegionPerturbation(region_shape=4), seed=0)
        >>> found.scores
    """
    metrics = _as_metrics(metrics)
    seed = seed_or_fresh(check_seed(seed))
    batch_size = check_whole("batch_size", batch_size, 1)
    forward = Forward(model, batch_size)
    given = _as_methods(methods, model, batch_size, neuron)
    running = [metric.begin(model, seed) for metric in metrics]
    shapes: set[tuple] = set()

    def run(batch, offset, progress):
        subject = _subject(forward, batch, neuron, offset, batch_size, seed)
        shapes.add(_the_same(subject.x.shape[1:], shapes))
        subjects = replace(subject, progress=progress).parts(1 + len(given))
        found = [_each(lambda metric, part: metric.baseline(part), running, next(subjects))]
        for method, subject in zip(given, subjects, strict=True):
            relevance = method.relevance(subject.x, subject.neuron, forward.output_shape, offset)
            asked = replace(subject, relevance=relevance, method=method)
            found.append(_each(lambda metric, part: metric.measure(part), running, asked))
        return found, subject.numbers

    x = x if is_dataset(x) else _as_samples(x, 0)
    found, numbers = map_batches(run, x, batch_size, verbose)
    _check_counts(given, running, neuron, len(numbers))
    names = [RANDOM, *(method.name for method in given)]
    return _tables(names, running, found, shapes.pop())


def _each(measure: Callable, metrics: list[Metric], subject: Subject) -> list:
    """What a function of a metric and a subject returns for each metric."""
    parts = zip(metrics, subject.parts(len(metrics)), strict=True)
    found = []
    for metric, part in parts:
        found.append(measure(metric, part))
        part.progress.finish()
    return found


def _subject(
    forward: Forward, batch: Any, neuron: Any, offset: int, batch_size: int, seed: int
) -> Subject:
    """The samples of a batch, with the neuron of each."""
    x = forward.check(_as_samples(batch, offset))
    output = forward(x)
    bad = np.flatnonzero(~np.isfinite(output).all(axis=1)) + offset
    if len(bad):
        raise ValueError(f"The model's output is not finite in sample {bad[:10].tolist()}.")
    if neuron is None:
        index = output.argmax(axis=1)
    else:
        index = flat_neuron(neuron, forward.output_shape, offset, len(x))
    explained = output[np.arange(len(x)), index].astype("float64")
    return Subject(x, index, explained, offset + np.arange(len(x)), forward, batch_size, seed)


def _as_samples(batch: Any, offset: int) -> np.ndarray:
    if isinstance(batch, (dict, list, tuple)):
        raise ValueError(
            "evaluate takes one array of samples, or a data set of them. Received: a "
            f"{type(batch).__name__}. Wrap a model of several inputs in one of a single input."
        )
    x = as_array("x", batch)
    if x.dtype.kind not in "fiub" or x.ndim < 2:
        raise ValueError(
            "evaluate takes an array of numbers with a batch axis. Received: shape "
            f"{x.shape}, type {x.dtype}."
        )
    bad = np.flatnonzero(~np.isfinite(x).all(axis=tuple(range(1, x.ndim)))) + offset
    if len(bad):
        raise ValueError(
            f"x holds NaN or infinite values in sample {bad[:10].tolist()}. Remove or repair it."
        )
    return x


def _the_same(shape: tuple, shapes: set) -> tuple:
    if shapes and shape not in shapes:
        raise ValueError(
            f"All samples need one shape, as curves are averaged over them. Received: {shape} "
            f"after {shapes.pop()}. Pad them."
        )
    return shape


def _as_metrics(given: Any) -> list[Metric]:
    given = list(given) if isinstance(given, (list, tuple)) else [given]
    found = []
    for metric in given:
        if isinstance(metric, str) and metric in METRICS:
            metric = METRICS[metric]()
        if not isinstance(metric, Metric):
            raise ValueError(
                f"Unknown metric: {shown(metric)}. Expected in metrics: {', '.join(METRICS)}; or "
                "some with arguments, such as RegionPerturbation(region_shape=4)."
            )
        found.append(metric)
    if len({type(metric) for metric in found}) < len(found) or not found:
        raise ValueError(
            f"metrics needs at least one metric, and each once. Received: {shown(given)}. Call "
            "evaluate again for the same metric with other arguments."
        )
    return found


def _as_methods(given: Any, model: keras.Model, batch_size: int, neuron: Any) -> list[Method]:
    given = check_keys("methods", given)
    if not given or RANDOM in given:
        raise ValueError(
            f"methods needs at least one entry, none of them called {RANDOM!r}. Received: "
            f"{list(given)}."
        )
    found = [Method(name, entry, model, batch_size) for name, entry in given.items()]
    for method in found:
        method.check_neuron(neuron)
    return found


def _check_counts(methods: list[Method], metrics: list[Metric], neuron: Any, samples: int) -> None:
    """Refuse relevance, objects and neurons of more samples than there are."""
    counts = {f"The relevance by {m.name!r}": m.count for m in methods if m.count is not None}
    counts |= {
        f"What {type(m).__name__} was given": m.count for m in metrics if m.count is not None
    }
    if np.ndim(neuron) == 2 or (np.ndim(neuron) == 1 and not isinstance(neuron, tuple)):
        counts["neuron"] = len(neuron)
    for what, count in counts.items():
        if count != samples:
            raise ValueError(f"{what} is for {count} samples. Received: {samples} samples.")


def _tables(names: list[str], metrics: list[Metric], found: list, shape: tuple) -> Evaluation:
    """What was found, `found[method][metric]`, as tables."""
    parts = {name: [pd.DataFrame(columns=columns)] for name, columns in _COLUMNS.items()}
    for name, by_metric in zip(names, found, strict=True):
        for metric, measured in zip(metrics, by_metric, strict=True):
            for key, values in metric.values(measured).items():
                mean, error = mean_and_error(values)
                one = {"method": [name], "metric": key}
                score = {"mean": mean, "error": error, "samples": len(values)}
                each = {"method": name, "metric": key, "sample": np.arange(len(values))}
                parts["scores"].append(pd.DataFrame(one | score))
                parts["samples"].append(pd.DataFrame(each | {"value": values}))
            for table, more in metric.tables(name, measured, shape).items():
                parts[table].extend(more)
    return Evaluation(**{name: _joined(tables) for name, tables in parts.items()})


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(tables[1:], ignore_index=True) if len(tables) > 1 else tables[0]
