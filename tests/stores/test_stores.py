"""What is written batch by batch is what is returned at once, also after an interruption."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
import zarr
from keras import layers

import innvestigate
from innvestigate.stores import open_path, open_store, write_all
from innvestigate.utils.stored import is_store, remove_store
from tests.six_features import analyzer, network

KINDS = (".npy", ".zarr", ".parquet")
DATA = np.random.default_rng(0).normal(size=(70, 6)).astype("float32")


def read(path, name="relevance"):
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r")
    if path.suffix == ".zarr":
        return zarr.open_group(path, mode="r")[name][:]
    table = pd.read_parquet(path)
    return table.to_numpy()


def broken_after(batches, size=16):
    """A data set that breaks off."""
    for i in range(batches):
        yield DATA[i * size : (i + 1) * size]
    raise KeyboardInterrupt


def interrupt(path, batches=2, **kwargs):
    with pytest.raises(KeyboardInterrupt):
        analyzer(**kwargs).analyze(broken_after(batches), out=path, batch_size=16)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_what_is_returned(tmp_path, kind):
    path = tmp_path / f"found{kind}"
    assert analyzer().analyze(DATA, out=path, batch_size=16) is path
    np.testing.assert_array_equal(read(path), analyzer().analyze(DATA, batch_size=16))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batches", [0, 1, 3])
def test_an_interrupted_job_goes_on(tmp_path, kind, batches):
    path = tmp_path / f"found{kind}"
    interrupt(path, batches)
    analyzer().analyze(DATA, out=str(path), batch_size=16, resume=True)
    np.testing.assert_array_equal(read(path), analyzer().analyze(DATA, batch_size=16))
    made = [file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*"))]
    analyzer().analyze(DATA, out=path, batch_size=16, resume=True)  # nothing is left to do
    assert [file.stat().st_mtime_ns for file in sorted(tmp_path.rglob("*"))] == made


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_done_is_not_done_again(tmp_path, kind, monkeypatch):
    path = tmp_path / f"found{kind}"
    interrupt(path, 3)
    again, ran = analyzer(), []
    explain = again.explain
    monkeypatch.setattr(again, "explain", lambda batch: ran.extend(batch.samples) or explain(batch))
    again.analyze(DATA, out=path, batch_size=16, resume=True)
    assert sorted(set(ran)) == list(range(48, 70))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_crash_left_behind_the_last_batch_is_written_anew(tmp_path, kind):
    """As a process is killed between the results and the record of them."""
    path, other = tmp_path / f"found{kind}", tmp_path / f"other{kind}"
    interrupt(path, 2)
    interrupt(other, 3)
    record = {".npy": f"{path}.json", ".zarr": path / "zarr.json"}.get(
        kind, path / "_innvestigate.json"
    )
    before = Path(record).read_bytes()
    analyzer().analyze(DATA, out=path, batch_size=16, resume=True)
    Path(record).write_bytes(before)
    analyzer().analyze(DATA, out=path, batch_size=16, resume=True)
    np.testing.assert_array_equal(read(path), analyzer().analyze(DATA, batch_size=16))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("other", "selection"),
    [
        ({"method": "gradient"}, None),
        ({"augment_by_n": 4}, None),
        ({"model": network(5)}, None),
        ({"neuron_selection_mode": "index"}, 1),
    ],
    ids=["method", "argument", "weights", "selection"],
)
def test_another_analyzer_is_refused(tmp_path, kind, other, selection):
    path = tmp_path / f"found{kind}"
    interrupt(path)
    with pytest.raises(innvestigate.FileRefusedError, match="another analyzer"):
        analyzer(**other).analyze(DATA, selection, out=path, batch_size=16, resume=True)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written_over(tmp_path, kind):
    path = tmp_path / f"found{kind}"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="resume=True"):
        analyzer().analyze(DATA, out=path)
    with pytest.raises(innvestigate.FileRefusedError, match="cannot be gone on with"):
        analyzer().analyze(DATA, out=path, resume=True)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_what_fails_at_once_leaves_nothing(tmp_path, kind):
    with pytest.raises(ValueError, match="NaN"):
        analyzer().analyze(np.full_like(DATA, np.nan), out=tmp_path / f"found{kind}")
    assert list(tmp_path.iterdir()) == []


def test_other_batches_are_refused(tmp_path):
    path = tmp_path / "found.npy"
    interrupt(path)
    with pytest.raises(ValueError, match="batch_size of before"):
        analyzer().analyze(DATA, out=path, batch_size=20, resume=True)
    with pytest.raises(ValueError, match="holds 20 only"):
        analyzer().analyze(DATA[:20], out=path, batch_size=20, resume=True)


@keras.saving.register_keras_serializable("test_stores")
def known_reference(x):
    return 0 * x


@pytest.mark.parametrize("reference", [known_reference, lambda x: 0 * x])
def test_code_that_cannot_be_saved_cannot_go_on(tmp_path, reference):
    path, known = tmp_path / "found.npy", reference is known_reference
    created = analyzer("deeplift", reference_inputs=reference)
    created.analyze(DATA, out=path)
    if known:
        created.analyze(DATA, out=path, resume=True)
    else:
        with pytest.raises(TypeError, match="register_keras_serializable"):
            created.analyze(DATA, out=path, resume=True)


def test_each_result_has_its_name(tmp_path):
    path = tmp_path / "found.zarr"
    created = analyzer("gradient", layers=["input", "hidden"])
    created.analyze(DATA, out=path)
    expected = created.analyze(DATA)
    assert sorted(zarr.open_group(path).keys()) == ["hidden", "input"]
    for name, array in expected.items():
        np.testing.assert_array_equal(read(path, name), array)
    with pytest.raises(ValueError, match="one array, and there are 2 results"):
        created.analyze(DATA, out=tmp_path / "found.npy")


def test_several_inputs_are_columns(tmp_path):
    inputs = [keras.Input((2,), name="age"), keras.Input((4,), name="dose")]
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()(inputs)))
    x = {"age": DATA[:, :2], "dose": DATA[:, 2:]}
    created = analyzer("gradient", model)
    created.analyze(x, out=tmp_path / "found.parquet")
    table, expected = pd.read_parquet(tmp_path / "found.parquet"), created.analyze(x)
    np.testing.assert_array_equal(table[["age/0", "age/1"]].to_numpy(), expected["age"])
    np.testing.assert_array_equal(table["dose/3"].to_numpy(), expected["dose"][:, 3])


def test_images_are_no_table(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"Use \.zarr"):
        analyzer("gradient", model).analyze(np.ones((2, 4, 4, 1)), out=tmp_path / "found.parquet")


def known(start, end):
    """What is known of samples: a name, a number, two numbers."""
    names = [f"photo, {'x' * i}" for i in range(start, end)]
    numbers = np.arange(start, end)
    return {
        "sample": np.array(names, np.dtypes.StringDType()),
        "neuron": numbers,
        "place": np.stack([numbers, -numbers], axis=1),
    }


def append(store, start, end):
    store.append(DATA[start:end], known(start, end))


def told(path):
    """What a store says of its samples, as a table."""
    if path.suffix == ".zarr":
        group = zarr.open_group(path, mode="r")
        place = group["place"][:]
        columns = {"sample": group["sample"][:], "neuron": group["neuron"][:]}
        return pd.DataFrame(columns | {"place/0": place[:, 0], "place/1": place[:, 1]})
    if path.suffix == ".npy":
        return pd.read_csv(f"{path}.csv")
    return pd.read_parquet(path)[["sample", "neuron", "place/0", "place/1"]]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_known_of_samples_stands_beside_their_results(tmp_path, kind):
    path = tmp_path / f"found{kind}"
    store = open_path(path, lambda: "analyzer", False, "files")
    append(store, 0, 16)
    append(store, 16, 32)
    store.write({"relevance": DATA[32:48]}, known(32, 48), 32)  # and nobody notes it
    store = open_path(path, lambda: "analyzer", True, "files")
    assert store.written == 32
    append(store, 32, 40)
    append(store, 40, 70)
    table, expected = told(path), known(0, 70)
    assert list(table["sample"]) == list(expected["sample"])
    assert list(table["neuron"]) == list(expected["neuron"])
    assert list(table["place/1"]) == list(expected["place"][:, 1])
    found = pd.read_parquet(path).iloc[:, 4:].to_numpy() if kind == ".parquet" else read(path)
    np.testing.assert_array_equal(found, DATA)


@pytest.mark.parametrize("kind", KINDS)
def test_other_data_is_refused(tmp_path, kind):
    path = tmp_path / f"found{kind}"
    append(open_path(path, lambda: "analyzer", False, "files"), 0, 16)
    for data in ("others", None):
        with pytest.raises(innvestigate.FileRefusedError, match="other data"):
            open_path(path, lambda: "analyzer", True, data)


@pytest.mark.parametrize("kind", KINDS)
def test_two_things_of_one_name(tmp_path, kind):
    store = open_path(tmp_path / f"found{kind}", lambda: "analyzer", False)
    with pytest.raises(ValueError, match="two things called 'sample'"):
        store.append({"sample": DATA[:, 0]}, known(0, 70))


def test_small_batches_share_a_chunk(tmp_path):
    analyzer().analyze(DATA, out=tmp_path / "found.zarr", batch_size=16)
    kept = zarr.open_group(tmp_path / "found.zarr", mode="r")["relevance"]
    assert kept.chunks[0] % 16 == 0 and 2**15 < np.prod(kept.chunks) * 4 <= 2**16


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_is_told_from_other_things(tmp_path, kind):
    path = tmp_path / f"found{kind}"
    append(open_path(path, lambda: "analyzer", False), 0, 16)
    assert is_store(path) == (kind != ".npy")
    remove_store(path)
    assert list(tmp_path.iterdir()) == []
    path.mkdir()
    assert not is_store(path)
    (path / "zarr.json").write_text("[1]")
    assert not is_store(path)


def test_arrays_take_slices(tmp_path):
    expected = analyzer().analyze(DATA, batch_size=16)
    out = np.zeros((80, 6), "float32")
    assert analyzer().analyze(DATA, out=out, batch_size=16) is out
    np.testing.assert_array_equal(out[:70], expected)
    assert not out[70:].any()
    with h5py.File(tmp_path / "found.h5", "w") as file:
        analyzer().analyze(DATA, out=file.create_dataset("r", (70, 6)), batch_size=16)
        np.testing.assert_array_equal(file["r"][:], expected)
    kept = zarr.create_array(tmp_path / "own.zarr", shape=(70, 6), dtype="float32")
    analyzer().analyze(DATA, out=kept, batch_size=16)
    np.testing.assert_array_equal(kept[:], expected)


@pytest.mark.parametrize(
    ("out", "kwargs", "error", "told"),
    [
        (np.zeros((70, 5)), {}, ValueError, r"\(70, 5\)"),
        (np.zeros((60, 6)), {}, ValueError, "at least 64 samples"),
        ({"x": np.zeros((70, 6))}, {}, ValueError, "relevance"),
        (np.zeros((70, 6)), {"resume": True}, ValueError, "a path as `out`"),
        (7, {}, TypeError, "a path, or arrays"),
        ("found.csv", {}, ValueError, r"\.npy, \.zarr, \.parquet"),
        ("no/such/found.npy", {}, FileNotFoundError, "no folder"),
        (None, {"resume": True}, ValueError, "pass its path"),
        (np.zeros((70, 6)), {"resume": "yes"}, ValueError, "resume"),
    ],
)
def test_errors(out, kwargs, error, told):
    with pytest.raises(error, match=told):
        analyzer().analyze(DATA, out=out, **kwargs)


@pytest.mark.parametrize(
    ("results", "error", "told"),
    [
        (7, TypeError, "results must be the results of batches"),
        (keras.Input((3,)), TypeError, "results must be the results of batches"),
        (["text"], ValueError, "result must be a number or array"),
        ([{}], ValueError, "Received the shapes: "),
        ([{"a": np.ones((2, 3)), "b": np.ones((1, 3))}], ValueError, r"\(2, 3\), \(1, 3\)"),
    ],
)
def test_what_is_no_result_is_not_written(tmp_path, results, error, told):
    path = tmp_path / "found.zarr"
    with pytest.raises(error, match=told):
        write_all(open_store(path, lambda: "me", resume=False), results)
    assert not path.exists()


def test_a_store_is_opened_with_a_fingerprint(tmp_path):
    with pytest.raises(TypeError, match="made_by must be a function"):
        open_store(tmp_path / "found.npy", "me", resume=False)
    with pytest.raises(TypeError, match="fingerprint must be a text"):
        open_store(tmp_path / "found.npy", lambda: 7, resume=False)
    with pytest.raises(TypeError, match="store must be a store that"):
        write_all(tmp_path / "found.npy", [DATA])


def test_books_are_kept_too(tmp_path):
    path = tmp_path / "found.npy"
    analyzer("lrp.epsilon").analyze(DATA, out=path, check=True)
    expected = analyzer("lrp.epsilon").analyze(DATA)
    np.testing.assert_allclose(read(path), expected, rtol=1e-5, atol=1e-6 * abs(expected).max())
    analyzer("lrp.epsilon").analyze(DATA, out=path, check=True, resume=True)  # nothing is left


KILLED = """
    import os, signal, sys
    import numpy as np
    from tests.stores.test_stores import DATA, analyzer

    def data():
        for i in range(5):
            if i == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield DATA[16 * i : 16 * (i + 1)]

    analyzer().analyze(data(), out=sys.argv[1], batch_size=16)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_loses_no_batch(tmp_path, kind):
    path = tmp_path / f"found{kind}"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], env=os.environ)
    assert run.returncode == -signal.SIGKILL
    assert len(read(path)) == 48
    analyzer().analyze(DATA, out=path, batch_size=16, resume=True)
    np.testing.assert_array_equal(read(path), analyzer().analyze(DATA, batch_size=16))
