"""What is said of a model's output and of sums, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Sums:
    """What the results of samples add up to; prints in words.

    Attributes:
        shares: The share of what is explained that the results of each sample add up to; NaN where
            that is zero.
        of: What is explained: the `"output"`, or its `"change"` from a reference.
    """

    shares: np.ndarray
    of: str

    def at(self, pick: Any) -> Sums:
        """Those of some samples."""
        return Sums(self.shares[pick], self.of)

    def __str__(self) -> str:
        return shares_in_words(self.shares, EXPLAINED[self.of])


EXPLAINED = {
    "output": "the explained output",
    "change": "the output's change from the reference",
}


def shares_in_words(shares: np.ndarray, of: str = "what is explained") -> str:
    """Which share of something the relevance of samples adds up to; NaN where there is nothing."""
    known = shares[~np.isnan(shares)]
    if not known.size:
        return f"nothing to add up to: {of} is zero"
    ends = known if np.size(shares) == 1 else (known.min(), known.max())
    return f"adds up to {' to '.join(f'{end:.2%}' for end in ends)} of {of}"
