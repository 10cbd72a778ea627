"""Shuffles of sequences that keep every pair of neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from innvestigate.genomics.letters import codes_of, one_hot_batch, rows_of
from innvestigate.utils.arguments import as_array, check_seed, check_whole, settle

MOST = 1_000_000  # shuffles of a sequence: all of them are held


def dinucleotide_shuffle(sequence: Any, n: int | None = None, seed: Any = None) -> Any:
    """Shuffle a sequence so that every pair of neighbours occurs as often as before.

    The first and the last letter stay what they are, and each sequence with these pairs is equally
    likely. Pairs are the edges of a graph whose vertices are the letters, and a shuffle is a random
    Eulerian path: the edges by which it leaves each letter for the last time are a random tree
    towards the last letter, all others are in random order.

    Args:
        sequence: A string of any letters, or a one-hot array `(length, letters)`, in which rows of
            zeros count as one more letter.
        n: How many shuffles; None for a single one.
        seed: Seed, or a `numpy.random.Generator`; None for other shuffles each time.

    Returns:
        For a string, a string or a list of n of them; for an array, an array of its type and shape
        or, with n, `(n, length, letters)`.

    Raises:
        ValueError: If the sequence is empty or not one-hot, or n < 1.

    Reference: Altschul & Erickson 1985, "Significance of Nucleotide Sequence Alignments: A Method
    for Random Sequence Permutation That Preserves Dinucleotide and Codon Usage"; the tree is drawn
    as in Wilson 1996, "Generating Random Spanning Trees More Quickly than the Cover Time".
    """
    count = 1 if n is None else check_whole("n", n, 1, MOST)
    given = isinstance(seed, np.random.Generator)
    generator = seed if given else np.random.default_rng(check_seed(seed))
    if isinstance(sequence, str):
        if not sequence:
            raise ValueError("The sequence is empty: there is nothing to shuffle.")
        paths = _shuffles([ord(letter) for letter in sequence], count, generator)
        found: Any = ["".join(map(chr, path)) for path in paths]
    else:
        rows = one_hot_batch(as_array("sequence", sequence)[None])[0]
        found = _shuffle_rows(rows, codes_of(rows), count, generator)
    return found[0] if n is None else found


@dataclass(frozen=True)
class ShuffledReferences:
    """References for one-hot sequences: their own dinucleotide-preserving shuffles.

    Hand it over as `reference_inputs` of a method: it maps x `(batch, length, letters)` to
    references `(batch, n, length, letters)`. The shuffles of a sample depend on the seed and on the
    sample, not on its place in the batch. See `dinucleotide_shuffle`.

    Args:
        n: Shuffles for each sample.
        seed: Seed, an integer >= 0.

    Raises:
        ValueError: If n < 1 or the seed is negative; when called, if x is not one-hot.

    Example:
        >>> references = ShuffledReferences(n=10, seed=0)
        >>> analyzer = create_analyzer("deeplift", model, reference_inputs=references)
    """

    n: int = 10
    seed: int = 0

    def __post_init__(self):
        n, seed = check_whole("n", self.n, 1, MOST), check_whole("seed", self.seed, 0, np.inf)
        settle(self, n=n, seed=seed)

    def __call__(self, x: Any) -> np.ndarray:
        x = one_hot_batch(x)
        return np.stack([self._of_sample(sample, codes_of(sample)) for sample in x])

    def get_config(self) -> dict[str, int]:
        """The arguments, by name."""
        return asdict(self)

    def _of_sample(self, sample: np.ndarray, codes: np.ndarray) -> np.ndarray:
        content = hashlib.sha256(codes.astype("<i8").tobytes()).digest()
        generator = np.random.default_rng([self.seed, *content])
        return _shuffle_rows(sample, codes, self.n, generator)


def _shuffle_rows(rows: np.ndarray, codes: np.ndarray, n: int, generator) -> np.ndarray:
    return rows_of(_shuffles(codes, n, generator), rows.shape[-1], rows.dtype)


def _shuffles(codes: Sequence[int] | np.ndarray, n: int, generator) -> np.ndarray:
    """n random Eulerian paths `(n, length)` along the pairs of a sequence of integers."""
    letters, path = np.unique(codes, return_inverse=True)
    successors = [path[1:][path[:-1] == letter] for letter in range(len(letters))]
    paths = [_random_path(path[0], path[-1], successors, generator) for _ in range(n)]
    return letters[np.array(paths)]


def _random_path(first: int, last: int, successors: list[np.ndarray], generator) -> list[int]:
    exits = _random_tree(last, successors, generator)
    orders = [
        iter(_order(after, exits.get(letter), generator)) for letter, after in enumerate(successors)
    ]
    path = [first]
    while (letter := next(orders[path[-1]], None)) is not None:
        path.append(letter)
    return path


def _order(after: np.ndarray, last: int | None, generator) -> list[int]:
    """The successors of a letter in random order, the one of the given index at the end."""
    if last is None:
        return generator.permutation(after).tolist()
    return [*generator.permutation(np.delete(after, last)).tolist(), int(after[last])]


def _random_tree(root: int, successors: list[np.ndarray], generator) -> dict[int, int]:
    """For each letter but the root, the index of the successor that leads towards the root."""
    exits, done = {}, {root}
    for start in range(len(successors)):
        letter = start
        while letter not in done:
            exits[letter] = generator.integers(len(successors[letter]))
            letter = int(successors[letter][exits[letter]])
        letter = start
        while letter not in done:
            done.add(letter)
            letter = int(successors[letter][exits[letter]])
    return exits
