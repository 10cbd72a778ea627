"""The sums over the data that patterns follow from, gathered batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import reduce
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from innvestigate.analyzer.pattern_sums import SUMS, check_sums, count_of, digest_of
from innvestigate.backend import run_batch, vjp
from innvestigate.engine.inputs import InputSpec
from innvestigate.graph.linear import Linear
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.operations import Trait, has, keras_name
from innvestigate.graph.run import float_type
from innvestigate.graph.step import Graph, Step
from innvestigate.utils.archive import read_arrays, write_arrays
from innvestigate.utils.arguments import (
    check_choice,
    check_flags,
    check_keys,
    check_kind,
    check_whole,
)
from innvestigate.utils.files import reading, replacing
from innvestigate.utils.words import shown


def _positive(z):
    return z > 0


def _negative(z):
    return z < 0


def _everywhere(z):
    return ops.ones_like(z, dtype="bool")


PATTERN_TYPES: dict[str, Callable] = {
    "relu": _positive,
    "relu.positive": _positive,
    "relu.negative": _negative,
    "linear": _everywhere,
}
FORMAT = 1
_ROUNDING = 1e-12


def kernel_steps(steps: list[Step]) -> dict[str, list[Step]]:
    """All uses of every kernel that has a pattern, by a name that holds for every analyzer.

    The name is that of the layer of the first use, with those of the layers around it in front of
    it; further kernels of the same name are numbered. A diagonal kernel (BatchNormalization) is
    left out: its pattern needs no data.
    """
    uses: dict[int, list[Step]] = {}  # holders may be arrays, which are told apart by identity
    for step in steps:
        if isinstance(step.operation, Linear) and not step.operation.pointwise:
            uses.setdefault(id(step.operation.holder), []).append(step)
    named: dict[str, list[Step]] = {}
    for found in uses.values():
        layers = found[0].layers
        name = ".".join(layer.name for layer in layers) or str(keras_name(found[0].layer)).lower()
        taken = sum(name == other or other.startswith(f"{name}#") for other in named)
        named[f"{name}#{taken}" if taken else name] = found
    return named


class PatternStatistics:
    """Sums over samples and positions, for each kernel, from which its pattern follows.

    With x the input of a neuron, y = wᵀx its output without bias, and m = 1 where the neuron is in
    the regime of `pattern_type`, else 0: the sums of m, 1, y, m x and m x y, in float64. They do
    not depend on how the data is cut into batches, and those of parts of the data add up:

        >>> analyzer.partial_fit(batch)                        # on each machine
        >>> analyzer.statistics.save("part.npz")
        >>> analyzer.statistics.merge(PatternStatistics.load("part.npz"))  # on one of them

    Args:
        pattern_type: See `PatternNet`.
        collect: The `Collector` of a model; None for statistics that only hold sums.

    Attributes:
        samples: How many samples have been seen.
        sums: For each kernel, by its layer's name: `xy` and `x`, shaped like the kernel, and
            `active`, `count` and `y`, one number for each neuron, which broadcast over the kernel.
    """

    def __init__(self, pattern_type: str = "relu", collect: Collector | None = None):
        self.pattern_type = check_choice("pattern_type", pattern_type, PATTERN_TYPES)
        self._collect = collect
        self.clear()

    @property
    def samples(self) -> int:
        return self._total[0]

    @property
    def sums(self) -> dict[str, dict[str, np.ndarray]]:
        return self._total[1]

    def clear(self) -> None:
        """Forget all samples."""
        self._total: tuple[int, dict] = (0, {})

    def update(self, batch: Any, offset: int = 0, anew: bool = False) -> None:
        """Take in a batch of samples. If that fails or is interrupted, nothing has changed.

        Args:
            batch: Samples as the model takes them.
            offset: Samples before the batch, for messages.
            anew: Whether to forget all samples before.

        Raises:
            ValueError: If the batch does not fit the model, is empty or not finite, or leads to
                numbers that are not.
            RuntimeError: If the statistics were loaded from a file and know no model.
        """
        if self._collect is None:
            raise RuntimeError(
                "These statistics hold sums only. Merge them into those of an analyzer, "
                "analyzer.statistics.merge(statistics), and go on with analyzer.partial_fit."
            )
        check_flags(anew=anew)
        total = self._collect(batch, check_whole("offset", offset, 0))
        self._total = total if anew else self._plus(*total)

    def merge(self, other: PatternStatistics) -> None:
        """Add the sums of another part of the data.

        Raises:
            TypeError: If the others are no statistics.
            ValueError: If they are of another pattern type or another model.
        """
        check_kind("other", other, PatternStatistics, "PatternStatistics")
        if PATTERN_TYPES[self.pattern_type] is not PATTERN_TYPES[other.pattern_type]:
            raise ValueError(
                f"Statistics of the pattern type {other.pattern_type!r} cannot be merged into "
                f"those of {self.pattern_type!r}."
            )
        shapes = _shapes(self.sums) if self._collect is None else self._collect.shapes
        found = _shapes(other.sums)
        if shapes and found and shapes != found:
            raise ValueError(
                "Statistics of different models cannot be merged. Expected kernels and neurons of "
                f"the shapes: {shapes}; received: {found}."
            )
        self.add(other.samples, other.sums)

    def add(self, samples: int, sums: dict[str, dict[str, np.ndarray]]) -> None:
        """Add sums over further samples, of the same kernels."""
        self._total = self._plus(samples, sums)

    def _plus(self, samples: int, sums: dict) -> tuple[int, dict]:
        if not (self.sums and sums):
            return self.samples + samples, self.sums or sums
        added = {name: _added(of_kernel, sums[name]) for name, of_kernel in self.sums.items()}
        return self.samples + samples, added

    def patterns(self, kernels: dict[str, np.ndarray]) -> tuple[dict, dict]:
        """The patterns a = (E₊[x y] - E₊[x] E[y]) / wᵀ(E₊[x y] - E₊[x] E[y]).

        E₊ is the mean over the positions where the neuron is in its regime, E that over all.

        Args:
            kernels: The kernel w of each layer.

        Returns:
            The pattern of each layer, float64, shaped like its kernel; and the numbers of those
            neurons whose pattern is zero, as they are never in their regime or the denominator is
            zero up to rounding (flat, in the order of the kernel's axes).

        Raises:
            TypeError: If `kernels` is no dict.
            ValueError: If a kernel is not one whose sums these are.
        """
        known = {name: of_kernel["xy"].shape for name, of_kernel in self.sums.items()}
        for name, kernel in check_keys("kernels", kernels).items():
            if name not in known or known[name] != getattr(kernel, "shape", None):
                raise ValueError(
                    f"There are sums for kernels of the shapes {known}. Received for "
                    f"{shown(name)}: {shown(kernel)}."
                )
        found = {name: _pattern(kernel, self.sums[name]) for name, kernel in kernels.items()}
        return (
            {name: pattern for name, (pattern, _) in found.items()},
            {name: np.flatnonzero(silent) for name, (_, silent) in found.items()},
        )

    def state(self) -> dict[str, np.ndarray]:
        """Everything as flat arrays."""
        arrays = {f"{n}:{key}": a for n, sums in self.sums.items() for key, a in sums.items()}
        about = {"format": FORMAT, "samples": self.samples, "pattern_type": self.pattern_type}
        return arrays | {f":{key}": np.array(value) for key, value in about.items()}

    @classmethod
    def from_state(cls, state: dict[str, np.ndarray]) -> PatternStatistics:
        """The statistics that `state` described, to be merged.

        Raises:
            ValueError: If it is something else, of a newer version, or its sums are none of data:
                not finite, of another shape than the kernel, or counts that contradict each other.
        """
        try:
            version, samples = (count_of(state[key]) for key in (":format", ":samples"))
            statistics = cls(str(state[":pattern_type"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"These are no statistics of patterns: {error}.") from None
        if version > FORMAT:
            raise ValueError(
                f"These statistics have the format {version}; this version of innvestigate knows "
                f"formats up to {FORMAT}. Update innvestigate."
            )
        sums: dict[str, dict] = {}
        for name, array in state.items():
            layer, _, key = name.rpartition(":")
            if layer:
                sums.setdefault(layer, {})[key] = np.asarray(array)
        for layer, of_kernel in sums.items():
            check_sums(layer, of_kernel)
        statistics.add(samples, sums)
        return statistics

    def save(self, path: str | os.PathLike | bytes) -> None:
        """Write everything to one `.npz` file, which appears when it is complete."""
        state = self.state()
        with replacing(path) as file:
            write_arrays(file, state | {":sha256": np.array(digest_of(state))})

    @classmethod
    def load(cls, path: str | os.PathLike | bytes) -> PatternStatistics:
        """The statistics in a file that `save` wrote, to be merged; nothing in it is executed.

        Raises:
            FileNotFoundError: If there is no such file.
            FileRefusedError: A ValueError: if it is not such a file, damaged, or of a newer
                version.
        """
        with reading(path, "statistics of patterns") as file:
            state = read_arrays(file)
            digest = str(state.pop(":sha256", None))
            statistics = cls.from_state(state)
            if digest != digest_of(state):
                raise ValueError("its sums are not those that were written")
            return statistics


class Collector:
    """Runs the model on a batch and sums up what patterns need.

    Args:
        graph: The rewritten graph.
        input_spec: What inputs the model takes.
        kernels: See `kernel_steps`.
        pattern_type: See `PatternNet`.
    """

    def __init__(
        self,
        graph: Graph,
        input_spec: InputSpec,
        kernels: dict[str, list[Step]],
        pattern_type: str,
    ):
        self._graph, self._input_spec = graph, input_spec
        self._kernels, self._pattern_type = kernels, pattern_type
        self._model: keras.Model | None = None
        self.shapes = {name: _shapes_of(steps[0]) for name, steps in kernels.items()}

    def __call__(self, batch: Any, offset: int) -> tuple[int, dict]:
        """The number of samples in a batch, and their sums."""
        inputs = self._input_spec.flat(batch, offset)
        if not len(inputs[0]):
            raise ValueError("The batch holds no sample.")
        if self._model is None:
            self._model = self._build()
        found = iter(run_batch(self._model, inputs))
        sums: dict[str, dict] = {}
        for name, steps in self._kernels.items():
            of_uses = [zip(*(next(found) for _ in range(6)), strict=True) for _ in steps]
            sums[name] = reduce(_added, [_as_sums(*part) for parts in of_uses for part in parts])
            if not all(np.isfinite(a.sum(dtype="float64")) for a in sums[name].values()):
                raise ValueError(f"It drives the layer {name!r} out of the floating point range.")
        return len(inputs[0]), sums

    def _build(self) -> keras.Model:
        graph, readers = self._graph, self._graph.readers()
        select, dtype = PATTERN_TYPES[self._pattern_type], float_type(graph)
        steps = [
            _sums_step(step, _pre_activation(step, readers), select, dtype)
            for uses in self._kernels.values()
            for step in uses
        ]
        outputs = [tensor for step in steps for tensor in step.outputs]
        extended = Graph([*graph.steps, *steps], graph.flat_inputs, outputs)
        return build_forward(extended, "pattern_statistics")


class _Sums:
    """The sums of one use of a kernel over a batch: arrays of one row, as `backend.run_batch` asks.

    Sums of x·m and x·y·m over all positions are gradients with respect to the kernel. y is counted
    from its mean over the batch, so that nothing cancels in single precision.
    """

    def __init__(self, linear: Linear, select: Callable):
        self.layer, self.constants = linear.layer, linear.constants
        self._linear, self._select = linear, select

    def __call__(self, x, pre_activation) -> list:
        linear, kernel = self._linear, ops.copy(self._linear.kernel)
        x = ops.cast(x, kernel.dtype)
        y = linear.map(x, kernel)
        mask = ops.reshape(self._select(pre_activation), ops.shape(y))
        mask = ops.cast(mask, y.dtype)
        (total,), spread = vjp(lambda y: [linear.neuron_sums(y)], [y])
        count = linear.neuron_sums(ops.ones_like(y))
        center = total / count
        centered = y - spread([center])[0]

        def kernel_gradient(signal):
            _, pullback = vjp(lambda kernel: [linear.map(x, kernel)], [kernel])
            return pullback([signal])[0]

        of_neurons = [linear.neuron_sums(mask), count, center, linear.neuron_sums(centered)]
        sums = [*of_neurons, kernel_gradient(mask), kernel_gradient(mask * centered)]
        return [ops.expand_dims(array, 0) for array in sums]


def _sums_step(step: Step, pre_activation: KerasTensor, select: Callable, dtype: str) -> Step:
    kernel = step.operation.kernel
    of_neurons = [(None,) * len(kernel.shape)] * 4
    shapes = [*of_neurons, kernel.shape, kernel.shape]
    outputs = [KerasTensor((1, *shape), dtype) for shape in shapes]
    read = (step.inputs[0], pre_activation)
    sums = _Sums(step.operation, select)
    return Step(f"{step.name}.sums", sums, (read, {}), outputs)


def _pre_activation(step: Step, readers: dict[KerasTensor, list[Step]]) -> KerasTensor:
    """What the activation after a linear step reads: behind BatchNormalization, if one follows."""
    tensor = found = step.outputs[0]
    while len(readers.get(tensor, [])) == 1:
        reader = readers[tensor][0]
        normalizes = isinstance(reader.operation, Linear) and reader.operation.pointwise
        keeps_order = has(reader.operation, Trait.KEEPS_ORDER)
        if not normalizes and not keeps_order:
            break
        tensor = reader.outputs[0]
        found = tensor if normalizes else found
    return found


def _as_sums(active, count, center, residual, x, xy) -> dict[str, np.ndarray]:
    """The sums of a batch, y counted from zero again; sums that need not change keep float32."""
    in_float64 = np.multiply(center, x, dtype="float64")
    in_float64 += xy
    y = np.multiply(count, center, dtype="float64") + residual
    return dict(zip(SUMS, (active, count, y, x, in_float64), strict=True))


def _added(sums: dict, others: dict) -> dict[str, np.ndarray]:
    return {key: np.add(sums[key], others[key], dtype="float64") for key in SUMS}


def _pattern(kernel: np.ndarray, sums: dict) -> tuple[np.ndarray, np.ndarray]:
    sums = {key: array.astype("float64", copy=False) for key, array in sums.items()}
    active = np.maximum(sums["active"], 1)
    products = sums["xy"] / active
    means = sums["x"] / active * (sums["y"] / sums["count"])
    numerator = products - means
    axes = tuple(i for i, size in enumerate(active.shape) if size == 1)
    denominator = np.sum(kernel * numerator, axes, keepdims=True)
    largest = np.sum(np.abs(kernel) * (np.abs(products) + np.abs(means)), axes, keepdims=True)
    silent = np.abs(denominator) <= _ROUNDING * largest
    return np.where(silent, 0.0, numerator / np.where(silent, 1.0, denominator)), silent


def _shapes(sums: dict) -> dict[str, tuple]:
    """The shapes of each kernel and of what its neurons have one number for."""
    return {name: (of_kernel["xy"].shape, of_kernel["y"].shape) for name, of_kernel in sums.items()}


def _shapes_of(step: Step) -> tuple[tuple, tuple]:
    linear, z = step.operation, step.outputs[0]
    of_neurons = linear.neuron_sums(KerasTensor(z.shape, z.dtype))
    return tuple(linear.kernel.shape), tuple(of_neurons.shape)
