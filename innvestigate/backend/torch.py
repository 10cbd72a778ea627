"""Vector-Jacobian products with torch."""

import torch

jit_compile = False
holds_strings = False


def vjp(function, inputs):
    """`function(*inputs)` and the map from cotangents of its outputs to gradients of its inputs."""
    outputs, pullback = torch.func.vjp(function, *inputs)
    return outputs, lambda cotangents: list(pullback(list(cotangents)))


def after(signal, values):
    """The values themselves: operations run in the order of the program."""
    return values


def call_once(function, inputs):
    """What a function makes of some arrays."""
    with torch.no_grad():
        return function(*inputs)


def run_batch(model, inputs):
    """What the model writes for a batch."""
    return model.predict_on_batch(inputs)
