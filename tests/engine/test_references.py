"""References come out as (rows, n, *shape) from every form that they are given in."""

import keras
import numpy as np
import pytest

from innvestigate.engine.batch import Batch
from innvestigate.engine.inputs import InputSpec
from innvestigate.engine.references import References
from innvestigate.graph.step import Graph
from innvestigate.utils.batching import Progress

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(3, 4, 2)).astype("float32")
ONE = RANDOM.normal(size=(4, 2)).astype("float32")
EACH = RANDOM.normal(size=(3, 4, 2)).astype("float32")
SEVERAL = RANDOM.normal(size=(3, 5, 4, 2)).astype("float32")


def spec(shape=(4, 2), dtype="float32"):
    return InputSpec(Graph([], keras.Input(shape, dtype=dtype, name="x"), []))


def two():
    return InputSpec(Graph([], [keras.Input((4, 2), name="a"), keras.Input((3,), name="b")], []))


def batch(*inputs, samples=None):
    samples = np.arange(len(inputs[0])) if samples is None else np.array(samples)
    return Batch(list(inputs), None, samples, 32, Progress(None))


def of(given, *inputs, spec=None, samples=None):
    """The references of a batch of X, or of the given inputs."""
    spec = globals()["spec"]() if spec is None else spec
    return References(given, spec).of(batch(*(inputs or (X,)), samples=samples))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, np.zeros((3, 1, 4, 2))),
        (np.float64(0.5), np.full((3, 1, 4, 2), 0.5)),
        (ONE, np.stack([ONE] * 3)[:, None]),
        (ONE.tolist(), np.stack([ONE] * 3)[:, None]),
        (ONE[None], np.stack([ONE] * 3)[:, None]),
        (EACH, EACH[:, None]),
        (SEVERAL, SEVERAL),
        (SEVERAL[:1], np.concatenate([SEVERAL[:1]] * 3)),
        (lambda x: -x, -X[:, None]),
        (lambda x: np.stack([x, 2 * x], axis=1), np.stack([X, 2 * X], axis=1)),
        (lambda x: 1, np.ones((3, 1, 4, 2))),
        ({"x": ONE}, np.stack([ONE] * 3)[:, None]),
    ],
)
def test_forms(given, expected):
    (found,) = of(given)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, np.asarray(expected, "float32"))


def test_rows_get_the_references_of_their_samples():
    (found,) = of(SEVERAL, X[[0, 0, 1]], samples=[2, 2, 0])
    np.testing.assert_array_equal(found, SEVERAL[[2, 2, 0]])


def test_functions_get_the_batch_in_the_models_structure():
    given = []
    b = np.ones((3, 3), "float32")
    of(lambda x: (given.append(x), 0)[1], X, b, spec=two())
    assert [a.shape for a in given[0]] == [X.shape, b.shape]


@pytest.mark.parametrize("given", [[ONE, 1], (ONE, 1), {"b": 1, "a": ONE}, lambda x: [ONE, 1]])
def test_several_inputs(given):
    a, b = of(given, X, np.zeros((3, 3), "float32"), spec=two())
    np.testing.assert_array_equal(a, np.stack([ONE] * 3)[:, None])
    np.testing.assert_array_equal(b, np.ones((3, 1, 3)))


def test_a_number_holds_for_all_inputs_and_one_reference_for_several():
    a, b = of(2, X, np.zeros((3, 3), "float32"), spec=two())
    assert (a == 2).all() and (b == 2).all()
    a, b = of([SEVERAL, 7], X, np.zeros((3, 3), "float32"), spec=two())
    assert a.shape == (3, 5, 4, 2) and b.shape == (3, 5, 3)


def test_sizes_that_are_open():
    (found,) = of(ONE, spec=spec((None, 2)))
    assert found.shape == (3, 1, 4, 2)
    with pytest.raises(ValueError, match=r"shape \(5, 2\).*samples of the shape \(4, 2\)"):
        of(np.zeros((5, 2)), spec=spec((None, 2)))


def test_whole_numbers_stay_whole_numbers():
    x = np.zeros((3, 4, 2), "uint8")
    (found,) = of(7.0, x, spec=spec(dtype="uint8"))
    assert found.dtype == "uint8" and (found == 7).all()
    for given in (0.5, -1, 256):
        with pytest.raises(TypeError, match="do not fit its samples"):
            of(given, x, spec=spec(dtype="uint8"))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("zeros", TypeError, "must be a number; an array.*'zeros'"),
        (None, TypeError, "must be a number"),
        (np.zeros((4, 3)), ValueError, r"wrong shape. Received: \(4, 3\)"),
        (np.zeros(4), ValueError, r"wrong shape. Received: \(4,\)"),
        (np.zeros((1, 1, 1, 4, 2)), ValueError, "wrong shape"),
        (np.zeros((0, 4, 2)), ValueError, "wrong shape"),
        ([[1.0, 2.0], [3.0]], ValueError, "not an array"),
        (np.inf, ValueError, "NaN or infinite"),
        ({"y": 0}, ValueError, r"Received the keys: \['y'\]; expected: \['x'\]"),
    ],
)
def test_wrong_references(given, error, message):
    with pytest.raises(error, match=message):
        References(given, spec())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0, 0, 0], "holds 3 entries. Expected: one for each of the model's 2 inputs"),
        (ONE, "2 inputs .a, b.. Received: one array"),
        ({"a": 0}, "Received the keys"),
    ],
)
def test_wrong_references_of_several_inputs(given, message):
    with pytest.raises(ValueError, match=message):
        References(given, two())


def test_wrong_numbers():
    with pytest.raises(ValueError, match=r"for 3 samples.*Received: 2 samples"):
        References(EACH, spec()).check_count(2)
    References(EACH, spec()).check_count(3)
    References(ONE, spec()).check_count(2)
    References(SEVERAL[:1], spec()).check_count(2)
    with pytest.raises(ValueError, match=r"for 3 samples. Received: more than that"):
        of(EACH, np.concatenate([X, X]))
    with pytest.raises(ValueError, match=r"same number of references. Received: 'a': 5, 'b': 2"):
        of([SEVERAL, np.zeros((3, 2, 3))], X, np.zeros((3, 3), "float32"), spec=two())


def test_a_functions_result_is_checked():
    with pytest.raises(ValueError, match="wrong shape"):
        of(lambda x: x[:, :2])


@pytest.mark.parametrize("count", [2, 4])
def test_a_function_gives_one_for_each_sample_or_one_for_all(count):
    with pytest.raises(ValueError, match=f"are for {count} samples.*Received: 3 samples"):
        of(lambda x: np.ones((count, 4, 2)), np.zeros((3, 4, 2)))
