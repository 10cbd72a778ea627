"""What an analyzer was created with."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any


class Configured:
    """Base of classes whose objects know the arguments that they were created with."""

    def __new__(cls, *args, **kwargs):
        created = super().__new__(cls)
        created._created_with = _kept(args), _kept(kwargs)
        return created

    def get_config(self) -> dict[str, Any]:
        """The arguments that the object was created with, by name, the defaults included."""
        args, kwargs = self._created_with
        signature = inspect.signature(type(self).__init__)
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        found = {}
        for name, value in list(bound.arguments.items())[1:]:
            further = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            found.update(value if further else {name: value})
        return found


def _kept(value: Any) -> Any:
    """The value with its lists and dicts copied: what the user adds later is no argument."""
    if type(value) in (list, tuple):
        return type(value)(map(_kept, value))
    return {k: _kept(v) for k, v in value.items()} if type(value) is dict else value


def argument_names(cls: type | partial) -> list[str]:
    """The names of the arguments that a class takes besides the first, its own first.

    What `**kwargs` takes are the arguments of the next class in line, or of `cls.kwargs_of`, but
    for those that the class itself gives to it: `cls.settled`.
    """
    cls = getattr(cls, "func", cls)
    owner, *rest = (base for base in cls.__mro__ if "__init__" in vars(base))
    _, _, *parameters = inspect.signature(owner.__init__).parameters.values()
    names = [p.name for p in parameters if p.kind is not inspect.Parameter.VAR_KEYWORD]
    if len(names) < len(parameters):
        further = argument_names(vars(owner).get("kwargs_of", rest[0]))
        names += [name for name in further if name not in vars(owner).get("settled", ())]
    return list(dict.fromkeys(names))
