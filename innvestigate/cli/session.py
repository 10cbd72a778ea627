"""What the command line does with a saved model: load it, choose neurons, create analyzers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from innvestigate.analyzer import Analyzer, create_analyzer, find_analyzer
from innvestigate.cli.calls import as_number, parse_call, shortened
from innvestigate.cli.console import FAILED, Stopped
from innvestigate.cli.listing import Files, Found, printable
from innvestigate.cli.places import find_samples
from innvestigate.cli.reading import Queue, Reader, read_names
from innvestigate.engine.config import argument_names
from innvestigate.engine.models import load_model_file
from innvestigate.evaluation import METRICS, Metric
from innvestigate.rules import NoRuleError
from innvestigate.utils.files import FileRefusedError
from innvestigate.utils.suggest import did_you_mean, unknown
from innvestigate.visualization.captions import caption
from innvestigate.visualization.samples import Samples


@dataclass(frozen=True)
class Chosen:
    """Which neuron of each sample is explained.

    Attributes:
        indices: `(n, axes of the output)`.
        names: What the samples are called.
        outputs: The model's output at each.
        neurons: What its neurons are called.
    """

    indices: np.ndarray
    names: list[str]
    outputs: np.ndarray
    neurons: Neurons

    @property
    def predictions(self) -> list[str]:
        """What is explained of each and how large it is, in words."""
        pairs = zip(self.outputs, self.indices, strict=True)
        return [self.neurons.caption(output, index) for output, index in pairs]

    @property
    def captions(self) -> list[str]:
        """A line for each sample."""
        return [f"{name}: {told}" for name, told in zip(self.names, self.predictions, strict=True)]

    def about(self) -> dict[str, np.ndarray]:
        """For each sample its name, the neuron, the name of its class if it has one, its value."""
        neuron = self.indices[:, 0] if self.indices.shape[1] == 1 else self.indices
        found = {"sample": _text(self.names), "neuron": neuron}
        if self.neurons.names is not None:
            found["class"] = _text([self.neurons.names[i] for i in self.indices[:, -1]])
        return found | {"output": self.outputs[(np.arange(len(neuron)), *self.indices.T)]}


SCALING = (keras.layers.Rescaling, keras.layers.Normalization)


class Session:
    """One model, and what is done with it.

    Args:
        path: The file of the model.
        class_names: A file with the names of its classes, if there is one.
        reader: How files are read; its shape is set to that of the model's input.
        batch_size: Samples that are run at a time.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file does not hold what it should.
    """

    def __init__(self, path: Path, class_names: Path | None, reader: Reader, batch_size: int):
        self.model, self.batch_size = load_model(path), batch_size
        self.reader = replace(reader, shape=tuple(self.model.inputs[0].shape[1:]))
        shape = tuple(self.model.outputs[0].shape[1:])
        names = None if class_names is None else read_names(class_names, shape[-1])
        self.neurons = Neurons(shape, names)

    def read(self, files: Iterable[Found]) -> Samples:
        """The samples in some files, see `Reader`. Warns of pixels that nothing scales."""
        samples = self.reader.read(files)
        self.check_pixels(samples)
        return samples

    def queue(self, files: Files, limit: int | None, skip: bool) -> Queue:
        """The samples in files, read when they are asked for. See `Queue`."""
        return Queue(self.reader, files, limit, skip)

    def check_pixels(self, samples: Samples) -> None:
        """Warn of pixels that nothing scales."""
        if samples.pictures is not None and self.reader.is_raw and not _has_scaling(self.model):
            warnings.warn(
                "The model gets pixels from 0 to 255, and has no layer that scales them. If it was "
                "trained on scaled ones: --preprocessing 0-1, tf, torch or caffe; or --scale and "
                "--offset.",
                stacklevel=3,
            )

    def choose(self, samples: Samples, neuron: str | None) -> Chosen:
        """The explained neuron of each sample.

        Raises:
            ValueError: If the model cannot be run on the samples, or there is no such neuron.
        """
        try:
            starts = range(0, len(samples.x), self.batch_size)
            parts = [samples.x[start : start + self.batch_size] for start in starts]
            outputs = np.concatenate([self.model.predict_on_batch(part) for part in parts])
        except Exception as error:  # of the backend's own types
            told = str(error).strip() or type(error).__name__
            raise ValueError(f"The model cannot be run on {samples.names[0]}: {told}") from error
        finite = np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"The model's output at {samples.names[finite.argmin()]} is not finite."
            )
        return Chosen(self.neurons.chosen(outputs, neuron), samples.names, outputs, self.neurons)

    def create(
        self, methods: Sequence[str], reference: str | None, fit: Path | None
    ) -> dict[str, Analyzer]:
        """Analyzers by what the user called them, fitted, for neurons that are given by index."""
        given = None if reference is None else self._reference(reference, methods)
        found: dict[str, Any] = {
            method: create(method, self.model, given, neuron_selection_mode="index")
            for method in methods
        }
        fitted = [method for method, analyzer in found.items() if hasattr(analyzer, "fit")]
        if bool(fitted) != (fit is not None):
            raise ValueError(
                f"{fitted[0]} is fitted on training data first. Hand them over: --fit DATA.npy."
                if fitted
                else "--fit is for methods that are fitted, pattern.net and pattern.attribution."
            )
        if fit is not None:
            data = self.reader.read(find_samples([fit])).x
            for method in fitted:
                found[method].fit(data, batch_size=self.batch_size)
        return found

    def _reference(self, given: str, methods: Sequence[str]) -> Any:
        """A number, or the samples of a file as a set that all samples are compared with."""
        if not any(map(takes_reference, methods)):
            raise ValueError(
                "--reference is for methods that compare with one: DeepLIFT, integrated and "
                "expected gradients, occlusion, Shapley sampling."
            )
        number = as_number(given)
        return self.reader.read(find_samples([Path(given)])).x[None] if number is None else number


def _text(words: Sequence[str]) -> np.ndarray:
    return np.array(words, np.dtypes.StringDType())


def load_model(path: Path) -> keras.Model:
    """The Keras model in a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no model, needs code of the user's, or has several inputs or outputs.
    """
    try:
        model = load_model_file(path)
    except FileRefusedError as error:
        raise FileRefusedError(_why_not_loaded(path, str(error))) from error
    if not model.built:
        raise ValueError(
            f"The model in {printable(path)} was saved before it knew its inputs. Call it on data, "
            "or begin it with keras.Input(shape), and save it again."
        )
    counts = len(model.inputs), len(model.outputs)
    if counts != (1, 1):
        raise ValueError(
            f"The model in {printable(path)} has {counts[0]} inputs and {counts[1]} outputs. The "
            "command line takes models with one of each; in Python all work: "
            "innvestigate.create_analyzer(name, model, output=...).analyze([x1, x2])."
        )
    return model


def _why_not_loaded(path: Path, error: str) -> str:
    if any(text in error for text in ("not known here", "Unknown", "lambda")):
        return (
            f"The model in {printable(path)} holds code of its own, which the command line does "
            "not run. Use Python: keras.models.load_model(path, custom_objects={name: class}), "
            f"then innvestigate.create_analyzer(name, model). {error}"
        )
    return error


def _has_scaling(model: keras.Model) -> bool:
    """Whether a layer of the model scales its input."""
    return any(
        isinstance(layer, SCALING) or (isinstance(layer, keras.Model) and _has_scaling(layer))
        for layer in model.layers
    )


def check_arguments(methods: Sequence[str]) -> None:
    """Whether methods take the arguments that the user has written.

    Raises:
        TypeError: If one does not; offers close names.
    """
    for method in methods:
        find_analyzer(*parse_call(method))


def takes_reference(method: str) -> bool:
    """Whether a method compares with something."""
    return "reference_inputs" in argument_names(find_analyzer(*parse_call(method)))


def create(method: str, model: keras.Model, reference: Any = None, **kwargs) -> Analyzer:
    """The analyzer that the user has written as a name or a call.

    Args:
        method: See `parse_call`.
        model: The model.
        reference: What is compared with; None for the method's default.
        **kwargs: See `create_analyzer`.

    Raises:
        KeyError: If there is no such method.
        Stopped: If it has no rule for a layer.
        TypeError: If it has no such argument.
        ValueError: If an argument does not fit, or the method does not fit the model.
    """
    name, arguments = parse_call(method)
    if reference is not None and takes_reference(method):
        arguments = {"reference_inputs": reference} | arguments
    try:
        return create_analyzer(name, model, **arguments, **kwargs)
    except NoRuleError as error:  # which is no fault of the command line
        raise Stopped(error, FAILED) from error


@dataclass(frozen=True)
class Neurons:
    """The output neurons of a model, and what they are called.

    Attributes:
        shape: Shape of the output for one sample.
        names: A name for each index of the last axis; None for numbers.
    """

    shape: tuple[int | None, ...]
    names: Sequence[str] | None = None

    def find(self, text: str) -> tuple[int, ...]:
        """The index of a neuron given by its index, `3` or `3,4,1`, or its name.

        Raises:
            ValueError: If there is no such neuron.
        """
        try:
            index = tuple(int(part) for part in text.split(","))
        except ValueError:
            index = (self._named(text),)
        expected = len(self.shape)
        if len(index) != expected:
            raise ValueError(
                f"The output has the shape {self.shape}: a neuron of it has {expected} "
                f"{'index' if expected == 1 else 'indices, such as 3,4,1'}. Received: "
                f"{shortened(text)}."
            )
        for i, size in zip(index, self.shape, strict=True):
            if i < 0 or (size is not None and i >= size):
                raise ValueError(
                    f"The neuron {i} is out of range: there are {size}, counted from 0 to "
                    f"{size - 1 if size else '...'}."
                )
        return index

    def chosen(self, outputs: np.ndarray, text: str | None) -> np.ndarray:
        """The index of one neuron for each sample, `(n, axes)`: the given or the largest one."""
        if text is not None:
            return np.tile(self.find(text), (len(outputs), 1))
        flat = outputs.reshape(len(outputs), -1).argmax(axis=1)
        return np.stack(np.unravel_index(flat, outputs.shape[1:]), axis=1)

    def caption(self, output: np.ndarray, index: np.ndarray) -> str:
        """A neuron's name and its value at one sample, in words."""
        return caption(output, index, self.names)

    def _named(self, text: str) -> int:
        if self.names is None:
            raise ValueError(
                f"{shortened(text)} is no index of a neuron. Names need --class-names FILE."
            )
        found = [i for i, name in enumerate(self.names) if text == name or text in name.split(", ")]
        if len(found) != 1:
            problem = f"{len(found)} classes are" if found else "No class is"
            raise ValueError(
                f"{problem} called {shortened(text)}. {did_you_mean(text, self.names)}An index "
                "works, too."
            )
        return found[0]


def create_metric(text: str) -> Metric:
    """The metric of an evaluation that the user has written as a name or a call.

    Raises:
        ValueError: If there is no such metric, or an argument does not fit.
        TypeError: If it has no such argument.
    """
    name, arguments = parse_call(text)
    if name not in METRICS:
        raise ValueError(unknown("metric", name, METRICS))
    return METRICS[name](**arguments)
