"""Does a heatmap depend on what the model has learned?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pandas as pd

from innvestigate.evaluation.metric import Metric, correlation, mean_and_error
from innvestigate.evaluation.subject import Subject
from innvestigate.utils.arguments import check_choices, numbers_of, settle
from innvestigate.utils.words import shown

MODES = ("cascading", "independent")
SIMILARITIES = ("signed", "absolute")


@dataclass(frozen=True)
class Randomization(Metric):
    """Model-parameter randomisation: how similar a heatmap stays when the weights are shuffled.

    The entries of each weight of a layer are shuffled: what it has learned is gone, the scale
    stays. `"cascading"` does so layer by layer from the output down, `"independent"` to one layer
    at a time. At each stage the same neurons are explained, and the relevance is compared with that
    of the model as it is, by Spearman's rank correlation: `"signed"` of the relevance, `"absolute"`
    of its absolute values. A heatmap that stays similar does not show what the model has learned.
    It is 0 where nothing varies, NaN where the relevance of the shuffled model is not finite.

    Weights are shuffled in a copy of the model. An analyzer is rebuilt on it; what must be fitted
    cannot be: pass a function that makes and fits the analyzer, which is called at every stage.

    Args:
        modes: Out of `"cascading"` and `"independent"`.
        layers: Names of the layers at which to look; by default all that have weights. From the
            output down all the layers are shuffled, whether they are looked at or not.

    Reference: Adebayo et al. 2018, "Sanity Checks for Saliency Maps", section 3.
    """

    modes: tuple = MODES
    layers: tuple | None = None

    def __post_init__(self):
        settle(self, modes=check_choices("modes", self.modes, MODES))
        if self.layers is not None and not _are_names(self.layers):
            raise ValueError(f"layers must be names of layers. Received: {shown(self.layers)}.")

    def begin(self, model: keras.Model, seed: int) -> Metric:
        """One run, which copies the model."""
        return _Run(self, model, seed)


def _are_names(layers: Any) -> bool:
    several = isinstance(layers, (list, tuple)) and len(layers) > 0
    return several and all(isinstance(name, str) for name in layers)


class _Run(Metric):
    """One run of the metric.

    Args:
        metric: The metric.
        model: The model, which stays as it is.
        seed: Seed of the shuffles.
    """

    def __init__(self, metric: Randomization, model: keras.Model, seed: int):
        self._metric = metric
        self._shuffled = Shuffled(model, metric.layers, seed)
        self._analyzers: dict[str, Callable[[], Any]] = {}

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """Similarities by mode and kind, `(n, stages)`."""
        name = subject.method.name
        if name not in self._analyzers:
            self._analyzers[name] = subject.method.on(self._shuffled.model)
        plain, modes, stages = subject.relevance, self._metric.modes, len(self._shuffled.names)
        found = {}
        for mode, part in zip(modes, subject.parts(len(modes)), strict=True):
            signed, absolute = [], []
            for _, at in zip(self._shuffled.stages(mode), part.parts(stages), strict=True):
                relevance = subject.explain(self._analyzers[name]())[0]
                signed.append(rank_correlation(plain, relevance))
                absolute.append(rank_correlation(np.abs(plain), np.abs(relevance)))
                at.progress.finish()
            found[f"{mode}_signed"] = np.stack(signed, axis=1)
            found[f"{mode}_absolute"] = np.stack(absolute, axis=1)
        return found

    def values(self, measured: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The mean similarity over all stages."""
        return {f"randomization_{name}": y.mean(axis=1) for name, y in measured.items()}

    def tables(
        self, method: str, measured: dict[str, np.ndarray], shape: tuple
    ) -> dict[str, list[pd.DataFrame]]:
        """The stages: method, mode, step, layer, similarity, mean, error."""
        found = []
        for mode in self._metric.modes:
            for similarity in SIMILARITIES if measured else ():
                mean, error = mean_and_error(measured[f"{mode}_{similarity}"])
                columns = {
                    "method": method,
                    "mode": mode,
                    "step": np.arange(1, len(mean) + 1),
                    "layer": self._shuffled.names,
                    "similarity": similarity,
                    "mean": mean,
                    "error": error,
                }
                found.append(pd.DataFrame(columns))
        return {"randomization": found}


class Shuffled:
    """A copy of a model, whose weights are shuffled layer by layer.

    Args:
        model: The model, which stays as it is.
        layers: Names of the layers to stop at, or None for all with weights.
        seed: Seed of the shuffles.

    Attributes:
        model: The copy.
        names: The names of the layers that are stopped at, from the output down.

    Raises:
        ValueError: If the model cannot be copied, or has no such layers.
    """

    def __init__(self, model: keras.Model, layers: tuple | None, seed: int):
        self.model, self._seed = copied(model), seed
        self._layers = list(_with_weights(self.model))[::-1]
        names = [layer.name for layer in self._layers]
        if not names:
            raise ValueError(f"The model {model.name!r} has no weights to shuffle.")
        unknown = [name for name in layers or () if name not in names]
        if unknown:
            raise ValueError(
                f"layers holds {unknown}, which the model has not, or without weights. "
                f"Expected: names out of {names[::-1]}."
            )
        self.names = [name for name in names if layers is None or name in layers]
        self._learned = [layer.get_weights() for layer in self._layers]

    def stages(self, mode: str) -> Iterator[str]:
        """Shuffle one layer after the other, and stop at those that are looked at.

        Args:
            mode: `"cascading"` keeps shuffled what was; `"independent"` restores it.

        Yields:
            The name of the layer that was shuffled.
        """
        try:
            for i, layer in enumerate(self._layers):
                stop = layer.name in self.names
                if stop or mode == "cascading":
                    layer.set_weights(self._shuffle(i))
                if stop:
                    yield layer.name
                if mode == "independent":
                    layer.set_weights(self._learned[i])
        finally:
            for layer, weights in zip(self._layers, self._learned, strict=True):
                layer.set_weights(weights)

    def _shuffle(self, i: int) -> list[np.ndarray]:
        return [
            np.random.default_rng((self._seed, i, k)).permutation(w.reshape(-1)).reshape(w.shape)
            for k, w in enumerate(self._learned[i])
        ]


def copied(model: keras.Model) -> keras.Model:
    """A copy of a model with the same weights and no variable in common.

    Raises:
        ValueError: If Keras cannot copy it.
    """
    try:
        copy = keras.models.clone_model(model)
        if not copy.built:
            copy.build(model.input_shape)
        copy.set_weights(model.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Keras cannot copy the model {model.name!r}, whose weights are to be shuffled. Give "
            "its class, and the layers of your own in it, a get_config() that returns their "
            "arguments; pass the model itself, not one that innvestigate has made. Keras says: "
            f"{error}"
        ) from error
    if {id(v) for v in copy.variables} & {id(v) for v in model.variables}:
        raise ValueError(f"A copy of the model {model.name!r} shares its variables.")
    return copy


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each sample's values, `(n, *shape)` both; gives `(n,)`.

    Equal values share their mean rank. NaN where a value is not finite; 0 where none varies.

    Raises:
        ValueError: If they are no arrays of numbers in one shape.
    """
    a, b = numbers_of("a", a), numbers_of("b", b)
    if a.shape != b.shape or a.ndim < 1:
        raise ValueError(
            f"a and b must have one shape, (n, *shape). Received: {a.shape} and {b.shape}."
        )
    finite = [np.isfinite(y).reshape(len(y), -1).all(axis=1) for y in (a, b)]
    found = correlation(_ranks(a), _ranks(b))
    return np.where(finite[0] & finite[1], found, np.nan)


def _ranks(values: np.ndarray) -> np.ndarray:
    flat = np.nan_to_num(values.reshape(len(values), -1))
    return np.stack([pd.Series(row).rank().to_numpy() for row in flat])


def _with_weights(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers that own weights, in the order of the model, those of nested models too."""
    seen = set()
    for layer in model.layers:
        inside = _with_weights(layer) if isinstance(layer, keras.Model) else [layer]
        for leaf in inside:
            if leaf.weights and id(leaf) not in seen:
                seen.add(id(leaf))
                yield leaf
