"""What every method promises, as checks: of the library's own rules and analyzers, and of yours.

Each raises an AssertionError that says which promise is broken, and by how much.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from innvestigate.analyzer import LRP, Analyzer, load_analyzer
from innvestigate.engine.selection import MODES, one_hot_max
from innvestigate.graph.layers import AtOnce
from innvestigate.graph.mirror import Builder
from innvestigate.graph.operations import body_of
from innvestigate.graph.recurrent import deep_steps
from innvestigate.graph.run import backward, float_type, forward, run
from innvestigate.graph.task import Method
from innvestigate.graph.trace import count_nodes
from innvestigate.rules import Rule, as_rule
from innvestigate.utils.arguments import (
    as_array,
    check_flags,
    check_keys,
    check_kind,
    check_number,
)
from innvestigate.utils.words import one_line, shown


def check_rule(
    rule: str | Rule | type[Rule],
    layer: keras.Layer,
    x: Any,
    *,
    linear: bool = True,
    conserves: bool = False,
    tolerance: float = 1e-4,
) -> None:
    """Check what a rule promises, by sending relevance back through one layer.

    What arrives at an input has its shape and is finite, also where x is zero; it is linear in the
    relevance of the output; each sample is on its own; and a mirror finds the same.

    Args:
        rule: The rule: what `create_analyzer("lrp", model, rule=...)` takes.
        layer: A layer with one output that does not compute in half precision.
        x: At least two samples of its input, in its type; a list of arrays for several inputs.
        linear: Whether the rule is linear. (Guided Backprop, for one, is not.)
        conserves: Whether it hands on all that it gets. A bias takes its share: use a layer
            without one.
        tolerance: By how much numbers may differ, as a fraction of the largest.

    Raises:
        AssertionError: If a promise is broken.
        TypeError, ValueError: If an argument does not fit.
    """
    check_flags(linear=linear, conserves=conserves)
    tolerance = check_number("tolerance", tolerance, least=0)
    check_kind("layer", layer, keras.Layer, "a layer")
    x = tree.map_structure(
        lambda a: a.astype(layer.compute_dtype) if a.dtype.kind == "f" else a,
        _as_samples(x, "fiub"),
    )
    analyzer = _in_a_mirror(rule := as_rule(rule), layer, x)
    output, send = _without_mirror(analyzer, rule, x)
    r, other = np.random.default_rng(0).normal(size=(2, *output.shape)).astype(output.dtype)
    found = send(x, r)
    _check_finite("Relevance is finite", found)
    _check_finite("Relevance of zeros is finite", send(tree.map_structure(np.zeros_like, x), r))
    if linear:
        sums = [2 * a - b for a, b in zip(found, send(x, other), strict=True)]
        _check_equal("A rule is linear", send(x, 2 * r - other), sums, tolerance)
    for rows in _choices(len(output)):
        promise = f"Each sample is on its own (rows {rows})"
        _check_equal(promise, send(_rows(x, rows), r[rows]), _rows(found, rows), tolerance)
    mirrored = tree.flatten(analyzer.analyze(x, r))
    _check_equal("A mirror finds the same", mirrored, send(x, r * output), tolerance)
    if conserves:
        total = sum(a.reshape(len(a), -1).sum(axis=1) for a in found)
        expected = r.reshape(len(r), -1).sum(axis=1)
        _check_equal("Relevance is conserved", total, expected, tolerance)


def check_analyzer(
    create: Callable[..., Analyzer],
    model: keras.Model,
    x: Any,
    *,
    noisy: bool = False,
    saves: bool = True,
    custom_objects: dict[str, Any] | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Check what an analyzer promises, on one model.

    It can be created for each neuron selection. Results have the structure, shape and float type
    that they should have, are finite, and depend neither on the batch size nor on other samples.
    The largest neuron may as well be given by its index or weights. NaN and wrong shapes are
    refused. The plan prints. A saved analyzer finds the same numbers. The model stays as it is.

    Args:
        create: Creates the analyzer: `create(model, neuron_selection_mode=...)`.
        model: The model.
        x: At least two samples in the model's own structure.
        noisy: Whether there is noise that depends on the sample's number.
        saves: Whether the analyzer and the model can be saved.
        custom_objects: See `load_analyzer`.
        tolerance: By how much numbers may differ, as a fraction of the largest.

    Raises:
        AssertionError: If a promise is broken.
        TypeError, ValueError: If an argument does not fit.
    """
    check_flags(noisy=noisy, saves=saves)
    tolerance = check_number("tolerance", tolerance, least=0)
    check_kind("model", model, keras.Model, "a Keras model")
    if not callable(create):
        raise TypeError(
            f"create must be a function that makes analyzers. Received: {shown(create)}."
        )
    x = _as_samples(x)
    before = _fingerprint(model)
    with _promised("An analyzer can be created for each neuron selection"):
        made = {mode: create(model, neuron_selection_mode=mode) for mode in MODES}
    analyzer = made["max_activation"]
    found = analyzer.analyze(x)
    _check_form(found, x, float_type(analyzer.task.graph))
    for size in (1, 2):
        again = analyzer.analyze(x, batch_size=size)
        _check_equal(f"The batch size is no matter ({size})", again, found, tolerance)
    for rows in _choices(len(tree.flatten(x)[0])):
        same = [i for i, row in enumerate(rows) if row == i or not noisy]
        again, expected = (
            _rows(analyzer.analyze(_rows(x, rows)), same),
            _rows(_rows(found, rows), same),
        )
        _check_equal(f"Each sample is on its own (rows {rows})", again, expected, tolerance)
    _check_selection(made, x, found, tolerance)
    for what, spoil in (("NaN", _with_nan), ("A wrong shape", lambda a: np.stack([a, a], -1))):
        _check_refused(what, analyzer, tree.map_structure(spoil, x), x)
    with _promised("The plan prints"), contextlib.redirect_stdout(io.StringIO()) as printed:
        assert not hasattr(analyzer, "plan") or (analyzer.plan() and printed.getvalue()), "nothing"
    if saves:
        with _promised("An analyzer can be saved"), tempfile.TemporaryDirectory() as folder:
            analyzer.save(path := Path(folder, "analyzer"))
            again = load_analyzer(path, custom_objects).analyze(x)
        _check_equal("A saved analyzer finds the same numbers", again, found, 0)
    for what, value in _fingerprint(model).items():
        assert value == before[what], f"The model stays as it is: its {what} changed."


def _as_samples(x: Any, kinds: str = "fiubOSU") -> Any:
    """A structure of at least two samples of each input, as arrays of some kinds."""
    if isinstance(x, dict):
        return {name: _as_samples(each, kinds) for name, each in check_keys("x", x).items()}
    if isinstance(x, (list, tuple)):
        return type(x)([_as_samples(each, kinds) for each in x])
    array = as_array("x", x)
    if not array.ndim or len(array) < 2 or array.dtype.kind not in kinds:
        raise ValueError(
            f"x must hold arrays of at least two samples. Received: {shown(x)} (of the type "
            f"{array.dtype})."
        )
    return array


def _in_a_mirror(rule: Rule, layer: keras.Layer, x: Any) -> LRP:
    """An analyzer of the model that is one layer."""
    inputs = tree.map_structure(lambda a: keras.Input(a.shape[1:], dtype=a.dtype.name), x)
    with _promised(f"A rule serves the layer {layer.name!r}"):
        model, mode = keras.Model(inputs, layer(inputs)), "weights"
        return LRP(model, rule, neuron_selection_mode=mode, keep_output_activation=True)


def _without_mirror(analyzer: LRP, rule: Rule, x: Any) -> tuple[np.ndarray, Callable]:
    """The layer's output, and what sends relevance back to samples, step by step."""
    task, graph = analyzer.task, analyzer.task.graph
    composite = analyzer.composite(task)
    rule_of = lambda step: composite.choose(step).rule  # noqa: E731
    rules = [rule_of(step) for step in deep_steps(task) if body_of(step) is None]
    assert rule in rules, f"A rule serves a step of the layer: {rule!r} does not."
    checked = lambda step: _Checked(rule_of(step))  # noqa: E731
    method = Method(checked, analyzer.start, analyzer.finish, analyzer.value)
    builder = Builder(task, method, AtOnce(float_type(graph)))

    def start(x) -> dict:
        given = map(ops.convert_to_tensor, tree.flatten(x))
        return dict(zip(graph.flat_inputs, given, strict=True))

    def send(x, relevance) -> list[np.ndarray]:
        builder.enter([forward(graph.steps, start(x))])
        first = {task.output: [(ops.convert_to_tensor(relevance),)]}
        arrived = backward(task.steps, first, builder.send, builder.total)
        return [ops.convert_to_numpy(arrived[t][0][0]) for t in task.targets.values()]

    (output,) = run(graph, list(start(x).values()), [task.output])
    return ops.convert_to_numpy(output), send


class _Checked(Rule):
    """Another rule, of whose relevance it is asked that it has the shapes of the inputs."""

    def __init__(self, rule: Rule):
        self.rule, self.probes, self.variables = rule, rule.probes, rule.variables

    def send(self, at, signals: list) -> list[tuple]:
        sent = self.rule.send(at, signals)
        shapes = [tuple(signal.shape) for (signal,) in sent]
        expected = [tuple(x.shape) for x in at.inputs]
        assert shapes == expected, f"Relevance has its input's shape: {shapes} for {expected}."
        return sent


def _check_selection(made: dict[str, Analyzer], x: Any, found: Any, tolerance: float) -> None:
    spec = made["index"].input_spec
    output = made["index"].outputs(spec.flat(spec.check(x)[0], 0))
    largest = one_hot_max(output)
    index = np.stack(np.nonzero(largest)[1:], axis=1)
    ones = made["weights"].analyze(x, np.ones_like(output))
    for what, again, expected in (
        ("The largest neuron can be given by its index", made["index"].analyze(x, index), found),
        ("The largest neuron can be given by weights", made["weights"].analyze(x, largest), found),
        ("All neurons count alike in the mode 'all'", made["all"].analyze(x), ones),
    ):
        _check_equal(what, again, expected, tolerance)


@contextlib.contextmanager
def _promised(promise: str) -> Iterator[None]:
    """Within it, errors break a promise, and warnings are no matter."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:
        why = one_line(f"{type(error).__name__}: {error}")
        raise AssertionError(f"{promise}: {why}") from error


def _check_equal(promise: str, found: Any, expected: Any, tolerance: float) -> None:
    for a, b in zip(tree.flatten(found), tree.flatten(expected), strict=True):
        assert a.shape == b.shape, f"{promise}: {a.shape} for {b.shape}."
        gap, size = np.abs(a - b).max(initial=0), np.abs(b).max(initial=0)
        assert gap <= tolerance * size, f"{promise}: {gap:.3g} off, with numbers up to {size:.3g}."


def _check_finite(promise: str, found: Any) -> None:
    wrong = sum(int((~np.isfinite(a)).sum()) for a in tree.flatten(found))
    assert not wrong, f"{promise}: {wrong} numbers are not."


def _check_form(found: Any, x: Any, dtype: str) -> None:
    with _promised("Results have the input's structure"):
        tree.assert_same_structure(found, x)
    for a, b in zip(tree.flatten(found), tree.flatten(x), strict=True):
        assert a.shape == b.shape, f"Results have the input's shape: {a.shape} for {b.shape}."
        assert a.dtype == dtype, f"Results have the model's float type: {a.dtype} for {dtype}."
    _check_finite("Results are finite", found)


def _check_refused(what: str, analyzer: Analyzer, wrong: Any, x: Any) -> None:
    pairs = zip(tree.flatten(wrong), tree.flatten(x), strict=True)
    if any(a is not b for a, b in pairs):
        with contextlib.suppress(ValueError):
            analyzer.analyze(wrong)
            raise AssertionError(f"{what} is refused: there is a result.")


def _fingerprint(model: keras.Model) -> dict[str, Any]:
    weights = [ops.convert_to_numpy(v).tobytes() for v in model.variables]
    found: dict[str, Any] = {"weights": weights, "calls": count_nodes(model)}
    with contextlib.suppress(NotImplementedError):  # as of subclassed models
        found["config"] = repr(model.get_config())
    return found


def _choices(count: int) -> list[list[int]]:
    """Rows that samples are replaced by: in reverse order, all the same, one alone."""
    return [list(range(count))[::-1], [0] * count, [0]]


def _rows(x: Any, rows: list[int]) -> Any:
    return tree.map_structure(lambda a: a[rows], x)


def _with_nan(x: np.ndarray) -> np.ndarray:
    return np.where(np.arange(x.size).reshape(x.shape), x, np.nan) if x.dtype.kind == "f" else x
