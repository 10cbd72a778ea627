"""What is done on a cluster: explanations, fits, statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from keras import tree

from innvestigate.analyzer import Analyzer
from innvestigate.analyzer.pattern import PatternNet
from innvestigate.analyzer.pattern_statistics import PatternStatistics
from innvestigate.distributed.data import Batches
from innvestigate.distributed.tasks import Explaining, Fitting, Summing
from innvestigate.distributed.workers import Pool
from innvestigate.engine.answers import check_counts, choice
from innvestigate.engine.storage import fingerprint
from innvestigate.evaluation import Importance
from innvestigate.stores import open_store, write_all
from innvestigate.utils.arguments import check_kind
from innvestigate.utils.batching import check_batch_size, joined


def analyze(
    analyzer: Analyzer,
    dataset: Any,
    neuron_selection: Any = None,
    *,
    out: Any = None,
    workers: int | None = None,
    batch_size: int = 32,
) -> Any:
    """Explain the model's output for every sample of a data set, on all machines of a cluster.

    The cluster is that of `ray.init(address=...)`; without it one of this machine's cores is
    started.

    Args:
        analyzer: Any analyzer that can be saved.
        dataset: A `ray.data.Dataset`; or the path of a file or folder of `.parquet`, `.npy` or
            images, or a list of such paths, which all machines have to see. Files are read in the
            order of their names, arrays along their first axis, images as numbers from 0 to 255 in
            the size of the model's input. Columns are the model's inputs by their names. For a
            model with one input they may be called anything: it is a single column, or there is a
            number in each. A column `label` is none of them.
        neuron_selection: See `Analyzer.analyze`; `"labels"` for those in the column `label`.
        out: Where the results are written as they come: see `Analyzer.analyze`. None returns them.
        workers: How many processes there are. By default one for each GPU of the cluster or, where
            there is none, one for each core. Each has its own copy of the model, and the same
            share of the threads.
        batch_size: Samples that are run at a time.

    Returns:
        What `Analyzer.analyze` returns, in the order of the data set. If `out` was given, that.
        What analyzers keep besides, such as `standard_error`, stays with the workers.

    Raises:
        ImportError: If ray is not installed.
        TypeError: If an argument is of another kind, or the analyzer cannot be saved.
        ValueError: See `Analyzer.analyze`; if the columns are not the model's inputs.
        FileNotFoundError: If there are no such files.
        FileExistsError: If there is something at the path `out`.
        RuntimeError: If workers die over one batch again and again.
    """
    batches, task, chosen = _explaining(analyzer, dataset, neuron_selection, batch_size)
    made_by = partial(fingerprint, analyzer, neuron_selection)
    store = None if out is None else open_store(out, made_by, resume=False)
    found = each_result(task, batches, workers)
    if store is None:  # copied out of Ray's memory as they come
        out = joined([tree.map_structure(np.copy, part) for part in found])
    else:
        write_all(store, found)
    check_counts(analyzer, chosen, batches.count)
    return out


def each_result(
    task: Explaining, batches: Iterable[tuple], workers: int | None = None
) -> Iterator[Any]:
    """The results of batches, one by one in their order.

    Args:
        task: What explains them.
        batches: For each the samples before it, the inputs, the labels.
        workers: See `distributed.analyze`.
    """
    with Pool(task, workers) as pool:
        yield from pool.map("do", batches)


def fit(
    analyzer: PatternNet, dataset: Any, *, workers: int | None = None, batch_size: int = 32
) -> PatternNet:
    """Estimate patterns in one pass over a data set, on all machines of a cluster.

    Each worker gathers statistics of its part of the data, and they are added up. If one dies, the
    data set is read once more for what it had: it has to yield the same again.

    Args:
        analyzer: A PatternNet or PatternAttribution that can be saved.
        dataset: See `distributed.analyze`.
        workers: See there.
        batch_size: See there.

    Returns:
        The analyzer itself, fitted to these data alone; as it was, if an error is raised.

    Raises:
        TypeError: If the analyzer has nothing to fit.
        ValueError: See `PatternNet.fit`.
        ImportError: See `distributed.analyze`, as for all others.
    """
    check_kind("analyzer", analyzer, PatternNet, "a PatternNet or PatternAttribution")
    batches = Batches(dataset, analyzer, check_batch_size(batch_size))
    total = PatternStatistics(analyzer.pattern_type)
    for state in _gathered(Fitting(analyzer), batches, workers):
        total.merge(PatternStatistics.from_state(state))
    analyzer.statistics.clear()
    analyzer.statistics.merge(total)
    return analyzer


def importance(
    analyzer: Analyzer,
    dataset: Any,
    neuron_selection: Any = None,
    *,
    per: str = "feature",
    quantiles: Any = None,
    names: Any = None,
    workers: int | None = None,
    batch_size: int = 32,
) -> pd.DataFrame:
    """What matters over a data set, on all machines of a cluster: see `evaluation.importance`.

    Args:
        analyzer: Any analyzer that can be saved.
        dataset: See `distributed.analyze`. It has to yield the same again, as for
            `distributed.fit`.
        neuron_selection: See `distributed.analyze`.
        per: See `evaluation.Importance`.
        quantiles: See there.
        names: See there.
        workers: See `distributed.analyze`.
        batch_size: See there.

    Returns:
        See `Importance.to_frame`.

    Raises:
        ValueError: See `Analyzer.analyze` and `Importance`.
        ImportError: See `distributed.analyze`, as for all others.
    """
    total = Importance(per, quantiles, names)
    batches, task, chosen = _explaining(analyzer, dataset, neuron_selection, batch_size)
    for part in _gathered(Summing(task, Importance(per, quantiles)), batches, workers):
        total.merge(part)
    check_counts(analyzer, chosen, batches.count)
    return total.to_frame()


def _explaining(analyzer, dataset, neuron_selection, batch_size) -> tuple:
    """The batches, what is done with them, and what chooses their neurons."""
    check_kind("analyzer", analyzer, Analyzer, "an analyzer that create_analyzer has made")
    size = check_batch_size(batch_size)
    chosen = choice(analyzer, neuron_selection, None)
    return Batches(dataset, analyzer, size), Explaining(analyzer, chosen, size), chosen


def _gathered(task: Any, batches: Batches, workers: int | None) -> list[Any]:
    """What workers have gathered of all batches. Those of a worker that died are done again."""
    found: list[tuple[set[int], Any]] = []
    with Pool(task, workers) as pool:
        while True:
            added = _offsets(found)
            asked: set[int] = set()
            for _ in pool.map("add", _left(batches, added, asked)):
                pass
            found = list(pool.totals())
            if added | asked <= _offsets(found):  # nobody has died since
                return [total for offsets, total in found if offsets]


def _offsets(found: list[tuple[set[int], Any]]) -> set[int]:
    """The batches that are in what was gathered."""
    return {offset for offsets, _ in found for offset in offsets}


def _left(batches: Batches, added: set[int], asked: set[int]) -> Iterator[tuple]:
    """The batches that nobody has added; notes which."""
    for batch in batches:
        if batch[0] not in added:
            asked.add(batch[0])
            yield batch
