"""What all analyzers share: choosing the output, building the mirror, running it on data."""

from __future__ import annotations

import copy
import inspect
import os
import warnings
from typing import Any

import keras
import numpy as np
from keras import tree

from innvestigate.backend import jit_compile, run_batch
from innvestigate.engine.batch import Batch
from innvestigate.engine.config import Configured
from innvestigate.engine.inputs import InputSpec
from innvestigate.engine.plan import Plan, plan_line
from innvestigate.engine.selection import Selection, check_mode
from innvestigate.engine.targets import choose_output, choose_targets
from innvestigate.graph.final import Final, explained
from innvestigate.graph.mirror import Method, build_forward, build_mirror, on_the_way
from innvestigate.graph.operations import annotate
from innvestigate.graph.step import Graph
from innvestigate.graph.trace import trace
from innvestigate.rules import Composite
from innvestigate.utils.batching import is_dataset, map_batches


class Analyzer(Configured):
    """Base of all analyzers: explains the chosen output neurons of a Keras model.

    Args:
        model: A built Keras model: Sequential, functional or subclassed. It is never changed.
        neuron_selection_mode: Which output neurons `analyze` explains:
            `"max_activation"`: the largest of each sample, over all output axes;
            `"index"`: those given by their index;
            `"all"`: all of them, summed;
            `"weights"`: a weighted sum of them.
        output: Name or index of the output to explain, where the model has several.
        layers: Names of layers. If given, `analyze` returns a dict of the results at these
            layers' outputs; `"input"` stands for the model's inputs.
        keep_output_activation: Whether a final softmax or sigmoid is explained too. By default it
            is taken off, with a warning, and the logit is explained; with methods that share out
            the output's value, so is any other final activation whose sign is not that of what
            it reads.

    Attributes:
        explains_value: Whether the method shares out the output's value among the inputs, as LRP
            does. It then takes off every final activation that may change the sign.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built, or an argument does not fit it.
    """

    explains_value = False
    _final: Final | None = None

    def __init__(
        self,
        model: keras.Model,
        *,
        neuron_selection_mode: str = "max_activation",
        output: str | int | None = None,
        layers: tuple[str, ...] | list[str] | None = None,
        keep_output_activation: bool = False,
    ):
        self.neuron_selection_mode = check_mode(neuron_selection_mode)
        self._wants_layers = layers is not None
        graph = trace(model)
        self.input_spec = InputSpec(graph)
        self._output = choose_output(model, graph, output)
        graph.outputs = [self._output]
        self._graph = graph
        self._prepare(keep_output_activation)
        self._targets = choose_targets(graph, layers)
        self._forward: keras.Model | None = None
        self._build()

    def analyze(
        self, x: Any, neuron_selection: Any = None, *, batch_size: int = 32, verbose: int = 0
    ) -> Any:
        """Explain the model's output for every sample of x.

        Args:
            x: Samples with a batch axis: an array, a list or dict as the model takes it, a
                `tf.data.Dataset` or a `keras.utils.PyDataset` of batches. Any numeric type.
            neuron_selection: In the mode `"index"` an int or, for outputs with k axes, a k-tuple
                that holds for all samples, or an integer array with one index for each sample
                (`(batch,)` or `(batch, k)`). In the mode `"weights"` an array that broadcasts to
                the output `(batch, *output_shape)`. None otherwise.
            batch_size: Samples that are run at a time; data sets bring their own batches.
            verbose: 1 shows a progress bar.

        Returns:
            float32 (float64 for a float64 model) numpy arrays in the structure and shape of x; at
            `layers`, a dict from layer name to an array of the shape of the layer's output.

        Raises:
            ValueError: If x does not fit the model or is not finite, or `neuron_selection` does
                not fit the mode or the output.
        """
        count = None
        if not is_dataset(x):
            x, count = self.input_spec.check(x)
        selection = Selection(
            self.neuron_selection_mode, neuron_selection, self._output.shape[1:], count
        )

        self._check_count(count)

        def run(given, offset, progress):
            inputs = self.input_spec.flat(given, offset)
            weights = self._weights(selection, inputs, offset)
            samples = offset + np.arange(len(inputs[0]))
            batch = Batch(inputs, weights, samples, batch_size, progress)
            return self._restore(self._explain(batch), given)

        return self._finished(map_batches(run, x, batch_size, verbose))

    def save(self, path: str | os.PathLike) -> None:
        """Save the analyzer in one file: model, method, arguments and what was fitted.

        Load it with `innvestigate.load_analyzer(path)`, in this process or another one. A model
        that was trained on is saved as it is now. The file appears when it is complete; until then
        an older one stays.

        Args:
            path: The file.

        Raises:
            TypeError: If an argument cannot be saved, such as a function that is not registered
                with `keras.saving.register_keras_serializable`; names it.
            ValueError: If Keras cannot save the model.
        """
        from innvestigate.engine.storage import save_analyzer

        save_analyzer(self, path)

    def rebuilt(self, model: keras.Model | None = None, **changes) -> Analyzer:
        """A new analyzer of the same method and arguments, but for those that are given.

        Args:
            model: Another model to explain; what was fitted is left behind then.
            **changes: Arguments that differ, such as `neuron_selection_mode="index"`. Of a
                wrapper's they are those of the analyzer inside.

        Returns:
            The analyzer; this one stays as it is.

        Raises:
            TypeError: If an argument is unknown.
            ValueError: If the model or an argument does not fit.
        """
        config = self.get_config()
        if "model" in config:
            config |= changes if model is None else {**changes, "model": model}
        else:
            config = {
                name: value.rebuilt(model, **changes) if isinstance(value, Analyzer) else value
                for name, value in config.items()
            }
        found = type(self)(**config)
        if model is None:
            found._set_state(self._state())
        return found

    def _state(self) -> dict[str, np.ndarray]:
        """What was fitted, as flat arrays by name."""
        return {}

    def _set_state(self, state: dict[str, np.ndarray]) -> None:
        """Take over what `_state` returned."""

    def _prepare(self, keep_output_activation: bool) -> None:
        """Bring the graph into the form that the method works on."""

    def _build(self) -> None:
        """Make ready what `_explain` runs."""

    def _check_count(self, count: int | None) -> None:
        """Refuse arguments that do not fit the number of samples, where it is known."""

    def _explain(self, batch: Batch) -> dict[str, np.ndarray]:
        """The result at each target, by name, for the rows of a batch."""
        raise NotImplementedError

    def _finished(self, result: Any) -> Any:
        """What `analyze` returns, given the results of all batches."""
        _warn_if_not_finite(result)
        return result

    def _weights(self, selection: Selection, inputs: list, offset: int) -> np.ndarray | None:
        """The weights of the output neurons; None where the mirror picks the largest itself."""
        if self.neuron_selection_mode == "max_activation":
            return None
        shape = self._output.shape[1:]
        if None in shape:
            shape = self._outputs([x[:1] for x in inputs]).shape[1:]
        return selection.weights(offset, len(inputs[0]), shape)

    def _weighted(self) -> Analyzer:
        """The same analyzer, for batches that bring weights even where the mirror would choose."""
        if self.neuron_selection_mode != "max_activation":
            return self
        return self._twin(neuron_selection_mode="weights")

    def _twin(self, **changes) -> Analyzer:
        """The same analyzer with other attributes, made ready anew; warns of nothing twice."""
        twin = copy.copy(self)
        vars(twin).update(changes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin._build()
        return twin

    def _outputs(self, inputs: list) -> np.ndarray:
        """The value of the chosen output for rows of inputs."""
        if self._forward is None:
            graph = Graph(self._graph.steps, self._graph.flat_inputs, self._output)
            self._forward = build_forward(graph, "forward")
            self._forward.compile(jit_compile=jit_compile)
        return run_batch(self._forward, inputs)

    def _take_off(self, keep_output_activation: bool) -> None:
        """Take a final activation off that the method does not explain, with a warning."""
        self._final, told = explained(
            self._graph, self._output, self.explains_value, keep_output_activation
        )
        if self._final is not None:
            self._output = self._final.output
        if told is not None:
            warn(told)

    def _restore(self, results: dict, batch) -> Any:
        inputs = [results[name] for name in self._targets if name.startswith("input:")]
        if not self._wants_layers:
            return self.input_spec.restore(inputs, batch)
        found = {name: y for name, y in results.items() if not name.startswith("input:")}
        if inputs:
            found["input"] = self.input_spec.restore(inputs, batch)
        return found


class MirrorAnalyzer(Analyzer):
    """An analyzer that sends a signal back through the model, by one rule for each step.

    Attributes:
        model: The mirror, a `keras.Model` whose summary reads as the method.
    """

    _build_model = staticmethod(build_mirror)

    def plan(self) -> Plan:
        """Print and return, step by step, which rule is used and why.

        Returns:
            One `PlanLine` for each step between the chosen output and the tensors asked for.
        """
        plan = Plan(plan_line(step, self._composite.choose(step)) for step in self._steps)
        print(plan)
        return plan

    def _prepare(self, keep_output_activation: bool) -> None:
        self._take_off(keep_output_activation)
        self._rewrite(self._graph)
        annotate(self._graph)

    def _build(self) -> None:
        targets = list(self._targets.values())
        self._steps = on_the_way(self._graph, self._output, targets)
        self._composite = self._make_composite()
        self._check_model()
        method = Method(
            rule=lambda step: self._composite.choose(step).rule,
            start=self._start,
            finish=self._finish,
            select_max=self.neuron_selection_mode == "max_activation",
        )
        name = type(self).__name__
        self.model = self._build_model(self._graph, method, self._output, self._targets, name)

    def _explain(self, batch: Batch) -> dict[str, np.ndarray]:
        weights = [] if batch.weights is None else [batch.weights]
        return run_batch(self.model, batch.inputs + weights)

    def _rewrite(self, graph: Graph) -> None:
        """Bring the graph into the form that the method's rules speak of."""

    def _make_composite(self) -> Composite:
        """The rules of the method."""
        raise NotImplementedError

    def _check_model(self) -> None:
        """Refuse or warn of models that the method is not made for."""

    @staticmethod
    def _start(weights, output):
        """The signal at the output."""
        raise NotImplementedError

    def _finish(self, value, signal):
        """The result at a tensor of the given value where the given signal arrives."""
        return signal


def _warn_if_not_finite(result: Any) -> None:
    finite = [np.isfinite(r).reshape(len(r), -1).all(axis=1) for r in tree.flatten(result)]
    bad = np.flatnonzero(~np.all(finite, axis=0))
    if len(bad):
        shown = ", ".join(map(str, bad[:10])) + (" ..." if len(bad) > 10 else "")
        warn(
            f"The relevance of sample {shown} is not finite: it left the range of floating point "
            "numbers, as it was divided by very small ones, or grew from layer to layer. A rule "
            "with a stabiliser, such as lrp.epsilon with a larger epsilon, avoids that."
        )


def warn(message: str) -> None:
    """Warn, and point at the caller's line outside the package."""
    package = __name__.split(".")[0]
    depth = next(
        (
            level
            for level, frame in enumerate(inspect.stack(context=0))
            if frame.frame.f_globals.get("__name__", "").split(".")[0] != package
        ),
        1,
    )
    warnings.warn(message, stacklevel=depth + 1)
