"""Methods and metrics as users write them: a name, or a name with arguments as in Python."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from typing import Any

from innvestigate.cli.catalogue import names
from innvestigate.utils.suggest import unknown

LONGEST = 10_000  # characters of a method; what is nested without end no parser can read
GIVEN = {
    "name": "it is what stands before the bracket.",
    "model": "it is the argument MODEL.",
    "neuron_selection_mode": "one neuron of each sample is explained, --neuron.",
}
"""Arguments that the command line gives itself."""


def parse_call(text: str) -> tuple[str, dict[str, Any]]:
    """A name and its arguments out of `name` or `name(argument=value, ...)`.

    Raises:
        ValueError: If the text has another form.
    """
    name, bracket, rest = text.partition("(")
    if not bracket:
        return text.strip(), {}
    try:
        if len(text) > LONGEST:
            raise ValueError
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
            raise ValueError
        arguments = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        arguments = {None: None}
    if None in arguments:
        raise ValueError(
            f"{shortened(text)} cannot be read. Expected: a name, or a name with arguments, such "
            "as 'lrp.epsilon(epsilon=0.1)'."
        )
    return name.strip(), {str(word): value for word, value in arguments.items()}


def check_methods(methods: Sequence[str]) -> None:
    """Whether there are such methods, which needs no Keras.

    Raises:
        KeyError: If there is no method of that name.
        ValueError: If one cannot be read, or has an argument that the command line gives itself.
    """
    for method in methods:
        name, arguments = parse_call(method)
        if name not in names():
            raise KeyError(unknown("analyzer", name, names()))
        for argument in GIVEN.keys() & arguments:
            raise ValueError(f"{argument} is no argument of {name} here: {GIVEN[argument]}")


def as_number(text: str) -> float | None:
    """A number, or None for other text.

    Raises:
        ValueError: If it is not finite.
    """
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number.")
    return number


def asks_for_layers(method: str) -> bool:
    """Whether a method's results are those at layers, by name, and not one at the input."""
    return parse_call(method)[1].get("layers") is not None


def shortened(text: str) -> str:
    """What the user has written, in quotation marks, and cut."""
    return repr(cut(text))


def cut(text: str) -> str:
    """A text, cut where it is too long for a message."""
    return text if len(text) <= 200 else f"{text[:100]} ... {text[-40:]}"
