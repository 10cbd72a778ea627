"""The Keras layers a mirror is made of, and the model of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import KerasTensor, ops, tree

from innvestigate.graph.constants import constants_of
from innvestigate.graph.run import computed_once, execute, summed
from innvestigate.graph.step import Step, like


class MirrorLayer(keras.Layer):
    """A layer that runs a function, in one float type.

    The user's layers are called on real tensors only, so no node is left on them.

    Args:
        function: What the layer computes from a list of arguments.
        outputs: Tensors like those that it returns, in their structure.
        dtype: The float type.
        name: The layer's name.
        holders: Layers and variables whose values are read, for Keras to track.
        runs: The step of the user's model that the layer stands for.
    """

    def __init__(
        self,
        function: Callable,
        outputs: Any,
        dtype: str,
        name: str,
        holders: Iterable = (),
        runs: Step | None = None,
    ):
        super().__init__(name=_scope_name(name), dtype=dtype)
        self.function, self.outputs_like, self.runs = function, outputs, runs
        self.holders = list(holders)
        self.built = True

    def call(self, arguments):
        return self.function(*arguments)

    def compute_output_spec(self, arguments):
        return tree.map_structure(like, self.outputs_like)


def _scope_name(name: str) -> str:
    """A name that TensorFlow takes for a scope; those of inputs need not be one."""
    return re.sub(r"[^\w.>\\-]", lambda found: f"_{ord(found[0]):x}", name, flags=re.ASCII)


class ForwardModel(keras.Model):
    """A functional model of steps: what several of them read of weights is computed once a call."""

    def call(self, inputs, training=None, mask=None):
        steps = [layer.runs for layer in self.layers if isinstance(layer, MirrorLayer)]
        with computed_once(step for step in steps if step is not None):
            return super().call(inputs, training=training, mask=mask)


class Mirror(ForwardModel):
    """A model of steps whose variables are read once for each call.

    The forward and the backward layer of a step then work on the same tensors, and a compiler sees
    that what both of them compute needs to be computed only once.
    """

    def call(self, inputs, training=None, mask=None):
        values = [(variable, ops.copy(variable)) for variable in self.variables]
        with keras.StatelessScope(values, initialize_variables=False):
            return super().call(inputs, training=training, mask=mask)


class ByLayer:
    """Puts a Keras layer in the place of all that is computed, which makes a mirror.

    Args:
        dtype: The float type of the layers.
        prefix: What the names of layers begin with: for a second way back in one mirror.
    """

    def __init__(self, dtype: str, prefix: str = ""):
        self.dtype, self.prefix, self._sums = dtype, prefix, 0
        self._layers: dict[Step, MirrorLayer] = {}

    def call(self, name: str, function: Callable, outputs, arguments: list, holders=()):
        """What a function makes of its arguments, in the structure of `outputs`."""
        name = f"{self.prefix}{name}"
        return MirrorLayer(function, outputs, self.dtype, name, holders)(arguments)

    def run(self, step: Step, values: list) -> list:
        """What a step writes, one layer for each step."""
        if step not in self._layers:
            self._layers[step] = MirrorLayer(
                lambda *values: unpack(execute(step, list(values))),
                unpack(step.outputs),
                self.dtype,
                step.name,
                holders_of_variables(step),
                runs=step,
            )
        written = self._layers[step](values)
        return written if isinstance(written, list) else [written]

    def total(self, signals: list[tuple]) -> tuple:
        """Signals that meet at a tensor, added up; a single one counts for both of a pair."""
        width = max(map(len, signals))
        self._sums += 1
        columns = zip(*(s if len(s) == width else s * width for s in signals), strict=True)
        names = [f"{self.prefix}signal.sum.{self._sums}{part}" for part in ("", ".negative")]
        return tuple(
            keras.layers.Add(dtype=self.dtype, name=_scope_name(name))(list(column))
            for name, column in zip(names, columns, strict=False)
        )


class AtOnce:
    """Computes at once, as inside a loop. See `ByLayer`."""

    def __init__(self, dtype: str):
        self.dtype, self.run, self.total = dtype, execute, summed

    def call(self, name: str, function: Callable, outputs, arguments: list, holders=()):
        """What a function makes of its arguments."""
        return function(*arguments)


def original_layer(layer):
    """The user's layer that a layer of a mirror runs; any other layer itself."""
    runs = getattr(layer, "runs", None)
    return runs.layer if isinstance(runs, Step) else layer


def holders_of_variables(step: Step) -> list:
    """Layers and variables whose values a step reads."""
    operation = getattr(step.operation, "layer", step.operation)
    holders = [operation] if isinstance(operation, keras.Layer) else []
    leaves = tree.flatten((step.arguments, getattr(step.operation, "constants", ())))
    holders += [leaf for leaf in leaves if isinstance(leaf, keras.Variable)]
    return holders + [constant.layer for constant in constants_of(step)]


def unpack(values: list):
    """A single value itself, several as a list: how Keras layers return them."""
    return values[0] if len(values) == 1 else values


def shaped(tensor: KerasTensor, dtype: str) -> KerasTensor:
    """A tensor of a tensor's shape in another type."""
    return KerasTensor(tensor.shape, dtype)
