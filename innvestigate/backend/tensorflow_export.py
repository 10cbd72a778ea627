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

from innvestigate.backend.tensorflow import portable


def _saved_model(model, inputs, path: str) -> None:
    with _quiet("tensorflow"):
        model.export(path, format="tf_saved_model", verbose=False, input_signature=[inputs])


def _onnx(model, inputs, path: str) -> None:
    with portable(), _quiet("tf2onnx"):
        model.export(path, format="onnx", verbose=False, input_signature=[inputs])
    import_module("onnx").checker.check_model(path)  # operations that it lacks stay in silence


def _litert(model, inputs, path: str) -> None:
    own = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    with portable(), _quiet("tensorflow"):
        try:
            model.export(
                path, format="litert", verbose=False, input_signature=[inputs], target_spec=own
            )
        except Exception as error:
            lacking = sorted(set(re.findall(r"'tf\.(\w+)' op", str(error))))
            if not lacking:
                raise
            raise TypeError(f"LiteRT has no {', '.join(lacking)}.") from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Within it, a logger is silent."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


EXPORTS: dict[str, Callable] = {
    "tf_saved_model": _saved_model,
    "onnx": _onnx,
    "litert": _litert,
}
