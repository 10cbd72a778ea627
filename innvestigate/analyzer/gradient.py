"""The gradient family."""

from __future__ import annotations

from dataclasses import replace

from keras import KerasTensor, ops

from innvestigate.engine.mirror import MirrorAnalyzer
from innvestigate.engine.selection import check_mode
from innvestigate.engine.warn import warn
from innvestigate.graph.operations import Kind, activation_name, holds, is_relu, kind_of
from innvestigate.graph.rewrite import is_opaque, open_layers, split
from innvestigate.graph.run import run
from innvestigate.graph.step import Graph, Step
from innvestigate.graph.task import Task
from innvestigate.rules import Composite, Deconvolution, Gradient, Guided, Line, Lookup
from innvestigate.rules.composite import of_kind
from innvestigate.utils.arguments import check_choice

POSTPROCESS = {None: lambda g: g, "abs": ops.abs, "square": ops.square}


class GradientAnalyzer(MirrorAnalyzer):
    """Gradient of the selected output with respect to the input: g = ∂(Σ_j w_j y_j) / ∂x.

    A token gets the length ‖g‖₂ of the gradient at its embedding vector. (The sum over g says
    nothing: behind a layer normalisation it is zero for every network.)

    Args:
        model: See `Analyzer`.
        postprocess: None, `"abs"` (absolute value) or `"square"`, elementwise; a token then gets
            the sum over its vector.
        **kwargs: See `Analyzer`.

    Raises:
        ValueError: If `postprocess` is none of these.

    Reference: Baehrens et al. 2010, "How to Explain Individual Classification Decisions";
    Simonyan et al. 2014, "Deep Inside Convolutional Networks", section 3.
    """

    def __init__(self, model, postprocess: str | None = None, **kwargs):
        self._postprocess = check_choice("postprocess", postprocess, POSTPROCESS)
        super().__init__(model, **kwargs)

    def rewrite(self, graph: Graph) -> Graph:
        tokens = set(graph.flat_inputs)
        return open_layers(graph, lambda step: _may_look_up(step, tokens))

    def composite(self, task: Task) -> Composite:
        everywhere = Line(Gradient(), lambda step: True, "every other step")
        at_tokens = of_kind(Kind.LOOKUP, Lookup(self.finish, self.per_token))
        return Composite((*self.rectifier_lines(), at_tokens, everywhere))

    def rectifier_lines(self) -> tuple[Line, ...]:
        """What becomes of rectifiers."""
        return ()

    def start(self, weights, output):
        return weights

    def finish(self, value, signal):
        return POSTPROCESS[self._postprocess](signal)

    def per_token(self, found):
        if self._postprocess is None:
            return ops.sqrt(ops.sum(ops.square(found), axis=-1))
        return super().per_token(found)


class BaselineGradient(GradientAnalyzer):
    """The gradient by one vector-Jacobian product of the whole model: a check on the mirror.

    The same numbers as `gradient` by another way.

    Raises:
        ValueError: If the model looks tokens up: the whole of it has no gradient then.
    """

    def rewrite(self, graph: Graph) -> Graph:
        graph = super().rewrite(graph)
        for step in graph.steps:
            if kind_of(step) is Kind.LOOKUP:
                raise ValueError(
                    "gradient.baseline takes the gradient of the whole model at once, which does "
                    f"not exist: {step.name!r} looks up integers. Use 'gradient', which gives each "
                    "token the gradient at its vector."
                )
        return replace(graph, steps=[_WholeModel(graph).as_step()])


class Saliency(GradientAnalyzer):
    """Absolute gradient |∂(Σ_j w_j y_j) / ∂x|.

    Reference: Simonyan et al. 2014, section 3.1.
    """

    settled = ("postprocess",)

    def __init__(self, model, **kwargs):
        super().__init__(model, postprocess="abs", **kwargs)


class InputTimesGradient(GradientAnalyzer):
    """Input times gradient: x ⊙ ∂(Σ_j w_j y_j) / ∂x; at tokens, summed over the vector.

    Reference: Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through
    Propagating Activation Differences".
    """

    def __init__(self, model, **kwargs):
        super().__init__(model, **kwargs)

    def finish(self, value, signal):
        return super().finish(value, value * signal)

    def per_token(self, found):
        return ops.sum(found, axis=-1)


class _RectifierAnalyzer(GradientAnalyzer):
    """A gradient with another backward rule at rectifiers."""

    rule: type

    def __init__(self, model, **kwargs):
        super().__init__(model, **kwargs)

    def rewrite(self, graph: Graph) -> Graph:
        return split(open_layers(graph, is_opaque))

    def rectifier_lines(self) -> tuple[Line, ...]:
        return (Line(self.rule(), is_relu, "every rectifier"),)

    def check_model(self, task: Task) -> None:
        warn_of_other_nonlinearities(f"{type(self).__name__} has a rule", task.steps)


class Deconvnet(_RectifierAnalyzer):
    """DeconvNet: a gradient whose signal is rectified at each ReLU, s_x = max(s_y, 0).

    Starts from the weight of the selected neurons. Other activations pass the plain gradient,
    with one warning.

    Reference: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks",
    section 2.1.
    """

    rule = Deconvolution


class GuidedBackprop(_RectifierAnalyzer):
    """Guided Backprop: a gradient with s_x = 1[x > 0] max(s_y, 0) at each ReLU.

    Starts from the weight of the selected neurons. Other activations pass the plain gradient,
    with one warning.

    Reference: Springenberg et al. 2015, "Striving for Simplicity: The All Convolutional Net",
    section 3.4.
    """

    rule = Guided


def inner_gradient(model, mode: str, kwargs: dict) -> GradientAnalyzer:
    """The gradient that a wrapper runs: the wrapper chooses the neuron."""
    check_mode(mode)
    return GradientAnalyzer(model, neuron_selection_mode="weights", **kwargs)


class _WholeModel:
    """A graph as a single operation."""

    def __init__(self, graph: Graph):
        self.graph, self.outputs = graph, list(dict.fromkeys(graph.flat_outputs))
        self.constants = [v for step in graph.steps for v in getattr(step.layer, "variables", ())]

    def __call__(self, *values):
        return run(self.graph, list(values), self.outputs)

    def as_step(self) -> Step:
        return Step("model", self, (tuple(self.graph.flat_inputs), {}), self.outputs)


def warn_of_other_nonlinearities(method: str, steps: list[Step]) -> None:
    """Warn of steps that are neither rectifiers nor linear: "`method` for rectifiers only. ..." """
    others = [step for step in steps if _is_other_nonlinearity(step)]
    if others:
        named = ", ".join(f"{step.name!r} ({_what(step)})" for step in others[:5])
        warn(
            f"{method} for rectifiers only. These steps pass the plain gradient: "
            f"{named}{' ...' if len(others) > 5 else ''}."
        )


def _may_look_up(step: Step, tokens: set[KerasTensor]) -> bool:
    """Whether a step may hold an embedding. Tokens may be floats, as inputs are by default."""
    if not is_opaque(step):
        return False
    whole = any("int" in t.dtype for t in step.inputs)
    return whole or (not tokens.isdisjoint(step.inputs) and holds(step.operation, Kind.LOOKUP))


def _is_other_nonlinearity(step: Step) -> bool:
    kind = kind_of(step)
    others = (Kind.SOFTMAX, Kind.ATTENTION, Kind.OPAQUE, Kind.RECURRENT)
    return (kind is Kind.ACTIVATION and not is_relu(step)) or kind in others


def _what(step: Step) -> str:
    return activation_name(step.operation) or type(step.operation).__name__
