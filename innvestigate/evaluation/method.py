"""The methods that are evaluated: analyzers, functions that create them, or their results."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from innvestigate.utils.arguments import as_array
from innvestigate.utils.words import shown


class Method:
    """One entry of what the user wants compared.

    Args:
        name: Its name.
        given: An analyzer; a function that makes one of a model; or the relevance of all samples.
        model: The model that is explained.
        batch_size: Rows that are run at a time.

    Raises:
        TypeError: If `given` is none of these.
        ValueError: If the analyzer does not explain one neuron of each sample.
    """

    def __init__(self, name: str, given: Any, model: keras.Model, batch_size: int):
        self.name, self._model, self._batch_size = name, model, batch_size
        self._array: np.ndarray | None = None
        self._create: Any = None
        self._fixed: Any = None
        if hasattr(given, "analyze"):
            self._analyzer = given
        elif callable(given):
            self._create, self._analyzer = given, given(model)
        else:
            self._analyzer, self._array = None, _as_relevance(name, given)
        self._mode = getattr(self._analyzer, "neuron_selection_mode", "index")
        if self._mode not in ("index", "max_activation"):
            raise ValueError(
                f"evaluate follows one neuron of each sample. Received: the analyzer {name!r} "
                f"with neuron_selection_mode={self._mode!r}. Expected: 'max_activation' or 'index'."
            )

    @property
    def count(self) -> int | None:
        """The number of samples, where the relevance was given."""
        return None if self._array is None else len(self._array)

    def check_neuron(self, neuron: Any) -> None:
        """Refuse a chosen neuron if the analyzer chooses its own.

        Raises:
            ValueError: If it does.
        """
        if neuron is not None and self._mode == "max_activation":
            raise ValueError(
                f"neuron was given, but the analyzer {self.name!r} explains the largest output. "
                "Create it with neuron_selection_mode='index'."
            )

    def relevance(self, x: np.ndarray, neuron: np.ndarray, shape: tuple, offset: int) -> np.ndarray:
        """What the method says of a batch of samples.

        Args:
            x: The samples.
            neuron: Indices of the explained neurons into the flattened output, `(n,)`.
            shape: Shape of a sample's output.
            offset: Samples before the batch.

        Raises:
            ValueError: If the relevance is not finite or not of the shape of x.
        """
        if self._array is not None:
            found = self._array[offset : offset + len(x)]
        else:
            found = self.ask(self._analyzer, x, neuron, shape)
        if np.shape(found) != x.shape:
            raise ValueError(
                f"The relevance by {self.name!r} must have the shape of the samples, {x.shape}. "
                f"Received: {np.shape(found)}."
            )
        bad = np.flatnonzero(~np.isfinite(found).reshape(len(x), -1).all(axis=1)) + offset
        if len(bad):
            raise ValueError(
                f"The relevance by {self.name!r} is not finite in sample "
                f"{', '.join(map(str, bad[:10]))}: it has no order. Choose arguments that give "
                "every feature a finite value."
            )
        return found

    def ask(self, analyzer: Any, x: np.ndarray, neuron: np.ndarray, shape: tuple) -> np.ndarray:
        """The relevance that an analyzer gives for a batch; the arguments are as above."""
        if getattr(analyzer, "neuron_selection_mode", "index") == "max_activation":
            return analyzer.analyze(x, batch_size=self._batch_size)
        index = np.stack(np.unravel_index(neuron, shape), axis=1)
        index = index[:, 0] if len(shape) == 1 else index
        return analyzer.analyze(x, index, batch_size=self._batch_size)

    def fixed(self) -> Any:
        """The analyzer, for neurons that are given to it.

        Raises:
            TypeError: If only the relevance is known.
        """
        self._need_analyzer()
        if self._fixed is None:
            choosing = self._mode == "max_activation"
            self._fixed = _rebuilt(self._analyzer) if choosing else self._analyzer
        return self._fixed

    def on(self, model: keras.Model) -> Callable[[], Any]:
        """Returns what gives the analyzer on another model, whose weights may change.

        An analyzer is rebuilt once, as it shares the model's weights. A function is called anew
        each time, so that what is fitted is fitted to the weights as they are.

        Raises:
            TypeError: If only the relevance is known, or the analyzer cannot be rebuilt.
        """
        self._need_analyzer()
        if self._create is not None:
            return lambda: _for_index(self._create(model))
        if not hasattr(self._analyzer, "rebuilt") or hasattr(self._analyzer, "fit"):
            raise TypeError(
                f"The method {self.name!r} cannot be rebuilt on another model, or would have to be "
                "fitted there. Pass a function that makes (and fits) the analyzer of a model, in "
                "place of the analyzer."
            )
        rebuilt = _rebuilt(self._analyzer, model)
        return lambda: rebuilt

    def _need_analyzer(self) -> None:
        if self._analyzer is None:
            raise TypeError(
                f"This metric runs the method anew. Received: the relevance by {self.name!r}. "
                "Pass its analyzer."
            )


def _for_index(analyzer: Any) -> Any:
    choosing = getattr(analyzer, "neuron_selection_mode", "index") == "max_activation"
    return _rebuilt(analyzer) if choosing else analyzer


def _rebuilt(analyzer: Any, model: keras.Model | None = None) -> Any:
    """The same analyzer in the mode "index"; its warnings have been given before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return analyzer.rebuilt(model, neuron_selection_mode="index")


def _as_relevance(name: str, given: Any) -> np.ndarray:
    array = as_array(f"The relevance by {name!r}", given)
    if not array.ndim or array.dtype.kind not in "fiu":
        raise TypeError(
            f"The method {name!r} must be an analyzer, a function that makes one of a model, or "
            f"an array of the relevance of all samples. Received: {shown(given)}."
        )
    return array
