"""Which output is explained: final activations, and how they are taken off a graph."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import KerasTensor, ops, tree

from innvestigate.graph.operations import Kind, activation_name, keras_name, kind_of
from innvestigate.graph.rewrite import is_opaque, open_layers, split
from innvestigate.graph.step import Graph, Step, is_float, like

PROBABILITIES = ("softmax", "log_softmax", "sigmoid", "hard_sigmoid")

_KEEP_SIGN = {
    *("linear", "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu"),
    *("mish", "hard_silu", "tanh", "hard_tanh", "softsign", "soft_shrink", "hard_shrink"),
    *("tanh_shrink", "arctan", "arcsinh", "sinh", "cbrt", "erf", "expm1", "nan_to_num"),
    *("stop_gradient", "reciprocal"),
}
_BY_TRIAL = ("Clip", "Threshold", "Power", "ReLU", "Maximum", "Minimum", "Fmax", "Fmin")
_TRIED = (-100.0, -7.0, -3.0, -1.0, -0.3, -0.01, 0.01, 0.3, 1.0, 3.0, 7.0, 100.0)
_INCREASE = {
    *(_KEEP_SIGN - {"reciprocal"}),
    *("log", "log2", "log10", "log1p", "sqrt", "exponential", "exp2", "clip"),
}
_CLIPS = ("Maximum", "Minimum", "Fmax", "Fmin")
_NO_MOVES = {
    *("Masking", "Concatenate", "Append", "Where", "Diag", "Diagonal", "Tril", "Triu", "Stack"),
    *("Dstack", "Hstack", "Vstack", "Pad", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
    *("PadImages", "ExtractPatches"),
}
_MIXES = (Kind.SUM, Kind.PRODUCT, Kind.WINNER, Kind.SHAPE, Kind.UNITS, Kind.ACTIVATION)


@dataclass(frozen=True)
class Final:
    """A final activation that was taken off.

    Attributes:
        output: What the graph ends in now: the logits, moved as the activation's values were.
        logits: The tensor that the activation read.
        activation: Its step.
        tail: The original steps from the logits to the original output.
    """

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
        graph: The graph; its steps, outputs and layer outputs change if there is one to take off.
        output: The output.
        wanted: Tells of an activation (a step with one input and an output of the same shape)
            whether it is to go.

    Returns:
        What was taken off; None if the output does not end in a wanted activation.
    """
    trial = _copied(graph)
    path = _path(trial, output, wanted)
    if not path:
        return None
    final = _without(trial, path, output)
    vars(graph).update(vars(trial))
    return final


def find_final(graph: Graph, output: KerasTensor, wanted: Callable[[Step], bool]) -> Step | None:
    """The activation that `take_off` would take off; the graph stays as it is."""
    path = _path(_copied(graph), output, wanted)
    return path[-1] if path else None


def find_mix(graph: Graph, output: KerasTensor, wanted: Callable[[Step], bool]) -> Step | None:
    """The step that puts several wanted activations together, as an average of softmaxes does.

    Returns:
        The last step, if the output is made of nothing but wanted activations, by sums, products,
        maxima and the like, or of one that reads more than its logits, such as a mask; else None.
    """
    trial, known = _copied(graph), {}

    def made_of_wanted(tensor: KerasTensor) -> bool:
        if tensor not in known:
            step = _writer(trial, tensor, wanted)
            known[tensor] = step is not None and (wanted(step) or mixes(step))
        return known[tensor]

    def mixes(step: Step) -> bool:
        mixing = kind_of(step) in _MIXES and bool(step.inputs)
        return mixing and all(map(made_of_wanted, step.inputs))

    last = _writer(trial, output, wanted)
    return last if made_of_wanted(output) and not _is_final(last, wanted) else None


def is_probability(step: Step) -> bool:
    """Whether a step is a softmax, a sigmoid, or a variant of them, whose input is a logit."""
    return activation_name(step.operation) in PROBABILITIES


def changes_sign(step: Step) -> bool:
    """Whether an activation's value may differ in sign from what it reads, or it is not known.

    Relevance that starts with such a value and is shared out by its input turns every sign where
    the two differ. A value of zero is no matter: nothing is shared out.
    """
    if keras_name(step.operation) in _BY_TRIAL:
        return not _keeps_sign_where_tried(step)
    return activation_name(step.operation) not in _KEEP_SIGN


def is_activation(step: Step) -> bool:
    """Whether a step is an elementwise activation or a softmax."""
    return kind_of(step) is Kind.ACTIVATION


def explained(
    graph: Graph, output: KerasTensor, shares_value: bool, keep: bool
) -> tuple[Final | None, str | None]:
    """Take off what a method does not explain, and say so.

    Args:
        graph: The graph; changes if something is taken off.
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
        return None, kept and _told_of_kept(kept)
    final = take_off(graph, output, wanted)
    if final is not None:
        return final, _told_of_taken_off(final.activation)
    mix = find_mix(graph, output, is_probability)
    return None, mix and _told_of_mix(mix)


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


def _copied(graph: Graph) -> Graph:
    """The same graph, whose steps and names can be replaced without changing the first one's."""
    other = copy.copy(graph)
    other.steps, other.layer_outputs = list(graph.steps), dict(graph.layer_outputs)
    return other


def _path(graph: Graph, tensor: KerasTensor, wanted) -> list[Step]:
    """The steps from a tensor back to the first wanted activation of those it ends in."""
    path, length = [], 0
    while (step := _writer(graph, tensor, wanted)) is not None:
        final = _is_final(step, wanted)
        if not final and not _is_move(step) and not _keeps_order(step):
            break
        path.append(step)
        length = len(path) if final else length
        tensor = step.inputs[0]
    return path[:length]


def _writer(graph: Graph, tensor: KerasTensor, wanted) -> Step | None:
    """The step that writes a tensor, once layers are opened and parted and functions opened."""

    def writes(step: Step) -> bool:
        return any(t is tensor for t in step.outputs)

    before, step = None, next(filter(writes, graph.steps), None)
    while step is not before:
        open_layers(graph, lambda step: writes(step) and is_opaque(step))
        split(graph, writes)
        before, step = step, next(filter(writes, graph.steps), None)
    if step is not None and _is_custom(step):
        _open_function(graph, step, wanted)
    return next(filter(writes, graph.steps), None)


def _open_function(graph: Graph, step: Step, wanted) -> None:
    """Put the operations inside a function in its place if it is one activation after the other."""
    try:
        layer = keras.layers.Lambda(step.operation, name="function")
    except TypeError:  # whose arguments cannot be told
        return
    opened, stand_in = _copied(graph), replace(step, operation=layer)
    opened.steps[opened.steps.index(step)] = stand_in
    open_layers(opened, lambda step: step is stand_in)
    tensor = step.outputs[0]
    while tensor is not step.inputs[0]:
        found = next((s for s in opened.steps if any(t is tensor for t in s.outputs)), stand_in)
        chained = _is_final(found, wanted) or _is_move(found) or _keeps_order(found)
        if found is stand_in or not chained:
            return
        tensor = found.inputs[0]
    vars(graph).update(vars(opened))


def _is_custom(step: Step) -> bool:
    plain = callable(step.operation) and not isinstance(step.operation, keras.Operation)
    name = activation_name(step.operation) if plain else None
    return name is not None and name.endswith("(custom)") and _in_place(step)


def _is_final(step: Step, wanted) -> bool:
    kind = kind_of(step)
    squares = keras_name(step.operation) == "Multiply" and kind is Kind.PRODUCT
    elementwise = kind is Kind.ACTIVATION or squares or _is_clip(step)
    other = activation_name(step.operation) in ("linear", "glu")  # glu halves an axis
    return elementwise and not other and _in_place(step) and wanted(step)


def _in_place(step: Step) -> bool:
    """Whether a step reads one tensor and writes one of the same shape."""
    shapes = [t.shape for t in (*step.inputs, *step.outputs)]
    return len(step.inputs) == len(step.outputs) == 1 and shapes[0] == shapes[1]


def _is_move(step: Step) -> bool:
    """Whether a step only moves, picks or repeats the numbers of its only tensor."""
    name = keras_name(step.operation) or ""
    if len(step.inputs) != 1 or not all(map(is_float, step.outputs)):
        return False
    if name in ("Cast", "SaturateCast"):
        return True
    moves = kind_of(step) is Kind.SHAPE and name not in _NO_MOVES
    return moves and not name.startswith("Random")


def _keeps_order(step: Step) -> bool:
    """Whether a step is an increasing function of each number in its place."""
    if not _in_place(step):
        return False
    if kind_of(step) is Kind.UNITS:
        return _has_positive_scale(step)
    return activation_name(step.operation) in _INCREASE or _is_clip(step)


def _is_clip(step: Step) -> bool:
    """Whether a step is the larger or smaller of each number and a constant."""
    return keras_name(step.operation) in _CLIPS and _in_place(step)


def _has_positive_scale(step: Step) -> bool:
    name, args = keras_name(step.operation), step.arguments[0]
    if name == "Rescaling":
        return _is_positive(step.operation.scale)
    constants = [x for x in args if not isinstance(x, KerasTensor)]
    if name in ("Multiply", "Divide", "TrueDivide", "DivideNoNan"):
        return all(map(_is_positive, constants))
    return name == "Add" or (name == "Subtract" and isinstance(args[0], KerasTensor))


def _is_positive(constant) -> bool:
    """Whether all numbers of a constant are > 0, and stay so: a variable may be trained."""
    if isinstance(constant, keras.Variable):
        return False
    if ops.is_tensor(constant):
        constant = ops.convert_to_numpy(constant)
    return bool(np.all(np.asarray(constant) > 0))


def _keeps_sign_where_tried(step: Step) -> bool:
    """Whether a step whose arguments decide it keeps the sign of some numbers, or writes zero."""
    shape = [size or 1 for size in step.inputs[0].shape[1:]]  # in full: bounds may be arrays
    x = np.multiply.outer(np.float32(_TRIED), np.ones(shape, "float32"))
    values = step(ops.convert_to_tensor(x, step.inputs[0].dtype))[0]
    signs = np.sign(ops.convert_to_numpy(values).astype("float64"))
    return bool(np.all((signs == np.sign(x)) | (signs == 0)))


# Taking it off


def _without(graph: Graph, path: list[Step], output: KerasTensor) -> Final:
    """Take the steps of a path off; those that only move numbers come again, behind the logits."""
    activation, logits = path[-1], path[-1].inputs[0]
    now: dict[KerasTensor, KerasTensor] = {}
    moved = []
    for step in reversed(path):
        if _is_move(step):
            twin = _reading(step, now)
            moved.append((step, twin))
            now.update(zip(step.outputs, twin.outputs, strict=True))
        else:
            now[step.outputs[0]] = now.get(step.inputs[0], step.inputs[0])
    for step, twin in moved:
        graph.steps.insert(graph.steps.index(step) + 1, twin)
    graph.outputs = tree.map_structure(lambda t: now[output] if t is output else t, graph.outputs)
    graph.layer_outputs = {
        name: [now.get(t, t) for t in tensors] for name, tensors in graph.layer_outputs.items()
    }
    _prune(graph, path)
    for step, twin in moved:
        if step in graph.steps:
            twin.name = f"{step.name}.logits"
    return Final(now[output], logits, activation, Graph(path[::-1], [logits], [output]))


def _reading(step: Step, now: dict[KerasTensor, KerasTensor]) -> Step:
    """A step that does the same to what stands for the tensors that the step reads."""

    def swap(x):
        return now.get(x, x) if isinstance(x, KerasTensor) else x

    return replace(
        step,
        arguments=tree.map_structure(swap, step.arguments),
        inputs=[swap(t) for t in step.inputs],
        outputs=[like(t) for t in step.outputs],
    )


def _prune(graph: Graph, path: list[Step]) -> None:
    """Take out the steps of a path, output first, that nobody reads any more."""
    for step in path:
        read = {t for other in graph.steps for t in other.inputs} | set(graph.flat_outputs)
        if not read & set(step.outputs):
            graph.steps.remove(step)
