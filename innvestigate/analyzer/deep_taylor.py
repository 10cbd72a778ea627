"""Deep Taylor decomposition."""

from __future__ import annotations

from keras import ops

from innvestigate.analyzer.lrp import LRP, check_box
from innvestigate.graph.operations import Kind, activation_name, is_relu, kind_of
from innvestigate.graph.recurrent import deep_steps
from innvestigate.graph.task import Task
from innvestigate.rules import ZPlus


class DeepTaylor(LRP):
    """Deep Taylor decomposition of a ReLU network.

    LRP-z⁺ (alpha-beta with α = 1, β = 0 and no bias) in every kernel layer; BatchNormalization,
    whose input is unbounded, follows LRP-w², which passes relevance through a diagonal kernel
    unchanged. Starts from the positive part of the selected output, so a negative output gives
    zeros. `input_layer_rule="WSquare"` is the paper's rule for unbounded input. Sums of layers
    follow LRP-z, which is z⁺ where no summand is negative; a negative summand, such as a branch
    that ends in BatchNormalization, gets negative relevance.

    Args:
        model: See `Analyzer`. Its only activations are rectifiers.
        bn_layer_rule: Rule of BatchNormalization.
        **kwargs: See `LRP`.

    Raises:
        ValueError: If there is another activation; names it.

    Reference: Montavon et al. 2017, "Explaining NonLinear Classification Decisions with Deep
    Taylor Decomposition".
    """

    settled = ("rule",)

    def __init__(self, model, bn_layer_rule="WSquare", **kwargs):
        super().__init__(model, ZPlus(), bn_layer_rule=bn_layer_rule, **kwargs)

    def start(self, weights, output):
        return ops.maximum(weights * output, 0.0)

    value = start

    def check_model(self, task: Task) -> None:
        super().check_model(task)
        others = (Kind.ACTIVATION, Kind.SOFTMAX, Kind.ATTENTION)
        for step in deep_steps(task):
            if kind_of(step) in others and not is_relu(step):
                raise ValueError(
                    "Deep Taylor decomposition holds for networks with ReLU activations only. "
                    f"Found: {activation_name(step.operation) or kind_of(step).value!r} at "
                    f"{step.name!r}. Use LRP "
                    "('lrp.epsilon', 'lrp.sequential_preset_a_flat') for other activations."
                )


class BoundedDeepTaylor(DeepTaylor):
    """Deep Taylor decomposition for inputs in a box: z^B at the first kernel layers.

    Args:
        model: See `DeepTaylor`.
        low: Least possible input: a number or an array that broadcasts over the input.
        high: Greatest possible input.
        **kwargs: See `DeepTaylor`.

    Raises:
        ValueError: If a bound is missing or low exceeds high.

    Reference: Montavon et al. 2017, section 4.2.
    """

    settled = ("input_layer_rule",)

    def __init__(self, model, low=None, high=None, **kwargs):
        check_box("deep_taylor.bounded", low, high)
        super().__init__(model, input_layer_rule=(low, high), **kwargs)
