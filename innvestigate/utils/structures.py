"""Results in structures of dicts and lists, by the names of their places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SINGLE = "relevance"
"""The name of a result that is not one of several."""


def named(result: Any, place: str = "") -> dict[str, Any]:
    """The arrays of a structure by their places in it, such as `input/0`."""
    if isinstance(result, dict):
        parts: Iterable = result.items()
    elif isinstance(result, (list, tuple)):
        parts = enumerate(result)
    else:
        return {place or SINGLE: result}
    found = (named(part, f"{place}/{key}" if place else str(key)) for key, part in parts)
    return {name: array for arrays in found for name, array in arrays.items()}
