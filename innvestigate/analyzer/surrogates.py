"""Surrogates: linear models of the output around a sample, as the libraries shap and lime fit."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from innvestigate.analyzer.perturbation import Game, GroupsAnalyzer
from innvestigate.analyzer.shapley import ShapleyAnalyzer
from innvestigate.utils.arguments import check_number, check_seed, check_whole, seed_or_fresh

_MOST = 10**8
"""Numbers in a table of sets of features: the libraries hold it, and a few like it, as float64."""
_GLOBAL = threading.RLock()


class KernelSHAP(ShapleyAnalyzer):
    """Kernel SHAP: Shapley values by a weighted linear regression, as the library shap does it.

    R = argmin_φ Σ_z π(z) (f(z) - f(0) - φᵀ z)² with Σ φ_i = f(1) - f(0), f(z) being the explained
    output where the features z of the sample are present and a reference stands for the others, and
    π(z) = (M - 1) / (C(M, |z|) |z| (M - |z|)) for M features. With all 2ᴹ - 2 sets these are the
    Shapley values; with fewer the smallest and largest sets come first and others are drawn. The
    sets are the same for all samples and selections if there is a seed. Needs
    `pip install 'innvestigate[shap]'`.

    Args:
        model: See `Analyzer`. Only its forward pass is needed, `samples` times for each sample and
            reference.
        reference_inputs: What stands for a missing feature, in any form of `References`; of
            several for a sample the mean output is taken. A token input's is a token.
        samples: How many sets of features there are at most; by default 2 M + 2048, as in shap.
            Drawn ones come in pairs of a set and the rest: fewer than 2 M settle no M values.
        groups: Integer labels that broadcast to a sample's shape: what shares a label, also
            across inputs, is one feature, and shares its value evenly. A list or dict of these
            for several inputs. Or a function that maps a batch to labels for each of its samples,
            see `Groups`. By default every number is a feature.
        seed: Seed of the drawn sets; None for other sets each time.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If an argument does not fit the input, there are too many features or too few
            samples for them, or hidden layers are asked for.
        ImportError: If shap is not installed.

    Reference: Lundberg & Lee 2017, "A Unified Approach to Interpreting Model Predictions",
    section 4.1.
    """

    def __init__(
        self,
        model,
        reference_inputs=0,
        samples: int | None = None,
        groups=None,
        seed: int | None = None,
        **kwargs,
    ):
        self._samples = None if samples is None else check_whole("samples", samples, 2)
        self._seed = check_seed(seed)
        self._explainer = _imported("shap", "shap").KernelExplainer
        super().__init__(model, reference_inputs, groups, **kwargs)

    def worths(self, game: Game) -> dict[str, np.ndarray]:
        size = len(game.features)
        _check_size(min(self._samples or 2 * size + 2048, 2**size), size)
        ends = self.starts(game).mean(axis=0), game.whole()
        scale = np.max(np.abs(ends), axis=0)  # shap takes what is below 1e-10 for rounding
        scale[scale == 0] = 1

        def worth(sets: np.ndarray) -> np.ndarray:
            """The output at sets of features, `(sets, rows)`; those of none and all are known."""
            if len(sets) == 1:
                return (ends[int(sets[0, 0])] / scale)[None]
            _check_rank(sets)
            return game.means(len(sets), lambda numbers: sets[numbers] > 0) / scale

        with _global_seed(seed_or_fresh(self._seed)):
            found = self._explainer(worth, np.zeros((1, size))).shap_values(
                np.ones((1, size)), nsamples=self._samples or "auto", l1_reg=False, silent=True
            )
        return {"": found[0].T * scale[:, None]}


class LIME(GroupsAnalyzer):
    """LIME: the weights of a linear model that is fitted to the output around a sample.

    R = w of the ridge regression argmin_w,b Σ_z π(z) (f(z) - b - wᵀ z)² + ‖w‖², f(z) being the
    explained output where the features z of the sample are present and a reference stands for the
    others. Each feature is present in half of the z; π(z) = exp(-d² / (2 σ²)), d being the cosine
    distance of z and 1. So the library lime explains images, and it does the regression. The z are
    the same for all samples and selections if there is a seed. Needs
    `pip install 'innvestigate[lime]'`.

    Args:
        model: See `Analyzer`. Only its forward pass is needed, `samples` times for each sample and
            reference.
        reference_inputs: What stands for a missing feature, in any form of `References`; of
            several for a sample the mean output is taken. A token input's is a token.
        samples: How many z there are. The first is the sample itself.
        kernel_width: σ, in [0, 1] as distances are: how far from the sample an output still counts.
        groups: Integer labels that broadcast to a sample's shape: what shares a label, also
            across inputs, is one feature, and shares its weight evenly. A list or dict of these
            for several inputs. Or a function that maps a batch to labels for each of its samples,
            such as superpixels, see `Groups`. By default every number is a feature.
        seed: Seed of the z; None for others each time.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If an argument does not fit the input, there are too many features, or hidden
            layers are asked for.
        ImportError: If lime is not installed.

    Reference: Ribeiro et al. 2016, "Why Should I Trust You? Explaining the Predictions of Any
    Classifier", section 3.
    """

    def __init__(
        self,
        model,
        reference_inputs=0,
        samples: int = 1000,
        kernel_width: float = 0.25,
        groups=None,
        seed: int | None = None,
        **kwargs,
    ):
        self._samples = check_whole("samples", samples, 2)
        self._width = check_number("kernel_width", kernel_width, above=0)
        self._seed = check_seed(seed)
        self._regression = _imported("lime.lime_base", "lime").LimeBase
        super().__init__(model, reference_inputs, groups, **kwargs)

    def worths(self, game: Game) -> dict[str, np.ndarray]:
        size = len(game.features)
        _check_size(self._samples, size)
        draws = np.random.default_rng(seed_or_fresh(self._seed))
        present = draws.integers(0, 2, (self._samples, size), dtype="int8")
        present[0] = 1
        outputs = game.means(self._samples, lambda numbers: present[numbers] > 0)
        if not np.all(np.isfinite(outputs)):
            raise ValueError(
                "The model's output is not finite where some features are those of "
                "reference_inputs (as where all tokens are masked). Choose another reference."
            )
        distances = 1 - np.sqrt(present.mean(axis=1))
        base = self._regression(lambda d: np.exp(-np.square(d / self._width) / 2), random_state=0)
        found = np.zeros((len(game.batch), size))
        for row in range(len(found)):
            _, weights, _, _ = base.explain_instance_with_data(
                present.astype(float), outputs, distances, row, size, feature_selection="none"
            )
            features, values = zip(*weights, strict=True)
            found[row, list(features)] = values
        return {"": found}


def _imported(module: str, package: str) -> Any:
    """A module of a package that not everybody has.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a package says of itself when it is imported
            return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This method is that of the package {package}: pip install 'innvestigate[{package}]'."
        ) from error


def _check_size(samples: int, features: int) -> None:
    """Whether a table of sets of features can be held."""
    if samples * features > _MOST:
        raise ValueError(
            f"{samples} samples of {features} features are more than a regression takes, "
            f"{_MOST:.0e} numbers in all. Pass groups, such as superpixels, or fewer samples."
        )


def _check_rank(sets: np.ndarray) -> None:
    """Whether sets of features `(n, features)` settle a value for each, given their sum.

    shap's solution is arbitrary where they do not.
    """
    free = sets[:, :-1] - sets[:, -1:]
    rank = np.linalg.matrix_rank(free.T @ free, hermitian=True)
    if rank < free.shape[1]:
        raise ValueError(
            f"{len(sets)} sets of features do not settle the values of {sets.shape[1]} features. "
            "Pass groups, or more samples: several times the number of features."
        )


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Within it, numpy's global generator, of which shap draws, is seeded; behind it as before."""
    with _GLOBAL:
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(np.random.SeedSequence(seed).generate_state(8))  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
