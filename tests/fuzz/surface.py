"""What the library offers, found by introspection, with an honest call of each part of it."""

import importlib
import inspect
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from keras import layers

import innvestigate
from innvestigate import evaluation, rules
from innvestigate.engine.config import argument_names

MODULES = (
    *("innvestigate", "innvestigate.analyzer", "innvestigate.rules", "innvestigate.evaluation"),
    *("innvestigate.visualization", "innvestigate.genomics", "innvestigate.testing"),
)
ABSTRACT = {
    *("analyzer.Analyzer", "analyzer.MirrorAnalyzer", "rules.Rule", "rules.KernelRule"),
    *("rules.DifferenceRule", "rules.Linearised", "evaluation.Metric"),
}
"""Bases: what is told of their arguments is told of every subclass."""
MADE_INSIDE = {
    *("analyzer.Plan", "analyzer.PlanLine", "rules.Absorbed", "rules.Share", "rules.Lookup"),
    *("rules.Pattern", "rules.PatternTimesKernel", "evaluation.Evaluation"),
    *("ExportError", "FileRefusedError", "LedgerError", "NoRuleError", "visualization.HTML"),
    *("analyzer.find_analyzer", "visualization.Panel", "visualization.SampleReport"),
    "visualization.html_report",
}
"""What the library makes and hands out, or hands to itself: in mirrors and in the command line."""
OFTEN = ("analyze", "audit", "accounted", "fit", "partial_fit", "tokens", "rebuilt", "save")
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
BOX = {"low": -9, "high": 9}
REQUIRED: dict[str, dict] = {
    "lrp": {"rule": "Z"},
    "lrp.alpha_beta": {"alpha": 2},
    "lrp.epsilon_gamma_box": BOX,
    "deep_taylor.bounded": BOX,
    "integrated_gradients": {"steps": 4},
    "intgrad": {"steps": 4},
    "expected_gradients": {"samples": 4},
    "smoothgrad": {"augment_by_n": 4},
    "shapley_sampling": {"samples": 2},
}


def as_it_is(found):
    return found


@dataclass(frozen=True)
class Call:
    """One thing that can be called, and how it is called well.

    Attributes:
        name: Its name.
        call: What is called with arguments by name.
        honest: Makes the arguments.
        use: What is done with what it returns, to see that it is right.
    """

    name: str
    call: Callable
    honest: Callable[[], dict]
    use: Callable = as_it_is

    def __call__(self, **changes: Any) -> Any:
        return self.use(self.call(**{**self.honest(), **changes}))


@cache
def mlp():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((3,), name="input"),
            layers.Dense(4, activation="relu", name="hidden"),
            layers.Dense(2, name="out"),
        ]
    )


@cache
def ends_in_softmax():
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((3,)), layers.Dense(2, activation="softmax")])


def analyzer(name, model=None, **arguments):
    """An analyzer whose results are always the same, fitted if it must be."""
    create = innvestigate.analyzers[name]
    given = {**REQUIRED.get(name, {}), **arguments}
    if "seed" in argument_names(create):
        given.setdefault("seed", 0)
    return _fitted(innvestigate.create_analyzer(name, model or mlp(), **given))


def _fitted(made):
    return made.fit(np.random.default_rng(0).normal(size=(20, 3))) if hasattr(made, "fit") else made


def explained(made):
    """What an analyzer says of some samples."""
    selection = {"index": 0, "weights": 1, "contrast": (0, 1)}
    return _fitted(made).analyze(X, selection.get(made.neuron_selection_mode))


def by_rule(rule):
    """What LRP or DeepLIFT says with a rule."""
    name = "deeplift" if rule.compares else "lrp"
    return analyzer(name, rule=[(lambda layer: True, rule)]).analyze(X)


def by_composite(composite):
    return analyzer("lrp", rule=composite).analyze(X)


def evaluated(metric):
    methods = {"gradient": analyzer("input_t_gradient")}
    return evaluation.evaluate(mlp(), methods, X, metrics=metric, seed=0, batch_size=8).samples


def summed_up(found):
    """What is said of relevance that was added."""
    found.add(X)
    return found.to_frame()


def _everywhere(step):
    return True


def _line():
    return rules.Line(rules.Z(), _everywhere, "everywhere")


def built():
    """A layer that has its weights."""
    layer = layers.Dense(2)
    layer.build((None, 3))
    return layer


def _structured(*lines):
    return rules.Composite((*lines, *rules.composite.structure(lambda value, signal: signal)))


def _honest_model(**more):
    return lambda: {"model": mlp(), **more}


def _sequence():
    return np.eye(4, dtype="float32")[None, [0, 1, 2, 3, 0, 2]]


def _audit_table():
    return analyzer("lrp.epsilon").audit(X).to_frame()


@cache
def _curves():
    methods = {"gradient": analyzer("input_t_gradient")}
    return evaluation.evaluate(mlp(), methods, X, seed=0).curves


RELEVANCE = np.random.default_rng(1).normal(size=(4, 4, 3))
TOKENS = ["a", "b", "c"]
Honest = tuple[Callable[[], dict], Callable]


def _saved():
    path = Path(tempfile.mkdtemp(dir=tempfile.gettempdir())) / "analyzer"
    analyzer("gradient").save(path)
    return {"path": path}


def _predicted(model):
    return model.predict(X, verbose=0)


HONEST: dict[str, Honest] = {
    "create_analyzer": (_honest_model(name="gradient"), explained),
    "load_analyzer": (_saved, explained),
    "model_wo_softmax": (lambda: {"model": ends_in_softmax()}, _predicted),
    "model_wo_output_activation": (lambda: {"model": ends_in_softmax()}, _predicted),
    "register_rule": (
        lambda: {"layer_type": type("Own", (layers.Layer,), {}), "rule": "linear"},
        id,
    ),
    "analyzer.PathIntegrator": (lambda: {"analyzer": analyzer("gradient"), "steps": 4}, explained),
    "analyzer.GaussianSmoother": (
        lambda: {"analyzer": analyzer("gradient"), "augment_by_n": 4, "seed": 0},
        explained,
    ),
    "analyzer.PatternStatistics": (dict, lambda found: found.state()),
    "rules.Composite": (lambda: {"lines": _structured(_line()).lines}, by_composite),
    "rules.Line": (
        lambda: {"rule": rules.Z(), "condition": _everywhere, "why": "everywhere"},
        lambda line: by_composite(_structured(line)),
    ),
    "rules.AlphaBeta": (lambda: {"alpha": 2, "beta": 1}, by_rule),
    "rules.Projected": (lambda: {"rule": rules.Z()}, by_rule),
    "rules.as_rule": (lambda: {"rule": "Z"}, by_rule),
    "evaluation.SensitivityN": (lambda: {"subsets": 4}, evaluated),
    "evaluation.Infidelity": (lambda: {"draws": 4}, evaluated),
    "evaluation.MaxSensitivity": (lambda: {"draws": 2}, evaluated),
    "evaluation.RegionPerturbation": (dict, evaluated),
    "evaluation.Randomization": (dict, evaluated),
    "evaluation.aopc": (lambda: {"curves": np.random.default_rng(0).normal(size=(3, 4))}, as_it_is),
    "evaluation.evaluate": (
        lambda: {"model": mlp(), "methods": {"g": analyzer("gradient")}, "x": X, "seed": 0},
        lambda found: found.samples,
    ),
    "evaluation.Importance": (dict, summed_up),
    "evaluation.importance": (lambda: {"analyzer": analyzer("gradient"), "data": X}, as_it_is),
    "evaluation.rank_correlation": (
        lambda: {"a": RELEVANCE[0], "b": RELEVANCE[1]},
        as_it_is,
    ),
    "visualization.project": (lambda: {"X": RELEVANCE}, as_it_is),
    "visualization.heatmap": (lambda: {"X": RELEVANCE[None]}, as_it_is),
    "visualization.graymap": (lambda: {"X": RELEVANCE[None]}, as_it_is),
    "visualization.gamma": (lambda: {"X": RELEVANCE}, as_it_is),
    "visualization.clip_quantile": (lambda: {"X": RELEVANCE}, as_it_is),
    "visualization.batch_flatten": (lambda: {"X": RELEVANCE}, np.nan_to_num),
    "visualization.plot_heatmap": (
        lambda: {"relevance": RELEVANCE, "image": np.abs(RELEVANCE), "colorbar": True},
        as_it_is,
    ),
    "visualization.plot_comparison": (
        lambda: {
            "images": np.abs(RELEVANCE[None]),
            "relevances": {"a": RELEVANCE[None]},
            "captions": ["one"],
        },
        as_it_is,
    ),
    "visualization.plot_audit": (lambda: {"ledger": _audit_table()}, as_it_is),
    "visualization.plot_perturbation_curves": (lambda: {"table": _curves()}, as_it_is),
    "visualization.plot_sequence_logo": (lambda: {"relevance": np.eye(4)}, as_it_is),
    "visualization.plot_tabular": (lambda: {"relevance": X[0], "names": TOKENS}, as_it_is),
    "visualization.plot_text": (lambda: {"tokens": TOKENS, "relevance": X[0]}, as_it_is),
    "visualization.text_html": (lambda: {"tokens": TOKENS, "relevance": X[0]}, as_it_is),
    "visualization.plot_time_series": (
        lambda: {"series": RELEVANCE[0], "relevance": RELEVANCE[1]},
        as_it_is,
    ),
    "genomics.one_hot_encode": (lambda: {"sequences": ["ACGT", "AACC"]}, as_it_is),
    "genomics.one_hot_decode": (lambda: {"x": _sequence()}, as_it_is),
    "genomics.dinucleotide_shuffle": (lambda: {"sequence": "ACGTACAA", "seed": 0}, as_it_is),
    "genomics.ShuffledReferences": (dict, lambda found: found(_sequence())),
    "testing.check_rule": (lambda: {"rule": "Z", "layer": built(), "x": X}, as_it_is),
    "testing.check_analyzer": (
        lambda: {"create": innvestigate.analyzers["gradient"], "model": mlp(), "x": X},
        as_it_is,
    ),
}


def public() -> dict[str, Any]:
    """Every public callable by its name; what is offered twice once."""
    found: dict[int, tuple[str, Any]] = {}
    for module in map(importlib.import_module, MODULES):
        own = [
            n for n, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__
        ]
        for name in getattr(module, "__all__", own):
            thing = getattr(module, name)
            if callable(thing) and not name.startswith("_"):
                short = f"{module.__name__}.{name}".partition(".")[2]
                found.setdefault(id(thing), (short, thing))
    return dict(found.values())


def calls() -> list[Call]:
    """An honest call of everything that is public.

    Raises:
        KeyError: If it is not known how something is called.
    """
    by_name = {id(getattr(create, "func", create)) for create in innvestigate.analyzers.values()}
    made = [partial_call(name) for name in innvestigate.analyzers]
    for name, thing in public().items():
        if name in ABSTRACT | MADE_INSIDE or id(thing) in by_name:
            continue
        plain = isinstance(thing, type) and issubclass(thing, rules.Rule)
        honest, use = HONEST[name] if name in HONEST or not plain else (dict, by_rule)
        made.append(Call(name, thing, honest, use))
    return made + methods()


def partial_call(name: str) -> Call:
    """The call that creates an analyzer of a name."""
    known = argument_names(innvestigate.analyzers[name])

    def honest():
        seeded = {"seed": 0} if "seed" in known else {}
        return {"model": mlp(), **REQUIRED.get(name, {}), **seeded}

    return Call(
        f"analyzer {name!r}", partial(innvestigate.create_analyzer, name), honest, explained
    )


def arguments_of(call: Call) -> list[str]:
    """The names of the arguments of a call, those that `**kwargs` stand for included."""
    if isinstance(call.call, partial):
        return ["model", "neuron_selection_mode", *argument_names(_created(call))]
    parameters = inspect.signature(call.call).parameters.values()
    kinds = inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL
    return [p.name for p in parameters if p.kind not in kinds]


def _created(call):
    return innvestigate.analyzers[call.call.args[0]]


ANALYZERS = ("gradient", "lrp.epsilon", "pattern.net", "occlusion", "deeplift", "smoothgrad")
MODES = {"index": 0, "contrast": (0, 1), "weights": [1.0, 0.0], "all": None}
_METHODS: dict[str, Callable[[], dict]] = {
    "analyze": lambda: {"x": X},
    "stream": lambda: {"x": X},
    "audit": lambda: {"x": X},
    "accounted": lambda: {"x": X},
    "tokens": lambda: {"x": X},
    "fit": lambda: {"X": X},
    "partial_fit": lambda: {"batch": X},
    "rebuilt": dict,
    "save": lambda: {"path": Path(tempfile.mkdtemp(dir=tempfile.gettempdir())) / "analyzer"},
    "plan": dict,
}


def methods() -> list[Call]:
    """Calls of the methods of some analyzers."""
    found = []
    for name in ANALYZERS:
        made = _made(name)
        for method, honest in _METHODS.items():
            books = method in ("audit", "accounted") and made().adds_up_to is None
            if hasattr(made(), method) and not books:
                call = _method(made, method)
                use = {"rebuilt": explained, "stream": list}.get(method, as_it_is)
                found.append(Call(f"{name} .{method}", call, honest, use))
    for mode, selection in MODES.items():
        made = _made("lrp.epsilon", mode)
        honest = partial(dict, x=X, neuron_selection=selection)
        found.append(Call(f"{mode} .analyze", _method(made, "analyze"), honest))
    return found


@cache
def _cached(name, mode):
    return analyzer(name, neuron_selection_mode=mode)


def _made(name, mode="max_activation"):
    return partial(_cached, name, mode)


def _method(made, method):
    """A method of an analyzer that is fitted anew where calls may change what was fitted."""

    def call(**arguments):
        owner = made()
        owner = owner.rebuilt() if method in ("fit", "partial_fit") else owner
        return getattr(owner, method)(**arguments)

    call.__signature__ = inspect.signature(getattr(made(), method))
    return call


def settled(found: Any) -> list[np.ndarray]:
    """What there is to compare of a result: its numbers and texts."""
    figure = getattr(found, "figure", found)
    if isinstance(figure, plt.Figure):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure.canvas.draw()
        return []
    if isinstance(found, pd.DataFrame):
        return [found.to_numpy()]
    if isinstance(found, (np.ndarray, np.generic, str, int, float)):
        return [np.asarray(found)]
    parts = found.values() if isinstance(found, dict) else found
    return [part for each in parts for part in settled(each)] if _is_nested(found) else []


def _is_nested(found):
    return isinstance(found, (dict, list, tuple))
