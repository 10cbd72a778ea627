"""What matters over a data set: statistics of relevance, in one pass, and mergeable."""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from innvestigate.utils.arguments import (
    as_array,
    check_choice,
    check_kind,
    check_texts,
    listed,
    numbers_of,
)
from innvestigate.utils.batching import labelled_batches
from innvestigate.utils.structures import columns_in, named, results_of
from innvestigate.utils.words import shown

ACCURACY = 200
"""The k of the sketches: ranks of quantiles are off by at most 1.3 % of the numbers."""

UNITS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "feature": lambda y: y,
    "channel": lambda y: y.reshape(-1, y.shape[-1]),
    "position": lambda y: y.sum(axis=-1, dtype="float64") if y.ndim > 2 else y,
}
"""For each unit of results the array with one axis of observations, and the units behind it."""


class Importance:
    """Statistics of the relevance of each unit, over all results that are added.

    Pickle takes them from one process to another, which merges them.

    Args:
        per: What a unit is: `"feature"`, each number of a sample; `"channel"`, the last axis, over
            all positions; `"position"`, all axes but the last, whose relevance is summed;
            `"token"`, each token wherever it stands.
        quantiles: Which quantiles there are to be, in [0, 1]. They are estimates by KLL sketches
            (Karnin, Lang and Liberty, 2016), whose ranks are off by at most 1.3 % of the numbers,
            and need `pip install 'innvestigate[quantiles]'`. None for none.
        names: The names of the units, in their order; by default the columns of results that are
            frames, and numbers otherwise. Not for tokens.

    Attributes:
        per: See there.
        quantiles: See there.
        results: The statistics of each result, by its name.
        columns: The columns of each result that came in frames, by its name.

    Raises:
        ValueError: If an argument does not fit.
        ImportError: If there are to be quantiles, and datasketches is not installed.
    """

    def __init__(self, per: str = "feature", quantiles: Any = None, names: Any = None):
        self.per = str(check_choice("per", per, (*UNITS, "token")))
        given = np.zeros(0) if quantiles is None else numbers_of("quantiles", quantiles)
        self.quantiles = np.unique(given).astype("float64")
        if np.any((self.quantiles < 0) | (self.quantiles > 1)):
            raise ValueError(f"quantiles must be in [0, 1]. Received: {self.quantiles.tolist()}.")
        if names is not None and per == "token":
            raise ValueError("Tokens have their own names: leave `names` out.")
        self._names = None if names is None else check_texts("names", names)
        self.results: dict[str, Any] = {}  # of _Grid or _Bag
        self.columns: dict[str, list[str]] = {}

    def add(self, result: Any, tokens: Any = None) -> None:
        """Take in results of samples.

        Args:
            result: Relevance as `analyze` returns it, in arrays or frames.
            tokens: With `per="token"` what each place stands for, in the structure and shape of
                the result, as `analyzer.tokens` says.

        Raises:
            ValueError: If the result is none, its samples differ in shape or columns from those
                before, there are not as many units as `names`, or tokens are missing. Nothing has
                changed then.
        """
        places = named(tokens)
        columns = {} if self.per == "token" else columns_in(result)
        parts = {n: self._observed(n, y, places.get(n)) for n, y in results_of(result).items()}
        self._check_columns(columns)
        for name, (shape, observed) in parts.items():
            self._statistics(name, shape).add(*observed)
        self.columns |= columns

    def _observed(self, name: str, array: np.ndarray, tokens: Any) -> tuple[tuple, tuple]:
        """The shape of the units of a result, and what is observed of them."""
        shape: tuple[int, ...]
        found: tuple[np.ndarray, ...]
        if self.per == "token":
            shape, found = (), (array.reshape(-1), _texts(name, array, tokens).reshape(-1))
        else:
            rows = UNITS[self.per](array if array.ndim > 1 else array[:, None])
            shape, found = rows.shape[1:], (rows,)
        self._check(name, shape)
        return shape, found

    def merge(self, other: Importance) -> None:
        """Take in what another one of the same arguments has seen, elsewhere.

        Raises:
            TypeError: If it is none.
            ValueError: If its units or quantiles are others. Nothing has changed then.
        """
        check_kind("other", other, Importance, "an Importance")
        if self.per != other.per or not np.array_equal(self.quantiles, other.quantiles):
            raise ValueError(
                "Statistics of the same units and quantiles can be merged. Received: per="
                f"{other.per!r}, quantiles={other.quantiles.tolist()}; expected: per={self.per!r}, "
                f"quantiles={self.quantiles.tolist()}."
            )
        for name, statistics in other.results.items():
            self._check(name, statistics.shape)
        self._check_columns(other.columns)
        self.columns |= other.columns
        for name, statistics in other.results.items():
            self._statistics(name, statistics.shape).merge(statistics)

    def to_frame(self) -> pd.DataFrame:
        """A row for each unit: its name, `count`, `mean_abs`, `mean` and the quantiles.

        Where there are several results (inputs, layers) a column `result` names them. Tokens are
        in the order of their `mean_abs` times `count`, the rest in their own.
        """
        parts = []
        for name, statistics in self.results.items():
            part = statistics.to_frame(self.quantiles)
            units = self._names or self.columns.get(name) or statistics.labels()
            part.insert(0, self.per, units)
            if len(self.results) > 1:
                part.insert(0, "result", name)
            parts.append(part)
        if not parts:
            raise ValueError("No results were added.")
        return pd.concat(parts, ignore_index=True)

    def _check_columns(self, columns: dict[str, list[str]]) -> None:
        """Whether results have the columns of those before, in their order."""
        for name, found in columns.items():
            before = self.columns.get(name, found)
            if before != found:
                raise ValueError(
                    f"The columns of {name} are [{listed(found)}], and before they were "
                    f"[{listed(before)}]. Statistics need the same columns in the same order."
                )

    def _statistics(self, name: str, shape: tuple[int, ...]) -> Any:
        if name not in self.results:
            kind = _Bag if self.per == "token" else _Grid
            self.results[name] = kind(shape, len(self.quantiles) > 0)
        return self.results[name]

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        """Whether units are as many as those before, and as their names."""
        before, count = self.results.get(name), int(np.prod(shape))
        if before is not None and before.shape != shape:
            raise ValueError(
                f"Samples of {name} have {shape} units, and those before had {before.shape}. Units "
                "are compared place by place; per='token' compares tokens wherever they stand."
            )
        if self._names is not None and len(self._names) != count:
            raise ValueError(f"There are {len(self._names)} names for {count} units.")


def importance(
    analyzer: Any,
    data: Any,
    neuron_selection: Any = None,
    *,
    per: str = "feature",
    quantiles: Any = None,
    names: Any = None,
    batch_size: int = 32,
    verbose: int = 0,
) -> pd.DataFrame:
    """What matters over a data set, in one pass and the memory of one batch.

    `mean_abs` is (1/n) Σ|R|, `mean` (1/n) ΣR over the relevance R of a unit in all samples.

    Args:
        analyzer: Any analyzer.
        data: Samples as for `analyzer.analyze`.
        neuron_selection: See there.
        per: See `Importance`.
        quantiles: See `Importance`.
        names: See `Importance`.
        batch_size: See `analyzer.analyze`.
        verbose: See there.

    Returns:
        See `Importance.to_frame`. To split the work, add `analyzer.stream(...)` to an `Importance`
        on each machine, and merge them.

    Raises:
        TypeError: If `analyzer` is none.
        ValueError: See `analyzer.analyze` and `Importance`.

    Example:
        >>> table = importance(analyzer, x, per="channel")
    """
    if not callable(getattr(analyzer, "stream", None)):
        raise TypeError(
            "analyzer must be an analyzer that innvestigate.create_analyzer has made. Received: "
            f"{shown(analyzer)}."
        )
    found = Importance(per, quantiles, names)
    options = {"batch_size": batch_size, "verbose": verbose}
    if per != "token":
        for result in analyzer.stream(data, neuron_selection, **options):
            found.add(result)
        return found.to_frame()
    last = _Last(labelled_batches(analyzer.text.arrays(data), batch_size))
    for result in analyzer.stream(iter(last), neuron_selection, **options):
        given, _ = last.item
        found.add(result, analyzer.tokens(given))
    return found.to_frame()


class _Last:
    """Items that are passed on, of which the last one is kept."""

    def __init__(self, items: Iterable[Any]):
        self._items = items
        self.item: Any = None

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self.item = item
            yield item


class _Grid:
    """Statistics of units that all samples have, in places of their own.

    Attributes:
        shape: Shape of the units.
        count: Number of observations.
        total: ΣR of each unit.
        size: Σ|R| of each unit.
        sketch: What quantiles are estimated by; None for none.
    """

    def __init__(self, shape: tuple[int, ...], with_quantiles: bool):
        self.shape, self.count = shape, 0
        self.total = self.size = np.zeros(shape)
        self.sketch = _sketches(int(np.prod(shape))) if with_quantiles else None

    def add(self, rows: np.ndarray) -> None:
        """Take in observations, `(n, *shape)`."""
        self.count += len(rows)
        self.total = self.total + rows.sum(axis=0, dtype="float64")
        self.size = self.size + np.abs(rows).sum(axis=0, dtype="float64")
        if self.sketch is not None:
            self.sketch.update(rows.reshape(len(rows), -1).astype("float32"))

    def merge(self, other: _Grid) -> None:
        """Take in what another one has seen."""
        self.count += other.count
        self.total, self.size = self.total + other.total, self.size + other.size
        if self.sketch is not None:
            self.sketch.merge(other.sketch)

    def labels(self) -> list[str]:
        """The place of each unit."""
        return [", ".join(map(str, place)) for place in np.ndindex(*self.shape)]

    def to_frame(self, quantiles: np.ndarray) -> pd.DataFrame:
        """A row for each unit."""
        size, total = self.size.reshape(-1) / self.count, self.total.reshape(-1) / self.count
        found = pd.DataFrame({"count": self.count, "mean_abs": size, "mean": total})
        if self.sketch is not None:
            estimated = self.sketch.get_quantiles(quantiles)
            found[[f"q{q:g}" for q in quantiles]] = estimated
        return found


class _Bag:
    """Statistics of units that come up anywhere, by their names.

    Attributes:
        sums: For each unit its number of observations, Σ|R| and ΣR.
        sketches: For each unit what its quantiles are estimated by; None for none.
    """

    shape: tuple[int, ...] = ()

    def __init__(self, _: tuple[int, ...], with_quantiles: bool):
        self.sums = pd.DataFrame(columns=["count", "size", "total"], dtype="float64")
        self.sketches: dict[str, Any] | None = {} if with_quantiles else None

    def add(self, values: np.ndarray, units: np.ndarray) -> None:
        """Take in an observation for each of some units."""
        values = values.astype("float64")
        found = pd.DataFrame({"count": 1.0, "size": np.abs(values), "total": values})
        self.sums = self.sums.add(found.groupby(units).sum(), fill_value=0)
        if self.sketches is not None:
            for unit in np.unique(units):
                self.sketch(unit).update(values[units == unit].astype("float32")[:, None])

    def merge(self, other: _Bag) -> None:
        """Take in what another one has seen."""
        self.sums = self.sums.add(other.sums, fill_value=0)
        for unit, sketch in (other.sketches or {}).items():
            self.sketch(unit).merge(sketch)

    def labels(self) -> list[str]:
        """The names of the units."""
        return list(self._sorted().index)

    def to_frame(self, quantiles: np.ndarray) -> pd.DataFrame:
        """A row for each unit."""
        sums = self._sorted()
        counts, size, total = sums["count"].astype("int64"), sums["size"], sums["total"]
        found = pd.DataFrame({"count": counts, "mean_abs": size / counts, "mean": total / counts})
        if self.sketches is not None:
            estimated = [self.sketch(unit).get_quantiles(quantiles)[0] for unit in found.index]
            found[[f"q{q:g}" for q in quantiles]] = estimated
        return found.reset_index(drop=True)

    def _sorted(self) -> pd.DataFrame:
        return self.sums.sort_values("size", ascending=False, kind="stable")

    def sketch(self, unit: str) -> Any:
        """That of a unit, new if it has none."""
        assert self.sketches is not None
        return self.sketches.setdefault(unit, _sketches(1))


def _texts(name: str, array: np.ndarray, tokens: Any) -> np.ndarray:
    """The tokens of a result."""
    found = as_array("tokens", tokens)
    if found.shape != array.shape:
        raise ValueError(
            f"Each place needs a token. Received: tokens of the shape {found.shape} for {name} of "
            f"the shape {array.shape}."
        )
    if not all(isinstance(token, str) for token in found.reshape(-1)):
        raise ValueError(f"tokens must be texts. Received: {shown(tokens)} (of {found.dtype}).")
    return found


def _sketches(count: int) -> Any:
    """Empty sketches of the numbers of some units."""
    try:
        from datasketches import vector_of_kll_floats_sketches
    except ImportError as error:
        raise ImportError(
            "Quantiles need the package datasketches: pip install 'innvestigate[quantiles]'."
        ) from error
    copyreg.pickle(vector_of_kll_floats_sketches, _reduced)
    return vector_of_kll_floats_sketches(ACCURACY, count)


def _reduced(sketches: Any) -> tuple[Callable, tuple]:
    """What pickle keeps of sketches, which do not know that themselves."""
    return _restored, (sketches.serialize(),)


def _restored(parts: list[bytes]) -> Any:
    sketches = _sketches(len(parts))
    for i, part in enumerate(parts):
        sketches.deserialize(part, i)
    return sketches
