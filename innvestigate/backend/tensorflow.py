"""Vector-Jacobian products and loops with TensorFlow."""

import tensorflow as tf

jit_compile = False  # XLA was measured 1.5 times slower than the graph optimizer on a CPU


def vjp(function, inputs):
    """`function(*inputs)` and the map from cotangents of its outputs to gradients of its inputs."""
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
    return tf.scan(function, elements, initializer=start, reverse=backwards)


def after(signal, values):
    """The values, not to be used before the signal is there.

    What a backward step computes from them would otherwise be computed as early as possible, and
    fill the memory until the signal comes.
    """
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
