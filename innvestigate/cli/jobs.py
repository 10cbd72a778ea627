"""Large jobs: samples are read batch by batch, results written as they come, and it can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from keras import tree

from innvestigate.analyzer import Analyzer
from innvestigate.cli.console import FAILED, INTERRUPTED, Stopped, complain, ends_with, progress
from innvestigate.cli.listing import printable
from innvestigate.cli.reading import Queue, Samples
from innvestigate.cli.session import Chosen, Session
from innvestigate.cli.writing import check_destination
from innvestigate.distributed.jobs import each_result
from innvestigate.distributed.tasks import Explaining
from innvestigate.engine.answers import choice
from innvestigate.engine.storage import fingerprint
from innvestigate.stores import open_path
from innvestigate.stores.base import FileStore
from innvestigate.utils.stored import remove_store
from innvestigate.utils.structures import SINGLE

Batches = Iterator[tuple[int, "Batch"]]
"""Batches, and how many samples there are before each."""

NOTHING = {"neuron": -1, "class": "", "output": np.nan}
"""What is known of a sample that could not be read."""


@dataclass(frozen=True)
class Batch:
    """The samples that are explained together.

    Attributes:
        samples: They; zeros in place of what could not be read.
        unread: Which of them could not be read.
        chosen: Their neurons.
    """

    samples: Samples
    unread: np.ndarray
    chosen: Chosen

    def about(self) -> dict[str, np.ndarray]:
        """What is known of them, by name."""
        found = self.chosen.about()
        told = found.keys() & NOTHING
        return found | {name: self._without(found[name], NOTHING[name]) for name in told}

    def only_read(self, results: Any) -> Any:
        """Results, with NaN at what could not be read."""
        return tree.map_structure(lambda array: self._without(array, np.nan), results)

    def _without(self, array: np.ndarray, value: Any) -> np.ndarray:
        if self.unread.any():
            array = array.copy()
            array[self.unread] = value
        return array


@dataclass(frozen=True)
class Job:
    """Explanations that are written batch by batch.

    Attributes:
        session: The model.
        analyzers: By what the user calls them.
        queue: The samples.
        neuron: The neuron that is explained; None for the largest of each sample.
        path: Where the results are written.
        shared: Whether the workers of a cluster share out the batches.
    """

    session: Session
    analyzers: dict[str, Analyzer]
    queue: Queue
    neuron: str | None
    path: Path
    shared: bool = False

    def open(self, force: bool, resume: bool) -> FileStore:
        """The store to write to, when the first batch has shown that the job can be done.

        Args:
            force: Whether what is there is replaced.
            resume: Whether it is gone on with.

        Raises:
            FileExistsError: If there is something.
            FileRefusedError: If it was made by another command.
            ValueError: If the samples, the neuron and the store do not fit each other.
        """
        samples = self._first.samples
        self.session.check_pixels(samples)
        check_destination(self.path, samples)
        if force:
            remove_store(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return open_path(self.path, self._made_by, resume, self._data())

    def run(self, store: FileStore) -> None:
        """Write the results of all samples that are not done.

        Raises:
            Stopped: If that fails or is interrupted; tells where the job stands.
        """
        words = ", ".join(self.analyzers)
        with _kept(store, self.queue.count), progress(self.queue.count, store.written) as done:
            done(words, 0)
            for batch, results in self._explained(store.written):
                results = batch.only_read(results)
                store.append(self._arranged(results, batch.samples), batch.about())
                done(words, len(batch.unread))

    @cached_property
    def _first(self) -> Batch:
        return self._read(0)

    def _read(self, start: int) -> Batch:
        """The samples from `start` on."""
        samples = self.queue.read(start, self.session.batch_size)
        missing = np.isnan(samples.x)
        samples = replace(samples, x=np.where(missing, 0, samples.x))
        unread = missing.reshape(len(missing), -1).any(axis=1)
        return Batch(samples, unread, self.session.choose(samples, self.neuron))

    def _explained(self, done: int) -> Iterator[tuple[Batch, list]]:
        """Each batch that is not done, and its results of all analyzers, which take it in turn."""
        starts = range(done, self.queue.count, self.session.batch_size)
        batches = ((start, self._read(start) if start else self._first) for start in starts)
        own, *others = tee(batches, 1 + len(self.analyzers))
        results = self._on_cluster if self.shared else self._here
        given = zip(self.analyzers.values(), others, strict=True)
        streams = [results(analyzer, batches, done) for analyzer, batches in given]
        for (_, batch), *found in zip(own, *streams, strict=True):
            yield batch, found

    def _here(self, analyzer: Analyzer, batches: Batches, done: int) -> Iterator[Any]:
        """The results of batches."""

        def given():
            if done:
                yield np.empty((done, 0)), None  # which is passed over
            yield from ((batch.samples.x, batch.chosen.indices) for _, batch in batches)

        size = self.session.batch_size
        return analyzer.stream(given(), "labels", batch_size=size, done=done)

    def _on_cluster(self, analyzer: Analyzer, batches: Batches, _: int) -> Iterator[Any]:
        """The results of batches, in their order, from the workers of a cluster."""
        task = Explaining(analyzer, choice(analyzer, "labels", None), self.session.batch_size)
        return each_result(
            task, ((start, batch.samples.x, batch.chosen.indices) for start, batch in batches)
        )

    def _arranged(self, results: list, samples: Samples) -> Any:
        """Results by method, if there are several; features in columns of their names."""
        is_table = self.path.suffix.lower() == ".parquet"
        if is_table and samples.features is not None:
            results = [dict(zip(samples.features, found.T, strict=True)) for found in results]
        if len(results) > 1:
            return dict(zip(self.analyzers, results, strict=True))
        return results[0] if is_table else {SINGLE: results[0]}

    def _made_by(self) -> str:
        """The fingerprint of all methods and of the neuron."""
        neuron = None if self.neuron is None else self.session.neurons.find(self.neuron)
        told = json.dumps([list(self.analyzers), neuron])
        return " ".join(fingerprint(analyzer, told) for analyzer in self.analyzers.values())

    def _data(self) -> str:
        """The fingerprint of the files, and of how they are read."""
        reader = asdict(replace(self.session.reader, shape=()))
        return f"{self.queue.files.fingerprint()} {json.dumps(reader)}"


@contextmanager
def _kept(store: FileStore, count: int) -> Iterator[None]:
    """Say of a job that ends early where it stands."""
    try:
        with ends_with(FAILED):
            yield
    except KeyboardInterrupt as error:
        raise Stopped(f"interrupted. {_standing(store, count)}", INTERRUPTED) from error
    except Stopped as error:
        raise Stopped(f"{error} {_standing(store, count)}", FAILED) from error
    except Exception:  # of a backend whose memory is short, and all that nobody has thought of
        complain(f"Note: {_standing(store, count)}")
        raise


def _standing(store: FileStore, count: int) -> str:
    """How much is done, in words. A store that holds nothing is removed."""
    if not store.written:
        remove_store(store.path)
        return "Nothing is written."
    return (
        f"{printable(store.path)} holds the first {store.written:,} of {count:,} samples: "
        "--resume goes on from there."
    )
