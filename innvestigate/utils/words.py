"""What messages say of values that may be anything."""

from __future__ import annotations

from typing import Any


def one_line(text: str, most: int = 600) -> str:
    """A text without line breaks and other unprintable characters, cut where it is too long."""
    words = "".join(c if c.isprintable() else " " for c in text[: 10 * most]).split()
    line = " ".join(words)
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def shown(value: Any) -> str:
    """A value in a few words and one line, whatever it is."""
    kind = type(value).__name__
    if isinstance(getattr(value, "shape", None), tuple) and value.shape:
        return f"an array (of type {kind}) of shape {value.shape}"
    try:
        text = one_line(repr(value), 120)
    except Exception:
        text = ""
    return text or f"an object of type {kind}"
