"""Strings of letters as one-hot arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from innvestigate.utils.arguments import as_array, check_text, check_texts
from innvestigate.utils.words import shown


def one_hot_encode(
    sequences: Sequence[str], alphabet: str = "ACGT", unknown: str = "N"
) -> np.ndarray:
    """Encode strings as one-hot arrays.

    Small letters are read as capitals, as genomes mark repeats by small ones (soft masking); only
    a small letter that `alphabet` or `unknown` holds itself is a letter of its own.

    Args:
        sequences: Strings of one length.
        alphabet: The letters, in the order of the last axis.
        unknown: Letters that stand for none of the alphabet: their rows are all zeros.

    Returns:
        float32 array `(batch, length, letters)`.

    Raises:
        TypeError: If `sequences` is not a list of strings.
        ValueError: If there is none, their lengths differ, or a letter is unknown.
    """
    codes_by_letter = codes_of_letters(alphabet, unknown)
    sequences = check_texts("sequences", sequences)
    lengths = {len(sequence) for sequence in sequences}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"Expected strings of one length, at least 1. Received the lengths: {sorted(lengths)}."
        )
    for i, sequence in enumerate(sequences):
        strange = next((j for j, x in enumerate(sequence) if x not in codes_by_letter), None)
        if strange is not None:
            raise ValueError(
                f"Sequence {i} has the letter {sequence[strange]!r} at position {strange}. "
                f"Expected one of {alphabet!r}, or of {unknown!r}, which become zeros."
            )
    codes = [[codes_by_letter[letter] for letter in sequence] for sequence in sequences]
    return rows_of(codes, len(alphabet), "float32")


def one_hot_decode(x: Any, alphabet: str = "ACGT", unknown: str = "N") -> list[str]:
    """Read one-hot arrays as strings.

    Args:
        x: One-hot array `(batch, length, letters)`.
        alphabet: The letters, in the order of the last axis.
        unknown: Rows of zeros become its first letter.

    Returns:
        A string for each sample.

    Raises:
        ValueError: If x is not one-hot, or its letters are not as many as the alphabet's.
    """
    codes_of_letters(alphabet, unknown)
    x = one_hot_batch(x, alphabet)
    letters = alphabet + unknown[:1]
    return ["".join(letters[code] for code in codes_of(sample)) for sample in x]


def codes_of_letters(alphabet: str, unknown: str) -> dict[str, int]:
    """The place of each letter in the alphabet; behind its end for those that are unknown.

    Raises:
        TypeError: If an argument is not a text.
        ValueError: If one is empty, or a letter occurs twice.
    """
    letters = check_text("alphabet", alphabet) + check_text("unknown", unknown)
    if not alphabet or not unknown or len(set(letters)) < len(letters):
        raise ValueError(
            "alphabet and unknown must be strings of different letters, at least one each. "
            f"Received: alphabet={shown(alphabet)}, unknown={shown(unknown)}."
        )
    codes = {letter: min(code, len(alphabet)) for code, letter in enumerate(letters)}
    return {letter.lower(): code for letter, code in codes.items()} | codes


def codes_of(rows: np.ndarray) -> np.ndarray:
    """The column of the one in each row, and the number of columns for a row of zeros."""
    return np.where(rows.any(axis=-1), rows.argmax(axis=-1), rows.shape[-1])


def rows_of(codes: Any, letters: int, dtype: Any) -> np.ndarray:
    """One-hot rows of codes, as `codes_of` reads them."""
    return np.eye(letters + 1, letters, dtype=dtype)[codes]


def one_hot_batch(x: Any, alphabet: str | None = None, *, offset: int = 0) -> np.ndarray:
    """One-hot sequences `(batch, length, letters)`, checked.

    Args:
        x: The array.
        alphabet: Its letters, if they are known.
        offset: Samples before these, for messages.

    Raises:
        ValueError: If it is not one-hot, or has another number of letters.
    """
    x = as_array("x", x)
    if x.dtype.kind not in "fiub" or x.ndim != 3 or not x.size:
        raise ValueError(
            "Expected one-hot sequences of shape (length, letters), in a batch (batch, length, "
            f"letters), none of them 0. Received the shape: {x.shape} (of the type {x.dtype})."
        )
    one_hot = np.isin(x, (0, 1)).all(axis=-1) & (np.count_nonzero(x, axis=-1) <= 1)
    if not one_hot.all():
        sample, place = np.argwhere(~one_hot)[0]
        raise ValueError(
            "The sequences are not one-hot: expected a single 1, or zeros only, in each row. "
            f"Received in sample {offset + sample} at position {place}: "
            f"{x[sample, place].tolist()}."
        )
    if alphabet is not None and x.shape[-1] != len(alphabet):
        raise ValueError(
            f"The alphabet {shown(alphabet)} has {len(alphabet)} letters, x has {x.shape[-1]}. "
            "Expected one row of x for each place, with a column for each letter."
        )
    return x
