"""What many processes find is what one of them finds, also when some of them die."""

import os
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image

from innvestigate import distributed
from innvestigate.distributed import jobs, workers
from innvestigate.distributed.data import Batches
from innvestigate.distributed.tasks import Explaining, Fitting
from innvestigate.distributed.workers import Worker
from innvestigate.engine.answers import choice
from innvestigate.evaluation import importance
from tests.distributed.doomed import Doomed, died
from tests.docs.pages import ROOT
from tests.six_features import analyzer, network

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")

DATA = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
LABELS = np.arange(200) % 3
BOTH = {"workers": 2, "batch_size": 16}


def rows(**columns):
    """A data set in blocks that are no batches."""
    table = {name: list(column) for name, column in columns.items()}
    return ray.data.from_pandas(pd.DataFrame(table)).repartition(7)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def doomed(monkeypatch, name, *args, **kwargs):
    """Let the tasks of a kind die."""
    kind = getattr(jobs, name)
    monkeypatch.setattr(jobs, name, lambda *given: Doomed(kind(*given), *args, **kwargs))


def kill_one(folder):
    """Kill the first process that says it waits for that."""
    while not died(folder):
        time.sleep(0.05)
    os.kill(died(folder)[0], signal.SIGKILL)


@pytest.mark.slow
def test_results_are_those_of_one_process(cluster):
    """In the order of the data, with its labels and noise, though blocks and batches differ."""
    created = analyzer(neuron_selection_mode="index")
    found = distributed.analyze(created, rows(x=DATA, label=LABELS), "labels", **BOTH)
    assert_close(found, created.analyze(DATA, LABELS))


@pytest.mark.slow
def test_a_worker_is_killed(cluster, tmp_path, monkeypatch):
    doomed(monkeypatch, "Explaining", tmp_path, at=96, waits=True)
    threading.Thread(target=kill_one, args=[tmp_path], daemon=True).start()
    out = np.zeros((200, 6), "float32")
    data = ray.data.from_numpy(DATA)
    assert distributed.analyze(analyzer(), data, out=out, **BOTH) is out
    assert len(died(tmp_path)) == 1
    assert_close(out, analyzer().analyze(DATA))


@pytest.mark.slow
def test_a_fit_is_that_of_all_data(cluster, tmp_path, monkeypatch):
    """A worker dies with what it has gathered, and an earlier fit does not count."""
    doomed(monkeypatch, "Fitting", tmp_path, at=160)
    created = analyzer("pattern.net").fit(DATA[:50] ** 2)
    assert distributed.fit(created, ray.data.from_numpy(DATA), **BOTH) is created
    assert len(died(tmp_path)) == 1
    whole = analyzer("pattern.net").fit(DATA)
    assert created.statistics.samples == 200
    for name, pattern in whole.patterns.items():
        assert_close(created.patterns[name], pattern)
    assert_close(created.analyze(DATA), whole.analyze(DATA))


@pytest.mark.slow
def test_importance_is_that_of_all_data(cluster, tmp_path, monkeypatch):
    doomed(monkeypatch, "Summing", tmp_path, at=160)
    of = {"quantiles": [0.25, 0.75], "names": list("abcdef")}
    found = distributed.importance(analyzer(), ray.data.from_numpy(DATA), **of, **BOTH)
    assert len(died(tmp_path)) == 1
    expected = importance(analyzer(), DATA, **of)
    pd.testing.assert_frame_equal(found.iloc[:, :4], expected.iloc[:, :4])
    np.testing.assert_allclose(found.iloc[:, 4:], expected.iloc[:, 4:], atol=0.1)


@pytest.mark.slow
def test_images_in_a_folder(cluster, tmp_path):
    """They come in the size of the model's input, by their names."""
    model = keras.Sequential([keras.Input((4, 5, 3)), layers.Flatten(), layers.Dense(2, "tanh")])
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 5, 3), "uint8")
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for i, image in enumerate(pixels):
        place = "more" if i >= 15 else "."
        large = Image.fromarray(image).resize((20, 16), Image.Resampling.NEAREST)
        large.resize((5, 4)).save(tmp_path / "photos" / place / f"{'z' * (i >= 15)}{i:02}.png")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    x = np.stack([np.asarray(Image.open(file)) for file in files])
    out = tmp_path / "found.npy"
    created = analyzer("input_t_gradient", model)
    distributed.analyze(created, tmp_path / "photos", out=out, workers=1, batch_size=8)
    assert_close(np.load(out), created.analyze(x))


@pytest.mark.slow
def test_what_is_wrong_with_a_sample_is_said_as_by_one_process(cluster):
    broken = DATA.copy()
    broken[70, 2] = np.nan
    with pytest.raises(ValueError, match="sample 70") as caught:
        distributed.analyze(analyzer(), ray.data.from_numpy(broken), workers=1)
    assert type(caught.value) is ValueError


@pytest.mark.slow
def test_a_batch_that_no_worker_survives_ends_the_job(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "TRIES", 2)
    doomed(monkeypatch, "Explaining", tmp_path, at=0, deaths=99)
    with pytest.raises(RuntimeError, match="Workers died 2 times over one batch"):
        distributed.analyze(analyzer(), ray.data.from_numpy(DATA), workers=1)
    assert len(died(tmp_path)) == 2


def test_a_batch_is_answered_at_its_place():
    created = analyzer()
    task = Explaining(created, choice(created, None, None), 16)
    assert_close(task.do(48, DATA[48:64], None), created.analyze(DATA)[48:64])


def test_what_ray_asks_twice_counts_once(cluster):
    worker, shipped = Worker(), [ray.put(ray.cloudpickle.dumps(Fitting(analyzer("pattern.net"))))]
    assert worker.total() == (set(), None)
    for offset in (0, 100, 0):
        worker.add(shipped, offset, DATA[offset : offset + 100], None)
    offsets, state = worker.total()
    assert offsets == {0, 100}
    assert state[":samples"] == 200


def read(data, model=None, size=64):
    """The batches of a data set, joined: inputs, labels."""
    batches = list(Batches(data, analyzer("gradient", model), size))
    assert [offset for offset, _, _ in batches] == list(range(0, 200, size))
    inputs, labels = zip(*(batch[1:] for batch in batches), strict=True)
    return np.concatenate(inputs), labels


@pytest.mark.parametrize("kind", ["parquet", "a column of lists", "npy", "numpy"])
def test_data_keep_their_order(cluster, tmp_path, kind):
    if kind == "parquet":
        for i, part in enumerate(np.split(DATA, 10)):
            pd.DataFrame(part).add_prefix("f").to_parquet(tmp_path / f"part-{i}.parquet")
        data = tmp_path
    elif kind == "a column of lists":
        pd.DataFrame({"anything": list(DATA), "label": LABELS}).to_parquet(tmp_path / "a.parquet")
        data = str(tmp_path / "a.parquet")
    elif kind == "npy":
        data = [tmp_path / f"{i}.npy" for i in (2, 0, 1)]
        for path, part in zip(data, np.array_split(DATA, 3), strict=True):
            np.save(path, part)
    else:
        data = ray.data.from_numpy(np.array_split(DATA, 9))
    inputs, labels = read(data)
    np.testing.assert_array_equal(inputs, DATA)
    if kind == "a column of lists":
        np.testing.assert_array_equal(np.concatenate(labels), LABELS)


def test_inputs_are_found_by_their_names(cluster):
    a, b = keras.Input((6,), name="a"), keras.Input((1,), name="b")
    model = keras.Model([b, a], layers.Dense(2)(layers.Concatenate()([a, b])))
    data = rows(label=LABELS, a=DATA, b=DATA[:, 0], c=LABELS)
    (_, inputs, labels), *_ = Batches(data, analyzer("gradient", model), 50)
    assert set(inputs) == {"a", "b"}
    np.testing.assert_array_equal(inputs["b"], DATA[:50, 0])
    np.testing.assert_array_equal(labels, LABELS[:50])
    order = data.context.execution_options.preserve_order
    assert not order, "a data set is left as it was"


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: distributed.analyze(network(), "x"), TypeError, "analyzer must be an analyzer"),
        (lambda: distributed.importance(7, "x"), TypeError, "analyzer must be an analyzer"),
        (lambda: distributed.fit(analyzer(), "x"), TypeError, "must be a PatternNet"),
        (lambda: distributed.analyze(analyzer(), DATA), TypeError, r"a ray\.data\.Dataset, or pa"),
        (lambda: distributed.analyze(analyzer(), []), TypeError, r"a ray\.data\.Dataset, or paths"),
        (lambda: distributed.analyze(analyzer(), "no/such"), FileNotFoundError, "no/such"),
        (lambda: distributed.analyze(analyzer(), __file__), ValueError, r"kinds \['\.py'\]"),
        (lambda: of_data(workers=0), ValueError, "workers must be a whole number"),
        (lambda: of_data(workers="all"), ValueError, "workers must be a whole number"),
        (lambda: of_data(batch_size=0), ValueError, "batch_size"),
        (lambda: of_data(neuron_selection=3), ValueError, "neuron_selection must be None"),
        (lambda: of_data(out="found.csv"), ValueError, r"\.npy, \.zarr, \.parquet"),
        (lambda: of_data(rows(a=LABELS, b=DATA)), ValueError, "has the columns 'a', 'b'"),
        (lambda: of_data(rows(x=DATA).limit(0)), ValueError, "holds no sample"),
    ],
)
def test_errors(cluster, call, error, told):
    with pytest.raises(error, match=told) as caught:
        call()
    assert "\n" not in str(caught.value)


def of_data(data=None, **kwargs):
    data = ray.data.from_numpy(DATA) if data is None else data
    return distributed.analyze(analyzer(), data, **{"workers": 1, **kwargs})


def test_images_are_for_models_of_images(cluster, tmp_path):
    Image.new("L", (3, 3)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="which are images"):
        distributed.analyze(analyzer(), tmp_path)


def machines(*resources):
    """A cluster's machines as Ray describes them, and one that is gone."""
    alive = [
        {"NodeID": f"{i:056x}", "Alive": True, "Resources": r} for i, r in enumerate(resources)
    ]
    return [*alive, {"NodeID": "f" * 56, "Alive": False, "Resources": {"CPU": 9.0}}]


@pytest.mark.parametrize(
    ("resources", "count", "expected"),
    [
        ([{"CPU": 2.0}], None, [(0, 0, 1), (0, 0, 1)]),
        ([{"CPU": 8.0}], 3, [(0, 0, 2)] * 3),
        ([{"CPU": 1.0}], 2, [(0, 0, 1)] * 2),
        ([{}, {"CPU": 4.0}, {"CPU": 4.0}], 2, [(1, 0, 4), (2, 0, 4)]),
        ([{"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}], None, [(1, 1, 4), (1, 1, 4)]),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 2.0}], 2, [(0, 1, 8), (1, 1, 8)]),
    ],
)
def test_workers_share_out_machines(resources, count, expected):
    """The machine of each, its GPUs and its threads."""
    options = workers._options(machines(*resources), count)
    environments = [each["runtime_env"]["env_vars"] for each in options]
    found = [
        (
            int(each["scheduling_strategy"].node_id, 16),
            each["num_gpus"],
            int(env["OMP_NUM_THREADS"]),
        )
        for each, env in zip(options, environments, strict=True)
    ]
    assert found == expected


def test_there_are_no_more_workers_than_gpus():
    with pytest.raises(ValueError, match="at most 1"):
        workers._options(machines({"CPU": 8.0, "GPU": 1.0}), 2)
    with pytest.raises(ValueError, match="neither a core nor a GPU"):
        workers._options(machines({}), 1)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'innvestigate\[ray\]'"):
        distributed.analyze(analyzer(), "x")


@pytest.mark.slow
def test_ray_is_imported_where_it_is_used():
    code = "import innvestigate, sys; innvestigate.distributed; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
