"""DeepLIFT: contributions of differences from a reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from keras import ops

from innvestigate.analyzer.comparisons import check_comparisons
from innvestigate.analyzer.completeness import keeps_sum, warn_if_lost
from innvestigate.analyzer.lrp import check_rule_list, in_convolution
from innvestigate.engine.batch import Batch, expand, fold
from innvestigate.engine.mirror import MirrorAnalyzer
from innvestigate.engine.one_hot import check_may_be_one_hot, check_one_hot
from innvestigate.engine.references import References
from innvestigate.graph.difference import Change, build_difference_mirror
from innvestigate.graph.final import Final
from innvestigate.graph.formulas import take_apart
from innvestigate.graph.linear import Linear
from innvestigate.graph.operations import (
    Kind,
    Trait,
    activation_name,
    has,
    is_softmax,
    kind_of,
)
from innvestigate.graph.recurrent import deep_writers
from innvestigate.graph.rewrite import fuse_bias, may_open, open_layers, split
from innvestigate.graph.step import Graph, Step, is_float
from innvestigate.graph.task import Task, check_inputs_only
from innvestigate.rules import Composite, Gradient, Line, Rule, as_rule
from innvestigate.rules.composite import of_kind
from innvestigate.rules.deeplift import LinearDifference, Rescale, RevealCancel
from innvestigate.rules.deeplift_structure import (
    Affine,
    AtInput,
    LookupDifference,
    MeanGradient,
    Normalized,
    Quotient,
    Softmax,
    Winner,
)
from innvestigate.rules.registry import in_order, registered_lines, stays_whole
from innvestigate.utils.arguments import check_choice, check_flags

RULES = {"rescale": Rescale, "reveal_cancel": RevealCancel}
GENOMICS = "genomics_default"
HYPOTHETICAL = "hypothetical=True"
MAX_POOLING = {"rescale": Winner(), "winner": AtInput(Gradient())}
ADVICE = (
    "create_analyzer('deeplift', model, rule=[(lambda layer: layer.name == {layer}, MyRule()), "
    "(lambda layer: True, 'rescale')]), where MyRule is a subclass of "
    "innvestigate.rules.DifferenceRule; innvestigate.rules.MeanGradient(32) takes the gradient's "
    "mean between reference and input, which suits smooth layers."
)

DifferenceRuleLike = str | Rule | type[Rule]
DifferenceRuleList = list[tuple[Callable[[Any], bool], DifferenceRuleLike]]


class DeepLIFT(MirrorAnalyzer):
    """DeepLIFT: contributions of the input's difference from a reference, C = m ⊙ (x - x₀).

    Contributions add up to the difference of the output from its value at the reference, whatever
    the rule and the reference: Σ C = y(x) - y(x₀). The multipliers m are sent back layer by layer:

    - linear steps: m_x = Wᵀ m; where a nonlinearity behind asks for it, positive and negative
      contributions apart (`rules.LinearDifference`);
    - elementwise activations: the rule, Rescale or RevealCancel;
    - softmax inside the network: `rules.Softmax`; normalisation by the sample's own statistics:
      `rules.Normalized`; quotients: `rules.Quotient`; other products of tensors:
      `rules.MeanGradient`, half to each factor's change;
    - maxima and minima: `rules.Winner`;
    - recurrent layers: the rules of their cell's steps, from the last point in time to the first.

    A token gets one value, the sum over its vector; its reference is a token, too. Masks are those
    of the sample: a reference is looked at in the places that the sample has.

    Args:
        model: See `Analyzer`.
        rule: The rule of activations: `"rescale"`; `"reveal_cancel"`; `"genomics_default"`, which
            is RevealCancel behind dense layers and Rescale behind convolutions and everything
            else, looking through BatchNormalization and dropout; a `rules.DifferenceRule`; or a
            list of `(condition on the layer, rule)`, first match wins.
        reference_inputs: What samples are compared with (see `References`): a number, an array,
            one for each sample, n for each sample, which are averaged, or a function.
        return_multipliers: Whether multipliers are returned in place of contributions, at tokens
            summed over the vector. Where a tensor has one for its positive and one for its
            negative part, their mean, weighted by the sizes of the parts.
        hypothetical: Whether hypothetical contributions of one-hot inputs are returned: at each
            place, what each letter would contribute if it stood there, Σ_k (e_ck - x₀_k) m_k.
        max_pooling: `"rescale"` keeps the sum of contributions for any reference; `"winner"` is
            the original's gradient at the input.
        mean_normalize: Whether the contributions' mean over the classes of a final softmax is
            subtracted: explains the logit minus the mean of all logits.
        **kwargs: See `Analyzer`.

    Raises:
        NoRuleError: If there is no rule for a layer; names it and shows how to give it one.
        TypeError: If `rule` holds something else than rules for differences, or references are of
            no known form.
        ValueError: If there is no rule of a given name, or arguments do not fit together or the
            model.

    Reference: Shrikumar, Greenside & Kundaje 2017, "Learning Important Features Through
    Propagating Activation Differences".
    """

    build_model = staticmethod(build_difference_mirror)
    sends_one_signal = False

    def __init__(
        self,
        model,
        rule: DifferenceRuleLike | DifferenceRuleList = "rescale",
        *,
        reference_inputs: Any = 0,
        return_multipliers: bool = False,
        hypothetical: bool = False,
        max_pooling: str = "rescale",
        mean_normalize: bool = False,
        **kwargs,
    ):
        check_flags(return_multipliers=return_multipliers, hypothetical=hypothetical)
        check_flags(mean_normalize=mean_normalize)
        if hypothetical and return_multipliers:
            raise ValueError(
                "hypothetical=True and return_multipliers=True ask for two different results. "
                "Choose one of them."
            )
        self._given, self._registered = _checked(rule), registered_lines(compares=True)
        self._rule = rule
        self._max_pooling = MAX_POOLING[check_choice("max_pooling", max_pooling, MAX_POOLING)]
        self._mean_normalize = mean_normalize
        self._hypothetical, self._return_multipliers = hypothetical, return_multipliers
        self.adds_up_to = None if hypothetical or return_multipliers else "change"
        super().__init__(model, **kwargs)
        self.references = References(reference_inputs, self.input_spec)

    @cached_property
    def _adds_up(self) -> bool:
        """Whether the results at the inputs add up to the change of the output."""
        return bool(self.adds_up_to) and keeps_sum(self.task, self.composite(self.task))

    def check_count(self, count: int | None) -> None:
        self.references.check_count(count)

    def explain(self, batch: Batch, task: Task | None = None) -> dict[str, np.ndarray]:
        if self._hypothetical:
            advice = " Leave `hypothetical` out."
            check_one_hot(HYPOTHETICAL, self.input_spec, batch, advice)
        references = self.references.of(batch)
        count = references[0].shape[1]
        total: dict[str, Any] = {}
        for variants, piece in expand(batch, count):
            chosen = [np.concatenate(list(r[:, variants].swapaxes(0, 1))) for r in references]
            compared = replace(piece, inputs=[*piece.inputs, *chosen])
            found = super().explain(compared, task)
            if self._adds_up and not batch.shares:
                warn_if_lost(piece.samples, found, self.guard.rounding)
            for name, y in found.items():
                summed = fold(y, len(variants)).sum(axis=0, dtype="float64")
                total[name] = total.get(name, 0.0) + summed
        return {name: (y / count).astype(found[name].dtype) for name, y in total.items()}

    def rewrite(self, graph: Graph) -> Graph:
        self._class_axis = _class_axis(self.final)
        if self._mean_normalize and self._class_axis is None:
            raise ValueError(
                "mean_normalize=True subtracts the mean over the classes of a final softmax. "
                "Received: a model whose output does not end in a softmax, or "
                "keep_output_activation=True, which explains the probability."
            )
        given = self._given_lines({})

        def is_hidden(step: Step) -> bool:
            return may_open(step) and not any(line.matches(step) for line in given)

        whole = stays_whole(self._registered)
        opened = open_layers(graph, is_hidden)
        return take_apart(fuse_bias(split(opened, lambda step: not whole(step))))

    def composite(self, task: Task) -> Composite:
        lines = (
            *self._given_lines(deep_writers(task.graph)),
            Line(Softmax(), _is_softmax, "every softmax and log-softmax"),
            Line(Affine(), _is_diagonal, "every diagonal kernel"),
            of_kind(Kind.LINEAR, LinearDifference()),
            Line(Affine(), _is_affine, "every step that adds, moves or scales numbers"),
            of_kind(Kind.PASS, Rescale()),
            Line(Quotient(), _is_quotient, "every product of a tensor and an inverse"),
            of_kind(Kind.PRODUCT, MeanGradient()),
            of_kind(Kind.NORMALIZATION, Normalized()),
            Line(self._max_pooling, _is_extremum, "every maximum and minimum"),
            of_kind(Kind.LOOKUP, LookupDifference(self.finish)),
        )
        return Composite(lines, ADVICE)

    def check_model(self, task: Task) -> None:
        if self._hypothetical:
            self._check_letters()
        check_comparisons(task)

    def start(self, weights, output):
        if self._mean_normalize:
            weights = weights - ops.mean(weights, axis=self._class_axis, keepdims=True)
        return weights

    def value(self, weights, output, reference):  # type: ignore[override]  # compares with another
        return self.start(weights, output) * (output - reference)

    def finish(self, value, signal):
        if self._hypothetical:
            return _hypothetical_contribution(value, signal)
        return (_multiplier if self._return_multipliers else _contribution)(value, signal)

    def _given_lines(self, writers: dict) -> list[Line]:
        """The lines of the rules that the user chose, `writers` being those of the graph."""
        given = [line for given in self._given for line in self._lines(given, writers)]
        return in_order(self._rule, given, self._registered)

    def _lines(self, given: tuple, writers: dict) -> list[Line]:
        condition, rule, why = given

        def on_layer(step: Step) -> bool:
            return condition(step.layer)

        def elementwise(step: Step) -> bool:
            return is_elementwise(step) and condition(step.layer)

        if rule != GENOMICS:
            applies = elementwise if isinstance(rule, (Rescale, RevealCancel)) else on_layer
            return [Line(rule, applies, why)]

        def behind_dense(step: Step) -> bool:
            source = _source(step, writers) if elementwise(step) else None
            return source is not None and not in_convolution(source)

        def behind_convolution(step: Step) -> bool:
            source = _source(step, writers) if elementwise(step) else None
            return source is not None and in_convolution(source)

        return [
            Line(RevealCancel(), behind_dense, f"{why}: follows a dense layer"),
            Line(Rescale(), behind_convolution, f"{why}: follows a convolution"),
            Line(Rescale(), elementwise, f"{why}: follows neither"),
        ]

    def _check_letters(self) -> None:
        """Whether the inputs can be one-hot, and nothing else is asked for."""
        check_inputs_only(self.task.targets, "hypothetical=True explains the model's inputs only.")
        check_may_be_one_hot(HYPOTHETICAL, self.input_spec)


class DeepLIFTWrapper(DeepLIFT):
    """DeepLIFT by the name and the argument that iNNvestigate 1.0 had for it.

    Args:
        model: See `Analyzer`.
        nonlinear_mode: `"rescale"`, `"reveal_cancel"` or `"genomics_default"`.
        **kwargs: See `DeepLIFT`.

    Raises:
        ValueError: If `nonlinear_mode` is none of these.
    """

    settled = ("rule",)

    def __init__(self, model, nonlinear_mode: str = "rescale", **kwargs):
        check_choice("nonlinear_mode", nonlinear_mode, (*RULES, GENOMICS))
        super().__init__(model, nonlinear_mode, **kwargs)


def is_elementwise(step: Step) -> bool:
    """Whether each output number of a step is a function of the input number in its place."""
    if kind_of(step) is not Kind.ACTIVATION and not has(step.operation, Trait.EXTREMUM):
        return False
    if len(step.inputs) != 1 or len(step.inputs[0].shape) != len(step.outputs[0].shape):
        return False
    sizes = zip(step.inputs[0].shape, step.outputs[0].shape, strict=True)
    return all(m == n or None in (m, n) for m, n in sizes)  # which not every backend knows


def _checked(rule) -> list[tuple]:
    """The rules as (condition on the layer, rule, why)."""
    if not isinstance(rule, (list, tuple)):
        return [(lambda layer: True, _as_difference_rule(rule), "the method's rule")]
    return [
        (condition, _as_difference_rule(given), f"line {i} of the rule list")
        for i, (condition, given) in enumerate(check_rule_list(rule))
    ]


def _as_difference_rule(rule) -> Rule | str:
    if isinstance(rule, str) and rule == GENOMICS:
        return rule
    if isinstance(rule, str):
        check_choice("rule", rule, (*RULES, GENOMICS))
    made = as_rule(rule, RULES)
    if isinstance(made, Gradient):
        return AtInput(made)
    if not made.compares:
        raise TypeError(
            f"{made!r} is a rule for relevance, which DeepLIFT cannot use. Expected: one of "
            f"{', '.join((*RULES, GENOMICS))}, a subclass of innvestigate.rules.DifferenceRule, "
            "or innvestigate.rules.Gradient()."
        )
    return made


def _class_axis(final: Final | None) -> int | None:
    """The axis of a softmax that was taken off, unless its values were moved behind it."""
    if final is None or final.output is not final.logits:
        return None
    operation = final.activation.operation
    return getattr(operation, "axis", -1) if is_softmax(final.activation) else None


def _source(step: Step, writers: dict) -> Step | None:
    """The kernel step that an activation follows, seen through diagonal and moving steps."""
    writer = writers.get(step.inputs[0])
    while writer is not None and _is_seen_through(writer):
        writer = writers.get(writer.inputs[0])
    return writer if writer is not None and kind_of(writer) is Kind.LINEAR else None


def _contribution(change: Change, signals: tuple):
    if len(signals) == 1:
        return signals[0] * change.delta
    return sum(m * part for m, part in zip(signals, change.parts, strict=True))


def _multiplier(change: Change, signals: tuple):
    if len(signals) == 1:
        return signals[0]
    up, down = (ops.abs(part) for part in change.parts)
    size = up + down
    mean = (up * signals[0] + down * signals[1]) / ops.where(size > 0, size, 1.0)
    return ops.where(size > 0, mean, 0.5 * (signals[0] + signals[1]))


def _hypothetical_contribution(change: Change, signals: tuple):
    multiplier = _multiplier(change, signals)
    return multiplier - ops.sum(change.reference * multiplier, axis=-1, keepdims=True)


def _is_softmax(step: Step) -> bool:
    return activation_name(step.operation) in ("softmax", "log_softmax")


def _is_quotient(step: Step) -> bool:
    """Whether a step multiplies numbers in the same place, one of them an inverse."""
    pair = len(step.inputs) == 2 and bool(step.inverses)
    return pair and kind_of(step) is Kind.PRODUCT and has(step.operation, Trait.ELEMENTWISE)


def _is_diagonal(step: Step) -> bool:
    return isinstance(step.operation, Linear) and step.operation.pointwise


def _is_seen_through(step: Step) -> bool:
    return _is_diagonal(step) or (kind_of(step) is Kind.SHAPE and len(step.inputs) == 1)


def _is_affine(step: Step) -> bool:
    """Sums, moves and changes of units; not a choice by indices that the input decides on."""
    if kind_of(step) not in (Kind.SUM, Kind.UNITS, Kind.SHAPE):
        return False
    return not has(step.operation, Trait.INDEXES) or all(map(is_float, step.inputs))


def _is_extremum(step: Step) -> bool:
    return kind_of(step) is Kind.WINNER and not has(step.operation, Trait.SORTS)
