"""What all stores share: whose results they hold, of which data, how many, and their names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from innvestigate.utils.arguments import check_iterable, check_kind, check_text
from innvestigate.utils.files import FileRefusedError
from innvestigate.utils.structures import SINGLE, results_of


@dataclass(frozen=True)
class Record:
    """What a store says of itself.

    Attributes:
        made_by: The fingerprint of the analyzer and the selection whose results it holds; None if
            it has none.
        samples: How many samples it holds.
        data: The fingerprint of the data that is explained; None if nobody has taken it.
    """

    made_by: str | None
    samples: int
    data: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Any) -> Record:
        """The record out of JSON.

        Raises:
            ValueError: If it is none.
        """
        match told:
            case {"made_by": str() | None as made_by, "samples": int(samples)} if samples >= 0:
                return cls(made_by, samples, told.get("data"))
        raise ValueError("it does not say what was written to it")


class Store(ABC):
    """Where results are written.

    Attributes:
        written: How many samples it holds.
    """

    written = 0

    @abstractmethod
    def append(self, result: Any) -> None:
        """Write the results of the next samples, in the structure that `analyze` returns."""


class FileStore(Store):
    """A store at a path: results by name, and a record of them.

    Args:
        path: The path.
        made_by: Makes the fingerprint of what is written, if that can be saved.
        resume: Whether to go on behind what is there.
        data: The fingerprint of the data, if it has to be the same to go on.

    Raises:
        TypeError: If `resume` is set, and the analyzer holds code that cannot be saved, so that
            nobody can tell whether it is the same.
        FileExistsError: If there is something, and `resume` is not set.
        FileRefusedError: If it is no store, or another analyzer's, or of other data.
        FileNotFoundError: If there is no folder to put it in.
    """

    def __init__(
        self, path: Path, made_by: Callable[[], str], resume: bool, data: str | None = None
    ):
        self.path, self._data = path, data
        self._made_by = _if_possible(made_by, resume)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} to.")
        if not path.exists():
            return
        if not resume:
            raise FileExistsError(
                f"{path} is there already. Pass resume=True to go on behind what it holds, name "
                "another path, or remove it."
            )
        self.written = self._resumed()
        self.cut(self.written)

    def append(self, result: Any, about: Mapping[str, np.ndarray] | None = None) -> None:
        """Write the results of the next samples, and what else is known of them.

        Args:
            result: In the structure that `analyze` returns.
            about: Arrays by name that are kept beside the results, an entry for each sample: of
                numbers, or of text (`numpy.dtypes.StringDType`).

        Raises:
            ValueError: If they do not fit what is there.
        """
        arrays, about = results_of(result), dict(about or {})
        if twice := sorted(arrays.keys() & about.keys()):
            raise ValueError(
                f"{self.path} would hold two things called {twice[0]!r}: a result, and what is "
                "known of the samples. Rename the feature."
            )
        if not self.written:
            self._note(0)
        self.write(arrays, about, self.written)
        self._note(self.written + len(next(iter(arrays.values()))))

    def _note(self, samples: int) -> None:
        self.note(Record(self._made_by, samples, self._data))
        self.written = samples

    def _resumed(self) -> int:
        """How many samples there are, if they are of the same analyzer."""
        try:
            record = self.record()
        except Exception as error:  # whatever is wrong with it
            raise FileRefusedError(
                f"{self.path} cannot be gone on with: {error}. Name another path, or remove it."
            ) from error
        if record.made_by != self._made_by:
            raise FileRefusedError(
                f"{self.path} holds results of another analyzer, model or neuron_selection. Name "
                "another path, or remove it."
            )
        if record.data != self._data:
            raise FileRefusedError(
                f"{self.path} holds results of other data. To go on, it has to be the same files "
                "in the same order, read in the same way. Name another path, or remove it."
            )
        return record.samples

    @abstractmethod
    def write(
        self, arrays: dict[str, np.ndarray], about: dict[str, np.ndarray], start: int
    ) -> None:
        """Write results and what is known, by name, for the samples from `start` on."""

    @abstractmethod
    def record(self) -> Record:
        """The record that was noted last."""

    @abstractmethod
    def note(self, record: Record) -> None:
        """Keep a record: before anything is written, and when what it speaks of is."""

    @abstractmethod
    def cut(self, samples: int) -> None:
        """Remove what is written behind the first samples, if there may be something."""


def _if_possible(made_by: Callable[[], str], resume: bool) -> str | None:
    """The fingerprint; None if there is none and it is not asked for."""
    try:
        found = made_by()
    except TypeError:
        if resume:
            raise
        return None
    return None if found is None else check_text("A fingerprint", found)


def write_all(store: Store, results: Iterable[Any]) -> None:
    """Write results batch by batch.

    Raises:
        TypeError: If the store is none, or the results are not several.
        ValueError: If something is no result, or does not fit those before.
    """
    check_kind("store", store, Store, "a store that `open_store` has opened")
    for result in check_iterable("results", results, "the results of batches, one by one"):
        store.append(result)


def columns(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of a table: `age` of one value for each sample; `age/0`, `age/1`, ... of several.

    Those of a single result are called `0`, `1`, ...
    """
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            found[name] = array
            continue
        first = "" if name == SINGLE else f"{name}/"
        rows = array.reshape(len(array), -1)
        found |= {f"{first}{i}": column for i, column in enumerate(rows.T)}
    return found
