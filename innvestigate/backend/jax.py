"""Vector-Jacobian products and loops with JAX."""

from functools import partial

import jax
import keras
import numpy as np
from jax import numpy as jnp
from keras import ops, tree

jit_compile = True


def vjp(function, inputs):
    """`function(*inputs)` and the map from cotangents of its outputs to gradients of its inputs."""
    outputs, pullback = jax.vjp(function, *inputs)

    def typed_pullback(cotangents):
        return list(pullback([c.astype(y.dtype) for c, y in zip(cotangents, outputs, strict=True)]))

    return outputs, typed_pullback


def scan(function, start, elements, backwards=False):
    """What the function makes of the carry before and the elements at each place, stacked."""

    def step(carry, elements):
        made = function(carry, elements)
        return made, made

    return jax.lax.scan(step, start, elements, reverse=backwards)[1]


def argmax(x):
    """The first place of the largest number along the last axis."""
    return jnp.argmax(x, axis=-1)


def after(signal, values):
    """The values themselves: XLA orders operations so that memory is saved."""
    return values


def fused(function):
    """The compiler sees to it."""
    return function


def fuses(x, *others):
    """It is no use to compute anew what is known: the compiler decides what is kept."""
    return False


def call_once(function, inputs, rows):
    """What a function makes of some arrays, compiled as a whole: one by one operations are slow."""
    return jax.jit(function)(*inputs)


def first_numbers(tensor, count):
    """The first numbers of a tensor."""
    return np.asarray(tensor.reshape(-1)[:count])


def run_batch(model, inputs):
    """What the model writes for a batch.

    `predict_on_batch` lets XLA write over the arrays of the weights, which other threads read.
    """
    if not hasattr(model, "run_batch"):
        run = partial(model.stateless_call, training=False)
        model.run_batch = run if model.run_eagerly else jax.jit(run)
    weights = [
        [v.value for v in vs] for vs in (model.trainable_variables, model.non_trainable_variables)
    ]
    found = [model.run_batch(*weights, part)[0] for part in _parts(inputs, tree.flatten(weights))]
    return tree.map_structure(_joined, *found)


def _parts(inputs, weights) -> list:
    """The rows that the devices of `keras.distribution` share equally, and those that are left."""
    distribution = keras.distribution.distribution()
    if distribution is None or all(len(w.devices()) == 1 for w in weights):
        return [inputs]
    mesh = distribution.device_mesh
    count = mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]
    shared = len(inputs[0]) // count * count
    parts = []
    if shared:
        layouts = [distribution.get_data_layout(x.shape) for x in inputs]
        pairs = zip(inputs, layouts, strict=True)
        parts = [[keras.distribution.distribute_tensor(x[:shared], at) for x, at in pairs]]
    return [*parts, [x[shared:] for x in inputs]] if shared < len(inputs[0]) else parts


def _joined(*parts):
    """Parts of a result in one array of numpy."""
    arrays = [ops.convert_to_numpy(part) for part in parts]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
