"""Checks of arguments that many functions take, one for each kind of argument.

Each names the argument, says what was expected and what came, and returns the argument in its
plainest form: a number of Python, whatever kind of number was given.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from innvestigate.utils.words import one_line, shown

_LONGEST = 20
"""How many names a message lists."""
_LARGEST = 2**63 - 1
"""What whole numbers may be at most: arrays count up to it."""


def check_whole(name: str, value: Any, least: int, most: float = _LARGEST) -> int:
    """The argument as an int, if it is a whole number of at least `least`, and at most `most`.

    Raises:
        ValueError: If it is not.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not least <= value <= most:
        open_end = most >= _LARGEST and not (whole and value > most)
        limits = f">= {least}" if open_end else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {limits}. Received: {shown(value)}.")
    return int(value)


def check_number(
    name: str,
    value: Any,
    least: float = -np.inf,
    above: float = -np.inf,
    most: float = np.inf,
    advice: str = "",
) -> int | float:
    """The argument as an int or float, if it is a finite number within bounds.

    Models compute in single precision, where very large numbers are infinite and very small ones
    zero: all but 0 must be of a size from 1e-30 to 1e30.

    Args:
        name: The argument's name.
        value: Its value: a number of Python or numpy, or an array or tensor without axes.
        least: The least number that is allowed.
        above: A number that is too small just so.
        most: The greatest number that is allowed.
        advice: What else the message says.

    Raises:
        ValueError: If it is not.
    """
    number = _as_number(name, value)
    if number is None or not least <= number <= most or number <= above:
        limits = _limits(least, above, most) + _sizes(value)
        raise ValueError(f"{name} must be {limits}. Received: {shown(value)}.{advice}")
    return number


def _limits(least: float, above: float, most: float) -> str:
    """Bounds of a number in words."""
    if most < np.inf:
        return f"in ({above:g}, {most:g}]" if above > -np.inf else f"in [{least:g}, {most:g}]"
    bounds = {f" >= {least:g}": least, f" > {above:g}": above}
    limits = " and".join(text for text, bound in bounds.items() if bound > -np.inf)
    return f"a finite number{limits}"


def _as_number(name: str, value: Any) -> int | float | None:
    """A finite number of Python, if the value is a number."""
    if not isinstance(value, (int, float, np.generic)):
        if not hasattr(value, "dtype") or getattr(value, "shape", None) != ():
            return None
        value = as_array(name, value)[()]
    if isinstance(value, np.floating):
        value = float(value)
    elif isinstance(value, np.integer):
        value = int(value)
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if plain and (value == 0 or _SMALLEST <= abs(value) <= _GREATEST) else None


def _sizes(value: Any) -> str:
    """Words on sizes, where a number of Python has one that is not allowed."""
    if not isinstance(value, (int, float)) or value == 0 or not abs(value) < np.inf:
        return ""
    inside = _SMALLEST <= abs(value) <= _GREATEST
    return "" if inside else f", of a size from {_SMALLEST:g} to {_GREATEST:g}"


_SMALLEST, _GREATEST = 1e-30, 1e30


def check_flags(**flags: Any) -> None:
    """Whether arguments are True or False.

    Raises:
        ValueError: If one is neither; names it.
    """
    for name, value in flags.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ValueError(f"{name} must be True or False. Received: {shown(value)}.")


def check_choice(name: str, value: Any, options: Collection) -> Any:
    """The argument, if it is one of the options: texts, or None.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(value, (str, type(None))) or value not in options:
        raise ValueError(f"{name} must be one of {listed(options)}. Received: {shown(value)}.")
    return value


def check_choices(name: str, value: Any, options: Collection[str]) -> tuple[str, ...]:
    """The argument as a tuple, if it is a list of at least one of the options.

    Raises:
        ValueError: If it is not.
    """
    given = tuple(value) if isinstance(value, (list, tuple)) else ()
    if not given or not all(isinstance(each, str) and each in options for each in given):
        raise ValueError(
            f"{name} must be out of {listed(options)}, at least one. Received: {shown(value)}."
        )
    return given


def check_text(name: str, value: Any) -> str:
    """The argument, if it is a text.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text. Received: {shown(value)}.")
    return value


def check_texts(name: str, value: Any) -> list[str]:
    """The argument as a list, if it is a list, array or series of texts.

    Raises:
        TypeError: If it is not.
    """
    if not _is_list(value) or not all(isinstance(each, str) for each in value):
        raise TypeError(f"{name} must be a list of strings. Received: {shown(value)}.")
    return [str(each) for each in value]


def _is_list(value: Any) -> bool:
    """Whether a value is a sequence, an array or a series, but no text."""
    if isinstance(value, Sequence):
        return not isinstance(value, (str, bytes, bytearray, memoryview))
    return getattr(value, "ndim", 0) == 1


def check_list(name: str, value: Any) -> list:
    """The argument as a list, if it is a sequence, or an array or series with one axis.

    Raises:
        TypeError: If it is not.
    """
    if not _is_list(value):
        raise TypeError(f"{name} must be a list. Received: {shown(value)}.")
    return list(value)


def check_keys(name: str, value: Any) -> dict[str, Any]:
    """The argument as a dict, if it is a mapping whose keys are texts.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a dict whose keys are texts. Received: {shown(value)}.")
    return dict(value)


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> Any:
    """The argument, if it is an object of a kind.

    Args:
        name: The argument's name.
        value: Its value.
        kind: Its class, or several.
        expected: What it must be, in words.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} must be {expected}. Received: {shown(value)} (of type {type(value).__name__})."
        )
    return value


def check_iterable(name: str, value: Any, expected: str) -> Iterator:
    """What yields the parts of the argument, if it has any.

    Args:
        name: The argument's name.
        value: Its value.
        expected: What it must be, in words.

    Raises:
        TypeError: If it yields nothing.
    """
    try:
        return iter(value)
    except Exception:  # symbolic tensors raise errors of their own
        raise TypeError(f"{name} must be {expected}. Received: {shown(value)}.") from None


def check_function(name: str, value: Any, expected: str) -> Callable:
    """The argument, if it can be called.

    Raises:
        TypeError: If it cannot.
    """
    if not callable(value):
        raise TypeError(f"{name} must be {expected}. Received: {shown(value)}.")
    return value


def listed(options: Iterable) -> str:
    """Options as text: all of them, or the first ones."""
    texts = [shown(option) for option in options]
    return ", ".join(texts[:_LONGEST]) + (", ..." if len(texts) > _LONGEST else "")


def as_array(name: str, value: Any) -> np.ndarray:
    """The argument as an array.

    Raises:
        ValueError: If it is ragged or nothing like an array, or one of its entries is masked.
    """
    if any(map(np.ma.is_masked, value if isinstance(value, (list, tuple)) else [value])):
        raise ValueError(
            f"{name} is a masked array, whose masked entries have no value. Fill them, such as by "
            "x.filled(0), or leave these samples out."
        )
    try:
        return _plain_array(np.asarray(value))
    except Exception as error:
        raise ValueError(
            f"{name} is not an array. Received: {shown(value)}: {one_line(str(error), 200)}"
        ) from None


def _plain_array(array: np.ndarray) -> np.ndarray:
    """An array in a type that all backends know: of this machine's byte order, no longdouble."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):
            return array.astype("float64")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def numbers_of(name: str, value: Any) -> np.ndarray:
    """The argument as an array, if it is one of real numbers; they need not be finite.

    Raises:
        ValueError: If it is not, or empty.
    """
    array = as_array(name, value)
    if array.dtype.kind not in "fiub" or not array.size:
        raise ValueError(
            f"{name} must be a number or array of finite ones. Received: {shown(value)} (of the "
            f"type {array.dtype})."
        )
    return array


def check_array(name: str, value: Any) -> np.ndarray:
    """The argument as an array, if it is one of finite numbers.

    Raises:
        ValueError: If it is not.
    """
    array = numbers_of(name, value)
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} must be a number or array of finite ones. Received: {shown(value)}, which "
            "holds NaN or infinite values."
        )
    return array


def check_seed(seed: Any) -> int | None:
    """The seed, if it is None or a whole number >= 0.

    Raises:
        ValueError: If it is neither.
    """
    return None if seed is None else check_whole("seed", seed, 0, np.inf)


def seed_or_fresh(seed: int | None) -> int:
    """The seed; where there is none, one that nobody has used yet."""
    return secrets.randbits(128) if seed is None else seed


def settle(owner: Any, **fields: Any) -> None:
    """Give fields of a frozen dataclass the values that checks have returned."""
    for name, value in fields.items():
        object.__setattr__(owner, name, value)
