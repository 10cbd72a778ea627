"""How one step sends relevance back: one small class for each published rule."""

from innvestigate.rules.attention import Attention, Softmax
from innvestigate.rules.base import Absorbed, Gradient, Linearised, Pass, Rule
from innvestigate.rules.composite import Composite, Line, NoRuleError, as_rule
from innvestigate.rules.deeplift import DifferenceRule, Rescale, RevealCancel
from innvestigate.rules.deeplift_structure import MeanGradient
from innvestigate.rules.kernel import KernelRule, Share
from innvestigate.rules.linear import (
    AlphaBeta,
    AlphaBetaX,
    Epsilon,
    Flat,
    Gamma,
    WSquare,
    Z,
    ZBox,
    ZPlus,
    ZPlusFast,
)
from innvestigate.rules.pattern import Pattern, PatternTimesKernel, Projected
from innvestigate.rules.rectifier import Deconvolution, Guided
from innvestigate.rules.registry import register_rule
from innvestigate.rules.structure import Detached, Lookup, Product, Summands

__all__ = [
    "Absorbed",
    "AlphaBeta",
    "AlphaBetaX",
    "Attention",
    "Composite",
    "Deconvolution",
    "Detached",
    "DifferenceRule",
    "Epsilon",
    "Flat",
    "Gamma",
    "Gradient",
    "Guided",
    "KernelRule",
    "Line",
    "Linearised",
    "Lookup",
    "MeanGradient",
    "NoRuleError",
    "Pass",
    "Pattern",
    "PatternTimesKernel",
    "Product",
    "Projected",
    "Rescale",
    "RevealCancel",
    "Rule",
    "Share",
    "Softmax",
    "Summands",
    "WSquare",
    "Z",
    "ZBox",
    "ZPlus",
    "ZPlusFast",
    "as_rule",
    "register_rule",
]
