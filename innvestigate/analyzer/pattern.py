"""PatternNet and PatternAttribution."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from innvestigate.analyzer.gradient import warn_of_other_nonlinearities
from innvestigate.analyzer.pattern_statistics import (
    PATTERN_TYPES,
    Collector,
    PatternStatistics,
    kernel_steps,
)
from innvestigate.engine.mirror import MirrorAnalyzer
from innvestigate.engine.warn import warn
from innvestigate.graph.linear import Linear
from innvestigate.graph.operations import Kind, kind_of
from innvestigate.graph.rewrite import fuse_bias, is_opaque, open_layers, split
from innvestigate.graph.run import float_type
from innvestigate.graph.step import Graph, Step
from innvestigate.graph.task import Task
from innvestigate.rules import (
    Composite,
    Gradient,
    Line,
    Lookup,
    NoRuleError,
    Pattern,
    PatternTimesKernel,
    Projected,
)
from innvestigate.rules.composite import of_kind
from innvestigate.utils.arguments import as_array, check_choice, check_flags, check_keys
from innvestigate.utils.batching import map_batches


class PatternNet(MirrorAnalyzer):
    """PatternNet: the gradient with patterns in place of weights, which shows the signal.

    A weight vector w does not point to what a neuron detects: it also has to cancel distractors.
    The pattern a of a neuron y = wᵀx estimates the direction in which the signal enters x,

        a = (E₊[x y] - E₊[x] E[y]) / wᵀ(E₊[x y] - E₊[x] E[y]),    so that wᵀa = 1,

    E₊ being the mean over the positions where the neuron's pre-activation, bias included, is
    positive, and E that over all. The signal starts as w ⊙ y at the selected output neurons. In
    every layer with a kernel it is sent back by the pattern in place of the kernel, everywhere
    else by the gradient.

    BatchNormalization is a diagonal kernel, whose pattern is one over its scale whatever the data:
    the same as to fold it into its neighbour. The pre-activation of a layer that a
    BatchNormalization follows is the output of the latter. A kernel that is used at several
    places has one pattern, from the data of all of them.

    Args:
        model: See `Analyzer`. Made for rectifiers; warns of other activations.
        pattern_type: Where E₊ is taken: `"relu"` or `"relu.positive"`: where the pre-activation is
            positive; `"relu.negative"`: where it is negative; `"linear"`: everywhere.
        patterns: Known patterns, by layer as in the attribute, which make `fit` unnecessary.
        project_bottlenecks: Whether the signal s is divided by its largest absolute value in the
            sample, s / max|s|, at each tensor that all of it passes. Patterns may let it grow
            beyond the range of floating point numbers in a deep network. Only its direction keeps
            a meaning then. Tensors behind an operation that could move the samples' axis
            are left as they are.
        **kwargs: See `Analyzer`.

    Attributes:
        patterns: `{layer name: array shaped like the kernel}`. A nested layer has the names of
            those around it in front, `"encoder.dense"`; further kernels of one layer are
            numbered, as is the pointwise one of a separable convolution, `"separable#1"`.
            They belong to the kernels at the time of the fit: fit again after training on.
        inactive_neurons: `{layer name: numbers of the neurons whose pattern is zero}`, as they
            were never in the regime of `pattern_type` or did not vary with their inputs.
        statistics: The `PatternStatistics` fitted so far.

    Raises:
        ValueError: If there is no such pattern type, or `patterns` do not fit the model.
        NoRuleError: If the inputs of a neuron cannot be told from the shape of its kernel.

    Reference: Kindermans et al. 2018, "Learning how to explain neural networks: PatternNet and
    PatternAttribution".
    """

    explains_value = True
    follows_sizes = False  # patterns belong to the kernels of one graph
    fitted_for = ("pattern_type", "output")
    rule = Pattern

    def __init__(
        self,
        model,
        pattern_type: str = "relu",
        *,
        patterns: dict[str, np.ndarray] | None = None,
        project_bottlenecks: bool = True,
        **kwargs,
    ):
        self.pattern_type = check_choice("pattern_type", pattern_type, PATTERN_TYPES)
        check_flags(project_bottlenecks=project_bottlenecks)
        self.project_bottlenecks = project_bottlenecks
        self._given = patterns
        super().__init__(model, **kwargs)

    @property
    def patterns(self) -> dict[str, np.ndarray]:
        self._refresh()
        return self._store.get()

    @property
    def inactive_neurons(self) -> dict[str, np.ndarray]:
        self._refresh()
        return self._store.inactive

    def fit(
        self, X: Any, y: Any = None, batch_size: int = 32, verbose: int = 0, resume: bool = False
    ) -> PatternNet:
        """Estimate the patterns in one pass over the data, in the memory of one batch.

        After an interruption or an error the statistics hold all batches before it: go on with
        `fit(rest, resume=True)` or `partial_fit`.

        Args:
            X: Samples as for `analyze`, typically the training data; a data set may bring targets.
            y: Not used.
            batch_size: Samples that are run at a time; data sets bring their own batches. The
                result does not depend on it.
            verbose: 1 shows a progress bar.
            resume: Whether to add to what was fitted before, instead of starting anew.

        Returns:
            The analyzer itself.

        Raises:
            ValueError: If there is no sample, or a batch does not fit the model or is not finite;
                says which.
        """
        check_flags(resume=resume)
        X, _ = self.input_spec.check(self.text.to_tokens(X))
        batches = 0

        def update(batch, offset, progress):
            nonlocal batches
            try:
                batch = self.text.to_tokens(batch)  # of data sets
                self.statistics.update(batch, offset, anew=batches == 0 and not resume)
            except ValueError as error:
                raise ValueError(
                    f"Batch {batches} (counted from 0) of the data cannot be used. {error} The "
                    f"statistics hold {self.statistics.samples} samples from before it."
                ) from error
            batches += 1
            return np.zeros(1)

        map_batches(update, X, batch_size, verbose)
        self._refresh()
        return self

    def partial_fit(self, batch: Any) -> PatternNet:
        """Take one batch in, next to all that was fitted before.

        Args:
            batch: Samples as the model takes them.

        Returns:
            The analyzer itself.

        Raises:
            ValueError: If the batch does not fit the model, is empty or not finite.
        """
        self.statistics.update(self.input_spec.check(self.text.to_tokens(batch))[0])
        return self

    def _refresh(self) -> None:
        """Bring the patterns up to date with the statistics.

        Raises:
            RuntimeError: If there are neither patterns nor statistics.
        """
        sums = self.statistics.sums
        if sums and sums is not self._store.fitted_to:
            self._store.set(*self.statistics.patterns(self._store.kernels))
            self._store.fitted_to = sums
            self._store.warn_of_inactive()
        if not self._store.known:
            raise RuntimeError(
                f"{type(self).__name__} has no patterns yet. Call analyzer.fit(X) with samples of "
                "the training data first, or hand patterns over: create_analyzer(name, model, "
                "patterns=fitted_analyzer.patterns)."
            )

    def state(self) -> dict[str, np.ndarray]:
        """What was fitted, as flat arrays: patterns are those of the kernels of that time."""
        if not (self.statistics.samples or self._store.known):
            return {}
        groups = {"pattern": self.patterns, "inactive": self.inactive_neurons}
        if self.statistics.samples:
            groups["statistics"] = self.statistics.state()
        return {f"{kind}:{n}": a for kind, arrays in groups.items() for n, a in arrays.items()}

    def set_state(self, state: dict[str, np.ndarray]) -> None:
        groups: dict[str, dict] = {"pattern": {}, "inactive": {}, "statistics": {}}
        for name, array in state.items():
            kind, _, rest = name.partition(":")
            groups[kind][rest] = array
        if groups["statistics"] and not groups["pattern"]:
            raise ValueError("There are statistics, but no patterns that were made of them.")
        if groups["statistics"]:
            self.statistics.clear()
            self.statistics.merge(PatternStatistics.from_state(groups["statistics"]))
        if groups["pattern"]:
            self._store.set(groups["pattern"], groups["inactive"])
            self._store.fitted_to = self.statistics.sums

    def explain(self, batch, task: Task | None = None) -> dict[str, np.ndarray]:
        self._refresh()
        return super().explain(batch, task)

    def rewrite(self, graph: Graph) -> Graph:
        return fuse_bias(split(open_layers(graph, is_opaque)))

    def check_model(self, task: Task) -> None:
        warn_of_other_nonlinearities(f"{type(self).__name__} is made", task.steps)
        graph, steps = task.graph, task.graph.leading_to([task.output])
        _check_neurons(steps)
        kernels = kernel_steps(steps)
        self._store = _Patterns(kernels, float_type(graph))
        collect = Collector(
            Graph(steps, graph.inputs, task.output), self.input_spec, kernels, self.pattern_type
        )
        self.statistics = PatternStatistics(self.pattern_type, collect)
        if self._given is not None:
            self._store.set(self._given)

    def composite(self, task: Task) -> Composite:
        lines = (
            *(self._line(name, holder) for name, holder in self._store.holders.items()),
            Line(self.rule(), lambda step: kind_of(step) is Kind.LINEAR, "a diagonal kernel"),
            of_kind(Kind.LOOKUP, Lookup(self.finish)),
            Line(Gradient(), lambda step: True, "every other step"),
        )
        if not self.project_bottlenecks:
            return Composite(lines)
        narrow = _bottlenecks(task)
        return Composite((*(_projected(line, narrow) for line in lines), *lines))

    def _line(self, name: str, holder: Any) -> Line:
        return Line(
            self.rule(self._store.variables[name]),
            lambda step: isinstance(step.operation, Linear) and step.operation.holder is holder,
            f"the pattern of {name!r}",
        )

    def start(self, weights, output):
        return weights * output


class PatternAttribution(PatternNet):
    """PatternAttribution: how much each input contributes to the signal.

    As `PatternNet`, but layers with a kernel send the signal back by a ⊙ w in place of the kernel:
    a root point rule of deep Taylor decomposition whose root point is learned from the data.
    BatchNormalization passes it unchanged.

    Args:
        model: See `PatternNet`, as for everything else.

    Reference: Kindermans et al. 2018, section 4.
    """

    rule = PatternTimesKernel


class _Patterns:
    """The patterns of a model, in variables that mirrors read: no fit builds a mirror anew.

    Args:
        kernels: See `kernel_steps`.
        dtype: Floating point type of the mirrors.
    """

    def __init__(self, kernels: dict[str, list[Step]], dtype: str):
        self._linears = {name: steps[0].operation for name, steps in kernels.items()}
        self.holders = {name: linear.holder for name, linear in self._linears.items()}
        self.variables = {
            name: keras.Variable(np.zeros(linear.kernel.shape), trainable=False, dtype=dtype)
            for name, linear in self._linears.items()
        }
        self.known = False
        self.fitted_to: dict | None = None
        self.inactive: dict[str, np.ndarray] = {}

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        """The kernels as they are now, float64."""
        linears = self._linears.items()
        return {n: ops.convert_to_numpy(x.kernel).astype("float64") for n, x in linears}

    def get(self) -> dict[str, np.ndarray]:
        return {name: ops.convert_to_numpy(v) for name, v in self.variables.items()}

    def set(self, patterns: dict, inactive: dict | None = None) -> None:
        """Put patterns into the variables, if they fit."""
        patterns = check_keys("patterns", patterns)
        if set(patterns) != set(self.variables):
            unknown = sorted(set(patterns) - set(self.variables))
            missing = sorted(set(self.variables) - set(patterns))
            raise ValueError(
                "The patterns do not match the layers of the model that have a kernel: "
                f"{', '.join(self.variables)}. Unknown: {unknown}; missing: {missing}."
            )
        arrays = {name: as_array(f"patterns[{name!r}]", patterns[name]) for name in self.variables}
        for name, array in arrays.items():
            expected = tuple(self.variables[name].shape)
            if array.shape != expected or array.dtype.kind not in "fiu":
                raise ValueError(
                    f"The pattern of {name!r} must be an array of numbers, shaped like the kernel: "
                    f"{expected}. Received: the shape {array.shape}, the type {array.dtype}."
                )
            if not np.isfinite(array).all():
                raise ValueError(f"The pattern of {name!r} holds NaN or infinite values.")
        for name, array in arrays.items():
            self.variables[name].assign(array)
        found = (inactive or {}).items()
        self.inactive = {name: neurons for name, neurons in found if len(neurons)}
        self.known = True

    def warn_of_inactive(self) -> None:
        if self.inactive:
            counts = ", ".join(f"{len(n)} of {name!r}" for name, n in self.inactive.items())
            warn(
                "Some neurons have a pattern of zeros, through which no signal passes: they were "
                "never in the regime of the pattern type, or did not vary with their inputs. See "
                f"analyzer.inactive_neurons: {counts}."
            )


def _check_neurons(steps: list[Step]) -> None:
    for step in steps:
        linear = step.operation
        if isinstance(linear, Linear) and not linear.pointwise and linear.neuron_sums is None:
            raise NoRuleError(
                f"The step {step.name!r} ({type(linear.layer).__name__}) has no pattern: which "
                "axes of its kernel are the inputs of one neuron is not known. Write it as a Dense "
                "or EinsumDense layer, as x @ kernel with two axes, or as ops.einsum with all axes "
                "of the kernel spelled out."
            )


def _projected(line: Line, narrow: set[Step]) -> Line:
    return Line(
        Projected(line.rule),
        lambda step: step in narrow and line.matches(step),
        f"{line.why}; a bottleneck",
    )


def _bottlenecks(task: Task) -> set[Step]:
    """Steps whose only output all signals pass on their way, one row for each sample."""
    steps = task.steps
    last = {t: i for i, step in enumerate(steps) for t in step.inputs}
    last[task.output] = len(steps)
    written = {t for step in steps for t in step.outputs}
    open_tensors = {t for t in last if t not in written}
    by_sample = _with_sample_axis(task.graph)
    found = set()
    for i, step in enumerate(steps):
        open_tensors = {t for t in (*open_tensors, *step.outputs) if last.get(t, -1) > i}
        if open_tensors == set(step.outputs) and len(step.outputs) == 1:
            found |= {step} if step.outputs[0] in by_sample else set()
    return found


def _with_sample_axis(graph: Graph) -> set[KerasTensor]:
    """Tensors whose first axis is known to count samples: no operation could have moved it."""
    known = set(graph.flat_inputs)
    for step in graph.steps:
        kept = isinstance(step.operation, keras.Layer) or kind_of(step) not in (
            Kind.SHAPE,
            Kind.OPAQUE,
        )
        if kept and known.issuperset(step.inputs):
            known.update(step.outputs)
    return known
