"""What is written is what modisco-lite 3.0.0 reads: `arr_0` of each file, (batch, 4, length)."""

import tracemalloc

import numpy as np
import pytest

from innvestigate.genomics import one_hot_encode, save_modisco

SEQUENCES = ["ACGTA", "TTGCN"]
X = one_hot_encode(SEQUENCES)
SCORES = np.random.default_rng(0).normal(size=X.shape).astype("float32")


def test_letters_come_before_places(tmp_path):
    paths = save_modisco(tmp_path / "new", X, SCORES)
    assert [path.name for path in paths] == ["sequences.npz", "contributions.npz"]
    sequences, scores = (np.load(path)["arr_0"] for path in paths)
    assert (sequences.shape, scores.shape, scores.dtype) == ((2, 4, 5), (2, 4, 5), "float32")
    for i, text in enumerate(SEQUENCES):
        for place, letter in enumerate(text):
            for row, other in enumerate("ACGT"):
                assert sequences[i, row, place] == (letter == other)
                assert scores[i, row, place] == SCORES[i, place, row]


def test_files_of_before_are_replaced_and_bad_ones_leave_them(tmp_path):
    save_modisco(tmp_path, X, SCORES)
    save_modisco(tmp_path, X[:1], SCORES[:1])
    with pytest.raises(ValueError, match="not finite"):
        save_modisco(tmp_path, X, SCORES * np.nan)
    assert np.load(tmp_path / "sequences.npz")["arr_0"].shape == (1, 4, 5)
    assert len(list(tmp_path.iterdir())) == 2


def test_memory_does_not_grow_with_arrays_on_disk(tmp_path):
    def peak(count):
        shape = (count, 500, 4)
        for name in ("x", "scores"):
            file = np.lib.format.open_memmap(tmp_path / f"{name}.npy", "w+", "float32", shape)
            file[:, :, 0], file[:, :, 1] = 1, name == "scores"
        arrays = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("x", "scores"))
        tracemalloc.start()
        save_modisco(tmp_path, *arrays)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(9000) < 1.1 * peak(4500)


SHARES = X.copy()
SHARES[1, 2] = 0.25


@pytest.mark.parametrize(
    ("x", "scores", "message"),
    [
        (X, SCORES * X, "zero for all letters but those that are there.*hypothetical=True"),
        (X, SCORES[:1], r"Received: \(2, 5, 4\) and \(1, 5, 4\)"),
        (X.transpose(0, 2, 1), SCORES.transpose(0, 2, 1), r"\(batch, length, 4\)"),
        (X[0], SCORES[0], r"Received: \(5, 4\)"),
        (SHARES, SCORES, "in sample 1 at position 2"),
        (X, np.where(X[::-1], np.inf, SCORES), "contributions of sample 0 are not finite"),
        (X, "scores", "contributions must be a number or array"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, x, scores, message):
    with pytest.raises(ValueError, match=message):
        save_modisco(tmp_path / "new", x, scores)
    assert not list(tmp_path.iterdir())


def test_a_sample_far_behind_is_named_by_its_number(tmp_path):
    x, scores = np.repeat(X, 300, axis=0), np.repeat(SCORES, 300, axis=0)
    scores[401, 0, 0] = np.nan
    with pytest.raises(ValueError, match="of sample 401 are not"):
        save_modisco(tmp_path, x, scores)
    x[522, 3] = 2
    with pytest.raises(ValueError, match="in sample 522 at position 3"):
        save_modisco(tmp_path, x, np.nan_to_num(scores))


def test_places_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        save_modisco(tmp_path / "file", X, SCORES)
    with pytest.raises(FileNotFoundError):
        save_modisco(tmp_path / "no" / "folder", X, SCORES)
    with pytest.raises(TypeError, match="path must be the path"):
        save_modisco(3, X, SCORES)
