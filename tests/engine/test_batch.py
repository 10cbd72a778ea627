"""Batches of variants: pieces of bounded size, moments of what comes in pieces."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innvestigate.engine.batch import Batch, Moments, expand, fold
from innvestigate.utils.batching import Progress


def batch(rows, limit, weights=True):
    """Rows that hold their own number."""
    numbers = np.arange(rows, dtype="float64")
    inputs = [numbers[:, None] * np.ones(2), 10 * numbers]
    given = numbers[:, None] if weights else None
    return Batch(inputs, given, 100 + np.arange(rows), limit, Progress(None))


@settings(deadline=None)
@given(rows=st.integers(1, 9), limit=st.integers(1, 30), count=st.integers(1, 40))
def test_expanded_pieces_hold_every_variant_of_every_row_once(rows, limit, count):
    seen = []
    for variants, piece in expand(batch(rows, limit), count):
        assert len(piece) == len(variants) * rows <= max(limit, rows)
        assert len(piece) + rows > limit or variants[-1] == count - 1
        for array in (*piece.inputs, piece.weights):
            assert len(array) == len(piece)
        folded = fold(piece.inputs[1], len(variants))
        np.testing.assert_array_equal(folded, 10.0 * np.tile(np.arange(rows), (len(variants), 1)))
        np.testing.assert_array_equal(piece.samples, np.tile(100 + np.arange(rows), len(variants)))
        np.testing.assert_array_equal(piece.weights[:, 0], piece.samples - 100)
        seen += list(variants)
    assert seen == list(range(count))


def test_rows_may_come_without_weights():
    (_, piece), *_ = expand(batch(2, 10, weights=False), 3)
    assert piece.weights is None


def test_progress_fills_the_part_of_the_batch():
    filled = []
    bar = SimpleNamespace(update=lambda value, finalize: filled.append(value))
    rows = batch(2, 4)
    part = Batch(rows.inputs, rows.weights, rows.samples, 4, Progress(bar, 20, 60))
    for _ in expand(part, 8):
        pass
    assert filled == [30, 40, 50, 60]


@settings(deadline=None)
@given(
    pieces=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    offset=st.sampled_from([0, 1, 1e6]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_moments_do_not_depend_on_the_pieces(pieces, offset, dtype):
    values = np.random.default_rng(sum(pieces)).normal(size=(sum(pieces), 3)) + offset
    values = values.astype(dtype)
    moments = Moments()
    for piece in np.split(values, np.cumsum(pieces)[:-1]):
        moments.add(piece)
    values = values.astype("float64")
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.variance, values.var(axis=0), rtol=1e-8, atol=1e-15)
    assert moments.count == len(values)


def test_moments_of_float32_are_taken_in_float64():
    moments = Moments()
    for _ in range(1000):
        moments.add(np.full((1, 1), 0.1, "float32"))
    assert moments.mean == pytest.approx(float(np.float32(0.1)), rel=1e-12)
