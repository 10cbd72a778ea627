"""innvestigate explains the predictions of any Keras 3 model.

>>> analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
>>> relevance = analyzer.analyze(x)
"""

from innvestigate import rules
from innvestigate.analyzer import (
    analyzers,
    create_analyzer,
    load_analyzer,
    model_wo_output_activation,
    model_wo_softmax,
)
from innvestigate.rules import NoRuleError

__version__ = "3.0.0"

__all__ = [
    "NoRuleError",
    "analyzers",
    "create_analyzer",
    "load_analyzer",
    "model_wo_output_activation",
    "model_wo_softmax",
    "rules",
]
