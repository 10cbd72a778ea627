"""What an analyzer was created with, and the order in which it is made."""

from __future__ import annotations

import inspect
import reprlib
from typing import Any

import keras
import numpy as np


class Made(type):
    """Of classes whose objects are completed by `build`, once all of `__init__` is done.

    A subclass may therefore set what its hooks need before or after `super().__init__`.
    """

    def __call__(cls, *args, **kwargs):
        made = super().__call__(*args, **kwargs)
        made.created_with = _kept(args), _kept(kwargs)
        made.build()
        return made

    @property
    def __signature__(cls) -> inspect.Signature:
        _, *parameters = _signature(cls).parameters.values()
        return inspect.Signature(parameters)


class Configured(metaclass=Made):
    """Base of classes whose objects know the arguments that they were created with."""

    created_with: tuple
    fitted_for: tuple[str, ...] = ()

    def build(self) -> None:
        """Complete the object: called when `__init__` is done."""

    def get_config(self) -> dict[str, Any]:
        """The arguments that the object was created with, by name, the defaults included."""
        args, kwargs = self.created_with
        signature = _signature(type(self))
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        found: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            further = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            found.update(value if further else {name: value})
        return found

    def __repr__(self) -> str:
        given = [
            f"{name}={_shown(value)}"
            for name, value in self.get_config().items()
            if not _is_default(type(self), name, value)
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def rebuilt(self, model: Any = None, **changes) -> Any:
        """A new object of the same class and arguments, but for those that are given.

        Args:
            model: Another model to explain; what was fitted is left behind then.
            **changes: Arguments that differ, such as `neuron_selection_mode="index"`. Those
                that a wrapper does not have itself are those of the object inside.

        Returns:
            The object; this one stays as it is.

        Raises:
            TypeError: If an argument is unknown.
            ValueError: If the model or an argument does not fit.
        """
        config = self.get_config()
        if "model" in config:
            config |= changes if model is None else {**changes, "model": model}
        else:
            own = {name: value for name, value in changes.items() if _is_own(name, config)}
            inner = {name: value for name, value in changes.items() if name not in own}
            config = own | {
                name: value.rebuilt(model, **inner) if isinstance(value, Configured) else value
                for name, value in config.items()
                if name not in own
            }
        found = type(self)(**config)
        if model is None and changes.keys().isdisjoint(self.fitted_for):
            found.set_state(self.state())
        return found

    def state(self) -> dict[str, Any]:
        """What was learned since, as flat arrays by name."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""


def _signature(cls: Any) -> inspect.Signature:
    """The signature of a class's `__init__`, `self` included."""
    return inspect.signature(cls.__init__)


def _is_default(cls: type, name: str, value: Any) -> bool:
    """Whether an argument has the value that it has anyway, by a class or what it is made of."""
    parameters = (_signature(base).parameters.get(name) for base in cls.__mro__)
    default = next((p.default for p in parameters if p is not None), inspect.Parameter.empty)
    return type(value) is type(default) and bool(np.all(value == default))


def _shown(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, keras.Model):
        return f"<{type(value).__name__} {value.name!r}>"
    if hasattr(value, "shape"):
        return f"<array {tuple(value.shape)}>"
    return repr(value) if isinstance(value, Configured) else reprlib.repr(value)


def _kept(value: Any) -> Any:
    """The value with its lists and dicts copied: what the user adds later is no argument."""
    if type(value) in (list, tuple):
        return type(value)(map(_kept, value))
    return {k: _kept(v) for k, v in value.items()} if type(value) is dict else value


def argument_names(create: Any) -> list[str]:
    """The names of the arguments that a class or function takes besides the first, its own first.

    What `**kwargs` takes are the arguments of the next class in line, or of `create.kwargs_of`,
    but for those that it gives to it itself: `create.settled`.
    """
    create = getattr(create, "func", create)
    if isinstance(create, type):
        owner, *rest = (base for base in create.__mro__ if "__init__" in vars(base))
        _, _, *parameters = _signature(owner).parameters.values()
    else:
        owner, rest = create, []
        _, *parameters = inspect.signature(create).parameters.values()
    names = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(names) < len(parameters):
        further = argument_names(vars(owner).get("kwargs_of") or rest[0])
        names += [name for name in further if name not in vars(owner).get("settled", ())]
    return list(dict.fromkeys(names))


def _is_own(name: str, config: dict) -> bool:
    """Whether a wrapper has an argument itself; a selection not given is the inner one's."""
    return name in config and (name != "neuron_selection_mode" or config[name] is not None)
