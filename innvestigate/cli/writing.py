"""Explanations as files: pictures, arrays, tables."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from innvestigate.cli.reading import Samples
from innvestigate.visualization import (
    plot_comparison,
    plot_heatmap,
    plot_perturbation_curves,
    plot_tabular,
    plot_time_series,
)

PICTURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp")
NUMBERS = (".npy", ".npz", ".csv")
MOST = 100  # samples in one picture


@dataclass(frozen=True)
class Explanations:
    """What some methods say of some samples.

    Attributes:
        samples: The samples.
        captions: The name of each, and what was explained of it.
        relevances: By method, an array of the shape of the samples.
        accounted: By method, the share of the explained output that each sample's relevance adds
            up to; methods that add up to nothing are left out.
    """

    samples: Samples
    captions: list[str]
    relevances: dict[str, np.ndarray]
    accounted: dict[str, np.ndarray]

    def save(self, path: Path) -> list[Path]:
        """Write a file, by its extension; or, in a folder, a picture of each sample and a .npz.

        Folders that do not exist are made.

        Returns:
            The files written.

        Raises:
            OSError: If a file cannot be written.
            ValueError: If the kind of file cannot hold these explanations.
        """
        check_destination(path, list(self.relevances), self.samples)
        kind = path.suffix.lower()
        if not kind:
            return self._save_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind in PICTURES:
            save_figure(self.figure(), path)
        elif kind == ".npz":
            np.savez(path, **self.relevances)  # type: ignore[arg-type]  # an array may have any name
        elif kind == ".npy":
            np.save(path, next(iter(self.relevances.values())))
        else:
            self.table().to_csv(path, index=False)
        return [path]

    def figure(self) -> Figure:
        """One heatmap over its image, or a grid of samples and methods."""
        if _is_image(self.samples):
            return self._overlay() if self._is_single() else self._comparison()
        return self._grid()

    def table(self) -> pd.DataFrame:
        """A row for each sample and method: sample, method, the relevance of each feature."""
        features = _features(self.samples)
        parts = []
        for method, relevance in self.relevances.items():
            part = pd.DataFrame(relevance, columns=features)
            part.insert(0, "method", method)
            part.insert(0, "sample", self.samples.names)
            parts.append(part)
        return pd.concat(parts)

    def _is_single(self) -> bool:
        return len(self.captions) == len(self.relevances) == 1

    def _overlay(self) -> Figure:
        ((method, relevance),) = self.relevances.items()
        figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
        picture = _pictures(self.samples)[0]
        share = self._share(method, 0)
        plot_heatmap(
            *(relevance[0], ax),
            image=picture,
            image_cmap="gray",
            colorbar=True,
            accounted=share,
        )
        ax.set_title(f"{method}\n{_wrapped(self.captions[0], 50)}", fontsize=10)
        return figure

    def _comparison(self) -> Figure:
        pictures = _pictures(self.samples)
        return plot_comparison(
            pictures,
            self.relevances,
            [_wrapped(caption, 18) for caption in self.captions],
            max_columns=8,
            cell=float(np.clip(pictures.shape[2] / 100, 1.1, 2.2)),
            image_cmap="gray",
        )

    def _grid(self) -> Figure:
        tabular = self.samples.x.ndim == 2
        rows, columns = len(self.captions), len(self.relevances)
        height = 1 + 0.28 * min(11, self.samples.x.shape[1]) if tabular else 2.2
        figure, axes = plt.subplots(
            *(rows, columns),
            figsize=(5.5 * columns, (height + 0.4) * rows),
            squeeze=False,
            layout="constrained",
        )
        for i, line in enumerate(axes):
            x, caption = self.samples.x[i], self.captions[i]
            for ax, (method, relevance) in zip(line, self.relevances.items(), strict=True):
                share: dict[str, Any] = {"accounted": self._share(method, i)}
                if tabular:
                    plot_tabular(relevance[i], ax, names=_features(self.samples), values=x, **share)
                else:
                    plot_time_series(x, relevance[i], ax, colorbar=True, **share)
                ax.set_title(f"{method}\n{_wrapped(caption, 50)}", fontsize=10)
        return figure

    def _save_folder(self, path: Path) -> list[Path]:
        path.mkdir(parents=True, exist_ok=True)
        width = len(str(len(self.captions) - 1))
        written = []
        for i, name in enumerate(self.samples.names):
            stem = re.sub(r"[^\w-]+", "_", re.sub(r"\.\w+", "", name)).strip("_")
            written.append(path / f"{i:0{width}}_{stem}.png")
            save_figure(self._only(i).figure(), written[-1])
        np.savez(path / "relevance.npz", **self.relevances)  # type: ignore[arg-type]  # an array may have any name
        return [*written, path / "relevance.npz"]

    def _share(self, method: str, i: int) -> float | None:
        """The share of the output that a method accounts for at a sample, if it does at all."""
        return float(self.accounted[method][i]) if method in self.accounted else None

    def _only(self, i: int) -> Explanations:
        """The explanations of one sample."""
        pick = slice(i, i + 1)
        given = self.samples
        pictures = None if given.pictures is None else given.pictures[pick]
        samples = replace(given, x=given.x[pick], names=given.names[pick], pictures=pictures)
        relevances = {name: array[pick] for name, array in self.relevances.items()}
        accounted = {name: shares[pick] for name, shares in self.accounted.items()}
        return Explanations(samples, self.captions[pick], relevances, accounted)


def sums_in_words(names: list[str], accounted: np.ndarray) -> str:
    """Which share of the output the relevance of samples adds up to."""
    if len(names) == 1:
        return f"adds up to {accounted[0]:.2%} of the explained output"
    low, high = np.nanmin(accounted), np.nanmax(accounted)
    return f"adds up to {low:.2%} to {high:.2%} of the explained output"


def check_destination(path: Path, methods: list[str], samples: Samples) -> None:
    """Whether explanations can be written there, before they are computed.

    Raises:
        ValueError: If the kind of file is unknown, or cannot hold explanations of these samples.
    """
    kind = path.suffix.lower()
    if kind and kind not in PICTURES + NUMBERS:
        raise ValueError(
            f"{path} has the extension {kind!r}. Expected: a picture ({', '.join(PICTURES)}), "
            f"numbers ({', '.join(NUMBERS)}), or a folder (no extension)."
        )
    if path.is_file() and not kind:
        raise ValueError(f"{path} is a file. Expected: a folder, or a file with an extension.")
    if path.is_dir() and kind:
        raise ValueError(f"{path} is a folder. Expected: a file, or a folder without a dot.")
    if kind == ".npy" and len(methods) > 1:
        raise ValueError(
            f"{path} can hold one array, and there are {len(methods)} methods. Use .npz, which has "
            "an array for each of them."
        )
    if kind == ".csv" and samples.x.ndim != 2:
        raise ValueError(
            f"{path} can hold the relevance of features. The samples have the shape "
            f"{samples.x.shape[1:]}: use .npy or .npz."
        )
    drawn = kind in PICTURES or not kind
    if drawn and samples.x.ndim not in (2, 3, 4):
        raise ValueError(
            "There is no picture for samples of the shape "
            f"{samples.x.shape[1:]}: write numbers, --out {path.with_suffix('.npz')}."
        )
    if kind in PICTURES and len(samples.x) > MOST:
        raise ValueError(
            f"{len(samples.x)} samples are too many for one picture (at most {MOST}). Write to a "
            f"folder, --out {path.with_suffix('')}, or numbers, --out {path.with_suffix('.npz')}."
        )


def check_scores(path: Path, metrics: list[str]) -> None:
    """Whether the results of an evaluation can be written there, before they are computed.

    Raises:
        ValueError: If the kind of file is unknown, or there are no curves to draw.
    """
    if path.suffix.lower() not in (*PICTURES, ".csv"):
        raise ValueError(
            f"{path} has the extension {path.suffix!r}. Expected: .csv for the scores, or a "
            f"picture ({', '.join(PICTURES)}) for the curves."
        )
    if path.suffix.lower() != ".csv" and not any("region_perturbation" in m for m in metrics):
        raise ValueError(f"{path}: curves are those of region_perturbation. Add this metric.")


def save_scores(evaluation: Any, path: Path) -> None:
    """Write the results of an evaluation: the scores as .csv, the curves as a picture.

    Args:
        evaluation: What `evaluate` returns.
        path: See `check_scores`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".csv":
        evaluation.scores.to_csv(path, index=False)
    else:
        save_figure(plot_perturbation_curves(evaluation.curves).figure, path)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure and forget it."""
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def _is_image(samples: Samples) -> bool:
    return samples.pictures is not None or samples.x.ndim == 4


def _pictures(samples: Samples) -> np.ndarray:
    """The samples as images to look at."""
    if samples.pictures is not None:
        return samples.pictures
    drawable = samples.x.shape[-1] in (1, 3, 4)
    return samples.x if drawable else samples.x.mean(axis=-1)


def _features(samples: Samples) -> list[str]:
    return samples.features or [f"feature {i}" for i in range(samples.x.shape[1])]


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
