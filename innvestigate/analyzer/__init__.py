"""What is computed: the table of analyzers and how to create one by its name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import keras

from innvestigate.analyzer.baselines import Input, Random
from innvestigate.analyzer.cam import (
    CamAnalyzer,
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    GuidedGradCAM,
    LayerCAM,
    ScoreCAM,
)
from innvestigate.analyzer.concepts import (
    ReferenceSamples,
    concept_relevance,
    reference_samples,
)
from innvestigate.analyzer.deep_taylor import BoundedDeepTaylor, DeepTaylor
from innvestigate.analyzer.deeplift import DeepLIFT, DeepLIFTWrapper
from innvestigate.analyzer.gradient import (
    BaselineGradient,
    Deconvnet,
    GradientAnalyzer,
    GuidedBackprop,
    InputTimesGradient,
    Saliency,
)
from innvestigate.analyzer.lrp import (
    LRP,
    LRPAlphaBeta,
    LRPEpsilon,
    LRPGamma,
)
from innvestigate.analyzer.mutagenesis import InSilicoMutagenesis
from innvestigate.analyzer.occlusion import Occlusion
from innvestigate.analyzer.original import CLASSES, METHODS
from innvestigate.analyzer.path import (
    ExpectedGradients,
    IntegratedGradients,
    PathIntegrator,
)
from innvestigate.analyzer.pattern import PatternAttribution, PatternNet
from innvestigate.analyzer.pattern_statistics import PatternStatistics
from innvestigate.analyzer.presets import (
    attention_composite,
    epsilon_gamma_box,
    excitation_backprop,
    flat_until_index,
    folded_composite,
    sequential_preset,
)
from innvestigate.analyzer.rise import RISE
from innvestigate.analyzer.shapley import ShapleySampling
from innvestigate.analyzer.similarity import bilrp
from innvestigate.analyzer.smoothing import GaussianSmoother, SmoothGrad
from innvestigate.analyzer.surrogates import LIME, KernelSHAP
from innvestigate.engine.base import Analyzer
from innvestigate.engine.config import argument_names
from innvestigate.engine.mirror import MirrorAnalyzer
from innvestigate.engine.plan import Plan, PlanLine
from innvestigate.engine.storage import load_analyzer
from innvestigate.engine.without import model_wo_output_activation, model_wo_softmax
from innvestigate.utils.arguments import check_iterable, check_text
from innvestigate.utils.suggest import did_you_mean, unknown

analyzers: dict[str, Callable[..., Analyzer]] = {
    "input": Input,
    "random": Random,
    "gradient": GradientAnalyzer,
    "gradient.baseline": BaselineGradient,
    "saliency": Saliency,
    "input_t_gradient": InputTimesGradient,
    "grad*input": InputTimesGradient,
    "deconvnet": Deconvnet,
    "guided_backprop": GuidedBackprop,
    "guided": GuidedBackprop,
    "grad_cam": GradCAM,
    "grad_cam_plus_plus": GradCAMPlusPlus,
    "layer_cam": LayerCAM,
    "guided_grad_cam": GuidedGradCAM,
    "score_cam": ScoreCAM,
    "eigen_cam": EigenCAM,
    "integrated_gradients": IntegratedGradients,
    "intgrad": partial(IntegratedGradients, steps=100, quadrature="right"),
    "expected_gradients": ExpectedGradients,
    "smoothgrad": SmoothGrad,
    "occlusion": Occlusion,
    "rise": RISE,
    "shapley_sampling": ShapleySampling,
    "kernel_shap": KernelSHAP,
    "lime": LIME,
    "in_silico_mutagenesis": InSilicoMutagenesis,
    "lrp": LRP,
    "lrp.z": partial(LRP, rule="Z"),
    "lrp.z_IB": partial(LRP, rule="ZIgnoreBias"),
    "lrp.epsilon": LRPEpsilon,
    "lrp.epsilon_IB": partial(LRPEpsilon, bias=False),
    "elrp": partial(LRPEpsilon, epsilon=1e-4),
    "lrp.w_square": partial(LRP, rule="WSquare"),
    "lrp.flat": partial(LRP, rule="Flat"),
    "lrp.alpha_beta": LRPAlphaBeta,
    "lrp.alpha_2_beta_1": partial(LRP, rule="Alpha2Beta1"),
    "lrp.alpha_2_beta_1_IB": partial(LRP, rule="Alpha2Beta1IgnoreBias"),
    "lrp.alpha_1_beta_0": partial(LRP, rule="Alpha1Beta0"),
    "lrp.alpha_1_beta_0_IB": partial(LRP, rule="Alpha1Beta0IgnoreBias"),
    "lrp.z_plus": partial(LRP, rule="ZPlus"),
    "lrp.z_plus_fast": partial(LRP, rule="ZPlusFast"),
    "lrp.gamma": LRPGamma,
    "lrp.sequential_preset_a": partial(sequential_preset, convolution_rule="Alpha1Beta0"),
    "lrp.sequential_preset_b": partial(sequential_preset, convolution_rule="Alpha2Beta1"),
    "lrp.sequential_preset_a_flat": partial(
        sequential_preset, convolution_rule="Alpha1Beta0", input_layer_rule="Flat"
    ),
    "lrp.sequential_preset_b_flat": partial(
        sequential_preset, convolution_rule="Alpha2Beta1", input_layer_rule="Flat"
    ),
    "lrp.sequential_preset_b_flat_until_idx": flat_until_index,
    "lrp.epsilon_plus": partial(folded_composite, convolution_rule="Alpha1Beta0"),
    "lrp.epsilon_plus_flat": partial(
        folded_composite, convolution_rule="Alpha1Beta0", input_layer_rule="Flat"
    ),
    "lrp.epsilon_alpha_2_beta_1": partial(folded_composite, convolution_rule="Alpha2Beta1"),
    "lrp.epsilon_gamma_box": epsilon_gamma_box,
    "lrp.attn": attention_composite,
    "lrp.excitation_backprop": excitation_backprop,
    "deep_taylor": DeepTaylor,
    "deep_taylor.bounded": BoundedDeepTaylor,
    "deeplift": DeepLIFT,
    "deeplift.rescale": partial(DeepLIFT, rule="rescale"),
    "deeplift.reveal_cancel": partial(DeepLIFT, rule="reveal_cancel"),
    "deeplift.genomics_default": partial(DeepLIFT, rule="genomics_default"),
    "deeplift.wrapper": DeepLIFTWrapper,
    "pattern.net": PatternNet,
    "pattern.attribution": PatternAttribution,
}


def create_analyzer(
    name: str,
    model: keras.Model,
    *,
    neuron_selection_mode: str = "max_activation",
    **kwargs,
) -> Analyzer:
    """Create the analyzer of a given name.

    Args:
        name: A key of `innvestigate.analyzers`.
        model: A built Keras model; it is never changed.
        neuron_selection_mode: `"max_activation"`, `"index"`, `"contrast"`, `"all"` or `"weights"`.
        **kwargs: Arguments of the method, and `output=`, `layers=`, `keep_output_activation=`
            (see `Analyzer`).

    Returns:
        The analyzer; call its `analyze(x)`.

    Raises:
        KeyError: If there is no analyzer of that name; offers close names.
        TypeError: If `model` is not a Keras model or an argument is unknown.
        ValueError: If an argument does not fit the method or the model.

    Example:
        >>> analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
        >>> relevance = analyzer.analyze(x)
    """
    create = find_analyzer(name, kwargs)
    return create(model, neuron_selection_mode=neuron_selection_mode, **kwargs)


def find_analyzer(name: str, arguments: Collection[str]) -> Callable[..., Analyzer]:
    """What makes the analyzer of a given name, and takes arguments of given names.

    Raises:
        KeyError: If there is no analyzer of that name; offers close names.
        TypeError: If an argument is unknown; offers close names.
    """
    given = check_iterable("arguments", arguments, "names of arguments")
    if not isinstance(name, str) or name not in analyzers:
        raise KeyError(unknown("analyzer", name, analyzers))
    create = analyzers[name]
    known = argument_names(create)
    for argument in given:
        if check_text("A name of an argument", argument) not in known:
            raise TypeError(
                f"{name!r} has no argument {argument!r}. {did_you_mean(argument, known)}"
                f"Its arguments: {', '.join(known)}."
            )
    return create


def __getattr__(name: str) -> Any:
    """What stands for a class of iNNvestigate 1 and 2: `LRPZ(model)` is `"lrp.z"`."""
    if name in METHODS:
        return analyzers[METHODS[name]]
    if name in CLASSES:
        return globals()[CLASSES[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "LIME",
    "LRP",
    "RISE",
    "Analyzer",
    "BaselineGradient",
    "BoundedDeepTaylor",
    "CamAnalyzer",
    "Deconvnet",
    "DeepLIFT",
    "DeepLIFTWrapper",
    "DeepTaylor",
    "EigenCAM",
    "ExpectedGradients",
    "GaussianSmoother",
    "GradCAM",
    "GradCAMPlusPlus",
    "GradientAnalyzer",
    "GuidedBackprop",
    "GuidedGradCAM",
    "InSilicoMutagenesis",
    "Input",
    "InputTimesGradient",
    "IntegratedGradients",
    "KernelSHAP",
    "LRPAlphaBeta",
    "LRPEpsilon",
    "LRPGamma",
    "LayerCAM",
    "MirrorAnalyzer",
    "Occlusion",
    "PathIntegrator",
    "PatternAttribution",
    "PatternNet",
    "PatternStatistics",
    "Plan",
    "PlanLine",
    "Random",
    "ReferenceSamples",
    "Saliency",
    "ScoreCAM",
    "ShapleySampling",
    "SmoothGrad",
    "analyzers",
    "attention_composite",
    "bilrp",
    "concept_relevance",
    "create_analyzer",
    "epsilon_gamma_box",
    "excitation_backprop",
    "find_analyzer",
    "flat_until_index",
    "folded_composite",
    "load_analyzer",
    "model_wo_output_activation",
    "model_wo_softmax",
    "reference_samples",
    "sequential_preset",
]
