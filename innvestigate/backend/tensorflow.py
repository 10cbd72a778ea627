"""Vector-Jacobian products and loops with TensorFlow."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import tensorflow as tf

from innvestigate.backend.tensorflow_gradients import portable_vjp

jit_compile = False  # XLA was measured 1.5 times slower than the graph optimizer on a CPU

_PORTABLE: ContextVar[bool] = ContextVar("portable", default=False)


@contextmanager
def portable() -> Iterator[None]:
    """Within it, graphs are built of operations that other runtimes have, too."""
    token = _PORTABLE.set(True)
    try:
        yield
    finally:
        _PORTABLE.reset(token)


def vjp(function, inputs):
    """`function(*inputs)` and the map from cotangents of its outputs to gradients of its inputs."""
    if _PORTABLE.get():
        return portable_vjp(function, inputs)
    inputs = _told_apart(inputs)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(inputs)
        outputs = _told_apart(function(*inputs))

    def pullback(cotangents):
        return tape.gradient(
            outputs,
            inputs,
            output_gradients=cotangents,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

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


def call_once(function, inputs):
    """What a function makes of some arrays, eagerly: to compile it would take longer."""
    return function(*inputs)


def run_batch(model, inputs):
    """What the model writes for a batch, without TensorFlow's advice against compiling too often.

    Every analyzer has a model of its own, compiled once for each shape of a batch: that is meant.
    """
    logger = tf.get_logger()
    logger.addFilter(_is_no_advice)
    try:
        return model.predict_on_batch(inputs)
    finally:
        logger.removeFilter(_is_no_advice)


def _is_no_advice(record) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()
