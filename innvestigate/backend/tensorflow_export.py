"""Models as files that run without Keras.

`EXPORTS` maps the name of a format to `(model, inputs, path) -> None`, which writes a functional
model there, `inputs` being its inputs in their structure. What is written for ONNX Runtime and
LiteRT holds the gradients of `tensorflow_gradients` in place of TensorFlow's kernels.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import tensorflow as tf

from innvestigate.backend.tensorflow import portable, without_compiler


def _saved_model(model, inputs, path: str) -> None:
    with without_compiler(), _quiet("tensorflow"):  # servers may lack it
        _export(model, inputs, path, "tf_saved_model")


def _onnx(model, inputs, path: str) -> None:
    with portable(), _quiet("tf2onnx"):
        _export(model, inputs, path, "onnx")
    import_module("onnx").checker.check_model(path)  # operations that it lacks stay in silence


def _litert(model, inputs, path: str) -> None:
    own = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with portable(), _quiet("tensorflow"):
        try:
            _export(model, inputs, path, "litert", target_spec=own)
        except Exception as error:
            lacking = sorted(set(re.findall(r"'tf\.(\w+)' op", str(error))))
            if not lacking:
                raise
            raise TypeError(f"LiteRT has no {', '.join(lacking)}.") from error


def _export(model, inputs, path: str, format: str, **options) -> None:
    """Keras's own export, for the number of rows that inputs have, known or not."""
    own = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape, t.dtype, t.name), inputs)
    model.export(path, format=format, verbose=False, input_signature=[own], **options)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Within it, a logger is silent, and those below it are."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


EXPORTS: dict[str, Callable] = {
    "tf_saved_model": _saved_model,
    "onnx": _onnx,
    "litert": _litert,
}
