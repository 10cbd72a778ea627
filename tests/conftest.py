"""Settings for every test: reproducible weights, and graphs that are checked after each rewrite.

`--every N` runs one test in N: the samples of `make quick`, and of `.ci/run` on other backends.
TensorFlow's kernels are oneDNN's on every processor: those that it chooses elsewhere cannot run a
dilated transposed convolution.
"""

import gc
import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # is read when TensorFlow is imported

from pathlib import Path
from zlib import crc32

import keras
import pytest

from innvestigate.graph.step import Graph
from tests.frameworks import NAME, compute_in_float64, read_any_tensor, run_step_by_step

compute_in_float64()
read_any_tensor()


def pytest_addoption(parser):
    parser.addoption("--every", type=int, default=1, help="run one test in N")


def pytest_collection_modifyitems(config, items):
    """Leave out what is for other backends only, and what `--every` leaves out."""
    of_here = lambda item: all(NAME in marker.args for marker in item.iter_markers("only"))  # noqa: E731
    kept = [i for i in items if of_here(i) and is_in_sample(i.nodeid, config.getoption("every"))]
    config.hook.pytest_deselected(items=[*({*items} - {*kept})])
    items[:] = kept


def is_in_sample(name: str, every: int) -> bool:
    """Whether a test is one in so many: by its name, so that new tests replace no other ones."""
    return crc32(name.encode()) % every == 0


def pytest_collection_finish(session):
    """What is there now stays: the collector of garbage, a tenth of the time, leaves it alone."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def _checked(monkeypatch):
    """Every pass over a graph ends in `Graph.replaced`: what it returns must be in order."""
    replaced = Graph.replaced

    def checked(graph, *args):
        found = replaced(graph, *args)
        found.check()
        return found

    monkeypatch.setattr(Graph, "replaced", checked)


@pytest.fixture(scope="module")
def step_by_step():
    """What a module explains once is not traced first, which takes longer than to run it."""
    with run_step_by_step():
        yield


@pytest.fixture(scope="session")
def cluster():
    """A cluster of two cores and little memory, of Ray."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # or other tests take the cores
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or a token is written to the user's folder
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]), prepend=os.pathsep)
        small = {"num_cpus": 2, "object_store_memory": 200 * 2**20}
        ray.init(**small, include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield ray
        ray.shutdown()
