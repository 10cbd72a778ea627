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

from innvestigate.utils.arguments import (
    as_array,
    check_iterable,
    check_keys,
    check_kind,
    check_list,
    check_text,
    settle,
)
from innvestigate.utils.words import shown

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

    Raises:
        TypeError: If the picture is neither, or a text is none.
        ValueError: If it has another shape.
    """

    title: str
    picture: Figure | np.ndarray
    note: str = ""

    def __post_init__(self):
        check_text("title", self.title)
        check_text("note", self.note)
        if not isinstance(self.picture, Figure):
            settle(self, picture=_image(self.picture))

    @property
    def is_small(self) -> bool:
        """Whether it is an image of so few pixels that one sees them."""
        return not isinstance(self.picture, Figure) and max(self.picture.shape[:2]) < SMALL

    def encoded(self) -> str:
        """The picture as PNG in base64."""
        written = io.BytesIO()
        if isinstance(self.picture, Figure):
            self.picture.savefig(written, format="png", dpi=DPI, bbox_inches="tight")
            plt.close(self.picture)
        else:
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

    Raises:
        TypeError: If a text or a panel is none.
    """

    name: str
    prediction: str
    panels: Sequence[Panel]

    def __post_init__(self):
        check_text("name", self.name)
        check_text("prediction", self.prediction)
        for panel in check_list("panels", self.panels):
            check_kind("Each of panels", panel, Panel, "an innvestigate.visualization.Panel")


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
        TypeError: If an argument is of another kind; of samples when their turn comes.
        ValueError: If the rows of a table have different keys.

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
    told = {
        "title": check_text("title", title),
        "plans": {} if plans is None else _tables(plans),
        "facts": {} if facts is None else _in_words("facts", facts),
    }
    given = check_iterable("samples", samples, "samples, each a SampleReport")
    pieces = environment.get_template("report.html").generate(samples=_each(given), **told)
    return (piece.encode("utf-8", "backslashreplace").decode("utf-8") for piece in pieces)


def _image(picture: Any) -> np.ndarray:
    """An image, checked."""
    array = as_array("picture", picture)
    if array.dtype != "uint8":
        raise TypeError(
            "picture must be a figure of matplotlib or an image in bytes, uint8. Received: "
            f"{shown(picture)} (of {array.dtype})."
        )
    if not array.size or array.ndim not in (2, 3) or array.shape[2:] not in _CHANNELS:
        raise ValueError(
            "picture must be an image of the shape (height, width), or with 1, 3 or 4 channels. "
            f"Received the shape: {array.shape}."
        )
    return array


_CHANNELS = ((), (1,), (3,), (4,))


def _each(samples: Iterator) -> Iterator[SampleReport]:
    """Samples, each checked when its turn comes."""
    for sample in samples:
        yield check_kind("Each of samples", sample, SampleReport, "a SampleReport")


def _tables(plans: Any) -> dict[str, list[dict[str, str]]]:
    """The rows of tables in words."""
    found = {}
    for name, rows in check_keys("plans", plans).items():
        place = f"plans[{shown(name)}]"
        found[name] = [_in_words(f"Each row of {place}", row) for row in check_list(place, rows)]
        if len({tuple(row) for row in found[name]}) > 1:
            raise ValueError(f"The rows of {place} must have the same keys, in one order.")
    return found


def _in_words(name: str, values: Any) -> dict[str, str]:
    """What is told by name: texts as they are, and all else as it prints."""
    return {key: _as_text(value) for key, value in check_keys(name, values).items()}


def _as_text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # of objects that cannot be shown
        return shown(value)
