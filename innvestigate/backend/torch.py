"""Vector-Jacobian products and loops with torch."""

import torch
from keras import tree

jit_compile = False


def vjp(function, inputs):
    """`function(*inputs)` and the map from cotangents of its outputs to gradients of its inputs."""
    outputs, pullback = torch.func.vjp(function, *inputs)
    return outputs, lambda cotangents: list(pullback(list(cotangents)))


def scan(function, start, elements, backwards=False):
    """What the function makes of the carry before and the elements at each place, stacked."""
    carry, made = start, []
    places = range(len(tree.flatten(elements)[0]))
    for i in reversed(places) if backwards else places:
        carry = function(carry, tree.map_structure(lambda x, i=i: x[i], elements))
        made.append(carry)
    return tree.map_structure(lambda *xs: torch.stack(xs), *(made[::-1] if backwards else made))


def argmax(x):
    """The first place of the largest number along the last axis."""
    return torch.argmax(x, dim=-1)


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
