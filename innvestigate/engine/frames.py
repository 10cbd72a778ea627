"""Frames of pandas: arrays on the way in, and on the way out their index and columns again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from keras import tree

from innvestigate.utils.arguments import as_array, listed
from innvestigate.utils.batching import as_given
from innvestigate.utils.words import shown

# --- In -------------------------------------------------------------------------------------------


def is_frame(x: Any) -> bool:
    """Whether x is a frame, or a series as one of its columns."""
    return isinstance(x, (pd.DataFrame, pd.Series))


def by_input(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, pd.Series]:
    """The columns of a frame by the inputs of the same names, in whatever order they stand.

    Raises:
        ValueError: If they are not one for each input.
    """
    columns = list(frame.columns)
    missing = [name for name in names if name not in columns]
    further = [name for name in columns if name not in names]
    if missing or further or len(columns) != len(names):
        told = {"lacks": missing, "has besides": further, "has in all": columns}
        parts = " and ".join(f"{what} [{listed(some)}]" for what, some in told.items() if some)
        raise ValueError(
            f"Each of the model's {len(names)} inputs has to be a column: [{listed(names)}]. "
            f"Received a frame that {parts}. Choose columns by x[[...]]; for inputs of several "
            "columns pass a list or dict of frames."
        )
    return {name: frame[name] for name in names}


def to_array(name: str, x: pd.DataFrame | pd.Series, of_strings: bool) -> np.ndarray:
    """The values of a frame or series as an array.

    Args:
        name: The input that they are for.
        x: The frame `(samples, columns)` or series. Categories count as their values.
        of_strings: Whether the input takes strings.

    Raises:
        ValueError: If a value is missing or infinite, or no number where the input takes numbers;
            names the column.
    """
    if isinstance(x, pd.Series):
        return _values(name, x, of_strings)
    if of_strings and x.shape[1] > 1:
        raise ValueError(
            f"Input {name!r} takes strings, and a frame one column of them. Received the columns: "
            f"[{listed(x.columns)}]. Pass x.to_numpy(), or one of the columns."
        )
    columns = [_values(name, column, of_strings) for _, column in x.items()]
    return np.stack(columns, axis=1) if columns else x.to_numpy()


def arrays_in(x: Any) -> list[np.ndarray]:
    """The columns of a frame, each in its own type; anything else as one array."""
    if not is_frame(x):
        return [as_array("x", x)]
    return [np.asarray(column) for _, column in pd.DataFrame(x).items()]


def _values(name: str, column: pd.Series, of_strings: bool) -> np.ndarray:
    """The values of a column."""
    told = f"Input {name!r}" + ("" if column.name is None else f", column {column.name!r},")
    values = np.asarray(column)
    infinite = np.isinf(values) if values.dtype.kind == "f" else False
    wrong = column.index[column.isna() | infinite]
    if len(wrong):
        raise ValueError(
            f"{told} is missing (NaN) or infinite in {len(wrong)} rows, with the index: "
            f"{listed(wrong)}. Fill or leave out these rows, as when the model was trained."
        )
    if values.dtype.kind not in "fiub" and not of_strings:
        advice = "Encode it as when the model was trained"
        if isinstance(column.dtype, pd.CategoricalDtype):
            advice += ", such as by its codes, x[column].cat.codes"
        raise ValueError(f"{told} must hold numbers. Received: {column.dtype}. {advice}.")
    return values


# --- Out ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labels:
    """The labels of a frame or a series.

    Attributes:
        index: Its index.
        columns: Its columns; of a series its name alone.
        of_series: Whether it is a series.
    """

    index: pd.Index
    columns: pd.Index
    of_series: bool

    @classmethod
    def of(cls, x: pd.DataFrame | pd.Series) -> Labels:
        """Those of a frame or series."""
        if isinstance(x, pd.Series):
            return cls(x.index, pd.Index([x.name], tupleize_cols=False), True)
        return cls(x.index, x.columns, False)

    def put(self, result: Any) -> Any:
        """A result as a frame or series with these labels.

        Args:
            result: Its array; a dict of arrays where each column is an input. A column with
                several numbers for each sample (tokens) is parted: `text/0`, `text/1`, ...
        """
        if not isinstance(result, dict):
            if result.shape[1:] == self.columns.shape and not self.of_series:
                return pd.DataFrame(result, self.index, self.columns)
            result = {self.columns[0]: result}
        known = [name for name in self.columns if name in result]
        order = known + [name for name in result if name not in known]
        parts = {n: y for name in order for n, y in _parted(name, result[name]).items()}
        found = pd.DataFrame(parts, self.index)
        if self.of_series and len(parts) == 1:
            return found.iloc[:, 0]
        return found.set_axis(self.columns, axis=1) if order == list(parts) == known else found


Labelled = dict[Any, Labels]
"""The labels of the frames in samples by their places: keys of a dict, numbers in a list; None
where the samples are one frame."""


def labels_of(x: Any) -> Labelled:
    """Those of samples, or of a batch; empty if there are no frames among them."""
    x = {None: x} if is_frame(x) else as_given(x)
    x = dict(enumerate(x)) if isinstance(x, (list, tuple)) else x
    parts = x if isinstance(x, dict) else {}
    return {place: Labels.of(part) for place, part in parts.items() if is_frame(part)}


def rows_of(labelled: Labelled, start: int, stop: int) -> Labelled:
    """Those of some rows."""
    return {p: replace(found, index=found.index[start:stop]) for p, found in labelled.items()}


def joined_labels(parts: list[Labelled]) -> Labelled:
    """Those of all batches of a data set.

    Raises:
        ValueError: If they have not the same columns in the same places.
    """
    heads = [{place: list(labels.columns) for place, labels in part.items()} for part in parts]
    if other := [head for head in heads if head != heads[0]]:
        raise ValueError(
            "The frames of a data set need the same columns in the same order, as their results "
            f"are joined. Received: {shown(heads[0])} and {shown(other[0])}."
        )
    first, *further = parts
    indices = {p: labels.index.append([f[p].index for f in further]) for p, labels in first.items()}
    return {place: replace(labels, index=indices[place]) for place, labels in first.items()}


def framed(result: Any, labelled: Labelled, several: bool) -> Any:
    """The result at a model's inputs, in frames where the samples were.

    Args:
        result: Its arrays, in the structure of the samples.
        labelled: The labels of the samples' frames.
        several: Whether there is an axis of several selections behind that of the samples. They
            become the first level of a frame's columns.
    """
    if None in labelled:
        return _framed(result, labelled[None], several)
    if isinstance(result, dict):
        pairs = ((place, _framed(y, labelled.get(place), several)) for place, y in result.items())
        return dict(pairs)
    if isinstance(result, (list, tuple)):
        return type(result)(
            _framed(y, labelled.get(place), several) for place, y in enumerate(result)
        )
    return result


def _framed(result: Any, labels: Labels | None, several: bool) -> Any:
    if labels is None:
        return result
    if not several:
        return labels.put(result)
    count = tree.flatten(result)[0].shape[1]
    parts = [
        labels.put(tree.map_structure(itemgetter((slice(None), i)), result)) for i in range(count)
    ]
    return pd.concat(parts, axis=1, keys=range(count), names=["selection"])


def _parted(name: Any, array: np.ndarray) -> dict[Any, np.ndarray]:
    """A column, or several for one that has several numbers for each sample."""
    columns = array.reshape(len(array), -1).T
    if len(columns) == 1:
        return {name: columns[0]}
    return {f"{name}/{i}": column for i, column in enumerate(columns)}
