"""Class activation maps: a layer's channels, weighted and added up at each of its places."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import keras
import numpy as np
from keras import KerasTensor, ops

from innvestigate.analyzer.gradient import GuidedBackprop
from innvestigate.backend import run_batch
from innvestigate.engine.base import Analyzer
from innvestigate.engine.batch import Batch, expand, fold
from innvestigate.engine.maps import (
    check_maps_inputs,
    choose_map_layer,
    map_line,
    warn_of_inputs_without,
)
from innvestigate.engine.mirror import MirrorAnalyzer
from innvestigate.engine.plan import Plan, PlanLine
from innvestigate.engine.variants import VariantsAnalyzer
from innvestigate.graph.maps import GuidedMapBuilder, MapBuilder, on_input, shared_on_input
from innvestigate.graph.mirror import build_forward
from innvestigate.graph.operations import Trait, has
from innvestigate.graph.places import MapLayer
from innvestigate.graph.rewrite import is_opaque, open_layers
from innvestigate.graph.run import float_type
from innvestigate.graph.step import Graph, Step, is_float
from innvestigate.graph.task import MAP, OUTPUT, Method, Task, input_name, input_number
from innvestigate.rules import Composite, Gradient, Line
from innvestigate.utils.arguments import check_flags, check_text


class CamAnalyzer(Analyzer):
    """Base of methods that make a map of a layer: one number for each of its places.

    The map is resized to each input that the layer's places lie on, linearly between the middles
    of places, and shared out evenly among the channels there: their sum is the map. Inputs on
    which it does not lie get zeros, with a warning.

    Args:
        model: See `Analyzer`.
        layer: Name of the layer, such as `"conv5"`, or `"backbone.conv5"` in a nested model. By
            default the last one with places and channels before the output: what a convolution, a
            pooling or a layer between them writes, before a global pooling or Flatten.
        upsample: Whether the map is resized; else the result is the map itself, at the layer's
            places: `(batch, *places)`.
        **kwargs: See `Analyzer`; `layers` may hold `"input"` only.

    Raises:
        ValueError: If the model has no such layer, the output does not depend on it, its places
            are those of no input, or hidden `layers` are asked for.
    """

    def __init__(self, model, layer: str | None = None, upsample: bool = True, **kwargs):
        check_flags(upsample=upsample)
        self._layer = layer if layer is None else check_text("layer", layer)
        self._upsample = upsample
        super().__init__(model, **kwargs)

    def rewrite(self, graph: Graph) -> Graph:
        return open_layers(graph, _opens)

    def targets(self, graph: Graph) -> dict[str, KerasTensor]:
        named = super().targets(graph)
        check_maps_inputs(self, named)
        if self.by_layer and not self._upsample:
            raise ValueError(
                "With upsample=False there is no result at the inputs: leave `layers` out."
            )
        found = self.map_layer(graph, graph.flat_outputs[0])
        return dict.fromkeys(named if self._upsample else [MAP], found.tensor)

    def check_model(self, task: Task) -> None:
        if self._upsample:
            warn_of_inputs_without(self, self.map_layer(task.graph, task.output))

    def map_layer(self, graph: Graph, output: KerasTensor) -> MapLayer:
        """The layer of which the map is made."""
        return choose_map_layer(type(self).__name__, graph, output, self._layer, self._upsample)

    def plan(self) -> Plan:
        """Print and return which layer the map is made of, and which rules there are behind it.

        Returns:
            A `PlanLine` for the layer, and one for each step through which a signal gets there.
        """
        plan = Plan(self.plan_lines())
        print(plan)
        return plan

    def plan_lines(self) -> list[PlanLine]:
        """The lines of the plan."""
        return [map_line(self, self.map_layer(self.task.graph, self.task.output))]


class _GradientCam(CamAnalyzer, MirrorAnalyzer):
    """A map that is made of what a layer writes and the gradient there."""

    passes_layers = False  # what is below the layer of the map, no signal passes
    sends_one_signal = False  # a map does not end at the vectors of tokens

    def composite(self, task: Task) -> Composite:
        return Composite((Line(Gradient(), lambda step: True, "every step behind the layer"),))

    def start(self, weights, output):
        return weights

    def build_model(self, task: Task, method: Method, name: str) -> keras.Model:
        return MapBuilder(task, method, self.map_layer(task.graph, task.output)).build(name)

    def plan_lines(self) -> list[PlanLine]:
        return [*super().plan_lines(), *MirrorAnalyzer.plan_lines(self)]


def grad_cam(value, signal):
    """Grad-CAM's map, of what a layer writes and the gradient there, both with channels last."""
    weights = ops.mean(signal, axis=_places(signal), keepdims=True)
    return ops.relu(ops.sum(weights * value, axis=-1))


class GradCAM(_GradientCam):
    """Grad-CAM: the channels A_k of a layer, weighted by the mean of their gradients.

    L = ReLU(Σ_k α_k A_k), α_k being the mean over all places of ∂(Σ_j w_j y_j) / ∂A_k.

    Args:
        model: See `CamAnalyzer`.
        layer: See `CamAnalyzer`.
        upsample: See `CamAnalyzer`.
        **kwargs: See `CamAnalyzer`.

    Raises:
        ValueError: See `CamAnalyzer`.

    Reference: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization", section 3.
    """

    def finish(self, value, signal):
        return grad_cam(value, signal)


class GradCAMPlusPlus(_GradientCam):
    """Grad-CAM++: as Grad-CAM, weighted by a sum over the places where the gradient is positive.

    L = ReLU(Σ_k w_k A_k), w_k = Σ_p α_k(p) ReLU(g_k(p)), g_k(p) = ∂(Σ_j w_j y_j) / ∂A_k(p),
    α_k(p) = g_k(p)² / (2 g_k(p)² + g_k(p)³ Σ_q A_k(q)) = 1 / (2 + g_k(p) Σ_q A_k(q)).

    These are the paper's derivatives of exp(Σ_j w_j y_j) where all second ones of the logit are
    zero, without the factor exp(Σ_j w_j y_j), which scales the whole map of a sample. A place whose
    denominator is exactly zero counts nothing.

    Args:
        model: See `CamAnalyzer`.
        layer: See `CamAnalyzer`. The weights are meant for activations >= 0.
        upsample: See `CamAnalyzer`.
        **kwargs: See `CamAnalyzer`.

    Raises:
        ValueError: See `CamAnalyzer`.

    Reference: Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-Based Visual
    Explanations for Deep Convolutional Networks", section 3.2, eq. 19.
    """

    def finish(self, value, signal):
        places = _places(signal)
        divisor = 2 + signal * ops.sum(value, axis=places, keepdims=True)
        shares = ops.divide_no_nan(ops.relu(signal), divisor)
        weights = ops.sum(shares, axis=places, keepdims=True)
        return ops.relu(ops.sum(weights * value, axis=-1))


class LayerCAM(_GradientCam):
    """LayerCAM: each channel of a layer, weighted at each place by its positive gradient there.

    L(p) = ReLU(Σ_k ReLU(g_k(p)) A_k(p)), g_k(p) = ∂(Σ_j w_j y_j) / ∂A_k(p). As places have weights
    of their own, it serves layers far from the output, too, whose maps are finer.

    Args:
        model: See `CamAnalyzer`.
        layer: See `CamAnalyzer`.
        upsample: See `CamAnalyzer`.
        **kwargs: See `CamAnalyzer`.

    Raises:
        ValueError: See `CamAnalyzer`.

    Reference: Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for
    Localization", section III.B.
    """

    def finish(self, value, signal):
        return ops.relu(ops.sum(ops.relu(signal) * value, axis=-1))


class GuidedGradCAM(GuidedBackprop):
    """Guided Grad-CAM: Guided Backprop at the input, times the Grad-CAM map that lies there.

    R = s ⊙ L, s being the result of `GuidedBackprop` and L the map of `GradCAM`, resized to the
    input and the same for all of its channels. Both come of one forward pass.

    Args:
        model: See `CamAnalyzer`.
        layer: See `CamAnalyzer`.
        **kwargs: See `GuidedBackprop`; `layers` may hold `"input"` only.

    Raises:
        ValueError: See `CamAnalyzer`.

    Reference: Selvaraju et al. 2017, section 3.3.
    """

    passes_layers = False  # the map's signal does not pass them
    sends_one_signal = False

    def __init__(self, model, layer: str | None = None, **kwargs):
        self._layer = layer if layer is None else check_text("layer", layer)
        super().__init__(model, **kwargs)

    def targets(self, graph: Graph) -> dict[str, KerasTensor]:
        named = super().targets(graph)
        check_maps_inputs(self, named)
        return named

    def check_model(self, task: Task) -> None:
        layer = self.map_layer(task)
        super().check_model(task)
        warn_of_inputs_without(self, layer)

    def map_layer(self, task: Task) -> MapLayer:
        """The layer of which the map is made."""
        return choose_map_layer(type(self).__name__, task.graph, task.output, self._layer, True)

    def build_model(self, task: Task, method: Method, name: str) -> keras.Model:
        layer, gradient = self.map_layer(task), Gradient()
        at_layer = replace(task, targets={MAP: layer.tensor})
        of_map = replace(method, rule=lambda step: gradient, finish=grad_cam)
        return GuidedMapBuilder(task, method, (at_layer, of_map), layer).build(name)

    def plan_lines(self) -> list[PlanLine]:
        return [map_line(self, self.map_layer(self.task)), *super().plan_lines()]


class _ForwardCam(CamAnalyzer):
    """A map that needs no gradient."""

    follows_sizes = False

    def at_layer(self, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """What the layer writes, `(rows, *places, channels)`, and the value of `task.checked`."""
        found, checked = run_batch(self._to_layer, inputs)
        return np.moveaxis(found.astype("float64"), self._map_layer.channels, -1), checked

    def placed(self, found: np.ndarray, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
        """A map at all targets."""
        found = found.astype(float_type(self.task.graph))
        if not self._upsample:
            return {MAP: found}
        axes = self._map_layer.inputs
        numbers = (input_number(name) for name in self.task.targets)
        return {input_name(i): _on(inputs[i], found, axes.get(i), shared_on_input) for i in numbers}

    @cached_property
    def _map_layer(self) -> MapLayer:
        return self.map_layer(self.task.graph, self.task.output)

    @cached_property
    def _to_layer(self) -> keras.Model:
        wanted = [self._map_layer.tensor, self.task.checked]
        return build_forward(
            Graph(self.task.graph.steps, self.input_spec.tensors, wanted), "to_layer"
        )


class EigenCAM(_ForwardCam):
    """Eigen-CAM: what a layer writes, along the direction in which all of its places are largest.

    L(p) = Σ_k A_k(p) v_k, v being the first right singular vector of the matrix A of places and
    channels, which is not centred. Of v and -v it is the one that makes L positive where it is
    largest: for activations >= 0 all of L is. It shows what the layer answers to, and is the same
    for all neurons of the output.

    Args:
        model: See `CamAnalyzer`. Only its forward pass is needed.
        layer: See `CamAnalyzer`.
        upsample: See `CamAnalyzer`.
        **kwargs: See `CamAnalyzer`.

    Raises:
        ValueError: See `CamAnalyzer`; or if what the layer writes is not finite.

    Reference: Muhammad & Yeasin 2020, "Eigen-CAM: Class Activation Map using Principal
    Components", section III.
    """

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        values, checked = self.at_layer(batch.inputs)
        matrices = values.reshape(len(values), -1, values.shape[-1])
        self._check_finite(matrices, batch.samples)
        _, _, directions = np.linalg.svd(matrices, full_matrices=False)
        found = (matrices @ directions[:, 0, :, None])[..., 0]
        largest = np.abs(found).argmax(axis=1)[:, None]
        found *= np.sign(np.take_along_axis(found, largest, axis=1))
        return self.placed(found.reshape(values.shape[:-1]), batch.inputs) | {OUTPUT: checked}

    def _check_finite(self, matrices: np.ndarray, samples: np.ndarray) -> None:
        bad = samples[~np.isfinite(matrices).all(axis=(1, 2))]
        if bad.size:
            raise ValueError(
                f"What the layer {self._map_layer.name!r} writes is not finite for the samples "
                f"{np.unique(bad).tolist()}, and has no singular vectors. Check the model's "
                "weights and the scale of its inputs, or choose another layer."
            )


class ScoreCAM(_ForwardCam, VariantsAnalyzer):
    """Score-CAM: the channels of a layer, weighted by the output at the input that each unmasks.

    L = ReLU(Σ_k α_k A_k), α = softmax over k of f(x ⊙ M_k), f being the explained output. M_k is
    A_k, resized to the input and then stretched to [0, 1]; for a channel that is the same at all
    places it is 0. The paper's scores are differences f(x ⊙ M_k) - f(baseline): the softmax is the
    same without the baseline's.

    Args:
        model: See `CamAnalyzer`. Only its forward pass is needed, once for each channel of the
            layer.
        layer: See `CamAnalyzer`.
        upsample: See `CamAnalyzer`.
        **kwargs: See `CamAnalyzer`.

    Raises:
        ValueError: See `CamAnalyzer`; or if the map lies on no input, or on one of whole numbers,
            which cannot be multiplied by masks.

    Reference: Wang et al. 2020, "Score-CAM: Score-Weighted Visual Explanations for Convolutional
    Neural Networks", section 3 and algorithm 1.
    """

    def check_model(self, task: Task) -> None:
        super().check_model(task)
        layer = self.map_layer(task.graph, task.output)
        whole = [
            self.input_spec.names[i]
            for i in layer.inputs
            if not is_float(task.graph.flat_inputs[i])
        ]
        if whole or not layer.inputs:
            raise ValueError(
                f"Score-CAM multiplies inputs by masks that the layer {layer.name!r} makes, and "
                + (
                    f"the input {whole[0]!r} holds whole numbers."
                    if whole
                    else "its places are those of no input."
                )
                + " Use 'grad_cam', which masks nothing."
            )

    def explain(self, batch: Batch) -> dict[str, np.ndarray]:
        values, checked = self.at_layer(batch.inputs)
        maps = np.moveaxis(values, -1, 0)
        scores = np.empty(maps.shape[:2])
        for channels, rows in expand(batch, len(maps)):
            flat = maps[channels].reshape(-1, *maps.shape[2:])
            inputs = [self._masked(i, x, flat) for i, x in enumerate(rows.inputs)]
            scores[channels] = fold(self.explained(inputs, rows.weights), len(channels))
        weights = np.exp(scores - scores.max(axis=0))
        weights /= weights.sum(axis=0)
        found = np.maximum(np.einsum("kr,kr...->r...", weights, maps), 0)
        return self.placed(found, batch.inputs) | {OUTPUT: checked}

    def _masked(self, i: int, x: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """The i-th input of some rows, times the mask of a map for each."""
        axes = self._map_layer.inputs.get(i)
        if axes is None:
            return x
        masks = _on(x, maps.astype(x.dtype), axes, on_input)
        flat = masks.reshape(len(masks), -1)
        flat = flat - flat.min(axis=1, keepdims=True)
        largest = flat.max(axis=1, keepdims=True)
        return x * np.divide(flat, largest, where=largest > 0, out=flat).reshape(x.shape)


def _on(x: np.ndarray, found: np.ndarray, axes, place) -> np.ndarray:
    """A map that is put on an input."""
    return ops.convert_to_numpy(place(ops.convert_to_tensor(found), x, axes))


def _places(x) -> tuple[int, ...]:
    """The axes of places of a tensor `(batch, *places, channels)`."""
    return tuple(range(1, len(x.shape) - 1))


def _opens(step: Step) -> bool:
    """Whether to look for layers inside of a step. In TimeDistributed rows are no samples."""
    return is_opaque(step) and not has(step.operation, Trait.OVER_TIME)
