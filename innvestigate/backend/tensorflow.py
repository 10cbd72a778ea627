"""Vector-Jacobian products and loops with TensorFlow."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import tensorflow as tf
from keras import tree

from innvestigate.backend.tensorflow_gradients import portable_vjp

jit_compile = False  # XLA was measured 1.5 times slower than the graph optimizer on a CPU

_LARGE = 65536
"""How many numbers of a sample are worth a compilation."""

_PORTABLE: ContextVar[bool] = ContextVar("portable", default=False)
_COMPILES: ContextVar[bool] = ContextVar("compiles", default=True)


@contextmanager
def portable() -> Iterator[None]:
    """Within it, graphs are built of operations that other runtimes have, too."""
    token = _PORTABLE.set(True)
    try:
        with without_compiler():
            yield
    finally:
        _PORTABLE.reset(token)


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within it, graphs are built that need no XLA where they run."""
    token = _COMPILES.set(False)
    try:
        yield
    finally:
        _COMPILES.reset(token)


def vjp(function, inputs):
    """`function(*inputs)` and the map from cotangents of its outputs to gradients of its inputs."""
    if _PORTABLE.get():
        return portable_vjp(function, inputs)
    inputs = _told_apart(inputs)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = _told_apart(function(*inputs))

    def pullback(cotangents):
        gradients = tape.gradient(
            outputs,
            inputs,
            output_gradients=cotangents,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return [tf.convert_to_tensor(g) for g in gradients]  # slices, where numbers are gathered

    return outputs, pullback


def _told_apart(tensors):
    """Copies of tensors if one is among them twice: the tape would count it several times."""
    twice = len({id(tensor) for tensor in tensors}) < len(tensors)
    return [tf.identity(tensor) for tensor in tensors] if twice else list(tensors)


def scan(function, start, elements, backwards=False):
    """What the function makes of the carry before and the elements at each place, stacked."""
    if _PORTABLE.get():
        return _unrolled(function, start, elements, backwards)
    return tf.scan(function, elements, initializer=start, reverse=backwards)


def _unrolled(function, start, elements, backwards):
    """`scan` without a loop, for runtimes that lack lists of tensors."""
    count, carry, made = tf.nest.flatten(elements)[0].shape[0], start, []
    if count is None:
        raise TypeError("a loop over an unknown number of points in time")
    for i in range(count)[:: -1 if backwards else 1]:
        carry = function(carry, tf.nest.map_structure(lambda x, i=i: x[i], elements))
        made.append(carry)
    return tf.nest.map_structure(lambda *xs: tf.stack(xs), *made[:: -1 if backwards else 1])


def argmax(x):
    """The first place of the largest number along the last axis."""
    return tf.argmax(x, axis=-1, output_type="int32")


def after(signal, values):
    """The values, not to be used before the signal is there.

    What a backward step computes from them would otherwise be computed as early as possible, and
    fill the memory until the signal comes.
    """
    if _PORTABLE.get():  # other runtimes know no such order, and fold what depends on constants
        return values
    with tf.control_dependencies([signal]):
        return [tf.identity(value) for value in values]


def fused(function):
    """XLA makes one loop of it, which costs a compilation: large tensors are worth it."""
    compiled = tf.function(function, jit_compile=True, reduce_retracing=True)

    @functools.wraps(function)
    def run(*arguments):
        tensors = [x for x in arguments if tf.is_tensor(x)]
        if not fuses(*tensors):
            return function(*arguments)
        flat = [_flat(x, tensors) if tf.is_tensor(x) else x for x in arguments]
        return tf.reshape(compiled(*flat), tf.shape(tensors[0]))

    return run


def fuses(x, *others):
    """Whether a fused function of these tensors is one pass: where x is large and they fit it."""
    if tf.executing_eagerly() or not _COMPILES.get() or not x.shape[1:].is_fully_defined():
        return False
    large = x.shape[1:].num_elements() >= _LARGE
    return large and all(_has_shape_of(y, x) or _is_of_channels(y, x) for y in others)


def _has_shape_of(y, x) -> bool:
    return y.shape.rank is not None and y.shape.as_list() == x.shape.as_list()


def _is_of_channels(y, x) -> bool:
    """Whether y holds a number for each place of the last axis of x."""
    known = y.shape.is_fully_defined() and y.shape.rank
    return known and y.shape.num_elements() == y.shape[-1] == x.shape[-1]


def _flat(x, tensors):
    """A tensor with as few axes as the tensors allow: loops are compiled once for each size."""
    first = tensors[0]
    if not _has_shape_of(x, first):
        return tf.reshape(x, [-1])
    alike = all(_has_shape_of(y, first) for y in tensors)
    return tf.reshape(x, [-1] if alike else [-1, first.shape[-1]])


def call_once(function, inputs, rows):
    """What a function makes of some tensors, eagerly: to trace it would take longer.

    A graph forgets what it no longer needs: of many rows it is made.
    """
    return (function if len(inputs[0]) <= rows else tf.function(function))(*inputs)


def first_numbers(tensor, count):
    """The first numbers of a tensor, a view of the processor's memory if that holds them."""
    tensor = tf.convert_to_tensor(tensor)
    if "CPU" in tensor.device:
        return np.asarray(tensor).reshape(-1)[:count]
    return tf.reshape(tensor, [-1])[:count].numpy()


def run_batch(model, inputs):
    """What the model writes for a batch, without TensorFlow's advice against compiling too often.

    Every analyzer has a model of its own, compiled once for each shape of a batch: that is meant.
    """
    logger, strategy = tf.get_logger(), _strategy_of(model)
    logger.addFilter(_is_no_advice)
    try:
        if strategy.num_replicas_in_sync == 1:
            return model.predict_on_batch(inputs)
        return _run_on_replicas(strategy, model, inputs)
    finally:
        logger.removeFilter(_is_no_advice)


def _is_no_advice(record) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


def _strategy_of(model) -> tf.distribute.Strategy:
    """The strategy whose replicas hold the model's weights, which others may have made."""
    strategies = (getattr(v.value, "distribute_strategy", None) for v in model.variables)
    return next(filter(None, strategies), tf.distribute.get_strategy())


def _run_on_replicas(strategy, model, inputs):
    """What the model writes for a batch of which each replica gets a part: the parts, joined.

    A batch with fewer rows than there are replicas is computed by each of them.
    """
    count = strategy.num_replicas_in_sync
    shared = len(inputs[0]) >= count
    split = [np.array_split(x, count) if shared else [x] * count for x in inputs]
    parts = [list(map(tf.convert_to_tensor, part)) for part in zip(*split, strict=True)]
    of_replica = lambda context: parts[context.replica_id_in_sync_group]  # noqa: E731
    given = strategy.experimental_distribute_values_from_function(of_replica)
    if not hasattr(model, "run_batch"):
        run = lambda given: strategy.run(model, (given,), {"training": False})  # noqa: E731
        model.run_batch = run if model.run_eagerly else tf.function(run, reduce_retracing=True)

    def joined(written):
        found = [x.numpy() for x in strategy.experimental_local_results(written)]
        return np.concatenate(found) if shared else found[0]

    return tree.map_structure(joined, model.run_batch(given))
