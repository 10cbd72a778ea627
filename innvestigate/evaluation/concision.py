"""How few features a heatmap speaks of; neither metric runs the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from innvestigate.evaluation.metric import Metric
from innvestigate.evaluation.subject import Subject


@dataclass(frozen=True)
class Sparseness(Metric):
    """Sparseness: the Gini index of the absolute relevance.

    With a₁ <= ... <= aₙ the sorted |Rᵢ| of the n features of a sample

    G = Σᵢ (2 i - n - 1) aᵢ / (n Σᵢ aᵢ)

    It is 1 - 1/n if all relevance lies on one feature, and 0 if all features have as much, those
    without any included. Neither scale nor order of the features matter. A sparse heatmap need not
    be a right one.

    Reference: Chalasani et al. 2020, "Concise Explanations of Neural Networks using Adversarial
    Training".
    """

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The index of each sample."""
        share = np.sort(_shares(subject.relevance), axis=1)
        n = share.shape[1]
        return {"sparseness": share @ (2 * np.arange(1, n + 1) - n - 1) / n}


@dataclass(frozen=True)
class Complexity(Metric):
    """Complexity: the entropy of how the absolute relevance is shared out.

    With pᵢ = |Rᵢ| / Σⱼ |Rⱼ| over the n features of a sample

    H = - Σᵢ pᵢ log pᵢ

    It is 0 if all relevance lies on one feature, and log n if all features have as much, those
    without any included. Small is simple; a simple heatmap need not be a right one.

    Reference: Bhatt et al. 2020, "Evaluating and Aggregating Feature-based Model Explanations".
    """

    def measure(self, subject: Subject) -> dict[str, np.ndarray]:
        """The entropy for each sample."""
        share = _shares(subject.relevance)
        logs = np.log(share, out=np.zeros_like(share), where=share > 0)
        return {"complexity": -(share * logs).sum(axis=1)}


def _shares(relevance: np.ndarray) -> np.ndarray:
    """The shares of features in the absolute relevance, `(n, features)`; equal where it is 0."""
    size = np.abs(relevance.reshape(len(relevance), -1).astype("float64"))
    largest = size.max(axis=1, keepdims=True)
    size = np.divide(size, largest, out=np.ones_like(size), where=largest > 0)
    return size / size.sum(axis=1, keepdims=True)
