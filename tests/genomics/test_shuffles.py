"""Shuffles keep every pair of neighbours, and no sequence with these pairs is preferred."""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innvestigate.genomics import (
    ShuffledReferences,
    dinucleotide_shuffle,
    one_hot_decode,
)
from tests.frameworks import examples

DNA = st.text("ACGTN", min_size=1, max_size=30)
ANY_TEXT = st.text(min_size=1, max_size=30)
SEEDS = st.integers(0, 2**32)


def one_hot(sequence, alphabet="ACGT"):
    """A row for each letter, zeros for others: without the library."""
    return np.array([[float(letter == a) for a in alphabet] for letter in sequence])


def read(rows, alphabet="ACGT"):
    return "".join(alphabet[list(row).index(1)] if any(row) else "N" for row in rows)


def assert_shuffled(found, sequence):
    assert Counter(pairwise(found)) == Counter(pairwise(sequence))
    assert (found[0], found[-1], len(found)) == (sequence[0], sequence[-1], len(sequence))


@given(DNA | ANY_TEXT, SEEDS)
def test_shuffled_strings_keep_pairs_and_ends(sequence, seed):
    found = dinucleotide_shuffle(sequence, 3, seed)
    assert isinstance(found, list)
    assert len(found) == 3
    for shuffle in found:
        assert_shuffled(shuffle, sequence)


@given(DNA, SEEDS, st.sampled_from(["float32", "float64", "int8", "bool"]))
def test_shuffled_arrays_keep_pairs_and_ends_and_type(sequence, seed, dtype):
    x = one_hot(sequence).astype(dtype)
    found = dinucleotide_shuffle(x, 3, seed)
    assert (found.shape, found.dtype) == ((3, *x.shape), dtype)
    for shuffle in found:
        assert_shuffled(read(shuffle), sequence)


@given(ANY_TEXT, SEEDS)
def test_seeds_make_shuffles_reproducible(sequence, seed):
    found = dinucleotide_shuffle(sequence, 2, seed)
    assert dinucleotide_shuffle(sequence, 2, seed) == found
    assert dinucleotide_shuffle(sequence, 2, np.random.default_rng(seed)) == found
    assert dinucleotide_shuffle(sequence, seed=seed) == found[0]


def test_other_seeds_and_no_seed_give_other_shuffles():
    sequence = "".join(np.random.default_rng(0).choice(list("ACGT"), 200))
    for seeds in [(0, 1), (None, None)]:
        first, second = (dinucleotide_shuffle(sequence, 2, seed) for seed in seeds)
        assert len({sequence, *first, *second}) == 5


@pytest.mark.parametrize("sequence", ["A", "AC", "AAAA", "ACGT"])
def test_sequences_with_a_single_path_come_back(sequence):
    assert dinucleotide_shuffle(sequence, 5) == [sequence] * 5


@pytest.mark.parametrize("sequence", ["ACABACBA", "AABABBAB", "ABCABDACBD", "CABCBABACA"])
def test_every_sequence_of_the_same_pairs_is_equally_likely(sequence):
    pairs = Counter(pairwise(sequence))
    candidates = map("".join, product(sorted(set(sequence)), repeat=len(sequence) - 2))
    inner = [sequence[0] + c + sequence[-1] for c in candidates]
    possible = [s for s in inner if Counter(pairwise(s)) == pairs]
    draws = 400 * len(possible)
    found = Counter(dinucleotide_shuffle(sequence, draws, seed=0))
    assert set(found) == set(possible)
    assert len(possible) > 5
    chi_square = sum((found[s] - 400) ** 2 / 400 for s in possible)
    freedom = len(possible) - 1
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def test_long_words_of_rare_letters_are_shuffled():
    sequence = "AB" * 2000 + "C" + "AB" * 50 + "D"
    assert_shuffled(dinucleotide_shuffle(sequence, seed=0), sequence)


def batch(*sequences):
    return np.stack([one_hot(sequence) for sequence in sequences])


@examples(30)
@given(st.lists(st.text("ACGTN", min_size=12, max_size=12), min_size=1, max_size=5), SEEDS)
def test_references_depend_on_the_sample_and_not_on_its_place(sequences, seed):
    references = ShuffledReferences(n=4, seed=seed)
    x = batch(*sequences)
    found = references(x)
    assert found.shape == (len(x), 4, 12, 4)
    for sample, shuffles in zip(sequences, found, strict=True):
        for shuffle in shuffles:
            assert_shuffled(read(shuffle), sample)
    np.testing.assert_array_equal(references(x[::-1]), found[::-1])
    np.testing.assert_array_equal(
        np.concatenate([references(x[i : i + 1]) for i in range(len(x))]), found
    )
    np.testing.assert_array_equal(references(x.astype("int32")), found)


def test_references_of_another_seed_differ():
    x = batch("ACGTACGATCGATTAGCATCGA")
    found = ShuffledReferences(n=6, seed=1)(x)
    assert not np.array_equal(ShuffledReferences(n=6, seed=2)(x), found)
    assert len({read(shuffle) for shuffle in found[0]}) > 3
    assert found.dtype == x.dtype


def test_references_of_another_sample_are_drawn_anew():
    sequence = "ACGACGGAACCAGCAGACGA"
    renamed = sequence.translate(str.maketrans("ACG", "CGT"))
    first, second = ShuffledReferences(n=6)(batch(sequence, renamed))
    assert not np.array_equal(first[..., :3], second[..., 1:])


def test_references_are_values():
    assert ShuffledReferences(5, 1) == ShuffledReferences(n=5, seed=1)
    assert repr(ShuffledReferences()) == "ShuffledReferences(n=10, seed=0)"


NOT_ONE_HOT = {
    "two ones": ([[1, 0], [1, 1]], r"position 1: \[1, 1\]"),
    "a share": ([[0, 1], [0.5, 0.5]], r"position 1: \[0.5, 0.5\]"),
    "negative": ([[-1, 0]], r"position 0: \[-1, 0\]"),
    "not a number": ([[np.nan, 0]], "position 0"),
    "empty": (np.zeros((0, 4)), r"Received the shape: \(1, 0, 4\)"),
    "no letters": (np.zeros((4, 0)), r"Received the shape"),
    "one axis": (np.zeros(4), r"Received the shape: \(1, 4\)"),
}


@pytest.mark.parametrize("case", NOT_ONE_HOT)
def test_arrays_that_are_not_one_hot(case):
    x, message = NOT_ONE_HOT[case]
    for function in (dinucleotide_shuffle, lambda x: ShuffledReferences()(np.array([x]))):
        with pytest.raises(ValueError, match=message):
            function(x)
    with pytest.raises(ValueError, match=message):
        one_hot_decode([x])


def test_a_sample_that_is_not_one_hot_is_named():
    x = batch("ACGT", "ACGT")
    x[1, 2] = 3
    with pytest.raises(ValueError, match="in sample 1 at position 2"):
        ShuffledReferences()(x)


@pytest.mark.parametrize("n", [0, -1, 1.5, "many"])
def test_number_of_shuffles(n):
    with pytest.raises(ValueError, match="must be a whole number from 1 to"):
        dinucleotide_shuffle("ACGT", n)
    with pytest.raises(ValueError, match="must be a whole number from 1 to"):
        ShuffledReferences(n=n)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_seed_of_references(seed):
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        ShuffledReferences(seed=seed)


def test_an_empty_string():
    with pytest.raises(ValueError, match="is empty"):
        dinucleotide_shuffle("")
