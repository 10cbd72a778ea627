"""Effects of variants against strings whose letters are replaced one by one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innvestigate.genomics import one_hot_encode, variant_effects
from tests.frameworks import examples

SEQUENCES = ["ACGTAC", "GGTNCA", "TTTTTT"]
X = one_hot_encode(SEQUENCES)
WEIGHTS = np.random.default_rng(0).normal(size=(6, 4, 2))


def predict(rows):
    """Two outputs; in the first one letters add up, in the second neighbours meet."""
    sums = np.einsum("npa,pa->n", rows, WEIGHTS[..., 0])
    met = np.einsum("npa,pa->np", rows, WEIGHTS[..., 1])
    return np.stack([sums, (met[:, 1:] * met[:, :-1]).sum(axis=1)], axis=1)


@st.composite
def variants(draw):
    sequence, position = draw(st.integers(0, 2)), draw(st.integers(0, 5))
    ref = SEQUENCES[sequence][position]
    ref = draw(st.sampled_from([ref, ref.lower()]))
    return sequence, position, ref, draw(st.sampled_from("ACGTNacgt"))


def naive(sequence, position, ref, alt):
    """f(alt) and f(ref), by strings."""
    reference = SEQUENCES[sequence]
    alternative = reference[:position] + alt.upper() + reference[position + 1 :]
    return [
        predict(np.array([[[float(letter == a) for a in "ACGT"] for letter in text]]))[0]
        for text in (reference, alternative)
    ]


@examples(30)
@given(st.lists(variants(), min_size=1, max_size=7), st.integers(1, 8))
def test_the_effect_is_the_change_of_each_output(given, batch_size):
    before, sizes = X.copy(), []
    counted = lambda rows: (sizes.append(len(rows)), predict(rows))[1]  # noqa: E731
    table = variant_effects(counted, X, given, batch_size=batch_size)
    assert max(sizes) <= batch_size
    assert list(table.columns) == [
        *("sequence", "position", "ref", "alt", "output", "at_ref", "at_alt", "effect")
    ]
    rows = list(table.itertuples(index=False))
    assert [tuple(row[:5]) for row in rows] == [(*v, o) for v in given for o in range(2)]
    for row in rows:
        at_ref, at_alt = (y[row.output] for y in naive(*row[:4]))
        expected = [at_ref, at_alt, at_alt - at_ref]
        np.testing.assert_allclose(row[5:], expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(X, before)


def test_a_letter_in_place_of_itself_changes_nothing():
    table = variant_effects(predict, X, [(0, 2, "G", "G"), (1, 3, "N", "N")])
    assert (table["effect"] == 0).all()


def test_each_sequence_is_run_once_however_many_variants_it_has():
    rows = []
    counted = lambda batch: (rows.append(len(batch)), predict(batch))[1]  # noqa: E731
    variant_effects(counted, X, [(2, p, "T", "A") for p in range(6)])
    assert rows == [1, 6]


def test_variants_of_a_table_and_outputs_without_an_axis():
    given = [(1, 0, "G", "C"), (0, 5, "C", "A")]
    names = ["alt", "position", "gene", "ref", "sequence"]
    frame = pd.DataFrame([(alt, p, "x", ref, s) for s, p, ref, alt in given], columns=names)
    first = lambda rows: predict(rows)[:, 0]  # noqa: E731
    found = variant_effects(first, X, frame)
    pd.testing.assert_frame_equal(found, variant_effects(first, X, given))
    assert found["output"].tolist() == [0, 0]
    for row in found.itertuples():
        change = WEIGHTS[row.position, "ACGT".index(row.alt), 0]
        change -= WEIGHTS[row.position, "ACGT".index(row.ref), 0]
        np.testing.assert_allclose(row.effect, change, rtol=1e-5)


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        (
            [(0, 2, "A", "T")],
            "Variant 0 has 'A' as its ref letter; sequence 0 has 'G' at posi.*VCF",
        ),
        ([(1, 3, "a", "T")], "sequence 1 has 'N' at position 3"),
        ([(0, 2, "G", "T"), (3, 0, "A", "T")], "sequence of variant 1 must be .*from 0 to 2"),
        ([(0, 6, "A", "T")], "position of variant 0 must be .*from 0 to 5. Received: 6"),
        ([(0, -1, "C", "T")], "position of variant 0"),
        ([(0, 2, "G", "TT")], "alt of variant 0 must be one letter out of 'ACGTN'.*deletions"),
        ([(0, 2, "G", "")], "alt of variant 0"),
        ([(0, 2, "GT", "T")], "ref of variant 0"),
        ([(0, 2, None, "T")], "ref of variant 0.*None"),
        ([(0, 2, "G")], r"tuples \(sequence, position, ref, alt\). Received as number 0"),
        ([], "holds no variant"),
        (pd.DataFrame({"sequence": [0], "ref": ["A"]}), "It lacks: position, alt"),
    ],
)
def test_variants_that_do_not_fit(variants, message):
    with pytest.raises(ValueError, match=message):
        variant_effects(predict, X, variants)


NO_OUTPUT = {
    "NaN": lambda rows: np.full(len(rows), np.nan),
    "a profile": lambda rows: rows,
    "a single number": lambda rows: 1.0,
    "one row too few": lambda rows: np.zeros(len(rows) - 1),
    "texts": lambda rows: ["a"] * len(rows),
}


@pytest.mark.parametrize("what", NO_OUTPUT)
def test_outputs_that_cannot_be_compared(what):
    with pytest.raises(ValueError, match="predict must return finite numbers"):
        variant_effects(NO_OUTPUT[what], X, [(0, 2, "G", "T")])


def test_other_arguments():
    with pytest.raises(TypeError, match="predict must be a function"):
        variant_effects(3, X, [(0, 2, "G", "T")])
    with pytest.raises(TypeError, match="variants must be a list"):
        variant_effects(predict, X, 3)
    with pytest.raises(ValueError, match="not one-hot"):
        variant_effects(predict, X + 1, [(0, 2, "G", "T")])
    with pytest.raises(ValueError, match="has 2 letters, x has 4"):
        variant_effects(predict, X, [(0, 2, "G", "T")], alphabet="AC")
