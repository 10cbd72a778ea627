"""Which output is explained: final activations, and how they are taken off a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import KerasTensor, ops, tree

from innvestigate.graph.kernels import linear_part, separable_parts
from innvestigate.graph.operations import (
    Kind,
    Trait,
    activation_name,
    has,
    in_place,
    is_clip,
    is_move,
    keeps_order,
    keeps_sign,
    kind_of,
)
from innvestigate.graph.rewrite import is_opaque, open_layers, split
from innvestigate.graph.run import execute
from innvestigate.graph.step import Graph, Step, like

PROBABILITIES = ("softmax", "log_softmax", "sigmoid", "hard_sigmoid")

_TRIED = (-100.0, -7.0, -3.0, -1.0, -0.3, -0.01, 0.01, 0.3, 1.0, 3.0, 7.0, 100.0)
_ACTIVATIONS = (Kind.ACTIVATION, Kind.SOFTMAX)
_MIXES = (Kind.SUM, Kind.PRODUCT, Kind.WINNER, Kind.SHAPE, Kind.UNITS, *_ACTIVATIONS)


@dataclass(frozen=True)
class Final:
    """A final activation that was taken off.

    Attributes:
        graph: The graph without it.
        output: What the graph ends in now: the logits, moved as the activation's values were.
        logits: The tensor that the activation read.
        activation: Its step.
        tail: The original steps from the logits to the original output.
    """

    graph: Graph
    output: KerasTensor
    logits: KerasTensor
    activation: Step
    tail: Graph


def take_off(graph: Graph, output: KerasTensor, wanted: Callable[[Step], bool]) -> Final | None:
    """Take the final activation off one of a graph's outputs.

    It is found behind steps that only move its values (Reshape, Flatten, Permute, Dropout, slices,
    ...), which read the logits now, and behind elementwise ones that keep their order (Rescaling
    by a scale > 0 with any offset, `100 * p`, log, clip, ...), which are taken off with it: they
    are units of a probability, not of its logit. Of several activations in a row all are taken
    off. Layers and functions are opened as far as needed. What else reads the activation still
    does.

    Args:
        graph: The graph.
        output: The output.
        wanted: Tells of an activation (a step with one input and an output of the same shape)
            whether it is to go.

    Returns:
        What was taken off; None if the output does not end in a wanted activation.
    """
    graph, output, path = _path(graph, output, wanted)
    return _without(graph, path, output) if path else None


def find_final(graph: Graph, output: KerasTensor, wanted: Callable[[Step], bool]) -> Step | None:
    """The activation that `take_off` would take off."""
    _, _, path = _path(graph, output, wanted)
    return path[-1] if path else None


def find_mix(graph: Graph, output: KerasTensor, wanted: Callable[[Step], bool]) -> Step | None:
    """The step that puts several wanted activations together, as an average of softmaxes does.

    Returns:
        The last step, if the output is made of nothing but wanted activations, by sums, products,
        maxima and the like, or of one that reads more than its logits, such as a mask; else None.
    """
    mixes = lambda step: kind_of(step) in _MIXES and not wanted(step)  # noqa: E731
    graph, output = _opened(graph, output, wanted, mixes)
    found = list(_way(graph, output, mixes))
    ends = [step for step in found if not mixes(step)]
    read = {t for step in found if mixes(step) for t in step.inputs}
    complete = read <= {t for step in found for t in step.outputs}
    if not ends or not complete or not all(map(wanted, ends)):
        return None
    return None if _is_final(found[0], wanted) else found[0]


def is_probability(step: Step) -> bool:
    """Whether a step is a softmax, a sigmoid, or a variant of them, whose input is a logit."""
    return activation_name(step.operation) in PROBABILITIES


def changes_sign(step: Step) -> bool:
    """Whether an activation's value may differ in sign from what it reads, or it is not known.

    Relevance that starts with such a value and is shared out by its input turns every sign where
    the two differ. A value of zero is no matter: nothing is shared out.
    """
    if has(step.operation, Trait.DEPENDS):
        return not _keeps_sign_where_tried(step)
    return not keeps_sign(activation_name(step.operation))


def is_activation(step: Step) -> bool:
    """Whether a step is an elementwise activation or a softmax."""
    return kind_of(step) in _ACTIVATIONS


def explained(
    graph: Graph, output: KerasTensor, shares_value: bool, keep: bool
) -> tuple[Final | None, str | None]:
    """Take off what a method does not explain, and say so.

    Args:
        graph: The graph.
        output: The output.
        shares_value: Whether the method shares out the output's value. It needs one of the sign of
            what the last layer computes; others are content without a probability.
        keep: Whether the user wants the output as it is.

    Returns:
        What was taken off, if anything, and the warning that is due, if any.
    """
    wanted = changes_sign if shares_value else is_probability
    if keep:
        kept = find_final(graph, output, wanted) if shares_value else None
        return None, None if kept is None else _told_of_kept(kept)
    final = take_off(graph, output, wanted)
    if final is not None:
        return final, _told_of_taken_off(final.activation)
    mix = find_mix(graph, output, is_probability)
    return None, None if mix is None else _told_of_mix(mix)


def _told_of_taken_off(step: Step) -> str:
    name = activation_name(step.operation)
    if name in PROBABILITIES:
        kind = "log-probability" if name == "log_softmax" else "probability"
        instead = f"the logit is explained, not the {kind}"
    else:
        kind = "value"
        instead = "what it reads is explained, not its value, which may differ from that in sign"
    without = "wo_softmax" if name == "softmax" else "wo_output_activation"
    return (
        f"The model ends in {_with_article(step)}. It is taken off for the analysis: {instead}. "
        f"Pass keep_output_activation=True to explain the {kind}, or hand over "
        f"innvestigate.model_{without}(model)."
    )


def _told_of_kept(step: Step) -> str:
    return (
        f"The model ends in {_with_article(step)}, which keep_output_activation=True keeps. The "
        "method shares out its value by what it reads, which may differ in sign: what speaks for "
        "the output then gets the sign of what speaks against it. Leave keep_output_activation "
        "out, or use a method that explains a difference, such as 'deeplift' or "
        "'integrated_gradients'."
    )


def _told_of_mix(step: Step) -> str:
    return (
        f"The model's output is put together of probabilities (by the step {step.name!r}), which "
        "cannot be taken off: probabilities are explained, not logits. Hand over a model that puts "
        "logits together to explain these, or pass keep_output_activation=True if probabilities "
        "are what you mean."
    )


def _with_article(step: Step) -> str:
    name = activation_name(step.operation) or type(step.operation).__name__
    if name.endswith(" (custom)"):
        return f"a function of its own ({name.removesuffix(' (custom)')!r})"
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


# Finding it


def _path(graph: Graph, output: KerasTensor, wanted) -> tuple[Graph, KerasTensor, list[Step]]:
    """The steps from an output back to the first wanted activation of those it ends in.

    Returns:
        The graph, opened as far as needed, the output in it, and the steps, the last one first.
    """

    def passes(step: Step) -> bool:
        return _is_final(step, wanted) or is_move(step) or keeps_order(step)

    graph, output = _opened(graph, output, wanted, passes)
    path = [step for step in _way(graph, output, passes) if passes(step)]
    finals = [i for i, step in enumerate(path) if _is_final(step, wanted)]
    return graph, output, path[: finals[-1] + 1] if finals else []


def _way(graph: Graph, tensor: KerasTensor, passes) -> Iterator[Step]:
    """The steps that write a tensor, back from it, up to the first ones that are not passed."""
    writers, stack, seen = graph.writers(), [tensor], set()
    while stack:
        step = writers.get(stack.pop())
        if step is not None and step not in seen:
            seen.add(step)
            yield step
            stack.extend(reversed(step.inputs) if passes(step) else ())


def _opened(graph: Graph, output: KerasTensor, wanted, passes) -> tuple[Graph, KerasTensor]:
    """The graph with all layers and functions opened that are met on the way, and its output."""
    met: set[str] = set()
    while True:
        closed = (s for s in _way(graph, output, passes) if s.name not in met and _is_closed(s))
        step = next(closed, None)
        if step is None:
            return graph, output
        met.add(step.name)
        marked = replace(graph, outputs=(graph.outputs, output))
        if _is_custom(step):
            marked = _open_function(marked, step, wanted)
        else:
            marked = open_layers(marked, lambda other: other is step and is_opaque(step))  # noqa: B023
            marked = split(marked, lambda other: other is step)  # noqa: B023
        outputs, output = marked.outputs
        graph = replace(marked, outputs=outputs)


def _is_closed(step: Step) -> bool:
    """Whether a step may be several: a layer to open, or to part from its activation."""
    parted = linear_part(step) is not None or separable_parts(step) is not None
    return parted or is_opaque(step) or _is_custom(step)


def _open_function(graph: Graph, step: Step, wanted) -> Graph:
    """Put the operations inside a function in its place if it is one activation after the other."""
    try:
        layer = keras.layers.Lambda(step.operation, name="function")
    except TypeError:  # whose arguments cannot be told
        return graph
    stand_in = replace(step, operation=layer)
    steps = [stand_in if other is step else other for other in graph.steps]
    opened = open_layers(graph.replaced(steps), lambda other: other is stand_in)
    inside = [s for s in opened.steps if s.name.startswith(f"{step.name}.")]
    chained = (_is_final(s, wanted) or is_move(s) or keeps_order(s) for s in inside)
    return opened if inside and all(chained) else graph


def _is_custom(step: Step) -> bool:
    if kind_of(step) is not Kind.ACTIVATION or isinstance(step.operation, keras.Operation):
        return False
    name = activation_name(step.operation)
    return name is not None and name.endswith("(custom)") and in_place(step)


def _is_final(step: Step, wanted) -> bool:
    kind = kind_of(step)
    squares = has(step.operation, Trait.ELEMENTWISE) and kind is Kind.PRODUCT
    elementwise = kind in _ACTIVATIONS or squares or is_clip(step)
    other = activation_name(step.operation) in ("linear", "glu")  # glu halves an axis
    return elementwise and not other and in_place(step) and wanted(step)


def _keeps_sign_where_tried(step: Step) -> bool:
    """Whether a step whose arguments decide it keeps the sign of some numbers, or writes zero."""
    shape = [size or 1 for size in step.inputs[0].shape[1:]]  # in full: bounds may be arrays
    x = np.multiply.outer(np.array(_TRIED, "float32"), np.ones(shape, "float32"))
    values = execute(step, [ops.convert_to_tensor(x, step.inputs[0].dtype)])[0]
    signs = np.sign(ops.convert_to_numpy(values).astype("float64"))
    return bool(np.all((signs == np.sign(x)) | (signs == 0)))


# Taking it off


def _without(graph: Graph, path: list[Step], output: KerasTensor) -> Final:
    """Take the steps of a path off; those that only move numbers come again, behind the logits."""
    activation, logits = path[-1], path[-1].inputs[0]
    now: dict[KerasTensor, KerasTensor] = {}
    twins: dict[Step, Step] = {}
    for step in reversed(path):
        if is_move(step):
            fresh = {t: like(t) for t in step.outputs}
            twins[step] = replace(step.renamed({**now, **fresh}), name=f"{step.name}.logits")
            now.update(fresh)
        else:
            now[step.outputs[0]] = now.get(step.inputs[0], step.inputs[0])
    steps = [s for step in graph.steps for s in ((step, twins[step]) if step in twins else (step,))]
    outputs = tree.map_structure(lambda t: now[output] if t is output else t, graph.outputs)
    layer_outputs = {n: [now.get(t, t) for t in ts] for n, ts in graph.layer_outputs.items()}
    steps = _pruned(steps, path, tree.flatten(outputs))
    for step, twin in twins.items():
        if step not in steps:
            twin.name = step.name
    found = replace(graph, steps=steps, outputs=outputs, layer_outputs=layer_outputs)
    return Final(found, now[output], logits, activation, Graph(path[::-1], [logits], [output]))


def _pruned(steps: list[Step], path: list[Step], outputs: list[KerasTensor]) -> list[Step]:
    """The steps without those of a path, output first, that nobody reads any more."""
    for step in path:
        read = {t for other in steps for t in other.inputs} | set(outputs)
        if read.isdisjoint(step.outputs):
            steps = [other for other in steps if other is not step]
    return steps
