"""What a model says of variants: one letter of a sequence replaced by another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from innvestigate.genomics.letters import codes_of, codes_of_letters, one_hot_batch, rows_of
from innvestigate.utils.arguments import as_array, check_function, check_list, check_whole
from innvestigate.utils.words import shown

if TYPE_CHECKING:
    import pandas


class _Variant(NamedTuple):
    sequence: int
    position: int
    ref: str
    alt: str


COLUMNS = ("sequence", "position", "ref", "alt")


def variant_effects(
    predict: Callable[[np.ndarray], Any],
    x: Any,
    variants: Any,
    *,
    alphabet: str = "ACGT",
    unknown: str = "N",
    batch_size: int = 32,
) -> pandas.DataFrame:
    """How much variants change the output of a model: effect = f(x with alt) - f(x with ref).

    Each variant is looked at alone, in the sequence that it belongs to.

    Args:
        predict: Maps one-hot sequences `(rows, length, letters)` to outputs `(rows,)` or
            `(rows, outputs)`, such as `model.predict_on_batch`. What it returns is compared:
            logits, or probabilities.
        x: One-hot sequences `(batch, length, letters)`, as `one_hot_encode` makes them.
        variants: Tuples `(sequence, position, ref, alt)`, or a `pandas.DataFrame` with these
            columns: which sample of x, which of its places, both counted from 0, the letter that
            is there and the one to put there. The positions of VCF files count from 1.
        alphabet: The letters, in the order of the last axis of x. Small letters are read as
            capitals.
        unknown: Letters that stand for none of the alphabet: rows of zeros.
        batch_size: Sequences that are run at a time.

    Returns:
        A table with a row for each variant and output, and the columns `sequence`, `position`,
        `ref`, `alt`, `output` (counted from 0), `at_ref`, `at_alt` and `effect`.

    Raises:
        TypeError: If `predict` is no function, or `variants` no list and no table.
        ValueError: If x is not one-hot, a variant does not lie within x, is more or less than one
            letter, or names another letter than the one that is there; or if `predict` returns
            something else than finite numbers for each row.

    Reference: Zhou & Troyanskaya 2015, "Predicting effects of noncoding variants with deep
    learning-based sequence model".

    Example:
        >>> x = np.eye(4)[[[0, 1, 2, 3], [2, 2, 3, 0]]]  # ACGT and GGTA
        >>> table = variant_effects(lambda rows: rows.sum(axis=1), x, [(0, 2, "G", "T")])
    """
    import pandas

    check_function("predict", predict, "a function of one-hot sequences, as model.predict_on_batch")
    codes = codes_of_letters(alphabet, unknown)
    x = one_hot_batch(x, alphabet)
    batch_size = check_whole("batch_size", batch_size, 1)
    letters = alphabet + unknown[:1]
    found = [_checked(i, given, x, codes, letters) for i, given in enumerate(_tuples(variants))]
    if not found:
        raise ValueError("variants holds no variant: there is nothing to compare.")
    used, which = np.unique([v.sequence for v in found], return_inverse=True)
    at_ref = _outputs(predict, (x[part] for part in _parts(used, batch_size)))[which]
    at_alt = _outputs(predict, (_with_alt(x, part, codes) for part in _parts(found, batch_size)))
    count = at_ref.shape[1]
    table = pandas.DataFrame(found).loc[np.repeat(np.arange(len(found)), count)]
    outputs = np.tile(np.arange(count), len(found))
    values = {"at_ref": at_ref.ravel(), "at_alt": at_alt.ravel()}
    effect = (at_alt - at_ref).ravel()
    return table.reset_index(drop=True).assign(output=outputs, **values, effect=effect)


def _tuples(variants: Any) -> list:
    import pandas

    if not isinstance(variants, pandas.DataFrame):
        return check_list("variants", variants)
    missing = [name for name in COLUMNS if name not in variants]
    if missing:
        raise ValueError(
            f"variants must have the columns {', '.join(COLUMNS)}. It lacks: {', '.join(missing)}."
        )
    return list(variants[list(COLUMNS)].itertuples(index=False, name=None))


def _checked(i: int, given: Any, x: np.ndarray, codes: dict[str, int], letters: str) -> _Variant:
    """The i-th variant, if it fits the sequences."""
    if not isinstance(given, (tuple, list)) or len(given) != len(COLUMNS):
        raise ValueError(
            f"variants must be tuples ({', '.join(COLUMNS)}). Received as number {i}: "
            f"{shown(given)}."
        )
    sequence = check_whole(f"sequence of variant {i}", given[0], 0, len(x) - 1)
    position = check_whole(f"position of variant {i}", given[1], 0, x.shape[1] - 1)
    for name, letter in zip(COLUMNS[2:], given[2:], strict=True):
        if not isinstance(letter, str) or letter not in codes:
            raise ValueError(
                f"{name} of variant {i} must be one letter out of {letters!r}. Received: "
                f"{shown(letter)}. For insertions and deletions encode both sequences, and "
                "compare what the model says of them."
            )
    there = int(codes_of(x[sequence, position]))
    if codes[given[2]] != there:
        raise ValueError(
            f"Variant {i} has {given[2]!r} as its ref letter; sequence {sequence} has "
            f"{letters[there]!r} at position {position}. Positions count from 0, those of VCF "
            "files from 1."
        )
    return _Variant(sequence, position, *given[2:])


def _parts(things: Any, size: int) -> Iterator:
    return (things[start : start + size] for start in range(0, len(things), size))


def _with_alt(x: np.ndarray, variants: list[_Variant], codes: dict[str, int]) -> np.ndarray:
    """The sequence of each variant, with the variant."""
    found = x[[v.sequence for v in variants]]
    places = np.arange(len(variants)), [v.position for v in variants]
    found[places] = rows_of([codes[v.alt] for v in variants], x.shape[-1], x.dtype)
    return found


def _outputs(predict: Callable, batches: Iterator[np.ndarray]) -> np.ndarray:
    """What is predicted, `(rows, outputs)`."""
    return np.concatenate([_output(predict(batch), len(batch)) for batch in batches])


def _output(given: Any, rows: int) -> np.ndarray:
    found = as_array("What predict returns", given)
    real = found.dtype.kind in "fiub" and found.ndim in (1, 2) and len(found) == rows
    if not real or not np.isfinite(found).all():
        raise ValueError(
            f"predict must return finite numbers of the shape (rows,) or (rows, outputs). Received "
            f"for {rows} rows: an array of the shape {found.shape} and the type {found.dtype}: "
            f"{shown(given)}. Let it return what is to be compared, such as the sum of a profile."
        )
    return found.astype("float64").reshape(rows, -1)
