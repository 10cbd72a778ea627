"""Permutation importance: against its expected value, and against loops over the same orders."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from innvestigate.evaluation import permutation_importance
from innvestigate.evaluation.permutation import accuracy
from tests.models import build

from .models import linear_model

pytestmark = pytest.mark.usefixtures("step_by_step")

MSE = "neg_mean_squared_error"
X = np.random.default_rng(0).normal(size=(7, 4))
Y = np.random.default_rng(1).normal(size=7)


def naive(predict, x, y, score, features, repeats, seed):
    """The drop for each feature, a list of boolean masks: one order, one sample at a time."""
    found = np.zeros((len(features), repeats))
    for k in range(repeats):
        order = np.random.default_rng((seed, k)).permutation(len(x))
        for j, feature in enumerate(features):
            shuffled = x.copy()
            for i, other in enumerate(order):
                shuffled[i][feature] = x[other][feature]
            found[j, k] = score(y, predict(x)) - score(y, predict(shuffled))
    return found.mean(axis=1), found.std(axis=1, ddof=1) / np.sqrt(repeats)


def error(y, prediction):
    return -np.mean((y - prediction[:, 0]) ** 2)


@pytest.mark.parametrize("batch_size", [3, 100])
@pytest.mark.parametrize("groups", [None, np.array([4, -1, 4, 2])])
def test_it_is_its_definition(groups, batch_size):
    model = linear_model((4,))
    labels = np.arange(4) if groups is None else groups
    expected = naive(
        lambda a: np.array(model(a)), X, Y, error, [labels == n for n in np.unique(labels)], 3, 5
    )
    found = permutation_importance(
        model, X, Y, score=MSE, groups=groups, repeats=3, seed=5, batch_size=batch_size
    )
    np.testing.assert_allclose(found["mean"], expected[0], rtol=1e-9)
    np.testing.assert_allclose(found["error"], expected[1], rtol=1e-9)
    assert found["feature"].tolist() == [str(n) for n in np.unique(labels)]
    assert found["size"].tolist() == [int((labels == n).sum()) for n in np.unique(labels)]
    own = permutation_importance(
        model, X, Y, score=error, groups=groups, repeats=3, seed=5, batch_size=batch_size
    )
    np.testing.assert_allclose(own["mean"], found["mean"], rtol=1e-9)


def test_its_expected_value():
    """(1/n²) Σ_i Σ_k (r_i + w_j (x_ij - x_kj))² - (1/n) Σ r², r being what the model misses."""
    model = linear_model((4,))
    weights, bias = (w.astype("float64").ravel() for w in model.get_weights())
    y = X @ weights + bias + 0.1 * Y
    missed = 0.1 * Y
    apart = X[:, None] - X  # (i, k, j)
    expected = ((missed[:, None, None] + weights * apart) ** 2).mean(axis=(0, 1))
    expected -= (missed**2).mean()
    found = permutation_importance(model, X, y, score=MSE, repeats=60, seed=0)
    assert np.all(np.abs(found["mean"] - expected) < 4 * found["error"])
    assert np.all(found["error"] < 0.1 * expected) and np.ptp(expected) > 1


def test_a_feature_that_is_not_used_has_no_importance_and_all_of_them_have_most():
    model = keras.Sequential([layers.Input((3,)), layers.Dense(2)])
    model.set_weights([np.array([[1.0, -1], [0, 0], [0.1, -0.1]]), np.zeros(2)])
    x = np.random.default_rng(2).normal(size=(60, 3)).astype("float32")
    y = np.array(model(x)).argmax(axis=1)
    found = permutation_importance(model, x, y, score="accuracy", seed=0, names=["a", "b", "c"])
    mean = found.set_index("feature")["mean"]
    assert mean["b"] == 0 and mean["a"] > mean["c"] >= 0
    one_hot = permutation_importance(model, x, np.eye(2)[y], score="accuracy", seed=0)
    np.testing.assert_allclose(one_hot["mean"], mean)
    together = permutation_importance(model, x, y, score="accuracy", groups=0, seed=0)
    assert len(together) == 1 and together["mean"][0] > 0.3


def test_a_probability_of_two_classes():
    model = keras.Sequential([layers.Input((2,)), layers.Dense(1, "sigmoid")])
    model.set_weights([np.array([[3.0], [0]]), np.zeros(1)])
    x = np.random.default_rng(2).normal(size=(50, 2)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    found = permutation_importance(model, x, y, score="accuracy", seed=0)
    assert found["mean"][0] > 0.2 and found["mean"][1] == 0
    logits = keras.Sequential([layers.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="needs its probability"):
        permutation_importance(logits, x, y, score="accuracy")


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])


@pytest.mark.parametrize(
    ("y", "prediction", "expected"),
    [
        ([0, 2, 2], PROBABILITIES, 2 / 3),
        ([[0], [2], [1]], PROBABILITIES, 1),
        ([0.0, 2.0, 0.0], PROBABILITIES, 2 / 3),
        (np.eye(3)[[1, 2, 1]], PROBABILITIES, 2 / 3),
        ([True, False, True], PROBABILITIES[:, :1], 2 / 3),
        ([1, 0, 1], PROBABILITIES[:, 0], 2 / 3),
    ],
)
def test_accuracy_by_hand(y, prediction, expected):
    assert accuracy(np.array(y), prediction) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("y", "prediction", "message"),
    [
        ([1, 2, 3], PROBABILITIES, r"from 0 to 2 in y. Received: 3\."),
        ([-1, 0, 1], PROBABILITIES, "from 0 to 2 in y. Received: -1"),
        ([0.5, 0, 1], PROBABILITIES, "from 0 to 2"),
        ([np.nan, 0, 1], PROBABILITIES, "from 0 to 2"),
        ([-1, 1, 1], PROBABILITIES[:, :1], "from 0 to 1"),
        ([[1, 1, 0], [0, 0, 1], [1, 0, 0]], PROBABILITIES, "one-hot vectors: a single 1"),
        ([[0, 0, 0], [0, 0, 1], [1, 0, 0]], PROBABILITIES, "one-hot vectors"),
        ([[2, -1, 0], [0, 0, 1], [1, 0, 0]], PROBABILITIES, "one-hot vectors"),
        (0.9 * np.eye(3) + 0.1 / 3, PROBABILITIES, "one-hot vectors"),
        (["cat", "dog", "cat"], PROBABILITIES, "y, of the score 'accuracy', must be a number"),
        ([0, 1], PROBABILITIES, "does not fit predictions"),
        ([0, 1, 2], PROBABILITIES * np.nan, "predicts NaN or infinite"),
        ([0, 1, 1], np.array([[np.nan], [0], [1]]), "predicts NaN or infinite"),
        (np.ones((3, 3, 2)), np.ones((3, 3, 2)), r"Received: the shape \(3, 3, 2\)"),
    ],
)
def test_accuracy_of_what_has_none(y, prediction, message):
    with pytest.raises(ValueError, match=message):
        accuracy(np.array(y), prediction)


def test_the_columns_of_data_frames_are_features():
    frame = pd.DataFrame(X, columns=["age", "sex", "bmi", "bp"])
    ask = lambda x, **more: permutation_importance(  # noqa: E731
        linear_model((4,)), x, Y, score=MSE, repeats=2, seed=0, **more
    )
    found, plain = ask(frame), ask(X)
    assert found["feature"].tolist() == ["age", "sex", "bmi", "bp"]
    assert plain["feature"].tolist() == ["0", "1", "2", "3"]
    np.testing.assert_allclose(found["mean"], plain["mean"])
    assert ask(frame, groups=[3, 3, 5, 5])["feature"].tolist() == ["3", "5"]
    assert ask(frame, names=list("abcd"))["feature"].tolist() == list("abcd")
    with pytest.raises(ValueError, match=r"x must hold numbers.*object.*to_numpy\('float32'\)"):
        ask(frame.assign(sex="f"))
    model, (image, vector) = build("two_inputs")
    x = {"image": image, "vector": pd.DataFrame(vector, columns=list("abcde"))}
    score = lambda y, prediction: prediction[:, 0].mean()  # noqa: E731
    found = permutation_importance(
        model, x, np.zeros(3), score=score, groups={"image": 0, "vector": None}, repeats=1
    )
    assert found["feature"].tolist() == ["0", *(f"vector/{c}" for c in "abcde")]


def test_several_inputs_and_groups_across_them():
    model, (image, vector) = build("two_inputs")
    y = np.array([0, 1, 2])
    score = lambda y, prediction: prediction[np.arange(3), y].mean()  # noqa: E731
    groups = {"image": np.array(9), "vector": np.array([9, 9, 1, 1, 1])}
    found = permutation_importance(
        model, [image, vector], y, score=score, groups=list(groups.values()), repeats=2, seed=3
    )
    f = lambda a, b: score(y, np.array(model([a, b])))  # noqa: E731
    expected = []
    for joint in (False, True):
        drops = []
        for k in range(2):
            order = np.random.default_rng((3, k)).permutation(3)
            mask = np.array([1, 1, 0, 0, 0], bool) == joint
            other = np.where(mask, vector[order], vector)
            drops.append(f(image, vector) - f(image[order] if joint else image, other))
        expected.append(np.mean(drops))
    np.testing.assert_allclose(found["mean"], expected, atol=1e-6)
    assert found["feature"].tolist() == ["1", "9"]
    assert found["size"].tolist() == [3, image[0].size + 2]
    named = permutation_importance(
        model,
        {"image": image, "vector": vector},
        y,
        score=score,
        groups={"image": 0, "vector": None},
        repeats=1,
    )
    assert named["feature"].tolist() == ["0", *(f"vector/{i}" for i in range(5))]
    assert named["error"].isna().all()


def test_seeds_and_the_model():
    model = linear_model((4,))
    before = [w.copy() for w in model.get_weights()]
    ask = lambda seed: permutation_importance(model, X, Y, score=MSE, repeats=2, seed=seed)  # noqa: E731
    assert ask(1).equals(ask(1)) and not ask(1).equals(ask(2)) and not ask(None).equals(ask(None))
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    assert not getattr(model, "compiled", False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[:1], "y": Y[:1]}, "at least two samples"),
        ({"x": [X, X[:3]]}, r"same number for each input.*\(7, 4\), \(3, 4\)"),
        ({"y": Y[:3]}, r"an entry for each of the 7 samples. Received: the shape \(3,\)"),
        ({"y": np.ones((7, 3))}, r"y of the shape \(7, 3\) does not fit predictions.*\(7, 1\)"),
        ({"y": ["a"] * 7}, "y must be a number or array of finite ones"),
        ({"x": np.where(X < -1, np.nan, X)}, "x must be .*which holds NaN"),
        ({"x": np.full((7, 4), "a")}, "x must hold numbers. Received: entries of the type <U1"),
        ({"score": "f1"}, "score must be one of 'accuracy', 'neg_mean_squared_error'"),
        ({"score": lambda y, p: np.nan}, r"score\(y, prediction\) must be a finite number"),
        ({"groups": np.zeros(3, int)}, r"groups of the shape \(3,\) do not broadcast"),
        ({"groups": 0.5}, "groups must be integer labels"),
        ({"names": ["a"]}, "1 names for 4 features"),
        ({"repeats": 0}, "repeats must be a whole number from 1 to 10000"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
    ],
)
def test_wrong_arguments(changes, message):
    arguments = {"x": X, "y": Y, "score": MSE, **changes}
    with pytest.raises(ValueError, match=message):
        permutation_importance(linear_model((4,)), **arguments)


def test_groups_of_other_inputs():
    model, (image, vector) = build("two_inputs")
    given = {"x": [image, vector], "y": np.zeros(3), "score": MSE}
    with pytest.raises(ValueError, match="an entry for each input of x"):
        permutation_importance(model, **given, groups=[0])
    with pytest.raises(TypeError, match="a Keras model"):
        permutation_importance("model", **given)
