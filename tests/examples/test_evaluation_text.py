"""What was measured of networks that read: how, what came out, and that the page says it."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import evaluation_text as benchmark  # noqa: E402

RESULTS = json.loads((ROOT / "benchmarks" / "results" / "evaluation_text.json").read_text())


@pytest.mark.parametrize("name", benchmark.READERS)
@pytest.mark.parametrize("method", ["lrp.epsilon", "lrp.attn"])
@pytest.mark.parametrize("other", [benchmark.RANDOM, "gradient"])
def test_relevance_finds_what_the_verdict_rests_on(name, method, other):
    """Sample by sample, by far more than chance could do."""
    gain, error = RESULTS[name]["methods"][method]["against"][other]
    assert gain > 0.1 and gain > 5 * error


def test_the_page_says_what_was_found():
    assert set(RESULTS) == set(benchmark.READERS)
    assert all(found["accuracy"] > 0.75 for found in RESULTS.values())
    assert benchmark.section(RESULTS) in (ROOT / "docs" / "evaluation.md").read_text()


def reader():
    """The sum of four numbers; only the first `places` of each row count."""
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.ones((4, 1))])
    x = np.array([[1.0, 2, 3, 4], [-2, -1, 0, 0]], "float32")

    def remove(row, places):
        return np.where(np.isin(np.arange(4), places), 0, row)

    return benchmark.Reader(model, x, remove, np.array([4, 2]), 1.0)


def test_the_most_relevant_places_are_removed(monkeypatch):
    monkeypatch.setattr(benchmark, "SHARES", (0.5, 1.0))
    one = reader()
    drops = one.drops(one.x * one.verdict[:, None] + [[0, 0, 0, 0], [0, 0, 9, 9]])
    p = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    expected = [[p(10) - p(3), p(3) - p(1)], [p(10) - p(0), p(3) - p(0)]]
    np.testing.assert_allclose(drops, expected, rtol=1e-5)


def test_what_is_kept_of_a_method(monkeypatch):
    """Input times gradient is exact here, and the gradient is the same everywhere."""
    monkeypatch.setattr(benchmark, "METHODS", {"gradient": {}, "input_t_gradient": {}})
    monkeypatch.setattr(benchmark, "SHARES", (0.25, 0.5))
    found = benchmark.measure(reader())["methods"]
    assert set(found) == {benchmark.RANDOM, "gradient", "input_t_gradient"}
    (best, _), (plain, _) = found["input_t_gradient"]["last"], found["gradient"]["last"]
    assert best > plain
    gain, error = found["input_t_gradient"]["against"]["gradient"]
    assert gain == pytest.approx(best - plain, abs=2e-4) and error > 0
