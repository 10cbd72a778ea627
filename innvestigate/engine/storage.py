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

import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import keras
import numpy as np

from innvestigate import rules
from innvestigate.engine.config import Configured
from innvestigate.engine.models import load_model, save_model
from innvestigate.engine.vetting import Names, UnknownNameError
from innvestigate.genomics import ShuffledReferences
from innvestigate.utils.archive import KINDS, pack, read_arrays, unpacked, write_arrays
from innvestigate.utils.arguments import check_keys
from innvestigate.utils.files import replacing
from innvestigate.utils.words import shown

if TYPE_CHECKING:
    from innvestigate.engine.base import Analyzer

_KIND, _VERSION = "an analyzer", 1
_ANALYZER, _ARRAYS = "analyzer.json", "arrays.npz"
_MODEL = re.compile(r"model_[0-9]+\.keras")
_RULES = [thing for thing in vars(rules).values() if isinstance(thing, type)]
_OBJECTS = (rules.Rule, rules.Composite, rules.Line, ShuffledReferences)
_CLASSES: dict[str, Any] = {
    thing.__name__: thing
    for thing in (*_RULES, ShuffledReferences)
    if issubclass(thing, _OBJECTS)
    and thing not in (rules.Rule, rules.KernelRule, rules.DifferenceRule)  # no rules by themselves
}
_MOST_ANALYZERS = 100
"""How many analyzers one may be made of: each is a program of its own."""


def save_analyzer(analyzer: Configured, path: str | os.PathLike | bytes) -> None:
    """See `Analyzer.save`."""
    encoder = _encoded(analyzer)
    with replacing(path) as file:
        encoder.write(file, Path(file.name).parent)


def load_analyzer(
    path: str | os.PathLike | bytes, custom_objects: dict[str, Any] | None = None
) -> Analyzer:
    """Load an analyzer that `Analyzer.save` has written.

    No code in the file is run, whatever Keras is told of safety elsewhere, and nothing outside of
    the file is read. It can make nothing but Keras's models, rules and analyzers: the library's,
    those that are registered with Keras, and what is handed over here. Functions that are
    registered are called where the file names them, as an activation, a reference or a condition.
    The checksums find damage, not forgery: who can write the file can choose the model and the
    method.

    Args:
        path: The file.
        custom_objects: Layers, functions and rules of your own that are not registered with
            `keras.saving.register_keras_serializable`, by name; and classes of other kinds.

    Returns:
        The analyzer as it was when newly created, and fitted if it was.

    Raises:
        FileNotFoundError: If there is no such file.
        FileRefusedError: A ValueError: if the file is damaged, holds something else, comes from a
            newer version of the format, asks for more memory than it has content, or needs a
            class, layer or function that is not known here.

    Example:
        >>> analyzer.save("analyzer.zip")
        >>> analyzer = innvestigate.load_analyzer("analyzer.zip")
    """
    if custom_objects is not None:
        custom_objects = check_keys("custom_objects", custom_objects)
    with unpacked(path, _KIND, _VERSION, _is_part) as parts:
        decoder = _Decoder(parts, read_arrays(parts[_ARRAYS]), custom_objects)
        analyzer = decoder.decode(json.loads(parts[_ANALYZER].read()))
        if not isinstance(analyzer, Configured):
            raise ValueError(f"it holds no analyzer, but an object of {type(analyzer)}")
    return cast("Analyzer", analyzer)


def fingerprint(analyzer: Configured, *further: Any) -> str:
    """A checksum of all that a file of the analyzer would hold, and of further values.

    Raises:
        TypeError: If something cannot be saved.
    """
    encoder = _Encoder()
    told = encoder.encode([analyzer, *further], "The analyzer")
    digest = hashlib.sha256(json.dumps(told).encode())
    weights = [w for model in encoder.models.values() for w in model.weights]
    for model in encoder.models.values():
        digest.update(model.to_json().encode())
    for array in (*encoder.arrays.values(), *map(keras.ops.convert_to_numpy, weights)):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def reduced(analyzer: Configured) -> tuple[Callable, tuple]:
    """What `pickle` and `copy.deepcopy` keep of an analyzer: its file, and the user's code in it.

    Its type is kept for its module, which a new process then imports before the file is read.

    Raises:
        TypeError: If an argument cannot be saved.
        ValueError: If Keras cannot save the model.
    """
    encoder, content = _encoded(analyzer), io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        encoder.write(content, Path(folder))
    return _restored, (type(analyzer), content.getvalue(), encoder.custom)


def _restored(_: type, content: bytes, custom_objects: dict[str, Any]) -> Analyzer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "analyzer"
        path.write_bytes(content)
        return load_analyzer(path, custom_objects)


def _encoded(analyzer: Configured) -> _Encoder:
    encoder = _Encoder()
    encoder.description = encoder.encode(analyzer, "The analyzer")
    return encoder


def _is_part(name: str) -> bool:
    return name in (_ANALYZER, _ARRAYS) or bool(_MODEL.fullmatch(name))


class _Encoder:
    """Turns values into JSON, and puts their arrays and models aside.

    Attributes:
        arrays: The arrays, by name.
        models: The models, by the name of their file.
        custom: Classes and functions of the user's own, by the name that they are registered by.
        description: The value.
    """

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self.models: dict[str, keras.Model] = {}
        self.custom: dict[str, Any] = {}
        self.description: Any = None

    def write(self, file: BinaryIO, folder: Path) -> None:
        """Write all of it.

        Args:
            file: Where the analyzer's file is written.
            folder: Where models may be put until they are in it.
        """

        def text(stream):
            stream.write(json.dumps(self.description, indent=1).encode())

        def arrays(stream):
            write_arrays(stream, self.arrays)

        models = {name: partial(_write_model, m, folder) for name, m in self.models.items()}
        pack(file, {_ANALYZER: text, _ARRAYS: arrays, **models}, _KIND, _VERSION)

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
            return {"is": "name", "name": self._name(value, value, place)}
        return self._object(value, place)

    def _array(self, value: Any, place: str) -> str:
        array = keras.ops.convert_to_numpy(value)
        if array.dtype.kind not in KINDS:
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
        cls = type(analyzer)
        is_own = _analyzers().get(cls.__name__) is cls
        name = cls.__name__ if is_own else self._name(cls, cls, place)
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
        name = self._name(type(value), value, place)
        try:
            config = value.get_config()
        except (AttributeError, NotImplementedError) as error:
            raise TypeError(
                f"{place} cannot be saved: {shown(value)}. Give its class a get_config() that "
                "returns its arguments by name."
            ) from error
        encoded = {key: self.encode(v, f"{place}.{key}") for key, v in config.items()}
        return {"is": "object", "class": name, "arguments": encoded}

    def _name(self, thing: Any, value: Any, place: str) -> str:
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
                f"{place} cannot be saved: {shown(value)} is code of your own, and files hold no "
                "code. Register the function or class with "
                "keras.saving.register_keras_serializable(), in a module that is imported before "
                "the analyzer is loaded: its name is kept then."
            )
        self.custom[name] = thing
        return name


class _Decoder:
    """Turns JSON back into values. Whatever is wrong with it is an error of some type.

    Args:
        parts: Where the models are.
        arrays: The arrays, by name.
        custom_objects: See `load_analyzer`.
    """

    def __init__(self, parts: dict, arrays: dict[str, np.ndarray], custom_objects: dict | None):
        self._parts, self._arrays, self._names = parts, arrays, Names(custom_objects)
        self._models: dict[str, keras.Model] = {}
        self._left = _MOST_ANALYZERS
        self._kinds: dict[str, Callable] = {
            "tuple": lambda value: tuple(self.decode(value["of"])),
            "dict": lambda value: dict(self.decode(value["of"])),
            "array": lambda value: arrays.pop(value["name"]),  # each is named once
            "name": lambda value: self._find(value["name"], _CLASSES, _OBJECTS),
            "object": self._object,
            "model": self._model,
            "analyzer": self._analyzer,
        }

    def decode(self, value: Any) -> Any:
        """The value of a piece of JSON."""
        if isinstance(value, list):
            return [self.decode(v) for v in value]
        if not isinstance(value, dict):
            return value
        if value.get("is") not in list(self._kinds):
            raise ValueError(f"it holds something that is not known here: {str(value)[:200]}")
        return self._kinds[value["is"]](value)

    def _model(self, value: dict) -> keras.Model:
        name = value["name"]
        if name not in self._models:
            if not _MODEL.fullmatch(name):
                raise ValueError(f"it takes {name[:100]!r} for a model")
            self._models[name] = load_model(self._parts[name], self._names.custom)
        return self._models[name]

    def _object(self, value: dict) -> Any:
        cls = self._find(value["class"], _CLASSES, _OBJECTS)
        return self._create(cls, value["arguments"])

    def _analyzer(self, value: dict) -> Configured:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it is made of more than {_MOST_ANALYZERS} analyzers")
        cls = self._find(value["class"], _analyzers(), (Configured,))
        analyzer = self._create(cls, value["arguments"])
        analyzer.set_state({key: self._arrays.pop(name) for key, name in value["state"].items()})
        return analyzer

    def _create(self, cls: Any, arguments: dict) -> Any:
        if not isinstance(cls, type):
            raise ValueError(f"it calls {cls!r}, which is not a class")
        return cls(**{key: self.decode(v) for key, v in arguments.items()})

    def _find(self, name: str, known: dict, bases: tuple[type, ...]) -> Any:
        found = known.get(name) or self._names.find(name, bases)
        if found is None:
            raise UnknownNameError(str(name)[:100])
        return found


def _analyzers() -> dict[str, type[Configured]]:
    """The library's own analyzers, by the name of their class."""
    found, open_classes = {}, [Configured]
    while open_classes:
        cls = open_classes.pop()
        open_classes += cls.__subclasses__()
        if cls.__module__.startswith("innvestigate.analyzer.") and not _is_abstract(cls):
            found[cls.__name__] = cls
    return found


def _is_abstract(cls: type) -> bool:
    """Whether a class leaves something to be stated by its subclasses."""
    return any(getattr(getattr(cls, n, None), "__isabstractmethod__", False) for n in dir(cls))


def _write_model(model: keras.Model, folder: Path, stream: BinaryIO) -> None:
    path = folder / "model.keras"
    save_model(model, path)
    with path.open("rb") as file:
        shutil.copyfileobj(file, stream)
    path.unlink()
