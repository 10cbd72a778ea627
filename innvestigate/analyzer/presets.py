"""Named settings of LRP: composites as data, and the arguments that they come with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from innvestigate.analyzer.lrp import (
    LRP,
    RuleLike,
    check_box,
    everywhere,
    in_convolution,
    in_first_convolution,
)
from innvestigate.rules import (
    AlphaBetaX,
    Composite,
    Epsilon,
    Gamma,
    Line,
    Pass,
    ZBox,
    ZPlus,
    as_rule,
)


def _passing_on(kwargs_of: Callable, *settled: str) -> Callable:
    """Notes whose arguments a function's **kwargs are, but for those that it settles itself."""

    def mark(function: Any) -> Callable:
        function.kwargs_of, function.settled = kwargs_of, settled
        return function

    return mark


def convolutions(rule: RuleLike, epsilon: float = 1e-6) -> Composite:
    """One rule in convolutions, LRP-ε in all other linear layers: what most settings look like.

    Args:
        rule: Rule of the convolutions.
        epsilon: ε of the other linear layers, > 0.

    Reference: Montavon et al. 2019, section 10.3; Kohlbrenner et al. 2020, "Towards Best Practice
    in Explaining Neural Network Decisions with LRP".
    """
    return Composite(
        (
            Line(as_rule(rule, argument="convolution_rule"), in_convolution, "every convolution"),
            Line(Epsilon(epsilon), everywhere, "every other linear step"),
        )
    )


@_passing_on(LRP, "rule")
def sequential_preset(
    model,
    convolution_rule: RuleLike,
    epsilon: float = 0.1,
    bn_layer_rule: RuleLike = AlphaBetaX(),
    **kwargs,
) -> LRP:
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
    rules = convolutions(convolution_rule, epsilon)
    return LRP(model, rules, bn_layer_rule=bn_layer_rule, **kwargs)


@_passing_on(sequential_preset, "convolution_rule", "input_layer_rule", "until_layer_rule")
def flat_until_index(model, until_layer_idx: int | None = None, **kwargs) -> LRP:
    """Preset B with LRP-♭ in all layers up to an index, and at the first kernel layers.

    Args:
        model: See `Analyzer`.
        until_layer_idx: Index in `model.layers`, inclusive (a functional model's input layer
            is 0). None leaves Flat to the first kernel layers.
        **kwargs: See `sequential_preset`.

    Reference: Kohlbrenner et al. 2020.
    """
    until = None if until_layer_idx is None else "Flat"
    return sequential_preset(
        model,
        "Alpha2Beta1",
        input_layer_rule="Flat",
        until_layer_idx=until_layer_idx,
        until_layer_rule=until,
        **kwargs,
    )


@_passing_on(LRP, "rule")
def folded_composite(
    model,
    convolution_rule: RuleLike,
    epsilon: float = 1e-6,
    fold_batch_norm: bool = True,
    bn_layer_rule: RuleLike = Pass(),
    **kwargs,
) -> LRP:
    """A composite that folds BatchNormalization into its neighbour; where none fits, it passes.

    Args:
        model: See `Analyzer`.
        convolution_rule: Rule of the convolutions.
        epsilon: ε of the other linear layers, > 0.
        fold_batch_norm: See `LRP`.
        bn_layer_rule: Rule of the BatchNormalizations that are left.
        **kwargs: See `LRP`.

    Reference: Montavon et al. 2019, section 10.3; Kohlbrenner et al. 2020.
    """
    rules = convolutions(convolution_rule, epsilon)
    return LRP(model, rules, fold_batch_norm=fold_batch_norm, bn_layer_rule=bn_layer_rule, **kwargs)


@_passing_on(LRP, "rule")
def epsilon_gamma_box(
    model,
    low=None,
    high=None,
    gamma: float = 0.25,
    epsilon: float = 1e-6,
    fold_batch_norm: bool = True,
    bn_layer_rule: RuleLike = Pass(),
    **kwargs,
) -> LRP:
    """LRP-z^B in first convolutions, LRP-γ in the others, LRP-ε elsewhere.

    Args:
        model: See `Analyzer`.
        low: Least possible input: a number or an array that broadcasts over the input.
        high: Greatest possible input.
        gamma: γ of the convolutions.
        epsilon: ε of the other linear layers, > 0.
        fold_batch_norm: See `LRP`.
        bn_layer_rule: Rule of the BatchNormalizations that are left.
        **kwargs: See `LRP`.

    Raises:
        ValueError: If low exceeds high.

    Reference: Montavon et al. 2019, section 10.3.
    """
    check_box("lrp.epsilon_gamma_box", low, high)
    first = Line(ZBox(low, high), in_first_convolution, "a first convolution")
    rules = Composite((first, *convolutions(Gamma(gamma), epsilon).lines))
    return LRP(model, rules, fold_batch_norm=fold_batch_norm, bn_layer_rule=bn_layer_rule, **kwargs)


@_passing_on(LRP, "rule")
def attention_composite(model, gamma: float | None = None, epsilon: float = 1e-6, **kwargs) -> LRP:
    """AttnLRP: LRP-ε in every linear layer, or LRP-γ, which suits vision transformers.

    The rules of attention are those of every setting of LRP; see its `attention_rule`.

    Args:
        model: See `Analyzer`.
        gamma: γ of all linear layers, >= 0; None for LRP-ε.
        epsilon: ε of all linear layers, > 0, where gamma is None.
        **kwargs: See `LRP`; `input_layer_rule=Gamma(0.25)` gives the patches another γ.

    Reference: Achtibat et al. 2024, "AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for
    Transformers", sections 3.3 and 4.
    """
    return LRP(model, Epsilon(epsilon) if gamma is None else Gamma(gamma), **kwargs)


@_passing_on(LRP, "rule")
def excitation_backprop(
    model, fold_batch_norm: bool = True, bn_layer_rule: RuleLike = Pass(), **kwargs
) -> LRP:
    """Excitation backprop: LRP-z⁺ without biases in every linear layer.

    Args:
        model: See `Analyzer`.
        fold_batch_norm: See `LRP`.
        bn_layer_rule: Rule of the BatchNormalizations that are left.
        **kwargs: See `LRP`.

    Reference: Zhang et al. 2016, "Top-Down Neural Attention by Excitation Backprop", eq. 5.
    """
    return LRP(
        model, ZPlus(), fold_batch_norm=fold_batch_norm, bn_layer_rule=bn_layer_rule, **kwargs
    )
