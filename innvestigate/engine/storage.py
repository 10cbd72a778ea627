"""Analyzers as files: the model, the method with its arguments, and what was fitted.

A file is a zip of

- `manifest.json`: the version of the format, and the SHA-256 of every other member;
- `analyzer.json`: the analyzer's class, arguments and state, in which arrays and models are names;
- `arrays.npz`: the arrays;
- `model_0.keras`: the model.

Nothing in it is code. Classes and functions are names, which must be the library's own or be
registered with Keras by whoever loads the file.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import types
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np

from innvestigate import rules
from innvestigate.engine.config import Configured
from innvestigate.genomics import ShuffledReferences
from innvestigate.graph.layers import MirrorLayer
from innvestigate.utils.files import pack, unpack

if TYPE_CHECKING:
    from innvestigate.engine.base import Analyzer

_KIND, _VERSION = "an analyzer", 1
_ANALYZER, _ARRAYS = "analyzer.json", "arrays.npz"
_MODEL = re.compile(r"model_\d+\.keras")
_RULES = [thing for thing in vars(rules).values() if isinstance(thing, type)]
_CLASSES: dict[str, Any] = {
    thing.__name__: thing
    for thing in (*_RULES, ShuffledReferences)
    if issubclass(thing, (rules.Rule, rules.Composite, rules.Line, ShuffledReferences))
}


def save_analyzer(analyzer: Configured, path: str | os.PathLike) -> None:
    """See `Analyzer.save`."""
    encoder = _Encoder()
    description = encoder.encode(analyzer, "The analyzer")
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder)
        (parts / _ANALYZER).write_text(json.dumps(description, indent=1))
        np.savez(parts / _ARRAYS, **encoder.arrays)  # type: ignore[arg-type]  # an array may have any name
        for name, model in encoder.models.items():
            _save_model(model, parts / name)
        pack(parts, path, _KIND, _VERSION)


def load_analyzer(
    path: str | os.PathLike, custom_objects: dict[str, Any] | None = None
) -> Analyzer:
    """Load an analyzer that `Analyzer.save` has written.

    No code in the file is run: there is no pickle, and models are loaded in Keras's safe mode. The
    checksums find damage, not forgery: who can write the file can choose the model and the method.

    Args:
        path: The file.
        custom_objects: Layers, functions and rules of your own that are not registered with
            `keras.saving.register_keras_serializable`, by name.

    Returns:
        The analyzer as it was when newly created, and fitted if it was.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds something else, comes from a newer version of
            the format, or needs a class, layer or function that is not known here.

    Example:
        >>> analyzer.save("analyzer.zip")
        >>> analyzer = innvestigate.load_analyzer("analyzer.zip")
    """
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder)
        unpack(path, parts, _KIND, _VERSION, _is_part)
        with np.load(parts / _ARRAYS, allow_pickle=False) as file:
            arrays = dict(file)
        decoder = _Decoder(parts, arrays, custom_objects)
        analyzer = decoder.decode(json.loads((parts / _ANALYZER).read_text()))
    if not isinstance(analyzer, Configured):
        raise ValueError(f"{path} holds no analyzer, but an object of type {type(analyzer)}.")
    return cast("Analyzer", analyzer)


def _is_part(name: str) -> bool:
    return name in (_ANALYZER, _ARRAYS) or bool(_MODEL.fullmatch(name))


class _Encoder:
    """Turns values into JSON, and puts their arrays and models aside.

    Attributes:
        arrays: The arrays, by name.
        models: The models, by the name of their file.
    """

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self.models: dict[str, keras.Model] = {}

    def encode(self, value: Any, place: str) -> Any:
        """A value as JSON.

        Args:
            value: The value.
            place: Where it stands, for messages.

        Raises:
            TypeError: If it cannot be saved.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or type(value) in (bool, int, float, str):
            return value
        if type(value) is list:
            return [self.encode(v, f"{place}[{i}]") for i, v in enumerate(value)]
        if type(value) is tuple:
            return {"is": "tuple", "of": self.encode(list(value), place)}
        if type(value) is dict:
            pairs = [
                [self.encode(k, place), self.encode(v, f"{place}[{k!r}]")] for k, v in value.items()
            ]
            return {"is": "dict", "of": pairs}
        if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
            return {"is": "array", "name": self._array(value, place)}
        if isinstance(value, keras.Model):
            return {"is": "model", "name": self._model(value)}
        if isinstance(value, Configured):
            return self._analyzer(value, place)
        if isinstance(value, (type, types.FunctionType)):
            return {"is": "name", "name": _name(value, value, place)}
        return self._object(value, place)

    def _array(self, value: Any, place: str) -> str:
        array = keras.ops.convert_to_numpy(value)
        if array.dtype.kind not in "biufcSU":
            raise TypeError(
                f"{place} cannot be saved: it is an array of the type {array.dtype}. Expected "
                "numbers or text."
            )
        name = f"array_{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def _model(self, model: keras.Model) -> str:
        name = f"model_{len(self.models)}.keras"
        self.models[name] = model
        return name

    def _analyzer(self, analyzer: Configured, place: str) -> dict:
        name = _analyzer_name(type(analyzer), place)
        arguments = {
            key: self.encode(value, f"The argument {key} of {name}")
            for key, value in analyzer.get_config().items()
        }
        state = {
            key: self._array(np.asarray(value), f"{key} of {name}")
            for key, value in analyzer.state().items()
        }
        return {"is": "analyzer", "class": name, "arguments": arguments, "state": state}

    def _object(self, value: Any, place: str) -> dict:
        name = _name(type(value), value, place)
        try:
            config = value.get_config()
        except (AttributeError, NotImplementedError) as error:
            raise TypeError(
                f"{place} cannot be saved: {value!r}. Give its class a get_config() that returns "
                "its arguments by name."
            ) from error
        encoded = {key: self.encode(v, f"{place}.{key}") for key, v in config.items()}
        return {"is": "object", "class": name, "arguments": encoded}


class _Decoder:
    """Turns JSON back into values.

    Args:
        folder: Where the models are.
        arrays: The arrays, by name.
        custom_objects: See `load_analyzer`.
    """

    def __init__(self, folder: Path, arrays: dict[str, np.ndarray], custom_objects: dict | None):
        self._arrays, self._custom = arrays, custom_objects
        self._kinds = {
            "tuple": lambda value: tuple(self.decode(value["of"])),
            "dict": lambda value: dict(self.decode(value["of"])),
            "array": lambda value: arrays[value["name"]],
            "name": lambda value: self._find(value["name"], _CLASSES),
            "object": self._object,
            "model": lambda value: _load_model(folder / value["name"], custom_objects),
            "analyzer": self._analyzer,
        }

    def decode(self, value: Any) -> Any:
        """The value of a piece of JSON."""
        if isinstance(value, list):
            return [self.decode(v) for v in value]
        if not isinstance(value, dict):
            return value
        if value.get("is") not in self._kinds:
            raise ValueError(f"The file holds something that is not known here: {value!r}.")
        return self._kinds[value["is"]](value)

    def _object(self, value: dict) -> Any:
        return self._create(self._find(value["class"], _CLASSES), value["arguments"])

    def _analyzer(self, value: dict) -> Configured:
        cls = self._find(value["class"], _analyzers())
        analyzer = self._create(cls, value["arguments"])
        analyzer.set_state({key: self._arrays[name] for key, name in value["state"].items()})
        return analyzer

    def _create(self, cls: Any, arguments: dict) -> Any:
        if not isinstance(cls, type):
            raise ValueError(f"The file calls {cls!r}, which is not a class: it is not loaded.")
        return cls(**{key: self.decode(v) for key, v in arguments.items()})

    def _find(self, name: str, known: dict) -> Any:
        found = known.get(name) or keras.saving.get_registered_object(name, self._custom)
        if found is None:
            raise ValueError(
                f"The file needs {name!r}, which is not known here. Import the module that "
                "registers it with keras.saving.register_keras_serializable, or pass "
                f"custom_objects={{{name!r}: ...}}."
            )
        return found


def _analyzers() -> dict[str, type[Configured]]:
    """The library's own analyzers, by the name of their class."""
    found, open_classes = {}, [Configured]
    while open_classes:
        cls = open_classes.pop()
        open_classes += cls.__subclasses__()
        if cls.__module__.split(".")[0] == __name__.split(".")[0]:
            found[cls.__name__] = cls
    return found


def _analyzer_name(cls: type[Configured], place: str) -> str:
    return cls.__name__ if _analyzers().get(cls.__name__) is cls else _name(cls, cls, place)


def _name(thing: Any, value: Any, place: str) -> str:
    """The name by which a class or function is found again.

    Raises:
        TypeError: If there is none.
    """
    name = thing.__name__
    if _CLASSES.get(name) is thing:
        return name
    name = keras.saving.get_registered_name(thing)
    if keras.saving.get_registered_object(name) is not thing:
        raise TypeError(
            f"{place} cannot be saved: {value!r} is code of your own, and files hold no code. "
            "Register the function or class with keras.saving.register_keras_serializable(), in a "
            "module that is imported before the analyzer is loaded: its name is saved then."
        )
    return name


def _save_model(model: keras.Model, path: Path) -> None:
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
        if b'"__lambda__"' in file.read("config.json"):
            raise ValueError(
                f"The model {model.name!r} has a layer that holds a Python lambda: that would be "
                "code in the file. Use a layer of Keras, or a function that is registered with "
                "keras.saving.register_keras_serializable()."
            )


def _load_model(path: Path, custom_objects: dict | None) -> keras.Model:
    try:
        return keras.saving.load_model(path, custom_objects, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "Keras cannot load the model. Layers of your own must be registered with "
            "keras.saving.register_keras_serializable, or be handed over as "
            f"custom_objects={{name: class}}. Keras says: {error}"
        ) from error
