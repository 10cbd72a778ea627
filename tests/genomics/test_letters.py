"""Strings become one-hot rows, and come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innvestigate.genomics import one_hot_decode, one_hot_encode
from tests.genomics.test_shuffles import batch, one_hot


@given(st.lists(st.text("XYZ-", min_size=6, max_size=6), min_size=1, max_size=4))
def test_encoding_and_decoding(sequences):
    x = one_hot_encode(sequences, alphabet="XYZ", unknown="-")
    np.testing.assert_array_equal(x, np.stack([one_hot(s, "XYZ") for s in sequences]))
    assert x.dtype == "float32"
    assert one_hot_decode(x, alphabet="XYZ", unknown="-") == sequences


def test_every_unknown_letter_becomes_zeros():
    x = one_hot_encode(["ANCR"], unknown="NR")
    np.testing.assert_array_equal(x[0], one_hot("ANCR"))
    assert one_hot_decode(x, unknown="RN") == ["ARCR"]


@pytest.mark.parametrize(
    ("sequences", "error", "message"),
    [
        ("ACGT", TypeError, "list of strings. Received: 'ACGT'"),
        ([1, 2], TypeError, "list of strings"),
        ([], ValueError, r"Received the lengths: \[\]"),
        (["", ""], ValueError, r"at least 1. Received the lengths: \[0\]"),
        (["ACG", "AC"], ValueError, r"one length.*\[2, 3\]"),
        (["ACG", "AxG"], ValueError, "Sequence 1 has the letter 'x' at position 1"),
        (["ACé"], ValueError, "Sequence 0 has the letter 'é' at position 2"),
    ],
)
def test_strings_that_cannot_be_encoded(sequences, error, message):
    with pytest.raises(error, match=message):
        one_hot_encode(sequences)


@pytest.mark.parametrize(
    "arguments", [{"alphabet": "AAC"}, {"alphabet": ""}, {"unknown": ""}, {"unknown": "A"}]
)
def test_alphabets_that_do_not_fit(arguments):
    with pytest.raises(ValueError, match="must be strings of different letters"):
        one_hot_encode(["ACGT"], **arguments)
    with pytest.raises(ValueError, match="must be strings of different letters"):
        one_hot_decode(batch("ACGT"), **arguments)


def test_decoding_checks_the_number_of_letters():
    with pytest.raises(ValueError, match="has 3 letters, x has 4"):
        one_hot_decode(batch("ACGT"), alphabet="ACG")


@given(st.lists(st.text("ACGTNacgtn", min_size=6, max_size=6), min_size=1, max_size=4))
def test_soft_masked_letters_are_capitals(sequences):
    capitals = [sequence.upper() for sequence in sequences]
    np.testing.assert_array_equal(one_hot_encode(sequences), batch(*capitals))
    assert one_hot_decode(one_hot_encode(sequences)) == capitals


def test_small_letters_of_the_alphabet_are_letters_of_their_own():
    x = one_hot_encode(["aAbN"], alphabet="Aab", unknown="N")
    np.testing.assert_array_equal(x[0], one_hot("aAbN", "Aab"))
    assert one_hot_decode(one_hot_encode(["B"], "Aab", "NB"), "Aab", "NB") == ["N"]
    with pytest.raises(ValueError, match="has the letter 'A' at position 0"):
        one_hot_encode(["A"], alphabet="acgt", unknown="n")
