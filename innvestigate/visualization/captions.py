"""What is said of a model's output and of sums, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def caption(
    output: np.ndarray, index: Sequence[int] | np.ndarray, names: Sequence[str] | None
) -> str:
    """A neuron's name and its value at one sample, in words.

    Args:
        output: The model's output at the sample.
        index: The neuron, an index for each axis of the output.
        names: A name for each index of the last axis; None for numbers.
    """
    distribution = output.min() >= 0 and np.allclose(output.sum(axis=-1), 1, atol=1e-3)
    kind = "probability" if distribution and output.shape[-1] > 1 else "output"
    return f"{neuron_name(index, names)}, {kind} {output[tuple(index)]:.3g}"


def neuron_name(index: Sequence[int] | np.ndarray, names: Sequence[str] | None) -> str:
    """A neuron by its name and its index. See `caption`."""
    place = ",".join(map(str, index))
    return f"{names[index[-1]]} ({place})" if names else f"neuron {place}"


def sums_in_words(accounted: np.ndarray) -> str:
    """Which share of the output the relevance of samples adds up to."""
    if np.size(accounted) == 1:
        return f"adds up to {np.ravel(accounted)[0]:.2%} of the explained output"
    low, high = np.nanmin(accounted), np.nanmax(accounted)
    return f"adds up to {low:.2%} to {high:.2%} of the explained output"
