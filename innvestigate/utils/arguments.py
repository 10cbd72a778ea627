"""Checks of arguments that many functions take."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_whole(name: str, value: Any, least: int) -> int:
    """The argument, if it is a whole number of at least `least`.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}. Received: {value!r}.")
    return int(value)


def check_seed(seed: Any) -> int | None:
    """The seed, if it is None or a whole number >= 0.

    Raises:
        ValueError: If it is neither.
    """
    return None if seed is None else check_whole("seed", seed, 0)


def seed_or_fresh(seed: int | None) -> int:
    """The seed; where there is none, one that nobody has used yet."""
    return np.random.SeedSequence().entropy if seed is None else seed
