"""Threads, interrupts, a thousand calls, other processes: nothing is lost or left behind."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pytest
from keras import layers

import innvestigate
from innvestigate.visualization import plot_heatmap
from tests.frameworks import on_tensorflow
from tests.models import build
from tests.test_table import slow

THREADS = 8
METHODS = ("gradient", "lrp.epsilon", "deeplift", "integrated_gradients", "occlusion")
NOISY = {
    "random": {},
    "smoothgrad": {"augment_by_n": 4},
    "expected_gradients": {"samples": 4, "reference_inputs": np.eye(5)[None]},
    "shapley_sampling": {"samples": 2},
}


def network(seed=0):
    keras.utils.set_random_seed(seed)
    parts = layers.Dense(6, "relu"), layers.Dense(6, "relu"), layers.Dense(3)
    return keras.Sequential([layers.Input((5,)), *parts])


def samples(count=4):
    return np.random.default_rng(1).normal(size=(count, 5)).astype("float32")


# --- Threads --------------------------------------------------------------------------------------
# On TensorFlow: on JAX Keras's own `predict` takes a model's arrays away while it runs.


def at_once(function):
    """What a function returns to each of eight threads that call it at the same time."""
    barrier = threading.Barrier(THREADS)

    def call(number):
        barrier.wait()
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(THREADS)))


@pytest.mark.parametrize("method", METHODS)
def test_threads_share_an_analyzer(method):
    analyzer = innvestigate.create_analyzer(method, network(), neuron_selection_mode="index")
    data = [samples(n + 1) for n in range(THREADS)]
    expected = [analyzer.analyze(data[i], i % 3) for i in range(THREADS)]
    fresh = innvestigate.create_analyzer(method, network(), neuron_selection_mode="index")
    found = at_once(lambda i: fresh.analyze(data[i], i % 3))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_threads_create_analyzers_of_one_model(method):
    model, x = network(), samples()
    expected = innvestigate.create_analyzer(method, model).analyze(x)
    found = at_once(lambda i: innvestigate.create_analyzer(method, model).analyze(x))
    for a in found:
        np.testing.assert_allclose(a, expected, rtol=1e-6, atol=1e-7)


@on_tensorflow
def test_one_trains_while_others_explain():
    """What is explained then is some state of the model; afterwards it is the last one."""
    model, x = network(), samples(64)
    model.compile("sgd", "mse")
    model.train_on_batch(x, x[:, :3])
    analyzer = innvestigate.create_analyzer("gradient", model, check=False)
    analyzer.analyze(x)

    def work(number):
        if number == 0:
            return model.fit(x, x[:, :3], epochs=20, batch_size=8, verbose=0)
        return [analyzer.analyze(x) for _ in range(5)]

    _, *found = at_once(work)
    assert all(np.isfinite(a).all() for arrays in found for a in arrays)
    expected = innvestigate.create_analyzer("gradient", model).analyze(x)
    np.testing.assert_allclose(analyzer.analyze(x), expected, rtol=1e-6)


# --- Interrupts -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer on this system")
@pytest.mark.parametrize("method", ["integrated_gradients", "smoothgrad", "occlusion"])
def test_an_interrupt_leaves_the_analyzer_as_it_was(method):
    seed = {"seed": 0} if method == "smoothgrad" else {}
    model, x = network(), samples(3000)
    analyzer = innvestigate.create_analyzer(method, model, **seed)
    before, weights = analyzer.analyze(x[:3]), model.get_weights()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            while True:
                analyzer.analyze(x, batch_size=50)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    np.testing.assert_array_equal(analyzer.analyze(x[:3]), before)
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_data_set_that_fails_leaves_the_analyzer_as_it_was():
    analyzer, x = innvestigate.create_analyzer("lrp.epsilon", network()), samples()
    before = analyzer.analyze(x)

    def broken():
        yield x
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        analyzer.analyze(broken())
    np.testing.assert_array_equal(analyzer.analyze(x), before)


# --- Memory ---------------------------------------------------------------------------------------

GROWTH = """
import gc, os, sys, warnings
warnings.simplefilter("ignore")
import numpy as np, keras, innvestigate
from tests.test_bad_days import network, samples

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

model, x = network(), samples()
analyzer = innvestigate.create_analyzer(sys.argv[2], model)

def call():
    analyzer.analyze(x)

def create():
    innvestigate.create_analyzer(sys.argv[2], model).analyze(x)

function, count = {"call": call, "create": create}[sys.argv[1]], int(sys.argv[3])
for _ in range(count // 5):
    function()
before = resident()
for _ in range(count):
    function()
print((resident() - before) / count)
"""


def growth(what, method, count) -> float:
    """By how many MB a process grows with each of so many calls, after a fifth of them."""
    run = subprocess.run(
        [sys.executable, "-c", GROWTH, what, method, str(count)],
        cwd=Path(__file__).parents[1],
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return float(run.stdout.splitlines()[-1])


@slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("method", ["lrp.epsilon", "integrated_gradients"])
def test_a_thousand_calls_do_not_grow(method):
    assert growth("call", method, 1000) < 0.01


@slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_two_hundred_dropped_analyzers_leave_little():
    """What is left is the framework's own: a function that it compiled stays known to it."""
    assert growth("create", "lrp.epsilon", 200) < 1.0


def test_dropped_analyzers_and_their_results_are_collected():
    import weakref

    analyzer = innvestigate.create_analyzer("lrp.epsilon", network())
    analyzer.analyze(samples())
    alive = weakref.ref(analyzer)
    del analyzer
    gc.collect()
    assert alive() is None


# --- Determinism, seeds, global state -------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_results_are_equal_to_the_bit(method):
    model, x = network(), samples()
    first, second = (innvestigate.create_analyzer(method, model) for _ in range(2))
    expected = first.analyze(x)
    np.testing.assert_array_equal(first.analyze(x), expected)
    np.testing.assert_array_equal(second.analyze(x), expected)


@pytest.mark.parametrize("method", NOISY)
def test_a_seed_decides_and_global_seeds_do_not(method):
    def explained(seed, world):
        keras.utils.set_random_seed(world)
        created = innvestigate.create_analyzer(method, model, seed=seed, **NOISY[method])
        return created.analyze(x)

    model, x = network(), samples()
    np.testing.assert_array_equal(explained(3, world=1), explained(3, world=2))
    assert not np.array_equal(explained(3, world=1), explained(4, world=1))


def state() -> dict:
    """What a library that is imported has no business to change.

    Not Python's own random numbers: Keras draws from them for every layer that is made.
    """
    return {
        "numpy": [str(part) for part in np.random.get_state()],  # noqa: NPY002
        "errors": np.geterr(),
        "warnings": [*warnings.filters],
        "matplotlib": dict(mpl.rcParams),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "path": [*sys.path],
        "hook": sys.excepthook,
        "signals": [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)],
        "float": keras.config.floatx(),
        "policy": keras.config.dtype_policy().name,
        "epsilon": keras.config.epsilon(),
        "format": keras.config.image_data_format(),
        "tracebacks": keras.config.is_traceback_filtering_enabled(),
        "logging": keras.config.is_interactive_logging_enabled(),
    }


@pytest.mark.filterwarnings("ignore:Some neurons")
def test_no_global_state_is_changed(tmp_path):
    model, x = build("cnn_bn")
    before = state()
    for method in (*METHODS, *NOISY, "pattern.net"):
        arguments = {"seed": 1} if method in NOISY else {}
        analyzer = innvestigate.create_analyzer(method, model, **arguments)
        analyzer = analyzer.fit(x) if hasattr(analyzer, "fit") else analyzer
        relevance = analyzer.analyze(x)
    analyzer.save(tmp_path / "analyzer.zip")
    innvestigate.load_analyzer(tmp_path / "analyzer.zip").analyze(x)
    analyzer = innvestigate.create_analyzer("lrp.z", model)
    analyzer.plan(), analyzer.audit(x)
    plot_heatmap(relevance[0])
    mpl.pyplot.close("all")
    after = state()
    assert [name for name in before if before[name] != after[name]] == []


# --- Other processes ------------------------------------------------------------------------------


@slow
def test_an_analyzer_travels_to_processes_that_are_spawned():
    x = samples()
    analyzer = innvestigate.create_analyzer("lrp.epsilon", network())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(analyzer.analyze, [x, x[::-1]])
    np.testing.assert_allclose(found[0], analyzer.analyze(x), rtol=1e-6)
    np.testing.assert_allclose(found[1], found[0][::-1], rtol=1e-6)
