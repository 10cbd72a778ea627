"""Names that the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from innvestigate.utils.words import shown


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A sentence with the known names that are close to a name, and a space; "" if none is."""
    close = difflib.get_close_matches(shown(name)[:100], list(known), n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The message that there is nothing of a name: what is close to it, and all that there is.

    Args:
        kind: What is not known, in a word.
        name: Its name.
        known: All names.
    """
    return (
        f"There is no {kind} called {shown(name)}. {did_you_mean(name, known)}All names: "
        f"{', '.join(known)}."
    )
