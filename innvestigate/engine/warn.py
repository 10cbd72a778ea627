"""Warnings, and what results are warned of."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
from keras import tree


def warn_if_not_finite(result: Any, offset: int = 0) -> None:
    """Warn of results that are not finite; names the samples, of which some are before them."""
    finite = [np.isfinite(r).reshape(len(r), -1).all(axis=1) for r in tree.flatten(result)]
    bad = np.flatnonzero(~np.all(finite, axis=0))
    if len(bad):
        shown = ", ".join(map(str, offset + bad[:10])) + (" ..." if len(bad) > 10 else "")
        warn(
            f"The relevance of sample {shown} is not finite: it left the range of floating point "
            "numbers, as it was divided by very small ones, or grew from layer to layer. A rule "
            "with a stabiliser, such as lrp.epsilon with a larger epsilon, avoids that."
        )


def warn(message: str) -> None:
    """Warn, and point at the caller's line outside the package."""
    package = __name__.split(".")[0]
    depth = next(
        (
            level
            for level, frame in enumerate(inspect.stack(context=0))
            if frame.frame.f_globals.get("__name__", "").split(".")[0] != package
        ),
        1,
    )
    warnings.warn(message, stacklevel=depth + 1)
