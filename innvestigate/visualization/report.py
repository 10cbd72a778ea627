"""Explanations as one page that needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from innvestigate.visualization.scales import numbers

SMALL = 100  # pixels, below which an image is shown with sharp edges
DPI = 110


@dataclass(frozen=True)
class Panel:
    """One picture of a sample.

    Attributes:
        title: What it is, such as the method.
        picture: A figure, which is closed when it has been written; or an image in bytes, of the
            shape `(height, width)`, or with 1, 3 or 4 channels.
        note: A line below it.
    """

    title: str
    picture: Figure | np.ndarray
    note: str = ""

    @property
    def is_small(self) -> bool:
        """Whether it is an image of so few pixels that one sees them."""
        return not isinstance(self.picture, Figure) and max(self.picture.shape[:2]) < SMALL

    def encoded(self) -> str:
        """The picture as PNG in base64.

        Raises:
            TypeError: If it is neither a figure nor bytes.
            ValueError: If it has another shape.
        """
        written = io.BytesIO()
        if isinstance(self.picture, Figure):
            self.picture.savefig(written, format="png", dpi=DPI, bbox_inches="tight")
            plt.close(self.picture)
        else:
            numbers(self.picture, "picture", ranks=(2, 3), expected="an image.")
            if self.picture.dtype != "uint8":
                raise TypeError(f"An image is of bytes, uint8. Received: {self.picture.dtype}.")
            single = self.picture.shape[2:] == (1,)
            pixels = self.picture[..., 0] if single else self.picture
            Image.fromarray(np.ascontiguousarray(pixels)).save(written, format="png")
        return base64.b64encode(written.getvalue()).decode("ascii")


@dataclass(frozen=True)
class SampleReport:
    """What a page says of one sample.

    Attributes:
        name: What it is called.
        prediction: What the model says of it, in words.
        panels: Its pictures, in their order.
    """

    name: str
    prediction: str
    panels: Sequence[Panel]


def html_report(
    samples: Iterable[SampleReport],
    *,
    title: str = "Explanations",
    plans: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """One self-contained page: pictures of samples, which rule each layer gets, how it was made.

    It loads nothing and runs no script; all text is escaped. It is made piece by piece, so that an
    iterator of samples may draw each when its turn comes.

    Args:
        samples: The samples.
        title: The title.
        plans: For each method the rows of a table, all with the same keys; empty for none.
        facts: What else is to be known, such as versions, by name.

    Returns:
        The pieces of the page, to be written one after the other in UTF-8.

    Raises:
        TypeError: If a picture is neither a figure nor an image in bytes.
        ValueError: If an image has another shape.

    Example:
        >>> from pathlib import Path
        >>> from innvestigate.visualization import plot_heatmap
        >>> panels = [Panel("lrp.epsilon", plot_heatmap(relevance[0]).figure)]
        >>> page = html_report([SampleReport("cat.png", "cat, probability 0.9", panels)])
        >>> Path("report.html").write_text("".join(page), "utf-8")
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("innvestigate", "visualization"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html")
    return page.generate(title=title, samples=samples, plans=plans or {}, facts=facts or {})
