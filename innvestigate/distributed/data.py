"""Data sets of Ray as batches that an analyzer takes, and files as data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from innvestigate.analyzer import Analyzer
from innvestigate.distributed.workers import needs_ray
from innvestigate.utils.arguments import listed
from innvestigate.utils.files import as_path
from innvestigate.utils.words import shown

LABEL = "label"
"""The column that holds the labels of samples."""
_FILES = (".parquet", ".npy")
_IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Batches:
    """The batches of a data set in its order: samples before it, inputs, labels.

    Args:
        data: A data set of Ray, or paths: see `distributed.analyze`.
        analyzer: Whose inputs they are.
        batch_size: Samples per batch.

    Attributes:
        count: How many samples there are in what was read last.

    Raises:
        TypeError: If `data` is neither.
        ValueError: If it is not known how to read files.
        FileNotFoundError: If there are none.
    """

    def __init__(self, data: Any, analyzer: Analyzer, batch_size: int):
        is_data = isinstance(data, needs_ray().data.Dataset)
        self._dataset = data if is_data else _read(data, analyzer)
        self._spec, self._batch_size = analyzer.input_spec, batch_size
        self.count = 0

    def __iter__(self) -> Iterator[tuple[int, Any, Any]]:
        self.count = 0
        options = self._dataset.context.execution_options
        with _set(options, preserve_order=True):  # which Ray's data sets do not promise
            parts = self._dataset.iter_batches(batch_size=self._batch_size, batch_format="numpy")
            for columns in parts:
                inputs = self._inputs({name: _dense(y) for name, y in columns.items()})
                yield self.count, inputs, columns.get(LABEL)
                self.count += len(next(iter(columns.values())))
        if not self.count:
            raise ValueError("The data set holds no sample: nothing to analyze.")

    def _inputs(self, columns: dict[str, np.ndarray]) -> Any:
        """The columns that are the model's inputs, in a structure that it takes.

        Raises:
            ValueError: If they are not known.
        """
        names = self._spec.names
        if set(names) <= set(columns):
            found = {name: columns[name] for name in names}
            return found if len(names) > 1 else found[names[0]]
        rest = {name: column for name, column in columns.items() if name != LABEL}
        if len(names) == 1 and len(rest) == 1:
            return next(iter(rest.values()))
        if len(names) == 1 and rest and all(y.ndim == 1 for y in rest.values()):
            return np.stack(list(rest.values()), axis=1)
        raise ValueError(
            f"The data set has the columns {listed(columns)}. Expected: the model's inputs by name "
            f"({listed(names)}); for one input also a single column, or a number in each, besides "
            f"{LABEL!r}. Choose them with dataset.select_columns and dataset.rename_columns."
        )


def _dense(column: np.ndarray) -> np.ndarray:
    """A column of lists of one length as an array."""
    if column.dtype != object or len({np.shape(y) for y in column}) != 1 or not np.shape(column[0]):
        return column
    return np.stack(list(column))


@contextmanager
def _set(owner: Any, **values: Any) -> Iterator[None]:
    """Let attributes have other values for a while."""
    before = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def _read(paths: Any, analyzer: Analyzer) -> Any:
    """The data set in files."""
    given = paths if isinstance(paths, (list, tuple)) else [paths]
    if not given or not all(isinstance(path, (str, bytes, os.PathLike)) for path in given):
        raise TypeError(
            "dataset must be a ray.data.Dataset, or paths of files or folders. Received: "
            f"{shown(paths)}."
        )
    files = [file for path in given for file in _files(as_path(path).absolute())]
    kinds = {"images" if _suffix(file) in _IMAGES else _suffix(file) for file in files}
    if len(kinds) != 1 or kinds.isdisjoint({*_FILES, "images"}):
        raise ValueError(
            f"{shown(paths)}: files of the kinds [{listed(sorted(kinds))}]. Expected: .parquet, "
            ".npy or images alone. Read others with ray.data, and pass the data set."
        )
    names, data = [str(file) for file in files], needs_ray().data
    if ".parquet" in kinds:  # Ray 2.60's new reader imports in threads, and fails now and then
        with _set(data.DataContext.get_current(), use_datasource_v2=False):
            return data.read_parquet(names)
    if ".npy" in kinds:
        return data.read_numpy(names)
    return data.read_images(names, **_form(analyzer))


def _files(path: Path) -> list[Path]:
    """A file, or those in a folder and the folders in it that are known, by their names."""
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {path}.")
    if not path.is_dir():
        return [path]
    known = (file for file in path.rglob("*") if _suffix(file) in (*_FILES, *_IMAGES))
    return sorted(file for file in known if file.is_file())


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _form(analyzer: Analyzer) -> dict[str, Any]:
    """The size and the channels of images, where the model has one input that tells them."""
    shape = tuple(analyzer.input_spec.tensors[0].shape[1:])
    if len(analyzer.input_spec.tensors) > 1 or len(shape) not in (2, 3):
        raise ValueError("Images in files are read for models with one input, which are images.")
    size = None if None in shape[:2] else shape[:2]
    return {"size": size, "mode": _MODES.get(shape[2] if shape[2:] else 1)}
