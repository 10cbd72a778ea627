"""Processes that share out batches: Ray's actors, of which the dead are replaced."""

from __future__ import annotations

import socket
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from innvestigate.backend import NAME
from innvestigate.utils.arguments import check_whole
from innvestigate.utils.words import one_line, shown

AHEAD = 2
"""How many batches a worker has at a time: the one it works on, and the next."""
TRIES = 4
"""How many times a worker may die over one batch."""
_WAITING = 4
"""How many batches for each worker are on their way, those included that are done before their
turn."""


def needs_ray() -> ModuleType:
    """The package ray, which is imported where it is used.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            f"Clusters need the package {error.name}: pip install 'innvestigate[ray]'."
        ) from error
    return ray


def join(address: str) -> None:
    """Take part in the cluster at an address; `"local"` starts one of this machine's cores.

    Raises:
        ImportError: If ray is not installed.
        ConnectionError: If there is none.
    """
    ray = needs_ray()
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        told = one_line(str(error), 300)
        raise ConnectionError(f"There is no cluster of Ray at {shown(address)}: {told}") from error


def _knock(address: str) -> None:
    """Ask that somebody listens at an address: Ray itself would try again for ten minutes."""
    place = urlsplit(address if "//" in address else f"//{address}")
    if place.port is not None:
        socket.create_connection((place.hostname, place.port), timeout=5).close()


class Worker:
    """What runs in a process of its own.

    The task comes with each batch, as the place where it lies pickled, and is loaded with the
    first: Ray gives up on a batch over which workers die again and again, but not on a worker that
    dies when it is made.
    """

    def __init__(self):
        self._task: Any = None
        self._added: set[int] = set()

    def do(self, task: list, *batch: Any) -> Any:
        """The result of a batch."""
        return self._loaded(task).do(*batch)

    def add(self, task: list, offset: int, *batch: Any) -> None:
        """Take in a batch: once, though Ray may ask again where the answer was lost."""
        if offset not in self._added:
            self._loaded(task).add(offset, *batch)
            self._added.add(offset)

    def total(self) -> tuple[set[int], Any]:
        """The offsets of the batches that this process has taken in, and what they add up to."""
        return self._added, self._task.total() if self._added else None

    def _loaded(self, task: list) -> Any:
        if self._task is None:
            ray = needs_ray()
            self._task = ray.cloudpickle.loads(ray.get(task[0]))
        return self._task


class Pool:
    """Workers with one task, within a `with` block.

    Args:
        task: What they do; see `tasks`.
        workers: How many there are; None for one for each GPU, or for each core.

    Raises:
        ValueError: If `workers` is no whole number, or there are more than GPUs.
        TypeError: If the analyzer cannot be saved.
    """

    def __init__(self, task: Any, workers: int | None):
        self._ray = ray = needs_ray()
        if not ray.is_initialized():
            ray.init()
        options = _options(ray.nodes(), workers)
        self._task = [ray.put(ray.cloudpickle.dumps(task))]
        actor = ray.remote(max_restarts=-1, max_task_retries=TRIES - 1)(Worker)
        self._actors = [actor.options(**of_one).remote() for of_one in options]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: Any) -> None:
        for actor in self._actors:
            self._ray.kill(actor)

    def map(self, method: str, batches: Iterable[tuple]) -> Iterator[Any]:
        """What a method of the workers returns for each batch, in their order."""
        results: deque = deque()
        busy: dict[Any, int] = {}  # whose the results are that are not there yet
        for batch in batches:
            if len(results) == _WAITING * len(self._actors):
                yield self._result(results.popleft())
            worker = self._free(busy)
            results.append(getattr(self._actors[worker], method).remote(self._task, *batch))
            busy[results[-1]] = worker
        while results:
            yield self._result(results.popleft())

    def totals(self) -> Iterator[tuple[set[int], Any]]:
        """What each worker has gathered."""
        return map(self._result, [actor.total.remote() for actor in self._actors])

    def _free(self, busy: dict[Any, int]) -> int:
        """The worker with the least to do, once there is one that has not enough."""
        while True:
            counts = Counter(busy.values())
            least = min(range(len(self._actors)), key=counts.__getitem__)
            if counts[least] < AHEAD:
                return least
            for result in self._ray.wait(list(busy))[0]:
                del busy[result]

    def _result(self, reference: Any) -> Any:
        """What a worker has returned.

        Raises:
            Exception: What it has raised.
            RuntimeError: If it died too often.
        """
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            raise error.cause from error
        except errors.RayError as error:
            raise RuntimeError(
                f"Workers died {TRIES} times over one batch, or could not be started. Is there "
                f"memory enough for the model in each of them? {one_line(str(error), 300)}"
            ) from error


def _options(nodes: list[dict], workers: int | None) -> list[dict[str, Any]]:
    """What Ray is told of each worker: where it runs, with how many threads.

    Args:
        nodes: The machines, as `ray.nodes` describes them.
        workers: See `Pool`.

    Raises:
        ValueError: See `Pool`.
    """
    found = {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}
    kind = "GPU" if any(has.get("GPU") for has in found.values()) else "CPU"
    places = [place for place, has in found.items() for _ in range(int(has.get(kind, 0)))]
    if not places:
        raise ValueError("The cluster has neither a core nor a GPU that a worker could run on.")
    count = check_whole("workers", len(places) if workers is None else workers, 1)
    if kind == "GPU" and count > len(places):
        raise ValueError(
            f"workers must be at most {len(places)}: each takes a GPU of the cluster. Received: "
            f"{count}."
        )
    taken = [places[i * len(places) // count] for i in range(count)]
    cores = {place: int(found[place].get("CPU", 1)) for place in taken}
    return [
        _option(place, max(1, cores[place] // taken.count(place)), int(kind == "GPU"))
        for place in taken
    ]


def _option(place: str, threads: int, gpus: int) -> dict[str, Any]:
    """What Ray is told of one worker.

    It reserves no core: nobody could read the data, nor would a worker that has died find one again
    while all readers wait for it. So it is told its machine, which Ray goes by while there is one.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {"KERAS_BACKEND": NAME, **dict.fromkeys(names, str(threads))}
    return {
        "num_cpus": 0,
        "num_gpus": gpus,
        "runtime_env": {"env_vars": environment},
        "scheduling_strategy": NodeAffinitySchedulingStrategy(place, soft=True),
    }
