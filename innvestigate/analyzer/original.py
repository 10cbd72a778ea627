"""The class names of iNNvestigate 1 and 2 for analyzers that are functions or called otherwise."""

CLASSES = {
    "AnalyzerBase": "Analyzer",
    "BaselineLRPZ": "InputTimesGradient",
    "Gradient": "GradientAnalyzer",
}
"""Those that are another class of `innvestigate.analyzer`."""

METHODS = {
    "LRPAlpha1Beta0": "lrp.alpha_1_beta_0",
    "LRPAlpha1Beta0IgnoreBias": "lrp.alpha_1_beta_0_IB",
    "LRPAlpha2Beta1": "lrp.alpha_2_beta_1",
    "LRPAlpha2Beta1IgnoreBias": "lrp.alpha_2_beta_1_IB",
    "LRPEpsilonIgnoreBias": "lrp.epsilon_IB",
    "LRPFlat": "lrp.flat",
    "LRPSequentialPresetA": "lrp.sequential_preset_a",
    "LRPSequentialPresetAFlat": "lrp.sequential_preset_a_flat",
    "LRPSequentialPresetB": "lrp.sequential_preset_b",
    "LRPSequentialPresetBFlat": "lrp.sequential_preset_b_flat",
    "LRPSequentialPresetBFlatUntilIdx": "lrp.sequential_preset_b_flat_until_idx",
    "LRPWSquare": "lrp.w_square",
    "LRPZ": "lrp.z",
    "LRPZIgnoreBias": "lrp.z_IB",
    "LRPZPlus": "lrp.z_plus",
    "LRPZPlusFast": "lrp.z_plus_fast",
}
"""Those that are a setting of LRP, by their keys in the table of analyzers."""
