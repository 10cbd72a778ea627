"""Checks of arguments that many functions take: each raises a ValueError that names it."""

from __future__ import annotations

import secrets
from collections.abc import Collection
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


def check_number(
    name: str, value: Any, least: float = -np.inf, above: float = -np.inf, advice: str = ""
) -> Any:
    """The argument, if it is a finite number of at least `least` and greater than `above`.

    Args:
        name: The argument's name.
        value: Its value.
        least: The least number that is allowed.
        above: A number that is too small just so.
        advice: What else the message says.

    Raises:
        ValueError: If it is not.
    """
    number = np.asarray(value if np.isscalar(value) or hasattr(value, "dtype") else None)
    fits = number.ndim == 0 and number.dtype.kind in "fiu"
    if not fits or not np.isfinite(number) or number < least or number <= above:
        bounds = {f" >= {least:g}": least, f" > {above:g}": above}
        limits = " and".join(text for text, bound in bounds.items() if bound > -np.inf)
        raise ValueError(f"{name} must be a finite number{limits}. Received: {value!r}.{advice}")
    return value


def check_flags(**flags: Any) -> None:
    """Whether arguments are True or False.

    Raises:
        ValueError: If one is neither; names it.
    """
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name} must be True or False. Received: {value!r}.")


def check_choice(name: str, value: Any, options: Collection) -> Any:
    """The argument, if it is one of the options: texts, or None.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, (str, type(None))) or value not in options:
        known = ", ".join(map(repr, options))
        raise ValueError(f"{name} must be one of {known}. Received: {value!r}.")
    return value


def as_array(name: str, value: Any) -> np.ndarray:
    """The argument as an array.

    Raises:
        ValueError: If it is ragged, or one of its entries is masked.
    """
    if any(map(np.ma.is_masked, value if isinstance(value, (list, tuple)) else [value])):
        raise ValueError(
            f"{name} is a masked array, whose masked entries have no value. Fill them, such as by "
            "x.filled(0), or leave these samples out."
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not an array: {error}") from None


def check_array(name: str, value: Any) -> np.ndarray:
    """The argument as an array, if it is one of finite numbers.

    Raises:
        ValueError: If it is not.
    """
    array = as_array(name, value)
    if array.dtype.kind not in "fiub" or not array.size or not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be a number or array of finite ones. Received: {value!r}.")
    return array


def check_seed(seed: Any) -> int | None:
    """The seed, if it is None or a whole number >= 0.

    Raises:
        ValueError: If it is neither.
    """
    return None if seed is None else check_whole("seed", seed, 0)


def seed_or_fresh(seed: int | None) -> int:
    """The seed; where there is none, one that nobody has used yet."""
    return secrets.randbits(128) if seed is None else seed
