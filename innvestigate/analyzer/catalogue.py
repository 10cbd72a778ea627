"""What the analyzers' own documentation says of them, by name."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from innvestigate.analyzer import analyzers
from innvestigate.rules import as_rule


@dataclass(frozen=True)
class Entry:
    """One analyzer: its name, what it computes in one line, its papers, its documentation."""

    name: str
    summary: str
    papers: str
    documentation: str


def catalogue(text: str = "") -> list[Entry]:
    """The analyzers whose name contains a text.

    Args:
        text: The text; by default all of them are listed.

    Returns:
        One `Entry` for each, in the order of `innvestigate.analyzers`.
    """
    return [_entry(name) for name in analyzers if text.lower() in name.lower()]


def _entry(name: str) -> Entry:
    create = analyzers[name]
    cls, settings = (create.func, create.keywords) if isinstance(create, partial) else (create, {})
    described = [*_rule_of(settings), *getattr(cls, "__mro__", [cls])]
    summary = _documentation(described[0]).splitlines()[0].rstrip(".")
    if settings:
        summary += f" ({', '.join(f'{key}={value!r}' for key, value in settings.items())})"
    return Entry(name, summary, _papers(described), _documentation(cls))


def _documentation(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _rule_of(settings: dict) -> list[type]:
    """The class of the relevance rule that makes a setting of LRP."""
    rule = settings.get("rule", "")
    return [type(as_rule(rule))] if rule[:1].isupper() else []


def _papers(described: list) -> str:
    """Authors and years of the papers that the first docstring with a reference names."""
    for thing in described:
        _, _, reference = inspect.cleandoc(thing.__doc__ or "").partition("Reference: ")
        found = re.findall(r"(?:^|; )([^;]*?\b\d{4})", " ".join(reference.split()))
        if found:
            return "; ".join(found)
    return ""
