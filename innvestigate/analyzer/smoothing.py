"""Analyzers that average another one under noise on the input."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from innvestigate.analyzer.gradient import GradientAnalyzer, inner_gradient
from innvestigate.engine.batch import Batch, Moments, expand, fold
from innvestigate.engine.wrapper import Wrapper
from innvestigate.utils.arguments import (
    check_choice,
    check_number,
    check_seed,
    check_whole,
    seed_or_fresh,
)

REDUCTIONS = ("mean", "square", "variance")


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
        gradient = inner_gradient(model, neuron_selection_mode, kwargs)
        super().__init__(gradient, noise_scale, augment_by_n, seed, reduce, neuron_selection_mode)
