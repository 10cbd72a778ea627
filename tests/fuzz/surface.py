"""What the library offers, found by introspection, with an honest call of each part of it."""

import importlib
import inspect
import re
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
from innvestigate import evaluation, rules, stores, visualization
from innvestigate.engine.config import argument_names
from tests.fuzz.documented import documented, why_not_called
from tests.models import has_places, makes_map

MODULES = (
    *("innvestigate", "innvestigate.analyzer", "innvestigate.rules", "innvestigate.evaluation"),
    *("innvestigate.visualization", "innvestigate.genomics", "innvestigate.testing"),
    "innvestigate.stores",
)
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
BOXES = np.array([[0, 1], [0, 2], [1, 3], [0, 3]])
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
    "rise": {"masks": 4},
    "kernel_shap": {"samples": 8},
    "lime": {"samples": 8},
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
def convolution():
    keras.utils.set_random_seed(0)
    return has_places(3)


def network(method):
    """A model that a method can explain."""
    return convolution() if makes_map(method) else mlp()


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
    return _fitted(innvestigate.create_analyzer(name, model or network(name), **given))


def _fitted(made):
    return made.fit(np.random.default_rng(0).normal(size=(20, 3))) if hasattr(made, "fit") else made


def explained(made):
    """What an analyzer says of some samples."""
    selection = {"index": 0, "weights": 1, "contrast": (0, 1)}
    return _fitted(made).analyze(samples(made), selection.get(made.neuron_selection_mode))


def samples(made):
    """Samples as an analyzer takes them."""
    of_letters = isinstance(made, innvestigate.analyzer.InSilicoMutagenesis)
    return np.eye(3, dtype="float32")[[0, 2, 1, 0]] if of_letters else X


def by_rule(rule):
    """What LRP or DeepLIFT says with a rule."""
    name, rest = ("deeplift", []) if rule.compares else ("lrp", [(_everywhere, "Z")])
    return analyzer(name, rule=[(_everywhere, rule), *rest]).analyze(X)


def explained_by_pattern(rule):
    """What LRP says with patterns of one hidden layer."""
    chosen = [(lambda layer: layer.name == "hidden", rule), (lambda layer: True, "Z")]
    return analyzer("lrp", rule=chosen).analyze(X)


def by_composite(composite):
    return analyzer("lrp", rule=composite).analyze(X)


def evaluated(metric):
    methods = {"gradient": analyzer("input_t_gradient")}
    return evaluation.evaluate(
        mlp(), methods, X, metrics=metric, seed=0, batch_size=8, verbose=0
    ).samples


def evaluated_over_time(metric):
    x = np.random.default_rng(0).normal(size=(4, 6, 1)).astype("float32")
    model = keras.Sequential([layers.Input((6, 1)), layers.Flatten(), layers.Dense(2)])
    model.set_weights([np.eye(6, 2), np.zeros(2)])
    return evaluation.evaluate(model, {"x": x}, x, metrics=metric, seed=0, verbose=0).samples


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


def sequence():
    return np.eye(4, dtype="float32")[None, [0, 1, 2, 3, 0, 2]]


def _row_sums(rows):
    return rows.cumsum(axis=1).sum(axis=1)


def _audit_table():
    return analyzer("lrp.epsilon").audit(X).to_frame()


@cache
def _importance_table():
    return evaluation.importance(analyzer("gradient"), X, quantiles=[0.1, 0.9])


def _of_shap():
    import shap  # noqa: F401  # which warns of its own colours when it is imported

    return {"result": X, "output": X[:, 0]}


@cache
def _curves():
    methods = {"gradient": analyzer("input_t_gradient")}
    return evaluation.evaluate(mlp(), methods, X, seed=0, verbose=0).curves


PIXELS = np.zeros((4, 4, 3), "uint8")


def panel():
    return visualization.Panel("a", PIXELS)


def reported(panel):
    """A sample of one picture."""
    return visualization.SampleReport("a", "b", [panel])


def in_bytes(pieces):
    """A page as it is written to a file."""
    return "".join(pieces).encode("utf-8").decode("utf-8")


def written(samples):
    return in_bytes(visualization.html_report(samples))


RELEVANCE = np.random.default_rng(1).normal(size=(4, 4, 3))
TOKENS = ["a", "b", "c"]
Honest = tuple[Callable[[], dict], Callable]


def place() -> Path:
    """A folder that nobody has written to."""
    return Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))


def _store():
    return stores.open_store(place() / "found.npy", lambda: "me", False)


def filled(store):
    """How much a store holds when results were written to it."""
    stores.write_all(store, [X[:2], X[2:]])
    return store.written


def _saved():
    path = place() / "analyzer"
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
    "analyzer.find_analyzer": (lambda: {"name": "lrp", "arguments": ["rule"]}, as_it_is),
    "analyzer.PatternStatistics": (dict, lambda found: found.state()),
    "rules.Composite": (lambda: {"lines": _structured(_line()).lines}, by_composite),
    "rules.Line": (
        lambda: {"rule": rules.Z(), "condition": _everywhere, "why": "everywhere"},
        lambda line: by_composite(_structured(line)),
    ),
    "rules.AlphaBeta": (lambda: {"alpha": 2, "beta": 1}, by_rule),
    "rules.Projected": (lambda: {"rule": rules.Z()}, by_rule),
    "rules.Lookup": (lambda: {"finish": max}, as_it_is),
    "rules.Pattern": (dict, explained_by_pattern),
    "rules.PatternTimesKernel": (dict, explained_by_pattern),
    "rules.as_rule": (lambda: {"rule": "Z"}, by_rule),
    "evaluation.SensitivityN": (lambda: {"subsets": 4}, evaluated),
    "evaluation.Infidelity": (lambda: {"draws": 4}, evaluated),
    "evaluation.MaxSensitivity": (lambda: {"draws": 2}, evaluated),
    "evaluation.RegionPerturbation": (dict, evaluated),
    "evaluation.Deletion": (dict, evaluated),
    "evaluation.Insertion": (lambda: {"perturbation": "zeros"}, evaluated),
    "analyzer.concept_relevance": (
        lambda: {"analyzer": analyzer("lrp.epsilon"), "x": X, "layer": "hidden"},
        as_it_is,
    ),
    "analyzer.reference_samples": (
        lambda: {"analyzer": analyzer("lrp.epsilon"), "data": X, "layer": "hidden", "k": 2},
        lambda found: [found.samples, found.values],
    ),
    "analyzer.bilrp": (
        lambda: {
            "analyzer": analyzer("lrp.epsilon", neuron_selection_mode="index"),
            "x": X,
            "other": X,
        },
        as_it_is,
    ),
    "evaluation.Road": (lambda: {"fractions": (0.5,)}, evaluated_over_time),
    "evaluation.Sparseness": (dict, evaluated),
    "evaluation.Complexity": (dict, evaluated),
    "evaluation.PointingGame": (lambda: {"masks": X > 0}, evaluated),
    "evaluation.RelevanceMassAccuracy": (lambda: {"masks": X > 0}, evaluated),
    "evaluation.RelevanceRankAccuracy": (lambda: {"boxes": BOXES}, evaluated),
    "evaluation.Randomization": (dict, evaluated),
    "evaluation.aopc": (lambda: {"curves": np.random.default_rng(0).normal(size=(3, 4))}, as_it_is),
    "evaluation.evaluate": (
        lambda: {"model": mlp(), "methods": {"g": analyzer("gradient")}, "x": X, "seed": 0},
        lambda found: found.samples,
    ),
    "evaluation.Importance": (lambda: {"quantiles": [0.5]}, summed_up),
    "evaluation.importance": (lambda: {"analyzer": analyzer("gradient"), "data": X}, as_it_is),
    "evaluation.permutation_importance": (
        lambda: {"model": mlp(), "x": X, "y": [0, 1, 0, 1], "score": "accuracy", "seed": 0},
        as_it_is,
    ),
    "evaluation.rank_correlation": (
        lambda: {"a": RELEVANCE[0], "b": RELEVANCE[1]},
        as_it_is,
    ),
    "visualization.Panel": (
        lambda: {"title": "a", "picture": PIXELS, "note": "b"},
        lambda panel: written([reported(panel)]),
    ),
    "visualization.Overlay": (
        lambda: {"relevance": RELEVANCE, "image": np.abs(RELEVANCE)},
        lambda over: written([reported(visualization.Panel("a", over))]),
    ),
    "visualization.report": (
        lambda: {
            "analyzers": {"a": analyzer("gradient")},
            "x": X,
            "out": place() / "page.html",
            "class_names": ["cat", "dog"],
            "names": list("abcd"),
            "features": TOKENS,
        },
        lambda path: re.sub(r"<dt>made</dt><dd>.*?</dd>", "", path.read_text("utf-8")),
    ),
    "visualization.project": (lambda: {"X": RELEVANCE}, as_it_is),
    "visualization.heatmap": (lambda: {"X": RELEVANCE[None]}, as_it_is),
    "visualization.graymap": (lambda: {"X": RELEVANCE[None]}, as_it_is),
    "visualization.gamma": (lambda: {"X": RELEVANCE}, as_it_is),
    "visualization.SampleReport": (
        lambda: {"name": "a", "prediction": "b", "panels": [panel()]},
        lambda sample: written([sample]),
    ),
    "visualization.html_report": (
        lambda: {
            "samples": [reported(panel())],
            "title": "a",
            "plans": {"lrp": [{"step": "b", "rule": "Z()"}], "occlusion": []},
            "facts": {"Keras": "3"},
        },
        in_bytes,
    ),
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
    "visualization.plot_concepts": (
        lambda: {
            "image": np.abs(RELEVANCE[0]),
            "heatmaps": RELEVANCE[:2],
            "references": np.abs(RELEVANCE[None, :2].repeat(2, axis=0)),
        },
        as_it_is,
    ),
    "visualization.plot_audit": (lambda: {"ledger": _audit_table()}, as_it_is),
    "visualization.plot_beeswarm": (lambda: {"relevance": X}, as_it_is),
    "visualization.plot_importance": (lambda: {"table": _importance_table()}, as_it_is),
    "visualization.to_shap": (_of_shap, lambda found: found.values),
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
    "genomics.one_hot_decode": (lambda: {"x": sequence()}, as_it_is),
    "genomics.dinucleotide_shuffle": (lambda: {"sequence": "ACGTACAA", "seed": 0}, as_it_is),
    "genomics.ShuffledReferences": (dict, lambda found: found(sequence())),
    "genomics.variant_effects": (
        lambda: {"predict": _row_sums, "x": sequence(), "variants": [(0, 2, "G", "T")]},
        as_it_is,
    ),
    "genomics.save_modisco": (
        lambda: {"path": place(), "one_hot": sequence(), "contributions": sequence() - 0.25},
        lambda paths: [np.load(path)["arr_0"] for path in paths],
    ),
    "stores.open_store": (
        lambda: {"out": place() / "found.npy", "made_by": lambda: "me", "resume": False},
        filled,
    ),
    "stores.save_virelay": (
        lambda: {
            "path": place() / "found.h5",
            "attributions": [X],
            "labels": [0, 1, 0, 1],
            "predictions": X,
        },
        as_it_is,
    ),
    "stores.write_all": (
        lambda: {"store": _store(), "results": [X[:2], X[2:]]},
        as_it_is,
    ),
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


def left_out(calls: list[Call]) -> set[str]:
    """What is offered or documented, takes arguments, and is called by none of some calls."""
    called = {id(_behind(_created(c) if isinstance(c.call, partial) else c.call)) for c in calls}
    every = {**documented(), **public()}
    return {n for n, v in every.items() if id(_behind(v)) not in called and _takes_any(v)}


def _behind(thing):
    """The class or function that is called in the end."""
    thing = inspect.unwrap(getattr(thing, "func", thing))
    return getattr(thing, "__func__", thing)


def _takes_any(thing):
    return isinstance(thing, type) or bool({*inspect.signature(thing).parameters} - {"self"})


def calls() -> list[Call]:
    """An honest call of every function and class that is public; see `methods` for the rest.

    Raises:
        KeyError: If it is not known how something is called.
    """
    by_name = {id(getattr(create, "func", create)) for create in innvestigate.analyzers.values()}
    made = [partial_call(name) for name in innvestigate.analyzers]
    for name, thing in public().items():
        if why_not_called(name) or id(thing) in by_name:
            continue
        plain = isinstance(thing, type) and issubclass(thing, rules.Rule)
        honest, use = HONEST[name] if name in HONEST or not plain else (dict, by_rule)
        made.append(Call(name, thing, honest, use))
    return made


def partial_call(name: str) -> Call:
    """The call that creates an analyzer of a name."""
    known = argument_names(innvestigate.analyzers[name])

    def honest():
        seeded = {"seed": 0} if "seed" in known else {}
        return {"model": network(name), **REQUIRED.get(name, {}), **seeded}

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


def settled(found: Any) -> list[np.ndarray]:
    """What there is to compare of a result: its numbers and texts."""
    figure = getattr(found, "figure", found)
    if isinstance(figure, plt.Figure):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            figure.canvas.draw()
        return []
    if isinstance(found, (pd.DataFrame, pd.Series)):
        return [found.to_numpy()]
    if isinstance(found, (np.ndarray, np.generic, str, int, float)):
        return [np.asarray(found)]
    parts = found.values() if isinstance(found, dict) else found
    return [part for each in parts for part in settled(each)] if _is_nested(found) else []


def _is_nested(found):
    return isinstance(found, (dict, list, tuple))
