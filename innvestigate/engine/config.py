"""What an analyzer was created with, and the order in which it is made."""

from __future__ import annotations

import inspect
from typing import Any


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

    def state(self) -> dict[str, Any]:
        """What was learned since, as flat arrays by name."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""


def _signature(cls: Any) -> inspect.Signature:
    """The signature of a class's `__init__`, `self` included."""
    return inspect.signature(cls.__init__)


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
