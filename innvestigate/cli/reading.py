"""Samples and names out of files: images, arrays, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from innvestigate.utils.archive import read_array
from innvestigate.utils.files import reading

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Samples:
    """What was read.

    Attributes:
        x: The samples as the model takes them, `(n, *shape)`.
        names: A name for each, from its file.
        pictures: The images as they were before preprocessing, as bytes `(n, height, width,
            channels)`; None for other data.
        features: The names of the columns of a table; None for other data.
    """

    x: np.ndarray
    names: list[str]
    pictures: np.ndarray | None = None
    features: list[str] | None = None


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

    def read(self, paths: Iterable[Path]) -> Samples:
        """The samples of all files; of a folder, those of the images in it.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a file is of another kind, or what it holds does not fit the model.
        """
        parts = [self._read(file) for path in paths for file in _files(Path(path))]
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

    def _read(self, path: Path) -> Samples:
        suffix = path.suffix.lower()
        if suffix == ".npy":
            return self._read_array(path)
        if suffix == ".csv":
            return self._read_table(path)
        if suffix in _image_suffixes():
            return self._read_image(path)
        raise ValueError(
            f"{path.name} has the extension {suffix!r}. Expected: an image (.png, .jpg, ...), .npy "
            "or .csv."
        )

    def _read_array(self, path: Path) -> Samples:
        with reading(path, "a .npy file of numbers") as file:
            x = read_array(file)
        if x.dtype.kind not in "fiub":
            raise ValueError(f"{path.name} must hold one array of real numbers.")
        x = x[None] if x.ndim == len(self.shape) else x
        fits = x.ndim == len(self.shape) + 1 and all(
            size in (None, given) for size, given in zip(self.shape, x.shape[1:], strict=True)
        )
        if not fits or not len(x):
            raise ValueError(
                f"{path.name} holds an array of the shape {x.shape}. Expected: one sample "
                f"{self.shape}, or several: {('n', *self.shape)}."
            )
        return Samples(_finite(x, path), _numbered(path, len(x)))

    def _read_table(self, path: Path) -> Samples:
        if len(self.shape) != 1:
            raise ValueError(
                f"{path.name} is a table, whose rows are samples of features. The model takes "
                f"samples of the shape {self.shape}: use .npy."
            )
        with reading(path, "a table") as file:
            header = None if _starts_with_numbers(file.readline()) else 0
            file.seek(0)
            table = pd.read_csv(file, header=header)
        features = [str(name) for name in table.columns]
        if not isinstance(table.columns[0], str):
            features = [f"feature {i}" for i in range(table.shape[1])]
        for name, column in zip(features, table.items(), strict=True):
            _check_numbers(path, name, column[1])
        if self.shape[0] not in (None, len(features)):
            raise ValueError(
                f"{path.name} has {len(features)} columns ({_listed(features)}). The model takes "
                f"{self.shape[0]} features: a column for each, in their order, and no others."
            )
        if not len(table):
            raise ValueError(f"{path.name} has no rows.")
        x = table.to_numpy("float64")
        return Samples(_finite(x, path), _numbered(path, len(x)), features=features)

    def _read_image(self, path: Path) -> Samples:
        *size, channels = self.shape if len(self.shape) == 3 else (*self.shape, 1)
        channels = channels or 3
        if len(size) != 2 or channels not in MODES:
            raise ValueError(
                f"{path.name} is an image. The model takes samples of the shape {self.shape}, not "
                "(height, width, channels) with 1, 3 or 4 channels: use .npy."
            )
        picture = _open_image(path).convert(MODES[channels])
        width, height = size[1] or picture.width, size[0] or picture.height
        if self.resize == "crop":
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
        else:
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture).reshape(1, height, width, channels)
        x = self._preprocessed(pixels.astype("float32"))
        return Samples(x.reshape(1, *pixels.shape[1 : len(self.shape) + 1]), [path.name], pixels)

    def _preprocessed(self, x: np.ndarray) -> np.ndarray:
        if self.preprocessing in ("torch", "caffe") and x.shape[-1] != 3:
            raise ValueError(
                f"The preprocessing {self.preprocessing!r} is for 3 channels. The model takes "
                f"{x.shape[-1]}: choose another one."
            )
        if self.preprocessing == "0-1":
            x = x / 255
        elif self.preprocessing not in (None, "none"):
            x = keras.applications.imagenet_utils.preprocess_input(
                x, data_format="channels_last", mode=self.preprocessing
            )
        return (x * self.scale + self.offset).astype("float32")


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
    with reading(_existing(Path(path)), "names of classes") as file:
        text = file.read().decode("utf-8")
    if path.suffix.lower() == ".json":
        names = _names_from_json(path, text)
    else:
        names = [line.strip() for line in text.splitlines() if line.strip()]
    if len(names) != count:
        raise ValueError(f"{path.name} names {len(names)} classes; the model has {count}.")
    return names


def _names_from_json(path: Path, text: str) -> list[str]:
    try:
        given = json.loads(text)
        given = [given[str(i)] for i in range(len(given))] if isinstance(given, dict) else given
        names = [name[-1] if isinstance(name, list) else name for name in given]
    except (ValueError, KeyError, TypeError, IndexError):
        names = [None]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(
            f'{path.name} is neither a JSON list of names nor an object {{"0": name, "1": name, '
            "...}."
        )
    return names


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    return path


def _files(path: Path) -> list[Path]:
    if not _existing(path).is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in _image_suffixes())
    if not files:
        raise ValueError(f"There are no images in the folder {path}.")
    return files


def _image_suffixes() -> set[str]:
    return set(Image.registered_extensions())


def _open_image(path: Path) -> Image.Image:
    with reading(path, "an image") as file:
        picture = ImageOps.exif_transpose(Image.open(file))
        picture.load()
    if picture.mode == "F" or picture.mode.startswith("I"):
        raise ValueError(
            f"{path.name} has more than 8 bits for each channel. Hand over the model's input as "
            ".npy."
        )
    return picture


def _starts_with_numbers(line: bytes) -> bool:
    """Whether the first line of a table is data, and no header."""
    try:
        return bool([float(cell) for cell in line.decode("utf-8-sig").split(",")])
    except ValueError:
        return False


def _check_numbers(path: Path, name: str, column: pd.Series) -> None:
    if column.isna().any():
        row = int(column.isna().argmax())
        raise ValueError(f"{path.name} has an empty cell in the column {name!r}, row {row}.")
    if not pd.api.types.is_numeric_dtype(column):
        row = int(pd.to_numeric(column, errors="coerce").isna().argmax())
        raise ValueError(
            f"{path.name} holds text in the column {name!r}: {column.iloc[row]!r} in row {row}. "
            "The model takes numbers only: leave the column out, or encode it."
        )


def _finite(x: np.ndarray, path: Path) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if len(bad):
        raise ValueError(f"{path.name} holds NaN or infinite values in sample {bad[0]}.")
    return x


def _numbered(path: Path, count: int) -> list[str]:
    return [path.name] if count == 1 else [f"{path.name}[{i}]" for i in range(count)]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
