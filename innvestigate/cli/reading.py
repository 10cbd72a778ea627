"""Samples and names out of files: images, arrays, tables."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from innvestigate.cli.listing import Files, Found, printable
from innvestigate.cli.pixels import MODES, open_picture, preprocess
from innvestigate.cli.places import DICOM, IMAGES
from innvestigate.utils.archive import read_array
from innvestigate.utils.files import FileRefusedError, reading
from innvestigate.visualization.samples import Samples


@dataclass(frozen=True)
class Reader:
    """Reads samples for a model.

    Attributes:
        shape: The shape of one sample; sizes may be None.
        preprocessing: What is done to the pixels of image files, 0 to 255: `"none"` or None;
            `"0-1"` divides by 255; `"tf"` scales to [-1, 1]; `"torch"` scales to [0, 1] and
            standardises with ImageNet's mean and deviation; `"caffe"` makes them BGR and takes
            ImageNet's mean off. Then `x * scale + offset`.
        scale: See `preprocessing`.
        offset: See `preprocessing`.
        resize: `"crop"` cuts the largest middle part that has the aspect ratio of the model's
            input, `"stretch"` takes all of the image.
    """

    shape: tuple[int | None, ...] = ()
    preprocessing: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    resize: str = "crop"

    @property
    def is_raw(self) -> bool:
        """Whether pixels are handed over as they are, and nobody asked for that."""
        return self.preprocessing is None and (self.scale, self.offset) == (1, 0)

    def read(self, files: Iterable[Found]) -> Samples:
        """The samples of all files.

        Raises:
            FileRefusedError: If a file cannot be read.
            ValueError: If what it holds does not fit the model, or the other files.
        """
        return joined([self._read(file) for file in files])

    def _read(self, file: Found) -> Samples:
        suffix = file.path.suffix.lower()
        if suffix == ".npy":
            return self._read_array(file)
        if suffix == ".csv":
            return self._read_table(file)
        return self._read_image(file)

    def _read_array(self, file: Found) -> Samples:
        with reading(file.path, "a .npy file of numbers") as stream:
            x = read_array(stream)
        if x.dtype.kind not in "fiub":
            raise ValueError(f"{file.name} must hold one array of real numbers.")
        x = x[None] if x.ndim == len(self.shape) else x
        fits = x.ndim == len(self.shape) + 1 and all(
            size in (None, given) for size, given in zip(self.shape, x.shape[1:], strict=True)
        )
        if not fits or not len(x):
            raise ValueError(
                f"{file.name} holds an array of the shape {x.shape}. Expected: one sample "
                f"{self.shape}, or several: {('n', *self.shape)}."
            )
        return Samples(_finite(x, file.name), _numbered(file.name, len(x)))

    def _read_table(self, file: Found) -> Samples:
        if len(self.shape) != 1:
            raise ValueError(
                f"{file.name} is a table, whose rows are samples of features. The model takes "
                f"samples of the shape {self.shape}: use .npy."
            )
        with reading(file.path, "a table") as stream:
            header = None if _starts_with_numbers(stream.readline()) else 0
            stream.seek(0)
            table = pd.read_csv(stream, header=header)
        features = [str(name) for name in table.columns]
        if not isinstance(table.columns[0], str):
            features = [f"feature {i}" for i in range(table.shape[1])]
        for name, column in zip(features, table.items(), strict=True):
            _check_numbers(file.name, name, column[1])
        if self.shape[0] not in (None, len(features)):
            raise ValueError(
                f"{file.name} has {len(features)} columns ({_listed(features)}). The model takes "
                f"{self.shape[0]} features: a column for each, in their order, and no others."
            )
        if not len(table):
            raise ValueError(f"{file.name} has no rows.")
        x = table.to_numpy("float64")
        return Samples(_finite(x, file.name), _numbered(file.name, len(x)), features=features)

    def _read_image(self, file: Found) -> Samples:
        *size, channels = self.shape if len(self.shape) == 3 else (*self.shape, 1)
        channels = channels or 3
        if len(size) != 2 or channels not in MODES:
            raise ValueError(
                f"{file.name} is an image. The model takes samples of the shape {self.shape}, not "
                "(height, width, channels) with 1, 3 or 4 channels: use .npy."
            )
        picture = open_picture(file.path, channels)
        if not picture.scaled and self.preprocessing not in (None, "none"):
            kind = "is DICOM" if file.path.suffix.lower() in DICOM else "has values of its own"
            raise ValueError(
                f"{file.name} {kind}, which are not from 0 to 255: --preprocessing "
                f"{self.preprocessing} means nothing here. Use --scale and --offset."
            )
        picture = picture.fitted(size[1], size[0], self.resize)
        x = preprocess(picture.pixels(channels), self.preprocessing)[None]
        x = (x * self.scale + self.offset).astype("float32")
        shape = (1, *x.shape[1 : len(self.shape) + 1])
        return Samples(x.reshape(shape), [file.name], picture.shown(channels)[None])


class Queue:
    """The samples of files, which are read when they are asked for.

    Args:
        reader: What reads them.
        files: The files. Arrays and tables are read once before, to count their samples.
        limit: How many samples are taken at most; None for all.
        skip: Whether an image that cannot be read is a sample of NaN.

    Attributes:
        files: The files.
        count: How many samples there are.

    Raises:
        FileRefusedError: If an array or a table cannot be read.
        ValueError: If what it holds does not fit the model.
    """

    def __init__(self, reader: Reader, files: Files, limit: int | None, skip: bool):
        self.files, self._reader = files, reader
        self._shape = tuple(filter(None, reader.shape))
        self._skip = skip and len(self._shape) == len(reader.shape)
        self._held: tuple[int, Samples] | None = None
        counts = (self._count(i, file) for i, file in enumerate(files))
        self._ends = np.cumsum(np.fromiter(counts, "int64", len(files)))
        self.count = min(int(self._ends[-1]), limit or sys.maxsize)

    def read(self, start: int, size: int) -> Samples:
        """The samples from `start` on, called by the paths of their files.

        Raises:
            FileRefusedError: If a file cannot be read.
            ValueError: If what it holds does not fit the model, or the other files.
        """
        end = min(start + size, self.count)
        first, last = np.searchsorted(self._ends, [start, end - 1], "right")
        return joined([self._part(i, start, end) for i in range(first, last + 1)])

    def _part(self, i: int, start: int, end: int) -> Samples:
        """What a file has of the samples from `start` to `end`."""
        before = int(self._ends[i - 1]) if i else 0
        return self._file(i).part(slice(max(0, start - before), end - before))

    def _file(self, i: int) -> Samples:
        """The samples of a file. The last one is held, of which more may be asked for."""
        if self._held is None or self._held[0] != i:
            path = self.files[i].path
            self._held = i, self._read(Found(path, printable(path)))
        return self._held[1]

    def _read(self, file: Found) -> Samples:
        try:
            return self._reader.read([file])
        except (FileNotFoundError, FileRefusedError) as error:
            if not self._skip or not _is_image(file):
                raise
            warnings.warn(f"{error} Its results are NaN.", stacklevel=2)
            return Samples(np.full((1, *self._shape), np.nan, "float32"), [file.name])

    def _count(self, i: int, file: Found) -> int:
        return 1 if _is_image(file) else len(self._file(i).x)


def _is_image(file: Found) -> bool:
    return file.path.suffix.lower() in IMAGES


def joined(parts: Sequence[Samples]) -> Samples:
    """Samples that are run together.

    Raises:
        ValueError: If they do not fit each other.
    """
    shapes = {part.x.shape[1:]: part.names[0] for part in parts}
    if len(shapes) > 1:
        found = ", ".join(f"{name}: {shape}" for shape, name in shapes.items())
        raise ValueError(f"The samples need one shape to be run together. Received: {found}.")
    columns = {tuple(part.features or ()) for part in parts}
    if len(columns) > 1:
        raise ValueError("The tables need the same columns, in the same order.")
    pictures = [part.pictures for part in parts if part.pictures is not None]
    return Samples(
        np.concatenate([part.x for part in parts]),
        [name for part in parts for name in part.names],
        np.concatenate(pictures) if len(pictures) == len(parts) else None,
        parts[0].features,
    )


def read_names(path: Path, count: int) -> list[str]:
    """The names of classes.

    Args:
        path: A text file with a name on each line; or JSON: a list of names, or an object from
            index to name or, as Keras has it for ImageNet, to a list that ends in the name.
        count: How many there must be.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has another form or number of names.
    """
    name = printable(path.name)
    with reading(path, "names of classes") as file:
        text = file.read().decode("utf-8")
    if path.suffix.lower() == ".json":
        names = _names_from_json(name, text)
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if len(names) != count:
        raise ValueError(
            f"{printable(path.name)} names {len(names)} classes; the model has {count}."
        )
    return [printable(name) for name in names]


def _names_from_json(file: str, text: str) -> list[str]:
    try:
        given = json.loads(text)
        given = [given[str(i)] for i in range(len(given))] if isinstance(given, dict) else given
        names = [name[-1] if isinstance(name, list) else name for name in given]
    except (ValueError, KeyError, TypeError, IndexError):
        names = [None]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(
            f'{file} is neither a JSON list of names nor an object {{"0": name, "1": name, ...}}.'
        )
    return names


def _starts_with_numbers(line: bytes) -> bool:
    """Whether the first line of a table is data, and no header."""
    try:
        return bool([float(cell) for cell in line.decode("utf-8-sig").split(",")])
    except ValueError:
        return False


def _check_numbers(table: str, name: str, column: pd.Series) -> None:
    if column.isna().any():
        row = int(column.isna().argmax())
        raise ValueError(f"{table} has an empty cell in the column {name!r}, row {row}.")
    if not pd.api.types.is_numeric_dtype(column):
        row = int(pd.to_numeric(column, errors="coerce").isna().argmax())
        raise ValueError(
            f"{table} holds text in the column {name!r}: {column.iloc[row]!r} in row {row}. "
            "The model takes numbers only: leave the column out, or encode it."
        )


def _finite(x: np.ndarray, name: str) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if len(bad):
        raise ValueError(f"{name} holds NaN or infinite values in sample {bad[0]}.")
    return x


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
