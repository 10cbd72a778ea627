"""A page of explanations, from analyzers and samples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from innvestigate.utils.arguments import as_array, check_keys, check_list, check_texts
from innvestigate.utils.files import as_path, replacing
from innvestigate.utils.words import shown
from innvestigate.visualization.asking import ask, facts, rows_of_plan
from innvestigate.visualization.captions import Sums, caption, neuron_name
from innvestigate.visualization.page import Panel, SampleReport, html_report
from innvestigate.visualization.samples import Samples

MOST = 1000
"""How many samples a page may have."""
PAGES = (".html", ".htm")


def report(
    analyzers: Any,
    x: np.ndarray,
    out: str | os.PathLike | bytes,
    *,
    neuron_selection: Any = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    images: np.ndarray | None = None,
    features: Sequence[str] | None = None,
    tokens: Sequence[Sequence[str]] | None = None,
    title: str = "Explanations",
    batch_size: int = 32,
) -> Path:
    """Write explanations as one page that needs no other file, for people without Python.

    For each sample it shows what the model says and, for each analyzer, the relevance and what it
    adds up to; below, which rule each layer gets, and all versions. Images have a slider between
    image and heatmap, tables get bars, tokens colours, sequences a coloured line.

    Args:
        analyzers: An analyzer, a list of them or a dict from what they are called on the page.
            All explain the same output of one model, or none, as `input` and `random`.
        x: Samples of a model with one input, as for `analyze`: images
            `(n, height, width, channels)`, rows of a table `(n, features)`, series
            `(n, time, channels)`, or strings.
        out: The file, `.html`. It appears when it is complete; an older one stays until then.
        neuron_selection: Which neurons are explained, see `analyze`. Several of each sample get a
            picture each.
        class_names: A name for each index of the last axis of the output.
        names: What the samples are called; by default numbers.
        images: What to look at in place of x, such as photographs before their preprocessing,
            `(n, height, width[, channels])`, as bytes or in [0, 1]. Not with tokens or strings.
        features: The names of the columns of a table.
        tokens: For each sample the words at its places, where x holds their numbers or vectors;
            those of padding without relevance may be left out. For strings they are known.
        title: The title.
        batch_size: Samples that are run at a time.

    Returns:
        The path of the file.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no picture for data of that shape, images are given with tokens or
            strings, there is relevance behind tokens, the analyzers explain different outputs or
            hidden layers, names do not fit what they name, `out` is no page, or x or
            `neuron_selection` do not fit the model.
        FileNotFoundError: If there is no folder to write it to.

    Example:
        >>> from innvestigate.visualization import report
        >>> analyzer = create_analyzer("lrp.epsilon", model)
        >>> page = report({"LRP": analyzer}, x, "for_a_colleague.html")
    """
    path, asked = as_path(out), _named(analyzers)
    if path.suffix.lower() not in PAGES:
        raise ValueError(f"out must be a page, .html. Received: {shown(out)}.")
    first = next(iter(asked.values()))
    samples = _samples(first, x, names, images, features, tokens)
    given = None if class_names is None else check_texts("class_names", class_names)
    with replacing(path) as file:
        question = _Question(asked, samples.x, neuron_selection, given, batch_size)
        told: dict[str, Any] = {
            "plans": {name: rows_of_plan(analyzer) for name, analyzer in asked.items()},
            "facts": {"explained": question.subject, **facts(first.text.model)},
        }
        for piece in html_report(question.answers(samples), title=title, **told):
            file.write(piece.encode())
    return path


class _Question:
    """What some analyzers are asked of all samples.

    Args:
        analyzers: They, by their names.
        x: The samples.
        selection: The neurons.
        names: The names of classes; None for numbers.
        batch_size: Samples that are run at a time.

    Attributes:
        subject: What is explained, in words.

    Raises:
        ValueError: If they explain different outputs or hidden layers, or names do not fit.
    """

    def __init__(self, analyzers: dict, x: np.ndarray, selection: Any, names: Any, batch_size: int):
        # What explains no output stands behind the others.
        first, *others = sorted(analyzers.values(), key=lambda one: not one.explains_output)
        self._mode, self._selection, self._names = first.neuron_selection_mode, selection, names
        self._own, explained = first.predictions(x, batch_size=batch_size)
        for other in others:
            _check_alike(self._mode, explained, other, x, batch_size)
        if names is not None and len(names) != self._own.shape[-1]:
            raise ValueError(
                f"class_names must be as many as the output has neurons, {self._own.shape[-1]}. "
                f"Received: {len(names)}."
            )
        as_it_is = np.array_equal(self._own, explained)
        self.subject = "the output" + ("" if as_it_is else " before its final activation")
        flat = explained.reshape(len(explained), -1).argmax(axis=1)
        self._largest = np.stack(np.unravel_index(flat, explained.shape[1:]), axis=1)
        self._found = {
            name: _Answer.of(name, analyzer, x, selection, batch_size)
            for name, analyzer in analyzers.items()
        }

    def answers(self, samples: Samples) -> Iterator[SampleReport]:
        """What the page says of each sample."""
        for i, name in enumerate(samples.names):
            titles, told = self._explained(i)
            panels = samples.inputs(i)
            for method, answer in self._found.items():
                panels += answer.panels(samples, i, method, titles)
            yield SampleReport(name, told, panels)

    def _explained(self, i: int) -> tuple[list[str], str]:
        """What the pictures of a sample are called behind their method, and what is told of it."""
        largest = self._caption(i, self._largest[i])
        if self._mode == "max_activation":
            return [""], largest
        titles, told = self._chosen(i)
        return titles, f"Explained: {'; '.join(told)}. Largest output: {largest}."

    def _chosen(self, i: int) -> tuple[list[str], list[str]]:
        if self._mode == "index":
            indices = self._indices(self._selection)[i]
            told = [self._caption(i, index) for index in indices]
            names = [neuron_name(index, self._names) for index in indices]
        elif self._mode == "contrast":
            parts = np.broadcast_arrays(*(self._indices(part)[i] for part in self._selection))
            names = [
                " rather than ".join(neuron_name(index, self._names) for index in pair)
                for pair in zip(*parts, strict=True)
            ]
            told = names
        else:
            count = next(iter(self._found.values())).relevance.shape[1]
            what = "the sum of all outputs" if self._mode == "all" else "a weighted sum of outputs"
            names = [f"weights {number}" for number in range(count)]
            told = [what]
        return (names if len(names) > 1 else [""]), told

    def _indices(self, selection: Any) -> np.ndarray:
        """The neurons of each sample, `(samples, selections, axes of the output)`."""
        index, shape = np.asarray(selection), np.array(self._own.shape[1:])
        if index.ndim < 3:
            listed = index.ndim == 1 and len(shape) == 1 and not isinstance(selection, tuple)
            count = len(index) if index.ndim == 2 or listed else 1
            index = index.reshape(count, 1, len(shape))
        index = np.where(index < 0, index + shape, index)
        return np.broadcast_to(index, (len(self._own), *index.shape[1:]))

    def _caption(self, i: int, index: np.ndarray) -> str:
        return caption(self._own[i], index, self._names)


@dataclass(frozen=True)
class _Answer:
    """What one analyzer says.

    Attributes:
        relevance: `(samples, selections, *shape)`.
        sums: What it adds up to, `(samples, selections)`; None for nothing.
    """

    relevance: np.ndarray
    sums: Sums | None

    @classmethod
    def of(cls, name: str, analyzer: Any, x: np.ndarray, selection: Any, batch: int) -> _Answer:
        """The answer of an analyzer.

        Raises:
            ValueError: If it has one at hidden layers.
        """
        found, sums = ask(analyzer, x, selection, batch)
        if not isinstance(found, np.ndarray):
            raise ValueError(
                f"The analyzer {name!r} explains hidden layers, of which a page has no picture. "
                "Create it without layers=."
            )
        rank = analyzer.tokens(x[:1]).ndim
        several = found if found.ndim > rank else found[:, None]
        return cls(several, sums and Sums(sums.shares.reshape(several.shape[:2]), sums.of))

    def panels(self, samples: Samples, i: int, method: str, titles: Sequence[str]) -> list[Panel]:
        """The pictures of one sample, one for each selection."""
        return [
            Panel(f"{method}: {title}" if title else method, picture, self._note(i, j))
            for j, title in enumerate(titles)
            for picture in [samples.on_page(self.relevance[i, j], i)]
        ]

    def _note(self, i: int, j: int) -> str:
        return "" if self.sums is None else str(self.sums.at((i, j)))


def _named(analyzers: Any) -> dict[str, Any]:
    """Analyzers by their names.

    Raises:
        TypeError: If one is none.
        ValueError: If there are none.
    """
    if isinstance(analyzers, dict):
        pairs = list(check_keys("analyzers", analyzers).items())
    else:
        given = [analyzers] if hasattr(analyzers, "analyze") else check_list("analyzers", analyzers)
        pairs = [(type(analyzer).__name__, analyzer) for analyzer in given]
    found: dict[str, Any] = {}
    for name, analyzer in pairs:
        if not hasattr(analyzer, "analyze") or not hasattr(analyzer, "predictions"):
            raise TypeError(
                f"analyzers must be analyzers that innvestigate.create_analyzer has made. "
                f"Received as {shown(name)}: {shown(analyzer)}."
            )
        number = 1 + sum(kind == name for kind, _ in pairs[: len(found)])
        found[f"{name} {number}" if number > 1 else name] = analyzer
    if not found:
        raise ValueError("analyzers must be at least one analyzer. Received: none.")
    return found


def _samples(analyzer: Any, x: Any, names: Any, images: Any, features: Any, tokens: Any) -> Samples:
    """The samples, with what is to be seen of them.

    Raises:
        ValueError: If there is no picture for them, or two, something else than one for each is
            given, or there are names of columns for what is no table.
    """
    if isinstance(x, dict) or len(analyzer.input_spec.tensors) > 1:
        raise ValueError(
            "report shows models with one input. Pass the results of each input to "
            "innvestigate.visualization.html_report, as panels."
        )
    x = as_array("x", x)
    count = len(x) if x.ndim else 0
    if not 0 < count <= MOST:
        raise ValueError(f"A page has from 1 to {MOST} samples. Received: {count}.")
    listed = [f"sample {i}" for i in range(count)] if names is None else check_texts("names", names)
    if images is not None and (tokens is not None or x.dtype.kind in "OSU"):
        what = "tokens=" if tokens is not None else "strings, which are shown as their tokens"
        raise ValueError(f"A page shows images or tokens, not both. Received: images= and {what}.")
    if x.dtype.kind in "OSU" and tokens is None:
        tokens = analyzer.tokens(x).reshape(count, -1).tolist()
    if tokens is not None:
        tokens = [check_texts("Each of tokens", each) for each in check_list("tokens", tokens)]
    pictures = None if images is None else np.atleast_1d(as_array("images", images))
    columns = None if features is None else check_texts("features", features)
    for what, given in {"names": listed, "images": pictures, "tokens": tokens}.items():
        if given is not None and len(given) != count:
            raise ValueError(
                f"{what} must be {count}, one for each sample. Received: {len(given)}."
            )
    found = Samples(x, listed, pictures, columns, tokens)
    if columns is not None and not found.are_rows:
        raise ValueError(
            "features are the names of the columns of a table, (n, features), without images= and "
            f"tokens=. Received them for samples of the shape {x.shape[1:]}."
        )
    if not found.can_be_drawn:
        raise ValueError(
            f"There is no picture for samples of the shape {x.shape[1:]}. Pass images= or tokens=, "
            "or pictures of your own to innvestigate.visualization.html_report."
        )
    return found


def _check_alike(mode: str, explained: np.ndarray, other: Any, x: np.ndarray, batch: int) -> None:
    """Whether two analyzers explain the same.

    Raises:
        ValueError: If they do not.
    """
    found = other.predictions(x, batch_size=batch)[1]
    alike = not other.explains_output or (
        found.shape == explained.shape
        and np.allclose(found, explained, rtol=1e-3, atol=1e-3 * np.abs(explained).max())
    )
    if other.neuron_selection_mode != mode or not alike:
        raise ValueError(
            "All analyzers of a page explain the same output of one model in the same mode. "
            f"Received: the modes {mode!r} and {other.neuron_selection_mode!r}, outputs of the "
            f"shapes {explained.shape} and {found.shape}{'' if alike else ' that differ'}."
        )
