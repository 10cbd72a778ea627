"""Relevance of named features, and their values, as tables, whatever they come in."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from innvestigate.utils.arguments import as_array, check_texts, listed
from innvestigate.utils.structures import SINGLE, columns_in, named


def relevance_table(relevance: Any, names: Any = None) -> pd.DataFrame:
    """Relevance of samples as a table with a column for each feature, whose name is a text.

    Args:
        relevance: A frame; an array `(samples, features)`; or a list or dict of frames, series and
            arrays, as of several inputs, whose columns stand side by side.
        names: The names of the columns; by default those of frames, and otherwise places such as
            `age` or `pixels/0`. Where two inputs have columns of one name, the input's is put
            before it.

    Raises:
        TypeError: If names are no texts.
        ValueError: If it is no table of finite numbers, its frames have not one index, or there are
            not as many names, or not all different.
    """
    table = _side_by_side("relevance", relevance)
    check_rows({"relevance": relevance})
    wrong = [name for name, column in table.items() if not _is_finite(column)]
    if wrong:
        raise ValueError(f"relevance must be finite numbers. It is not in: [{listed(wrong)}].")
    names = list(table) if names is None else check_texts("names", names)
    if len(names) != table.shape[1]:
        raise ValueError(f"There are {len(names)} names for {table.shape[1]} columns of relevance.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"Each feature needs a name of its own. Several are called: [{listed(twice)}]."
        )
    return table.set_axis(names, axis=1)


def value_table(name: str, values: Any, relevance: Any, table: pd.DataFrame) -> pd.DataFrame:
    """The values of features, with the columns and rows of a table of their relevance.

    Args:
        name: The argument's name.
        values: In any form that relevance may have, of any type. The columns of frames are found by
            their names.
        relevance: What the table was made of.
        table: The table.

    Raises:
        ValueError: If they have another shape; or frames other columns, or another index than those
            of the relevance.
    """
    found = _side_by_side(name, values)
    if found.shape != table.shape:
        raise ValueError(
            f"{name} must have a value for each number of relevance, {table.shape}. Received: "
            f"{found.shape}."
        )
    check_rows({"relevance": relevance, name: values})
    if not any(map(_is_frame, named(values).values())):
        return found.set_axis(table.columns, axis=1)
    if set(found) != set(table):
        raise ValueError(
            f"{name} has the columns [{listed(found)}]. Expected those of the relevance: "
            f"[{listed(table)}]."
        )
    return found[list(table)]


def check_rows(given: dict[str, Any]) -> None:
    """Whether all frames and series in some structures have their rows under one index.

    Args:
        given: The structures by the arguments' names; what has no index is passed by.

    Raises:
        ValueError: If there are several.
    """
    parts = {
        name if place == SINGLE else f"{name}/{place}": part.index
        for name, structure in given.items()
        for place, part in named(structure).items()
        if _is_frame(part)
    }
    for name, index in parts.items():
        first, expected = next(iter(parts.items()))
        if not index.equals(expected):
            raise ValueError(
                f"{name} has another index than {first}: [{listed(index)}] and "
                f"[{listed(expected)}]. Pass the rows that were explained, in their order."
            )


def _side_by_side(name: str, given: Any) -> pd.DataFrame:
    """All parts of a structure as one table."""
    parts = {place: _part(name, place, part) for place, part in named(given).items()}
    if len({len(part) for part in parts.values()}) != 1:
        sizes = ", ".join(f"{place}: {len(part)}" for place, part in parts.items())
        raise ValueError(f"All parts of {name} need the same number of samples. Received: {sizes}.")
    table = pd.concat(list(parts.values()), axis=1)
    if table.columns.is_unique:
        return table
    return table.set_axis([f"{place}/{c}" for place, part in parts.items() for c in part], axis=1)


def _part(name: str, place: str, part: Any) -> pd.DataFrame:
    """A part as a table, whose columns are called after its place if they have no names."""
    if _is_frame(part):
        columns = columns_in(part).get(SINGLE, [place])
        return pd.DataFrame(part).set_axis(columns, axis=1).reset_index(drop=True)
    array = as_array(name, part)
    single = place == SINGLE
    array = array[:, None] if array.ndim == 1 and not single else array
    if array.ndim != 2 or not array.size:
        raise ValueError(
            f"{name} must be numbers of samples and features, (samples, features). Received the "
            f"shape: {array.shape}. For a single sample, pass x[None]."
        )
    places = [str(i) if single else f"{place}/{i}" for i in range(array.shape[1])]
    return pd.DataFrame(array, columns=[place] if len(places) == 1 and not single else places)


def _is_frame(part: Any) -> bool:
    return isinstance(part, (pd.DataFrame, pd.Series))


def _is_finite(column: pd.Series) -> bool:
    return column.dtype.kind in "fiub" and bool(np.isfinite(column.to_numpy()).all())
