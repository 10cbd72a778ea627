"""The only code that knows TensorFlow from JAX from torch.

Keras offers no vector-Jacobian product, so each backend brings its own under one signature:

    outputs, pullback = vjp(function, inputs)
    gradients = pullback(cotangents)

`function` maps tensors to a list of tensors; `inputs` are floating point tensors; `cotangents`
holds one tensor per output, `gradients` one per input (zeros where an output does not depend on
an input). `jit_compile` says whether a model should be compiled by XLA on this backend;
`after(signal, values)` keeps values from being used before a signal is there; `run_batch(model,
inputs)` is a quiet `model.predict_on_batch`; `call_once(function, inputs)` runs a function of
tensors a single time, the quickest way there is for that; `holds_strings` says whether a tensor
can hold strings.

    carries = scan(function, start, elements, backwards)

is a loop along the first axis of some tensors, however long it is: `function(carry, elements)`
makes the next carry of one carry and the elements at one place. Carries and elements are lists and
dicts of tensors, in any structure; `carries` holds what was made at each place, stacked. (On
TensorFlow, `keras.ops.scan` wants known lengths.)

`SYNONYMS` are functions of the backend that mean the same as one of `keras.ops`: a module or class,
a name in it, and that one, which takes the same arguments. Where there is nothing like it for some
arguments, it raises a TypeError.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from innvestigate.backend.tensorflow import (
        after,
        argmax,
        call_once,
        jit_compile,
        run_batch,
        scan,
        vjp,
    )
    from innvestigate.backend.tensorflow_export import EXPORTS
    from innvestigate.backend.tensorflow_synonyms import SYNONYMS
elif keras.backend.backend() == "jax":
    from innvestigate.backend.jax import (
        after,
        argmax,
        call_once,
        jit_compile,
        run_batch,
        scan,
        vjp,
    )
    from innvestigate.backend.jax_synonyms import SYNONYMS

    EXPORTS = {}
elif keras.backend.backend() == "torch":
    from innvestigate.backend.torch import (
        after,
        argmax,
        call_once,
        jit_compile,
        run_batch,
        scan,
        vjp,
    )

    EXPORTS, SYNONYMS = {}, []
else:
    raise ImportError(
        f"innvestigate needs a Keras backend with gradients (tensorflow, jax or torch); "
        f"received: {keras.backend.backend()!r}. Set KERAS_BACKEND before importing keras."
    )

NAME = keras.backend.backend()
"""Which backend runs, to be told: nothing is decided by it elsewhere."""
holds_strings = keras.backend.backend() == "tensorflow"

__all__ = [
    "EXPORTS",
    "NAME",
    "SYNONYMS",
    "after",
    "argmax",
    "call_once",
    "holds_strings",
    "jit_compile",
    "run_batch",
    "scan",
    "vjp",
]
