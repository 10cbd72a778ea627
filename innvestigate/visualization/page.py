"""Explanations as one page that needs no other file."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

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
from innvestigate.visualization.overlay import SMALL, Overlay, encoded
from innvestigate.visualization.text import HTML

DPI = 110
SCRIPT = """\
document.documentElement.classList.add("live");
addEventListener("input", ({target}) =>
  target.closest("section").style.setProperty("--heat", target.value));
"""
"""What a page runs, and all that it may run: it moves the heatmaps of a sample over their image."""


@dataclass(frozen=True)
class Panel:
    """One picture of a sample.

    Attributes:
        title: What it is, such as the method.
        picture: A figure, which is closed when it has been written; an image in bytes, of the
            shape `(height, width)`, or with 1, 3 or 4 channels; an `Overlay`; or `HTML`, such as
            `text_html` writes, which is put on the page as it is.
        note: A line below it.

    Raises:
        TypeError: If the picture is none of these, or a text is none.
        ValueError: If an image has another shape.
    """

    title: str
    picture: Figure | np.ndarray | Overlay | HTML
    note: str = ""

    def __post_init__(self):
        check_text("title", self.title)
        check_text("note", self.note)
        if not isinstance(self.picture, (Figure, Overlay, HTML)):
            settle(self, picture=_image(self.picture))

    @property
    def is_small(self) -> bool:
        """Whether it is an image of so few pixels that one sees them."""
        return isinstance(self.picture, np.ndarray) and max(self.picture.shape[:2]) < SMALL

    @property
    def over(self) -> Overlay | None:
        """The relevance of an image over it, if it is that."""
        return self.picture if isinstance(self.picture, Overlay) else None

    @property
    def words(self) -> HTML | None:
        """The piece of HTML that it is, if it is one."""
        return self.picture if isinstance(self.picture, HTML) else None

    def encoded(self) -> str:
        """The figure or image as PNG in base64."""
        if isinstance(self.picture, np.ndarray):
            return encoded(self.picture)
        assert isinstance(self.picture, Figure)
        written = io.BytesIO()
        self.picture.savefig(written, format="png", dpi=DPI, bbox_inches="tight")
        plt.close(self.picture)
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

    @property
    def slides(self) -> bool:
        """Whether there are heatmaps over an image, which a slider moves."""
        return any(panel.over is not None for panel in self.panels)


def html_report(
    samples: Iterable[SampleReport],
    *,
    title: str = "Explanations",
    plans: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """One self-contained page: pictures of samples, which rule each layer gets, how it was made.

    It loads nothing; all text is escaped. A script of three lines moves heatmaps over their images:
    the page's content security policy names its checksum and lets no other run, and without it the
    heatmaps stay half over them. It is made piece by piece, so that an iterator of samples may draw
    each when its turn comes.

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
        >>> Path("page.html").write_text("".join(page), "utf-8")
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
        "encoded": encoded,
        "script": SCRIPT,
        "checksum": base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii"),
        "plans": {} if plans is None else _tables(plans),
        "facts": {} if facts is None else _in_words("facts", facts),
    }
    given = check_iterable("samples", samples, "samples, each a SampleReport")
    pieces = environment.get_template("page.html").generate(samples=_each(given), **told)
    return (piece.encode("utf-8", "backslashreplace").decode("utf-8") for piece in pieces)


def _image(picture: Any) -> np.ndarray:
    """An image, checked."""
    array = as_array("picture", picture)
    if array.dtype != "uint8":
        raise TypeError(
            "picture must be a figure of matplotlib, an image in bytes, uint8, an Overlay or HTML. "
            f"Received: {shown(picture)} (of {array.dtype})."
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
