"""Zennit 0.5.1 and Captum 0.9.0 on networks of torchvision and torch 2.13.

Each method is put together from the peer's own rules in the way its manual shows, with the
canonizers that it has for the network. The methods' names are ours. What a network does outside of
its modules neither peer sees: what happens there takes the gradient whatever the method. So sums
pass all relevance to each of their inputs, products too: on ResNet50 under Captum (Zennit has a
canonizer for its sums) and on EfficientNetB0 under both, LRP does not conserve relevance, and costs
less than it would. On DenseNet121 it touches only the last rectifier and the pooling after it.
"""

# ruff: noqa: E402

from __future__ import annotations

import sys
import types

# Shapes for the operators of detection networks, which need the operators themselves: PyPI's
# torchvision has none beside a build of torch for the CPU. Classifiers need neither.
sys.modules["torchvision._meta_registrations"] = types.ModuleType("_meta_registrations")

import captum.attr
import common
import torch
from captum.attr._utils import lrp_rules
from torch import nn
from torchvision import models
from zennit import attribution, canonizers, composites, rules
from zennit.torchvision import ResNetCanonizer, VGGCanonizer
from zennit.types import Linear

NETWORKS = {
    "VGG16": models.vgg16,
    "ResNet50": models.resnet50,
    "EfficientNetB0": models.efficientnet_b0,
    "DenseNet121": models.densenet121,
}


class Top(nn.Module):
    """A classifier's largest output."""

    def __init__(self, classifier: nn.Module):
        super().__init__()
        self.classifier = classifier

    def forward(self, x):
        return self.classifier(x).amax(dim=-1)


def build(name: str, size: int, batch: int) -> tuple:
    """A network with random weights and its images."""
    torch.manual_seed(0)
    x = common.noise((batch, 3, size, size))
    model = NETWORKS[name](weights=None)
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # Captum's hooks read what would be overwritten
    scale_activations(model, torch.from_numpy(x[:2]))
    return model.eval(), x


def scale_activations(model: nn.Module, x: torch.Tensor) -> None:
    """Let every BatchNorm divide by the deviation it meets, or signals die out."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.running_mean.zero_()


def gradient(model: nn.Module):
    """The gradient of the largest outputs."""
    top = Top(model)

    def function(x):
        x = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(top(x).sum(), x)[0].numpy()

    return function


def merged_norms_of_densenet() -> canonizers.Canonizer:
    """The convolutions of a DenseNet121 that a BatchNorm follows; the other norms have none."""
    pairs = [(("features.conv0",), "features.norm0")]
    for block, layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, layers + 1):
            name = f"features.denseblock{block}.denselayer{layer}"
            pairs.append(((f"{name}.conv1",), f"{name}.norm2"))
    return canonizers.NamedMergeBatchNorm(pairs)


CANONIZERS = {
    "VGG16": VGGCanonizer,
    "ResNet50": ResNetCanonizer,
    "EfficientNetB0": canonizers.SequentialMergeBatchNorm,
    "DenseNet121": merged_norms_of_densenet,
}


def everywhere(rule, first=None):
    """A composite of Zennit with one rule for every linear layer, or another for the first."""

    def make(**options):
        layer_map = [*composites.layer_map_base(), (Linear, rule)]
        if first is None:
            return composites.LayerMapComposite(layer_map, **options)
        return composites.SpecialFirstLayerMapComposite(layer_map, [(Linear, first)], **options)

    return make


def preset(name: str):
    """A composite of Zennit's own with the epsilon of the presets."""
    return lambda **options: getattr(composites, name)(epsilon=0.1, **options)


NO_BIAS = {"zero_params": ["bias"]}
ZENNIT = {
    "gradient": lambda **_: None,
    "guided_backprop": composites.GuidedBackprop,
    "lrp.z": everywhere(rules.Epsilon(epsilon=0)),
    "lrp.epsilon": everywhere(rules.Epsilon(epsilon=1e-7)),
    "lrp.z_plus": everywhere(rules.ZPlus(**NO_BIAS)),
    "lrp.alpha_1_beta_0": everywhere(rules.ZPlus()),
    "lrp.alpha_2_beta_1": everywhere(rules.AlphaBeta(alpha=2, beta=1)),
    "lrp.sequential_preset_a_flat": preset("EpsilonPlusFlat"),
    "lrp.sequential_preset_b_flat": preset("EpsilonAlpha2Beta1Flat"),
    "deep_taylor": everywhere(rules.ZPlus(**NO_BIAS), first=rules.WSquare(**NO_BIAS)),
}


def chosen_outputs(outputs: torch.Tensor) -> torch.Tensor:
    """One for the largest output, zero for the others."""
    return nn.functional.one_hot(outputs.argmax(dim=-1), outputs.shape[-1]).to(outputs)


def zennit_explainer(method: str, name: str, model: nn.Module):
    """A composite that stays registered, as Zennit's manual advises for many calls."""
    composite = ZENNIT[method](canonizers=[CANONIZERS[name]()])
    attributor = attribution.Gradient(model, composite, chosen_outputs).__enter__()
    return lambda x: attributor(torch.from_numpy(x))[1].detach().numpy()


def captum_lrp(rule):
    """Captum's LRP with one rule for every convolution and dense layer, its own for the others."""

    def make(top):
        def attribute(x):
            for module in top.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.rule = rule()  # an attribution takes its rules away
            return captum.attr.LRP(top).attribute(x)

        return attribute

    return make


def captum_method(name: str, **options):
    return lambda top: lambda x: getattr(captum.attr, name)(top).attribute(x, **options)


CAPTUM = {
    "gradient": captum_method("Saliency", abs=False),
    "input_t_gradient": captum_method("InputXGradient"),
    "guided_backprop": captum_method("GuidedBackprop"),
    "lrp.z": captum_lrp(lambda: lrp_rules.EpsilonRule(epsilon=0)),
    "lrp.epsilon": captum_lrp(lambda: lrp_rules.EpsilonRule(epsilon=1e-7)),
    "lrp.z_plus": captum_lrp(lambda: lrp_rules.Alpha1_Beta0_Rule(set_bias_to_zero=True)),
    "lrp.alpha_1_beta_0": captum_lrp(lrp_rules.Alpha1_Beta0_Rule),
    "deeplift": captum_method("DeepLift"),
}


def captum_explainer(method: str, _name: str, model: nn.Module):
    """A function of Captum, from array to array."""
    attribute = CAPTUM[method](Top(model))
    return lambda x: attribute(torch.from_numpy(x).requires_grad_()).detach().numpy()


def explainer(peer: str, method: str, name: str, model: nn.Module):
    return {"Zennit": zennit_explainer, "Captum": captum_explainer}[peer](method, name, model)


if __name__ == "__main__":
    common.main({"Zennit": ZENNIT, "Captum": CAPTUM}, build, gradient, explainer)
