"""Permutation importance: what a model's score is worth without a feature, over a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import tree

from innvestigate.backend import jit_compile
from innvestigate.evaluation.metric import mean_and_error
from innvestigate.evaluation.subject import Inference
from innvestigate.utils.arguments import (
    as_array,
    check_array,
    check_choice,
    check_kind,
    check_number,
    check_seed,
    check_texts,
    check_whole,
    listed,
    numbers_of,
    seed_or_fresh,
)
from innvestigate.utils.batching import as_given, check_batch_size
from innvestigate.utils.features import check_labels, features_of
from innvestigate.utils.structures import SINGLE, columns_in
from innvestigate.utils.words import shown


def accuracy(y: np.ndarray, prediction: np.ndarray) -> float:
    """The share of samples whose class is predicted.

    Args:
        y: Classes as whole numbers from 0, `(samples,)`, or one-hot vectors, `(samples, classes)`.
        prediction: `(samples, classes)`, the largest of which counts; or the probability of the
            second of two classes, `(samples, 1)`, above one half.

    Raises:
        ValueError: If y holds something else, or a prediction is not finite, of another shape or
            no probability.
    """
    y = numbers_of("y, of the score 'accuracy',", y)
    finite = np.isfinite(check_kind("prediction", prediction, np.ndarray, "one array"))
    if not np.all(finite):
        raise ValueError(
            f"The model predicts NaN or infinite values, {np.sum(~finite)} out of {finite.size}: "
            "the score 'accuracy' knows no class of them."
        )
    if prediction.size == len(prediction):
        found, classes = _probabilities(prediction.reshape(-1)) > 0.5, 2
    elif prediction.ndim == 2:
        found, classes = prediction.argmax(axis=1), prediction.shape[1]
        y = _from_one_hot(y) if y.shape == prediction.shape else y
    else:
        raise ValueError(
            "The score 'accuracy' needs predictions of the shape (samples, classes) or (samples, "
            f"1). Received: the shape {prediction.shape}. Pass a function as score."
        )
    wrong = y[~np.isin(y, np.arange(classes))] if y.size == len(y) else ()
    if len(wrong):
        raise ValueError(
            f"The score 'accuracy' needs classes as whole numbers from 0 to {classes - 1} in y. "
            f"Received: {listed(np.unique(wrong).tolist())}."
        )
    return float(np.mean(found == _shaped(y, found.shape)))


def _probabilities(prediction: np.ndarray) -> np.ndarray:
    if np.any((prediction < 0) | (prediction > 1)):
        raise ValueError(
            "The score 'accuracy' of a single output needs its probability. Received numbers "
            f"from {prediction.min():.4g} to {prediction.max():.4g}. Pass a function as score."
        )
    return prediction


def _from_one_hot(y: np.ndarray) -> np.ndarray:
    """The class of each vector."""
    wrong = np.any((y != 0) & (y != 1), axis=1) | (y.sum(axis=1) != 1)
    if np.any(wrong):
        raise ValueError(
            "The score 'accuracy' needs classes as whole numbers in y, or one-hot vectors: a "
            f"single 1 among zeros. Received: {y[wrong][0].tolist()}. Pass a function as score."
        )
    return y.argmax(axis=1)


def negative_squared_error(y: np.ndarray, prediction: np.ndarray) -> float:
    """The mean squared error, negative so that more is better; y as `prediction`."""
    y = check_array("y", y)
    return -float(np.mean(np.square(prediction - _shaped(y, prediction.shape))))


SCORES: dict[str, Callable] = {
    "accuracy": accuracy,
    "neg_mean_squared_error": negative_squared_error,
}
"""Scores by their names in scikit-learn."""
_MOST_REPEATS = 10_000


def permutation_importance(
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    score: Any,
    groups: Any = None,
    names: Any = None,
    repeats: int = 5,
    seed: int | None = None,
    batch_size: int = 32,
) -> pd.DataFrame:
    """How much worse a model predicts where a feature is shuffled among the samples.

    I_j = s(y, f(x)) - (1/K) Σ_k s(y, f(x with feature j of sample π_k(i) in sample i)), s being a
    score and π_k random orders of the samples, the same for all features. It says what the model
    relies on, of all samples together, and needs what is right: a feature without which the model
    predicts as well has no importance, whatever it does to the output. Features that say the same
    stand in for each other: shuffle them together, as a group.

    Args:
        model: A built Keras model; it is never changed.
        x: At least two samples with a batch axis: an array of finite numbers or a data frame of
            them, or a list or dict of these as the model takes it.
        y: What is right, for each sample. For `"accuracy"` classes as whole numbers from 0, or
            one-hot vectors.
        score: `"accuracy"`, `"neg_mean_squared_error"`, or a function `score(y, prediction)` to a
            number of which more is better. `prediction` is what the model returns for all samples.
        groups: Integer labels that broadcast to a sample's shape: what shares a label, also
            across inputs, is shuffled together. A list or dict of these for several inputs, None
            for an input whose every number is a feature, as all are by default.
        names: The names of the features, in their order: groups by their labels, then the rest.
            By default the labels and places, or the columns of data frames.
        repeats: How many orders there are, K.
        seed: Seed of the orders; None for other ones each time.
        batch_size: Samples that are run at a time.

    Returns:
        A table with a row for each feature. Its columns are `feature` (name, label, column or
        place), `size` (how many numbers it has), `mean` (the importance) and `error` (the standard
        error of the mean over the orders, NaN for a single one).

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If an argument does not fit the data, x holds something else than finite
            numbers, y is not what the score needs, or a score is no finite number.

    Reference: Breiman 2001, "Random Forests", section 10; Fisher et al. 2019, "All Models are
    Wrong, but Many are Useful", section 3.

    Example:
        >>> table = permutation_importance(model, x, labels, score="accuracy", groups=0, seed=0)
    """
    data = _Data.of(x)
    rate = _Rate(model, data, y, score, check_batch_size(batch_size))
    repeats = check_whole("repeats", repeats, 1, _MOST_REPEATS)
    seed = seed_or_fresh(check_seed(seed))
    labels, known, sizes = data.features(groups)
    given = known if names is None else _checked(names, len(known))
    orders = [np.random.default_rng((seed, k)).permutation(data.count) for k in range(repeats)]
    whole = rate(orders[0], [np.zeros(1, bool)] * len(labels))
    drops = [
        [whole - rate(order, [label == i for label in labels]) for i in range(len(sizes))]
        for order in orders
    ]
    mean, error = mean_and_error(np.array(drops))
    return pd.DataFrame({"feature": given, "size": sizes, "mean": mean, "error": error})


def _checked(names: Any, count: int) -> list[str]:
    """The names of as many features."""
    found = check_texts("names", names)
    if len(found) != count:
        raise ValueError(f"There are {len(found)} names for {count} features.")
    return found


@dataclass(frozen=True)
class _Data:
    """Samples of one or several inputs.

    Attributes:
        given: The structure that they came in.
        names: The names of the inputs, or their numbers.
        arrays: What each of them holds.
        columns: The columns of those that are data frames, by their names.
    """

    given: Any
    names: list[str]
    arrays: list[np.ndarray]
    columns: dict[str, list[str]]

    @classmethod
    def of(cls, x: Any) -> _Data:
        x = as_given(x)
        several = isinstance(x, (dict, list, tuple)) and not _is_nested_list(x)
        pairs = (x.items() if isinstance(x, dict) else enumerate(x)) if several else [("", x)]
        parts = {str(name): part for name, part in pairs}
        named = {name: _finite(f"x {name}".rstrip(), part) for name, part in parts.items()}
        counts = {a.shape[:1] for a in named.values()}
        if len(counts) != 1 or () in counts or min(counts)[0] < 2:
            raise ValueError(
                "x must hold at least two samples, the same number for each input. Received the "
                f"shapes: {[a.shape for a in named.values()]}."
            )
        return cls(x if several else None, list(named), list(named.values()), columns_in(parts))

    @property
    def count(self) -> int:
        return len(self.arrays[0])

    def restored(self, arrays: list[np.ndarray]) -> Any:
        """Arrays in the structure of the data."""
        if self.given is None:
            return arrays[0]
        if isinstance(self.given, dict):
            return dict(zip(self.given, arrays, strict=True))
        return list(arrays)

    def features(self, groups: Any) -> tuple[list[np.ndarray], list[str], np.ndarray]:
        """The feature of each number, for each input; the features' names and sizes."""
        shapes = [a.shape[1:] for a in self.arrays]
        given = self._each(groups)
        labels = [
            np.arange(prod(shape)).reshape(shape) if g is None else check_labels(n, shape, g)
            for n, shape, g in zip(self.names, shapes, given, strict=True)
        ]
        ((_, found),) = features_of([label[None] for label in labels], [g is None for g in given])
        names = [""] * len(found)
        for name, own, label, number in zip(self.names, given, labels, found.labels, strict=True):
            columns = self.columns.get(name or SINGLE)
            for place in np.ndindex(label.shape):
                where = columns[place[0]] if columns and place else ", ".join(map(str, place))
                told = f"{name}/{where}" if self.given is not None else where
                names[number[0][place]] = told if own is None else str(label[place])
        return [number[0] for number in found.labels], names, found.sizes[0]

    def _each(self, groups: Any) -> list:
        """The groups of each input."""
        if self.given is None or not isinstance(groups, (dict, list, tuple)):
            return [groups] * len(self.names)
        named = groups if isinstance(groups, dict) else dict(zip(self.names, groups, strict=False))
        if {str(name) for name in named} != {*self.names} or len(groups) != len(self.names):
            raise ValueError(
                f"groups must have an entry for each input of x: {self.names}. Received: "
                f"{shown(groups)}."
            )
        return [{str(name): value for name, value in named.items()}[name] for name in self.names]


class _Rate:
    """The score of a model where features are those of other samples."""

    def __init__(self, model, data: _Data, y: Any, score: Any, batch_size: int):
        check_kind("model", model, keras.Model, "a Keras model")
        self._score = score if callable(score) else SCORES[check_choice("score", score, SCORES)]
        self._data, self._y, self._batch_size = data, as_array("y", y), batch_size
        if self._y.shape[:1] != (data.count,):
            raise ValueError(
                f"y needs an entry for each of the {data.count} samples. Received: the shape "
                f"{self._y.shape}."
            )
        self._model = Inference(model)
        self._model.compile(jit_compile=jit_compile)

    def __call__(self, order: np.ndarray, shuffled: list[np.ndarray]) -> float:
        """The score.

        Args:
            order: For each sample the one whose features it has.
            shuffled: For each input which of a sample's numbers these are.
        """
        found = []
        for start in range(0, len(order), self._batch_size):
            rows = slice(start, start + self._batch_size)
            parts = zip(self._data.arrays, shuffled, strict=True)
            inputs = [np.where(mask, a[order[rows]], a[rows]) for a, mask in parts]
            found.append(self._model.predict_on_batch(self._data.restored(inputs)))
        prediction = tree.map_structure(lambda *parts: np.concatenate(parts), *found)
        return check_number("score(y, prediction)", self._score(self._y, prediction))


def _finite(name: str, part: Any) -> np.ndarray:
    """An input as an array, if it holds finite numbers."""
    array = as_array(name, part)
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{name} must hold numbers. Received: entries of the type {array.dtype}. Of a data "
            "frame leave out or encode the columns that hold none, and pass "
            ".to_numpy('float32') where others are of several types."
        )
    return check_array(name, array)


def _is_nested_list(x: Any) -> bool:
    """Whether a list or tuple is one array, written out."""
    return isinstance(x, (list, tuple)) and not all(hasattr(part, "shape") for part in x)


def _shaped(y: np.ndarray, shape: tuple) -> np.ndarray:
    """y in the shape of what is predicted, up to axes of size one."""
    if [n for n in y.shape if n != 1] != [n for n in shape if n != 1]:
        raise ValueError(
            f"y of the shape {y.shape} does not fit predictions of the shape {shape}. A function "
            "as score takes both as they are."
        )
    return y.reshape(shape)
