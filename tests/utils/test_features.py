"""The numbering of features against sets of names."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innvestigate.utils.features import check_labels, features_of
from tests.frameworks import examples


@examples(60)
@given(st.data())
def test_entries_share_a_number_where_they_share_a_name(data):
    samples = data.draw(st.integers(1, 4))
    shapes = data.draw(st.lists(st.sampled_from([(3,), (2, 2), ()]), min_size=1, max_size=3))
    alone = [data.draw(st.booleans()) for _ in shapes]
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    labels = [
        np.arange(int(np.prod(s))).reshape(1, *s) if own else random.integers(-3, 3, (samples, *s))
        for s, own in zip(shapes, alone, strict=True)
    ]
    seen = []
    for members, features in features_of(labels, alone):
        for row, i in enumerate(members):
            names, numbers = [], []
            for k, own in enumerate(alone):
                given_ = labels[k][i if len(labels[k]) > 1 else 0].reshape(-1)
                names += [(k if own else "all", int(name)) for name in given_]
                numbers += features.labels[k][row].reshape(-1).tolist()
            assert len(set(zip(names, numbers, strict=True))) == len(set(names))
            assert (
                sorted(set(numbers)) == list(range(len(features))) == list(range(len(set(names))))
            )
            assert features.sizes[row].tolist() == [numbers.count(n) for n in range(len(features))]
        seen += members.tolist()
    assert sorted(seen) == list(range(max(map(len, labels))))


def test_entries_share_the_value_of_their_feature_evenly():
    ((_, features),) = features_of([np.array([[5, 5, 9]]), np.array([[[9], [2]]])], [False] * 2)
    first, second = features.shared(np.array([[1.0, 8.0, 6.0], [0.0, 2.0, -2.0]]))
    np.testing.assert_array_equal(first, [[4, 4, 3], [1, 1, -1]])
    np.testing.assert_array_equal(second, [[[3], [1]], [[-1], [0]]])


def test_large_labels_are_told_apart():
    labels = check_labels("x", (3,), np.array([2**53, 2**53 + 1, 2**64 - 1], "uint64"))
    ((_, features),) = features_of([labels[None]], [False])
    assert len(features) == 3


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (0.5, "groups must be integer labels.*'x': 0.5"),
        ("a", "groups must be integer labels"),
        (np.zeros(4, int), r"\(4,\) do not broadcast to the input 'x'.*\(2, 3\)"),
        (np.zeros((1, 2, 3), int), r"do not broadcast"),
    ],
)
def test_what_are_no_labels(groups, message):
    with pytest.raises(ValueError, match=message):
        check_labels("x", (2, 3), groups)
