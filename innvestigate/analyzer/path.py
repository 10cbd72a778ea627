"""Analyzers that average another one along a path from a reference to the input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np

from innvestigate.analyzer.gradient import GradientAnalyzer, inner_gradient
from innvestigate.analyzer.quadrature import borders, quadrature_rule
from innvestigate.backend import run_batch
from innvestigate.engine.batch import Batch, expand, fold
from innvestigate.engine.ledger import Books
from innvestigate.engine.references import References, picked
from innvestigate.engine.wrapper import Wrapper
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.step import Graph
from innvestigate.graph.task import EXPLAINED, INPUT, MAP, Task, at_layers, input_number
from innvestigate.utils.arguments import (
    check_flags,
    check_seed,
    check_whole,
    seed_or_fresh,
)


class _PathAnalyzer(Wrapper):
    """Weighted sum of (x - x') ⊙ A(x' + α (x - x')) over references x' and positions α.

    Args:
        analyzer: See `Wrapper`.
        reference_inputs: See `References`.
        multiply: Whether A is multiplied by x - x'.
    """

    def __init__(
        self, analyzer, reference_inputs, multiply, neuron_selection_mode: str | None = None
    ):
        check_flags(multiply=multiply)
        super().__init__(analyzer, neuron_selection_mode)
        if multiply and MAP in self.task.targets:
            raise ValueError(
                f"{type(analyzer).__name__} with upsample=False returns a map that lies on no "
                "input, and nothing that could be multiplied by the path. Pass multiply=False, or "
                "leave upsample=False out."
            )
        self._multiply = multiply
        self._forwards: dict[Task, keras.Model] = {}
        self._references = References(reference_inputs, self.input_spec)

    @abstractmethod
    def _count(self, references: int) -> int:
        """How many points there are for each sample, given its number of references."""

    @abstractmethod
    def _borders(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the parts of the path begin and end that points stand for, `(k,)` each."""

    @abstractmethod
    def _points(self, points: np.ndarray, samples: np.ndarray, references: int) -> tuple:
        """The reference, the position α and the weight of some points, `(k, rows)` each."""

    def check_count(self, count: int | None) -> None:
        super().check_count(count)
        self._references.check_count(count)

    def booked(self, batch: Batch, books: Books) -> dict[str, np.ndarray]:
        start = self.continuous(batch.inputs)
        references, ends = self._references.of(batch), []
        for k in range(references[0].shape[1]):
            end = self.continuous([r[:, k] for r in references])
            inputs = [end[i] if i in self.varied else x for i, x in enumerate(start)]
            ends.append(self.explained_at(batch, inputs))
        change = self.explained_at(batch, start) - np.mean(ends, axis=0)
        return self.explain(batch) | {EXPLAINED: change}

    def reduced(self, batch: Batch, start: Batch) -> dict[str, np.ndarray]:
        given = start.inputs[: len(batch.inputs)]
        references = self._references.of(replace(batch, inputs=given))
        count = references[0].shape[1]
        totals: dict[str, Any] = {}
        for points, rows in expand(start, self._count(count)):
            which, position, weight = self._points(points, batch.samples, count)
            ends = self.continuous([picked(r, which) for r in references])
            away = {i: rows.inputs[i] - ends[i] for i in self.varied}
            at = partial(_on_the_way, rows.inputs, ends, away)
            found = self.inner(replace(rows, inputs=at(position)))
            speeds = self._speeds(list(found), away, at, points, len(batch))
            for name, y in found.items():
                part = fold(_column(weight, y) * speeds[name] * y, len(points))
                totals[name] = totals.get(name, 0) + part.sum(axis=0, dtype="float64")
        return totals

    def _speeds(self, names: list[str], away: dict, at: Callable, points, rows: int) -> dict:
        """How fast each tensor moves along the path, d/dα, in the part that a point stands for."""
        inputs = [name for name in names if name.startswith(INPUT)]
        if not self._multiply:
            return dict.fromkeys(names, 1)
        speeds = {name: away.get(input_number(name), 0) for name in inputs}
        if len(inputs) < len(names):
            start, end = (np.repeat(border, rows) for border in self._borders(points))
            before, after = self._hidden(at(start)), self._hidden(at(end))
            for name, y in after.items():
                speeds[name] = (y - before[name]) / _column(end - start, y)
        return speeds

    def _hidden(self, inputs: list) -> dict[str, np.ndarray]:
        """What the layers that were asked for write."""
        fitted, given = self.asked.fitted(inputs)
        if fitted not in self._forwards:
            hidden = at_layers(fitted.targets)
            graph = Graph(fitted.graph.steps, fitted.graph.flat_inputs, hidden)
            self._forwards[fitted] = build_forward(graph, "hidden")
        found = run_batch(self._forwards[fitted], given)
        return {name: y[: len(inputs[0])] for name, y in found.items()}


def _on_the_way(inputs: list, ends: list, away: dict, position: np.ndarray) -> list:
    """The inputs x' + α (x - x') at positions α of a path; those that do not move as they are."""
    return [
        ends[i] + _column(position, away[i]) * away[i] if i in away else x
        for i, x in enumerate(inputs)
    ]


def _column(values: np.ndarray, array: np.ndarray) -> np.ndarray:
    """One value for each row of an array, in its type and with as many axes."""
    return values.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)


class PathIntegrator(_PathAnalyzer):
    """Any analyzer A, integrated along the straight path from a reference x' to the input x.

    (x - x') ⊙ ∫₀¹ A(x' + α (x - x')) dα, averaged over the references of a sample. With the
    gradient as A these are integrated gradients. The neuron is chosen once, at x. At tokens the
    path runs between the vectors of the reference's token and the sample's (masks are those of
    the sample), and the result is summed over the vector.

    At hidden layers, which A is asked for, it is ∫₀¹ A(α) ⊙ dh/dα dα, h being what the layer
    writes along the path: the conductance of each of its neurons. dh/dα is taken from h at both
    ends of the part of the path that a point stands for, for two forward passes more.

    Args:
        analyzer: The analyzer A; its output and neuron selection hold for the whole path.
        reference_inputs: Where paths start, in any form of `References`.
        steps: How many points the integral is taken from, >= 1 (trapezoid: >= 2).
        quadrature: Where the points lie: `"left"` (k/steps from 0 on), `"right"` (k/steps up to
            1), `"midpoint"`, `"trapezoid"` (both ends, which count half), `"gauss_legendre"` (at
            most 1,000 steps).
        multiply: Whether A is multiplied by x - x' (dh/dα). Without it the result is the mean
            of A along the path, at hidden layers with the gradient as A their internal influence.

    Raises:
        TypeError: If `analyzer` is not an analyzer.
        ValueError: If an argument does not fit, or the model takes tokens and the analyzer cannot
            start from their vectors.

    Reference: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", section 3;
    Dhamdhere et al. 2019, "How Important is a Neuron?", section 2 (conductance); Leino et al. 2018,
    "Influence-Directed Explanations for Deep Convolutional Networks" (internal influence).
    """

    def __init__(
        self,
        analyzer,
        reference_inputs=0,
        steps: int = 64,
        quadrature="midpoint",
        neuron_selection_mode: str | None = None,
        *,
        multiply: bool = True,
    ):
        quadrature_rule(quadrature, steps, np.arange(0))
        self._quadrature, self._steps = quadrature, int(steps)
        super().__init__(analyzer, reference_inputs, multiply, neuron_selection_mode)

    def _count(self, references):
        return references * self._steps

    def _points(self, points, samples, references):
        which, step = np.divmod(points, self._steps)
        positions, shares = quadrature_rule(self._quadrature, self._steps, step)
        return tuple(
            np.repeat(values[:, None], len(samples), axis=1)
            for values in (which, positions, shares / references)
        )

    def _borders(self, points):
        return borders(self._quadrature, self._steps, points % self._steps)


class IntegratedGradients(PathIntegrator):
    """Integrated gradients: (x - x') ⊙ ∫₀¹ ∂(Σ_j w_j y_j)/∂x at x' + α (x - x') dα.

    As `steps` grow, the results of a sample add up to the difference of the explained output at
    the input and (on average) at the references.

    Args:
        model: See `Analyzer`.
        reference_inputs: See `PathIntegrator`.
        steps: See `PathIntegrator`.
        quadrature: See `PathIntegrator`.
        multiply: See `PathIntegrator`.
        neuron_selection_mode: See `Analyzer`.
        **kwargs: See `GradientAnalyzer`.

    Raises:
        ValueError: See `PathIntegrator`.

    Reference: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks".
    """

    kwargs_of = GradientAnalyzer

    def __init__(
        self,
        model,
        reference_inputs=0,
        steps: int = 64,
        quadrature: str = "midpoint",
        *,
        multiply: bool = True,
        neuron_selection_mode: str = "max_activation",
        **kwargs,
    ):
        gradient = inner_gradient(model, neuron_selection_mode, kwargs)
        mode = neuron_selection_mode
        super().__init__(gradient, reference_inputs, steps, quadrature, mode, multiply=multiply)
        self.adds_up_to = "change" if multiply and not kwargs.get("postprocess") else None


class ExpectedGradients(_PathAnalyzer):
    """Expected gradients: the mean of (x - x') ⊙ ∂(Σ_j w_j y_j)/∂x at x' + α (x - x').

    Each draw takes one of a sample's references x' and a position α in [0, 1), both uniformly.

    Args:
        model: See `Analyzer`.
        reference_inputs: The references that are drawn from, in any form of `References`. A set
            of n that holds for all samples has the shape `(1, n, *shape)`: `background[None]`.
        samples: How many draws there are for each sample, >= 1.
        seed: Seed of the draws; None for other draws each time.
        neuron_selection_mode: See `Analyzer`.
        **kwargs: See `GradientAnalyzer`.

    Raises:
        ValueError: See `PathIntegrator`.

    Reference: Erion et al. 2021, "Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients".
    """

    kwargs_of = GradientAnalyzer

    def __init__(
        self,
        model,
        reference_inputs=0,
        samples: int = 64,
        seed: int | None = None,
        *,
        neuron_selection_mode: str = "max_activation",
        **kwargs,
    ):
        self._samples, self._seed = check_whole("samples", samples, 1), check_seed(seed)
        gradient = inner_gradient(model, neuron_selection_mode, kwargs)
        super().__init__(gradient, reference_inputs, True, neuron_selection_mode)
        self.refuse_hidden_layers("a position that is drawn stands for no part of the path.")
        self.adds_up_to = None if kwargs.get("postprocess") else "change"

    def _count(self, references):
        return self._samples

    def _borders(self, points):
        raise ValueError("ExpectedGradients has no results at hidden layers.")

    def _points(self, points, samples, references):
        seed = seed_or_fresh(self._seed)
        drawn = [
            _draw_point(np.random.default_rng((seed, sample, point)), references)
            for point in points
            for sample in samples
        ]
        which, position = (
            np.array(values).reshape(len(points), len(samples))
            for values in zip(*drawn, strict=True)
        )
        return which, position, np.full(which.shape, 1 / self._samples)


def _draw_point(random: np.random.Generator, references: int) -> tuple[int, float]:
    return int(random.integers(references)), random.random()
