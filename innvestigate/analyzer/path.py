"""Analyzers that average another one over points: along a path, under noise."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from keras import ops

from innvestigate.analyzer.gradient import GradientAnalyzer
from innvestigate.engine.batch import Batch, Moments, expand, fold
from innvestigate.engine.ledger import Books
from innvestigate.engine.references import References, picked
from innvestigate.engine.selection import check_mode
from innvestigate.engine.wrapper import Wrapper
from innvestigate.graph.task import EXPLAINED
from innvestigate.utils.arguments import (
    check_choice,
    check_number,
    check_seed,
    check_whole,
    seed_or_fresh,
)

QUADRATURES = ("left", "right", "midpoint", "trapezoid", "gauss_legendre")
_MOST_GAUSS = 1000
REDUCTIONS = ("mean", "square", "variance")


class _PathAnalyzer(Wrapper):
    """Weighted sum of (x - x') ⊙ A(x' + α (x - x')) over references x' and positions α.

    Args:
        analyzer: See `Wrapper`.
        reference_inputs: See `References`.
    """

    def __init__(self, analyzer, reference_inputs, neuron_selection_mode: str | None = None):
        super().__init__(analyzer, neuron_selection_mode)
        self.refuse_hidden_layers("the path runs from the reference to the input.")
        self._references = References(reference_inputs, self.input_spec)

    @abstractmethod
    def _count(self, references: int) -> int:
        """How many points there are for each sample, given its number of references."""

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
            inputs = [
                ends[i] + _column(position, away[i]) * away[i] if i in away else x
                for i, x in enumerate(rows.inputs)
            ]
            found = self.inner(replace(rows, inputs=inputs))
            for name, y in found.items():
                part = _column(weight, y) * away.get(int(name.split(":")[1]), 0) * y
                part = fold(part, len(points)).sum(axis=0, dtype="float64")
                totals[name] = totals.get(name, 0) + part
        return totals


def _column(values: np.ndarray, array: np.ndarray) -> np.ndarray:
    """One value for each row of an array, in its type and with as many axes."""
    return values.reshape(-1, *[1] * (array.ndim - 1)).astype(array.dtype)


class PathIntegrator(_PathAnalyzer):
    """Any analyzer A, integrated along the straight path from a reference x' to the input x.

    (x - x') ⊙ ∫₀¹ A(x' + α (x - x')) dα, averaged over the references of a sample. With the
    gradient as A these are integrated gradients. The neuron is chosen once, at x. At tokens the
    path runs between the vectors of the reference's token and the sample's (masks are those of
    the sample), and the result is summed over the vector.

    Args:
        analyzer: The analyzer A; its output and neuron selection hold for the whole path.
        reference_inputs: Where paths start, in any form of `References`.
        steps: How many points the integral is taken from, >= 1 (trapezoid: >= 2).
        quadrature: Where the points lie: `"left"` (k/steps from 0 on), `"right"` (k/steps up to
            1), `"midpoint"`, `"trapezoid"` (both ends, which count half), `"gauss_legendre"` (at
            most 1,000 steps).

    Raises:
        TypeError: If `analyzer` is not an analyzer.
        ValueError: If an argument does not fit, the analyzer is asked for hidden layers, or the
            model takes tokens and the analyzer cannot start from their vectors.

    Reference: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", section 3.
    """

    def __init__(
        self,
        analyzer,
        reference_inputs=0,
        steps: int = 64,
        quadrature="midpoint",
        neuron_selection_mode: str | None = None,
    ):
        quadrature_rule(quadrature, steps, np.arange(0))
        self._quadrature, self._steps = quadrature, int(steps)
        super().__init__(analyzer, reference_inputs, neuron_selection_mode)

    def _count(self, references):
        return references * self._steps

    def _points(self, points, samples, references):
        which, step = np.divmod(points, self._steps)
        positions, shares = quadrature_rule(self._quadrature, self._steps, step)
        return tuple(
            np.repeat(values[:, None], len(samples), axis=1)
            for values in (which, positions, shares / references)
        )


class IntegratedGradients(PathIntegrator):
    """Integrated gradients: (x - x') ⊙ ∫₀¹ ∂(Σ_j w_j y_j)/∂x at x' + α (x - x') dα.

    As `steps` grow, the results of a sample add up to the difference of the explained output at
    the input and (on average) at the references.

    Args:
        model: See `Analyzer`.
        reference_inputs: See `PathIntegrator`.
        steps: See `PathIntegrator`.
        quadrature: See `PathIntegrator`.
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
        neuron_selection_mode: str = "max_activation",
        **kwargs,
    ):
        gradient = _gradient(model, neuron_selection_mode, kwargs)
        super().__init__(gradient, reference_inputs, steps, quadrature, neuron_selection_mode)
        self.adds_up_to = None if kwargs.get("postprocess") else "change"


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
        gradient = _gradient(model, neuron_selection_mode, kwargs)
        super().__init__(gradient, reference_inputs, neuron_selection_mode)
        self.adds_up_to = None if kwargs.get("postprocess") else "change"

    def _count(self, references):
        return self._samples

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


class GaussianSmoother(Wrapper):
    """Any analyzer A under Gaussian noise on the input: mean of A(x + ε), ε ~ N(0, noise_scale²).

    With the gradient as A this is SmoothGrad, SmoothGrad² or VarGrad. The neuron is chosen once,
    at x. The noise of a draw depends on the seed and the number of the sample alone. At tokens
    the vectors get the noise, and the reduced result becomes one number as the analyzer's does
    (squares and variances are summed over the vector).

    Args:
        analyzer: The analyzer A; its output, layers and neuron selection hold for all draws.
        noise_scale: Standard deviation of the noise, >= 0, in units of the input (at tokens: of
            their vectors).
        augment_by_n: How many draws there are for each sample, >= 1.
        seed: Seed of the noise; None for other noise each time.
        reduce: `"mean"` of the results (SmoothGrad), mean of their `"square"` (SmoothGrad²), or
            their `"variance"` (VarGrad).

    Raises:
        TypeError: If `analyzer` is not an analyzer.
        ValueError: If an argument does not fit, or the model takes tokens and the analyzer cannot
            start from their vectors.

    Reference: Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise"; Hooker et al.
    2019, "A Benchmark for Interpretability Methods in Deep Neural Networks" (SmoothGrad²);
    Adebayo et al. 2018, "Sanity Checks for Saliency Maps" (VarGrad).
    """

    def __init__(
        self,
        analyzer,
        noise_scale: float = 1,
        augment_by_n: int = 64,
        seed: int | None = None,
        reduce: str = "mean",
        neuron_selection_mode: str | None = None,
    ):
        self._scale = check_number("noise_scale", noise_scale, least=0)
        check_choice("reduce", reduce, REDUCTIONS)
        self._draws = check_whole("augment_by_n", augment_by_n, 1)
        self._seed, self._reduce = check_seed(seed), reduce
        super().__init__(analyzer, neuron_selection_mode)

    def reduced(self, batch: Batch, start: Batch) -> dict[str, np.ndarray]:
        moments: dict[str, Moments] = {}
        for draws, rows in expand(start, self._draws):
            inputs = self._noisy(rows, np.repeat(draws, len(start)))
            found = self.inner(replace(rows, inputs=inputs))
            for name, y in found.items():
                y = fold(np.square(y) if self._reduce == "square" else y, len(draws))
                moments.setdefault(name, Moments()).add(y)
        variance = self._reduce == "variance"
        return {name: m.variance if variance else m.mean for name, m in moments.items()}

    def per_token(self, found):
        if self._reduce != "mean":
            return super().per_token(found)
        inner: Any = self.analyzer  # a MirrorAnalyzer, as there are tokens
        return ops.convert_to_numpy(inner.per_token(found))

    def _noisy(self, rows: Batch, draws: np.ndarray) -> list:
        """The inputs of rows, with the noise of each row's draw."""
        inputs = [x.copy() if i in self.varied else x for i, x in enumerate(rows.inputs)]
        seed = seed_or_fresh(self._seed)
        for row, (sample, draw) in enumerate(zip(rows.samples, draws, strict=True)):
            random = np.random.default_rng((seed, sample, draw))
            for i in self.varied:
                noise = random.standard_normal(inputs[i].shape[1:], np.dtype(self.float).type)
                inputs[i][row] += noise * np.asarray(self._scale, self.float)
        return inputs


class SmoothGrad(GaussianSmoother):
    """SmoothGrad: the mean of ∂(Σ_j w_j y_j)/∂x at x + ε, ε ~ N(0, noise_scale²).

    Args:
        model: See `Analyzer`.
        noise_scale: See `GaussianSmoother`.
        augment_by_n: See `GaussianSmoother`.
        seed: See `GaussianSmoother`.
        reduce: See `GaussianSmoother`.
        neuron_selection_mode: See `Analyzer`.
        **kwargs: See `GradientAnalyzer`; `postprocess` is applied to each draw.

    Raises:
        ValueError: See `GaussianSmoother`.

    Reference: Smilkov et al. 2017, "SmoothGrad: removing noise by adding noise".
    """

    kwargs_of = GradientAnalyzer

    def __init__(
        self,
        model,
        noise_scale: float = 1,
        augment_by_n: int = 64,
        seed: int | None = None,
        reduce: str = "mean",
        *,
        neuron_selection_mode: str = "max_activation",
        **kwargs,
    ):
        gradient = _gradient(model, neuron_selection_mode, kwargs)
        super().__init__(gradient, noise_scale, augment_by_n, seed, reduce, neuron_selection_mode)


def _gradient(model, mode: str, kwargs: dict) -> GradientAnalyzer:
    """The gradient that a wrapper runs: the wrapper chooses the neuron."""
    check_mode(mode)
    return GradientAnalyzer(model, neuron_selection_mode="weights", **kwargs)


def quadrature_rule(
    name: str, steps: int, which: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Points in [0, 1] and their weights, which add up to one; exactly `steps` of them.

    Args:
        name: See `PathIntegrator`.
        steps: The number of points.
        which: The numbers of those that are wanted, counted from 0; None for all.

    Raises:
        ValueError: If there is no rule of that name, or it needs more or fewer points.
    """
    check_choice("quadrature", name, QUADRATURES)
    check_whole("steps", steps, 2 if name == "trapezoid" else 1)
    if name == "gauss_legendre" and steps > _MOST_GAUSS:
        raise ValueError(
            f"steps must be <= {_MOST_GAUSS} for 'gauss_legendre', which computes with a square "
            f"matrix of them. Received: {steps}. 'midpoint' takes any number."
        )
    which = np.arange(steps) if which is None else which
    if name == "gauss_legendre":
        points, weights = _legendre(steps)
        return (points[which] + 1) / 2, weights[which] / 2
    if name == "trapezoid":
        ends = (which == 0) | (which == steps - 1)
        return which / (steps - 1), np.where(ends, 0.5, 1) / (steps - 1)
    shift = {"left": 0, "midpoint": 0.5, "right": 1}[name]
    return (which + shift) / steps, np.full(len(which), 1 / steps)


@lru_cache(maxsize=8)
def _legendre(steps: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(steps)
