"""Composites: ordered lists of (condition, rule), of which the first match wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from innvestigate.graph.operations import Kind, kind_of
from innvestigate.graph.step import Step
from innvestigate.rules import linear
from innvestigate.rules.attention import Attention, Softmax
from innvestigate.rules.base import Gradient, Pass, Rule, fields_of
from innvestigate.rules.structure import Detached, Lookup, Product, Summands
from innvestigate.utils.arguments import check_keys, check_kind, check_text, settle
from innvestigate.utils.words import shown

RULES: dict[str, Callable[[], Rule]] = {
    "Z": linear.Z,
    "ZIgnoreBias": lambda: linear.Z(bias=False),
    "Epsilon": linear.Epsilon,
    "EpsilonIgnoreBias": lambda: linear.Epsilon(bias=False),
    "WSquare": linear.WSquare,
    "Flat": linear.Flat,
    "AlphaBeta": lambda: linear.AlphaBeta(2, 1),
    "AlphaBetaIgnoreBias": lambda: linear.AlphaBeta(2, 1, bias=False),
    "Alpha2Beta1": lambda: linear.AlphaBeta(2, 1),
    "Alpha2Beta1IgnoreBias": lambda: linear.AlphaBeta(2, 1, bias=False),
    "Alpha1Beta0": lambda: linear.AlphaBeta(1, 0),
    "Alpha1Beta0IgnoreBias": lambda: linear.AlphaBeta(1, 0, bias=False),
    "ZPlus": linear.ZPlus,
    "ZPlusFast": linear.ZPlusFast,
    "Gamma": linear.Gamma,
    "ZBox": linear.ZBox,
}


@dataclass(frozen=True)
class Line:
    """One line of a composite.

    Attributes:
        rule: The rule that steps get.
        condition: Which steps it is for.
        why: The condition in words, for `plan()`.
    """

    rule: Rule
    condition: Callable[[Step], bool]
    why: str

    def __post_init__(self):
        check_kind("rule", self.rule, Rule, "an innvestigate.rules.Rule")
        if not is_condition(self.condition):
            raise TypeError(
                f"condition must be a function of a step. Received: {shown(self.condition)}."
            )
        check_text("why", self.why)

    get_config = fields_of

    def matches(self, step: Step) -> bool:
        """Whether the line's rule is made for the step and its condition holds."""
        return self.rule.fits(kind_of(step)) and bool(self.condition(step))


def is_condition(value: Any) -> bool:
    """Whether a value may be asked about steps or layers: a function, and no layer itself."""
    return callable(value) and not isinstance(value, keras.Operation)


class NoRuleError(ValueError):
    """A method has no rule for a layer of the model."""


@dataclass(frozen=True)
class Composite:
    """An ordered list of lines, of which the first that matches a step gives its rule.

    Attributes:
        lines: The lines.
        advice: How a user gives a rule to a layer, `{layer}` standing for its name in quotes.
    """

    lines: tuple[Line, ...]
    advice: str = (
        "create_analyzer('lrp', model, rule=[(lambda layer: layer.name == {layer}, MyRule()), "
        "(lambda layer: True, 'Epsilon')]), where MyRule is a subclass of "
        "innvestigate.rules.Rule; innvestigate.rules.Gradient() passes the plain gradient."
    )

    def __post_init__(self):
        lines = self.lines
        if not isinstance(lines, (list, tuple)) or not all(isinstance(x, Line) for x in lines):
            raise TypeError(
                f"lines must be a list of innvestigate.rules.Line. Received: {shown(lines)}."
            )
        settle(self, lines=tuple(lines), advice=check_text("advice", self.advice))

    get_config = fields_of

    def choose(self, step: Step) -> Line:
        """The line for a step.

        Raises:
            NoRuleError: If no line matches; names the layer and shows the fix.
        """
        self.check([step])
        return next(line for line in self.lines if line.matches(step))

    def check(self, steps: Iterable[Step]) -> None:
        """Ask that there is a line for each of some steps.

        Raises:
            NoRuleError: If not; names all layers that have none, says why and shows the fix.
        """
        refused = [step for step in steps if not any(line.matches(step) for line in self.lines)]
        if refused:
            raise NoRuleError(_no_rule(refused, self.advice))


def of_kind(kind: Kind, rule: Rule) -> Line:
    """A line for all steps of one kind."""
    return Line(rule, lambda step: kind_of(step) is kind, f"every {kind.value} step")


def structure(method, constant_weights: bool = False) -> tuple[Line, ...]:
    """The lines that every relevance method ends with: steps without a kernel.

    Args:
        method: What the method makes of `(vector, signal)` at a token's vector.
        constant_weights: Whether a softmax's output gets nothing where it is a factor.
    """
    return (
        of_kind(Kind.SUM, Summands()),
        of_kind(Kind.NORMALIZATION, Detached()),
        of_kind(Kind.PRODUCT, Product(constant_weights)),
        of_kind(Kind.ATTENTION, Attention(constant_weights)),
        of_kind(Kind.WINNER, Gradient()),
        of_kind(Kind.ACTIVATION, Pass()),
        of_kind(Kind.SOFTMAX, Softmax()),
        of_kind(Kind.UNITS, Pass()),
        of_kind(Kind.PASS, Pass()),
        of_kind(Kind.SHAPE, Gradient()),
        of_kind(Kind.LOOKUP, Lookup(method)),
    )


def as_rule(
    rule, names: Mapping[str, Callable[[], Rule]] = RULES, *, argument: str = "rule"
) -> Rule:
    """A rule from its name, its class or itself.

    Args:
        rule: The rule in any of these forms.
        names: The rules that have a name.
        argument: The argument that it was given as, for messages.

    Raises:
        ValueError: If there is no rule of that name.
        TypeError: If it is none of these.
    """
    if isinstance(rule, Rule):
        return rule
    if isinstance(rule, type) and issubclass(rule, Rule):
        return rule()
    names = check_keys("names", names)
    if isinstance(rule, str):
        if rule not in names:
            raise ValueError(
                f"{argument}: there is no rule called {shown(rule)}. Expected one of: "
                f"{', '.join(names)}."
            )
        return names[rule]()
    raise TypeError(
        f"{argument} is not a rule. Expected a rule: a name, an instance or a class of "
        f"innvestigate.rules.Rule. Received: {shown(rule)} (of type {type(rule).__name__})."
    )


def _no_rule(steps: list[Step], advice: str) -> str:
    names: dict[str, list[str]] = {}
    for step in steps:
        names.setdefault(_why_not(step), []).append(f"{step.name!r} ({_described(step)})")
    told = "; ".join(f"{', '.join(those)}: {why}" for why, those in names.items())
    layer = steps[0].layer
    shown = advice.format(layer=repr(getattr(layer, "name", steps[0].name)))
    return (
        f"This method has no rule for the step{'s' * (len(steps) > 1)} {told}. Give each a rule: "
        f"{shown}{_registering(steps)} Gradient methods need no rule."
    )


def _described(step: Step) -> str:
    return f"{type(step.layer).__name__} {getattr(step.layer, 'name', '')!r}"


def _registering(steps: list[Step]) -> str:
    """The line that gives all layers of a type a rule, where types are of the user's own."""
    own = [type(step.operation) for step in steps if kind_of(step) is Kind.OPAQUE]
    types = dict.fromkeys(cls.__name__ for cls in own if not cls.__module__.startswith("keras."))
    if not types:
        return ""
    lines = "; ".join(f"innvestigate.register_rule({name}, 'linear')" for name in types)
    return f" For all layers of a type: {lines}, or another kind, or a rule."


def _why_not(step: Step) -> str:
    kind = kind_of(step)
    if kind is Kind.RECURRENT:
        return "its cell is not made of Keras operations alone, so its inside is not visible"
    if kind is not Kind.OPAQUE:
        return f"no line of the rule list matches it (it is a step of the kind '{kind.value}')"
    if type(step.operation).__module__.startswith("keras."):
        told = f" ({step.closed})" if step.closed else ""
        return f"Keras runs it in one piece, so its inside is not visible{told}"
    return f"its inside is not visible, as {step.closed or 'it is not made of Keras operations'}"
