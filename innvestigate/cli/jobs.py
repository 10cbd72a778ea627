"""Large jobs: samples are read batch by batch, results written as they come, and it can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from innvestigate.analyzer import Analyzer
from innvestigate.cli.console import FAILED, INTERRUPTED, Stopped, ends_with, progress
from innvestigate.cli.listing import printable
from innvestigate.cli.reading import Queue, Samples
from innvestigate.cli.session import Session
from innvestigate.cli.writing import check_destination
from innvestigate.engine.storage import fingerprint
from innvestigate.stores import FileStore, open_path
from innvestigate.utils.stored import remove_store
from innvestigate.utils.structures import SINGLE


@dataclass(frozen=True)
class Job:
    """Explanations that are written batch by batch.

    Attributes:
        session: The model.
        analyzers: By what the user calls them.
        queue: The samples.
        neuron: The neuron that is explained; None for the largest of each sample.
        path: Where the results are written.
    """

    session: Session
    analyzers: dict[str, Analyzer]
    queue: Queue
    neuron: str | None
    path: Path

    def open(self, files: str, force: bool, resume: bool) -> FileStore:
        """The store to write to, when the first batch has shown that the job can be done.

        Args:
            files: The fingerprint of the files.
            force: Whether what is there is replaced.
            resume: Whether it is gone on with.

        Raises:
            FileExistsError: If there is something.
            FileRefusedError: If it was made by another command.
            ValueError: If the samples, the neuron and the store do not fit each other.
        """
        samples = self.queue.read(0, self.session.batch_size)
        self.session.check_pixels(samples)
        self.session.choose(samples, self.neuron)
        check_destination(self.path, samples)
        if force:
            remove_store(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return open_path(self.path, self._made_by, resume, files)

    def run(self, store: FileStore) -> None:
        """Write the results of all samples that are not done.

        Raises:
            Stopped: If that fails or is interrupted; tells where the job stands.
        """
        words = ", ".join(self.analyzers)
        with _kept(store, self.queue.count), progress(self.queue.count, store.written) as done:
            done(words, 0)
            for samples, about, results in self._batches(store.written):
                store.append(self._arranged(results, samples), about)
                done(words, len(samples.x))

    def _batches(self, done: int) -> Iterator[tuple[Samples, dict[str, np.ndarray], list]]:
        """For each batch that is not done its samples, what is known of them, and all results.

        It is read once for all analyzers, which take it in turn.
        """
        at_hand: list[Any] = []

        def batches():
            if done:
                yield np.empty((done, 0)), None  # which is passed over
            for start in range(done, self.queue.count, self.session.batch_size):
                samples = self.queue.read(start, self.session.batch_size)
                chosen = self.session.choose(samples, self.neuron)
                at_hand[:] = samples, chosen.about()
                yield samples.x, chosen.indices

        options: dict[str, Any] = {"batch_size": self.session.batch_size, "done": done}
        given = zip(self.analyzers.values(), tee(batches(), len(self.analyzers)), strict=True)
        streams = [analyzer.stream(x, "labels", **options) for analyzer, x in given]
        for results in zip(*streams, strict=True):
            yield at_hand[0], at_hand[1], list(results)

    def _arranged(self, results: list, samples: Samples) -> Any:
        """Results by method, if there are several; features in columns of their names."""
        is_table = self.path.suffix.lower() == ".parquet"
        if is_table and samples.features is not None:
            results = [dict(zip(samples.features, found.T, strict=True)) for found in results]
        if len(results) > 1:
            return dict(zip(self.analyzers, results, strict=True))
        return results[0] if is_table else {SINGLE: results[0]}

    def _made_by(self) -> str:
        """The fingerprint of all methods, of the neuron, and of how files are read."""
        reader = asdict(replace(self.session.reader, shape=()))
        neuron = None if self.neuron is None else self.session.neurons.find(self.neuron)
        told = json.dumps([list(self.analyzers), reader, neuron])
        return " ".join(fingerprint(analyzer, told) for analyzer in self.analyzers.values())


@contextmanager
def _kept(store: FileStore, count: int) -> Iterator[None]:
    """Say of a job that ends early where it stands. What holds nothing is removed."""
    try:
        with ends_with(FAILED):
            yield
    except (KeyboardInterrupt, Stopped) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        if not store.written:
            remove_store(store.path)
        stands = (
            f"{printable(store.path)} holds the first {store.written:,} of {count:,} samples: "
            "--resume goes on from there."
            if store.written
            else "Nothing is written."
        )
        raise Stopped(
            f"{'interrupted.' if interrupted else error} {stands}",
            INTERRUPTED if interrupted else FAILED,
        ) from error
