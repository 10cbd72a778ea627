"""Explainers as files that run without this library."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops, tree

from innvestigate.backend import EXPORTS
from innvestigate.engine.inputs import InputSpec
from innvestigate.engine.selection import Selected, Selection
from innvestigate.graph.layers import MirrorLayer
from innvestigate.graph.task import MAP, at_inputs, at_layers
from innvestigate.utils.arguments import check_choice, check_whole
from innvestigate.utils.files import one_line, replacing, replacing_folder

FORMATS = ("tf_saved_model", "onnx", "litert")

_SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
_NEEDS = {"onnx": ("onnx", "tf2onnx")}
_MARK = Path("assets.extra") / "innvestigate.json"
"""Where a folder says that it is an exported explainer: TensorFlow keeps that place free."""


class ExportError(ValueError):
    """An explainer cannot be written in a format."""


@dataclass(frozen=True)
class Servable:
    """A mirror and what it is to be given beside the model's inputs.

    Attributes:
        mirror: From the flat inputs, then `further`, then the weights, to results by name.
        targets: The names of the results that are returned.
        by_layer: Whether they are returned by layer, those at the inputs as `"input"`.
        further: Constants, one sample of each.
        weights: The weights of the output's neurons, `(1, *shape)`; None where the mirror chooses.
    """

    mirror: keras.Model
    targets: list[str]
    by_layer: bool
    further: list[np.ndarray]
    weights: np.ndarray | None

    def model(self, spec: InputSpec, structure: Any, rows: int | None) -> tuple:
        """The model from inputs to relevance, both in a structure, and its inputs in that."""
        named = zip(spec.names, spec.tensors, strict=True)
        flat = [
            keras.Input(batch_shape=(rows, *t.shape[1:]), dtype=t.dtype, name=name)
            for name, t in named
        ]
        inputs = tree.pack_sequence_as(structure, flat)
        constants = [*self.further, *([] if self.weights is None else [self.weights])]
        given = [*flat, *(_repeated(flat[0], c, i) for i, c in enumerate(constants))]
        types = [t.dtype for t in self.mirror.inputs]
        found = self.mirror(
            MirrorLayer(
                lambda *xs: [ops.cast(x, t) for x, t in zip(xs, types, strict=True)],
                [KerasTensor(x.shape, t) for x, t in zip(given, types, strict=True)],
                self.mirror.compute_dtype,
                "given",
            )(given)
        )
        asked = {name: found[name] for name in self.targets}
        inner = [*at_inputs(asked).values()]
        results = tree.pack_sequence_as(structure, inner) if inner else found.get(MAP)
        if self.by_layer:
            results = at_layers(asked) | ({"input": results} if inner else {})
        return keras.Model(inputs, results, name="explainer"), inputs


class Exported:
    """What an analyzer exports.

    A subclass with a mirror states `servable`.
    """

    task: Any
    input_spec: InputSpec

    def export(
        self,
        path: str | os.PathLike | bytes,
        format: str = "tf_saved_model",
        neuron_selection: Any = None,
        batch_size: int | None = None,
    ) -> None:
        """Write the explainer itself, as a model from x to relevance that runs without Keras.

        It is the analyzer's mirror, on the weights as they are now: what `analyze` computes for a
        batch of any size. What `analyze` does besides is left to who serves it: it checks no
        input, takes no strings (but `tokens`), keeps no books. Methods that run a mirror at many
        points (integrated gradients, SmoothGrad and other wrappers) export that mirror, which
        explains one point, with a warning.

        Args:
            path: A folder in the format `"tf_saved_model"`, a file in the others. An older one is
                replaced when the new one is complete.
            format: `"tf_saved_model"`: `tf.saved_model.load(path).serve(x)` returns the relevance,
                in the structure of x or, at `layers`, a dict; the signature `serving_default` is
                for TensorFlow Serving. `"onnx"`: for ONNX Runtime; needs
                `pip install innvestigate[export]`. `"litert"`: for LiteRT's interpreter, without
                operations of TensorFlow. In the last two recurrent layers are unrolled.
            neuron_selection: As in `analyze`, one for all samples, fixed from now on. None in the
                modes `"max_activation"` and `"all"`.
            batch_size: How many samples the explainer takes at a time, no more and no fewer; by
                default any number. Models that compute with it need it (KerasHub's transformers).

        Raises:
            ExportError: A ValueError: if the method has no mirror, the backend is not TensorFlow,
                the format lacks an operation or a package is missing.
            ValueError: If there is no such format or the selection does not fit.
            FileNotFoundError: If there is no folder to write to.
            FileExistsError: If `path` is no file, or a folder that holds no exported explainer.
        """
        check_choice("format", format, FORMATS)
        _check_means(format)
        spec = self.input_spec
        if batch_size is not None:
            check_whole("batch_size", batch_size, 1)
        structure = spec.structure
        if format == "onnx" and isinstance(structure, dict):  # which has no structures
            structure = spec.tensors
        servable = self.servable(self._fixed_weights(neuron_selection), batch_size)
        model, inputs = servable.model(spec, structure, batch_size)
        write_model(model, inputs, path, format)

    def servable(self, weights: np.ndarray | None, rows: int | None) -> Servable:
        """What is exported, for neurons of given weights or the largest of each sample.

        Args:
            weights: `(1, *output_shape)`, or None.
            rows: How many samples it takes at a time; None for any number.

        Raises:
            ExportError: If the method has no mirror.
        """
        raise ExportError(
            f"{type(self).__name__} sends no signal back: it has no mirror that could be exported. "
            "Export a method with rules for layers, such as 'gradient' or 'lrp.epsilon'; "
            "save(path) and load_analyzer keep this one for Python."
        )

    def _fixed_weights(self, neuron_selection: Any) -> np.ndarray | None:
        shape = self.task.output_shape
        selection = Selection(self.task.mode, neuron_selection, shape, 1)
        if self.task.mode == "max_activation":
            return None
        if None in shape:
            raise ExportError(
                f"An exported explainer has its neurons fixed, and the output's shape {shape} is "
                "open. Create the analyzer in the mode 'max_activation', or build the model with "
                "inputs of a known size."
            )
        if selection.several:
            raise ExportError(
                "An exported explainer has one selection for all samples. Received several."
            )
        return Selected(selection, 0).weights(0, 1, shape)


def write_model(
    model: keras.Model, inputs: Any, path: str | os.PathLike | bytes, format: str
) -> None:
    """Write a model, beside its name first.

    Args:
        model: A functional model.
        inputs: Its inputs in their structure.
        path: Where to.
        format: One of `FORMATS`.

    Raises:
        ExportError: If the format cannot hold the model.
    """
    if format == "tf_saved_model":
        with replacing_folder(path, lambda folder: (folder / _MARK).is_file()) as folder:
            _write(model, inputs, folder, format)
            (folder / _MARK).parent.mkdir()
            (folder / _MARK).write_text(json.dumps({"format": format, "keras": keras.__version__}))
        return
    with replacing(path) as file:
        written = Path(file.name).with_name(f"model{_SUFFIXES[format]}")
        _write(model, inputs, written, format)
        with written.open("rb") as content:
            shutil.copyfileobj(content, file)


def _write(model: keras.Model, inputs: Any, path: Path, format: str) -> None:
    try:
        EXPORTS[format](model, inputs, str(path))
    except Exception as error:  # converters raise what they like
        if isinstance(error, OSError):
            raise
        raise ExportError(
            f"The explainer cannot be written in the format {format!r}: "
            f"{one_line(str(error) or type(error).__name__)} The format 'tf_saved_model' holds all "
            "that TensorFlow has."
        ) from error


def _check_means(format: str) -> None:
    if format not in EXPORTS:
        raise ExportError(
            "Only the backend TensorFlow exports. Save the analyzer with save(path), load it in a "
            "process with KERAS_BACKEND=tensorflow, and export it there."
        )
    missing = [name for name in _NEEDS.get(format, ()) if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"The format {format!r} needs {' and '.join(missing)}: "
            "pip install 'innvestigate[export]'."
        )


def _repeated(x, value: np.ndarray, number: int):
    """A constant, one sample for each of those of x."""

    def repeat(x):
        rows = ops.ones((ops.shape(x)[0], *[1] * (value.ndim - 1)), value.dtype.name)
        return rows * ops.convert_to_tensor(value)

    outputs = KerasTensor((None, *value.shape[1:]), value.dtype.name)
    return MirrorLayer(repeat, outputs, "float32", f"constant.{number}")([x])
