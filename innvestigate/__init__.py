"""innvestigate explains the predictions of any Keras 3 model.

>>> analyzer = innvestigate.create_analyzer("lrp.epsilon", model)
>>> relevance = analyzer.analyze(x)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from innvestigate import rules
    from innvestigate.analyzer import (
        analyzers,
        create_analyzer,
        load_analyzer,
        model_wo_output_activation,
        model_wo_softmax,
    )
    from innvestigate.engine.export import ExportError
    from innvestigate.engine.ledger import LedgerError
    from innvestigate.rules import NoRuleError, register_rule
    from innvestigate.utils.files import FileRefusedError

__version__ = "3.0.0"

__all__ = [
    "ExportError",
    "FileRefusedError",
    "LedgerError",
    "NoRuleError",
    "analyzers",
    "create_analyzer",
    "load_analyzer",
    "model_wo_output_activation",
    "model_wo_softmax",
    "register_rule",
    "rules",
]

_PACKAGES = (
    *("analyzer", "backend", "distributed", "engine", "evaluation", "genomics", "graph", "rules"),
    *("testing", "utils", "visualization"),
)
_HOMES = {
    "ExportError": "engine.export",
    "FileRefusedError": "utils.files",
    "LedgerError": "engine.ledger",
    "NoRuleError": "rules",
    "register_rule": "rules",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: the command line starts without Keras."""
    if name in _PACKAGES:
        return _imported(name)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "analyzer")
    value = globals()[name] = getattr(_imported(home), name)
    return value


def _imported(module: str) -> Any:
    """A module of the package. A plain install brings no framework, as that of Keras."""
    try:
        return importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        if error.name not in ("tensorflow", "jax", "torch"):
            raise
        raise ImportError(
            f"Keras is to run on {error.name}, which is not installed. Install it by "
            f"`pip install 'innvestigate[{error.name}]'`, or set the environment variable "
            f"KERAS_BACKEND to one of tensorflow, jax and torch that is there."
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
