"""Rules and kinds that users give to layer types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from innvestigate.graph.linear import Linear
from innvestigate.graph.operations import Kind
from innvestigate.graph.registered import register_kind
from innvestigate.graph.step import Step
from innvestigate.rules.base import Rule
from innvestigate.rules.composite import Line
from innvestigate.utils.words import shown

KINDS = {
    "linear": Kind.SUM,
    "activation": Kind.ACTIVATION,
    "product": Kind.PRODUCT,
    "shape": Kind.SHAPE,
    "pass": Kind.PASS,
}

_RULES: dict[bool, dict[type, Rule]] = {False: {}, True: {}}  # by `Rule.compares`


def register_rule(layer_type: Any, rule: Any = None) -> Any:
    """Tell all methods how relevance passes layers of a type, which are then not looked into.

    `innvestigate.register_rule(MyLayer, "linear")`, or above the class
    `@innvestigate.register_rule("linear")`. What is registered holds for types derived from it,
    too, and for analyzers created from now on. Registering anew replaces it. A functional model
    inside another one is what it is made of, whatever its type.

    Args:
        layer_type: The type: a subclass of `keras.Layer`, or of `keras.Operation`. Left out where
            it decorates the class.
        rule: A kind, a `Rule` or its class. A kind is a word for what the layer computes:

            - `"linear"`: y = J x + b. R_x = x ⊙ Jᵀ (R / y), and b absorbs its share.
            - `"activation"`: each number of one tensor for itself. R_x = R.
            - `"product"`: linear in each of its n tensors. R_x = x ⊙ Jᵀ (R / n y).
            - `"shape"`: moves, picks or repeats numbers. R_x = Jᵀ R.
            - `"pass"`: changes its first tensor in its place. R_x = R, and nothing for the others.

            DeepLIFT has a rule for each that keeps the sum of contributions. A `Rule` applies in
            LRP, a `DifferenceRule` in DeepLIFT; a type may have one of each. Rules of a `rule=`
            list come before it.

    Returns:
        The type, or a decorator that returns it.

    Raises:
        TypeError: If `layer_type` is no type of layers, or `rule` is no rule.
        ValueError: If there is no such kind, or the rule is made for another kind of steps.
    """
    if rule is None:
        given = _checked(layer_type)
        return lambda decorated: _register(_as_type(decorated), given)
    return _register(_as_type(layer_type), _checked(rule))


def registered_lines(compares: bool) -> list[Line]:
    """The lines of registered rules, for methods that compare with a reference or do not."""
    rules = _RULES[compares]

    def condition(cls: type) -> Callable[[Step], bool]:
        whole = rules[cls].kinds is None

        def is_registered(step: Step) -> bool:
            layers = [_owner(step), *(() if whole else step.layers[::-1])]
            types = (base for layer in layers for base in type(layer).__mro__)
            return next((base for base in types if base in rules), None) is cls

        return is_registered

    return [Line(r, condition(cls), f"registered for {cls.__name__}") for cls, r in rules.items()]


def in_order(rule: Any, given: list[Line], registered: list[Line]) -> list[Line]:
    """The lines of a method's rule and the registered ones: behind those of a list, else before."""
    return [*given, *registered] if isinstance(rule, (list, tuple)) else [*registered, *given]


def stays_whole(lines: list[Line]) -> Callable[[Step], bool]:
    """Whether one of these lines wants a step as a whole, not in its parts."""
    return lambda step: any(line.rule.kinds is None and line.matches(step) for line in lines)


def _register(layer_type: type, rule: Kind | Rule) -> type:
    if isinstance(rule, Kind):
        register_kind(layer_type, rule)
    else:
        _RULES[rule.compares][layer_type] = rule
    return layer_type


def _checked(rule: Any) -> Kind | Rule:
    if isinstance(rule, type) and issubclass(rule, Rule):
        rule = rule()
    if isinstance(rule, str) and rule in KINDS:
        return KINDS[rule]
    if isinstance(rule, Rule):
        if rule.kinds is None or Kind.LINEAR in rule.kinds:
            return rule
        kinds = ", ".join(kind.value for kind in rule.kinds)
        raise ValueError(
            f"{rule!r} is made for steps of the kind '{kinds}'. Register the kind instead, one of: "
            f"{', '.join(map(repr, KINDS))}."
        )
    expected = f"one of the kinds {', '.join(map(repr, KINDS))}, or an innvestigate.rules.Rule"
    error = ValueError if isinstance(rule, str) else TypeError
    raise error(f"register_rule takes {expected}. Received: {shown(rule)}.")


def _as_type(layer_type: Any) -> type:
    if isinstance(layer_type, type) and issubclass(layer_type, keras.Operation):
        return layer_type
    raise TypeError(
        "register_rule takes a type of layers, a subclass of keras.Layer: register_rule(MyLayer, "
        f"'linear'). Received: {shown(layer_type)}. For a single layer: "
        "create_analyzer('lrp', model, rule=[(lambda layer: layer.name == ..., MyRule()), "
        "(lambda layer: True, 'Epsilon')])."
    )


def _owner(step: Step) -> Any:
    """The layer or operation that a step runs."""
    return step.operation.layer if isinstance(step.operation, Linear) else step.operation
