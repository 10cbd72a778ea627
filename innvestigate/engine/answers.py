"""The way of all data through an analyzer: batch by batch, each with its selection of neurons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from innvestigate.engine.batch import Batch, by_sample, concatenated
from innvestigate.engine.conditions import Conditions
from innvestigate.engine.frames import Labelled, framed, joined_labels, labels_of, rows_of
from innvestigate.engine.labels import LABELS, Labels
from innvestigate.engine.ledger import Books
from innvestigate.engine.selection import Selected, Selection
from innvestigate.graph.task import EXPLAINED, OUTPUT
from innvestigate.utils.batching import Progress, check_batch_size, each_batch, joined

if TYPE_CHECKING:
    from innvestigate.engine.base import Analyzer


@dataclass(frozen=True)
class Answer:
    """The results of a batch.

    Attributes:
        result: They, as `restore` makes them.
        offset: How many samples are before them.
        size: How many samples the batch holds.
        several: Whether there is an axis of several selections behind that of the samples.
        frames: The labels of the frames that the samples came in.
    """

    result: Any
    offset: int
    size: int
    several: bool
    frames: Labelled


def answers(
    analyzer: Analyzer,
    books: Books | None,
    x: Any,
    neuron_selection: Any,
    batch_size: int,
    verbose: int,
    done: int = 0,
    shares: Conditions | None = None,
) -> Iterator[Answer]:
    """The answers to all batches, one after the other.

    Args:
        analyzer: Whose hooks are called.
        books: Where it is written what becomes of the relevance, if anywhere.
        x: See `Analyzer.analyze`.
        neuron_selection: See `Analyzer.analyze`.
        batch_size: See `Analyzer.analyze`.
        verbose: See `Analyzer.analyze`.
        done: How many samples are passed over: those of whole batches.
        shares: What goes on of the signals at hidden layers; None for all.

    Raises:
        ValueError: See `Analyzer.analyze`; at once if arguments do not fit.
    """
    batch_size = check_batch_size(batch_size)
    frames = labels_of(x)
    x, count = analyzer.input_spec.check(analyzer.text.to_tokens(x))
    chosen = choice(analyzer, neuron_selection, count)
    analyzer.check_count(count)
    if shares is not None:
        shares.check_count(count)
    analyzer.guard.renew()
    options: dict[str, Any] = {"books": books, "shares": shares}

    def explain(given, labels, offset, progress):
        nonlocal count
        options["progress"] = progress
        found = answer(analyzer, chosen, given, labels, offset, batch_size, **options)
        count = offset + found.size
        return replace(found, frames=rows_of(frames, offset, count)) if frames else found

    def each():
        yield from found
        check_counts(analyzer, chosen, count)
        if shares is not None:
            shares.check_count(count)

    found = each_batch(explain, x, batch_size, verbose, done)
    return each()


def answer(
    analyzer: Analyzer,
    chosen: Selection | Labels,
    given: Any,
    labels: Any,
    offset: int,
    batch_size: int,
    *,
    books: Books | None = None,
    progress: Progress = Progress(None),
    shares: Conditions | None = None,
) -> Answer:
    """The results of one batch.

    Args:
        analyzer: Whose hooks are called.
        chosen: What chooses the neurons.
        given: The batch, in the structure that the user chose.
        labels: The batch's labels; None if it has none.
        offset: Samples before the batch.
        batch_size: Samples that are run at a time.
        books: See `answers`.
        progress: The part of the progress bar that the batch fills.
        shares: See `answers`.

    Raises:
        ValueError: See `Analyzer.analyze`.
    """
    frames = labels_of(given)
    given = analyzer.text.to_tokens(given)  # of data sets
    inputs = analyzer.input_spec.flat(given, offset)
    samples = offset + np.arange(len(inputs[0]))
    limit = batch_size if analyzer.input_spec.rows is None else len(samples)
    passed = {} if shares is None else shares.of(offset, len(samples))
    batch = Batch(inputs, None, samples, limit, progress, passed)
    selection = chosen.at(labels, offset, len(samples))
    ask = partial(_explain_rows, analyzer, selection, inputs, offset, books)
    found = by_sample(batch, selection.targets, ask)
    explained = found.pop(EXPLAINED, None)
    if books is not None:
        books.add(*map(selection.apart, (explained, analyzer.received(found))))
    result = selection.apart(analyzer.restore(found, given))
    return Answer(result, offset, len(samples), selection.several, frames)


def finish_each(analyzer: Analyzer, found: Iterable[Answer]) -> Iterator[Any]:
    """What `stream` yields for each batch."""
    for each in found:
        result = analyzer.finished(each.result, each.offset)
        yield _in_frames(analyzer, result, each.frames, each.several)


def finish_all(analyzer: Analyzer, x: Any, found: list[Answer]) -> Any:
    """What `analyze` returns for all batches of x."""
    result = analyzer.finished(joined([each.result for each in found]))
    frames = labels_of(x) or joined_labels([each.frames for each in found])
    return _in_frames(analyzer, result, frames, found[0].several)


def _in_frames(analyzer: Analyzer, result: Any, frames: Labelled, several: bool) -> Any:
    """A result in frames at the inputs, where the samples came in such."""
    if not analyzer.by_layer:
        return framed(result, frames, several)
    at_inputs = {n: framed(y, frames, several) for n, y in result.items() if n == "input"}
    return result | at_inputs


def check_counts(analyzer: Analyzer, chosen: Selection | Labels, count: int | None) -> None:
    """Whether what is given for each sample is given for as many as there were.

    Raises:
        ValueError: If it is not.
    """
    chosen.check_count(count)
    analyzer.check_count(count)


def choice(analyzer: Analyzer, neuron_selection: Any, count: int | None) -> Selection | Labels:
    """What chooses the neurons of each batch, out of a known number of samples or not.

    Raises:
        ValueError: If the selection does not fit the mode or the output.
    """
    mode, shape = analyzer.neuron_selection_mode, analyzer.task.output_shape
    if not (isinstance(neuron_selection, str) and neuron_selection == LABELS):
        return Selection(mode, neuron_selection, shape, count)
    if count is not None:
        raise ValueError(
            f"neuron_selection={LABELS!r} takes the labels of a data set, which yields "
            "(inputs, labels). Received: arrays. Pass their labels as neuron_selection."
        )
    return Labels(mode, shape, *analyzer.label_place)


def _explain_rows(analyzer, selection, inputs: list, offset: int, books, targets, rows) -> dict:
    """The results of rows: of all samples for each of some targets."""
    weights = [analyzer.weights(Selected(selection, t), inputs, offset) for t in targets]
    rows = replace(rows, weights=concatenated(weights))
    found = analyzer.explain(rows) if books is None else analyzer.booked(rows, books)
    analyzer.verify(analyzer.task, rows.inputs, found.pop(OUTPUT, None))
    return found
