"""Keras models in files: written without code, and loaded without trust."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import keras
import numpy as np

from innvestigate.engine.vetting import Names, check_portable
from innvestigate.graph.layers import MirrorLayer
from innvestigate.utils.archive import Readable, members
from innvestigate.utils.files import reading

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_SPARE = 1_000_000
"""Bytes, and a thousandth of it variables, that a model may have beyond those in its file."""
_LOADING = threading.RLock()


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model as a `.keras` file that `load_model` loads.

    Raises:
        ValueError: If that is not possible: says why, and what to do.
    """
    if any(isinstance(layer, MirrorLayer) for layer in model.layers):
        raise ValueError(
            f"The model {model.name!r} was made by innvestigate and shares the weights of another "
            "one: it cannot be saved. Create the analyzer with the model it was made from; a final "
            "softmax is taken off by the analyzer itself."
        )
    try:
        model.save(path)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ValueError(
            f"Keras cannot save the model {model.name!r}: give its class, and the layers of your "
            "own in it, a get_config() that returns their arguments, or rebuild it as a functional "
            f"model of Keras's layers and save an analyzer of that. Keras says: {error}"
        ) from error
    with zipfile.ZipFile(path) as file:
        config = json.loads(file.read(_CONFIG))
    try:
        check_portable(_uncompiled(config))
    except ValueError as error:
        raise ValueError(
            f"The model {model.name!r} cannot be saved: {error}. Use a layer of Keras, or a "
            "function that is registered with keras.saving.register_keras_serializable()."
        ) from error


def load_model(file: Readable, custom_objects: dict[str, Any] | None = None) -> keras.Model:
    """The model in a `.keras` file. Nothing in it is run, and it names nothing outside of itself.

    Its configuration is looked through before Keras sees it, and so are its weights; Keras gets a
    new file with what was found to be good. No more variables are made than the file has values.

    Args:
        file: The file, open.
        custom_objects: Classes and functions that it may name besides those that are registered.

    Raises:
        Exception: Of any type, if anything is wrong with it.
    """
    parts = members(file)
    config = _uncompiled(json.loads(parts.pop(_CONFIG).read()))
    Names(custom_objects).check_config(config)
    if not {_WEIGHTS, _METADATA} <= set(parts):
        raise ValueError("it is no Keras model, or one that lacks its weights")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(_CONFIG, json.dumps(config))
            for name, part in parts.items():
                _check_name(name)
                with archive.open(name, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(part, copy)
        size, count = _check_weights(parts[_WEIGHTS])
        with _metered(size, count):
            model = keras.saving.load_model(path, custom_objects, compile=False, safe_mode=True)
    return _checked(model)


def load_model_file(path: str | os.PathLike) -> keras.Model:
    """The model in a `.keras` or `.h5` file, as `load_model` loads it.

    Raises:
        FileNotFoundError: If there is no such file.
        FileRefusedError: If anything is wrong with it.
    """
    with reading(path, "a Keras model") as file:
        if Path(path).suffix.lower() == ".keras":
            return load_model(file)
        size, count = _check_weights(file)
        with h5py.File(file, "r") as content:
            Names().check_config(json.loads(content.attrs["model_config"]), older=True)
        with _metered(size, count):
            return _checked(keras.saving.load_model(path, compile=False, safe_mode=True))


def _checked(model: Any) -> keras.Model:
    if not isinstance(model, keras.Model):
        raise ValueError(f"it holds no model, but an object of the type {type(model).__name__}")
    return model


def _uncompiled(config: Any) -> Any:
    """A configuration without how models in it were trained."""
    if isinstance(config, list):
        return [_uncompiled(each) for each in config]
    if not isinstance(config, dict):
        return config
    return {name: _uncompiled(each) for name, each in config.items() if name != "compile_config"}


def _check_name(name: str) -> None:
    """Whether a part of a model's file may be called so."""
    path = PurePosixPath(name)
    plain = path.parts[0] == "assets" and ".." not in path.parts and "\\" not in name
    if name not in (_METADATA, _WEIGHTS) and not plain:
        raise ValueError(f"{name!r} in it is no part of a Keras model")


def _check_weights(file: Readable) -> tuple[int, int]:
    """How many bytes and arrays an HDF5 file holds.

    Raises:
        ValueError: If it holds anything but plain arrays, or says that it holds more than it does.
    """
    size = file.seek(0, os.SEEK_END)
    with h5py.File(file, "r") as content:
        names: list[str] = []
        content.visit_links(names.append)
        sizes = [n for n in (_size_of(content, name) for name in names) if n]
    if sum(sizes) > size:
        raise ValueError("its weights say that they are larger than the file")
    return sum(sizes), len(sizes)


def _size_of(content: h5py.File, name: str) -> int:
    if not isinstance(content.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name!r} in its weights is a link to somewhere else")
    data = content[name]
    if not isinstance(data, h5py.Dataset):
        return 0
    plain = data.chunks is None and not data.external and not data.is_virtual
    if not plain or data.dtype.hasobject or data.dtype.kind not in "biufcVS":
        raise ValueError(f"{name!r} in its weights is no plain array of numbers")
    return math.prod(data.shape) * data.dtype.itemsize


@contextmanager
def _metered(size: int, count: int) -> Iterator[None]:
    """Within it, this thread makes no more variables than there are values for them.

    Raises:
        ValueError: If it tries to.
    """
    left, me = [2 * size + _SPARE, 2 * count + _SPARE // 1000], threading.get_ident()
    create = keras.Variable.__init__

    def metered(variable, initializer, shape=None, dtype=None, *args, **kwargs):
        if threading.get_ident() == me and shape is not None:
            left[0] -= math.prod(n for n in shape if n is not None) * _bytes_of(dtype)
            left[1] -= 1
            if min(left) < 0:
                raise ValueError("its model has more weights than the file has values for")
        create(variable, initializer, shape, dtype, *args, **kwargs)

    with _LOADING:
        own = "__init__" in vars(keras.Variable)
        keras.Variable.__init__ = metered
        try:
            yield
            if min(left) < 0:
                raise ValueError("its model has more weights than the file has values for")
        finally:
            if own:
                keras.Variable.__init__ = create
            else:
                del keras.Variable.__init__


def _bytes_of(dtype: Any) -> float:
    """Bytes of one number of a type; the least, where numpy does not know it."""
    try:
        return np.dtype(keras.backend.standardize_dtype(dtype)).itemsize
    except (TypeError, ValueError):
        return 0.5
