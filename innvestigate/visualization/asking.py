"""What a page tells of analyzers: their results, sums and plans, and what they ran on.

Analyzers are known by what they do, as nothing here imports them.
"""

from __future__ import annotations

import contextlib
import io
import platform
from datetime import datetime
from typing import Any

import numpy as np

from innvestigate import __version__
from innvestigate.visualization.captions import Sums


def ask(analyzer: Any, x: Any, selection: Any, batch_size: int) -> tuple[Any, Sums | None]:
    """The results of an analyzer, and what those of each sample add up to.

    Args:
        analyzer: The analyzer.
        x: The samples, see `Analyzer.analyze`.
        selection: The neurons, see there.
        batch_size: Samples that are run at a time.

    Returns:
        What `analyze` returns and, for methods whose results add up to something, their `Sums`.
    """
    if getattr(analyzer, "adds_up_to", None) is None:
        return analyzer.analyze(x, selection, batch_size=batch_size), None
    ledger = analyzer.audit(x, selection, in_detail=False, batch_size=batch_size)
    return ledger.results, Sums(ledger.accounted, analyzer.adds_up_to)


def plan_of(analyzer: Any) -> Any:
    """The plan of an analyzer, or of the one that it runs; None if there is none."""
    planned = analyzer if hasattr(analyzer, "plan") else getattr(analyzer, "analyzer", None)
    if planned is None:
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints itself
        return planned.plan()


def rows_of_plan(analyzer: Any) -> list[dict]:
    """The lines of an analyzer's plan as rows of a table; none if it has no plan."""
    return [vars(line) for line in plan_of(analyzer) or ()]


def facts(model: Any) -> dict[str, str]:
    """What explains how explanations were made: the model and all versions."""
    import keras  # here, as pictures need neither

    from innvestigate.backend import NAME

    return {
        "model": f"{model.name}, {model.count_params():,} weights",
        "innvestigate": __version__,
        "Keras": f"{keras.__version__} on {NAME}",
        "numpy": np.__version__,
        "Python": platform.python_version(),
        "made": datetime.now().astimezone().isoformat(" ", "seconds"),
    }
