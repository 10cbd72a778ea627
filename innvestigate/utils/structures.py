"""Results in structures of dicts and lists, by the names of their places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from innvestigate.utils.arguments import listed, numbers_of

SINGLE = "relevance"
"""The name of a result that is not one of several."""


def named(result: Any, place: str = "") -> dict[str, Any]:
    """The arrays of a structure by their places in it, such as `input/0`."""
    if isinstance(result, dict):
        parts: Iterable = result.items()
    elif isinstance(result, (list, tuple)):
        parts = enumerate(result)
    else:
        return {place or SINGLE: result}
    found = (named(part, f"{place}/{key}" if place else str(key)) for key, part in parts)
    return {name: array for arrays in found for name, array in arrays.items()}


def columns_in(result: Any) -> dict[str, list[str]]:
    """The columns of the frames in a structure, by their places; of a series its name."""
    frames = {place: pd.DataFrame(part) for place, part in named(result).items() if _is_frame(part)}
    return {place: [_text(column) for column in part] for place, part in frames.items()}


def _is_frame(part: Any) -> bool:
    return isinstance(part, pd.DataFrame) or (isinstance(part, pd.Series) and part.name is not None)


def _text(column: Any) -> str:
    """The name of a column; of several levels (a selection, a feature) all of them."""
    return ", ".join(map(str, column)) if isinstance(column, tuple) else str(column)


def results_of(result: Any) -> dict[str, np.ndarray]:
    """The arrays of a result by their places; of results that others hand in again, too.

    Raises:
        ValueError: If there is none, or one is no array of numbers, or not of the same samples.
    """
    arrays = {place: numbers_of("result", array) for place, array in named(result).items()}
    counts = {array.shape[:1] for array in arrays.values()}
    if len(counts) != 1 or () in counts:
        raise ValueError(
            "result must be what `analyze` returns: arrays of one and the same number of samples, "
            f"their first axis. Received the shapes: {listed(a.shape for a in arrays.values())}."
        )
    return arrays
