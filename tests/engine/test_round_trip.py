"""Every analyzer comes back from its file in a new process with the very same arrays."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.engine.test_storage import ONE_THREAD
from tests.test_table import METHODS


def run(what, folder):
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.engine.round_trip", what, str(folder)],
        check=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | ONE_THREAD,
    )


@pytest.mark.slow
def test_another_process_gives_identical_arrays(tmp_path):
    run("save", tmp_path)
    run("load", tmp_path)
    names = [path.stem for path in tmp_path.glob("*.zip")]
    assert set(METHODS) < set(names) and len(names) > len(METHODS) + 25
    for name in names:
        with (
            np.load(tmp_path / f"{name}.saved.npz") as expected,
            np.load(tmp_path / f"{name}.loaded.npz") as found,
        ):
            assert set(found) == set(expected), name
            assert any(np.any(expected[key]) for key in expected), name
            for key in expected:
                np.testing.assert_array_equal(found[key], expected[key], err_msg=name)
                assert found[key].dtype == expected[key].dtype
