"""Layer-wise relevance propagation: one configurable analyzer and its named settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from innvestigate.engine.inputs import check_broadcasts
from innvestigate.engine.mirror import MirrorAnalyzer
from innvestigate.engine.warn import warn
from innvestigate.graph.layers import original_layer
from innvestigate.graph.operations import Kind, Trait, has, kind_of
from innvestigate.graph.recurrent import deep_steps
from innvestigate.graph.rewrite import (
    fold_batch_norm,
    fuse_bias,
    may_open,
    open_layers,
    split,
    tell_apart,
)
from innvestigate.graph.step import Graph, Step
from innvestigate.graph.task import Task
from innvestigate.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Gamma,
    Line,
    Rule,
    ZBox,
    as_rule,
)
from innvestigate.rules.composite import is_condition, structure
from innvestigate.rules.registry import in_order, registered_lines, stays_whole
from innvestigate.utils.arguments import check_choice, check_flags, check_whole
from innvestigate.utils.words import shown

RuleLike = str | Rule | type[Rule]
RuleList = Composite | list[tuple[Callable[[Any], bool], RuleLike]]


class LRP(MirrorAnalyzer):
    """Layer-wise relevance propagation with a rule of your choice.

    Relevance starts as w ⊙ y at the selected output neurons and is sent back layer by layer.
    Linear layers follow the rule; BatchNormalization counts as linear with a diagonal kernel.
    Sums, differences and average pooling share relevance by the z-rule over the summands, max
    pooling gives it to the winner, activations pass it on, reshaping moves it along, of a product
    a gate (sigmoid output) gets none and signals get equal parts, and an embedding is summed over
    its axis. Attention follows AttnLRP; in recurrent layers the cell's own steps follow all this,
    from the last point in time to the first. Where a denominator is exactly zero, its relevance is
    dropped.

    Args:
        model: See `Analyzer`.
        rule: A name, a `Rule`, a list of `(condition on the layer, rule)`, first match wins, or a
            `rules.Composite`, whose conditions are on steps.
        input_layer_rule: Rule for the first kernel layers, those that the input reaches through
            shape-only steps; `(low, high)` stands for the z^B rule.
        until_layer_idx: Index in `model.layers` (a functional model's input layer is 0).
        until_layer_rule: Rule of all kernel layers up to that index, inclusive.
        bn_layer_rule: Rule for BatchNormalization; by default it takes the method's rule.
        fold_batch_norm: Whether BatchNormalization is folded into a neighbouring linear layer,
            where one fits, before the rules are chosen.
        attention_rule: What the weights of attention, and any other output of a softmax that is a
            factor, get of a product: `"attn"` equal parts, which the softmax hands on
            (`rules.Softmax`; AttnLRP), `"cp"` nothing, so that values get all (CP-LRP).
        **kwargs: See `Analyzer`.

    Raises:
        NoRuleError: If no rule fits a layer; names it and shows how to give it one.
        ValueError: If there is no rule of a given name, or arguments do not fit together.

    Reference: Bach et al. 2015, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions
    by Layer-Wise Relevance Propagation"; Montavon et al. 2019, "Layer-Wise Relevance
    Propagation: An Overview"; Achtibat et al. 2024, "AttnLRP: Attention-Aware Layer-Wise
    Relevance Propagation for Transformers"; Ali et al. 2022, "XAI for Transformers: Better
    Explanations through Conservative Propagation".
    """

    explains_value = True
    adds_up_to = "output"

    def __init__(
        self,
        model,
        rule: RuleLike | RuleList | None = None,
        *,
        input_layer_rule: RuleLike | tuple[float, float] | None = None,
        until_layer_idx: int | None = None,
        until_layer_rule: RuleLike | None = None,
        bn_layer_rule: RuleLike | None = None,
        fold_batch_norm: bool = False,
        attention_rule: str = "attn",
        **kwargs,
    ):
        check_flags(fold_batch_norm=fold_batch_norm)
        check_choice("attention_rule", attention_rule, ("attn", "cp"))
        self._fold = fold_batch_norm
        self._constant_weights = attention_rule == "cp"
        self._registered = registered_lines(compares=False)
        self._lines = (
            *_batch_norm_lines(bn_layer_rule),
            *_input_lines(input_layer_rule),
            *_until_lines(model, until_layer_idx, until_layer_rule),
            *in_order(rule, _rule_lines(rule), self._registered),
        )
        for line in self._lines:
            if line.rule.compares:
                raise TypeError(
                    f"{line.rule!r} is a DeepLIFT rule: it needs a reference. Use it with the "
                    "analyzer 'deeplift', or choose a rule for relevance, such as 'Epsilon'."
                )
        super().__init__(model, **kwargs)

    def rewrite(self, graph: Graph) -> Graph:
        def is_hidden(step: Step) -> bool:
            return may_open(step) and not any(line.matches(step) for line in self._lines)

        whole = stays_whole(self._registered)
        opened = open_layers(graph, is_hidden)
        graph = tell_apart(fuse_bias(split(opened, lambda step: not whole(step))))
        return fold_batch_norm(graph) if self._fold else graph

    def composite(self, task: Task) -> Composite:
        return Composite((*self._lines, *structure(self.finish, self._constant_weights)))

    def check_model(self, task: Task) -> None:
        for line in self._lines:
            if not isinstance(line.rule, ZBox):
                continue
            matching = [step for step in deep_steps(task) if line.matches(step)]
            for step in matching:
                self._check_box(line.rule, step)
            if not matching:
                warn(
                    f"{line.rule!r} applies to no layer of this model ({line.why}). A first kernel "
                    "layer is one that the input reaches through shape-only steps."
                )

    def _check_box(self, rule: ZBox, step: Step) -> None:
        """Whether the bounds fit what they bound: in a first step the model's input."""
        bounds = {"low": rule.low, "high": rule.high}
        if step.first:
            self.input_spec.check_constants(**bounds)
            return
        for name, bound in bounds.items():
            check_broadcasts(name, bound, step.inputs[0], f"the input of {step.name!r}")

    def start(self, weights, output):
        return weights * output


class LRPEpsilon(LRP):
    """LRP-ε: R_x = x ⊙ Wᵀ (R / (z + ε sign(z))) in every linear layer.

    Args:
        model: See `Analyzer`.
        epsilon: Stabiliser, > 0, in units of z.
        bias: Whether the bias is part of z and absorbs its share.
        **kwargs: See `LRP`.

    Raises:
        ValueError: If epsilon is not positive.

    Reference: Bach et al. 2015, eq. 58.
    """

    settled = ("rule",)

    def __init__(self, model, epsilon: float = 1e-7, bias: bool = True, **kwargs):
        super().__init__(model, Epsilon(epsilon, bias), **kwargs)


class LRPAlphaBeta(LRP):
    """LRP-αβ: R_x = α (share of z⁺) - β (share of z⁻) in every linear layer.

    Args:
        model: See `Analyzer`.
        alpha: Weight of the positive part; follows from beta if not given.
        beta: Weight of the negative part; follows from alpha if not given.
        bias: Whether positive biases are part of z⁺ and negative ones of z⁻.
        **kwargs: See `LRP`.

    Raises:
        ValueError: If neither is given or alpha - beta is not 1.

    Reference: Bach et al. 2015, eq. 60.
    """

    settled = ("rule",)

    def __init__(
        self,
        model,
        alpha: float | None = None,
        beta: float | None = None,
        bias: bool = True,
        **kwargs,
    ):
        super().__init__(model, AlphaBeta(alpha, beta, bias), **kwargs)


class LRPGamma(LRP):
    """LRP-γ, generalised to inputs of any sign, in every linear layer. See `rules.Gamma`.

    Args:
        model: See `Analyzer`.
        gamma: By how much contributions of the sign of z are favoured, >= 0.
        bias: Whether the bias is part of z and absorbs its share.
        **kwargs: See `LRP`.

    Raises:
        ValueError: If gamma is negative.

    Reference: Montavon et al. 2019, section 10.2.3; Andéol et al. 2021, appendix.
    """

    settled = ("rule",)

    def __init__(self, model, gamma: float = 0.25, bias: bool = True, **kwargs):
        super().__init__(model, Gamma(gamma, bias), **kwargs)


def check_box(name: str, low, high) -> None:
    """Ask for both bounds of the z^B rule.

    Raises:
        ValueError: If one is missing.
    """
    if low is None or high is None:
        raise ValueError(
            f"{name} needs the least and greatest possible input: low=..., high=... Received: "
            f"low={shown(low)}, high={shown(high)}. For images scaled to [0, 1]: low=0, high=1."
        )


@keras.saving.register_keras_serializable("innvestigate")
def in_convolution(step: Step) -> bool:
    """Whether a step belongs to a convolution of any kind."""
    return has(step.layer, Trait.CONVOLUTION)


@keras.saving.register_keras_serializable("innvestigate")
def in_first_convolution(step: Step) -> bool:
    """Whether a step is a convolution that the input reaches through shape-only steps."""
    return _is_first_kernel(step) and in_convolution(step)


@keras.saving.register_keras_serializable("innvestigate")
def everywhere(step: Step) -> bool:
    """Every step."""
    return True


def _batch_norm_lines(rule) -> list[Line]:
    if rule is None:
        return []
    return [Line(as_rule(rule, argument="bn_layer_rule"), _is_batch_norm, "bn_layer_rule")]


def _input_lines(rule) -> list[Line]:
    if rule is None:
        return []
    if isinstance(rule, tuple):
        if len(rule) != 2:
            raise ValueError(
                f"input_layer_rule takes a rule or a pair (low, high). Received: {shown(rule)}."
            )
        rule = ZBox(*rule)
    rule = as_rule(rule, argument="input_layer_rule")
    return [Line(rule, _is_first_kernel, "input_layer_rule: a first kernel layer")]


def _is_first_kernel(step: Step) -> bool:
    linear = kind_of(step) is Kind.LINEAR
    return step.first and linear and not _is_batch_norm(step)


def _is_batch_norm(step: Step) -> bool:
    return has(step.layer, Trait.BATCH_NORMALIZATION)


def _until_lines(model, index: int | None, rule) -> list[Line]:
    if index is None and rule is None:
        return []
    if index is None or rule is None:
        raise ValueError(
            "until_layer_idx and until_layer_rule belong together. Received: "
            f"until_layer_idx={shown(index)}, until_layer_rule={shown(rule)}."
        )
    layers = getattr(model, "layers", [])
    index = check_whole("until_layer_idx", index, 0, len(layers) - 1)
    until = {id(original_layer(layer)) for layer in layers[: index + 1]}

    def is_until(step: Step) -> bool:
        return any(id(layer) in until for layer in step.layers)

    rule = as_rule(rule, argument="until_layer_rule")
    return [Line(rule, is_until, f"until_layer_idx: up to {layers[index].name!r}")]


def _rule_lines(rule) -> list[Line]:
    if rule is None:
        raise ValueError(
            "lrp needs a rule: a name such as 'Epsilon', a Rule, or a list of (condition on the "
            "layer, rule). Ready-made settings: 'lrp.epsilon', 'lrp.sequential_preset_a_flat', ..."
        )
    if isinstance(rule, Composite):
        return list(rule.lines)
    if not isinstance(rule, (list, tuple)):
        return [Line(as_rule(rule), everywhere, "the method's rule")]
    return [
        Line(as_rule(given), _on_layer(condition), f"line {i} of the rule list")
        for i, (condition, given) in enumerate(check_rule_list(rule))
    ]


def check_rule_list(rules) -> list[tuple]:
    """The pairs of a rule list.

    Raises:
        ValueError: If an entry is no pair of a condition and a rule.
    """
    for i, entry in enumerate(rules):
        if not isinstance(entry, (list, tuple)) or len(entry) != 2 or not is_condition(entry[0]):
            raise ValueError(
                "A rule list holds pairs (condition, rule), the condition a function of the "
                f"layer. Received in line {i}: {shown(entry)}."
            )
    return list(rules)


def _on_layer(condition) -> Callable[[Step], bool]:
    return lambda step: condition(step.layer)
