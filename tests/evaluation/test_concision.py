"""Sparseness and complexity: against explicit loops, and what must hold of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innvestigate.evaluation import Complexity, Sparseness, evaluate

from .models import float64_model, noise, told

VECTORS = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=12)


def naive_gini(relevance):
    """Half the mean difference of two features, relative to their mean."""
    a = [abs(float(r)) for r in relevance]
    mean = sum(a) / len(a)
    difference = sum(abs(p - q) for p in a for q in a) / len(a) ** 2
    return difference / (2 * mean) if mean else 0.0


def naive_entropy(relevance):
    a = [abs(float(r)) for r in relevance]
    shares = [p / sum(a) for p in a] if sum(a) else [1 / len(a)] * len(a)
    return -sum(p * np.log(p) for p in shares if p)


def one(metric, relevance):
    (found,) = told(metric, np.asarray(relevance, "float64")[None]).values()
    return found[0]


@given(VECTORS)
def test_sparseness_is_the_mean_difference(relevance):
    assert one(Sparseness(), relevance) == pytest.approx(naive_gini(relevance), abs=1e-9)


@given(VECTORS)
def test_complexity_is_the_entropy(relevance):
    assert one(Complexity(), relevance) == pytest.approx(naive_entropy(relevance), abs=1e-9)


@given(VECTORS, st.floats(1e-3, 1e3), st.randoms())
def test_neither_scale_nor_sign_nor_order_matter(relevance, factor, random):
    other = [-factor * r for r in relevance]
    random.shuffle(other)
    for metric in (Sparseness(), Complexity()):
        assert one(metric, other) == pytest.approx(one(metric, relevance), abs=1e-9)


@given(st.integers(1, 40), st.floats(1e-20, 1e20))
def test_one_feature_and_all_features(count, value):
    single = value * np.eye(count)[count // 2]
    for relevance, sparseness, complexity in (
        (single, 1 - 1 / count, 0),
        (np.full(count, value), 0, np.log(count)),
        (np.zeros(count), 0, np.log(count)),
    ):
        assert one(Sparseness(), relevance) == pytest.approx(sparseness, abs=1e-12)
        assert one(Complexity(), relevance) == pytest.approx(complexity, abs=1e-12)


@given(VECTORS)
def test_half_of_the_features_without_relevance(relevance):
    """Zeros beside n features: G becomes (1 + G) / 2, H stays."""
    relevance = [1.0, *relevance]
    wider = [*relevance, *[0.0] * len(relevance)]
    sparseness = (1 + one(Sparseness(), relevance)) / 2
    assert one(Sparseness(), wider) == pytest.approx(sparseness, abs=1e-9)
    assert one(Complexity(), wider) == pytest.approx(one(Complexity(), relevance), abs=1e-9)


def test_all_numbers_of_a_sample_are_features():
    model, x = float64_model((3, 4, 2)), noise((3, 4, 2))
    found = evaluate(model, {"given": x}, x, metrics=[Sparseness(), Complexity()], verbose=0)
    expected = [naive_gini(s.reshape(-1)) for s in x] + [naive_entropy(s.reshape(-1)) for s in x]
    np.testing.assert_allclose(found.samples["value"], expected)
