"""Large jobs on the command line: batch by batch, stopped in the middle, and gone on with."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import zarr
from PIL import Image

import innvestigate
from innvestigate.cli import places, reading
from innvestigate.cli.listing import names_below
from tests.cli.helpers import assert_refused, one_line, run
from tests.frameworks import on_tensorflow

COUNT, BATCH = 20, 4
SCALED = ("--scale", 0.01, "--batch-size", BATCH)


@pytest.fixture(autouse=True)
def _photos():
    """Photographs of noise, whose names are not in the order in which they were made."""
    os.mkdir("photos")
    random = np.random.default_rng(3)
    for i in reversed(range(COUNT)):
        pixels = random.integers(0, 255, (6, 6)).astype("uint8")
        Image.fromarray(pixels).save(f"photos/{i:02}.png")


def line(out="x.zarr", *more, method="gradient", inputs="photos"):
    return ("explain", "image.keras", inputs, "-m", method, "-o", out, *SCALED, *more)


def pixels():
    files = sorted(Path("photos").iterdir())
    return np.stack([np.asarray(Image.open(file), "float32") for file in files])[..., None] * 0.01


def expected(method="gradient"):
    model = keras.models.load_model("image.keras")
    return innvestigate.create_analyzer(method, model).analyze(pixels(), batch_size=BATCH)


def kept(path="x.zarr"):
    return zarr.open_group(path, mode="r")


def breaking(monkeypatch, at, error=KeyboardInterrupt):
    """Break off where a photograph is read; what was read is told."""
    read = []
    whole = reading.open_picture

    def opened(path, channels):
        read.append(path.name)
        if path.name == f"{at:02}.png" and len(read) > BATCH:  # which are tried first
            raise error
        return whole(path, channels)

    monkeypatch.setattr(reading, "open_picture", opened)
    return read


# What goes right


def test_a_store_holds_results_and_what_leads_to_them():
    result = run(*line("x.zarr", "--class-names", "classes.txt"))
    assert result.exit_code == 0, result.output
    assert result.stdout == f"wrote x.zarr: {COUNT} samples\n" and result.stderr == ""
    outputs = keras.models.load_model("image.keras").predict(pixels(), verbose=0)
    names = ["cat", "dog", "owl, night bird"]
    found = kept()
    assert list(found["sample"][:]) == [f"photos/{i:02}.png" for i in range(COUNT)]
    assert list(found["neuron"][:]) == list(outputs.argmax(axis=1))
    assert list(found["class"][:]) == [names[i] for i in outputs.argmax(axis=1)]
    np.testing.assert_allclose(found["output"][:], outputs.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["relevance"][:], expected(), rtol=1e-5, atol=1e-7)


def test_no_more_than_a_batch_is_read_before_it_is_written(monkeypatch):
    events = []
    whole, write = reading.open_picture, zarr.Array.resize
    monkeypatch.setattr(reading, "open_picture", lambda *a: events.append("read") or whole(*a))
    monkeypatch.setattr(
        zarr.Array, "resize", lambda self, *a: events.append(self.basename) or write(self, *a)
    )
    assert run(*line()).exit_code == 0
    parts = "".join("r" if e == "read" else "w" for e in events if e in ("read", "relevance"))
    assert parts == ("r" * BATCH + "w") * (COUNT // BATCH)


def test_each_method_has_an_array():
    layer = keras.models.load_model("image.keras").layers[0].name
    method = f"lrp.epsilon(layers=['{layer}', 'input'])"
    assert run(*line(), "-m", method, "-m", "smoothgrad(seed=2)").exit_code == 0
    assert sorted(kept()) == sorted(
        ["gradient", method, "smoothgrad(seed=2)", "neuron", "output", "sample"]
    )
    np.testing.assert_allclose(kept()["gradient"][:], expected(), rtol=1e-5, atol=1e-7)
    model = keras.models.load_model("image.keras")
    smooth = innvestigate.create_analyzer("smoothgrad", model, seed=2)
    found = smooth.analyze(pixels(), batch_size=BATCH)
    np.testing.assert_allclose(kept()["smoothgrad(seed=2)"][:], found, rtol=1e-4, atol=1e-6)
    assert kept()[f"{method}/{layer}"].shape == (COUNT, 4, 4, 4)
    assert run(*line("y.zarr", method=method)).exit_code == 0
    assert sorted(kept("y.zarr")["relevance"]) == sorted([layer, "input"])


def test_an_output_with_several_axes():
    parts = [keras.Input((4,)), keras.layers.Dense(6), keras.layers.Reshape((2, 3))]
    model = keras.Sequential(parts)
    model.save("axes.keras")
    job = ("explain", "axes.keras", "table.csv", "-m", "gradient", "--batch-size", 2)
    assert run(*job, "-o", "x.zarr").exit_code == 0
    x = pd.read_csv("table.csv").to_numpy("float32")
    outputs = model.predict(x, verbose=0)
    neuron = np.stack(np.unravel_index(outputs.reshape(3, 6).argmax(axis=1), (2, 3)), axis=1)
    np.testing.assert_array_equal(kept()["neuron"][:], neuron)
    created = innvestigate.create_analyzer("gradient", model, neuron_selection_mode="index")
    np.testing.assert_allclose(kept()["relevance"][:], created.analyze(x, neuron), rtol=1e-5)
    assert run(*job, "-o", "x.parquet", "--neuron", "1,2").exit_code == 0
    assert list(pd.read_parquet("x.parquet")["neuron/1"]) == [2, 2, 2]


def test_a_table_has_columns_of_its_features():
    """Of several files, whose ends are not those of batches."""
    inputs = ("table.csv", "table.csv", "-m", "gradient", "--batch-size", 4)
    line = ("explain", "table.keras", *inputs)
    assert run(*line, "-o", "x.parquet").exit_code == 0
    found = pd.read_parquet("x.parquet")
    features = ["age", "size", "dose", "rate"]
    assert list(found) == ["sample", "neuron", "output", *features]
    assert list(found["sample"]) == [f"table.csv[{i}]" for i in range(3)] * 2
    assert run(*line, "-o", "x.csv").exit_code == 0
    whole = pd.read_csv("x.csv")
    np.testing.assert_allclose(found[features], whole[features], rtol=1e-5)
    assert run(*line, "-m", "deeplift", "-o", "y.parquet").exit_code == 0
    names = [f"{method}/{name}" for method in ("gradient", "deeplift") for name in features]
    assert list(pd.read_parquet("y.parquet"))[3:] == names


def test_many_samples_are_written_to_npy_batch_by_batch(monkeypatch):
    assert run(*line("few.npy")).stdout.count("\n") == COUNT + 1
    monkeypatch.setattr(places, "LARGE", COUNT - 1)
    assert run(*line("many.npy")).stdout == f"wrote many.npy: {COUNT} samples\n"
    np.testing.assert_allclose(np.load("many.npy"), np.load("few.npy"), rtol=1e-5, atol=1e-7)
    told = pd.read_csv("many.npy.csv")
    assert list(told) == ["sample", "neuron", "output"] and told["sample"][7] == "photos/07.png"
    assert not Path("few.npy.csv").exists()
    assert run(*line("many.npy", "--limit", 3, "--force")).exit_code == 0  # at once
    assert len(np.load("many.npy")) == 3 and not list(Path().glob("many.npy.*"))


@pytest.mark.parametrize("out", ["x.zarr", "x.npz", "x.png"])
def test_the_first_samples_are_taken(out):
    assert run(*line(out, "--limit", 6)).exit_code == 0
    if out == "x.zarr":
        found = kept()["relevance"][:]
        assert list(kept()["sample"][:])[-1] == "photos/05.png"
        assert run(*line(out, "--resume")).exit_code == 0  # and all others
        np.testing.assert_allclose(kept()["relevance"][:], expected(), rtol=1e-5, atol=1e-7)
    elif out == "x.npz":
        found = np.load(out)["gradient"]
        assert len(run(*line("y.npz", "--limit", 2, inputs="images.npy")).stdout.split("\n")) == 4
    else:
        return
    np.testing.assert_allclose(found, expected()[:6], rtol=1e-5, atol=1e-7)


def test_rate_and_time_are_shown(monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    shown = run(*line()).stderr
    assert "gradient" in shown and f"{COUNT}/{COUNT}" in shown and "/s" in shown
    monkeypatch.delenv("TTY_COMPATIBLE")


def test_files_are_in_the_order_of_folders_and_names():
    os.makedirs("some/a/c")
    for name in ("a-b.png", "a/z.PNG", "a/c/x.jpg", "b.png", "a/notes.txt", ".png"):
        Path("some", name).write_bytes(b"")
    os.symlink("a", "some/link")
    os.symlink("b.png", "some/c.png")
    kinds = (".png", ".jpg")
    assert names_below(Path("some"), kinds, False) == ["a-b.png", "b.png", "c.png"]
    everything = ["a/c/x.jpg", "a/z.PNG", "a-b.png", "b.png", "c.png"]
    assert names_below(Path("some"), kinds, True) == everything


# What stops in the middle


@pytest.mark.parametrize("out", ["x.zarr", "x.npy"])
@pytest.mark.parametrize("method", ["smoothgrad(seed=1)", "lrp.epsilon"])
def test_an_interrupted_job_goes_on(monkeypatch, out, method):
    command = line(out, "--resume", method=method)
    with monkeypatch.context() as changed:
        breaking(changed, 11)
        result = run(*command)
    assert result.exit_code == 130 and one_line(result.stderr)
    assert f"{out} holds the first 8 of 20 samples: --resume goes on" in result.stderr
    assert_refused(run(*line(out, method=method)), "--force")
    read = breaking(monkeypatch, 99)
    assert run(*command).stdout == f"wrote {out}: {COUNT} samples\n"
    assert read[BATCH:] == [f"{i:02}.png" for i in range(8, COUNT)]  # and none before
    assert run(*line("y" + out, "--resume", method=method)).exit_code == 0
    pair = [np.load(p) if out == "x.npy" else kept(p)["relevance"][:] for p in (out, "y" + out)]
    np.testing.assert_array_equal(*pair)


def test_a_damaged_image_is_named_and_what_is_written_stays():
    before = Path("photos/13.png").read_bytes()
    Path("photos/13.png").write_bytes(before[:40])
    result = run(*line())
    assert result.exit_code == 1 and one_line(result.stderr)
    assert "photos/13.png cannot be loaded as an image" in result.stderr
    assert "x.zarr holds the first 12 of 20 samples: --resume" in result.stderr
    assert run(*line("x.zarr", "--resume")).exit_code == 1
    Path("photos/13.png").write_bytes(before)
    assert run(*line("x.zarr", "--resume")).exit_code == 0
    assert run(*line("y.zarr")).exit_code == 0
    for name in ("relevance", "sample", "output"):
        np.testing.assert_array_equal(kept()[name][:], kept("y.zarr")[name][:])


def test_files_that_cannot_be_read_are_skipped_when_asked():
    assert run(*line("whole.zarr", method="smoothgrad(seed=1)")).exit_code == 0
    for name in ("00", "13", "14"):
        Path(f"photos/{name}.png").write_bytes(b"no image")
    job = line("x.zarr", "--class-names", "classes.txt", method="smoothgrad(seed=1)")
    assert_refused(run(*job), "photos/00.png cannot be loaded")
    result = run(*job, "--skip-unreadable")
    assert result.exit_code == 0
    notes = result.stderr.splitlines()
    assert [note.split(" cannot")[0] for note in notes] == [
        f"Note: photos/{i}.png" for i in ("00", "13", "14")
    ]
    assert all(note.endswith("Its results are NaN.") for note in notes)
    found, whole, gone = kept(), kept("whole.zarr"), [0, 13, 14]
    others = np.delete(np.arange(COUNT), gone)
    for name, nothing in {"relevance": np.nan, "output": np.nan, "neuron": -1}.items():
        np.testing.assert_array_equal(found[name][:][others], whole[name][:][others])
        np.testing.assert_array_equal(found[name][:][gone], nothing)
    assert list(found["class"][:][gone]) == [""] * 3 and found["sample"][13] == "photos/13.png"
    assert_refused(run(*line("x.npz", "--skip-unreadable")), "need one --out")


def test_what_fails_at_once_leaves_nothing(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as changed:
        changed.setattr(zarr.Array, "resize", full)
        result = run(*line())
    assert result.exit_code == 1 and one_line(result.stderr)
    assert "No space left on device" in result.stderr and "Nothing is written." in result.stderr
    assert not Path("x.zarr").exists()
    assert run(*line()).exit_code == 0


def test_an_error_that_nobody_has_thought_of_tells_where_the_job_stands(monkeypatch):
    breaking(monkeypatch, 9, ZeroDivisionError("no memory"))
    result = run(*line())
    assert result.exit_code == 1
    note, error = result.stderr.splitlines()
    assert "x.zarr holds the first 8 of 20 samples" in note and "ZeroDivisionError" in error


def test_other_batches_go_on_too(monkeypatch):
    """As those do that were too large for the memory."""
    with monkeypatch.context() as changed:
        breaking(changed, 10)
        assert run(*line()).exit_code == 130
    assert run(*line("x.zarr", "--resume", "--batch-size", 3)).exit_code == 0
    np.testing.assert_allclose(kept()["relevance"][:], expected(), rtol=1e-5, atol=1e-7)


def test_other_commands_are_refused():
    assert run(*line("x.zarr", "--limit", 8)).exit_code == 0
    again = line("x.zarr", "--resume")
    for more in (("--neuron", 1), ("-m", "deeplift")):
        assert_refused(run(*again, *more), "another analyzer")
    for more in (("--preprocessing", "0-1"), ("--resize", "stretch"), ("--offset", 1)):
        assert_refused(run(*again, *more), "read in the same way")
    assert_refused(
        run(*line("x.zarr", "--resume", method="gradient(layers=['input'])")), "another analyzer"
    )
    assert_refused(run(*again, "photos/03.png"), "x.zarr holds results of other data")
    os.rename("photos/19.png", "photos/20.png")
    assert_refused(run(*again), "x.zarr holds results of other data", "same files")
    assert list(kept()["sample"][:])[-1] == "photos/07.png"


def test_what_exists_is_replaced_when_asked():
    assert run(*line("x.zarr", "--limit", 8)).exit_code == 0
    assert_refused(run(*line()), "x.zarr exists. --resume goes on with it, --force replaces it.")
    wrong = line("x.zarr", "--force", "--neuron", 9)
    assert_refused(run(*wrong), "The neuron 9 is out of range")
    assert kept()["relevance"].shape[0] == 8
    assert run(*line("x.zarr", "--force", "--neuron", 2)).exit_code == 0
    assert set(kept()["neuron"][:]) == {2} and kept()["relevance"].shape[0] == COUNT


def test_what_does_not_go_together():
    for more in (("-o", "x.png"), ("-o", "y.zarr")):
        assert_refused(run(*line("x.zarr", *more)), "x.zarr is written batch by batch")
    assert_refused(run(*line("x.png", "--resume")), "--resume, --skip-unreadable and --ray")
    assert_refused(run(*line("x.zarr", "--resume", "--force")), "choose one")
    assert_refused(run(*line("x.parquet")), "use .zarr")
    assert_refused(run(*line("x.npy", "--resume", "-m", "deeplift")), "Use .npz or .zarr")


@pytest.mark.parametrize("more", ["--force", "--resume"])
def test_nothing_else_is_replaced(more):
    os.mkdir("x.zarr")
    Path("x.zarr/mine.txt").write_text("mine")
    assert_refused(run(*line("x.zarr", more)), "neither gone on with nor replaced")
    assert_refused(run(*line("x.zarr/mine.txt", more)), "'.txt'")
    os.rename("photos", "photos.zarr")
    assert run(*line("photos.zarr/y.zarr", inputs="photos.zarr")).exit_code == 0
    Path("photos.zarr/zarr.json").write_text('{"attributes": {"innvestigate": {}}}')
    assert_refused(run(*line("photos.zarr", more, inputs="photos.zarr")), "never replaced")
    assert Path("x.zarr/mine.txt").read_text() == "mine"


def test_what_stands_beside_an_array_is_not_replaced(monkeypatch):
    monkeypatch.setattr(places, "LARGE", 1)
    Path("x.npy.csv").write_text("a\nb\nc\n")
    assert_refused(run(*line("x.npy")), "x.npy.csv exists")
    assert_refused(run(*line("x.npy", "--class-names", "x.npy.csv", "--force")), "is an input")
    assert Path("x.npy.csv").read_text() == "a\nb\nc\n"


def test_a_library_that_is_missing(monkeypatch):
    monkeypatch.setattr(places, "find_spec", lambda name: None)
    assert_refused(run(*line()), "pip install 'innvestigate[zarr]'")


# As a process of its own

KILLED = """
    import os, signal, sys
    from innvestigate.cli import app, reading

    whole = reading.open_picture

    def opened(path, channels):
        if path.name == "14.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(path, channels)

    reading.open_picture = opened
    app(sys.argv[1:])
"""


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_bits():
    command = [str(word) for word in line("x.zarr", method="smoothgrad(seed=1)")]
    code = textwrap.dedent(KILLED)
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(kept()["sample"][:]) == 12
    again = [sys.executable, "-m", "innvestigate", *command]
    subprocess.run([*again, "--resume"], capture_output=True, check=True)
    again[again.index("x.zarr")] = "y.zarr"
    subprocess.run(again, capture_output=True, check=True)
    assert sorted(kept()) == sorted(kept("y.zarr"))
    for name in kept():
        np.testing.assert_array_equal(kept()[name][:], kept("y.zarr")[name][:])


@on_tensorflow  # of whatever backend, workers are processes of their own
@pytest.mark.slow
def test_the_workers_of_a_cluster_share_the_work(cluster, monkeypatch):
    asked = []
    monkeypatch.setattr(cluster, "init", lambda **options: asked.append(options["address"]))
    assert run(*line(), "--ray", "auto").exit_code == 0
    assert asked == ["auto"]
    np.testing.assert_allclose(kept()["relevance"][:], expected(), rtol=0, atol=1e-6)
    assert list(kept()["sample"][:]) == [f"photos/{i:02}.png" for i in range(COUNT)]
    assert run(*line("y.zarr", "--limit", 8)).exit_code == 0
    assert run(*line("y.zarr", "--resume", "--ray", "auto")).exit_code == 0
    np.testing.assert_allclose(kept("y.zarr")["relevance"][:], expected(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:x{}"])
def test_an_address_where_nobody_listens_is_told_at_once(address, monkeypatch):
    def waits(**_):
        raise AssertionError("Ray would try again for ten minutes.")

    monkeypatch.setattr(pytest.importorskip("ray"), "init", waits)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = address.format(held.getsockname()[1])
        assert_refused(run(*line(), "--ray", address), "no cluster of Ray at", address)


def test_a_cluster_that_is_not_there(monkeypatch):
    def refused(**_):
        raise ConnectionError("Could not find any running Ray instance.\nStart one.")

    monkeypatch.setattr(pytest.importorskip("ray"), "init", refused)
    assert_refused(run(*line(), "--ray", "auto"), "no cluster of Ray at 'auto'", "Start one")
    assert_refused(run(*line("x.png"), "--ray", "auto"), "--ray need one --out")
    assert_refused(run(*line(), "-m", "lrp.z", "--ray", "auto"), "one --method")
    monkeypatch.setattr(places, "find_spec", lambda name: None if name == "ray" else name)
    assert_refused(run(*line(), "--ray", "auto"), "innvestigate[ray]")
    assert not Path("x.zarr").exists()
