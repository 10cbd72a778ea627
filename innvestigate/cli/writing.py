"""Explanations as files: pictures, arrays, tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from innvestigate.cli.listing import printable
from innvestigate.cli.places import NUMBERS, PAGES, PICTURES, STORES
from innvestigate.utils.archive import write_arrays
from innvestigate.utils.files import replacing
from innvestigate.utils.stored import forget_store
from innvestigate.visualization import (
    Panel,
    SampleReport,
    html_report,
    plot_comparison,
    plot_perturbation_curves,
)
from innvestigate.visualization.captions import Sums
from innvestigate.visualization.reporting import MOST as MOST_ON_PAGE
from innvestigate.visualization.samples import Samples

MOST = 100  # samples in one picture
LONGEST = 50  # letters of a name, each of which may take four of the 255 bytes of a file's name
ARRAYS = "relevance.npz"
CURVES = ("region_perturbation", "deletion", "insertion", "road")  # metrics that draw curves
Target = tuple[Path, Callable[[BinaryIO], Any]]


@dataclass(frozen=True)
class Explanations:
    """What some methods say of some samples.

    Attributes:
        samples: The samples.
        predictions: What was explained of each, in words.
        relevances: By method, an array of the shape of the samples; or arrays by layer.
        sums: By method, what the relevance of each sample adds up to; methods that add up to
            nothing are left out.
        plans: By method, the rows of its plan.
        facts: How all this was made, for a page.
    """

    samples: Samples
    predictions: list[str]
    relevances: dict[str, Any]
    sums: dict[str, Sums]
    plans: Mapping[str, list[dict]]
    facts: Mapping[str, str]

    def save(self, path: Path) -> list[Path]:
        """Write a file, by its extension; or, in a folder, a picture of each sample and a .npz.

        Folders that do not exist are made. A file takes its place when it is complete.

        Returns:
            The files written.

        Raises:
            OSError: If a file cannot be written.
        """
        return [save(place, write) for place, write in self._targets(path)]

    def _targets(self, path: Path) -> Iterator[Target]:
        """The files that are to be written, and what writes them."""
        kind = path.suffix.lower()
        if not kind:
            for i, name in enumerate(files_in(path, self.samples.names)):
                yield name, partial(self._only(i)._write_figure, kind=".png")
            path = path / ARRAYS
        if kind in PICTURES:
            yield path, partial(self._write_figure, kind=kind)
        elif kind in PAGES:
            yield path, self._write_page
        elif kind == ".npy":
            forget_store(path)
            yield path, lambda file: np.save(file, next(iter(self.relevances.values())))
        elif kind == ".csv":
            yield path, lambda file: file.write(_as_csv(self.table()))
        else:
            yield path, lambda file: write_arrays(file, _by_name(self.relevances))

    def figure(self) -> Figure:
        """One heatmap over its image, or a grid of samples and methods."""
        if self.samples.are_images:
            return self._overlay() if self._is_single() else self._comparison()
        return self._grid()

    def table(self) -> pd.DataFrame:
        """A row for each sample and method: sample, method, the relevance of each feature."""
        features = self.samples.columns
        parts = []
        for method, relevance in self.relevances.items():
            part = pd.DataFrame(relevance, columns=features)
            part.insert(0, "method", method)
            part.insert(0, "sample", self.samples.names)
            parts.append(part)
        return pd.concat(parts)

    @property
    def _captions(self) -> list[str]:
        told = zip(self.samples.names, self.predictions, strict=True)
        return [f"{name}: {prediction}" for name, prediction in told]

    def _is_single(self) -> bool:
        return len(self.predictions) == len(self.relevances) == 1

    def _overlay(self) -> Figure:
        (method,) = self.relevances
        figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
        self._draw(ax, method, 0)
        _set_title(ax, f"{method}\n{_wrapped(self._captions[0], 50)}")
        return figure

    def _comparison(self) -> Figure:
        pictures = self.samples.images
        return plot_comparison(
            pictures,
            self.relevances,
            [_wrapped(caption, 18) for caption in self._captions],
            max_columns=8,
            cell=float(np.clip(pictures.shape[2] / 100, 1.1, 2.2)),
            image_cmap="gray",
        )

    def _grid(self) -> Figure:
        tabular = self.samples.are_rows
        rows, columns = len(self.predictions), len(self.relevances)
        height = 1 + 0.28 * min(11, self.samples.x.shape[1]) if tabular else 2.2
        figure, axes = plt.subplots(
            *(rows, columns),
            figsize=(5.5 * columns, (height + 0.4) * rows),
            squeeze=False,
            layout="constrained",
        )
        for i, line in enumerate(axes):
            for ax, method in zip(line, self.relevances, strict=True):
                self._draw(ax, method, i)
                _set_title(ax, f"{method}\n{_wrapped(self._captions[i], 50)}")
        return figure

    def _draw(self, ax: Any, method: str, i: int) -> None:
        """One method at one sample."""
        sums = self.sums.get(method)
        share = None if sums is None else float(sums.shares[i])
        self.samples.draw(self.relevances[method][i], i, ax, share)

    def _write_figure(self, file: BinaryIO, kind: str) -> None:
        save_figure(self.figure(), file, kind)

    def _write_page(self, file: BinaryIO) -> None:
        about: dict[str, Any] = {"plans": self.plans, "facts": self.facts}
        for piece in html_report(self._on_page(), title="Explanations", **about):
            file.write(piece.encode())

    def _on_page(self) -> Iterator[SampleReport]:
        for i, (name, told) in enumerate(zip(self.samples.names, self.predictions, strict=True)):
            panels = [self._panel(method, i) for method in self.relevances]
            yield SampleReport(name, told, self.samples.inputs(i) + panels)

    def _panel(self, method: str, i: int) -> Panel:
        note = str(self.sums[method].at(i)) if method in self.sums else ""
        return Panel(method, self.samples.on_page(self.relevances[method][i], i), note)

    def _only(self, i: int) -> Explanations:
        """The explanations of one sample."""
        pick = slice(i, i + 1)
        return replace(
            self,
            samples=self.samples.part(pick),
            predictions=self.predictions[pick],
            relevances={name: array[pick] for name, array in self.relevances.items()},
            sums={name: sums.at(pick) for name, sums in self.sums.items()},
        )


def check_destination(path: Path, samples: Samples) -> None:
    """Whether a file can hold explanations of some samples, before they are computed.

    Raises:
        ValueError: If it cannot.
    """
    kind, shape = path.suffix.lower(), samples.x.shape[1:]
    if kind in (".csv", ".parquet") and samples.x.ndim != 2:
        raise ValueError(
            f"{printable(path)} can hold the relevance of features. The samples have the shape "
            f"{shape}: use {'.npy or .npz' if kind == '.csv' else '.zarr'}."
        )
    numbers = printable(path.with_suffix(".npz"))
    if kind not in (*NUMBERS, *STORES) and samples.x.ndim not in (2, 3, 4):
        raise ValueError(
            f"There is no picture for samples of the shape {shape}: write numbers, --out {numbers}."
        )
    most = MOST if kind in PICTURES else MOST_ON_PAGE
    if kind in PICTURES + PAGES and len(samples.x) > most:
        raise ValueError(
            f"{len(samples.x)} samples are too many for one picture or page (at most {most}). "
            f"Write to a folder, --out {printable(path.with_suffix(''))}, or numbers, --out "
            f"{numbers}."
        )


def files_in(folder: Path, names: Iterable[str]) -> list[Path]:
    """The pictures of samples in a folder, by the samples' names."""
    listed = list(names)
    width = len(str(len(listed) - 1))
    stems = [re.sub(r"[^\w-]+", "_", re.sub(r"\.\w+", "", name)).strip("_") for name in listed]
    return [folder / f"{i:0{width}}_{stem[:LONGEST]}.png" for i, stem in enumerate(stems)]


def check_scores(path: Path, metrics: Iterable[str]) -> None:
    """Whether the results of an evaluation can be written there, before they are computed.

    Args:
        path: The file.
        metrics: The names of the metrics.

    Raises:
        ValueError: If there are no curves to draw, or those of several metrics.
    """
    drawn = [name for name in metrics if name in CURVES]
    if path.suffix.lower() != ".csv" and len(drawn) != 1:
        raise ValueError(
            f"{printable(path)}: a picture holds the curves of one metric out of "
            f"{', '.join(CURVES)}. Received: {', '.join(drawn) or 'none of them'}."
        )


def save_scores(evaluation: Any, path: Path) -> None:
    """Write the results of an evaluation: the scores as .csv, the curves as a picture.

    Args:
        evaluation: What `evaluate` returns.
        path: See `check_scores`.
    """
    kind = path.suffix.lower()
    if kind == ".csv":
        save(path, lambda file: file.write(_as_csv(evaluation.scores)))
    else:
        curves = plot_perturbation_curves(evaluation.curves).figure
        save(path, lambda file: save_figure(curves, file, kind))


def save(path: Path, write: Callable[[BinaryIO], Any]) -> Path:
    """Write a file, which takes its place when it is complete. Its folder is made if need be.

    Raises:
        OSError: If that is not possible; what was there before stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            write(file)
    except OSError as error:
        why = error.strerror or error
        raise OSError(f"{printable(path)} cannot be written: {why}.") from error
    return path


def save_figure(figure: Any, file: BinaryIO, kind: str) -> None:
    """Write a figure in the format of an extension and forget it."""
    try:
        figure.savefig(file, format=kind.removeprefix("."), dpi=130, bbox_inches="tight")
    finally:
        plt.close(figure)


def _as_csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False).encode("utf-8", "backslashreplace")


def _by_name(relevances: dict[str, Any]) -> dict[str, np.ndarray]:
    """One array for each method, or for each method and layer, `method/layer`."""
    found: dict[str, np.ndarray] = {}
    for method, relevance in relevances.items():
        layers = relevance if isinstance(relevance, dict) else {"": relevance}
        found |= {f"{method}/{layer}".removesuffix("/"): array for layer, array in layers.items()}
    return found


def _set_title(ax: Any, text: str) -> None:
    ax.set_title(text, fontsize=10, parse_math=False)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
