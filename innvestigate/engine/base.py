"""What all analyzers share: choosing the output, building the mirror, running it on data."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from innvestigate.engine.answers import answers, finish_all, finish_each
from innvestigate.engine.batch import Batch
from innvestigate.engine.compared import Compared
from innvestigate.engine.conditions import Conditions
from innvestigate.engine.config import Configured
from innvestigate.engine.export import Exported
from innvestigate.engine.frames import framed, labels_of
from innvestigate.engine.guard import Guard
from innvestigate.engine.inputs import InputSpec
from innvestigate.engine.ledger import Audited, Books
from innvestigate.engine.predictions import Predicting
from innvestigate.engine.selection import Selected, check_mode
from innvestigate.engine.storage import fingerprint, reduced, save_analyzer
from innvestigate.engine.targets import choose_output, choose_targets, output_names
from innvestigate.engine.text import Text
from innvestigate.engine.warn import warn, warn_if_not_finite
from innvestigate.graph.facts import annotate
from innvestigate.graph.final import Final, explained
from innvestigate.graph.recurrent import rewrite_bodies
from innvestigate.graph.rewrite import drop_casts
from innvestigate.graph.sizes import find_sizes
from innvestigate.graph.step import Graph
from innvestigate.graph.task import MAP, Task, at_inputs, at_layers
from innvestigate.graph.trace import Shapes, trace
from innvestigate.stores import open_store, write_all
from innvestigate.utils.arguments import check_flags, check_whole


class Analyzer(Audited, Compared, Exported, Predicting, Configured):
    """Base of all analyzers: explains the chosen output neurons of a Keras model.

    Args:
        model: A built Keras model: Sequential, functional or subclassed. It is never changed.
        neuron_selection_mode: Which output neurons `analyze` explains:
            `"max_activation"`: the largest of each sample, over all output axes;
            `"index"`: those given by their index;
            `"contrast"`: the difference of two, given by their indices: why this, not that;
            `"all"`: all of them, summed;
            `"weights"`: a weighted sum of them.
        output: Name or index of the output to explain, where the model has several.
        layers: Names of layers. If given, `analyze` returns a dict of the results at these
            layers' outputs; `"input"` stands for the model's inputs.
        keep_output_activation: Whether a final softmax or sigmoid is explained too. By default it
            is taken off, with a warning, and the logit is explained; with methods that share out
            the output's value, so is any other final activation whose sign is not that of what
            it reads.
        check: Whether what is computed in the model's place is compared with the model's own
            output, at the first batch.

    A subclass states `explain`. Its hooks are called in this order: when the analyzer is created,
    after all of `__init__`: `taken_off`, `rewrite`, `targets`, `check_model`; in `analyze`:
    `check_count`, then for each batch `weights`, `explain`, `restore`, and `finished` at the end.

    Attributes:
        text: What makes tokens of strings, before anything else.
        input_spec: What inputs the model takes, behind that.
        label_place: Which of the model's outputs is explained, and the names of all.
        explains_output: Whether there is an output that it explains: not where it is there only to
            compare others with.
        explains_value: Whether the method shares out the output's value among the inputs, as LRP
            does. It then takes off every final activation that may change the sign.
        passes_layers: Whether the method sends a signal back through the layers, at which
            `conditions` can be set.
        follows_sizes: Whether the method can ask for data of each size anew.
        fitted_for: Arguments that what was fitted depends on.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built, or an argument does not fit it.
    """

    explains_output = True
    explains_value = False
    passes_layers: bool = False
    follows_sizes = True
    task: Task

    def __init__(
        self,
        model: keras.Model,
        *,
        neuron_selection_mode: str = "max_activation",
        output: str | int | None = None,
        layers: tuple[str, ...] | list[str] | None = None,
        keep_output_activation: bool = False,
        check: bool = True,
    ):
        self._mode = check_mode(neuron_selection_mode)
        check_flags(keep_output_activation=keep_output_activation, check=check)
        self._layers, self._keep = layers, keep_output_activation
        self.text = Text(model, trace(model), check)
        graph = self.text.graph
        self.input_spec = InputSpec(graph)
        tensor = choose_output(model, graph, output)
        self._index = graph.flat_outputs.index(tensor)
        self.label_place = self._index, output_names(model, graph)
        self.guard = Guard(self.text.model, graph, self._index, check)
        self._traced = replace(graph, outputs=[tensor])
        self.final: Final | None = None
        self._told: str | None = None

    @property
    def neuron_selection_mode(self) -> str:
        return self.task.mode

    def build(self) -> None:
        self._plain = self.taken_off(self._traced)
        graph, sizes = self._in_its_form(self._plain), None
        if self.follows_sizes:
            sizes = find_sizes(graph, self._traced.flat_inputs, self._rewritten, self._task)
        self.task = self._task(graph) if sizes is None else sizes.task
        self.check_model(self.task)

    def analyze(
        self,
        x: Any,
        neuron_selection: Any = None,
        *,
        batch_size: int = 32,
        verbose: int = 0,
        check: bool = False,
        out: Any = None,
        resume: bool = False,
        conditions: Mapping[str, Any] | None = None,
    ) -> Any:
        """Explain the model's output for every sample of x.

        Args:
            x: Samples with a batch axis: an array, a list or dict as the model takes it, a
                `tf.data.Dataset` or a `keras.utils.PyDataset` of batches. Any numeric type, or
                strings where the model reads them. As for `predict`, a last axis of size one may
                be left out, or be one too many. Frames and series of pandas stand for arrays; one
                frame also for inputs called as its columns.
            neuron_selection: In the mode `"index"` an int or, for outputs with k axes, a k-tuple
                that holds for all samples, or an integer array with one index for each sample
                (`(batch,)` or `(batch, k)`). All axes but the last may be counted from the end:
                `(-1, token)` is a token at the last position. In the mode `"contrast"` a pair
                (this, that) of such indices. In the mode `"weights"` an array that broadcasts to
                the output `(batch, *output_shape)`. None otherwise. `"labels"`, in the mode
                `"index"`: the neurons that a data set of `(inputs, labels)` names itself, by whole
                numbers, one-hot vectors or indices `(batch, k)`.
                For several selections of each sample arrays with one more axis: indices
                `(batch, n, k)`, weights `(batch, n, *output_shape)`; a batch of 1 holds for all.
            batch_size: Samples that are run at a time; data sets bring their own batches.
            verbose: 1 shows a progress bar.
            check: Whether the books of this call are kept as by `audit`, and have to balance.
            out: Where the results are written, batch by batch, instead of being held in memory: a
                path that ends in `.npy`, `.zarr` or `.parquet` (see `innvestigate.stores`), or
                arrays of the results' shape in their structure, to which slices are assigned.
            resume: Whether an interrupted job goes on at the first sample that is missing in the
                path `out`. It has to be given the same data.
            conditions: Which channels of hidden layers the result is to be that of, see
                `Conditions`.

        Returns:
            float32 (float64 for a float64 model) numpy arrays in the structure and shape of x; at
            `layers`, a dict from layer name to an array of the shape of the layer's output. Where a
            model reads strings, in the structure and shape of `tokens(x)`. With several selections
            for each sample there is an axis for them, of size n, after the batch axis. Frames where
            x has some, with their index and columns. If `out` was given, that.

        Raises:
            ValueError: If x does not fit the model or is not finite, or `neuron_selection` does
                not fit the mode or the output.
            FileExistsError: If there is something at the path `out`, and `resume` is not set.
            FileRefusedError: A ValueError: if what is there is of another analyzer or selection.
            LedgerError: If `check` is set, and the books do not balance.
        """
        check_flags(check=check, resume=resume)
        shares = Conditions(self, conditions)
        if check and shares:
            raise ValueError("check=True keeps books of all relevance. Leave `conditions` out.")
        books = self._open_books(in_detail=True) if check else None
        given = x, neuron_selection, batch_size, verbose
        if resume and out is None:
            raise ValueError("resume goes on with what is written to `out`: pass its path.")
        if out is None:
            result = self._answer(books, *given, shares)
        else:
            result = self._write(out, resume, books, given, shares)
        if books is not None:
            books.closed(result).check()
        return result

    def stream(
        self,
        x: Any,
        neuron_selection: Any = None,
        *,
        batch_size: int = 32,
        verbose: int = 0,
        done: int = 0,
        conditions: Mapping[str, Any] | None = None,
    ) -> Iterator[Any]:
        """The results batch by batch: memory for one of them is enough for any number of samples.

        Args:
            x: See `analyze`.
            neuron_selection: See `analyze`.
            batch_size: See `analyze`.
            verbose: See `analyze`.
            done: How many samples at the beginning of x are passed over, which end with a batch.
            conditions: See `analyze`.

        Yields:
            What `analyze` returns for each batch.

        Raises:
            ValueError: As `analyze` does: at once if the arguments do not fit, and where a batch
                of a data set does not.

        Example:
            >>> total = sum(abs(part).sum(axis=0) for part in analyzer.stream(x))
        """
        done, shares = check_whole("done", done, 0), Conditions(self, conditions)
        found = answers(self, None, x, neuron_selection, batch_size, verbose, done, shares)
        return finish_each(self, found)

    def tokens(self, x: Any) -> Any:
        """What each place of a result stands for.

        Args:
            x: Samples as for `analyze`, but no data set.

        Returns:
            Arrays of str in the structure and shape of `analyze(x)` at the inputs: words of the
            vocabulary where a layer that reads strings has one, else the strings themselves if it
            turns each into one number; numbers as text for all other inputs.

        Raises:
            ValueError: If x does not fit the model.
        """
        words = self.input_spec.restore(self.text.words(x), self.text.to_tokens(x))
        return framed(words, labels_of(x), several=False)

    def save(self, path: str | os.PathLike | bytes) -> None:
        """Save the analyzer in one file: model, method, arguments and what was fitted.

        Load it with `innvestigate.load_analyzer(path)`, in this process or another one. A model
        that was trained on is saved as it is now. The file appears when it is complete; until then
        an older one stays, whose permissions it takes over.

        Args:
            path: The file.

        Raises:
            TypeError: If an argument cannot be saved, such as a function that is not registered
                with `keras.saving.register_keras_serializable`; names it.
            ValueError: If Keras cannot save the model.
            FileNotFoundError: If there is no such folder.
            FileExistsError: If `path` is a folder, a device or a pipe.
        """
        save_analyzer(self, path)

    def __reduce__(self):
        return reduced(self)

    def rewrite(self, graph: Graph) -> Graph:
        """The graph in the form that the method works on."""
        return graph

    def targets(self, graph: Graph) -> dict[str, KerasTensor]:
        """The tensors at which results are made, by the names of the results."""
        return choose_targets(graph, self._layers)

    def check_model(self, task: Task) -> None:
        """Refuse or warn of models that the method is not made for."""

    def check_count(self, count: int | None) -> None:
        """Refuse arguments that do not fit the number of samples, where it is known."""

    def weights(self, selection: Selected, inputs: list, offset: int) -> np.ndarray | None:
        """The weights of the output neurons; None where the mirror picks the largest itself."""
        if self.neuron_selection_mode == "max_activation":
            return None
        shape = self.task.output_shape
        if None in shape:
            shape = self.outputs([x[:1] for x in inputs]).shape[1:]
        return selection.weights(offset, len(inputs[0]), shape)

    @abstractmethod
    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        """The result at each target, by name, for the rows of a batch.

        Under the name `OUTPUT` there may be the value of `task.checked`, for the guard.
        """
        raise NotImplementedError

    def booked(self, batch: Batch, books: Books) -> dict[str, np.ndarray]:
        """What `explain` returns and, as `EXPLAINED`, what the results of each row add up to."""
        return self.explain(batch)

    def received(self, results: dict) -> np.ndarray:
        """The sum of the results of each row, at the tensors that no other result is made of."""
        written = {t for step in self.task.steps for t in step.outputs}
        ends = [results[name] for name, t in self.task.targets.items() if t not in written]
        return np.sum([y.reshape(len(y), -1).sum(axis=1, dtype="float64") for y in ends], axis=0)

    def restore(self, results: dict, batch: Any) -> Any:
        """The results at all targets, in the structure of a batch that the user gave."""
        inputs = [results[name] for name in at_inputs(self.task.targets)]
        if not self.by_layer:
            return self.input_spec.restore(inputs, batch) if inputs else results[MAP]
        found = at_layers(results)
        if inputs:
            found["input"] = self.input_spec.restore(inputs, batch)
        return found

    def finished(self, result: Any, offset: int = 0) -> Any:
        """What `analyze` returns, given the results of all batches; or of one.

        Args:
            result: They.
            offset: How many samples are before them.
        """
        warn_if_not_finite(result, offset)
        return result

    def _write(self, out, resume, books, given: tuple[Any, Any, int, int], shares) -> Any:
        _, neuron_selection, *_ = given
        told = [neuron_selection, shares.given] if shares else [neuron_selection]
        store = open_store(out, partial(fingerprint, self, *told), resume)
        found = answers(self, books, *given, store.written, shares)
        write_all(store, (self.finished(each.result, each.offset) for each in found))
        return out

    def _answer(self, books, x, neuron_selection, batch_size, verbose, shares=None) -> Any:
        found = answers(self, books, x, neuron_selection, batch_size, verbose, shares=shares)
        return finish_all(self, x, list(found))

    @property
    def by_layer(self) -> bool:
        """Whether results are returned by the names of layers."""
        return self._layers is not None

    def taken_off(self, graph: Graph) -> Graph:
        """The graph without a final activation that the method does not explain, with a warning."""
        (output,) = graph.flat_outputs
        final, told = explained(graph, output, self.explains_value, self._keep)
        if told is not None and told != self._told:
            warn(told)
        self._told, self.final = told, self.final or final
        if final is None:
            return graph
        return replace(final.graph, outputs=[final.output, final.logits])

    def _task(self, graph: Graph) -> Task:
        """What is asked, for a rewritten graph."""
        annotate(graph)
        output, *logits = graph.flat_outputs
        return Task(graph, output, self.targets(graph), self._mode, *logits)

    def _rewritten(self, shapes: Shapes) -> Graph:
        """The graph that the method works on, for inputs of known shapes."""
        graph = trace(self.text.model, shapes)
        output = graph.flat_outputs[self._index]
        return self._in_its_form(self.taken_off(replace(graph, outputs=[output])))

    def _in_its_form(self, graph: Graph) -> Graph:
        """The graph as the method works on it, and what is in its loops alike."""
        return rewrite_bodies(drop_casts(self.rewrite(graph)), self.rewrite)
