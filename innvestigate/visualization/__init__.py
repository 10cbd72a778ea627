"""Pictures of relevance, drawn with matplotlib. Works on any arrays, with or without analyzers.

One convention holds for all of them: red speaks for the output, blue against it, and the paler a
colour, the smaller the relevance. The colours differ for colour-blind readers too. Zero is always
the middle of a signed scale, and both sides have the same unit.
"""

from innvestigate.visualization.classic import (
    batch_flatten,
    clip_quantile,
    gamma,
    graymap,
    heatmap,
    project,
)
from innvestigate.visualization.concepts import plot_concepts
from innvestigate.visualization.explanations import to_shap
from innvestigate.visualization.features import plot_beeswarm, plot_importance
from innvestigate.visualization.images import plot_comparison, plot_heatmap
from innvestigate.visualization.overlay import Overlay
from innvestigate.visualization.page import Panel, SampleReport, html_report
from innvestigate.visualization.reporting import report
from innvestigate.visualization.sequences import plot_sequence_logo, plot_time_series
from innvestigate.visualization.tables import plot_audit, plot_perturbation_curves, plot_tabular
from innvestigate.visualization.text import HTML, plot_text, text_html

__all__ = [
    "HTML",
    "Overlay",
    "Panel",
    "SampleReport",
    "batch_flatten",
    "clip_quantile",
    "gamma",
    "graymap",
    "heatmap",
    "html_report",
    "plot_audit",
    "plot_beeswarm",
    "plot_comparison",
    "plot_concepts",
    "plot_heatmap",
    "plot_importance",
    "plot_perturbation_curves",
    "plot_sequence_logo",
    "plot_tabular",
    "plot_text",
    "plot_time_series",
    "project",
    "report",
    "text_html",
    "to_shap",
]
