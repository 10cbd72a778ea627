"""What is compared with iNNvestigate 2.1.2: analyzers, their arguments, and what is left out.

`CASES` maps a label to the analyzer's name and its arguments; every case is run on every network of
`COMPARED` in the three modes. Imports nothing, so that every Python that runs one of the programs
can read it.
"""

MODES = ("max_activation", "index", "all")
INDEX = 2
BOX = {"low": -1, "high": 1}

COMPARED = (
    *("mlp", "mlp_bn", "cnn", "cnn_bn", "residual", "branches", "conv1d"),
    *("separable", "depthwise", "strided", "padded", "transposed", "embedding"),
)
ON_LAYERS_AS_THEY_ARE = (
    *("gradient", "gradient, abs", "gradient, square", "gradient.baseline", "input_t_gradient"),
    *("deconvnet", "guided_backprop", "lrp.z", "lrp.flat", "lrp, Z"),
)
"""Cases that agree on a SeparableConv2D itself. For all others the reference is the network in
which its depthwise and its pointwise step are two layers: the original's negative copy of the layer
has two negative kernels, and w^2 of a product is no product of shares."""


def is_a(*names):
    """The condition that a layer is of a class of one of these names."""
    return lambda layer: type(layer).__name__ in names


def anything(layer):
    """The condition that always holds."""
    return True


def mixed_rules():
    """A rule list; the original program changes the list it is given, so each use needs its own."""
    return [
        (is_a("Dense"), "Epsilon"),
        (is_a("Conv1D", "Conv2D", "DepthwiseConv2D", "SeparableConv2D"), "Alpha2Beta1IgnoreBias"),
        (anything, "ZPlus"),
    ]


def flat_first():
    """A rule list with LRP-z behind a first layer that `input_layer_rule` decides on."""
    return [(anything, "Z")]


CASES = {
    **{
        name: (name, {})
        for name in (
            *("gradient", "gradient.baseline", "input_t_gradient", "deconvnet", "guided_backprop"),
            *("lrp.z", "lrp.epsilon", "lrp.w_square", "lrp.flat", "lrp.z_plus", "lrp.z_plus_fast"),
            *("lrp.alpha_2_beta_1", "lrp.alpha_2_beta_1_IB"),
            *("lrp.alpha_1_beta_0", "lrp.alpha_1_beta_0_IB"),
            *("lrp.sequential_preset_a", "lrp.sequential_preset_b"),
            *("lrp.sequential_preset_a_flat", "lrp.sequential_preset_b_flat"),
            *("lrp.sequential_preset_b_flat_until_idx", "deep_taylor"),
        )
    },
    "gradient, abs": ("gradient", {"postprocess": "abs"}),
    "gradient, square": ("gradient", {"postprocess": "square"}),
    "lrp.epsilon, 0.1": ("lrp.epsilon", {"epsilon": 0.1}),
    "lrp.epsilon, no bias": ("lrp.epsilon", {"epsilon": 0.01, "bias": False}),
    "lrp.alpha_beta, 3": ("lrp.alpha_beta", {"alpha": 3}),
    "lrp.alpha_beta, no bias": ("lrp.alpha_beta", {"beta": 0.5, "bias": False}),
    "lrp.sequential_preset_a, 0.01": ("lrp.sequential_preset_a", {"epsilon": 0.01}),
    "lrp.sequential_preset_b_flat_until_idx, 3": (
        "lrp.sequential_preset_b_flat_until_idx",
        {"until_layer_idx": 3},
    ),
    "deep_taylor.bounded": ("deep_taylor.bounded", BOX),
    "lrp, Z": ("lrp", {"rule": "Z", "bn_layer_rule": "Z"}),
    "lrp, mixed": ("lrp", {"rule": mixed_rules, "bn_layer_rule": "Epsilon"}),
    "lrp, mixed until 2": (
        "lrp",
        {
            "rule": mixed_rules,
            "bn_layer_rule": "Alpha1Beta0",
            "until_layer_idx": 2,
            "until_layer_rule": "WSquare",
        },
    ),
    "lrp, flat first": (
        "lrp",
        {"rule": flat_first, "bn_layer_rule": "Z", "input_layer_rule": "Flat"},
    ),
    "lrp, box first": (
        "lrp",
        {"rule": flat_first, "bn_layer_rule": "Z", "input_layer_rule": (-1, 1)},
    ),
}

NOT_COMPARED = {
    "input": "returns the input",
    "random": "returns noise",
    "integrated_gradients": "compared with Captum",
    "intgrad": "compared with DeepExplain's formula",
    "expected_gradients": "the original has none",
    "smoothgrad": "the original ignores its noise_scale",
    "occlusion": "compared with Captum",
    "shapley_sampling": "compared with exact enumeration",
    "rise": "compared with its formula",
    "kernel_shap": "is that of shap, and compared with exact enumeration",
    "lime": "is that of lime, and compared with a regression that is written out",
    **dict.fromkeys(
        (
            *("grad_cam", "grad_cam_plus_plus", "layer_cam", "guided_grad_cam", "score_cam"),
            "eigen_cam",
        ),
        "compared with grad-cam",
    ),
    "in_silico_mutagenesis": "compared with its definition, letter by letter",
    "lrp.attn": "compared with LXT",
    "deeplift": "compared with deeplift 0.6.13.0",
    "deeplift.rescale": "compared with deeplift 0.6.13.0",
    "deeplift.reveal_cancel": "compared with deeplift 0.6.13.0",
    "deeplift.genomics_default": "compared with deeplift 0.6.13.0",
    "deeplift.wrapper": "another name of 'deeplift'",
    "pattern.net": "compared with a derivation from explicit patches",
    "pattern.attribution": "compared with a derivation from explicit patches",
    "saliency": "the case 'gradient, abs'",
    "grad*input": "another name of 'input_t_gradient'",
    "guided": "another name of 'guided_backprop'",
    "lrp.z_IB": "the case 'lrp.epsilon, no bias' for small epsilon",
    "lrp.epsilon_IB": "the case 'lrp.epsilon, no bias'",
    "elrp": "'lrp.epsilon' with another epsilon",
}
"""Names of either program that are not in `CASES`, nor compared with Zennit, and why."""

TOKENS = "the original differentiates by integer tokens, for which TensorFlow has no gradient"
PADDED_BOX = (
    "the original takes padded zeros for pixels that could have any value in the box; ours know "
    "they are zero"
)
LEFT_OUT = {
    **{
        ("embedding", label): TOKENS
        for label, (name, _) in CASES.items()
        if not name.startswith("lrp")
    },
    ("padded", "deep_taylor.bounded"): PADDED_BOX,
    ("padded", "lrp, box first"): PADDED_BOX,
}


def arguments(label):
    """The arguments of a case, rule lists made anew."""
    made = CASES[label][1].items()
    return {key: value() if callable(value) else value for key, value in made}


def table():
    """All pairs of a network and a label that have a reference value."""
    pairs = [(network, label) for network in COMPARED for label in CASES]
    return [pair for pair in pairs if pair not in LEFT_OUT]
