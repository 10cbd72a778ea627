"""What a file may name: classes that are constructed, functions that are called, in no other way.

A file from outside is taken for hostile. Keras's safe mode refuses Python's own code in a file, if
no switch turns that off, but constructs every class that is registered, and reads files that a
configuration names. So everything in a file that Keras could take for a name is looked up here
first, in all ways in which Keras might, and what is neither a part of models nor handed over by
the user is refused.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import dtype_policies, quantizers

_PARTS = (
    *(keras.Layer, keras.Operation, keras.KerasTensor, keras.Initializer, keras.Regularizer),
    *(keras.constraints.Constraint, keras.DTypePolicy, dtype_policies.DTypePolicyMap),
    *(keras.random.SeedGenerator, quantizers.Quantizer, quantizers.QuantizationConfig),
)
"""What a model is made of."""
_OUTSIDE = ("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
"""Layers of Keras that run what is no Keras."""
_VALUES = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__slice__", "__ellipsis__")
_OLDER_VALUES = ("TensorShape", "__tuple__")
_HOMES = (
    *("keras.layers", "keras.models", "keras.src.models.functional"),
    *("keras.initializers", "keras.regularizers", "keras.constraints"),
)
_FUNCTIONS = ("keras.activations", "keras.ops", "keras.initializers", "keras.regularizers")
_PATHS = ("vocabulary", "merges", "proto", "filepath")
"""Arguments that are read as files where they are strings."""
_MOST = {"ngrams": 100, "num_oov_indices": 1_000_000}
"""Arguments of which a layer keeps a list as long as they are large."""
_LONGEST = 400


class UnknownNameError(ValueError):
    """A file needs a class or function that is not known here."""

    def __init__(self, name: str):
        super().__init__(
            f"it needs {name!r}, which is not known here. Import the module that registers it with "
            f"keras.saving.register_keras_serializable, or pass custom_objects={{{name!r}: ...}}"
        )


class Names:
    """Finds what a file names, among what is registered with Keras and what the user hands over.

    Args:
        custom_objects: What the user hands over, by name: it may be constructed and called.
    """

    def __init__(self, custom_objects: dict[str, Any] | None = None):
        self.custom = custom_objects or {}

    def find(self, name: Any, bases: tuple[type, ...]) -> Any:
        """What is called so; None if nothing is.

        Args:
            name: The name; anything but text names nothing.
            bases: Of which classes a class has to be, if the user does not hand it over.

        Raises:
            ValueError: If it is another class, or neither class nor function.
        """
        if not isinstance(name, str):
            return None
        found = keras.saving.get_registered_object(name, self.custom)
        registered = keras.saving.get_custom_objects().get(name)
        handed_over = found is self.custom.get(name) or found is not registered
        if found is None or handed_over or _is_allowed(found, bases):
            return found
        raise ValueError(
            f"it names {name!r}, which is registered, but no rule, layer or analyzer: only those "
            f"are constructed. Pass custom_objects={{{name!r}: ...}} if you trust the file with it"
        )

    def check_config(self, config: Any, older: bool = False) -> None:
        """Whether Keras may construct what a configuration describes.

        Args:
            config: The configuration.
            older: Whether it is one of the time when classes did not say their module.

        Raises:
            ValueError: If anything in it is no part of a model, code, or a file elsewhere.
        """
        check_portable(config)
        for _, value in _walk(config):
            if isinstance(value, str):
                self.find(value, _PARTS)
            elif isinstance(value, dict) and "class_name" in value:
                self._check_node(value, older)

    def _check_node(self, node: dict, older: bool) -> None:
        name, registered = node["class_name"], node.get("registered_name")
        if name in _VALUES or (older and name in _OLDER_VALUES):
            return
        if not ("module" in node or older) or not isinstance(name, str):
            raise ValueError(f"the class {str(name)[:100]!r} in it does not say what it is")
        named = [name, registered]
        if name == "function":
            named = [node.get("config"), registered, *self._of_any_package(node.get("config"))]
        found = [self.find(each, _PARTS) for each in named]
        found.append(_of_keras(node["module"], named[0]) if "module" in node else _of_any(name))
        if all(each is None for each in found):
            raise UnknownNameError(str(registered or named[0])[:100])

    def _of_any_package(self, name: Any) -> list[str]:
        """Registered names that end in a name: Keras takes them for it."""
        known = {**keras.saving.get_custom_objects(), **self.custom}
        return [each for each in known if each.endswith(f">{name}")]


def _walk(config: Any) -> Iterator[tuple[Any, Any]]:
    """Everything in a configuration, with the key under which it stands."""
    waiting = [(None, config)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(None, each) for each in value]


def check_portable(config: Any) -> None:
    """Whether a configuration speaks of a model, not of code, files elsewhere or endless lists.

    Raises:
        ValueError: If it does not.
    """
    for place, value in _walk(config):
        if place in _PATHS and isinstance(value, str):
            raise ValueError(f"it reads another file: {place}={value[:100]!r}")
        if place in _MOST and isinstance(value, (int, float)) and value > _MOST[place]:
            raise ValueError(f"{place}={value} is more than {_MOST[place]}")
        if isinstance(value, dict):
            _check_kind(value)


def _check_kind(value: dict) -> None:
    name, config = value.get("class_name"), value.get("config")
    if name == "__lambda__":
        raise ValueError("it has a layer that holds a Python lambda, and files hold no code")
    if name in _OUTSIDE or name == "__typespec__":
        raise ValueError(f"{name} in it is not loaded from files")
    if name == "Lambda" and not isinstance(dict(config or {}).get("function"), dict):
        raise ValueError("a Lambda in it names no function")
    if name == "Sequential" and len(dict(config or {}).get("layers", ())) > _LONGEST:
        raise ValueError(
            f"a Sequential in it has more than {_LONGEST} layers, and Keras builds all of them "
            "anew for each: a functional model may have as many as you like"
        )
    if name == "__numpy__" and np.dtype(dict(config or {}).get("dtype")).itemsize > 16:
        raise ValueError("it holds an array of something else than numbers")


def _is_allowed(found: Any, bases: tuple[type, ...]) -> bool:
    if isinstance(found, type):
        return issubclass(found, bases) and found.__name__ not in _OUTSIDE
    return isinstance(found, types.FunctionType)


def _of_any(name: str) -> Any:
    """What Keras calls so, where a file does not say in which module."""
    homes = [vars(sys.modules[home]) for home in _HOMES]
    found = next((home[name] for home in homes if name in home), None)
    return found if _is_allowed(found, _PARTS) else None


def _of_keras(module: Any, name: Any) -> Any:
    """What Keras or KerasHub call so: a part of models, or one of the functions that these use.

    Nothing is imported for it but KerasHub as a whole.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(module, str) or not isinstance(name, str):
        return None
    if module == "builtins":  # functions that are known without their module
        homes = [sys.modules[home] for home in _FUNCTIONS]
        return next((vars(home)[name] for home in homes if name in vars(home)), None)
    root = module.split(".")[0]
    if root not in ("keras", "keras_hub"):
        return None
    if root == "keras_hub":
        importlib.import_module(root)
    home = sys.modules.get(module)
    found = None if home is None else vars(home).get(name)
    if isinstance(found, type) and _is_allowed(found, _PARTS):
        return found
    if isinstance(found, types.FunctionType) and module in _FUNCTIONS:
        return found
    raise ValueError(f"{module}.{name} is no part of models: it is not loaded from files"[:300])
