"""How good is a heatmap? Metrics of explanations, and a runner that compares methods.

>>> from innvestigate.evaluation import RegionPerturbation, evaluate
>>> found = evaluate(model, {"lrp.epsilon": analyzer}, x, metrics=RegionPerturbation(steps=20))
>>> found.scores, found.curves
"""

from innvestigate.evaluation.concision import Complexity, Sparseness
from innvestigate.evaluation.faithfulness import Infidelity, SensitivityN
from innvestigate.evaluation.importance import Importance, importance
from innvestigate.evaluation.localization import (
    Localization,
    PointingGame,
    RelevanceMassAccuracy,
    RelevanceRankAccuracy,
)
from innvestigate.evaluation.metric import Metric
from innvestigate.evaluation.permutation import permutation_importance
from innvestigate.evaluation.perturbation import Deletion, Insertion, RegionPerturbation, aopc
from innvestigate.evaluation.randomization import Randomization, rank_correlation
from innvestigate.evaluation.road import Road
from innvestigate.evaluation.robustness import MaxSensitivity
from innvestigate.evaluation.runner import METRICS, Evaluation, evaluate

__all__ = [
    "METRICS",
    "Complexity",
    "Deletion",
    "Evaluation",
    "Importance",
    "Infidelity",
    "Insertion",
    "Localization",
    "MaxSensitivity",
    "Metric",
    "PointingGame",
    "Randomization",
    "RegionPerturbation",
    "RelevanceMassAccuracy",
    "RelevanceRankAccuracy",
    "Road",
    "SensitivityN",
    "Sparseness",
    "aopc",
    "evaluate",
    "importance",
    "permutation_importance",
    "rank_correlation",
]
