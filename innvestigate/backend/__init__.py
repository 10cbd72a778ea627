"""The only code that knows TensorFlow from JAX from torch.

Keras offers no vector-Jacobian product, so each backend brings its own under one signature:

    outputs, pullback = vjp(function, inputs)
    gradients = pullback(cotangents)

`function` maps tensors to a list of tensors; `inputs` are floating point tensors; `cotangents`
holds one tensor per output, `gradients` one per input (zeros where an output does not depend on
an input). `jit_compile` says whether a model should be compiled by XLA on this backend;
`after(signal, values)` keeps values from being used before a signal is there;
`run_batch(model, inputs)` is a quiet `model.predict_on_batch`, for models that are made here: where
several devices hold copies of the weights, each gets a part of the batch, and what the parts write
is joined along the first axis, which sums over a batch have, too, with a row for each part;
`fused` makes a function of tensors of one shape, number by number, of tensors with one number for
each place of the last axis, and of plain numbers, run in one pass over memory where `fuses`, given
the tensors, says so;
`call_once(function, inputs, rows)` runs a function of tensors a single time, the quickest way there
is for that, and in a way that forgets on its way what is no longer needed if there are more than so
many rows; `first_numbers(tensor, count)` reads the first of a tensor's numbers as an array;
`holds_strings` says whether a tensor can hold strings.

    carries = scan(function, start, elements, backwards)

is a loop along the first axis of some tensors, however long it is: `function(carry, elements)`
makes the next carry of one carry and the elements at one place. Carries and elements are lists and
dicts of tensors, in any structure; `carries` holds what was made at each place, stacked. (On
TensorFlow, `keras.ops.scan` wants known lengths.)

`DIFFERENTIABLE` holds operations whose derivative the backend lacks or approximates, or that write
over what they read, by their names in Keras: the same function of `(operation, *arguments)`, in a
form whose derivative is right.

`SYNONYMS` are functions of the backend that mean the same as one of `keras.ops`: a module or class,
a name in it, and that one, which takes the same arguments. Where there is nothing like it for some
arguments, it raises a TypeError.
"""

import importlib

import keras

NAME = keras.backend.backend()
"""Which backend runs, to be told: nothing is decided by it elsewhere."""
if NAME not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        f"innvestigate needs a Keras backend with gradients (tensorflow, jax or torch); "
        f"received: {NAME!r}. Set KERAS_BACKEND before importing keras."
    )


def _module(name: str):
    return importlib.import_module(f"innvestigate.backend.{name}")


_own = _module(NAME)
EXPORTS = _module("tensorflow_export").EXPORTS if NAME == "tensorflow" else {}
DIFFERENTIABLE = {} if NAME == "jax" else _module(f"{NAME}_images").DIFFERENTIABLE
SYNONYMS = [] if NAME == "torch" else _module(f"{NAME}_synonyms").SYNONYMS
after = _own.after
argmax = _own.argmax
call_once = _own.call_once
first_numbers = _own.first_numbers
fused = _own.fused
fuses = _own.fuses
holds_strings = NAME == "tensorflow"
jit_compile = _own.jit_compile
run_batch = _own.run_batch
scan = _own.scan
vjp = _own.vjp

__all__ = [
    "DIFFERENTIABLE",
    "EXPORTS",
    "NAME",
    "SYNONYMS",
    "after",
    "argmax",
    "call_once",
    "first_numbers",
    "fused",
    "fuses",
    "holds_strings",
    "jit_compile",
    "run_batch",
    "scan",
    "vjp",
]
