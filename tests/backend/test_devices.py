"""Models whose weights several devices hold: each explains a part of a batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.backend.devices import METHODS, MODELS
from tests.frameworks import on_tensorflow

pytestmark = [on_tensorflow, pytest.mark.slow]  # starts processes for each framework itself
TWO_DEVICES = "--xla_force_host_platform_device_count=2"


@pytest.mark.parametrize("framework", ["tensorflow", "jax"])
def test_two_devices_say_what_one_says(framework, tmp_path):
    file = tmp_path / "explained.npz"
    run = subprocess.run(
        [sys.executable, "-m", "tests.backend.devices", str(file)],
        env={**os.environ, "KERAS_BACKEND": framework, "XLA_FLAGS": TWO_DEVICES},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    with np.load(file) as found:
        for model in MODELS:
            for method in METHODS:
                one, two = (found[f"{model} {method} {devices}"] for devices in ("one", "two"))
                np.testing.assert_allclose(one, two, rtol=0, atol=1e-5 * np.abs(one).max())
        together = [found[f"{m} pattern.net {d}"] for m in MODELS for d in ("one", "two")]
        halved = [np.any(a != b) for a, b in zip(together[::2], together[1::2], strict=True)]
        assert any(halved)  # sums of two halves are rounded otherwise: the batch was shared
