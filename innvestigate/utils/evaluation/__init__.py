"""How good is a heatmap? Metrics of explanations, and a runner that compares methods.

>>> from innvestigate.utils.evaluation import RegionPerturbation, evaluate
>>> found = evaluate(model, {"lrp.epsilon": analyzer}, x, metrics=RegionPerturbation(steps=20))
>>> found.scores, found.curves
"""

from innvestigate.utils.evaluation.faithfulness import Infidelity, SensitivityN
from innvestigate.utils.evaluation.metric import Metric
from innvestigate.utils.evaluation.perturbation import RegionPerturbation, aopc
from innvestigate.utils.evaluation.randomization import Randomization, rank_correlation
from innvestigate.utils.evaluation.robustness import MaxSensitivity
from innvestigate.utils.evaluation.runner import METRICS, Evaluation, evaluate

__all__ = [
    "METRICS",
    "Evaluation",
    "Infidelity",
    "MaxSensitivity",
    "Metric",
    "Randomization",
    "RegionPerturbation",
    "SensitivityN",
    "aopc",
    "evaluate",
    "rank_correlation",
]
