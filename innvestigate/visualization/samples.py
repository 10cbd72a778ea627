"""Samples of any kind, and the picture that shows the relevance of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from innvestigate.visualization.images import image_to_look_at, plot_heatmap
from innvestigate.visualization.overlay import Overlay, in_bytes
from innvestigate.visualization.page import Panel
from innvestigate.visualization.sequences import plot_time_series
from innvestigate.visualization.tables import plot_tabular
from innvestigate.visualization.text import HTML, plot_text, text_html

PADDING = "[PAD]"
"""What is shown of padding that has relevance; what has none is left out behind the last word."""


@dataclass(frozen=True)
class Samples:
    """What is explained, and what is to be seen of it.

    Attributes:
        x: The samples as the model takes them, `(n, *shape)`.
        names: A name for each.
        pictures: Images to look at, as bytes or in [0, 1], `(n, height, width[, channels])`; None
            for other data, or where x is what is looked at.
        features: The names of the columns of a table; None for other data.
        tokens: For each sample the words at its places, empty for padding; None for other data.
    """

    x: np.ndarray
    names: list[str]
    pictures: np.ndarray | None = None
    features: list[str] | None = None
    tokens: Sequence[Sequence[str]] | None = None

    def part(self, pick: slice) -> Samples:
        """Some of them."""
        pictures = None if self.pictures is None else self.pictures[pick]
        tokens = None if self.tokens is None else self.tokens[pick]
        return replace(
            self, x=self.x[pick], names=self.names[pick], pictures=pictures, tokens=tokens
        )

    @property
    def are_images(self) -> bool:
        """Whether relevance is drawn over an image."""
        return self.tokens is None and (self.pictures is not None or self.x.ndim == 4)

    @property
    def are_rows(self) -> bool:
        """Whether they are rows of a table."""
        return self.tokens is None and self.pictures is None and self.x.ndim == 2

    @property
    def can_be_drawn(self) -> bool:
        """Whether there is a picture for data of their shape."""
        return self.tokens is not None or self.pictures is not None or self.x.ndim in (2, 3, 4)

    @property
    def images(self) -> np.ndarray:
        """They, as images to look at."""
        if self.pictures is not None:
            return self.pictures
        drawable = self.x.shape[-1] in (1, 3, 4)
        return self.x if drawable else self.x.mean(axis=-1)

    @property
    def columns(self) -> list[str]:
        """The names of the features of a table."""
        return list(self.features or [f"feature {i}" for i in range(self.x.shape[1])])

    def draw(self, relevance: np.ndarray, i: int, ax: Axes, accounted: float | None = None) -> None:
        """Draw the relevance of one sample.

        Args:
            relevance: Its relevance.
            i: Which sample it is.
            ax: Where.
            accounted: Which share of what is explained it adds up to; None to write nothing of it.
        """
        share: dict[str, Any] = {"accounted": accounted}
        if self.tokens is not None:
            plot_text(*self._words(relevance, i), ax, **share)
        elif self.are_images:
            share |= {"image": self.images[i], "image_cmap": "gray", "colorbar": True}
            plot_heatmap(relevance, ax, **share)
        elif self.are_rows:
            plot_tabular(relevance, ax, names=self.columns, values=self.x[i], **share)
        else:
            plot_time_series(self.x[i], relevance, ax, colorbar=True, **share)

    def inputs(self, i: int) -> list[Panel]:
        """One sample by itself, for a page, where its relevance does not show all of it."""
        if not self.are_images:
            return []
        image = self.images[i]
        return [Panel("input", in_bytes(image_to_look_at(image, image.shape[:2])))]

    def on_page(self, relevance: np.ndarray, i: int) -> Figure | Overlay | HTML:
        """The relevance of one sample as a page shows it."""
        if self.tokens is not None:
            return text_html(*self._words(relevance, i))
        if self.are_images:
            return Overlay(relevance, self.images[i])
        figure, ax = plt.subplots(figsize=(4.5, 4), layout="constrained")
        self.draw(relevance, i, ax)
        return figure

    def _words(self, relevance: np.ndarray, i: int) -> tuple[list[str], np.ndarray]:
        """The tokens of a sample and one number for each, up to the last that says anything.

        Raises:
            ValueError: If there is relevance behind the last token.
        """
        assert self.tokens is not None
        words = list(self.tokens[i])
        places = np.atleast_1d(relevance)
        numbers = places.reshape(len(places), -1).sum(axis=1)
        count, tells = len(words), np.flatnonzero(numbers)
        if tells.size and tells[-1] >= count:
            raise ValueError(
                f"tokens[{i}] has {count} words, but there is relevance at the places up to "
                f"{tells[-1]}, counted from 0. Pass a word for each, such as '[PAD]' for padding."
            )
        named = [place for place, word in enumerate(words) if word]
        end = 1 + max([0, *named[-1:], *tells[-1:]])
        return [word or PADDING for word in words[:end]], numbers[:end]
