"""Vector-Jacobian products and loops with torch."""

import torch
from keras import tree
from torch.nn.attention import SDPBackend, sdpa_kernel

jit_compile = False


def vjp(function, inputs):
    """`function(*inputs)` and the map from cotangents of its outputs to gradients of its inputs.

    By torch's tape: `torch.func.vjp` refuses functions with a gradient of their own, such as those
    of quantized layers. Inside another vjp the gradients are differentiated in their turn.

    Attention is computed step by step: the gradient of torch's fused kernel is n times too large
    where Keras masks all n places of a query.
    """
    inside = torch.is_grad_enabled()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        inputs = [x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs]
        outputs = function(*inputs)

    def pullback(cotangents):
        pairs = zip(outputs, cotangents, strict=True)
        reached = [(y, c.to(y.dtype)) for y, c in pairs if y.requires_grad]
        if not reached:
            return [torch.zeros_like(x) for x in inputs]
        ys, cs = zip(*reached, strict=True)
        options = {"retain_graph": True, "create_graph": inside, "materialize_grads": True}
        return list(torch.autograd.grad(ys, inputs, cs, **options))

    return outputs, pullback


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


def fused(function):
    """Nothing to do."""
    return function


def fuses(x, *others):
    """Nothing is."""
    return False


def call_once(function, inputs, rows):
    """What a function makes of some tensors, of so many rows at a time."""
    with torch.no_grad():
        parts = zip(*(x.split(rows) for x in inputs), strict=True)
        return torch.cat([function(*part) for part in parts])


def first_numbers(tensor, count):
    """The first numbers of a tensor."""
    return tensor.detach().reshape(-1)[:count].double().cpu().numpy()  # numpy knows no bfloat16


def run_batch(model, inputs):
    """What the model writes for a batch."""
    return model.predict_on_batch(inputs)
