"""Ten models x all methods: this framework's numbers are TensorFlow's.

Each runs in a process of its own, without what the suite's settings change.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.backend.agreement import MODELS
from tests.frameworks import NAME
from tests.test_table import METHODS, UNSTABLE

ROUNDED = {
    "lrp.z_plus_fast": 1e-4,  # is for inputs >= 0: with others its divisors nearly cancel
    # Of these float32 rounds off up to 5e-6 on each framework; in float64 all agree to 1e-14.
    **dict.fromkeys(("lrp.z_plus", "lrp.alpha_1_beta_0_IB", "lrp.excitation_backprop"), 3e-5),
    "lrp.w_square": 3e-5,
}


def limit(key: str) -> float:
    """By how much the numbers of a model, a method and an input may differ."""
    return (ROUNDED | UNSTABLE).get(key.split(" ")[1], 1e-5)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    """What TensorFlow and this framework say."""
    results = []
    for name in ("tensorflow", NAME):
        file = tmp_path_factory.mktemp(name) / "explained.npz"
        run = subprocess.run(
            [sys.executable, "-m", "tests.backend.agreement", str(file)],
            env={**os.environ, "KERAS_BACKEND": name},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr[-2000:]
        with np.load(file) as arrays:
            results.append(dict(arrays))
    return results


def off(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference as a fraction of the largest number; infinite if one is text."""
    if a.dtype.kind == "U" or b.dtype.kind == "U":
        return 0 if a == b else np.inf
    return np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)


if NAME != "tensorflow":

    def test_numbers_agree_on_ten_models_with_all_methods(found):
        expected, here = found
        assert set(expected) == set(here)
        assert {tuple(key.split(" ")[:2]) for key in here} == {
            (model, method) for model in MODELS for method in METHODS
        }
        gaps = {key: off(expected[key], here[key]) for key in here}
        assert not {key: gap for key, gap in gaps.items() if gap > limit(key)}
