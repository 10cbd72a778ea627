"""Layer-wise relevance propagation: one configurable analyzer and its named settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from innvestigate.engine.base import MirrorAnalyzer, warn
from innvestigate.graph.layers import original_layer
from innvestigate.graph.operations import Kind, keras_name, kind_of
from innvestigate.graph.rewrite import fold_batch_norm, fuse_bias, is_opaque, open_layers, split
from innvestigate.graph.step import Graph, Step
from innvestigate.rules import (
    AlphaBeta,
    AlphaBetaX,
    Bounded,
    Composite,
    Epsilon,
    Gamma,
    Line,
    Pass,
    Rule,
    ZPlus,
    as_rule,
)
from innvestigate.rules.composite import structure

RuleLike = str | Rule | type[Rule]
RuleList = list[tuple[Callable[[Any], bool], RuleLike]]

_CONVOLUTIONS = {
    *("Conv1D", "Conv2D", "Conv3D", "Conv", "DepthwiseConv1D", "DepthwiseConv2D"),
    *("DepthwiseConv", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "ConvTranspose"),
    *("SeparableConv1D", "SeparableConv2D", "SeparableConv"),
}


class LRP(MirrorAnalyzer):
    """Layer-wise relevance propagation with a rule of your choice.

    Relevance starts as w ⊙ y at the selected output neurons and is sent back layer by layer.
    Linear layers follow the rule; BatchNormalization counts as linear with a diagonal kernel.
    Sums, differences and average pooling share relevance by the z-rule over the summands, max
    pooling gives it to the winner, activations pass it on, reshaping moves it along, of a product
    a gate (sigmoid or softmax output) gets none, and an embedding is summed over its axis. Where a
    denominator is exactly zero, its relevance is dropped.

    Args:
        model: See `Analyzer`.
        rule: A name, a `Rule`, or a list of `(condition on the layer, rule)`, first match wins.
        input_layer_rule: Rule for the first kernel layers, those that the input reaches through
            shape-only steps; `(low, high)` stands for the bounded rule.
        until_layer_idx: Index in `model.layers` (a functional model's input layer is 0).
        until_layer_rule: Rule of all kernel layers up to that index, inclusive.
        bn_layer_rule: Rule for BatchNormalization; by default it takes the method's rule.
        fold_batch_norm: Whether BatchNormalization is folded into a neighbouring linear layer,
            where one fits, before the rules are chosen.
        **kwargs: See `Analyzer`.

    Raises:
        NoRuleError: If no rule fits a layer; names it and shows how to give it one.
        ValueError: If there is no rule of a given name, or arguments do not fit together.

    Reference: Bach et al. 2015, "On Pixel-Wise Explanations for Non-Linear Classifier Decisions
    by Layer-Wise Relevance Propagation"; Montavon et al. 2019, "Layer-Wise Relevance
    Propagation: An Overview".
    """

    explains_value = True

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
        **kwargs,
    ):
        self._fold = fold_batch_norm
        self._lines = (
            *_batch_norm_lines(bn_layer_rule),
            *_input_lines(input_layer_rule),
            *_until_lines(model, until_layer_idx, until_layer_rule),
            *_rule_lines(rule),
        )
        super().__init__(model, **kwargs)

    def _rewrite(self, graph: Graph) -> None:
        open_layers(
            graph,
            lambda step: is_opaque(step) and not any(line.matches(step) for line in self._lines),
        )
        split(graph)
        fuse_bias(graph)
        if self._fold:
            fold_batch_norm(graph)

    def _make_composite(self) -> Composite:
        return Composite((*self._lines, *structure(self._finish)))

    def _check_model(self) -> None:
        for line in self._composite.lines:
            if isinstance(line.rule, Bounded) and not any(map(line.matches, self._steps)):
                warn(
                    f"{line.rule!r} applies to no layer of this model ({line.why}). A first kernel "
                    "layer is one that the input reaches through shape-only steps."
                )

    @staticmethod
    def _start(weights, output):
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

    def __init__(self, model, gamma: float = 0.25, bias: bool = True, **kwargs):
        super().__init__(model, Gamma(gamma, bias), **kwargs)


class ConvolutionComposite(LRP):
    """One rule in convolutions, LRP-ε in all other linear layers: what most settings look like.

    Args:
        model: See `Analyzer`.
        convolution_rule: Rule of the convolutions.
        epsilon: ε of the other linear layers, > 0.
        **kwargs: See `LRP`.

    Reference: Montavon et al. 2019, section 10.3; Kohlbrenner et al. 2020, "Towards Best Practice
    in Explaining Neural Network Decisions with LRP".
    """

    def __init__(self, model, convolution_rule: RuleLike, epsilon: float = 1e-6, **kwargs):
        rules = [(is_convolution, convolution_rule), (lambda layer: True, Epsilon(epsilon))]
        super().__init__(model, rules, **kwargs)


class SequentialPreset(ConvolutionComposite):
    """The presets of the original toolbox: Dense ε, convolutions alpha-beta.

    BatchNormalization gets "2 (share of x⁺W⁺) - (share of x⁺W⁻)" (`rules.AlphaBetaX`).

    Args:
        model: See `Analyzer`.
        convolution_rule: `"Alpha1Beta0"` (preset A) or `"Alpha2Beta1"` (preset B).
        epsilon: ε of the dense layers, > 0.
        bn_layer_rule: Rule of BatchNormalization.
        **kwargs: See `LRP`; `input_layer_rule="Flat"` makes the `_flat` presets.

    Reference: Alber et al. 2019, "iNNvestigate Neural Networks!", JMLR 20(93).
    """

    def __init__(
        self,
        model,
        convolution_rule: RuleLike,
        epsilon: float = 0.1,
        bn_layer_rule: RuleLike = AlphaBetaX(),
        **kwargs,
    ):
        super().__init__(model, convolution_rule, epsilon, bn_layer_rule=bn_layer_rule, **kwargs)


class FlatUntilIndex(SequentialPreset):
    """Preset B with LRP-♭ in all layers up to an index, and at the first kernel layers.

    Args:
        model: See `Analyzer`.
        until_layer_idx: Index in `model.layers`, inclusive (a functional model's input layer
            is 0). None leaves Flat to the first kernel layers.
        **kwargs: See `SequentialPreset`.
    """

    def __init__(self, model, until_layer_idx: int | None = None, **kwargs):
        until = None if until_layer_idx is None else "Flat"
        super().__init__(
            model,
            "Alpha2Beta1",
            input_layer_rule="Flat",
            until_layer_idx=until_layer_idx,
            until_layer_rule=until,
            **kwargs,
        )


class FoldedComposite(ConvolutionComposite):
    """A composite that folds BatchNormalization into its neighbour; where none fits, it passes.

    Args:
        model: See `Analyzer`.
        convolution_rule: Rule of the convolutions.
        fold_batch_norm: See `LRP`.
        bn_layer_rule: Rule of the BatchNormalizations that are left.
        **kwargs: See `ConvolutionComposite`.
    """

    def __init__(
        self,
        model,
        convolution_rule: RuleLike,
        fold_batch_norm: bool = True,
        bn_layer_rule: RuleLike = Pass(),
        **kwargs,
    ):
        super().__init__(
            model,
            convolution_rule,
            fold_batch_norm=fold_batch_norm,
            bn_layer_rule=bn_layer_rule,
            **kwargs,
        )


class EpsilonGammaBox(FoldedComposite):
    """LRP-z^B in first convolutions, LRP-γ in the others, LRP-ε elsewhere.

    Args:
        model: See `Analyzer`.
        low: Least possible input: a number or an array that broadcasts over the input.
        high: Greatest possible input.
        gamma: γ of the convolutions.
        **kwargs: See `FoldedComposite`.

    Raises:
        ValueError: If low exceeds high.

    Reference: Montavon et al. 2019, section 10.3.
    """

    def __init__(self, model, low=None, high=None, gamma: float = 0.25, **kwargs):
        check_box("lrp.epsilon_gamma_box", low, high)
        self._box = Bounded(low, high)
        super().__init__(model, Gamma(gamma), **kwargs)

    def _make_composite(self) -> Composite:
        first = Line(
            self._box,
            lambda step: _is_first_kernel(step) and is_convolution(step.layer),
            "a first convolution",
        )
        return Composite((first, *super()._make_composite().lines))


class ExcitationBackprop(LRP):
    """Excitation backprop: LRP-z⁺ without biases in every linear layer.

    Args:
        model: See `Analyzer`.
        **kwargs: See `LRP`.

    Reference: Zhang et al. 2016, "Top-Down Neural Attention by Excitation Backprop", eq. 5.
    """

    def __init__(self, model, fold_batch_norm: bool = True, bn_layer_rule=Pass(), **kwargs):
        super().__init__(
            model, ZPlus(), fold_batch_norm=fold_batch_norm, bn_layer_rule=bn_layer_rule, **kwargs
        )


def check_box(name: str, low, high) -> None:
    """Ask for both bounds of the bounded rule.

    Raises:
        ValueError: If one is missing.
    """
    if low is None or high is None:
        raise ValueError(
            f"{name} needs the least and greatest possible input: low=..., high=... Received: "
            f"low={low!r}, high={high!r}. For images scaled to [0, 1]: low=0, high=1."
        )


def is_convolution(layer) -> bool:
    """Whether a layer or operation is a convolution of any kind."""
    return keras_name(layer) in _CONVOLUTIONS


def is_batch_norm(layer) -> bool:
    """Whether a layer is a BatchNormalization."""
    return keras_name(layer) == "BatchNormalization"


def _batch_norm_lines(rule) -> list[Line]:
    if rule is None:
        return []
    return [Line(as_rule(rule), lambda step: is_batch_norm(step.layer), "bn_layer_rule")]


def _input_lines(rule) -> list[Line]:
    if rule is None:
        return []
    if isinstance(rule, tuple):
        if len(rule) != 2:
            raise ValueError(
                f"input_layer_rule takes a rule or a pair (low, high). Received: {rule!r}."
            )
        rule = Bounded(*rule)
    return [Line(as_rule(rule), _is_first_kernel, "input_layer_rule: a first kernel layer")]


def _is_first_kernel(step: Step) -> bool:
    linear = kind_of(step) is Kind.LINEAR
    return step.first and linear and not is_batch_norm(step.layer)


def _until_lines(model, index: int | None, rule) -> list[Line]:
    if index is None and rule is None:
        return []
    if index is None or rule is None:
        raise ValueError(
            "until_layer_idx and until_layer_rule belong together. Received: "
            f"until_layer_idx={index!r}, until_layer_rule={rule!r}."
        )
    layers = getattr(model, "layers", [])
    if not isinstance(index, int) or not 0 <= index < len(layers):
        raise ValueError(
            f"until_layer_idx must be an index of model.layers, 0 to {len(layers) - 1}. "
            f"Received: {index!r}."
        )
    until = {id(original_layer(layer)) for layer in layers[: index + 1]}

    def is_until(step: Step) -> bool:
        return any(id(layer) in until for layer in step.layers)

    return [Line(as_rule(rule), is_until, f"until_layer_idx: up to {layers[index].name!r}")]


def _rule_lines(rule) -> list[Line]:
    if rule is None:
        raise ValueError(
            "lrp needs a rule: a name such as 'Epsilon', a Rule, or a list of (condition on the "
            "layer, rule). Ready-made settings: 'lrp.epsilon', 'lrp.sequential_preset_a_flat', ..."
        )
    if not isinstance(rule, (list, tuple)):
        return [Line(as_rule(rule), lambda step: True, "the method's rule")]
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
        if not isinstance(entry, (list, tuple)) or len(entry) != 2 or not callable(entry[0]):
            raise ValueError(
                "A rule list holds pairs (condition, rule), the condition a function of the "
                f"layer. Received in line {i}: {entry!r}."
            )
    return list(rules)


def _on_layer(condition) -> Callable[[Step], bool]:
    return lambda step: condition(step.layer)
